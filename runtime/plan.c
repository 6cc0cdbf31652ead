#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/dispatch.h"
#include "runtime/plan.h"

/* What dispatch offers its configs to. */
typedef struct {
  attune_plan *plan;
  const attune_problem *problem;
} attempt;

static attune_status try_config(void *user, const attune_config *config) {
  attempt *a = user;
  attune_context *context = a->plan->context;
  const attune_program_source from = {
      .backend = context->machine, .store = context->store, .problem = a->problem, .frozen = context->frozen};
  const attune_status status = attune_config_print(a->plan->config, config);
  return status == ATTUNE_OK ? attune_program_create(&a->plan->program, &from, config) : status;
}

static attune_status choose(attempt *a) {
  attune_choice choice;
  attune_context *context = a->plan->context;
  attune_status status =
      attune_dispatch(&choice, context->store, a->problem, attune_backend_device(context->machine), try_config, a);
  a->plan->explanation = choice.explanation;
  a->plan->rung = choice.source;
  if (status == ATTUNE_WOULD_COMPILE)
    return attune_fail(
        status,
        "frozen, and no source of configs has its kernel in %s; make the plan once without frozen, or tune. "
        "Tried:\n%s",
        attune_store_path(context->store), choice.explanation);
  return status;
}

static attune_status use_named(attempt *a, const char *text) {
  attune_config config;
  attune_context *context = a->plan->context;
  attune_status status = attune_config_parse(&config, text);
  if (status == ATTUNE_OK) status = attune_config_fits(&config, a->problem);
  if (status == ATTUNE_OK) status = attune_config_legal(&config, attune_backend_device(context->machine));
  if (status == ATTUNE_OK) status = try_config(a, &config);
  if (status != ATTUNE_OK) return status;
  a->plan->rung = "named";
  if (asprintf(&a->plan->explanation, "named: %s, by the caller; taken\n", a->plan->config) < 0) {
    a->plan->explanation = NULL;
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an explanation");
  }
  return ATTUNE_OK;
}

/* config may be NULL: dispatch chooses. */
static attune_status create(attune_plan **out, attune_context *context, const attune_problem *problem,
                            const char *config) {
  attune_problem resolved;
  if (!out) return attune_fail(ATTUNE_BAD_ARGUMENT, "out is NULL; pass the address of an attune_plan *");
  *out = NULL;
  if (!context || !problem) return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", context ? "problem" : "context");
  attune_status status = attune_problem_resolve(&resolved, problem);
  if (status != ATTUNE_OK) return status;
  attune_plan *plan = calloc(1, sizeof *plan);
  if (!plan) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a plan");
  plan->context = attune_context_retain(context);
  attempt a = {.plan = plan, .problem = &resolved};
  status = config ? use_named(&a, config) : choose(&a);
  if (status == ATTUNE_OK)
    *out = plan;
  else
    attune_plan_destroy(plan);
  return status;
}

attune_status attune_plan_create(attune_plan **out, attune_context *context, const attune_problem *problem) {
  return create(out, context, problem, NULL);
}

attune_status attune_plan_create_with(attune_plan **out, attune_context *context, const attune_problem *problem,
                                      const char *config) {
  if (out) *out = NULL;
  if (!config) return attune_fail(ATTUNE_BAD_ARGUMENT, "config is NULL; use attune_plan_create to have one chosen");
  return create(out, context, problem, config);
}

void attune_plan_destroy(attune_plan *plan) {
  if (!plan) return;
  attune_context *context = plan->context;
  attune_program_destroy(plan->program);
  free(plan->explanation);
  free(plan);
  attune_context_destroy(context);
}

size_t attune_plan_workspace(const attune_plan *plan) {
  return plan ? (size_t)plan->program->steps.workspace_bytes : 0;
}

const char *attune_plan_config(const attune_plan *plan) {
  return plan ? plan->config : "";
}

const char *attune_plan_source(const attune_plan *plan) {
  return plan ? plan->rung : "";
}

const char *attune_plan_explain(const attune_plan *plan) {
  return plan ? plan->explanation : "";
}
