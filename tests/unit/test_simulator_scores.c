/* Scores as they come in practice and should not: finite numbers that stand for minus infinity, scores whose float
 * steps are larger than an exponential, and what hides keys. In every family, on the simulator, which rounds as the GPU
 * does: products that the GPU does not round are written as fused in the templates. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/simulator_case.h"

typedef struct {
  attune_family family;
  const char *schedule;
} family_schedule;

static const family_schedule schedules[] = {
    {ATTUNE_FAMILY_REFERENCE, "m4.n32.w4.s1.b1"},
    {ATTUNE_FAMILY_MMA, "m64.n32.w4.s2.lazy.b1"},
    {ATTUNE_FAMILY_MMA, "m64.n48.w4.s1.q_in_regs.b1"},
    {ATTUNE_FAMILY_MMA, "m64.n32.w4.s2.lazy.split3.b1"},
    {ATTUNE_FAMILY_WGMMA, "m128.n32.w12.s2.lazy.q_prefetch.intra_wg_overlap.pingpong_mma.persistent_static.b1"},
    {ATTUNE_FAMILY_WGMMA, "m128.n64.w12.s1.intra_wg_overlap.half_tiles.b1"},
    {ATTUNE_FAMILY_WGMMA, "m64.n64.w8.s1.half_tiles.persistent_dynamic.heads.b1"},
    {ATTUNE_FAMILY_WGMMA, "m64.n48.w8.s2.lazy.intra_wg_overlap.exp2_emulation4.b1"},
    {ATTUNE_FAMILY_WGMMA, "m64.n32.w8.s2.lazy.intra_wg_overlap.split2.b1"},
};

/* ---- drawn biases that hide keys ---- */

static const char *const masked[] = {
    "\"bias\":[2,1,150],\"lse\":true",
    "\"dtype\":\"fp16\",\"bias\":[2,4,150],\"lse\":true",
    "\"bias\":[1,4,150],\"lse\":true,\"sinks\":true,\"mask\":\"causal\"",
    "\"bias\":[2,1,150],\"lse\":true,\"scale\":2000",
    "\"dtype\":\"fp16\",\"bias\":[2,1,1]",
    "\"score_expr\":\"k <= q ? score : -3.4e38\",\"lse\":true",
    "\"score_expr\":\"k > q ? score - 3.4e38 : score\",\"lse\":true",
    "\"score_expr\":\"q % 3 == 0 ? (k < 100 ? -3.4e38 : -1.0 / 0.0) : q % 3 == 1 ? 3.4e38 : score\",\"lse\":true",
    "\"score_expr\":\"k % 4 == 1 ? 3.4e38 : -3.4e38\",\"lse\":true,\"sinks\":true",
};

static void check_masked(const char *differs, uint64_t seed) {
  attune_problem problem;
  attune_inputs given;
  attune_verifier *verifier;
  problem_of(&problem, &given, differs);
  const attune_drawing drawing = {.seed = seed, .bias_masks = true};
  if (attune_verifier_create(&verifier, machines[0], &problem, &given, &drawing) != ATTUNE_OK)
    fail_msg("%s: %s", differs, attune_message());
  /* The reference family, one schedule of mma and one of wgmma, by turns. */
  const size_t turns[] = {0, 1 + seed % 3, 4 + seed % 5};
  for (size_t turn = 0; turn < COUNT(turns); turn++) {
    const size_t i = turns[turn];
    attune_config config;
    char about[256];
    snprintf(about, sizeof about, "%s, %s", differs, schedules[i].schedule);
    config_of(&config, schedules[i].family, schedules[i].schedule, &problem);
    free(verified(verifier, machines[0], &config, &problem, about));
  }
  attune_verifier_destroy(verifier);
}

static void finite_minus_infinity_hides_keys_without_nan(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(masked); i++)
    check_masked(masked[i], i);
}

