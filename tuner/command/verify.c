/* attune verify: is the kernel right? Against double precision, by the error of the unfused computation. */
#include <math.h>
#include <stdlib.h>

#include "generator/base/status.h"
#include "tuner/command/columns.h"
#include "tuner/command/verbs.h"
#include "tuner/files/qkv.h"

typedef struct {
  const attune_flags *flags;
  attune_problem problem;
  attune_backend *machine;
  attune_store *store;
  attune_config config;
  const char *source;
  attune_program *program;
  json_t *cases;
  bool passed;
  attune_columns table;
} verification;

static attune_status choose(verification *self) {
  attune_choice choice;
  const attune_flags *flags = self->flags;
  self->source = "named";
  if (flags->config != NULL || flags->family != NULL)
    return attune_config_of_flags(&self->config, flags, &self->problem, attune_backend_device(self->machine));
  const attune_status status =
      attune_choose(&choice, self->store, &self->problem, attune_backend_device(self->machine));
  if (status != ATTUNE_OK) return status;
  self->config = choice.config;
  self->source = choice.source;
  free(choice.explanation);
  return ATTUNE_OK;
}

static attune_status prepare(verification *self) {
  attune_status status = attune_verb_open_store(&self->store, self->flags, ATTUNE_STORE_CACHE);
  if (status == ATTUNE_OK)
    status = attune_backend_open(&self->machine, attune_device_name(self->flags), self->flags->seed);
  if (status == ATTUNE_OK) status = choose(self);
  attune_problem resolved;
  if (status == ATTUNE_OK) status = attune_problem_resolve(&resolved, &self->problem);
  const attune_program_source from = {
      .backend = self->machine, .store = self->store, .problem = &resolved, .frozen = attune_frozen_by_environment()};
  return status == ATTUNE_OK ? attune_program_create(&self->program, &from, &self->config) : status;
}

static const attune_column columns[] = {{"inputs", -24, 0}, {"result", -6, 0},    {"error", 10, 0}, {"allowed", 10, 0},
                                        {"unfused", 10, 1}, {"lse error", 10, 3}, {"rows", 9, 2}};
enum { COLUMN_COUNT = sizeof columns / sizeof *columns };

static attune_status report(verification *self, const char *inputs, const attune_verdict *verdict) {
  self->passed = self->passed && verdict->passed;
  if (self->flags->json)
    return attune_json_append(
        self->cases,
        json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:I, s:s?}", "inputs", inputs, "passed", verdict->passed, "error",
                  attune_json_number(verdict->error), "error_bound", attune_json_number(verdict->error_bound),
                  "unfused_error", attune_json_number(verdict->unfused_error), "lse_error",
                  self->problem.want_lse ? attune_json_number(verdict->lse_error) : json_null(), "rows_checked",
                  (json_int_t)verdict->rows_checked, "worst", attune_text_or_null(verdict->worst)));
  char error[24], allowed[24], unfused[24], lse_error[24], rows[24];
  snprintf(error, sizeof error, "%.3g", verdict->error);
  snprintf(allowed, sizeof allowed, "%.3g", verdict->error_bound);
  snprintf(unfused, sizeof unfused, "%.3g", verdict->unfused_error);
  snprintf(lse_error, sizeof lse_error, "%.3g", verdict->lse_error);
  if (!self->problem.want_lse) snprintf(lse_error, sizeof lse_error, "-");
  snprintf(rows, sizeof rows, "%lld", (long long)verdict->rows_checked);
  const char *const cells[COLUMN_COUNT] = {
      inputs, verdict->passed ? "right" : "WRONG", error, allowed, unfused, lse_error, rows};
  attune_columns_row(&self->table, cells);
  if (!verdict->passed) printf("  %s\n", verdict->worst);
  return ATTUNE_OK;
}

/* Checks the kernel on what the verifier has drawn. */
static attune_status check(verification *self, attune_verifier *verifier, const char *inputs) {
  attune_verdict verdict;
  const attune_status status = attune_verifier_check(verifier, self->program, &verdict);
  return status == ATTUNE_OK ? report(self, inputs, &verdict) : status;
}

/* Usual inputs; scores so large that one key has all the weight, with a large V; scores so large that a float's steps
 * between them are large; scores that are all but equal; biases that hide keys; and sequences with lengths of their
 * own, which are the caller's in all of them if there are any. */
