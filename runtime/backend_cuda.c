/* A CUDA device as a machine. Every call makes the machine's context current for its own length only: where the
 * caller's current context is that one already, which is what a framework's thread has, this costs one cuCtxGetCurrent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/backend.h"
#include "runtime/driver.h"

enum { OLDEST_ARCH = 80, CUBIN_ALIGNMENT = 16 };

typedef struct {
  attune_backend base;
  const attune_driver *driver;
  CUdevice device;
  CUcontext context;
  bool retained;           /* the primary context, to be released */
  bool takes_programmatic; /* launches that may start before what is before them ends, in graphs too */
} cuda_machine;

typedef struct {
  attune_loaded base;
  CUmodule module;
  CUfunction function;
} cuda_loaded;

typedef struct {
  attune_timer base;
  CUevent start, stop;
} cuda_timer;

static cuda_machine *cuda_of(attune_backend *machine) {
  return (cuda_machine *)machine;
}

/* ---- context ---- */

static attune_status enter(const cuda_machine *machine, bool *pushed) {
  const attune_driver *driver = machine->driver;
  CUcontext current = NULL;
  *pushed = false;
  CUresult result = driver->context_current(&current);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuCtxGetCurrent");
  if (current == machine->context) return ATTUNE_OK;
  result = driver->context_push(machine->context);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuCtxPushCurrent");
  *pushed = true;
  return ATTUNE_OK;
}

static void leave(const cuda_machine *machine, bool pushed) {
  CUcontext popped;
  if (pushed) machine->driver->context_pop(&popped);
}

/* Runs one driver call inside the machine's context; `driver` names the functions in it. */
#define IN_CONTEXT(machine_, name, call)                                                                               \
  do {                                                                                                                 \
    const cuda_machine *inside = (machine_);                                                                           \
    const attune_driver *driver = inside->driver;                                                                      \
    bool pushed;                                                                                                       \
    attune_status entered = enter(inside, &pushed);                                                                    \
    if (entered != ATTUNE_OK) return entered;                                                                          \
    CUresult result = driver->call;                                                                                    \
    leave(inside, pushed);                                                                                             \
    return result == CUDA_SUCCESS ? ATTUNE_OK : attune_driver_failed(driver, result, name);                            \
  } while (0)

/* ---- open ---- */

/* "580.159.04 (CUDA 13.0)"; the kernel module's version where the system shows it. */
static void describe_driver(char *out, size_t size, int version) {
  char module[32] = "";
  FILE *file = fopen("/sys/module/nvidia/version", "re");
  if (file) {
    if (fgets(module, sizeof module, file)) module[strcspn(module, "\n")] = '\0';
    fclose(file);
  }
  snprintf(out, size, *module ? "%s (CUDA %d.%d)" : "%sCUDA %d.%d", module, version / 1000, version % 1000 / 10);
}

static attune_status read_attributes(cuda_machine *machine) {
  attune_device *device = &machine->base.device;
  int major = 0, minor = 0, l2 = 0, memory_khz = 0, bus_bits = 0;
  const struct {
    int attribute;
    int *value;
  } wanted[] = {
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &device->sm_count},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &device->shared_per_block},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, &device->shared_per_sm},
      {CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, &device->shared_reserved},
      {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, &device->registers_per_sm},
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, &device->threads_per_sm},
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &device->threads_per_block},
      {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, &device->blocks_per_sm},
      {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, &l2},
      {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, &device->clock_khz},
      {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, &memory_khz},
      {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, &bus_bits},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    CUresult result = machine->driver->device_attribute(wanted[i].value, wanted[i].attribute, machine->device);
    if (result != CUDA_SUCCESS) return attune_driver_failed(machine->driver, result, "cuDeviceGetAttribute");
  }
  device->arch = 10 * major + minor;
  device->matrix_rate = attune_card_matrix_rate(device->name, device->arch);
  device->l2_bytes = l2;
  device->memory_bandwidth = (int64_t)memory_khz * 1000 * 2 * (bus_bits / 8); /* two transfers a clock */
  return ATTUNE_OK;
}