/* Scores that their expression bounds are computed as plain ones are, however large q.k is. */
static void bounded_expressions_take_huge_products(void **state) {
  static const char *const bounded[] = {
      "\"score_expr\":\"20 * tanh(score / 20)\",\"lse\":true,\"scale\":1e30",
      "\"score_expr\":\"20 * tanh(score / 20)\",\"mask\":\"causal\",\"sinks\":true",
      "\"dtype\":\"fp16\",\"score_expr\":\"max(min(score, 6e7), -6e7)\",\"lse\":true,\"scale\":1e8",
      "\"score_expr\":\"4e7 * tanh(score) + (k - q) / 1000.0\",\"mask_expr\":\"k % 3 != q % 5\",\"scale\":-1e5",
  };
  (void)state;
  for (size_t i = 0; i < COUNT(bounded); i++)
    check_masked(bounded[i], i);
}

static void rows_without_keys_leave_no_race(void **state) {
  (void)state;
  check_masked("\"mask_expr\":\"float(q) > 50.0\",\"lse\":true", 1);
  check_masked("\"score_expr\":\"float(q) > 50.0 ? score : -1.0 / 0.0\"", 2);
  check_masked("\"bias\":[2,1,150],\"scale\":2000,\"mask\":\"causal\"", 3);
}

/* A pair of neighbouring elements is loaded at once where every row begins at an even one: two odd terms of an address
 * have an even sum. */
static void rows_of_a_bias_at_odd_addresses_are_read_by_element(void **state) {
  (void)state;
  check_masked("\"heads_q\":3,\"heads_kv\":3,\"seqlen_q\":1,\"seqlen_k\":301,\"bias\":[2,3,1]", 1);
  check_masked("\"heads_q\":3,\"heads_kv\":1,\"seqlen_q\":70,\"seqlen_k\":65,\"bias\":[1,3,70]", 2);
  check_masked("\"heads_q\":2,\"heads_kv\":1,\"seqlen_q\":1,\"seqlen_k\":130,\"bias\":[2,2,1]", 3);
}

/* ---- scores that are huge ---- */

enum { QUERIES = 70, KEYS = 230, DIM = 64 };

/* One head. q and k are zeros but for their first two elements. */
typedef struct {
  attune_problem problem;
  attune_inputs inputs;
  uint16_t q[QUERIES * DIM], k[KEYS * DIM], v[KEYS * DIM];
} huge_scores;

static void set_first(const attune_problem *problem, uint16_t *row, double first, double second) {
  memset(row, 0, DIM * sizeof *row);
  row[0] = attune_to_element(problem->dtype, first);
  row[1] = attune_to_element(problem->dtype, second);
}

/* Beyond 2^26 only what an expression makes is right. */
static void let_expression_make_scores(attune_problem *problem) {
  problem->score_expr = "k < 0 ? 0 : score";
}

static void fill(huge_scores *out, attune_dtype dtype, float scale) {
  attune_problem_init(&out->problem);
  out->problem.dtype = dtype;
  out->problem.seqlen_q = QUERIES;
  out->problem.seqlen_k = KEYS;
  out->problem.scale = scale;
  out->problem.want_lse = 1;
  out->inputs = (attune_inputs){.q = out->q, .k = out->k, .v = out->v};
  for (int key = 0; key < KEYS; key++)
    for (int d = 0; d < DIM; d++)
      out->v[key * DIM + d] = attune_to_element(dtype, 1.0 + (key * 37 + d * 11) % 64 / 64.0);
}

/* Every family's O and LSE against double precision, more closely than the verifier, whose measure is a computation
 * that rounds scores. */
