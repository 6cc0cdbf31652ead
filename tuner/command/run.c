/* attune run: attention of the tensors of a file, through the public API alone but for device memory. */
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/command/command.h"
#include "tuner/files/file.h"
#include "tuner/files/qkv.h"
#include "tuner/verify/verifier.h"

/* Everything between the file that is read and the one that is written. */
typedef struct {
  attune_context *context;
  attune_plan *plan;
  attune_backend *machine;
  void *q, *k, *v, *o, *lse, *workspace; /* on the machine */
  void *bias, *sinks, *arrays[ATTUNE_PARAMS_MAX];
  attune_value values[ATTUNE_PARAMS_MAX];
  attune_block_mask block_mask; /* on the machine */
  int64_t rows, elements;       /* of O */
  uint16_t *host_o;
  float *host_lse;
  void *tensor_o; /* in the file's type */
} work;

static void end(work *self) {
  void *const memory[] = {self->q, self->k, self->v, self->o, self->lse, self->workspace, self->bias, self->sinks};
  for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
    if (memory[i] != NULL) attune_memory_free(self->machine, memory[i]);
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    if (self->arrays[i] != NULL) attune_memory_free(self->machine, self->arrays[i]);
  attune_host_block_mask_release(self->machine, &self->block_mask);
  attune_plan_destroy(self->plan);
  attune_context_destroy(self->context);
  free(self->host_o);
  free(self->host_lse);
  free(self->tensor_o);
}

static attune_status make_plan(work *self, const attune_flags *flags, const attune_problem *problem) {
  attune_options options;
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  attune_options_init(&options);
  options.device = attune_device_name(flags);
  options.database = flags->database;
  options.host_seed = flags->seed;
  attune_status status = attune_context_create(&self->context, &options);
  if (status != ATTUNE_OK) return status;
  if (*attune_context_warning(self->context)) fprintf(stderr, "attune: %s\n", attune_context_warning(self->context));
  self->machine = attune_context_machine(self->context);
  if (flags->config == NULL && flags->family == NULL) return attune_plan_create(&self->plan, self->context, problem);
  status = attune_config_of_flags(&config, flags, problem, attune_backend_device(self->machine));
  if (status == ATTUNE_OK) status = attune_config_print(text, &config);
  return status == ATTUNE_OK ? attune_plan_create_with(&self->plan, self->context, problem, text) : status;
}

static attune_status upload_bytes(void **out, attune_backend *machine, const void *bytes, size_t size) {
  const attune_status status = attune_memory_allocate(out, machine, size);
  return status == ATTUNE_OK ? attune_memory_write(machine, *out, bytes, size) : status;
}

static attune_status upload(void **out, attune_backend *machine, const uint16_t *elements, int64_t count) {
  return upload_bytes(out, machine, elements, (size_t)count * sizeof *elements);
}

static attune_status upload_given(work *self, const attune_qkv *qkv) {
  const attune_problem *p = &qkv->problem;
  attune_status status = ATTUNE_OK;
  const attune_layout bias = attune_layout_of(p, ATTUNE_TENSOR_BIAS);
  if (qkv->bias != NULL) status = upload(&self->bias, self->machine, qkv->bias, attune_layout_extent(&bias));
  if (status == ATTUNE_OK && qkv->sinks != NULL)
    status = upload_bytes(&self->sinks, self->machine, qkv->sinks, (size_t)p->heads_q * sizeof *qkv->sinks);
  attune_inputs_values(self->values, &qkv->given);
  for (int i = 0; i < ATTUNE_PARAMS_MAX && status == ATTUNE_OK; i++) {
    if (self->values[i].count == 0) continue;
    status = upload_bytes(&self->arrays[i], self->machine, self->values[i].array,
                          (size_t)self->values[i].count * sizeof(int32_t));
    self->values[i].array = self->arrays[i];
  }
  return status;
}

static attune_status make_memory(work *self, const attune_qkv *qkv) {
  const attune_problem *p = &qkv->problem;
  const int64_t rows_k = (int64_t)p->batch * p->seqlen_k * p->heads_kv;
  const size_t workspace = attune_plan_workspace(self->plan);
  attune_status status;
  self->rows = (int64_t)p->batch * p->seqlen_q * p->heads_q;
  self->elements = self->rows * p->head_dim_v;
  if ((status = upload(&self->q, self->machine, qkv->q, self->rows * p->head_dim)) != ATTUNE_OK) return status;
  if ((status = upload(&self->k, self->machine, qkv->k, rows_k * p->head_dim)) != ATTUNE_OK) return status;
  if ((status = upload(&self->v, self->machine, qkv->v, rows_k * p->head_dim_v)) != ATTUNE_OK) return status;
  if ((status = upload_given(self, qkv)) != ATTUNE_OK) return status;
  if (p->block_size > 0)
    status = attune_host_block_mask_upload(&self->block_mask, self->machine, p, &qkv->given.block_mask);
  if (status != ATTUNE_OK) return status;
  status = attune_memory_allocate(&self->o, self->machine, (size_t)self->elements * sizeof *self->host_o);
  if (status != ATTUNE_OK) return status;
  status = attune_memory_allocate(&self->lse, self->machine, (size_t)self->rows * sizeof *self->host_lse);
  if (status != ATTUNE_OK || workspace == 0) return status;
  return attune_memory_allocate(&self->workspace, self->machine, workspace);
}

