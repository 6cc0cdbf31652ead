/* What each kernel of a config is launched with, and needs of an SM. */
#include "generator/base/status.h"
#include "tuner/command/verbs.h"

typedef struct {
  char config[ATTUNE_TEXT_MAX];
  int registers, spill_bytes; /* -1: unknown */
  int blocks_per_sm;          /* likewise */
} kernel_needs;

/* kernel: compiled, or NULL: estimated. The simulator has no registers to count. */
static attune_status needs_of(kernel_needs *out, const attune_step *step, const attune_device *device,
                              const attune_kernel *kernel) {
  *out = (kernel_needs){.registers = -1, .spill_bytes = -1, .blocks_per_sm = -1};
  const attune_status status = attune_config_print(out->config, &step->config);
  if (status != ATTUNE_OK || device->arch == 0) return status;
  out->registers = kernel != NULL ? kernel->registers : attune_registers_estimate(&step->config);
  out->spill_bytes = kernel != NULL ? kernel->spill_bytes : -1;
  if (kernel == NULL && out->registers > 255) out->registers = 255;
  if (out->registers > 0) out->blocks_per_sm = attune_occupancy(&step->config, device, out->registers);
  return ATTUNE_OK;
}

attune_status attune_print_steps(FILE *to, const attune_steps *steps, const attune_device *device,
                                 attune_kernel *const *kernels) {
  for (int i = 0; i < steps->count; i++) {
    const attune_step *step = &steps->steps[i];
    kernel_needs needs;
    const attune_status status = needs_of(&needs, step, device, kernels != NULL ? kernels[i] : NULL);
    if (status != ATTUNE_OK) return status;
    fprintf(to, "  %s\n    grid of %d, %d threads a block, %d bytes of shared memory", needs.config,
            attune_launch_blocks(&step->launch, device), step->launch.threads, step->launch.shared_bytes);
    if (needs.registers >= 0)
      fprintf(to, ", %s%d registers, %d blocks an SM", kernels != NULL ? "" : "about ", needs.registers,
              needs.blocks_per_sm);
    if (needs.spill_bytes > 0) fprintf(to, ", %d bytes spilled", needs.spill_bytes);
    fputc('\n', to);
  }
  return ATTUNE_OK;
}

json_t *attune_steps_to_json(const attune_steps *steps, const attune_device *device, attune_kernel *const *kernels) {
  json_t *array = json_array();
  for (int i = 0; i < steps->count && array != NULL; i++) {
    const attune_step *step = &steps->steps[i];
    kernel_needs needs;
    if (needs_of(&needs, step, device, kernels != NULL ? kernels[i] : NULL) == ATTUNE_OK &&
        json_array_append_new(array, json_pack("{s:s, s:i, s:i, s:i, s:o, s:o, s:o}", "config", needs.config, "grid",
                                               attune_launch_blocks(&step->launch, device), "threads",
                                               step->launch.threads, "shared_dynamic_bytes", step->launch.shared_bytes,
                                               "registers", attune_json_count(needs.registers), "spill_bytes",
                                               attune_json_count(needs.spill_bytes), "blocks_per_sm",
                                               attune_json_count(needs.blocks_per_sm))) == 0)
      continue;
    json_decref(array);
    array = NULL;
  }
  return array;
}
