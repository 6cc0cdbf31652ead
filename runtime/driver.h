/* libcuda, opened at run time: the functions that Attune calls, declared here so that building needs no CUDA header.
 * Names and numbers are those of the CUDA driver API. */
#ifndef ATTUNE_DRIVER_H
#define ATTUNE_DRIVER_H

#include <stddef.h>

#include "generator/base/status.h"

typedef int CUresult;
typedef int CUdevice;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef unsigned long long CUdeviceptr;
typedef struct {
  int id;
  char pad[4];
  union {
    char bytes[64];
    int programmatic_stream_serialization_allowed;
  } value;
} CUlaunchAttribute;
typedef struct {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  CUstream stream;
  CUlaunchAttribute *attributes;
  unsigned attribute_count;
} CUlaunchConfig;

enum {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_STUB_LIBRARY = 34,
  CUDA_ERROR_NO_DEVICE = 100,
  CU_EVENT_DEFAULT = 0,
  CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
  CU_DEVICE_ATTRIBUTE_CLOCK_RATE = 13,
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE = 36,
  CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH = 37,
  CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38,
  CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR = 39,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81,
  CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR = 82,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
  CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR = 106,
  CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK = 111,
  CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6,
  CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
};

/* X(member, exported name, arguments): one row a function. The exported names carry the version suffix that fixes the
 * argument types below. */
#define ATTUNE_DRIVER_FUNCTIONS(X)                                                                                     \
  X(init, "cuInit", (unsigned flags))                                                                                  \
  X(driver_version, "cuDriverGetVersion", (int *version))                                                              \
  X(error_name, "cuGetErrorName", (CUresult result, const char **name))                                                \
  X(error_string, "cuGetErrorString", (CUresult result, const char **text))                                            \
  X(device_count, "cuDeviceGetCount", (int *count))                                                                    \
  X(device_get, "cuDeviceGet", (CUdevice * device, int ordinal))                                                       \
  X(device_name, "cuDeviceGetName", (char *name, int size, CUdevice device))                                           \
  X(device_memory, "cuDeviceTotalMem_v2", (size_t * bytes, CUdevice device))                                           \
  X(device_attribute, "cuDeviceGetAttribute", (int *value, int attribute, CUdevice device))                            \
  X(primary_retain, "cuDevicePrimaryCtxRetain", (CUcontext * context, CUdevice device))                                \
  X(primary_release, "cuDevicePrimaryCtxRelease_v2", (CUdevice device))                                                \
  X(context_current, "cuCtxGetCurrent", (CUcontext * context))                                                         \
  X(context_device, "cuCtxGetDevice", (CUdevice * device))                                                             \
  X(context_push, "cuCtxPushCurrent_v2", (CUcontext context))                                                          \
  X(context_pop, "cuCtxPopCurrent_v2", (CUcontext * context))                                                          \
  X(context_synchronize, "cuCtxSynchronize", (void))                                                                   \
  X(module_load, "cuModuleLoadData", (CUmodule * module, const void *image))                                           \
  X(module_unload, "cuModuleUnload", (CUmodule module))                                                                \
  X(module_function, "cuModuleGetFunction", (CUfunction * function, CUmodule module, const char *name))                \
  X(function_attribute, "cuFuncGetAttribute", (int *value, int attribute, CUfunction function))                        \
  X(function_set_attribute, "cuFuncSetAttribute", (CUfunction function, int attribute, int value))                     \
  X(launch, "cuLaunchKernelEx", (const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra))  \
  X(allocate, "cuMemAlloc_v2", (CUdeviceptr * memory, size_t size))                                                    \
  X(free, "cuMemFree_v2", (CUdeviceptr memory))                                                                        \
  X(copy_to_device, "cuMemcpyHtoD_v2", (CUdeviceptr to, const void *from, size_t size))                                \
  X(copy_to_host, "cuMemcpyDtoH_v2", (void *to, CUdeviceptr from, size_t size))                                        \
  X(fill, "cuMemsetD8Async", (CUdeviceptr to, unsigned char byte, size_t size, CUstream stream))                       \
  X(host_register, "cuMemHostRegister_v2", (void *memory, size_t size, unsigned flags))                                \
  X(host_unregister, "cuMemHostUnregister", (void *memory))                                                            \
  X(tensor_map_encode, "cuTensorMapEncodeTiled",                                                                       \
    (void *map, int type, unsigned rank, void *base, const unsigned long long *sizes,                                  \
     const unsigned long long *strides, const unsigned *box, const unsigned *element_strides, int interleave,          \
     int swizzle, int promotion, int fill))                                                                            \
  X(event_create, "cuEventCreate", (CUevent * event, unsigned flags))                                                  \
  X(event_destroy, "cuEventDestroy_v2", (CUevent event))                                                               \
  X(event_record, "cuEventRecord", (CUevent event, CUstream stream))                                                   \
  X(event_synchronize, "cuEventSynchronize", (CUevent event))                                                          \
  X(event_elapsed, "cuEventElapsedTime", (float *milliseconds, CUevent start, CUevent stop))

typedef struct {
#define ATTUNE_DRIVER_MEMBER(member, name, arguments) CUresult(*member) arguments;
  ATTUNE_DRIVER_FUNCTIONS(ATTUNE_DRIVER_MEMBER)
#undef ATTUNE_DRIVER_MEMBER
} attune_driver;

/* Opens libcuda ($ATTUNE_LIBCUDA alone if set, else libcuda.so.1, libcuda.so) and initialises it, once in a process.
 * ATTUNE_NO_DRIVER says what was tried; ATTUNE_NO_DEVICE where the driver finds none. */
attune_status attune_driver_get(const attune_driver **out);

/* ATTUNE_DRIVER_FAILED with the call, the error's name and the driver's words. */
attune_status attune_driver_failed(const attune_driver *driver, CUresult result, const char *call);

#endif
