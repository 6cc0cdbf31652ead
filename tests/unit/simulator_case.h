/* For tests of kernels on the simulator: problems as JSON, configs for them, and one verified run. Included after
 * cmocka. */
#ifndef ATTUNE_TESTS_SIMULATOR_CASE_H
#define ATTUNE_TESTS_SIMULATOR_CASE_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "generator/base/status.h"
#include "tuner/verify/verifier.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A machine for each schedule, and kernels that all of them run. */
enum { SCHEDULES = 2 };
static attune_backend *machines[SCHEDULES];
static attune_store *store;

/* Whether a case is run under the schedule. The plain build runs each under all. A sanitizer watches the simulator's
 * own code, which is the same under each: they take turns. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TAKE_TURNS true
#endif
#endif
#ifndef TAKE_TURNS
#define TAKE_TURNS false
#endif
static inline bool runs_under(size_t number, int schedule) {
  return !TAKE_TURNS || number % SCHEDULES == (size_t)schedule;
}

static inline int open_machines(void **state) {
  (void)state;
  const attune_store_options options = {.path = ":memory:"};
  if (attune_store_open(&store, &options) != ATTUNE_OK) return -1;
  for (uint64_t i = 0; i < SCHEDULES; i++)
    if (attune_backend_open(&machines[i], "host", i) != ATTUNE_OK) return -1;
  return 0;
}

static inline int close_machines(void **state) {
  (void)state;
  for (int i = 0; i < SCHEDULES; i++)
    attune_backend_close(machines[i]);
  attune_store_close(store);
  return 0;
}

/* What of the problem differs from the usual one, as JSON. */
static inline void problem_of(attune_problem *out, attune_inputs *given, const char *differs) {
  char text[1024];
  json_error_t error;
  snprintf(text, sizeof text,
           "{\"head_dim\":64,\"batch\":2,\"heads_q\":4,\"heads_kv\":2,\"seqlen_q\":150,\"seqlen_k\":170,%s}", differs);
  json_t *object = json_loads(text, 0, &error);
  if (object == NULL) fail_msg("%s: %s", text, error.text);
  if (attune_problem_of_json(out, given, object, "case") != ATTUNE_OK) fail_msg("%s", attune_message());
  json_decref(object);
}

/* A family's schedules, as configs have them; those that are left are NULL. */
enum { FAMILY_SCHEDULES = 4 };
typedef const char *family_schedules[FAMILY_SCHEDULES];

/* One after the other. */
static inline const char *schedule_of(const family_schedules own, size_t number) {
  size_t count = 0;
  while (count < FAMILY_SCHEDULES && own[count] != NULL)
    count++;
  return own[number % count];
}

/* The schedule with what the problem says before it. */
static inline void config_of(attune_config *out, attune_family family, const char *schedule,
                             const attune_problem *problem) {
  char text[ATTUNE_TEXT_MAX];
  attune_problem resolved;
  snprintf(text, sizeof text, "forward.%s.bf16.d64.%s", attune_family_name(family), schedule);
  if (attune_config_parse(out, text) != ATTUNE_OK) fail_msg("%s", attune_message());
  assert_int_equal(attune_problem_resolve(&resolved, problem), ATTUNE_OK);
  attune_config_for_problem(out, out, &resolved);
}

static inline size_t elements_of(const attune_problem *p) {
  return (size_t)p->batch * (size_t)p->seqlen_q * (size_t)p->heads_q * (size_t)p->head_dim_v;
}

/* O of one verified run; malloc'ed. */
static inline uint16_t *verified(attune_verifier *verifier, attune_backend *machine, const attune_config *config,
                                 const attune_problem *problem, const char *about) {
  attune_problem resolved;
  attune_program *program = NULL;
  attune_verdict verdict;
  uint16_t *o = malloc(elements_of(problem) * sizeof *o);
  assert_non_null(o);
  const attune_program_source from = {.backend = machine, .store = store, .problem = &resolved};
  if (attune_problem_resolve(&resolved, problem) != ATTUNE_OK ||
      attune_program_create(&program, &from, config) != ATTUNE_OK ||
      attune_verifier_check(verifier, program, &verdict) != ATTUNE_OK ||
      attune_verifier_outputs(verifier, o, NULL) != ATTUNE_OK)
    fail_msg("%s: %s", about, attune_message());
  if (!verdict.passed) fail_msg("%s: %s", about, verdict.worst);
  attune_program_destroy(program);
  return o;
}

/* O of the problem on the first machine, verified; malloc'ed. */
static inline uint16_t *computed(attune_family family, const char *schedule, const attune_problem *problem,
                                 const attune_inputs *given) {
  attune_verifier *verifier;
  attune_config config;
  config_of(&config, family, schedule, problem);
  if (attune_verifier_create(&verifier, machines[0], problem, given, &(attune_drawing){.seed = 3}) != ATTUNE_OK)
    fail_msg("%s", attune_message());
  uint16_t *o = verified(verifier, machines[0], &config, problem, problem->mask_expr);
  attune_verifier_destroy(verifier);
  return o;
}

#endif
