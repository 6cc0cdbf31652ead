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
  attune_plan *plan, *forward; /* forward: what makes O and LSE for a backward pass whose file has none */
  attune_backend *machine;
  attune_problem problem;                                                    /* resolved */
  attune_run_inputs run;                                                     /* on the machine */
  void *memory[ATTUNE_TENSOR_PARAM], *arrays[ATTUNE_PARAMS_MAX], *workspace; /* of it, what is to be freed */
  void *host[ATTUNE_TENSOR_PARAM];                                           /* of what is written */
} work;

static void end(work *self) {
  for (int i = 0; i < ATTUNE_TENSOR_PARAM; i++) {
    if (self->memory[i] != NULL) attune_memory_free(self->machine, self->memory[i]);
    free(self->host[i]);
  }
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    if (self->arrays[i] != NULL) attune_memory_free(self->machine, self->arrays[i]);
  if (self->workspace != NULL) attune_memory_free(self->machine, self->workspace);
  attune_host_block_mask_release(self->machine, &self->run.tensors.block_mask);
  attune_plan_destroy(self->plan);
  attune_plan_destroy(self->forward);
  attune_context_destroy(self->context);
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
  status = attune_problem_resolve(&self->problem, problem);
  if (status != ATTUNE_OK) return status;
  if (flags->config == NULL && flags->family == NULL) return attune_plan_create(&self->plan, self->context, problem);
  status = attune_config_of_flags(&config, flags, problem, attune_backend_device(self->machine));
  if (status == ATTUNE_OK) status = attune_config_print(text, &config);
  return status == ATTUNE_OK ? attune_plan_create_with(&self->plan, self->context, problem, text) : status;
}

static attune_status make_forward(work *self, const attune_qkv *qkv) {
  attune_problem forward = qkv->problem;
  forward.operation = ATTUNE_FORWARD;
  if (qkv->problem.operation == ATTUNE_FORWARD || qkv->o != NULL) return ATTUNE_OK;
  return attune_plan_create(&self->forward, self->context, &forward);
}

/* ---- memory ---- */

static attune_layout layout_of(const work *self, attune_tensor_id id) {
  return attune_layout_in(&self->problem, id, &self->run);
}

static size_t size_of(const work *self, attune_tensor_id id) {
  const attune_layout layout = layout_of(self, id);
  return (size_t)attune_layout_extent(&layout) * (size_t)attune_element_bytes(attune_tensor_table[id].element);
}

static attune_status upload_bytes(void **out, attune_backend *machine, const void *bytes, size_t size) {
  const attune_status status = attune_memory_allocate(out, machine, size);
  return status == ATTUNE_OK ? attune_memory_write(machine, *out, bytes, size) : status;
}

/* bytes may be NULL: they are to be written. */
static attune_status place(work *self, attune_tensor_id id, const void *bytes) {
  void **const to = &self->memory[id];
  const size_t size = size_of(self, id);
  const attune_status status =
      bytes != NULL ? upload_bytes(to, self->machine, bytes, size) : attune_memory_allocate(to, self->machine, size);
  memcpy((char *)&self->run + attune_tensor_table[id].run, to, sizeof *to);
  return status;
}

static attune_status upload_given(work *self, const attune_qkv *qkv) {
  const struct {
    attune_tensor_id id;
    const void *bytes;
  } given[] = {{ATTUNE_TENSOR_Q, qkv->q},       {ATTUNE_TENSOR_K, qkv->k},         {ATTUNE_TENSOR_V, qkv->v},
               {ATTUNE_TENSOR_BIAS, qkv->bias}, {ATTUNE_TENSOR_SINKS, qkv->sinks}, {ATTUNE_TENSOR_DO, qkv->d_o},
               {ATTUNE_TENSOR_DLSE, qkv->dlse}, {ATTUNE_TENSOR_O, qkv->o},         {ATTUNE_TENSOR_LSE, qkv->lse}};
  attune_status status = ATTUNE_OK;
  for (size_t i = 0; i < sizeof given / sizeof *given && status == ATTUNE_OK; i++)
    if (given[i].bytes != NULL) status = place(self, given[i].id, given[i].bytes);
  attune_value *const values = self->run.tensors.values;
  attune_inputs_values(values, &qkv->given);
  for (int i = 0; i < ATTUNE_PARAMS_MAX && status == ATTUNE_OK; i++) {
    if (values[i].count == 0) continue;
    status = upload_bytes(&self->arrays[i], self->machine, values[i].array, (size_t)values[i].count * sizeof(int32_t));
    values[i].array = self->arrays[i];
  }
  if (status == ATTUNE_OK && qkv->problem.block_size > 0)
    status = attune_host_block_mask_upload(&self->run.tensors.block_mask, self->machine, &qkv->problem,
                                           &qkv->given.block_mask);
  return status;
}