static attune_status read_device(cuda_machine *machine, int ordinal) {
  const attune_driver *driver = machine->driver;
  attune_device *device = &machine->base.device;
  size_t memory = 0;
  CUresult result = driver->device_name(device->name, sizeof device->name, machine->device);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuDeviceGetName");
  result = driver->device_memory(&memory, machine->device);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuDeviceTotalMem");
  device->memory_bytes = (int64_t)memory;
  attune_status status = read_attributes(machine);
  if (status != ATTUNE_OK) return status;
  if (device->arch < OLDEST_ARCH)
    return attune_fail(ATTUNE_UNSUPPORTED, "cuda:%d, %s, is sm_%d; needs sm_%d or later, or use the device \"host\"",
                       ordinal, device->name, device->arch, OLDEST_ARCH);
  snprintf(machine->base.name, sizeof machine->base.name, "cuda:%d", ordinal);
  snprintf(machine->base.arch, sizeof machine->base.arch, "sm_%d", device->arch);
  int version = 0;
  if (driver->driver_version(&version) != CUDA_SUCCESS) version = 0;
  describe_driver(machine->base.driver, sizeof machine->base.driver, version);
  machine->takes_programmatic = device->arch >= 90 && version >= 12030;
  return ATTUNE_OK;
}

/* The ordinal of the current context's device, and the context; ordinal -1 where none is current. */
static attune_status find_current(const attune_driver *driver, CUcontext *context, int *ordinal) {
  *ordinal = -1;
  *context = NULL;
  CUresult result = driver->context_current(context);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuCtxGetCurrent");
  if (!*context) return ATTUNE_OK;
  CUdevice current, device;
  int count = 0;
  result = driver->context_device(&current);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuCtxGetDevice");
  result = driver->device_count(&count);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuDeviceGetCount");
  for (int i = 0; i < count; i++)
    if (driver->device_get(&device, i) == CUDA_SUCCESS && device == current) *ordinal = i;
  return ATTUNE_OK;
}

static attune_status choose_context(cuda_machine *machine, CUcontext current, bool same_device) {
  if (same_device) {
    machine->context = current;
    return ATTUNE_OK;
  }
  CUresult result = machine->driver->primary_retain(&machine->context, machine->device);
  if (result != CUDA_SUCCESS) return attune_driver_failed(machine->driver, result, "cuDevicePrimaryCtxRetain");
  machine->retained = true;
  return ATTUNE_OK;
}

static attune_status open_ordinal(cuda_machine *machine, int ordinal) {
  const attune_driver *driver = machine->driver;
  CUcontext current;
  int current_ordinal, count = 0;
  attune_status status = find_current(driver, &current, &current_ordinal);
  if (status != ATTUNE_OK) return status;
  if (ordinal < 0) ordinal = current_ordinal < 0 ? 0 : current_ordinal;
  CUresult result = driver->device_count(&count);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuDeviceGetCount");
  if (ordinal >= count)
    return attune_fail(ATTUNE_NO_DEVICE, "cuda:%d asked for, the driver has %d GPU%s; check CUDA_VISIBLE_DEVICES",
                       ordinal, count, count == 1 ? "" : "s");
  result = driver->device_get(&machine->device, ordinal);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuDeviceGet");
  status = read_device(machine, ordinal);
  if (status != ATTUNE_OK) return status;
  return choose_context(machine, current, ordinal == current_ordinal);
}

static void close_machine(attune_backend *machine) {
  cuda_machine *cuda = cuda_of(machine);
  if (cuda->retained) cuda->driver->primary_release(cuda->device);
  free(cuda);
}

/* ---- kernels ---- */

