/* attune devices: where kernels can run here, and within which limits. */
#include <string.h>

#include "tuner/command/command.h"

static json_t *describe(const char *name, const char *driver, const attune_device *device) {
  char arch[16] = "host";
  if (device->arch > 0) snprintf(arch, sizeof arch, "sm_%d", (int)device->arch);
  return json_pack("{s:s, s:s, s:s?, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:i, s:I}", "name", name, "device",
                   device->name, "driver", attune_text_or_null(driver), "arch", arch, "sm_count", device->sm_count,
                   "shared_per_block_bytes", device->shared_per_block, "shared_per_sm_bytes", device->shared_per_sm,
                   "registers_per_sm", device->registers_per_sm, "threads_per_sm", device->threads_per_sm, "l2_bytes",
                   (json_int_t)device->l2_bytes, "memory_bytes", (json_int_t)device->memory_bytes, "clock_khz",
                   device->clock_khz, "memory_bytes_per_second", (json_int_t)device->memory_bandwidth);
}

static void print(const char *name, const char *driver, const attune_device *device) {
  if (device->arch == 0) {
    printf("%-8s runs kernels on %d cores of the CPU, checked; needs a C++17 compiler\n", name, device->sm_count);
    printf("         shared memory %d bytes a block, %d threads a block\n", device->shared_per_block,
           device->threads_per_block);
    return;
  }
  printf("%-8s %s, sm_%d, %d SMs, driver %s\n", name, device->name, device->arch, device->sm_count, driver);
  printf("         shared memory %d bytes a block, %d an SM\n         %d registers and %d threads an SM\n",
         device->shared_per_block, device->shared_per_sm, device->registers_per_sm, device->threads_per_sm);
  printf("         L2 %.1f MiB, memory %.1f GiB at %.0f GB/s, %.0f MHz\n", (double)device->l2_bytes / 0x1p20,
         (double)device->memory_bytes / 0x1p30, (double)device->memory_bandwidth / 1e9,
         (double)device->clock_khz / 1e3);
}

/* A device that cannot be opened, or written as JSON, is reported on stderr and left out. */
static int add(json_t *list, const attune_flags *flags, const char *name) {
  attune_backend *machine = NULL;
  attune_status status = attune_backend_open(&machine, name, 0);
  if (status == ATTUNE_OK) {
    const attune_device *device = attune_backend_device(machine);
    if (flags->json)
      status = attune_json_append(list, describe(name, attune_backend_driver(machine), device));
    else
      print(name, attune_backend_driver(machine), device);
    attune_backend_close(machine);
  }
  if (status != ATTUNE_OK) fprintf(stderr, "attune: %s: %s\n", name, attune_message());
  return status == ATTUNE_OK;
}

int attune_verb_devices(int argc, char **argv) {
  attune_flags flags;
  int exit_code, found = 0;
  if (!attune_verb_begin(&flags, &exit_code, argc, argv)) return exit_code;
  json_t *list = json_array();
  const int count = attune_backend_count();
  for (int i = 0; i < (count > 0 ? count : 1); i++) { /* asked for even if there is none, to hear why */
    char name[32];
    snprintf(name, sizeof name, "cuda:%d", i);
    found += add(list, &flags, name);
  }
  found += add(list, &flags, "host");
  const attune_status status = flags.json ? attune_print_json(json_pack("{s:O}", "devices", list)) : ATTUNE_OK;
  json_decref(list);
  if (status != ATTUNE_OK) return attune_verb_failed(&flags, status);
  return found > 0 ? 0 : 1;
}
