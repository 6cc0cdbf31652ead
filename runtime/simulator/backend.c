/* The simulator as a machine: plain memory, the wall clock, and kernels that are shared objects. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "runtime/backend.h"
#include "runtime/simulator/runner.h"

typedef struct {
  attune_backend base;
  attune_simulator_runner *runner;
  uint64_t seed;
} host_machine;

typedef struct {
  attune_loaded base;
  attune_simulator_kernel *kernel;                     /* the same entry, */
  attune_simulator_kernel_with_maps *kernel_with_maps; /* as what it takes */
  attune_simulator_kernel_of_block_masks *kernel_of_block_masks;
  attune_simulator_kernel_of_gradients *kernel_of_gradients;
  attune_simulator_kernel_of_gradients_with_maps *kernel_of_gradients_with_maps;
  void *object; /* of dlopen */
  int file;
  char symbol[ATTUNE_TEXT_MAX + 8];
} host_loaded;

typedef struct {
  attune_timer base;
  double start, stop;
} host_timer;

/* ---- kernels ---- */

/* The file stays open as long as the object is loaded: the loader knows objects by name, and this one's name is its
 * number. */
static attune_status open_object(host_loaded *loaded, const attune_kernel *kernel) {
  loaded->file = memfd_create(loaded->symbol, MFD_CLOEXEC);
  if (loaded->file < 0)
    return attune_fail(errno == ENOMEM ? ATTUNE_OUT_OF_MEMORY : ATTUNE_DRIVER_FAILED, "memfd_create for %s: %s",
                       loaded->symbol, strerror(errno));
  const char *bytes = kernel->binary;
  for (size_t done = 0; done < kernel->binary_size;) {
    ssize_t n = write(loaded->file, bytes + done, kernel->binary_size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to load %s: %s", loaded->symbol, strerror(errno));
    done += (size_t)n;
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", loaded->file);
  loaded->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (loaded->object) return ATTUNE_OK;
  const char *why = dlerror();
  if (!why) why = "out of memory";                                                   /* for the message, too */
  const bool memory = strstr(why, "llocate memory") || strstr(why, "out of memory"); /* the loader has no other sign */
  return attune_fail(memory ? ATTUNE_OUT_OF_MEMORY : ATTUNE_DRIVER_FAILED, "cannot load %s: %s", loaded->symbol, why);
}

static attune_status bind(host_loaded *loaded) {
  void (*set)(const struct attune_simulator_calls *);
  *(void **)&set = dlsym(loaded->object, "attune_simulator_bind");
  *(void **)&loaded->kernel = *(void **)&loaded->kernel_with_maps = *(void **)&loaded->kernel_of_block_masks =
      *(void **)&loaded->kernel_of_gradients = *(void **)&loaded->kernel_of_gradients_with_maps =
          dlsym(loaded->object, loaded->symbol);
  if (!set || !loaded->kernel)
    return attune_fail(ATTUNE_DRIVER_FAILED, "%s is not in the kernel's binary",
                       set ? loaded->symbol : "attune_simulator_bind");
  set(&attune_simulator_runner_calls);
  return ATTUNE_OK;
}

static void unload(attune_loaded *base) {
  host_loaded *loaded = (host_loaded *)base;
  if (loaded->object) dlclose(loaded->object);
  if (loaded->file >= 0) close(loaded->file);
  free(loaded);
}

static attune_status load(attune_loaded **out, attune_backend *machine, const attune_kernel *kernel,
                          const attune_config *config) {
  host_loaded *loaded = calloc(1, sizeof *loaded);
  if (!loaded) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to load a kernel");
  loaded->base.machine = machine;
  loaded->file = -1;
  attune_status status = attune_config_symbol(loaded->symbol, config);
  if (status == ATTUNE_OK) status = open_object(loaded, kernel);
  if (status == ATTUNE_OK) status = bind(loaded);
  if (status == ATTUNE_OK)
    *out = &loaded->base;
  else
    unload(&loaded->base);
  return status;
}

/* Of formats the simulator knows the one that kernels have; L2 does not change results. */
static attune_status fill_map(struct attune_tensor_map *out, const attune_tensor_map_box *box, const void *base) {
  const attune_tensor_map_format *format = &box->format;
  if (format->type != ATTUNE_TMA_UINT16 || format->interleave != ATTUNE_TMA_INTERLEAVE_NONE ||
      format->swizzle != ATTUNE_TMA_SWIZZLE_128B || format->fill != ATTUNE_TMA_FILL_ZEROS || box->columns != 64)
    return attune_fail(ATTUNE_UNSUPPORTED,
                       "the simulator has tensor maps of 16-bit elements in boxes of 64 columns with the 128-byte "
                       "swizzle; that of %s has type %d, interleave %d, swizzle %d, fill %d, %d columns",
                       attune_tensor_table[box->tensor].name, format->type, format->interleave, format->swizzle,
                       format->fill, box->columns);
  attune_simulator_tensor_map_fill(out, base, box->size, box->stride, box->rows, box->inner);
  return ATTUNE_OK;
}

static attune_status launch(const attune_loaded *base, const attune_call *call, attune_stream stream) {
  (void)stream;
  const host_loaded *loaded = (const host_loaded *)base;
  const host_machine *machine = (const host_machine *)base->machine;
  const attune_step *step = call->step;
  attune_simulator_memory memory;
  attune_status status = attune_simulator_memory_of(&memory, call);
  struct attune_tensor_maps maps;
  struct attune_tensor_map *const each[ATTUNE_TENSOR_MAPS] = {&maps.q, &maps.k, &maps.v, &maps.o};
  for (int i = 0; i < step->map_count && status == ATTUNE_OK; i++)
    status = fill_map(each[i], &step->maps[i], attune_tensor_of_arguments(call->arguments, step->maps[i].tensor));
  if (status != ATTUNE_OK) return status;
  const attune_kernel_operation operation = attune_config_operation(&step->config);
  const bool builds_masks = operation == ATTUNE_OPERATION_BLOCK_MASK, attends = operation <= ATTUNE_OPERATION_COMBINE;
  const attune_simulator_grid grid = {.kernel = loaded->kernel,
                                      .kernel_with_maps = loaded->kernel_with_maps,
                                      .kernel_of_block_masks = loaded->kernel_of_block_masks,
                                      .kernel_of_gradients = loaded->kernel_of_gradients,
                                      .kernel_of_gradients_with_maps = loaded->kernel_of_gradients_with_maps,
                                      .name = loaded->symbol,
                                      .blocks = attune_launch_blocks(&step->launch, &base->machine->device),
                                      .threads = step->launch.threads,
                                      .cluster = step->launch.cluster,
                                      .shared_bytes = step->launch.shared_bytes,
                                      .on_an_sm = step->config.min_blocks_per_sm,
                                      .arguments = &call->arguments->problem,
                                      .block_mask = builds_masks ? &call->arguments->block_mask : NULL,
                                      .gradients = builds_masks || attends ? NULL : &call->arguments->backward,
                                      .maps = step->map_count > 0 ? &maps : NULL,
                                      .memory = &memory,
                                      .seed = machine->seed};
  return attune_simulator_run(machine->runner, &grid);
}

/* ---- memory ---- */

static attune_status allocate(void **out, attune_backend *machine, size_t size) {
  (void)machine;
  size_t rounded = (size + 255) / 256 * 256;
  if (rounded < size || !(*out = aligned_alloc(256, rounded ? rounded : 256)))
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "the simulator has no %zu bytes of memory", size);
  memset(*out, 0, rounded);
  return ATTUNE_OK;
}

static void release(attune_backend *machine, void *memory) {
  (void)machine;
  free(memory);
}

static attune_status copy(attune_backend *machine, void *to, const void *from, size_t size) {
  (void)machine;
  if (size > 0) memcpy(to, from, size);
  return ATTUNE_OK;
}

static bool pin(attune_backend *machine, void *host, size_t size) {
  (void)machine, (void)host, (void)size;
  return false; /* there is no link */
}

static void unpin(attune_backend *machine, void *host) {
  (void)machine, (void)host;
}

static attune_status fill(attune_backend *machine, void *to, int byte, size_t size, attune_stream stream) {
  (void)machine, (void)stream;
  if (size > 0) memset(to, byte, size);
  return ATTUNE_OK;
}

static attune_status synchronize(attune_backend *machine) {
  (void)machine; /* a launch returns when it is done */
  return ATTUNE_OK;
}

/* ---- time ---- */

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static attune_status timer_create_(attune_timer **out, attune_backend *machine) {
  host_timer *timer = calloc(1, sizeof *timer);
  if (!timer) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a timer");
  timer->base.machine = machine;
  *out = &timer->base;
  return ATTUNE_OK;
}

static void timer_destroy(attune_timer *timer) {
  free(timer);
}

static attune_status timer_start(attune_timer *timer) {
  ((host_timer *)timer)->start = now();
  return ATTUNE_OK;
}

static attune_status timer_stop(attune_timer *timer) {
  ((host_timer *)timer)->stop = now();
  return ATTUNE_OK;
}

static attune_status timer_seconds(attune_timer *timer, double *seconds) {
  *seconds = ((host_timer *)timer)->stop - ((host_timer *)timer)->start;
  return ATTUNE_OK;
}

/* ---- the machine ---- */

static void close_machine(attune_backend *base) {
  host_machine *machine = (host_machine *)base;
  attune_simulator_runner_destroy(machine->runner);
  free(machine);
}

static const attune_backend_operations operations = {
    .load = load,
    .unload = unload,
    .launch = launch,
    .allocate = allocate,
    .free = release,
    .write = copy,
    .read = copy,
    .pin = pin,
    .unpin = unpin,
    .fill = fill,
    .synchronize = synchronize,
    .timer_create = timer_create_,
    .timer_destroy = timer_destroy,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .timer_seconds = timer_seconds,
    .close = close_machine,
};

/* $ATTUNE_HOST_SEED goes before what the program asked for: it is how a user varies a schedule without touching it. */
static attune_status seed_of(uint64_t *seed) {
  const char *text = getenv("ATTUNE_HOST_SEED");
  if (!text || !*text) return ATTUNE_OK;
  char *end;
  errno = 0;
  *seed = strtoull(text, &end, 0);
  if (errno != 0 || *end || *text == '-')
    return attune_fail(ATTUNE_BAD_ARGUMENT, "ATTUNE_HOST_SEED is \"%s\"; it takes a number from 0 to 2^64 - 1", text);
  return ATTUNE_OK;
}

attune_status attune_backend_open_host(attune_backend **out, uint64_t seed) {
  *out = NULL;
  host_machine *machine = calloc(1, sizeof *machine);
  if (!machine) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the simulator");
  machine->base.operations = &operations;
  machine->seed = seed;
  attune_status status = seed_of(&machine->seed);
  if (status == ATTUNE_OK) status = attune_device_of_arch(&machine->base.device, "host");
  if (status == ATTUNE_OK) status = attune_simulator_runner_create(&machine->runner);
  if (status != ATTUNE_OK) {
    close_machine(&machine->base);
    return status;
  }
  snprintf(machine->base.device.name, sizeof machine->base.device.name, "host");
  machine->base.device.sm_count = attune_simulator_cores();
  snprintf(machine->base.name, sizeof machine->base.name, "host");
  snprintf(machine->base.arch, sizeof machine->base.arch, "host");
  *out = &machine->base;
  return ATTUNE_OK;
}