/* The driver reads the cubin as an ELF file in place, so it must be aligned; a row of a store need not be. */
static attune_status load_module(cuda_loaded *loaded, const attune_driver *driver, const attune_kernel *kernel) {
  void *copy = NULL;
  const void *image = kernel->binary;
  if ((uintptr_t)image % CUBIN_ALIGNMENT) {
    size_t size = (kernel->binary_size + CUBIN_ALIGNMENT - 1) / CUBIN_ALIGNMENT * CUBIN_ALIGNMENT;
    copy = aligned_alloc(CUBIN_ALIGNMENT, size);
    if (!copy) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a cubin of %zu bytes", kernel->binary_size);
    memcpy(copy, kernel->binary, kernel->binary_size);
    image = copy;
  }
  CUresult result = driver->module_load(&loaded->module, image);
  free(copy);
  return result == CUDA_SUCCESS ? ATTUNE_OK : attune_driver_failed(driver, result, "cuModuleLoadData");
}

/* Lets a launch ask for all the dynamic shared memory that the device allows beside the kernel's static part. */
static attune_status prepare(cuda_loaded *loaded, const cuda_machine *machine, const char *symbol) {
  const attune_driver *driver = machine->driver;
  int fixed = 0;
  CUresult result = driver->module_function(&loaded->function, loaded->module, symbol);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuModuleGetFunction");
  result = driver->function_attribute(&fixed, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, loaded->function);
  if (result != CUDA_SUCCESS) return attune_driver_failed(driver, result, "cuFuncGetAttribute");
  result = driver->function_set_attribute(loaded->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                          machine->base.device.shared_per_block - fixed);
  return result == CUDA_SUCCESS ? ATTUNE_OK : attune_driver_failed(driver, result, "cuFuncSetAttribute");
}

static attune_status load(attune_loaded **out, attune_backend *machine, const attune_kernel *kernel,
                          const attune_config *config) {
  cuda_machine *cuda = cuda_of(machine);
  char symbol[ATTUNE_TEXT_MAX + 8];
  bool pushed;
  attune_status status = attune_config_symbol(symbol, config);
  if (status != ATTUNE_OK) return status;
  cuda_loaded *loaded = calloc(1, sizeof *loaded);
  if (!loaded) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a kernel");
  loaded->base.machine = machine;
  status = enter(cuda, &pushed);
  if (status != ATTUNE_OK) goto out;
  status = load_module(loaded, cuda->driver, kernel);
  if (status == ATTUNE_OK) status = prepare(loaded, cuda, symbol);
  if (status != ATTUNE_OK && loaded->module) cuda->driver->module_unload(loaded->module);
  leave(cuda, pushed);
out:
  if (status == ATTUNE_OK)
    *out = &loaded->base;
  else
    free(loaded);
  return status;
}

static void unload(attune_loaded *base) {
  cuda_loaded *loaded = (cuda_loaded *)base;
  cuda_machine *cuda = cuda_of(base->machine);
  bool pushed;
  if (enter(cuda, &pushed) == ATTUNE_OK) {
    cuda->driver->module_unload(loaded->module);
    leave(cuda, pushed);
  }
  free(loaded);
}

/* The maps hold the tensors' addresses, so that each launch makes its own: some hundred nanoseconds, no call to the
 * GPU. */
static attune_status encode_map(struct attune_tensor_map *out, const attune_driver *driver,
                                const attune_tensor_map_box *box, void *base) {
  enum { RANK = 4 };
  const unsigned extents[RANK] = {(unsigned)box->columns, (unsigned)box->inner, (unsigned)(box->rows / box->inner), 1},
                 ones[RANK] = {1, 1, 1, 1};
  unsigned long long sizes[RANK], strides[RANK - 1];
  for (int d = 0; d < RANK; d++)
    sizes[d] = (unsigned long long)box->size[d];
  for (int d = 0; d < RANK - 1; d++)
    strides[d] = (unsigned long long)box->stride[d];
  const attune_tensor_map_format *format = &box->format;
  const CUresult result =
      driver->tensor_map_encode(out, format->type, RANK, base, sizes, strides, extents, ones, format->interleave,
                                format->swizzle, format->promotion, format->fill);
  return result == CUDA_SUCCESS ? ATTUNE_OK : attune_driver_failed(driver, result, "cuTensorMapEncodeTiled");
}

