/* The gradients of the bias, the sinks and arrays that a score expression reads, and gradients that are added to what
 * there is, on the simulator against float64: every way to share a bias, masks, heads, lengths; on two schedules, which
 * must not change a bit of what is summed up in one order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/unit/simulator_case.h"

#define PARAMS ",\"params\":{\"table\":[0.5,1,-0.25,0.75,0.125,-1,0.3,0.2],\"slope\":[0.1,-0.2,0.05,0.15]}"
#define SHARED(sizes) "\"bias\":" sizes ",\"dbias\":true,\"sinks\":true,\"dsinks\":true,\"mask\":\"causal\""
static const struct {
  attune_family family;
  const char *problem;
} cases[] = {
    /* Every way to share a bias, with kernels that are compiled once. An odd number of keys: rows of the gradient begin
     * on odd elements, and blocks share words. */
    {ATTUNE_FAMILY_BACKWARD_MMA, SHARED("[1,1,1]")},
    {ATTUNE_FAMILY_BACKWARD_MMA, SHARED("[2,1,1]")},
    {ATTUNE_FAMILY_BACKWARD_MMA, SHARED("[1,4,1]")},
    {ATTUNE_FAMILY_BACKWARD_MMA, SHARED("[2,4,1]")},
    {ATTUNE_FAMILY_BACKWARD_MMA, SHARED("[1,1,97]") ",\"seqlen_q\":97,\"seqlen_k\":131"},
    {ATTUNE_FAMILY_BACKWARD_MMA, SHARED("[2,1,150]")},
    {ATTUNE_FAMILY_BACKWARD_MMA, SHARED("[1,4,150]")},
    {ATTUNE_FAMILY_BACKWARD_MMA, SHARED("[2,4,97]") ",\"seqlen_q\":97,\"seqlen_k\":131"},
    {ATTUNE_FAMILY_BACKWARD_MMA, SHARED("[1,4,1]") ",\"seqlen_q\":1,\"seqlen_k\":131"},
    {ATTUNE_FAMILY_BACKWARD_REFERENCE, SHARED("[1,1,1]")},
    {ATTUNE_FAMILY_BACKWARD_REFERENCE, SHARED("[2,1,97]") ",\"seqlen_q\":97,\"seqlen_k\":131"},
    {ATTUNE_FAMILY_BACKWARD_REFERENCE, SHARED("[1,4,150]")},
    /* Masks, head dims, expressions, what is added to. */
    {ATTUNE_FAMILY_BACKWARD_WGMMA,
     "\"bias\":[2,1,150],\"dbias\":true,\"pattern\":\"butterfly:16\",\"accumulate\":true"},
    {ATTUNE_FAMILY_BACKWARD_WGMMA, "\"bias\":[1,4,150],\"dbias\":true,\"mask\":\"causal-bottom-right\""},
    {ATTUNE_FAMILY_BACKWARD_MMA,
     "\"bias\":[1,4,150],\"dbias\":true,\"head_dim\":40,\"head_dim_v\":72,\"dtype\":\"fp16\","
     "\"window\":[60,20],\"accumulate\":true"},
    {ATTUNE_FAMILY_BACKWARD_MMA,
     "\"bias\":[1,2,66],\"dbias\":true,\"head_dim\":256,\"heads_q\":2,\"seqlen_q\":66,\"seqlen_k\":70,\"batch\":1"},
    {ATTUNE_FAMILY_BACKWARD_MMA, /* a tile of 16 keys */
     "\"dparams\":true,\"head_dim\":256,\"heads_q\":2,\"seqlen_q\":66,\"seqlen_k\":70,\"batch\":1,"
     "\"score_expr\":\"score + slope[k % 4]\"" PARAMS},
    {ATTUNE_FAMILY_BACKWARD_REFERENCE,
     "\"bias\":[1,4,150],\"dbias\":true,\"block_size\":16,\"block_density\":0.3,\"accumulate\":true"},
    {ATTUNE_FAMILY_BACKWARD_MMA,
     "\"bias\":[1,4,150],\"dbias\":true,\"block_size\":128,\"block_density\":0.5,\"pattern\":\"window:50\""},
    {ATTUNE_FAMILY_BACKWARD_MMA,
     "\"bias\":[1,4,150],\"dbias\":true,\"score_expr\":\"k > q + 40 ? -3e38 * 10 : score + 20 * tanh(bias / 20)\""},
    {ATTUNE_FAMILY_BACKWARD_REFERENCE, /* fewer queries than a tile has */
     "\"sinks\":true,\"dsinks\":true,\"block_size\":16,\"block_density\":0.5,\"seqlen_q\":16"},
    {ATTUNE_FAMILY_BACKWARD_REFERENCE, /* it is 0 */
     "\"bias\":[1,4,150],\"dbias\":true,\"score_expr\":\"bias > 0.5 ? score * 2 : score\""},
    {ATTUNE_FAMILY_BACKWARD_WGMMA, /* nobody sees anything but the sinks */
     "\"sinks\":true,\"dsinks\":true,\"softcap\":2,\"mask_expr\":\"q < 0\",\"accumulate\":true"},
    {ATTUNE_FAMILY_BACKWARD_MMA, "\"dparams\":true,\"score_expr\":\"score + slope[head] * (k - q)\"" PARAMS},
    {ATTUNE_FAMILY_BACKWARD_REFERENCE,
     "\"dparams\":true,\"accumulate\":true,\"score_expr\":\"score * table[(q - k) & 7] + slope[k % 5]\"" PARAMS},
    {ATTUNE_FAMILY_BACKWARD_WGMMA,
     "\"dparams\":true,\"bias\":[1,4,150],\"dbias\":true,\"score_expr\":\"score + table[q / 16] * bias\"" PARAMS},
};

