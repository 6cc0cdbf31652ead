/* attune devices: where kernels can run here, and within which limits. */
#include <string.h>

#include "tuner/command/verbs.h"

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
    printf("%-8s the simulator: runs kernels on %d cores of the CPU, checked\n", name, device->sm_count);
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

/* What is found beside devices; where not, stderr hears why. */
static void find_compiler(json_t *found, const char *key, const char *title, const char *arch, bool json) {
  char compiler[64] = "";
  if (attune_compiler_of(compiler, arch) != ATTUNE_OK) fprintf(stderr, "attune: %s: %s\n", title, attune_message());
  json_object_set_new(found, key, *compiler != '\0' ? json_string(compiler) : json_null());
  if (!json && *compiler != '\0') printf("%-8s %s\n", title, compiler);
}

static void find_store(json_t *found, const attune_flags *flags) {
  attune_store *store = NULL;
  attune_store_counts counts = {0};
  attune_status status = attune_verb_open_store(&store, flags, ATTUNE_STORE_READ);
  if (status == ATTUNE_OK) status = attune_store_count(store, &counts);
  if (status != ATTUNE_OK) fprintf(stderr, "attune: store: %s\n", attune_message());
  json_object_set_new(found, "store", status == ATTUNE_OK ? attune_json_text(attune_store_path(store)) : json_null());
  if (status == ATTUNE_OK && !flags->json)
    printf("%-8s %s, %lld choices\n", "store", attune_store_path(store), (long long)counts.choices);
  if (store != NULL) attune_store_close(store);
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
  json_t *report = json_pack("{s:o}", "devices", list);
  find_compiler(report, "nvrtc", "NVRTC", "", flags.json);
  find_compiler(report, "host_compiler", "C++", "host", flags.json);
  find_store(report, &flags);
  attune_status status = ATTUNE_OK;
  if (flags.json)
    status = attune_print_json(report);
  else
    json_decref(report);
  if (status != ATTUNE_OK) return attune_verb_failed(&flags, status);
  return found > 0 ? 0 : 1;
}