static attune_status launch(const attune_loaded *base, const attune_call *call, attune_stream stream) {
  const cuda_loaded *loaded = (const cuda_loaded *)base;
  const cuda_machine *machine = cuda_of(base->machine);
  const attune_step *step = call->step;
  const int grid = attune_launch_blocks(&step->launch, &base->machine->device);
  struct attune_tensor_map maps[ATTUNE_TENSOR_MAPS];
  void *parameters[] = {(void *)call->arguments, maps}; /* a kernel takes as many as it declares */
  bool pushed;
  attune_status status = enter(machine, &pushed);
  if (status != ATTUNE_OK) return status;
  for (int i = 0; i < step->map_count && status == ATTUNE_OK; i++)
    status = encode_map(&maps[i], machine->driver, &step->maps[i],
                        attune_tensor_of_arguments(call->arguments, step->maps[i].tensor));
  if (status == ATTUNE_OK) {
    CUlaunchAttribute early = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                               .value.programmatic_stream_serialization_allowed = 1};
    const CUlaunchConfig config = {.grid_x = (unsigned)grid,
                                   .grid_y = 1,
                                   .grid_z = 1,
                                   .block_x = (unsigned)step->launch.threads,
                                   .block_y = 1,
                                   .block_z = 1,
                                   .shared_bytes = (unsigned)step->launch.shared_bytes,
                                   .stream = stream,
                                   .attributes = &early,
                                   .attribute_count = step->launch.programmatic && machine->takes_programmatic};
    const CUresult result = machine->driver->launch(&config, loaded->function, parameters, NULL);
    if (result != CUDA_SUCCESS) status = attune_driver_failed(machine->driver, result, "cuLaunchKernelEx");
  }
  leave(machine, pushed);
  return status;
}

/* ---- memory ---- */

static CUdeviceptr address(const void *memory) {
  return (CUdeviceptr)(uintptr_t)memory;
}

static attune_status allocate(void **out, attune_backend *machine, size_t size) {
  const cuda_machine *cuda = cuda_of(machine);
  CUdeviceptr memory = 0;
  bool pushed;
  attune_status status = enter(cuda, &pushed);
  if (status != ATTUNE_OK) return status;
  CUresult result = cuda->driver->allocate(&memory, size ? size : 1);
  leave(cuda, pushed);
  char call[64];
  snprintf(call, sizeof call, "cuMemAlloc of %zu bytes", size);
  if (result != CUDA_SUCCESS) return attune_driver_failed(cuda->driver, result, call);
  *out = (void *)(uintptr_t)memory;
  return ATTUNE_OK;
}

static void free_memory(attune_backend *machine, void *memory) {
  const cuda_machine *cuda = cuda_of(machine);
  bool pushed;
  if (enter(cuda, &pushed) != ATTUNE_OK) return;
  cuda->driver->free(address(memory));
  leave(cuda, pushed);
}

static attune_status write_memory(attune_backend *machine, void *to, const void *from, size_t size) {
  IN_CONTEXT(cuda_of(machine), "cuMemcpyHtoD", copy_to_device(address(to), from, size));
}

static attune_status read_memory(attune_backend *machine, void *to, const void *from, size_t size) {
  IN_CONTEXT(cuda_of(machine), "cuMemcpyDtoH", copy_to_host(to, address(from), size));
}

static bool pin(attune_backend *machine, void *host, size_t size) {
  const cuda_machine *cuda = cuda_of(machine);
  bool pushed;
  if (enter(cuda, &pushed) != ATTUNE_OK) return false;
  const CUresult result = cuda->driver->host_register(host, size, 0);
  leave(cuda, pushed);
  return result == CUDA_SUCCESS;
}

static void unpin(attune_backend *machine, void *host) {
  const cuda_machine *cuda = cuda_of(machine);
  bool pushed;
  if (enter(cuda, &pushed) != ATTUNE_OK) return;
  cuda->driver->host_unregister(host);
  leave(cuda, pushed);
}