static void check_huge(const huge_scores *self, const char *what) {
  attune_verifier *verifier;
  attune_problem resolved;
  double exact[QUERIES][DIM], lse;
  float lses[QUERIES];
  assert_int_equal(attune_problem_resolve(&resolved, &self->problem), ATTUNE_OK);
  for (int row = 0; row < QUERIES; row++)
    attune_reference_row(exact[row], &lse, &resolved, &self->inputs, 0, 0, row);
  if (attune_verifier_create(&verifier, machines[0], &self->problem, &self->inputs, &(attune_drawing){.seed = 0}) !=
      ATTUNE_OK)
    fail_msg("%s", attune_message());
  for (size_t i = 0; i < COUNT(schedules); i++) {
    attune_config config;
    config_of(&config, schedules[i].family, schedules[i].schedule, &self->problem);
    uint16_t *o = verified(verifier, machines[0], &config, &self->problem, what);
    assert_int_equal(attune_verifier_outputs(verifier, o, lses), ATTUNE_OK);
    for (int row = 0; row < QUERIES; row++)
      for (int d = 0; d < DIM; d++) {
        const double found = attune_from_element(self->problem.dtype, o[row * DIM + d]);
        if (!(fabs(found - exact[row][d]) <= 0x1p-6))
          fail_msg("%s, %s: o[%d, %d] is %g, exact %g", what, schedules[i].schedule, row, d, found, exact[row][d]);
      }
    free(o);
  }
  attune_verifier_destroy(verifier);
}

static void one_huge_score_has_the_exponent_0(void **state) {
  huge_scores *self = *state;
  fill(self, ATTUNE_BF16, 0.25f);
  let_expression_make_scores(&self->problem);
  for (int i = 0; i < QUERIES; i++)
    set_first(&self->problem, self->q + i * DIM, 140000.0 + 1024 * i, 0.0);
  for (int i = 0; i < KEYS; i++)
    set_first(&self->problem, self->k + i * DIM, 140000.0, 0.0);
  check_huge(self, "equal scores of 5e9 and more");
  fill(self, ATTUNE_BF16, 1.0f);
  let_expression_make_scores(&self->problem);
  for (int i = 0; i < QUERIES; i++)
    set_first(&self->problem, self->q + i * DIM, i % 2 ? -1e19 : 1e19, 0.0);
  for (int i = 0; i < KEYS; i++)
    set_first(&self->problem, self->k + i * DIM, i % 5 ? 1.7e19 : -1.7e19, 0.0);
  check_huge(self, "scores of +-1.7e38");
  fill(self, ATTUNE_BF16, 1e30f);
  let_expression_make_scores(&self->problem);
  for (int i = 0; i < QUERIES; i++)
    set_first(&self->problem, self->q + i * DIM, i % 3 - 1, 0.0);
  for (int i = 0; i < KEYS; i++)
    set_first(&self->problem, self->k + i * DIM, i % 5 - 1, 0.0);
  check_huge(self, "a scale of 1e30");
}

/* Scores of 2^27 + 16 j, times scale: steps of 1 and of 8 between them, and the maximum rises from tile to tile. */
static void differences_of_huge_scores_are_kept(void **state) {
  huge_scores *self = *state;
  static const float scales[] = {0.0625f, 0.5f};
  for (size_t s = 0; s < COUNT(scales); s++)
    for (attune_dtype dtype = ATTUNE_FP16; dtype <= ATTUNE_BF16; dtype++)
      for (int made = 0; made < 2; made++) { /* by an expression */
        fill(self, dtype, scales[s]);
        if (made) let_expression_make_scores(&self->problem);
        for (int i = 0; i < QUERIES; i++)
          set_first(&self->problem, self->q + i * DIM, i % 2 ? 8192.0 : -8192.0, 16.0);
        for (int i = 0; i < KEYS; i++)
          set_first(&self->problem, self->k + i * DIM, 16384.0, (KEYS - i) / 12);
        check_huge(self, "scores of 2^23 and 2^26");
      }
}

/* The halves of the keys differ by 1 in their scores of 2^23 and by as much in V: what splits leave has to be of one
 * scale. */
