#include "runtime/nvrtc.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/library.h"

typedef int nvrtcResult; /* 0: success */
enum { NVRTC_ERROR_BUILTIN_OPERATION_FAILURE = 7 };
typedef struct _nvrtcProgram *nvrtcProgram;

#define NVRTC_FUNCTIONS(X)                                                                                             \
  X(error_string, const char *, "nvrtcGetErrorString", (nvrtcResult result))                                           \
  X(version, nvrtcResult, "nvrtcVersion", (int *major, int *minor))                                                    \
  X(arch_count, nvrtcResult, "nvrtcGetNumSupportedArchs", (int *count))                                                \
  X(archs, nvrtcResult, "nvrtcGetSupportedArchs", (int *archs))                                                        \
  X(create, nvrtcResult, "nvrtcCreateProgram",                                                                         \
    (nvrtcProgram * program, const char *source, const char *name, int header_count, const char *const *headers,       \
     const char *const *header_names))                                                                                 \
  X(destroy, nvrtcResult, "nvrtcDestroyProgram", (nvrtcProgram * program))                                             \
  X(compile, nvrtcResult, "nvrtcCompileProgram", (nvrtcProgram program, int count, const char *const *options))        \
  X(cubin_size, nvrtcResult, "nvrtcGetCUBINSize", (nvrtcProgram program, size_t * size))                               \
  X(cubin, nvrtcResult, "nvrtcGetCUBIN", (nvrtcProgram program, char *cubin))                                          \
  X(log_size, nvrtcResult, "nvrtcGetProgramLogSize", (nvrtcProgram program, size_t * size))                            \
  X(log, nvrtcResult, "nvrtcGetProgramLog", (nvrtcProgram program, char *log))

enum { MAX_ARCHS = 64 };

struct nvrtc {
#define MEMBER(member, type, name, arguments) type(*member) arguments;
  NVRTC_FUNCTIONS(MEMBER)
#undef MEMBER
  int major, minor;
  int known[MAX_ARCHS], known_count;
  attune_status status;
  char message[1024];
};
static struct nvrtc nvrtc;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct {
  const char *name;
  size_t offset;
} functions[] = {
#define ROW(member, type, name, arguments) {name, offsetof(struct nvrtc, member)},
    NVRTC_FUNCTIONS(ROW)
#undef ROW
};

/* The options that shape the binary, the architecture apart; ptxas -v puts registers and spills into the log. */
static const char *const options[] = {"-std=c++17", "-default-device", "--ptxas-options=-v"};
enum { OPTION_COUNT = sizeof options / sizeof *options };

static attune_status refuse(const char *message, const char *detail) {
  nvrtc.status = ATTUNE_NO_NVRTC;
  snprintf(nvrtc.message, sizeof nvrtc.message, message, detail);
  return nvrtc.status;
}

static void *open_library(char *tried, size_t size) {
  char home[512];
  const char *cuda_home = getenv("CUDA_HOME");
  snprintf(home, sizeof home, "%s/lib64/libnvrtc.so", cuda_home && *cuda_home ? cuda_home : "/usr/local/cuda");
  const char *const names[] = {"libnvrtc.so.13",
                               "libnvrtc.so.12",
                               "libnvrtc.so",
                               home,
                               "/usr/local/cuda/lib64/libnvrtc.so",
                               "/usr/local/cuda*/lib64/libnvrtc.so",
                               NULL};
  return attune_library_open("ATTUNE_NVRTC", names, tried, size);
}

/* NVRTC opens its second library by name alone, which finds it only in the loader's own folders. Where NVRTC itself
 * came from elsewhere, the one beside it is opened first: a library that is already loaded is found. */
