#include "runtime/driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "runtime/library.h"

static struct {
  attune_driver driver;
  attune_status status;
  char message[1024];
} global;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct {
  const char *name;
  size_t offset;
} functions[] = {
#define ATTUNE_DRIVER_ROW(member, name, arguments) {name, offsetof(attune_driver, member)},
    ATTUNE_DRIVER_FUNCTIONS(ATTUNE_DRIVER_ROW)
#undef ATTUNE_DRIVER_ROW
};

static const char *error_name(const attune_driver *driver, CUresult result) {
  const char *name = NULL;
  return driver->error_name(result, &name) == CUDA_SUCCESS && name ? name : "unknown error";
}

static const char *error_string(const attune_driver *driver, CUresult result) {
  const char *text = NULL;
  return driver->error_string(result, &text) == CUDA_SUCCESS && text ? text : "no description";
}

static void initialise(void) {
  CUresult result = global.driver.init(0);
  if (result == CUDA_SUCCESS) return;
  const char *name = error_name(&global.driver, result), *text = error_string(&global.driver, result);
  if (result == CUDA_ERROR_NO_DEVICE) {
    global.status = ATTUNE_NO_DEVICE;
    snprintf(global.message, sizeof global.message,
             "the CUDA driver finds no GPU (cuInit: %s); check CUDA_VISIBLE_DEVICES, or use the device \"host\"", name);
    return;
  }
  global.status = result == CUDA_ERROR_STUB_LIBRARY ? ATTUNE_NO_DRIVER : ATTUNE_DRIVER_FAILED;
  if (result == CUDA_ERROR_OUT_OF_MEMORY) global.status = ATTUNE_OUT_OF_MEMORY;
  snprintf(global.message, sizeof global.message,
           "cuInit failed: %s (%s); check the driver with nvidia-smi, or use the device \"host\"", name, text);
}

static void load(void) {
  static const char *const names[] = {"libcuda.so.1", "libcuda.so", NULL};
  char tried[512];
  void *library = attune_library_open("ATTUNE_LIBCUDA", names, tried, sizeof tried);
  if (!library) {
    global.status = ATTUNE_NO_DRIVER;
    snprintf(global.message, sizeof global.message,
             "no CUDA driver: tried %s; install the NVIDIA driver, or use the device \"host\"", tried);
    return;
  }
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *function = dlsym(library, functions[i].name);
    if (!function) {
      global.status = ATTUNE_NO_DRIVER;
      snprintf(global.message, sizeof global.message,
               "the CUDA driver is too old: libcuda has no %s; install a driver of CUDA 11.1 or later",
               functions[i].name);
      return;
    }
    memcpy((char *)&global.driver + functions[i].offset, &function, sizeof function);
  }
  initialise();
}

attune_status attune_driver_get(const attune_driver **out) {
  pthread_once(&once, load);
  if (global.status != ATTUNE_OK) return attune_fail(global.status, "%s", global.message);
  *out = &global.driver;
  return ATTUNE_OK;
}

attune_status attune_driver_failed(const attune_driver *driver, CUresult result, const char *call) {
  const attune_status status = result == CUDA_ERROR_OUT_OF_MEMORY ? ATTUNE_OUT_OF_MEMORY : ATTUNE_DRIVER_FAILED;
  return attune_fail(status, "%s failed: %s (%s)", call, error_name(driver, result), error_string(driver, result));
}