/* What the file that is written has: outputs, and what forward computes for a backward pass. */
static bool is_written(const work *self, attune_tensor_id id) {
  const attune_tensor_row *row = &attune_tensor_table[id];
  return row->role == ATTUNE_TENSOR_OUTPUT && row->need(&self->problem) != ATTUNE_NEED_NO &&
         layout_of(self, id).width > 0;
}

static attune_status make_memory(work *self, const attune_qkv *qkv) {
  const size_t sizes[] = {attune_plan_workspace(self->plan), attune_plan_workspace(self->forward)};
  const size_t workspace = sizes[0] > sizes[1] ? sizes[0] : sizes[1]; /* the one runs after the other */
  attune_tensors_init(&self->run.tensors);
  attune_status status = upload_given(self, qkv);
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS && status == ATTUNE_OK; id++)
    if (is_written(self, id) && self->memory[id] == NULL) status = place(self, id, NULL);
  if (status != ATTUNE_OK || workspace == 0) return status;
  return attune_memory_allocate(&self->workspace, self->machine, workspace);
}

/* ---- the run ---- */

static attune_status compute_forward(const work *self) {
  attune_tensors tensors = self->run.tensors;
  if (self->forward == NULL) return ATTUNE_OK;
  tensors.d_o = NULL;
  tensors.dlse = NULL;
  tensors.dq = tensors.dk = tensors.dv = tensors.dbias = NULL;
  tensors.dsinks = NULL;
  memset(tensors.dparams, 0, sizeof tensors.dparams);
  return attune_run(self->forward, &tensors, self->workspace, attune_plan_workspace(self->forward), NULL);
}

static attune_status compute(work *self) {
  attune_status status = compute_forward(self);
  if (status == ATTUNE_OK)
    status = attune_run(self->plan, &self->run.tensors, self->workspace, attune_plan_workspace(self->plan), NULL);
  if (status == ATTUNE_OK) status = attune_backend_synchronize(self->machine);
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS && status == ATTUNE_OK; id++) {
    if (!is_written(self, id)) continue;
    const size_t size = size_of(self, id);
    self->host[id] = malloc(size);
    if (self->host[id] == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an output of %zu bytes", size);
    status = attune_memory_read(self->machine, self->host[id], self->memory[id], size);
  }
  return status;
}

/* In the order of the file's dimensions. */
static void take_shape(attune_tensor *out, const work *self, attune_tensor_id id) {
  const attune_layout l = layout_of(self, id);
  const bool flat = id == ATTUNE_TENSOR_DSINKS || attune_param_of(id) >= 0;
  const bool heads_first = id == ATTUNE_TENSOR_LSE || id == ATTUNE_TENSOR_DBIAS; /* (batch, heads, seqlen) */
  const int64_t all[] = {l.batch, heads_first ? l.heads : l.seqlen, heads_first ? l.seqlen : l.heads, l.width};
  out->rank = flat ? 1 : id == ATTUNE_TENSOR_LSE ? 3 : 4;
  memcpy(out->shape, flat ? &l.width : all, (size_t)out->rank * sizeof *all);
}

