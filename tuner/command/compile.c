/* attune compile: the kernels of a config for one architecture, and what they cost there. */
#include <stdlib.h>

#include "generator/base/status.h"
#include "tuner/command/verbs.h"
#include "tuner/files/file.h"

/* What is compiled. */
typedef struct {
  attune_device device;
  attune_steps steps;
  attune_kernel *kernels[ATTUNE_STEPS_MAX];
  int own; /* the step whose config was asked for */
} compilation;

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

static json_t *to_json(const compilation *self, int occupancy) {
  const attune_kernel *kernel = self->kernels[self->own];
  const attune_launch *launch = &self->steps.steps[self->own].launch;
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:i, s:i, s:o, s:I, s:f, s:s?, s:o}", "config",
                   kernel->config, "arch", kernel->arch, "compiler", kernel->compiler, "options", kernel->options,
                   "key", kernel->key, "source_sha256", kernel->source_sha256, "registers",
                   attune_json_count(kernel->registers), "spill_bytes", attune_json_count(kernel->spill_bytes),
                   "shared_static_bytes", attune_json_count(kernel->shared_static), "shared_dynamic_bytes",
                   launch->shared_bytes, "threads", launch->threads, "blocks_per_sm", attune_json_count(occupancy),
                   "binary_bytes", (json_int_t)kernel->binary_size, "compile_seconds", kernel->compile_seconds, "log",
                   attune_text_or_null(kernel->log), "steps",
                   attune_steps_to_json(&self->steps, &self->device, self->kernels));
}

/* Of a config that is a step itself, such as "dq.mma...", the one kernel. */
static attune_status steps_of(compilation *out, const attune_config *config, const attune_problem *problem) {
  attune_config kernels[ATTUNE_STEPS_MAX];
  const int count = attune_config_kernels(kernels, config);
  while (attune_config_compare(&kernels[out->own], config) != 0)
    out->own++;
  if (attune_config_operation(config) == attune_problem_operation(problem))
    return attune_steps_of(&out->steps, config, problem);
  out->steps.count = count;
  out->steps.steps[0].config = *config;
  return attune_launch_of(&out->steps.steps[0].launch, config, problem);
}

static attune_status report(const compilation *self, const attune_flags *flags) {
  const attune_kernel *kernel = self->kernels[self->own];
  const attune_step *own = &self->steps.steps[self->own];
  /* The simulator has no registers to count. */
  const int occupancy = kernel->registers > 0 ? attune_occupancy(&own->config, &self->device, kernel->registers) : -1;
  if (flags->json) return attune_print_json(to_json(self, occupancy));
  FILE *to = flags->output && attune_file_is_standard_output(flags->output) ? stderr : stdout;
  print(to, kernel, &own->launch, occupancy);
  if (self->steps.count == 1) return ATTUNE_OK;
  fprintf(to, "%d kernels, in this order:\n", self->steps.count);
  return attune_print_steps(to, &self->steps, &self->device, self->kernels);
}

static attune_status compile(const attune_flags *flags) {
  attune_problem problem, resolved;
  attune_config config;
  compilation self = {.own = 0};
  char arch[16];
  attune_status status = attune_problem_of_config(&problem, flags);
  if (status == ATTUNE_OK) status = attune_problem_resolve(&resolved, &problem);
  if (status == ATTUNE_OK) status = attune_device_of_flags(&self.device, arch, flags);
  if (status == ATTUNE_OK) status = attune_config_of_flags(&config, flags, &problem, &self.device);
  if (status == ATTUNE_OK) status = steps_of(&self, &config, &resolved);
  for (int i = 0; i < self.steps.count && status == ATTUNE_OK; i++)
    status = attune_kernel_compile(&self.kernels[i], &self.steps.steps[i].config, &problem, arch);
  const attune_kernel *kernel = self.kernels[self.own];
  if (status == ATTUNE_OK && flags->output != NULL)
    status = attune_file_write(flags->output, kernel->binary, kernel->binary_size);
  if (status == ATTUNE_OK) status = report(&self, flags);
  for (int i = 0; i < self.steps.count; i++)
    free(self.kernels[i]);
  return status;
}

int attune_verb_compile(int argc, char **argv) {
  attune_flags flags;
  int exit_code;
  if (!attune_verb_begin(&flags, &exit_code, argc, argv)) return exit_code;
  const attune_status status = compile(&flags);
  return status == ATTUNE_OK ? 0 : attune_verb_failed(&flags, status);
}
