/* A libcuda that runs nothing: it records what it is asked, and fails when the test says so. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/driver.h"
#include "tests/fake/fake.h"

#define EXPORT __attribute__((visibility("default")))

enum { DEVICES = 2, DEPTH = 8, INVALID_VALUE = 1, INVALID_CONTEXT = 201, INVALID_IMAGE = 200, NOT_FOUND = 500 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static fake_record record;
static char failing[64];
static int failing_result, failing_times;
static char contexts[DEVICES]; /* their addresses are the primary contexts */
static _Thread_local void *stack[DEPTH];
static _Thread_local int depth;

/* The injected failure of this call, or 0. */
static int injected(const char *name) {
  if (!__atomic_load_n(&failing_times, __ATOMIC_ACQUIRE)) return 0;
  pthread_mutex_lock(&mutex);
  int result = 0;
  if (failing_times && !strcmp(name, failing)) {
    result = failing_result;
    __atomic_store_n(&failing_times, failing_times - 1, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&mutex);
  return result;
}

#define ENTER                                                                                                          \
  do {                                                                                                                 \
    int result_ = injected(__func__);                                                                                  \
    if (result_) return result_;                                                                                       \
  } while (0)
#define NEEDS_CONTEXT                                                                                                  \
  ENTER;                                                                                                               \
  if (!depth || !stack[depth - 1]) return INVALID_CONTEXT
#define COUNT(member) __atomic_add_fetch(&record.member, 1, __ATOMIC_RELAXED)

/* ---- for the test ---- */

EXPORT void fake_reset(void) {
  pthread_mutex_lock(&mutex);
  record = (fake_record){0};
  failing_times = 0;
  pthread_mutex_unlock(&mutex);
}

EXPORT void fake_fail(const char *name, int result, int times) {
  pthread_mutex_lock(&mutex);
  snprintf(failing, sizeof failing, "%s", name);
  failing_result = result;
  __atomic_store_n(&failing_times, times, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&mutex);
}

EXPORT fake_record fake_read(void) {
  pthread_mutex_lock(&mutex);
  fake_record copy = record;
  pthread_mutex_unlock(&mutex);
  return copy;
}

EXPORT int fake_depth(void) {
  return depth;
}

EXPORT void *fake_context(int ordinal) {
  return &contexts[ordinal];
}

/* ---- libcuda ---- */

EXPORT int cuInit(unsigned flags) {
  const char *result = getenv("FAKE_CUDA_INIT");
  return flags ? INVALID_VALUE : result ? atoi(result) : 0;
}

EXPORT int cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}

EXPORT int cuGetErrorName(int result, const char **name) {
  *name = result == 100   ? "CUDA_ERROR_NO_DEVICE"
          : result == 200 ? "CUDA_ERROR_INVALID_IMAGE"
          : result == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
          : result == 2   ? "CUDA_ERROR_OUT_OF_MEMORY"
                          : "CUDA_ERROR_FAKE";
  return 0;
}

EXPORT int cuGetErrorString(int result, const char **text) {
  *text = result ? "as the test asked" : "no error";
  return 0;
}

EXPORT int cuDeviceGetCount(int *count) {
  ENTER;
  *count = DEVICES;
  return 0;
}

EXPORT int cuDeviceGet(int *device, int ordinal) {
  ENTER;
  *device = 10 + ordinal; /* not the ordinal, so that nobody confuses them */
  return ordinal < DEVICES ? 0 : 101;
}