static attune_status fill(attune_backend *machine, void *to, int byte, size_t size, attune_stream stream) {
  IN_CONTEXT(cuda_of(machine), "cuMemsetD8Async", fill(address(to), (unsigned char)byte, size, stream));
}

static attune_status synchronize(attune_backend *machine) {
  IN_CONTEXT(cuda_of(machine), "cuCtxSynchronize", context_synchronize());
}

/* ---- timer ---- */

static void timer_destroy(attune_timer *base) {
  cuda_timer *timer = (cuda_timer *)base;
  const cuda_machine *cuda = cuda_of(base->machine);
  bool pushed;
  if (enter(cuda, &pushed) == ATTUNE_OK) {
    if (timer->start) cuda->driver->event_destroy(timer->start);
    if (timer->stop) cuda->driver->event_destroy(timer->stop);
    leave(cuda, pushed);
  }
  free(timer);
}

static attune_status timer_create(attune_timer **out, attune_backend *machine) {
  const cuda_machine *cuda = cuda_of(machine);
  bool pushed;
  cuda_timer *timer = calloc(1, sizeof *timer);
  if (!timer) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a timer");
  timer->base.machine = machine;
  attune_status status = enter(cuda, &pushed);
  if (status == ATTUNE_OK) {
    CUresult result = cuda->driver->event_create(&timer->start, CU_EVENT_DEFAULT);
    if (result == CUDA_SUCCESS) result = cuda->driver->event_create(&timer->stop, CU_EVENT_DEFAULT);
    if (result != CUDA_SUCCESS) status = attune_driver_failed(cuda->driver, result, "cuEventCreate");
    leave(cuda, pushed);
  }
  if (status == ATTUNE_OK)
    *out = &timer->base;
  else
    timer_destroy(&timer->base);
  return status;
}

static attune_status timer_start(attune_timer *timer) {
  IN_CONTEXT(cuda_of(timer->machine), "cuEventRecord", event_record(((cuda_timer *)timer)->start, NULL));
}

static attune_status timer_stop(attune_timer *timer) {
  IN_CONTEXT(cuda_of(timer->machine), "cuEventRecord", event_record(((cuda_timer *)timer)->stop, NULL));
}

static attune_status timer_seconds(attune_timer *base, double *seconds) {
  cuda_timer *timer = (cuda_timer *)base;
  const cuda_machine *cuda = cuda_of(base->machine);
  float milliseconds = 0;
  bool pushed;
  attune_status status = enter(cuda, &pushed);
  if (status != ATTUNE_OK) return status;
  CUresult result = cuda->driver->event_synchronize(timer->stop);
  if (result == CUDA_SUCCESS) result = cuda->driver->event_elapsed(&milliseconds, timer->start, timer->stop);
  leave(cuda, pushed);
  if (result != CUDA_SUCCESS) return attune_driver_failed(cuda->driver, result, "cuEventSynchronize");
  *seconds = (double)milliseconds / 1e3;
  return ATTUNE_OK;
}

static const attune_backend_operations operations = {
    .load = load,
    .unload = unload,
    .launch = launch,
    .allocate = allocate,
    .free = free_memory,
    .write = write_memory,
    .read = read_memory,
    .pin = pin,
    .unpin = unpin,
    .fill = fill,
    .synchronize = synchronize,
    .timer_create = timer_create,
    .timer_destroy = timer_destroy,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .timer_seconds = timer_seconds,
    .close = close_machine,
};

attune_status attune_backend_open_cuda(attune_backend **out, int ordinal) {
  *out = NULL;
  const attune_driver *driver;
  attune_status status = attune_driver_get(&driver);
  if (status != ATTUNE_OK) return status;
  cuda_machine *machine = calloc(1, sizeof *machine);
  if (!machine) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a machine");
  machine->base.operations = &operations;
  machine->driver = driver;
  status = open_ordinal(machine, ordinal);
  if (status == ATTUNE_OK)
    *out = &machine->base;
  else
    free(machine);
  return status;
}
