#include "runtime/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was tried, as one line; what does not fit is left out. */
static void note(char *tried, size_t size, const char *name, const char *why) {
  size_t used = strlen(tried);
  snprintf(tried + used, size - used, "%s%s%s%s%s", used ? ", " : "", name, why ? " (" : "", why ? why : "",
           why ? ")" : "");
}

static void *open_pattern(const char *pattern, char *tried, size_t size) {
  glob_t found = {0};
  void *library = NULL;
  if (glob(pattern, 0, NULL, &found) == 0)
    for (size_t i = found.gl_pathc; i-- && !library;)
      library = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
  if (!library) note(tried, size, pattern, NULL);
  globfree(&found);
  return library;
}

void *attune_library_open(const char *variable, const char *const *names, char *tried, size_t tried_size) {
  tried[0] = '\0';
  const char *only = getenv(variable);
  if (only && *only) {
    void *library = dlopen(only, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char *why = dlerror();
      snprintf(tried, tried_size, "$%s = %s (%s)", variable, only, why ? why : "unknown");
    }
    return library;
  }
  for (; *names; names++) {
    void *library =
        strchr(*names, '*') ? open_pattern(*names, tried, tried_size) : dlopen(*names, RTLD_NOW | RTLD_LOCAL);
    if (library) return library;
    if (!strchr(*names, '*')) note(tried, tried_size, *names, NULL);
  }
  return NULL;
}