static void load_builtins(void *library) {
  struct link_map *map;
  char path[1024];
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) return;
  const char *slash = strrchr(map->l_name, '/');
  if (!slash) return;
  snprintf(path, sizeof path, "%.*s/libnvrtc-builtins.so.%d.%d", (int)(slash - map->l_name), map->l_name, nvrtc.major,
           nvrtc.minor);
  dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void load(void) {
  char tried[640];
  void *library = open_library(tried, sizeof tried);
  if (!library) {
    refuse("no NVRTC: tried %s; install the CUDA toolkit or the nvidia-cuda-nvrtc wheel and set ATTUNE_NVRTC to its "
           "libnvrtc.so",
           tried);
    return;
  }
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *function = dlsym(library, functions[i].name);
    if (!function) {
      refuse("NVRTC is too old: it has no %s; install CUDA 11.2 or later", functions[i].name);
      return;
    }
    memcpy((char *)&nvrtc + functions[i].offset, &function, sizeof function);
  }
  if (nvrtc.version(&nvrtc.major, &nvrtc.minor) != 0 || nvrtc.arch_count(&nvrtc.known_count) != 0 ||
      nvrtc.known_count > MAX_ARCHS || nvrtc.archs(nvrtc.known) != 0) {
    refuse("NVRTC does not say %s; reinstall it", "its version and architectures");
    return;
  }
  load_builtins(library);
}

static attune_status ready(void) {
  pthread_once(&once, load);
  return nvrtc.status == ATTUNE_OK ? ATTUNE_OK : attune_fail(nvrtc.status, "%s", nvrtc.message);
}

attune_status attune_nvrtc_version(char out[32]) {
  attune_status status = ready();
  if (status == ATTUNE_OK) snprintf(out, 32, "%d.%d", nvrtc.major, nvrtc.minor);
  return status;
}

attune_status attune_compiler_nvrtc(char compiler[64], char text[256]) {
  char version[32];
  attune_status status = attune_nvrtc_version(version);
  if (status != ATTUNE_OK) return status;
  snprintf(compiler, 64, "nvrtc %s", version);
  size_t used = 0;
  text[0] = '\0';
  for (int i = 0; i < OPTION_COUNT; i++)
    used += (size_t)snprintf(text + used, 256 - used, "%s%s", i ? " " : "", options[i]);
  return ATTUNE_OK;
}

/* The largest number that stands right before the words, anywhere in the log; -1: never. */
static int largest_before(const char *log, const char *words) {
  int largest = -1;
  for (const char *at = log; (at = strstr(at, words)); at++) {
    const char *digit = at;
    while (digit > log && digit[-1] >= '0' && digit[-1] <= '9')
      digit--;
    int value = digit < at ? atoi(digit) : -1;
    if (value > largest) largest = value;
  }
  return largest;
}

attune_resources attune_resources_of_log(const char *log) {
  attune_resources found = {.registers = largest_before(log, " registers")};
  int shared = largest_before(log, " bytes smem");
  int stack = largest_before(log, " bytes stack frame"), spill = largest_before(log, " bytes spill stores");
  found.shared_static = shared < 0 && found.registers >= 0 ? 0 : shared;
  found.spill_bytes = stack > spill ? stack : spill;
  return found;
}

/* ptxas has a number for each reason, (C7504) to (C7520) and more with every release; these words are common to all. */
bool attune_kernel_remark(char *out, size_t size, const attune_kernel *kernel) {
  const char *words = strstr(kernel->log, "Potential Performance Loss:"), *from = words;
  if (size > 0) *out = '\0';
  if (!words) return false;
  while (from > kernel->log && from[-1] != '\n' && from[-1] != ':')
    from--; /* to the number */
  from += strspn(from, " ");
  snprintf(out, size, "%.*s", (int)strcspn(from, "\n"), from);
  return true;
}

static attune_status check_arch(const char *arch) {
  char known[256] = "";
  size_t used = 0;
  for (int i = 0; i < nvrtc.known_count; i++) {
    char name[32];
    snprintf(name, sizeof name, "sm_%d", nvrtc.known[i]);
    size_t length = strlen(name);
    if (!strncmp(name, arch, length) && (!arch[length] || !strcmp(arch + length, "a"))) return ATTUNE_OK;
    if (used < sizeof known) used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? " " : "", name);
  }
  return attune_fail(ATTUNE_NO_NVRTC, "NVRTC %d.%d cannot compile for %s, it knows %s; install a newer CUDA toolkit",
                     nvrtc.major, nvrtc.minor, arch, known);
}

