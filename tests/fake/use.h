/* For tests: makes the runtime find a stand-in, and finds its control functions. The stand-ins lie beside the test. */
#ifndef ATTUNE_TESTS_FAKE_USE_H
#define ATTUNE_TESTS_FAKE_USE_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/fake.h"

/* Sets the variable to the file's path and opens it; exits where that fails. */
static inline void *fake_use(const char *variable, const char *file) {
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
  if (length < 0) exit(1);
  path[length] = '\0';
  snprintf(strrchr(path, '/') + 1, 64, "%s", file);
  setenv(variable, path, 1);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  return library;
}

/* dlsym into a pointer to a function, which ISO C has no cast for. */
static inline void fake_find(void *function, void *library, const char *name) {
  void *found = dlsym(library, name);
  if (!found) exit(1);
  memcpy(function, &found, sizeof found);
}

#endif