static attune_status verify_drawn(verification *self) {
  static const struct {
    const char *name;
    attune_drawing drawing;
  } cases[] = {{"usual", {.magnitude = 1.0, .magnitude_v = 1.0}},
               {"huge", {.magnitude = 16.0, .magnitude_v = 1024.0}},
               {"tiny", {.magnitude = 0x1p-12, .magnitude_v = 1.0}},
               {"extreme", {.magnitude = 0x1p11, .magnitude_v = 1.0}},
               {"masks", {.magnitude = 1.0, .magnitude_v = 1.0, .bias_masks = true}},
               {"lengths", {.magnitude = 1.0, .magnitude_v = 1.0, .lengths = true}}};
  attune_verifier *verifier = NULL;
  attune_status status = ATTUNE_OK;
  for (size_t i = 0; i < sizeof cases / sizeof *cases && status == ATTUNE_OK; i++) {
    attune_drawing drawing = cases[i].drawing;
    char inputs[64];
    if (drawing.bias_masks && (!self->problem.want_bias || self->problem.operation == ATTUNE_BACKWARD)) continue;
    drawing.seed = drawing.lengths ? self->flags->seed * ATTUNE_LENGTH_KINDS : self->flags->seed + i;
    snprintf(inputs, sizeof inputs, "%s, seed %llu", cases[i].name, (unsigned long long)drawing.seed);
    status = verifier == NULL
                 ? attune_verifier_create(&verifier, self->machine, &self->problem, &self->flags->given, &drawing)
                 : attune_verifier_draw(verifier, &drawing);
    if (status == ATTUNE_OK) status = check(self, verifier, inputs);
  }
  attune_verifier_destroy(verifier);
  return status;
}

static attune_status verify_file(verification *self, const attune_qkv *qkv) {
  attune_verifier *verifier;
  attune_inputs inputs = qkv->given;
  inputs.q = qkv->q;
  inputs.k = qkv->k;
  inputs.v = qkv->v;
  inputs.d_o = qkv->d_o;
  inputs.dlse = qkv->dlse;
  attune_status status =
      attune_verifier_create(&verifier, self->machine, &self->problem, &inputs, &(attune_drawing){.seed = 0});
  if (status == ATTUNE_OK) status = check(self, verifier, "of the file");
  attune_verifier_destroy(verifier);
  return status;
}

static void print_head(verification *self, const char *problem, const char *config) {
  printf("device   %s\nproblem  %s\nconfig   %s (%s)\n", attune_backend_name(self->machine), problem, config,
         self->source);
  attune_columns_begin(&self->table, stdout, columns, COLUMN_COUNT, attune_terminal_width());
}

static attune_status verify(verification *self) {
  attune_qkv qkv = {0};
  char problem[ATTUNE_TEXT_MAX], config[ATTUNE_TEXT_MAX];
  const char *input = self->flags->input;
  attune_status status = ATTUNE_OK;
  if (input != NULL)
    status = attune_qkv_read(&qkv, input, self->flags);
  else
    status = attune_problem_of_config(&self->problem, self->flags);
  if (status == ATTUNE_OK && input != NULL) self->problem = qkv.problem;
  if (status == ATTUNE_OK) status = prepare(self);
  if (status == ATTUNE_OK) status = attune_problem_print(problem, &self->problem);
  if (status == ATTUNE_OK) status = attune_config_print(config, &self->config);
  if (status != ATTUNE_OK) goto out;
  if (!self->flags->json) print_head(self, problem, config);
  status = input != NULL ? verify_file(self, &qkv) : verify_drawn(self);
  if (status == ATTUNE_OK && self->flags->json)
    status = attune_print_json(
        json_pack("{s:s, s:o, s:s, s:s, s:s, s:b, s:O}", "device", attune_backend_name(self->machine), "problem",
                  attune_problem_to_json(&self->problem, &self->flags->given), "class", problem, "config", config,
                  "source", self->source, "passed", self->passed, "cases", self->cases));
out:
  attune_qkv_free(&qkv);
  return status;
}

int attune_verb_verify(int argc, char **argv) {
  attune_flags flags;
  int exit_code;
  if (!attune_verb_begin(&flags, &exit_code, argc, argv)) return exit_code;
  verification self = {.flags = &flags, .cases = json_array(), .passed = true};
  const attune_status status = verify(&self);
  attune_program_destroy(self.program);
  if (self.machine != NULL) attune_backend_close(self.machine);
  attune_store_close(self.store);
  json_decref(self.cases);
  if (status != ATTUNE_OK) return attune_verb_failed(&flags, status);
  return self.passed ? 0 : 1;
}
