/* Patterns, expressions, biases and sinks in every family, on the simulator: against double precision, the same under
 * every schedule, and with hidden tiles really left out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/simulator_case.h"

/* What of the problem differs from the usual one, as JSON. */
static const char *const cases[] = {
    "\"pattern\":\"butterfly:32\"",
    "\"pattern\":\"bigbird:32,1,1,2,7\",\"lse\":true",
    "\"pattern\":\"longformer:20,5\",\"mask\":\"causal\"",
    "\"pattern\":\"strided:24 & causal-bottom-right\",\"lse\":true",
    "\"pattern\":\"dilated:9,4 | global:3\"",
    "\"pattern\":\"chunked:50\",\"window\":[30,-1]",
    "\"mask_expr\":\"doc[q] == doc[k] && k < limit\",\"params\":{\"doc\":[0,0,0,0,1,1,1,2,2,2,2,2,2,2,2,2,2,2,2,2,5],"
    "\"limit\":130},\"lse\":true",
    "\"mask_expr\":\"find(cu, q) == find(cu, k)\",\"params\":{\"cu\":[0,37,64,65,128,150]},\"lse\":true",
    "\"mask_expr\":\"k < prefix[batch] || k <= q\",\"params\":{\"prefix\":[70,0]},\"lse\":true",
    "\"mask_expr\":\"q >= 100 && k % 2 == 1 && head != 1\",\"lse\":true",
    "\"mask_expr\":\"0\",\"lse\":true",
    "\"mask_expr\":\"1\",\"mask\":\"causal\"",
    "\"mask_expr\":\"float(k) * 0.5 < q + 7.25 || random(q / 16, k / 16, seed) % 3 == 0\",\"params\":{\"seed\":42}",
    "\"mask_expr\":\"int(float(q) * 0.7) == int(float(k) * 0.7)\"", /* floats round 0.7 * 10 up to 7 */
    "\"score_expr\":\"score\",\"lse\":true",
    "\"score_expr\":\"score + slope[head] * (k - "
    "q)\",\"params\":{\"slope\":[0.5,0.25,0.125,0.0625]},\"mask\":\"causal\"",
    "\"score_expr\":\"20 * tanh(score / 20) + table[min(max(k - q, -8), 8) + 8]\",\"params\":{\"table\":"
    "[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,-0.1,-0.2,-0.3,-0.4,-0.5,-0.6,-0.7,-0.8]},\"scale\":-0.2",
    "\"score_expr\":\"k == q ? -1.0 / 0.0 : score\",\"lse\":true",
    "\"bias\":[2,1,150]",
    "\"bias\":[1,4,1],\"score_expr\":\"score * (1 + q % 3) + bias * "
    "gain\",\"params\":{\"gain\":0.5},\"mask\":\"causal\"",
    "\"bias\":[2,4,150],\"mask\":\"causal\",\"window\":[70,0]",
    "\"sinks\":true,\"lse\":true,\"mask\":\"causal-bottom-right\"",
    "\"sinks\":true,\"pattern\":\"blocks:16,0\",\"bias\":[2,4,150],\"lse\":true",
};

static const family_schedules schedules[ATTUNE_FAMILY_COUNT] = {
    {"m4.n32.w4.s1.b1"},
    {"m64.n32.w4.s2.lazy.b1", "m64.n48.w4.s1.q_in_regs.heads.b1"},
    {"m128.n32.w12.s2.lazy.q_prefetch.intra_wg_overlap.pingpong_mma.persistent_static.b1",
     "m128.n64.w12.s1.intra_wg_overlap.half_tiles.b1",
     "m192.n32.w16.s2.lazy.q_prefetch.intra_wg_overlap.pingpong_mma.persistent_dynamic.b1",
     "m64.n64.w8.s1.half_tiles.persistent_dynamic.heads.b1"},
};

static void check_case(void **state) {
  const char *const *differs = *state;
  attune_problem problem;
  attune_inputs given;
  attune_verifier *verifier;
  problem_of(&problem, &given, *differs);
  if (attune_verifier_create(&verifier, machines[0], &problem, &given, &(attune_drawing){.seed = 3}) != ATTUNE_OK)
    fail_msg("%s: %s", *differs, attune_message());
  for (int family = 0; family < ATTUNE_FAMILY_COUNT; family++) {
    const size_t number = (size_t)(differs - cases + family);
    uint16_t *first = NULL;
    attune_config config;
    config_of(&config, (attune_family)family, schedule_of(schedules[family], number), &problem);
    for (int i = 0; i < SCHEDULES; i++) {
      if (!runs_under(number, i)) continue;
      uint16_t *o = verified(verifier, machines[i], &config, &problem, *differs);
      if (first != NULL && memcmp(first, o, elements_of(&problem) * sizeof *first) != 0)
        fail_msg("%s: another schedule, another result", *differs);
      free(first);
      first = o;
    }
    free(first);
  }
  attune_verifier_destroy(verifier);
}