static void splits_of_huge_scores_have_their_weights(void **state) {
  huge_scores *self = *state;
  for (attune_dtype dtype = ATTUNE_FP16; dtype <= ATTUNE_BF16; dtype++) {
    fill(self, dtype, 0.0625f);
    for (int i = 0; i < QUERIES; i++)
      set_first(&self->problem, self->q + i * DIM, 8192.0, 16.0);
    for (int i = 0; i < KEYS; i++) {
      set_first(&self->problem, self->k + i * DIM, 16384.0, i < KEYS / 2);
      for (int d = 0; d < DIM; d++)
        self->v[i * DIM + d] = attune_to_element(dtype, i < KEYS / 2 ? 1.0 : 2.0);
    }
    check_huge(self, "halves of scores of 2^23");
  }
}

/* ---- what may not be read ---- */

enum { NAN_ELEMENT = 0x7fff, HIDDEN_FROM = 192 }; /* a tile of every schedule ends there */

/* Tiles of keys that are hidden as a whole hold NaN in K and V; and single keys that an expression hides, in K. */
static void check_hidden_nan(huge_scores *self, const char *mask) {
  attune_verifier *verifier;
  fill(self, ATTUNE_BF16, 0.125f);
  for (int i = 0; i < QUERIES; i++)
    set_first(&self->problem, self->q + i * DIM, 1.0, i % 7);
  for (int i = 0; i < KEYS; i++)
    set_first(&self->problem, self->k + i * DIM, 1.0, i % 5);
  for (int i = 0; i < KEYS; i++)
    for (int d = 0; d < DIM; d++) {
      if (i >= HIDDEN_FROM) self->v[i * DIM + d] = d % 2 ? NAN_ELEMENT : 0x7f80;
      if (i >= HIDDEN_FROM || i % 3 == 1) self->k[i * DIM + d] = i % 2 ? NAN_ELEMENT : 0x7f80;
    }
  self->problem.mask_expr = mask;
  if (attune_verifier_create(&verifier, machines[0], &self->problem, &self->inputs, &(attune_drawing){.seed = 0}) !=
      ATTUNE_OK)
    fail_msg("%s", attune_message());
  for (size_t i = 0; i < COUNT(schedules); i++) {
    attune_config config;
    if (strstr(schedules[i].schedule, "split") != NULL) continue; /* none with expressions */
    config_of(&config, schedules[i].family, schedules[i].schedule, &self->problem);
    uint16_t *o = verified(verifier, machines[0], &config, &self->problem, schedules[i].schedule);
    for (int e = 0; e < QUERIES * DIM; e++)
      if (!isfinite(attune_from_element(ATTUNE_BF16, o[e])))
        fail_msg("%s: o[%d, %d] is not finite", schedules[i].schedule, e / DIM, e % DIM);
    free(o);
  }
  attune_verifier_destroy(verifier);
}

static void nan_in_hidden_keys_and_tiles_reaches_no_row(void **state) {
  check_hidden_nan(*state, "k % 3 != 1 && k < 192");
}

/* Row 1 sees it, and rows of the same tile may: the verifier takes them as they come. */
static void nan_in_a_value_may_reach_its_tile(void **state) {
  huge_scores *self = *state;
  attune_verifier *verifier;
  fill(self, ATTUNE_BF16, 1.0f);
  for (int i = 0; i < QUERIES; i++)
    set_first(&self->problem, self->q + i * DIM, 1.0, 0.0);
  for (int i = 0; i < KEYS; i++)
    set_first(&self->problem, self->k + i * DIM, 1.0, 0.0);
  self->v[DIM + 5] = NAN_ELEMENT;
  self->problem.mask_expr = "q == k";
  if (attune_verifier_create(&verifier, machines[0], &self->problem, &self->inputs, &(attune_drawing){.seed = 0}) !=
      ATTUNE_OK)
    fail_msg("%s", attune_message());
  for (size_t i = 0; i < COUNT(schedules); i++) {
    attune_config config;
    if (strstr(schedules[i].schedule, "split") != NULL) continue; /* none with expressions */
    config_of(&config, schedules[i].family, schedules[i].schedule, &self->problem);
    uint16_t *o = verified(verifier, machines[0], &config, &self->problem, schedules[i].schedule);
    assert_true(isnan(attune_from_element(ATTUNE_BF16, o[DIM + 5])));
    for (int row = 0; row < QUERIES; row++)
      assert_true(isfinite(attune_from_element(ATTUNE_BF16, o[row * DIM + 6])));
    free(o);
  }
  attune_verifier_destroy(verifier);
}

