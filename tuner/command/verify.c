/* attune verify: is the kernel right? Against double precision, by the error of the unfused computation. */
#include <stdlib.h>

#include "generator/base/status.h"
#include "tuner/command/verbs.h"
#include "tuner/files/qkv.h"

static const char summary[] =
    "Runs the kernel for a problem, the one that a plan would take or that of --config or --family, and judges what "
    "it\n"
    "writes: the largest error against float64 may be twice that of the unfused computation in the same dtype, plus\n"
    "1e-5; everything must be written, and nothing else. Inputs are drawn from --seed, once of usual and once of "
    "large\n"
    "magnitude, or are q, k and v of --input FILE. Exit code 1 if the kernel is wrong.";

typedef struct {
  const attune_flags *flags;
  attune_problem problem;
  attune_backend *machine;
  attune_store *store;
  attune_config config;
  const char *rung;
  attune_program *program;
  json_t *cases;
  bool passed;
} verification;

static attune_status choose(verification *self) {
  attune_choice choice;
  const attune_flags *flags = self->flags;
  self->rung = "named";
  if (flags->config != NULL || flags->family != NULL)
    return attune_config_of_flags(&self->config, flags, &self->problem, attune_backend_device(self->machine));
  const attune_status status =
      attune_choose(&choice, self->store, &self->problem, attune_backend_device(self->machine));
  if (status != ATTUNE_OK) return status;
  self->config = choice.config;
  self->rung = choice.source;
  free(choice.explanation);
  return ATTUNE_OK;
}

static attune_status prepare(verification *self) {
  attune_status status = attune_verb_open_store(&self->store, self->flags);
  if (status == ATTUNE_OK) status = attune_backend_open(&self->machine, self->flags->device, self->flags->seed);
  if (status == ATTUNE_OK) status = choose(self);
  attune_problem resolved;
  if (status == ATTUNE_OK) status = attune_problem_resolve(&resolved, &self->problem);
  const attune_program_source from = {
      .backend = self->machine, .store = self->store, .problem = &resolved, .frozen = attune_frozen_by_environment()};
  return status == ATTUNE_OK ? attune_program_create(&self->program, &from, &self->config) : status;
}

static attune_status report(verification *self, const char *inputs, const attune_verdict *verdict) {
  self->passed = self->passed && verdict->passed;
  if (self->flags->json)
    return attune_json_append(
        self->cases,
        json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:I, s:s}", "inputs", inputs, "passed", verdict->passed, "error",
                  attune_json_number(verdict->error), "bound", attune_json_number(verdict->bound), "unfused_error",
                  attune_json_number(verdict->unfused_error), "lse_error", attune_json_number(verdict->lse_error),
                  "rows_checked", (json_int_t)verdict->rows_checked, "worst", verdict->worst));
  printf("%-24s %10.3g %10.3g %10.3g %10.3g %9lld  %s\n", inputs, verdict->error, verdict->bound,
         verdict->unfused_error, verdict->lse_error, (long long)verdict->rows_checked,
         verdict->passed ? "right" : "WRONG");
  if (!verdict->passed) printf("  %s\n", verdict->worst);
  return ATTUNE_OK;
}

/* Takes the bed. */
static attune_status judge(verification *self, attune_verifier *bed, const char *inputs) {
  attune_verdict verdict;
  attune_status status = attune_verifier_check(bed, self->program, &verdict);
  if (status == ATTUNE_OK) status = report(self, inputs, &verdict);
  attune_verifier_destroy(bed);
  return status;
}

static attune_status verify_drawn(verification *self) {
  static const double magnitudes[] = {1.0, 4.0, 16.0};
  for (size_t i = 0; i < sizeof magnitudes / sizeof *magnitudes; i++) {
    char inputs[64];
    attune_verifier *bed;
    const uint64_t seed = self->flags->seed + i;
    attune_status status =
        attune_verifier_create(&bed, self->machine, &self->problem, &self->flags->given, seed, magnitudes[i]);
    snprintf(inputs, sizeof inputs, "normal x %g, seed %llu", magnitudes[i], (unsigned long long)seed);
    if (status == ATTUNE_OK) status = judge(self, bed, inputs);
    if (status != ATTUNE_OK) return status;
  }
  return ATTUNE_OK;
}

static attune_status verify_given(verification *self, const attune_qkv *qkv) {
  attune_verifier *bed;
  const attune_status status =
      attune_verifier_create_with(&bed, self->machine, &self->problem, &qkv->given, qkv->q, qkv->k, qkv->v);
  return status == ATTUNE_OK ? judge(self, bed, "of the file") : status;
}

static void print_head(const verification *self, const char *problem, const char *config) {
  printf("device   %s\nproblem  %s\nconfig   %s (%s)\n", attune_backend_name(self->machine), problem, config,
         self->rung);
  printf("%-24s %10s %10s %10s %10s %9s\n", "inputs", "error", "allowed", "unfused", "lse error", "rows");
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
  status = input != NULL ? verify_given(self, &qkv) : verify_drawn(self);
  if (status == ATTUNE_OK && self->flags->json)
    status = attune_print_json(json_pack("{s:s, s:s, s:s, s:s, s:b, s:O}", "device", attune_backend_name(self->machine),
                                         "problem", problem, "config", config, "rung", self->rung, "passed",
                                         self->passed, "cases", self->cases));
out:
  attune_qkv_free(&qkv);
  return status;
}

int attune_verb_verify(int argc, char **argv) {
  attune_flags flags;
  int exit_code;
  if (!attune_verb_begin(&flags, &exit_code, summary, argc, argv)) return exit_code;
  verification self = {.flags = &flags, .cases = json_array(), .passed = true};
  const attune_status status = verify(&self);
  attune_program_destroy(self.program);
  if (self.machine != NULL) attune_backend_close(self.machine);
  attune_store_close(self.store);
  json_decref(self.cases);
  if (status != ATTUNE_OK) return attune_verb_failed(&flags, status);
  return self.passed ? 0 : 1;
}