static attune_status copy_log(char **log, nvrtcProgram program) {
  size_t size = 0;
  if (nvrtc.log_size(program, &size) != 0) size = 0;
  *log = calloc(1, size + 1);
  if (!*log) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a compiler log of %zu bytes", size);
  if (size && nvrtc.log(program, *log) != 0) **log = '\0';
  return ATTUNE_OK;
}

static attune_status compile(attune_compiled *out, nvrtcProgram program, const char *symbol, const char *arch) {
  enum { TAIL = 2000 };
  char target[48];
  snprintf(target, sizeof target, "--gpu-architecture=%s", arch);
  const char *all[OPTION_COUNT + 2] = {target};
  int count = 1;
  memcpy(all + count, options, sizeof options);
  count += OPTION_COUNT;
  /* From 12.9 on NVRTC has a cache of its own; what comes out of it has no log, and so no registers and spills. */
  if (nvrtc.major > 12 || (nvrtc.major == 12 && nvrtc.minor >= 9)) all[count++] = "--no-cache";
  nvrtcResult result = nvrtc.compile(program, count, all);
  attune_status status = copy_log(&out->log, program);
  if (status != ATTUNE_OK) return status;
  size_t length = strlen(out->log);
  if (result == NVRTC_ERROR_BUILTIN_OPERATION_FAILURE) /* the installation's fault, not the kernel's */
    return attune_fail(ATTUNE_NO_NVRTC,
                       "NVRTC is not whole: %s; reinstall it, or set ATTUNE_NVRTC to another libnvrtc.so", out->log);
  if (result != 0)
    return attune_fail(ATTUNE_COMPILE_FAILED, "NVRTC cannot compile %s for %s (%s); the end of its log:\n%s", symbol,
                       arch, nvrtc.error_string(result), out->log + (length > TAIL ? length - TAIL : 0));
  result = nvrtc.cubin_size(program, &out->size);
  if (result != 0 || out->size == 0)
    return attune_fail(ATTUNE_COMPILE_FAILED, "NVRTC made no cubin of %s for %s (%s)", symbol, arch,
                       nvrtc.error_string(result));
  out->binary = malloc(out->size);
  if (!out->binary) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a cubin of %zu bytes", out->size);
  result = nvrtc.cubin(program, out->binary);
  if (result != 0)
    return attune_fail(ATTUNE_COMPILE_FAILED, "NVRTC does not hand out the cubin of %s (%s)", symbol,
                       nvrtc.error_string(result));
  attune_resources resources = attune_resources_of_log(out->log);
  out->registers = resources.registers;
  out->shared_static = resources.shared_static;
  out->spill_bytes = resources.spill_bytes;
  return ATTUNE_OK;
}

attune_status attune_compile_nvrtc(attune_compiled *out, const char *source, const char *symbol, const char *arch) {
  *out = (attune_compiled){.registers = -1, .shared_static = -1, .spill_bytes = -1};
  attune_status status = ready();
  if (status == ATTUNE_OK) status = check_arch(arch);
  if (status != ATTUNE_OK) return status;
  nvrtcProgram program = NULL;
  nvrtcResult result = nvrtc.create(&program, source, "attune.cu", 0, NULL, NULL);
  if (result != 0)
    return attune_fail(ATTUNE_COMPILE_FAILED, "nvrtcCreateProgram failed: %s", nvrtc.error_string(result));
  status = compile(out, program, symbol, arch);
  nvrtc.destroy(&program);
  if (status != ATTUNE_OK) {
    free(out->binary);
    free(out->log);
    *out = (attune_compiled){.registers = -1, .shared_static = -1, .spill_bytes = -1};
  }
  return status;
}