static attune_status compute(work *self) {
  attune_tensors tensors;
  attune_tensors_init(&tensors);
  tensors.q = self->q;
  tensors.k = self->k;
  tensors.v = self->v;
  tensors.o = self->o;
  tensors.lse = self->lse;
  tensors.bias = self->bias;
  tensors.sinks = self->sinks;
  tensors.block_mask = self->block_mask;
  memcpy(tensors.values, self->values, sizeof tensors.values);
  const size_t o_size = (size_t)self->elements * sizeof *self->host_o;
  const size_t lse_size = (size_t)self->rows * sizeof *self->host_lse;
  attune_status status = attune_run(self->plan, &tensors, self->workspace, attune_plan_workspace(self->plan), NULL);
  if (status == ATTUNE_OK) status = attune_backend_synchronize(self->machine);
  if (status != ATTUNE_OK) return status;
  self->host_o = malloc(o_size);
  self->host_lse = malloc(lse_size);
  if (self->host_o == NULL || self->host_lse == NULL)
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an output of %zu bytes", o_size + lse_size);
  if ((status = attune_memory_read(self->machine, self->host_o, self->o, o_size)) != ATTUNE_OK) return status;
  return attune_memory_read(self->machine, self->host_lse, self->lse, lse_size);
}

static attune_status write_output(work *self, const char *path, const attune_qkv *qkv) {
  const attune_problem *p = &qkv->problem;
  attune_tensor tensors[] = {{.name = "o", .rank = 4, .shape = {p->batch, p->seqlen_q, p->heads_q, p->head_dim_v}},
                             {.name = "lse",
                              .dtype = "F32",
                              .rank = 3,
                              .shape = {p->batch, p->heads_q, p->seqlen_q},
                              .data = self->host_lse,
                              .size = (size_t)self->rows * sizeof *self->host_lse}};
  self->tensor_o = attune_elements_to_tensor(&tensors[0].size, qkv->dtype, p->dtype, self->host_o, self->elements);
  if (self->tensor_o == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the tensor o");
  strcpy(tensors[0].dtype, qkv->dtype);
  tensors[0].data = self->tensor_o;
  return attune_safetensors_write(path, tensors, 2);
}

static attune_status report(const work *self, const attune_flags *flags, const attune_problem *problem) {
  char text[ATTUNE_TEXT_MAX];
  if (attune_problem_print(text, problem) != ATTUNE_OK) text[0] = '\0';
  if (flags->json)
    return attune_print_json(json_pack("{s:s, s:o, s:s, s:s, s:s, s:s}", "device", attune_context_device(self->context),
                                       "problem", attune_problem_to_json(problem, NULL), "class", text, "config",
                                       attune_plan_config(self->plan), "source", attune_plan_source(self->plan),
                                       "output", flags->output));
  /* Standard output may be what was written. */
  FILE *to = attune_file_is_standard_output(flags->output) ? stderr : stdout;
  fprintf(to, "device   %s\nproblem  %s\nconfig   %s (%s)\nwritten  %s\n", attune_context_device(self->context), text,
          attune_plan_config(self->plan), attune_plan_source(self->plan), flags->output);
  return ATTUNE_OK;
}

static attune_status run(const attune_flags *flags) {
  attune_qkv qkv = {0};
  work self = {0};
  attune_status status = attune_require(flags->input, "input", "a safetensors file with q, k and v");
  if (status == ATTUNE_OK) status = attune_require(flags->output, "output", "where o and lse are written");
  if (status == ATTUNE_OK) status = attune_qkv_read(&qkv, flags->input, flags);
  if (status == ATTUNE_OK) status = make_plan(&self, flags, &qkv.problem);
  if (status == ATTUNE_OK) status = make_memory(&self, &qkv);
  if (status == ATTUNE_OK) status = compute(&self);
  if (status == ATTUNE_OK) status = write_output(&self, flags->output, &qkv);
  if (status == ATTUNE_OK) status = report(&self, flags, &qkv.problem);
  end(&self);
  attune_qkv_free(&qkv);
  return status;
}

int attune_verb_run(int argc, char **argv) {
  attune_flags flags;
  int exit_code;
  if (!attune_verb_begin(&flags, &exit_code, argc, argv)) return exit_code;
  const attune_status status = run(&flags);
  return status == ATTUNE_OK ? 0 : attune_verb_failed(&flags, status);
}
