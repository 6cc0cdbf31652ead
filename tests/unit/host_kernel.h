/* For tests: kernels of a text of their own, compiled for the simulator and loaded. */
#ifndef ATTUNE_TESTS_HOST_KERNEL_H
#define ATTUNE_TESTS_HOST_KERNEL_H

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/backend.h"
#include "runtime/simulator/runner.h"

/* An object of dlopen, whose kernels run on the simulator's threads; frees the source, which is malloc'ed. NULL, for
 * which there is a message, fails. */
static inline void *load_host_kernels(char *source, const char *about) {
  char path[] = "/tmp/attune-test-XXXXXX";
  attune_compiled compiled;
  if (source == NULL || attune_compile_host(&compiled, source, about) != ATTUNE_OK)
    fail_msg("%s\n%s", attune_message(), source != NULL ? source : "");
  const int file = mkstemp(path);
  assert_true(file >= 0);
  assert_int_equal(write(file, compiled.binary, compiled.size), compiled.size);
  close(file);
  void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  unlink(path);
  if (object == NULL) fail_msg("%s", dlerror());
  void (*bind)(const struct attune_simulator_calls *);
  *(void **)&bind = dlsym(object, "attune_simulator_bind");
  assert_non_null(bind);
  bind(&attune_simulator_runner_calls);
  free(compiled.binary);
  free(compiled.log);
  free(source);
  return object;
}

#endif
