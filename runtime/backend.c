/* Opens a backend by name, then forwards every call to its table. */
#include "runtime/backend.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/driver.h"

/* Never the simulator: to it the caller's device pointers would be plain addresses. */
static attune_status open_default(attune_backend **out) {
  const attune_status status = attune_backend_open_cuda(out, -1);
  if (status != ATTUNE_NO_DRIVER && status != ATTUNE_NO_DEVICE) return status;
  return attune_fail(ATTUNE_NO_DEVICE,
                     "there is no CUDA device: %s. The simulator runs only where it is asked for by name: set the "
                     "device to \"host\"",
                     attune_message());
}

attune_status attune_backend_open(attune_backend **out, const char *name, uint64_t seed) {
  *out = NULL;
  if (!name || !*name) return open_default(out);
  if (!strcmp(name, "host")) return attune_backend_open_host(out, seed);
  if (!strcmp(name, "cuda")) return attune_backend_open_cuda(out, 0);
  char *end = NULL;
  long ordinal = strncmp(name, "cuda:", 5) ? -1 : strtol(name + 5, &end, 10);
  if (!end || end == name + 5 || *end || ordinal < 0 || ordinal > 1023)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "no device is called \"%s\"; use \"cuda:N\" or \"host\"", name);
  return attune_backend_open_cuda(out, (int)ordinal);
}

void attune_backend_close(attune_backend *machine) {
  if (machine) machine->operations->close(machine);
}

const attune_device *attune_backend_device(const attune_backend *machine) {
  return &machine->device;
}

const char *attune_backend_name(const attune_backend *machine) {
  return machine->name;
}

const char *attune_backend_arch(const attune_backend *machine) {
  return machine->arch;
}

const char *attune_backend_driver(const attune_backend *machine) {
  return machine->driver;
}

int attune_backend_count(void) {
  const attune_driver *driver;
  int count = 0;
  if (attune_driver_get(&driver) != ATTUNE_OK || driver->device_count(&count) != CUDA_SUCCESS) return 0;
  return count;
}

attune_status attune_load(attune_loaded **out, attune_backend *machine, const attune_kernel *kernel,
                          const attune_config *config) {
  *out = NULL;
  return machine->operations->load(out, machine, kernel, config);
}

void attune_unload(attune_loaded *loaded) {
  if (loaded) loaded->machine->operations->unload(loaded);
}

attune_status attune_memory_allocate(void **out, attune_backend *machine, size_t size) {
  *out = NULL;
  return machine->operations->allocate(out, machine, size);
}

void attune_memory_free(attune_backend *machine, void *memory) {
  if (memory) machine->operations->free(machine, memory);
}

attune_status attune_memory_write(attune_backend *machine, void *to, const void *from, size_t size) {
  return machine->operations->write(machine, to, from, size);
}

attune_status attune_memory_read(attune_backend *machine, void *to, const void *from, size_t size) {
  return machine->operations->read(machine, to, from, size);
}

bool attune_memory_pin(attune_backend *machine, void *host, size_t size) {
  return machine->operations->pin(machine, host, size);
}

void attune_memory_unpin(attune_backend *machine, void *host) {
  machine->operations->unpin(machine, host);
}

attune_status attune_memory_fill(attune_backend *machine, void *to, int byte, size_t size) {
  return machine->operations->fill(machine, to, byte, size, NULL);
}

attune_status attune_backend_synchronize(attune_backend *machine) {
  return machine->operations->synchronize(machine);
}

attune_status attune_timer_create(attune_timer **out, attune_backend *machine) {
  *out = NULL;
  return machine->operations->timer_create(out, machine);
}

void attune_timer_destroy(attune_timer *timer) {
  if (timer) timer->machine->operations->timer_destroy(timer);
}

attune_status attune_timer_start(attune_timer *timer) {
  return timer->machine->operations->timer_start(timer);
}

attune_status attune_timer_stop(attune_timer *timer) {
  return timer->machine->operations->timer_stop(timer);
}

attune_status attune_timer_seconds(attune_timer *timer, double *seconds) {
  return timer->machine->operations->timer_seconds(timer, seconds);
}
