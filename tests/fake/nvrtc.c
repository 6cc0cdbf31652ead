/* A libnvrtc that compiles nothing: its cubin is the ELF magic and a checksum of the source. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/fake/fake.h"

#define EXPORT __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID_INPUT = 3, COMPILATION = 6, CUBIN_SIZE = 64 };

typedef struct {
  uint64_t checksum;
  const char *log;
} program;

static int compilations, broken;

EXPORT int fake_compilations(void) {
  return __atomic_load_n(&compilations, __ATOMIC_RELAXED);
}

EXPORT void fake_broken(int times) {
  __atomic_store_n(&broken, times, __ATOMIC_RELAXED);
}

EXPORT const char *nvrtcGetErrorString(int result) {
  return result == COMPILATION ? "NVRTC_ERROR_COMPILATION" : result ? "NVRTC_ERROR" : "NVRTC_SUCCESS";
}

EXPORT int nvrtcVersion(int *major, int *minor) {
  *major = 13;
  *minor = 0;
  return SUCCESS;
}

EXPORT int nvrtcGetNumSupportedArchs(int *count) {
  *count = 2;
  return SUCCESS;
}

EXPORT int nvrtcGetSupportedArchs(int *archs) {
  archs[0] = 80;
  archs[1] = 90;
  return SUCCESS;
}

EXPORT int nvrtcCreateProgram(program **out, const char *source, const char *name, int header_count,
                              const char *const *headers, const char *const *header_names) {
  if (!name || header_count || headers || header_names) return INVALID_INPUT;
  *out = calloc(1, sizeof **out);
  if (!*out) return 1;
  for (; *source; source++)
    (*out)->checksum = (*out)->checksum * 1099511628211u + (unsigned char)*source;
  return SUCCESS;
}

EXPORT int nvrtcDestroyProgram(program **p) {
  free(*p);
  *p = NULL;
  return SUCCESS;
}

/* Takes a while, so that threads that want the same kernel meet. */
EXPORT int nvrtcCompileProgram(program *p, int count, const char *const *options) {
  nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  __atomic_add_fetch(&compilations, 1, __ATOMIC_RELAXED);
  if (__atomic_load_n(&broken, __ATOMIC_RELAXED) > 0) {
    __atomic_sub_fetch(&broken, 1, __ATOMIC_RELAXED);
    p->log = "attune.cu(1): error: the test asked for this\n";
    return COMPILATION;
  }
  p->log = "ptxas info    : Compiling entry function 'attune' for 'sm_90'\n"
           "    16 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads\n"
           "ptxas info    : Used 96 registers, used 1 barriers, 448 bytes smem\n";
  return count > 1 && !strncmp(options[0], "--gpu-architecture=sm_", 22) ? SUCCESS : INVALID_INPUT;
}

EXPORT int nvrtcGetCUBINSize(program *p, size_t *size) {
  (void)p;
  *size = CUBIN_SIZE;
  return SUCCESS;
}

EXPORT int nvrtcGetCUBIN(program *p, char *cubin) {
  snprintf(cubin, CUBIN_SIZE, "\177ELF %016llx", (unsigned long long)p->checksum);
  return SUCCESS;
}

EXPORT int nvrtcGetProgramLogSize(program *p, size_t *size) {
  *size = strlen(p->log) + 1;
  return SUCCESS;
}

EXPORT int nvrtcGetProgramLog(program *p, char *log) {
  strcpy(log, p->log);
  return SUCCESS;
}