/* Gradients that are summed up in one order: those of the bias and of the sinks. */
static void copy_ordered(char *to, const attune_verifier *v, size_t *size) {
  static const attune_tensor_id ids[] = {ATTUNE_TENSOR_DBIAS, ATTUNE_TENSOR_DSINKS};
  *size = 0;
  for (size_t i = 0; i < COUNT(ids); i++) {
    const size_t bytes = (size_t)v->tensors[ids[i]].extent * v->tensors[ids[i]].element;
    if (bytes > 0 && to != NULL) memcpy(to + *size, attune_output_elements(v, ids[i]), bytes);
    *size += bytes;
  }
}

static char *run(attune_verifier *verifier, int schedule, const attune_config *config, const attune_problem *problem,
                 const char *about, size_t *size) {
  attune_program *program = NULL;
  attune_verdict verdict;
  const attune_program_source from = {.backend = machines[schedule], .store = store, .problem = problem};
  if (attune_program_create(&program, &from, config) != ATTUNE_OK ||
      attune_verifier_check(verifier, program, &verdict) != ATTUNE_OK)
    fail_msg("%s: %s", about, attune_message());
  if (!verdict.passed) fail_msg("%s: %s", about, verdict.worst);
  copy_ordered(NULL, verifier, size);
  char *out = malloc(*size + 1);
  assert_non_null(out);
  copy_ordered(out, verifier, size);
  attune_program_destroy(program);
  return out;
}

/* The first config of the family that is legal. */
static bool take_first(void *user, const attune_config *config, bool legal, const char *reason) {
  (void)reason;
  if (legal) *(attune_config *)user = *config;
  return !legal;
}

static void check_problem(const char *differs, attune_family family, uint64_t seed) {
  attune_problem problem, resolved;
  attune_inputs given = {.used = 0};
  attune_verifier *verifier;
  attune_config config;
  size_t size;
  problem_of(&problem, &given, differs);
  problem.operation = ATTUNE_BACKWARD;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  config.family = -1;
  assert_int_equal(attune_space(&resolved, attune_backend_device(machines[0]), (int)family, take_first, &config),
                   ATTUNE_OK);
  if (config.family < 0) fail_msg("%s: no config is legal", differs);
  const attune_drawing drawing = {.seed = seed, .lengths = seed % 2 == 1, .bias_masks = true};
  if (attune_verifier_create(&verifier, machines[0], &resolved, &given, &drawing) != ATTUNE_OK)
    fail_msg("%s: %s", differs, attune_message());
  char *first = run(verifier, 0, &config, &resolved, differs, &size),
       *second = run(verifier, 1, &config, &resolved, differs, &size);
  if (memcmp(first, second, size) != 0) fail_msg("%s: another schedule, another result", differs);
  attune_verifier_destroy(verifier);
  free(first);
  free(second);
}

static void check(void **state) {
  const size_t number = *(size_t *)*state;
  check_problem(cases[number].problem, cases[number].family, number);
}

int main(void) {
  static struct CMUnitTest tests[COUNT(cases)];
  static size_t numbers[COUNT(cases)];
  for (size_t i = 0; i < COUNT(cases); i++) {
    numbers[i] = i;
    tests[i] = (struct CMUnitTest){.name = cases[i].problem, .test_func = check, .initial_state = &numbers[i]};
  }
  return _cmocka_run_group_tests("simulator_score_gradients", tests, COUNT(cases), open_machines, close_machines);
}
