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
  a->plan->source = choice.source;
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
  a->plan->source = "named";
  if (asprintf(&a->plan->explanation, "named: %s, by the caller; taken\n", a->plan->config) < 0) {
    a->plan->explanation = NULL;
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an explanation");
  }
  return ATTUNE_OK;
}

/* A new plan with one user. config may be NULL: dispatch chooses. */
static attune_status make(attune_plan **out, attune_context *context, const attune_problem *problem,
                          const char *config) {
  attune_problem resolved;
  attune_kept_message before;
  attune_status status = attune_problem_resolve(&resolved, problem);
  if (status != ATTUNE_OK) return status;
  attune_message_keep(&before);
  attune_plan *plan = calloc(1, sizeof *plan);
  if (!plan) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a plan");
  plan->context = attune_context_retain(context);
  plan->users = 1;
  attempt a = {.plan = plan, .problem = &resolved};
  status = config ? use_named(&a, config) : choose(&a);
  if (status == ATTUNE_OK) {
    attune_message_restore(&before);
    *out = plan;
  } else {
    attune_plan_destroy(plan);
  }
  return status;
}

static attune_status check_arguments(attune_plan **out, const attune_context *context, const attune_problem *problem) {
  if (!out) return attune_fail(ATTUNE_BAD_ARGUMENT, "out is NULL; pass the address of an attune_plan *");
  *out = NULL;
  if (!context || !problem) return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", context ? "problem" : "context");
  return ATTUNE_OK;
}

/* The problem in this library's size, and the key that the context remembers its plan by. free *key. */
static attune_status read_problem(attune_problem *own, attune_buffer *key, const attune_problem *problem) {
  const attune_status status = attune_problem_read(own, problem);
  if (status != ATTUNE_OK) return status;
  attune_problem_key(key, own);
  return key->failed ? attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a problem's key") : ATTUNE_OK;
}

/* With a reference to the context for the caller; NULL: there is none. */
static attune_plan *find(attune_context *context, const attune_buffer *key) {
  attune_plan *plan = attune_plan_cache_find(context->plans, key);
  if (plan) attune_context_retain(context);
  return plan;
}

attune_status attune_plan_find(attune_plan **out, attune_context *context, const attune_problem *problem) {
  attune_problem own;
  attune_buffer key = {0};
  attune_status status = check_arguments(out, context, problem);
  if (status == ATTUNE_OK) status = read_problem(&own, &key, problem);
  if (status == ATTUNE_OK) *out = find(context, &key);
  attune_buffer_free(&key);
  return status;
}

attune_status attune_plan_create(attune_plan **out, attune_context *context, const attune_problem *problem) {
  attune_problem own;
  attune_buffer key = {0};
  attune_plan *made = NULL;
  attune_status status = check_arguments(out, context, problem);
  if (status == ATTUNE_OK) status = read_problem(&own, &key, problem);
  if (status == ATTUNE_OK) *out = find(context, &key);
  if (status == ATTUNE_OK && !*out) {
    status = make(&made, context, &own, NULL);
    if (status == ATTUNE_OK) *out = attune_plan_cache_insert(context->plans, &key, made);
    if (status == ATTUNE_OK && *out != made) { /* another thread was first */
      attune_context_retain(context);
      attune_plan_destroy(made);
    }
  }
  attune_buffer_free(&key);
  return status;
}

attune_status attune_plan_create_with(attune_plan **out, attune_context *context, const attune_problem *problem,
                                      const char *config) {
  const attune_status status = check_arguments(out, context, problem);
  if (status != ATTUNE_OK) return status;
  if (!config) return attune_fail(ATTUNE_BAD_ARGUMENT, "config is NULL; use attune_plan_create to have one chosen");
  return make(out, context, problem, config);
}

void attune_plan_destroy(attune_plan *plan) {
  if (!plan) return;
  attune_context *context = plan->context;
  attune_plan_cache_release(context->plans, plan);
  attune_context_destroy(context);
}

size_t attune_plan_workspace(const attune_plan *plan) {
  return plan ? (size_t)plan->program->steps.workspace_bytes : 0;
}

const char *attune_plan_config(const attune_plan *plan) {
  return plan ? plan->config : "";
}

const char *attune_plan_source(const attune_plan *plan) {
  return plan ? plan->source : "";
}

const char *attune_plan_explain(const attune_plan *plan) {
  return plan ? plan->explanation : "";
}