EXPORT int cuDeviceGetName(char *name, int size, int device) {
  ENTER;
  snprintf(name, (size_t)size, "Fake GPU %d", device - 10);
  return 0;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  ENTER;
  (void)device;
  *bytes = (size_t)80 << 30;
  return 0;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  ENTER;
  static const int values[128] = {
      [1] = 1024, [12] = 65536, [13] = 1980000, [16] = 132,   [36] = 2619000, [37] = 5120, [38] = 52428800, [39] = 2048,
      [75] = 9,   [76] = 0,     [81] = 233472,  [82] = 65536, [97] = 232448,  [106] = 32,  [111] = 1024};
  *value = values[attribute];
  if (device == 11 && attribute == 75) *value = 7;
  if (device == 11 && attribute == 76) *value = 5;
  return 0;
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device) {
  ENTER;
  COUNT(retains);
  *context = &contexts[device - 10];
  return 0;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  ENTER;
  (void)device;
  COUNT(releases);
  return 0;
}

EXPORT int cuCtxGetCurrent(void **context) {
  ENTER;
  *context = depth ? stack[depth - 1] : NULL;
  return 0;
}

EXPORT int cuCtxGetDevice(int *device) {
  NEEDS_CONTEXT;
  *device = 10 + (int)((char *)stack[depth - 1] - contexts);
  return 0;
}

EXPORT int cuCtxPushCurrent_v2(void *context) {
  ENTER;
  if (depth == DEPTH) return INVALID_VALUE;
  stack[depth++] = context;
  COUNT(pushes);
  return 0;
}

EXPORT int cuCtxPopCurrent_v2(void **context) {
  ENTER;
  if (!depth) return INVALID_CONTEXT;
  *context = stack[--depth];
  COUNT(pops);
  return 0;
}

EXPORT int cuCtxSynchronize(void) {
  NEEDS_CONTEXT;
  return 0;
}

EXPORT int cuModuleLoadData(void **module, const void *image) {
  NEEDS_CONTEXT;
  if ((uintptr_t)image % 8 || memcmp(image, "\177ELF", 4)) return INVALID_IMAGE;
  *module = malloc(1);
  COUNT(modules_loaded);
  return 0;
}

EXPORT int cuModuleUnload(void *module) {
  NEEDS_CONTEXT;
  free(module);
  COUNT(modules_unloaded);
  return 0;
}

EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) {
  NEEDS_CONTEXT;
  *function = module;
  return strncmp(name, "attune_", 7) ? NOT_FOUND : 0;
}

EXPORT int cuFuncGetAttribute(int *value, int attribute, void *function) {
  NEEDS_CONTEXT;
  (void)function;
  *value = attribute == 1 ? 448 : 0;
  return 0;
}

EXPORT int cuFuncSetAttribute(void *function, int attribute, int value) {
  NEEDS_CONTEXT;
  (void)function;
  if (attribute == 8) __atomic_store_n(&record.dynamic_limit, value, __ATOMIC_RELAXED);
  return 0;
}

EXPORT int cuLaunchKernelEx(const CUlaunchConfig *config, void *function, void **parameters, void **extra) {
  NEEDS_CONTEXT;
  if (!function || config->grid_y != 1 || config->grid_z != 1 || config->block_y != 1 || config->block_z != 1 || extra)
    return INVALID_VALUE;
  const struct attune_backward_arguments *arguments = parameters[0]; /* of the union that all kernels have */
  fake_launch last = {.grid = config->grid_x,
                      .threads = config->block_x,
                      .shared_bytes = config->shared_bytes,
                      .stream = config->stream,
                      .context = stack[depth - 1],
                      .arguments = arguments->problem,
                      .gradients = arguments->gradients};
  for (unsigned i = 0; i < config->attribute_count; i++)
    last.programmatic |= config->attributes[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION &&
                         config->attributes[i].value.programmatic_stream_serialization_allowed;
  pthread_mutex_lock(&mutex);
  record.last = last;
  record.recent[record.launches++ % 4] = last;
  pthread_mutex_unlock(&mutex);
  return 0;
}

EXPORT int cuMemAlloc_v2(unsigned long long *memory, size_t size) {
  NEEDS_CONTEXT;
  void *block = aligned_alloc(256, (size + 255) / 256 * 256);
  *memory = (unsigned long long)(uintptr_t)block;
  return block ? 0 : 2;
}

EXPORT int cuMemFree_v2(unsigned long long memory) {
  NEEDS_CONTEXT;
  free((void *)(uintptr_t)memory);
  return 0;
}

EXPORT int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t size) {
  NEEDS_CONTEXT;
  memcpy((void *)(uintptr_t)to, from, size);
  return 0;
}