/* What is not known of a tile costs time, and changes no bit. */
static void formula_equals_data(void **state) {
  (void)state;
  attune_problem formula, data;
  attune_inputs given, given_data;
  char list[1024] = "\"mask_expr\":\"doc[q] == doc[k]\",\"params\":{\"doc\":[0";
  for (int i = 1; i < 170; i++)
    sprintf(list + strlen(list), ",%d", i / 50);
  strcat(list, "]}");
  problem_of(&formula, &given, "\"pattern\":\"chunked:50\"");
  problem_of(&data, &given_data, list);
  for (int family = 1; family < ATTUNE_FAMILY_COUNT; family++) {
    uint16_t *by_formula = computed((attune_family)family, schedules[family][0], &formula, &given);
    uint16_t *by_data = computed((attune_family)family, schedules[family][0], &data, &given_data);
    assert_memory_equal(by_formula, by_data, elements_of(&formula) * sizeof *by_formula);
    free(by_formula);
    free(by_data);
  }
}

/* V holds infinity where the pattern's tiles leave it out: a tile that is worked on shows as NaN, hidden or not. */
static void hidden_tiles_are_left_out(void **state) {
  (void)state;
  attune_problem problem, resolved;
  attune_inputs given;
  problem_of(&problem, &given, "\"pattern\":\"blocks:32,0\"");
  problem.seqlen_q = 128;
  problem.seqlen_k = 320;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  const attune_layout layouts[] = {attune_layout_of(&resolved, ATTUNE_TENSOR_Q),
                                   attune_layout_of(&resolved, ATTUNE_TENSOR_K),
                                   attune_layout_of(&resolved, ATTUNE_TENSOR_V)};
  uint16_t *drawn[3];
  for (size_t i = 0; i < 3; i++)
    assert_non_null(drawn[i] = attune_draw(&layouts[i], resolved.dtype, i, 1.0));
  for (int64_t b = 0; b < layouts[2].batch; b++)
    for (int64_t row = 128; row < 320; row++)
      for (int64_t head = 0; head < layouts[2].heads; head++)
        drawn[2][attune_layout_offset(&layouts[2], b, row, head)] = 0x7f80;
  given.q = drawn[0], given.k = drawn[1], given.v = drawn[2];
  for (int family = 0; family < ATTUNE_FAMILY_COUNT; family++) {
    attune_verifier *verifier;
    attune_config config;
    config_of(&config, (attune_family)family, schedules[family][0], &problem);
    assert_int_equal(attune_verifier_create(&verifier, machines[0], &problem, &given, &(attune_drawing){.seed = 3}),
                     ATTUNE_OK);
    free(verified(verifier, machines[0], &config, &problem, attune_family_name((attune_family)family)));
    attune_verifier_destroy(verifier);
  }
  for (size_t i = 0; i < 3; i++)
    free(drawn[i]);
}

/* A batch whose sequences have lengths of their own gives what each gives alone, to the bit. */
static void own_lengths(void **state) {
  (void)state;
  attune_problem problem, resolved;
  attune_inputs given;
  problem_of(&problem, &given,
             "\"pattern\":\"chunked:50 | blocks:16,1\",\"score_expr\":\"score + slope[head] * (seqlen_k - k)\","
             "\"params\":{\"slope\":[0.5,0.25,0.125,0.0625]},\"seqlens_q\":[90,150],\"seqlens_k\":[121,170]");
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  uint16_t *drawn[3];
  for (attune_tensor_id id = ATTUNE_TENSOR_Q; id <= ATTUNE_TENSOR_V; id++) {
    const attune_layout layout = attune_layout_of(&resolved, id);
    assert_non_null(drawn[id] = attune_draw(&layout, resolved.dtype, (uint64_t)id, 1.0));
  }
  given.q = drawn[0], given.k = drawn[1], given.v = drawn[2];
  const int32_t *seqlens_q = attune_inputs_seqlens(&given, ATTUNE_QUERIES),
                *seqlens_k = attune_inputs_seqlens(&given, ATTUNE_KEYS);
  for (int family = 0; family < ATTUNE_FAMILY_COUNT; family++) {
    uint16_t *whole = computed((attune_family)family, schedules[family][0], &resolved, &given);
    for (int b = 0; b < 2; b++) {
      attune_problem own = resolved;
      attune_inputs own_given = given;
      own.batch = 1, own.seqlen_q = seqlens_q[b], own.seqlen_k = seqlens_k[b];
      own_given.seqlens[0].count = own_given.seqlens[1].count = 0;
      own_given.q += b * resolved.q.batch;
      own_given.k += b * resolved.k.batch;
      own_given.v += b * resolved.v.batch;
      uint16_t *alone = computed((attune_family)family, schedules[family][0], &own, &own_given);
      assert_memory_equal(whole + b * resolved.o.batch, alone, elements_of(&own) * sizeof *alone);
      free(alone);
    }
    free(whole);
  }
  for (size_t i = 0; i < 3; i++)
    free(drawn[i]);
}

int main(void) {
  static struct CMUnitTest tests[COUNT(cases) + 3];
  for (size_t i = 0; i < COUNT(cases); i++)
    tests[i] =
        (struct CMUnitTest){.name = cases[i], .test_func = check_case, .initial_state = (void *)(uintptr_t)&cases[i]};
  tests[COUNT(cases)] = (struct CMUnitTest)cmocka_unit_test(formula_equals_data);
  tests[COUNT(cases) + 1] = (struct CMUnitTest)cmocka_unit_test(hidden_tiles_are_left_out);
  tests[COUNT(cases) + 2] = (struct CMUnitTest)cmocka_unit_test(own_lengths);
  return cmocka_run_group_tests_name("simulator_patterns", tests, open_machines, close_machines);
}