/* Accumulators hold a NaN of their own until their product is waited for: one that an input holds, of the same bits, is
 * another. */
static void inputs_may_hold_any_nan(void **state) {
  enum { POISON_ELEMENT = 0x7fed, SIGN = 0x8000 };
  huge_scores *self = *state;
  static uint16_t bias[QUERIES * KEYS];
  const uint32_t sink_bits = POISON_ELEMENT << 16;
  float sink;
  memcpy(&sink, &sink_bits, sizeof sink);
  uint16_t *const inputs[] = {self->q, self->k, self->v, bias};
  const int counts[] = {QUERIES * DIM, KEYS * DIM, KEYS * DIM, QUERIES * KEYS};
  for (size_t which = 0; which < 2 * (COUNT(inputs) + 1); which++) { /* the last are sinks */
    attune_verifier *verifier;
    const size_t input = which / 2;
    fill(self, which % 2 ? ATTUNE_BF16 : ATTUNE_FP16, 0.125f);
    memset(self->q, 0, sizeof self->q);
    memset(self->k, 0, sizeof self->k);
    memset(bias, 0, sizeof bias);
    for (int i = 0; input < COUNT(inputs) && i < counts[input]; i++)
      inputs[input][i] = i % 2 ? POISON_ELEMENT : POISON_ELEMENT | SIGN;
    self->problem.want_bias = 1;
    assert_int_equal(attune_bias_of_sizes(&self->problem, 1, 1, QUERIES), ATTUNE_OK);
    self->inputs.bias = bias;
    self->problem.want_sinks = input == COUNT(inputs);
    self->inputs.sinks = &sink;
    if (attune_verifier_create(&verifier, machines[0], &self->problem, &self->inputs, &(attune_drawing){.seed = 0}) !=
        ATTUNE_OK)
      fail_msg("%s", attune_message());
    for (size_t i = 0; i < COUNT(schedules); i++) {
      attune_config config;
      attune_problem resolved;
      attune_program *program = NULL;
      attune_verdict ignored; /* what scores that are NaN give is not specified */
      config_of(&config, schedules[i].family, schedules[i].schedule, &self->problem);
      assert_int_equal(attune_problem_resolve(&resolved, &self->problem), ATTUNE_OK);
      const attune_program_source from = {.backend = machines[0], .store = store, .problem = &resolved};
      if (attune_program_create(&program, &from, &config) != ATTUNE_OK ||
          attune_verifier_check(verifier, program, &ignored) != ATTUNE_OK)
        fail_msg("input %zu, %s: %s", which, schedules[i].schedule, attune_message());
      attune_program_destroy(program);
    }
    attune_verifier_destroy(verifier);
  }
}

int main(void) {
  static huge_scores shared;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_prestate(inputs_may_hold_any_nan, &shared),
      cmocka_unit_test(finite_minus_infinity_hides_keys_without_nan),
      cmocka_unit_test(bounded_expressions_take_huge_products),
      cmocka_unit_test(rows_without_keys_leave_no_race),
      cmocka_unit_test(rows_of_a_bias_at_odd_addresses_are_read_by_element),
      cmocka_unit_test_prestate(one_huge_score_has_the_exponent_0, &shared),
      cmocka_unit_test_prestate(differences_of_huge_scores_are_kept, &shared),
      cmocka_unit_test_prestate(splits_of_huge_scores_have_their_weights, &shared),
      cmocka_unit_test_prestate(nan_in_hidden_keys_and_tiles_reaches_no_row, &shared),
      cmocka_unit_test_prestate(nan_in_a_value_may_reach_its_tile, &shared),
  };
  return cmocka_run_group_tests_name("simulator_scores", tests, open_machines, close_machines);
}