EXPORT int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t size) {
  NEEDS_CONTEXT;
  memcpy(to, (void *)(uintptr_t)from, size);
  return 0;
}

EXPORT int cuMemHostRegister_v2(void *memory, size_t size, unsigned flags) {
  NEEDS_CONTEXT;
  if (!memory || size == 0 || flags) return INVALID_VALUE;
  pthread_mutex_lock(&mutex);
  record.pinned++;
  pthread_mutex_unlock(&mutex);
  return 0;
}

EXPORT int cuMemHostUnregister(void *memory) {
  NEEDS_CONTEXT;
  if (!memory) return INVALID_VALUE;
  pthread_mutex_lock(&mutex);
  record.pinned--;
  pthread_mutex_unlock(&mutex);
  return 0;
}

EXPORT int cuMemsetD8Async(unsigned long long to, unsigned char byte, size_t size, void *stream) {
  NEEDS_CONTEXT;
  memset((void *)(uintptr_t)to, byte, size);
  pthread_mutex_lock(&mutex);
  record.fill.before_launch = record.launches;
  record.fill.to = (void *)(uintptr_t)to;
  record.fill.size = size;
  record.fill.stream = stream;
  pthread_mutex_unlock(&mutex);
  return 0;
}

EXPORT int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *base, const unsigned long long *sizes,
                                  const unsigned long long *strides, const unsigned *box,
                                  const unsigned *element_strides, int interleave, int swizzle, int promotion,
                                  int fill) {
  NEEDS_CONTEXT;
  if (rank != 4 || !base || (uintptr_t)base % 16 || box[0] != 64 || box[1] > 256) return INVALID_VALUE;
  for (unsigned i = 0; i < rank; i++)
    if (sizes[i] < 1 || sizes[i] > 1ull << 32) return INVALID_VALUE;
  for (unsigned i = 0; i + 1 < rank; i++)
    if (strides[i] < 16 || strides[i] % 16 || strides[i] >= 1ull << 40) return INVALID_VALUE;
  memset(map, 0, sizeof(struct attune_tensor_map));
  fake_map seen = {.base = base,
                   .type = type,
                   .interleave = interleave,
                   .swizzle = swizzle,
                   .promotion = promotion,
                   .fill = fill,
                   .rank = rank};
  memcpy(seen.box, box, sizeof seen.box);
  memcpy(seen.element_strides, element_strides, sizeof seen.element_strides);
  memcpy(seen.size, sizes, sizeof seen.size);
  memcpy(seen.stride, strides, sizeof seen.stride);
  pthread_mutex_lock(&mutex);
  record.map[record.maps++ % 4] = seen;
  pthread_mutex_unlock(&mutex);
  return 0;
}

EXPORT int cuEventCreate(void **event, unsigned flags) {
  NEEDS_CONTEXT;
  *event = flags ? NULL : malloc(1);
  return *event ? 0 : INVALID_VALUE;
}

EXPORT int cuEventDestroy_v2(void *event) {
  ENTER;
  free(event);
  return 0;
}

EXPORT int cuEventRecord(void *event, void *stream) {
  NEEDS_CONTEXT;
  (void)event, (void)stream;
  return 0;
}

EXPORT int cuEventSynchronize(void *event) {
  ENTER;
  (void)event;
  return 0;
}

EXPORT int cuEventElapsedTime(float *milliseconds, void *start, void *stop) {
  ENTER;
  (void)start, (void)stop;
  *milliseconds = 1.5f;
  return 0;
}
