/* attune compile: one kernel for one architecture, and what it costs there. */
#include <stdlib.h>

#include "generator/base/status.h"
#include "tuner/command/command.h"
#include "tuner/files/file.h"

static void print(FILE *to, const attune_kernel *kernel, const attune_launch *launch, int occupancy) {
  fprintf(to, "config           %s\n", kernel->config);
  fprintf(to, "architecture     %s\n", kernel->arch);
  fprintf(to, "compiler         %s, options %s\n", kernel->compiler, kernel->options);
  if (kernel->registers >= 0) fprintf(to, "registers        %d a thread\n", kernel->registers);
  if (kernel->spill_bytes >= 0) fprintf(to, "spills           %d bytes a thread\n", kernel->spill_bytes);
  char remark[160];
  if (attune_kernel_remark(remark, sizeof remark, kernel)) fprintf(to, "remark           %s\n", remark);
  if (kernel->shared_static >= 0) fprintf(to, "static shared    %d bytes\n", kernel->shared_static);
  fprintf(to, "dynamic shared   %d bytes\n", launch->shared_bytes);
  fprintf(to, "threads          %d a block\n", launch->threads);
  if (occupancy >= 0) fprintf(to, "occupancy        %d blocks an SM\n", occupancy);
  fprintf(to, "binary           %zu bytes\n", kernel->binary_size);
  fprintf(to, "compiled in      %.3f s\n", kernel->compile_seconds);
}

static json_t *to_json(const attune_kernel *kernel, const attune_launch *launch, int occupancy) {
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:i, s:i, s:o, s:I, s:f, s:s?}", "config",
                   kernel->config, "arch", kernel->arch, "compiler", kernel->compiler, "options", kernel->options,
                   "key", kernel->key, "source_sha256", kernel->source_sha256, "registers",
                   attune_json_count(kernel->registers), "spill_bytes", attune_json_count(kernel->spill_bytes),
                   "shared_static_bytes", attune_json_count(kernel->shared_static), "shared_dynamic_bytes",
                   launch->shared_bytes, "threads", launch->threads, "blocks_per_sm", attune_json_count(occupancy),
                   "binary_bytes", (json_int_t)kernel->binary_size, "compile_seconds", kernel->compile_seconds, "log",
                   attune_text_or_null(kernel->log));
}

static attune_status compile(const attune_flags *flags) {
  attune_problem problem, resolved;
  attune_device device;
  attune_config config;
  attune_launch launch;
  attune_kernel *kernel = NULL;
  char arch[16];
  attune_status status = attune_problem_of_config(&problem, flags);
  if (status == ATTUNE_OK) status = attune_problem_resolve(&resolved, &problem);
  if (status == ATTUNE_OK) status = attune_device_of_flags(&device, arch, flags);
  if (status == ATTUNE_OK) status = attune_config_of_flags(&config, flags, &problem, &device);
  if (status == ATTUNE_OK) status = attune_launch_of(&launch, &config, &resolved);
  if (status == ATTUNE_OK) status = attune_kernel_compile(&kernel, &config, &problem, arch);
  if (status == ATTUNE_OK && flags->output != NULL)
    status = attune_file_write(flags->output, kernel->binary, kernel->binary_size);
  if (status != ATTUNE_OK) goto out;
  /* The simulator has no registers to count. */
  const int occupancy = kernel->registers > 0 ? attune_occupancy(&config, &device, kernel->registers) : -1;
  if (flags->json)
    status = attune_print_json(to_json(kernel, &launch, occupancy));
  else
    print(flags->output && attune_file_is_standard_output(flags->output) ? stderr : stdout, kernel, &launch, occupancy);
out:
  free(kernel);
  return status;
}

int attune_verb_compile(int argc, char **argv) {
  attune_flags flags;
  int exit_code;
  if (!attune_verb_begin(&flags, &exit_code, argc, argv)) return exit_code;
  const attune_status status = compile(&flags);
  return status == ATTUNE_OK ? 0 : attune_verb_failed(&flags, status);
}