/* data of the file's type is malloc'ed: the caller's. */
static attune_status to_tensor(attune_tensor *out, void **data, const work *self, attune_tensor_id id,
                               const char *dtype) {
  const attune_layout layout = layout_of(self, id);
  const int param = attune_param_of(id);
  *out = (attune_tensor){.data = self->host[id]};
  take_shape(out, self, id);
  if (param >= 0)
    snprintf(out->name, sizeof out->name, "dparam.%s", self->problem.params[param].name);
  else
    strcpy(out->name, attune_tensor_table[id].name);
  if (attune_tensor_table[id].element == ATTUNE_ELEMENT_FLOAT) {
    out->size = size_of(self, id);
    strcpy(out->dtype, "F32");
    return ATTUNE_OK;
  }
  strcpy(out->dtype, dtype);
  *data =
      attune_elements_to_tensor(&out->size, dtype, self->problem.dtype, self->host[id], attune_layout_extent(&layout));
  out->data = *data;
  return *data != NULL ? ATTUNE_OK : attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the tensor %s", out->name);
}

static attune_status write_output(const work *self, const char *path, const attune_qkv *qkv) {
  attune_tensor tensors[ATTUNE_VERIFIED_TENSORS];
  void *data[ATTUNE_VERIFIED_TENSORS] = {NULL};
  int count = 0;
  attune_status status = ATTUNE_OK;
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS && status == ATTUNE_OK; id++) {
    if (self->host[id] == NULL) continue;
    status = to_tensor(&tensors[count], &data[count], self, id, qkv->dtype);
    count++;
  }
  if (status == ATTUNE_OK) status = attune_safetensors_write(path, tensors, count);
  for (int i = 0; i < count; i++)
    free(data[i]);
  return status;
}

static attune_status report(const work *self, const attune_flags *flags, const attune_problem *problem) {
  char text[ATTUNE_TEXT_MAX];
  if (attune_problem_print(text, problem) != ATTUNE_OK) text[0] = '\0';
  if (flags->json)
    return attune_print_json(
        json_pack("{s:s, s:o, s:s, s:s, s:s, s:s?, s:s}", "device", attune_context_device(self->context), "problem",
                  attune_problem_to_json(problem, NULL), "class", text, "config", attune_plan_config(self->plan),
                  "source", attune_plan_source(self->plan), "forward_config",
                  attune_text_or_null(attune_plan_config(self->forward)), "output", flags->output));
  /* Standard output may be what was written. */
  FILE *to = attune_file_is_standard_output(flags->output) ? stderr : stdout;
  fprintf(to, "device   %s\nproblem  %s\n", attune_context_device(self->context), text);
  if (self->forward != NULL)
    fprintf(to, "forward  %s (%s)\n", attune_plan_config(self->forward), attune_plan_source(self->forward));
  fprintf(to, "config   %s (%s)\nwritten  %s\n", attune_plan_config(self->plan), attune_plan_source(self->plan),
          flags->output);
  return ATTUNE_OK;
}

static attune_status check_gradient(const attune_qkv *qkv) {
  if (qkv->problem.operation == ATTUNE_FORWARD) return ATTUNE_OK;
  if (qkv->problem.accumulate)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "--accumulate adds to gradients that are there, and run writes a new file: "
                                            "leave it out");
  if (qkv->d_o != NULL) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_FILE, "no tensor \"do\", the gradient of o, which --backward needs");
}

static attune_status run(const attune_flags *flags) {
  attune_qkv qkv = {0};
  work self = {0};
  attune_status status = attune_require(flags->input, "input", "a safetensors file with q, k and v");
  if (status == ATTUNE_OK)
    status = attune_require(flags->output, "output", "where o and lse, or with --backward dq, dk and dv, are written");
  if (status == ATTUNE_OK) status = attune_qkv_read(&qkv, flags->input, flags);
  if (status == ATTUNE_OK) status = check_gradient(&qkv);
  if (status == ATTUNE_OK) status = make_plan(&self, flags, &qkv.problem);
  if (status == ATTUNE_OK) status = make_forward(&self, &qkv);
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
