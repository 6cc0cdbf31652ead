/* The verifier finds what is wrong: kernels here are plain C behind the runtime's functions, right but for one defect
 * each. */
#include "tuner/verify/verifier.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/verifier_case.h"

/* ---- small problems: every row in double precision ---- */

static void a_right_kernel_passes(void **state) {
  (void)state;
  attune_problem problem = small_problem();
  for (int dtype = ATTUNE_FP16; dtype <= ATTUNE_BF16; dtype++) {
    problem.dtype = (attune_dtype)dtype;
    const attune_verdict verdict = verdict_of(&problem, RIGHT);
    assert_true(verdict.passed);
    assert_int_equal(verdict.rows_checked, 2 * 4 * 20);
    assert_true(verdict.error > 0.0 && verdict.error < verdict.error_bound);
    assert_true(verdict.unfused_error > 0.0 && fabs(verdict.error_bound - 2.0 * verdict.unfused_error - 1e-5) < 1e-12);
    assert_true(verdict.lse_error < 1e-5);
    assert_string_equal(verdict.worst, "");
  }
}

static void defects_are_named_with_their_place(void **state) {
  (void)state;
  const attune_problem problem = small_problem();
  expect(&problem, SKIPS_A_ROW, "8 elements of o are unwritten or NaN, the first at [batch 1, row 19, head 3, 0]");
  expect(&problem, SKIPS_AN_ELEMENT, "1 elements of o are unwritten or NaN, the first at [batch 1, row 19, head 3, 7]");
  expect(&problem, WRITES_NAN, "o[batch 1, row 19, head 3, 0] is nan");
  expect(&problem, IS_OFF, "o[batch 1, row 19, head 3, 1] is ");
  expect(&problem, LSE_IS_OFF, "lse[batch 1, row 19, head 3] is ");
  expect(&problem, LSE_IS_UNWRITTEN, "8 elements of lse are unwritten or NaN, the first at [batch 0, row 19, head 0]");
  expect(&problem, LSE_OF_HIDDEN_ROW_IS_FINITE, "lse[batch 0, row 0, head 0] is -1.00000002e+30, exact -inf");
}

static void what_lies_between_rows_is_kept(void **state) {
  (void)state;
  attune_problem problem = small_problem();
  problem.o = (attune_strides){.batch = 20 * 64, .seqlen = 64, .heads = 16};
  problem.q = (attune_strides){.batch = 20 * 128, .seqlen = 128, .heads = 32};
  problem.k = (attune_strides){.batch = 0, .seqlen = 32, .heads = 16}; /* one for the whole batch */
  problem.v = (attune_strides){.batch = 12 * 64, .seqlen = 64, .heads = 24};
  assert_true(verdict_of(&problem, RIGHT).passed);
  expect(&problem, WRITES_BETWEEN_ROWS,
         "something was written outside of the rows of o, 2543 elements after its start");
  expect(&problem, READS_A_GAP_OF_V, "160 elements of o are unwritten or NaN");
  expect(&problem, SKIPS_A_ROW, "8 elements of o are unwritten");
}

/* Rows that see 2000 keys are 0.03 where those that see one are 3: what is off in the former is less than what rounding
 * does to the latter. */
static void long_rows_have_their_own_bound(void **state) {
  (void)state;
  attune_problem problem;
  attune_problem_init(&problem);
  problem.head_dim = 16;
  problem.head_dim_v = 64;
  problem.seqlen_q = problem.seqlen_k = 2048;
  problem.mask = ATTUNE_MASK_CAUSAL;
  problem.window_left = 1984;
  const attune_verdict right = verdict_of(&problem, RIGHT);
  assert_true(right.passed);
  assert_true(right.error <= right.error_bound && fabs(right.error_bound - 2.0 * right.unfused_error - 1e-5) < 1e-12);
  const attune_verdict wrong = verdict_of(&problem, IGNORES_THE_WINDOW);
  assert_false(wrong.passed);
  assert_true(wrong.error > wrong.error_bound && wrong.error_bound < 0.01);
}

static void buckets_are_powers_of_two_of_visible_keys(void **state) {
  (void)state;
  attune_problem problem = small_problem(), resolved;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  const int causal[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3};
  for (int row = 0; row < 20; row++)
    assert_int_equal(attune_bucket(&resolved, ATTUNE_QUERIES, 20, 12, row), causal[row]);
  problem.mask = ATTUNE_MASK_NONE; /* row 0 sees 0..4, row 19 nothing any more */
  problem.window_left = 3;
  problem.window_right = 4;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  const int window[] = {2, 2, 2, 3, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0};
  for (int row = 0; row < 20; row++)
    assert_int_equal(attune_bucket(&resolved, ATTUNE_QUERIES, 20, 12, row), window[row]);
}

static void outputs_are_contiguous(void **state) {
  (void)state;
  attune_problem problem = small_problem(), resolved;
  problem.o = (attune_strides){.batch = 16, .seqlen = 32, .heads = 20 * 32};
  attune_verifier *verifier;
  uint16_t o[2 * 20 * 4 * 8], *drawn[3];
  float lse[2 * 4 * 20];
  double exact[8], exact_lse;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  for (attune_tensor_id id = ATTUNE_TENSOR_Q; id <= ATTUNE_TENSOR_V; id++) {
    const attune_layout layout = attune_layout_of(&resolved, id);
    assert_non_null(drawn[id] = attune_draw(&layout, problem.dtype, (uint64_t)id, 1.0));
  }
  const attune_inputs inputs = {.q = drawn[0], .k = drawn[1], .v = drawn[2]};
  kernel.defect = RIGHT;
  assert_int_equal(attune_verifier_create(&verifier, backend, &problem, &inputs, &(attune_drawing){.seed = 1}),
                   ATTUNE_OK);
  assert_int_equal(attune_verifier_launch(verifier, program_of(&problem, NULL)), ATTUNE_OK);
  assert_int_equal(attune_verifier_outputs(verifier, o, lse), ATTUNE_OK);
  attune_reference_row(exact, &exact_lse, &resolved, &inputs, 1, 2, 13);
  assert_true((double)lse[(1 * 4 + 2) * 20 + 13] == (double)(float)exact_lse);
  for (int d = 0; d < 8; d++)
    assert_int_equal(o[((1 * 20 + 13) * 4 + 2) * 8 + d], attune_to_element(problem.dtype, exact[d]));
  attune_verifier_destroy(verifier);
  for (int i = 0; i < 3; i++)
    free(drawn[i]);
}

/* ---- lengths ---- */

/* Two sequences of 20 x 12 at most. */
static attune_verdict verdict_of_lengths(const attune_problem *problem, const int32_t seqlens_q[2],
                                         const int32_t seqlens_k[2], defect kind) {
  attune_inputs inputs = {.used = 0};
  inputs.seqlens[ATTUNE_QUERIES].array = seqlens_q;
  inputs.seqlens[ATTUNE_KEYS].array = seqlens_k;
  return verdict_with(problem, &inputs, &(attune_drawing){.seed = 7}, NULL, kind);
}

static void lengths_are_obeyed(void **state) {
  (void)state;
  static const int32_t seqlens_q[] = {20, 17}, seqlens_k[] = {12, 5}, none[] = {0, 0};
  attune_problem problem = small_problem();
  for (int mask = 0; mask < 3; mask++) {
    problem.mask = (attune_mask)mask;
    attune_verdict verdict = verdict_of_lengths(&problem, seqlens_q, seqlens_k, RIGHT);
    assert_true(verdict.passed && verdict.rows_checked == 4 * (20 + 17));
    verdict = verdict_of_lengths(&problem, seqlens_q, none, RIGHT);
    assert_true(verdict.passed && verdict.rows_checked == 4 * (20 + 17));
    verdict = verdict_of_lengths(&problem, NULL, seqlens_k, RIGHT);
    assert_true(verdict.passed && verdict.rows_checked == 4 * 2 * 20);
    verdict = verdict_of_lengths(&problem, none, seqlens_k, RIGHT);
    assert_true(verdict.passed && verdict.rows_checked == 0);
  }
  attune_verdict verdict = verdict_of_lengths(&problem, seqlens_q, seqlens_k, IGNORES_SEQLENS_K);
  expect_in(&verdict, "224 elements of o are unwritten or NaN, the first at [batch 1, row 10, head 0, 0]");
  verdict = verdict_of_lengths(&problem, seqlens_q, seqlens_k, USES_THE_FIRST_SEQLEN_K);
  expect_in(&verdict, "elements of o are unwritten or NaN, the first at [batch 1, row ");
  verdict = verdict_of_lengths(&problem, seqlens_q, seqlens_k, IGNORES_SEQLENS_Q);
  expect_in(&verdict, "o[batch 1, row 17, head 0, 0] was written, past the 17 queries of its sequence");
  verdict = verdict_of_lengths(&problem, none, seqlens_k, IGNORES_SEQLENS_Q);
  expect_in(&verdict, "o[batch 0, row 0, head 0, 0] was written, past the 0 queries of its sequence");
  problem.want_lse = 0;
  verdict = verdict_of_lengths(&problem, seqlens_q, seqlens_k, IGNORES_SEQLENS_Q);
  expect_in(&verdict, "o[batch 1, row 17, head 0, 0] was written");
}

/* One sequence of keys serves the whole batch: what the longest has of it is not NaN. */
static void lengths_of_a_broadcast_tensor(void **state) {
  (void)state;
  static const int32_t seqlens_q[] = {20, 17}, seqlens_k[] = {5, 12};
  attune_problem problem = small_problem();
  problem.k = (attune_strides){.batch = 0, .seqlen = 32, .heads = 16};
  problem.v = (attune_strides){.batch = 0, .seqlen = 16, .heads = 8};
  attune_verdict verdict = verdict_of_lengths(&problem, seqlens_q, seqlens_k, RIGHT);
  assert_true(verdict.passed);
  verdict = verdict_of_lengths(&problem, seqlens_q, seqlens_k, USES_THE_FIRST_SEQLEN_K);
  expect_in(&verdict, "o[batch 1, ");
}

static void lengths_that_do_not_fit_are_refused(void **state) {
  (void)state;
  static const int32_t too_long[] = {12, 13}, negative[] = {-1, 12}, three[] = {1, 2, 3};
  const attune_problem problem = small_problem();
  attune_verifier *verifier;
  attune_inputs inputs = {.used = 0};
  inputs.seqlens[ATTUNE_KEYS].array = too_long;
  assert_int_equal(attune_verifier_create(&verifier, backend, &problem, &inputs, &(attune_drawing){.seed = 1}),
                   ATTUNE_BAD_SIZE);
  assert_null(verifier);
  assert_non_null(strstr(attune_message(), "seqlens_k[1] is 13; it must be from 0 to the problem's bound, 12"));
  inputs.seqlens[ATTUNE_KEYS].array = negative;
  assert_int_equal(attune_verifier_create(&verifier, backend, &problem, &inputs, &(attune_drawing){.seed = 1}),
                   ATTUNE_BAD_SIZE);
  assert_int_equal(attune_inputs_set_seqlens(&inputs, ATTUNE_KEYS, three, 3), ATTUNE_OK);
  assert_int_equal(attune_verifier_create(&verifier, backend, &problem, &inputs, &(attune_drawing){.seed = 1}),
                   ATTUNE_BAD_SIZE);
  assert_non_null(strstr(attune_message(), "seqlens_k has 3 lengths for a batch of 2"));
}

/* Between them, the seeds that follow each other have every kind of length; short ones are odd. */
static void drawn_lengths_are_of_every_kind(void **state) {
  (void)state;
  enum { BATCH = 3, BOUND_Q = 300, BOUND_K = 257 };
  int seen[2][4] = {0}; /* 0, 1, the bound, odd */
  for (uint64_t seed = 40; seed < 40 + ATTUNE_LENGTH_KINDS; seed += BATCH) {
    int32_t lengths[2][BATCH], again[2][BATCH];
    attune_draw_lengths(lengths[0], lengths[1], BATCH, BOUND_Q, BOUND_K, seed);
    attune_draw_lengths(again[0], again[1], BATCH, BOUND_Q, BOUND_K, seed);
    assert_memory_equal(lengths, again, sizeof lengths);
    for (int side = 0; side < 2; side++)
      for (int i = 0; i < BATCH; i++) {
        const int32_t length = lengths[side][i], bound = side == 0 ? BOUND_Q : BOUND_K;
        assert_in_range(length, 0, bound);
        assert_true(length == 0 || length == bound || length % 2 == 1);
        seen[side][length == 0 ? 0 : length == 1 ? 1 : length == bound ? 2 : 3]++;
      }
  }
  for (int side = 0; side < 2; side++)
    for (int kind = 0; kind < 4; kind++)
      assert_true(seen[side][kind] > 0);
}

/* The verdict that a kernel gets on drawn lengths, of the kinds from the seed on. */
static void drawn_lengths_are_verified(void **state) {
  (void)state;
  attune_problem problem = small_problem();
  problem.mask = ATTUNE_MASK_NONE;
  int caught[2] = {0};
  for (uint64_t seed = 0; seed < ATTUNE_LENGTH_KINDS; seed += 2) {
    const attune_drawing drawing = {.seed = seed, .lengths = true};
    assert_true(verdict_with(&problem, NULL, &drawing, NULL, RIGHT).passed);
    caught[0] += !verdict_with(&problem, NULL, &drawing, NULL, IGNORES_SEQLENS_K).passed;
    caught[1] += !verdict_with(&problem, NULL, &drawing, NULL, IGNORES_SEQLENS_Q).passed;
  }
  assert_true(caught[0] >= 3 && caught[1] >= 3);
}

/* ---- what nobody may read or write ---- */

static void what_lies_around_tensors_is_kept(void **state) {
  (void)state;
  attune_problem problem = small_problem();
  expect(&problem, READS_BEHIND_K, "160 elements of o are unwritten or NaN");
  expect(&problem, WRITES_BEHIND_O, "something was written outside of the rows of o, 1280 elements after its start");
  expect(&problem, WRITES_BEFORE_LSE, "something was written outside of the rows of lse, -1 elements after its start");
  problem.want_sinks = 1;
  assert_true(verdict_of(&problem, RIGHT).passed);
  expect(&problem, READS_BEHIND_SINKS, "160 elements of o are unwritten or NaN");
}

static void what_lies_around_arrays_is_kept(void **state) {
  (void)state;
  attune_problem problem = small_problem();
  attune_inputs inputs = {.used = 0};
  const attune_drawing drawing = {.seed = 3};
  assert_int_equal(attune_inputs_param(&inputs, &problem, "slope=0.5,0.25,0.125,0.0625"), ATTUNE_OK);
  problem.score_expr = "score + slope[head] * (k - q)";
  assert_true(verdict_with(&problem, &inputs, &drawing, NULL, RIGHT).passed);
  const attune_verdict verdict = verdict_with(&problem, &inputs, &drawing, NULL, READS_BEHIND_AN_ARRAY);
  expect_in(&verdict, "160 elements of o are unwritten or NaN");
}

static void a_bias_ends_with_its_sequence(void **state) {
  (void)state;
  static const int32_t seqlens_q[] = {20, 20}, seqlens_k[] = {12, 11};
  attune_problem problem = small_problem();
  problem.want_bias = 1;
  problem.bias = (attune_strides){.batch = 20 * 12, .seqlen = 12, .heads = 0};
  assert_true(verdict_of_lengths(&problem, seqlens_q, seqlens_k, RIGHT).passed);
  const attune_verdict verdict = verdict_of_lengths(&problem, seqlens_q, seqlens_k, READS_BIAS_PAST_THE_KEYS);
  expect_in(&verdict, "80 elements of o are unwritten or NaN, the first at [batch 1, row 0, head 0, 0]");
}

static void the_workspace_has_its_size_and_no_more(void **state) {
  (void)state;
  static const char config[] = "forward.wgmma.bf16.d64.m64.n64.w8.s2.lazy.intra_wg_overlap.persistent_dynamic.b1";
  attune_problem problem = small_problem();
  problem.head_dim = problem.head_dim_v = 64;
  problem.dtype = ATTUNE_BF16;
  problem.mask = ATTUNE_MASK_NONE;
  problem.want_lse = 0;
  const attune_drawing drawing = {.seed = 3};
  assert_true(verdict_with(&problem, NULL, &drawing, config, RIGHT).passed);
  attune_verdict verdict = verdict_with(&problem, NULL, &drawing, config, WRITES_BEHIND_THE_WORKSPACE);
  expect_in(&verdict, "something was written outside of the workspace of 4 bytes, 4 bytes after its start");
  /* It takes the workspace to be 0, and leaves it so: it is poisoned before each run. */
  attune_verifier *verifier;
  kernel.defect = TRUSTS_THE_WORKSPACE;
  assert_int_equal(attune_verifier_create(&verifier, backend, &problem, NULL, &drawing), ATTUNE_OK);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(attune_verifier_check(verifier, program_of(&problem, config), &verdict), ATTUNE_OK);
    expect_in(&verdict, "o[batch ");
  }
  attune_verifier_destroy(verifier);
}

/* ---- large problems: some rows, and the reference family ---- */

/* Queries are zero, so that every row is the mean of V as far as it sees it, and V is the same in all heads. */
static attune_status large_verifier(attune_verifier **verifier, attune_problem *problem, attune_mask mask) {
  attune_problem_init(problem);
  problem->heads_q = problem->heads_kv = 16;
  problem->seqlen_q = problem->seqlen_k = 2048;
  problem->v = (attune_strides){.batch = 2048 * 64, .seqlen = 64, .heads = 0};
  problem->want_lse = 1;
  const size_t elements = 16 * 2048 * 64;
  uint16_t *zero = calloc(elements, sizeof *zero);
  const attune_layout layout = {problem->v, 1, 2048, 16, 64};
  uint16_t *v = attune_draw(&layout, problem->dtype, 3, 1.0);
  assert_true(zero != NULL && v != NULL);
  problem->mask = mask;
  kernel.uniform = true;
  kernel.uniform_so_far = mask == ATTUNE_MASK_CAUSAL;
  const attune_inputs inputs = {.q = zero, .k = zero, .v = v};
  const attune_status status =
      attune_verifier_create(verifier, backend, problem, &inputs, &(attune_drawing){.seed = 0});
  free(zero);
  free(v);
  return status;
}

static attune_verdict check_large(attune_verifier *verifier, const attune_problem *problem, defect kind) {
  attune_verdict verdict;
  kernel.defect = kind;
  assert_int_equal(attune_verifier_check(verifier, program_of(problem, NULL), &verdict), ATTUNE_OK);
  return verdict;
}

static void every_element_of_a_large_problem_is_compared(void **state) {
  (void)state;
  attune_problem problem;
  attune_verifier *verifier;
  assert_int_equal(large_verifier(&verifier, &problem, ATTUNE_MASK_NONE), ATTUNE_OK);
  attune_verdict verdict = check_large(verifier, &problem, RIGHT);
  assert_true(verdict.passed);
  assert_true(verdict.rows_checked >= 48 && verdict.rows_checked < 16 * 2048);
  verdict = check_large(verifier, &problem, OFF_IN_ONE_UNLIKELY_ROW);
  expect_in(&verdict,
            "1 elements of o differ from the reference family's, the first at [batch 0, row 1027, head 15, 0]");
  verdict = check_large(verifier, &problem, LSE_IS_OFF_IN_ONE_UNLIKELY_ROW);
  expect_in(&verdict,
            "1 elements of lse differ from the reference family's, the first at [batch 0, row 1027, head 15]");
  verdict = check_large(verifier, &problem, SKIPS_A_ROW);
  expect_in(&verdict, "64 elements of o are unwritten or NaN");
  attune_verifier_destroy(verifier);
}

static void every_element_has_the_bound_of_its_bucket(void **state) {
  (void)state;
  attune_problem problem;
  attune_verifier *verifier;
  assert_int_equal(large_verifier(&verifier, &problem, ATTUNE_MASK_CAUSAL), ATTUNE_OK);
  assert_true(check_large(verifier, &problem, RIGHT).passed);
  const attune_verdict verdict = check_large(verifier, &problem, OFF_BY_LITTLE_IN_ONE_UNLIKELY_ROW);
  expect_in(&verdict, "[batch 0, row 1027, head 15, 0]");
  attune_verifier_destroy(verifier);
  kernel.uniform_so_far = false;
}

/* At least eight of each where there are as many. */
static void rows_of_every_bucket_are_checked(void **state) {
  (void)state;
  attune_problem problem, resolved;
  attune_rows rows;
  attune_problem_init(&problem);
  problem.heads_q = problem.heads_kv = 16;
  problem.head_dim = problem.head_dim_v = 64;
  problem.seqlen_q = problem.seqlen_k = 4096;
  problem.mask = ATTUNE_MASK_CAUSAL;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  const attune_layout layout = attune_layout_of(&resolved, ATTUNE_TENSOR_Q);
  uint16_t *drawn[3];
  for (uint64_t i = 0; i < 3; i++)
    assert_non_null(drawn[i] = attune_draw(&layout, problem.dtype, i, 1.0));
  const attune_inputs inputs = {.q = drawn[0], .k = drawn[1], .v = drawn[2]};
  assert_int_equal(attune_rows_create(&rows, &resolved, ATTUNE_QUERIES, &inputs, 1, false), ATTUNE_OK);
  for (int bucket = 1; bucket <= 12; bucket++) {
    int checked = 0;
    bool first_half = false, second_half = false;
    for (int64_t i = 0; i < rows.count; i++) {
      if (attune_bucket(&resolved, ATTUNE_QUERIES, 4096, 4096, rows.rows[i].row) != bucket) continue;
      checked++;
      first_half = first_half || rows.rows[i].head < 8;
      second_half = second_half || rows.rows[i].head >= 8;
    }
    assert_true(checked >= 8 && first_half && second_half);
    assert_true(rows.unfused_errors[ATTUNE_TENSOR_O][bucket] > 0.0);
  }
  assert_true(rows.unfused_errors[ATTUNE_TENSOR_O][0] == 0.0 && rows.unfused_errors[ATTUNE_TENSOR_O][13] == 0.0);
  assert_true(rows.unfused_errors[ATTUNE_TENSOR_O][11] < 0.2 * rows.unfused_errors[ATTUNE_TENSOR_O][1]);
  attune_rows_free(&rows);
  for (int i = 0; i < 3; i++)
    free(drawn[i]);
}

static void a_wrong_reference_family_is_refused(void **state) {
  (void)state;
  attune_problem problem;
  attune_verifier *verifier;
  kernel.reference_is_wrong = true;
  /* Its last row is among those that are always looked at. */
  assert_int_equal(large_verifier(&verifier, &problem, ATTUNE_MASK_NONE), ATTUNE_WRONG_RESULT);
  assert_null(verifier);
  kernel.reference_is_wrong = false;
}

/* ---- inputs ---- */

static void inputs_are_normal_and_repeatable(void **state) {
  (void)state;
  enum { COUNT = 1 << 20 };
  const attune_layout layout = {{COUNT, 64, 64}, 1, COUNT / 64, 1, 64};
  uint16_t *a = attune_draw(&layout, ATTUNE_FP16, 5, 2.0), *b = attune_draw(&layout, ATTUNE_FP16, 5, 2.0);
  uint16_t *c = attune_draw(&layout, ATTUNE_FP16, 6, 2.0);
  assert_true(a && b && c);
  assert_memory_equal(a, b, COUNT * sizeof *a);
  assert_memory_not_equal(a, c, COUNT * sizeof *a);
  double sum = 0.0, squares = 0.0, within = 0.0;
  for (int i = 0; i < COUNT; i++) {
    const double x = attune_from_element(ATTUNE_FP16, a[i]) / 2.0;
    sum += x;
    squares += x * x;
    within += fabs(x) < 1.0;
  }
  assert_true(fabs(sum / COUNT) < 0.005);
  assert_true(fabs(squares / COUNT - 1.0) < 0.01);
  assert_true(fabs(within / COUNT - 0.6827) < 0.005);
  free(a);
  free(b);
  free(c);
}

static void gaps_between_inputs_are_nan(void **state) {
  (void)state;
  const attune_layout layout = {{.batch = 0, .seqlen = 24, .heads = 8}, 3, 4, 2, 8};
  uint16_t *drawn = attune_draw(&layout, ATTUNE_BF16, 1, 1.0);
  assert_non_null(drawn);
  assert_int_equal(attune_layout_extent(&layout), 3 * 24 + 16);
  for (int i = 0; i < 3 * 24 + 16; i++)
    assert_int_equal(isnan(attune_from_element(ATTUNE_BF16, drawn[i])), i % 24 >= 16);
  free(drawn);
}

/* A second drawing takes the place of the first one, on the device and in what is expected. */
static void inputs_are_drawn_afresh(void **state) {
  (void)state;
  const attune_problem problem = small_problem();
  attune_verifier *verifier;
  attune_verdict verdict;
  uint16_t o[4][2 * 20 * 4 * 8];
  const attune_drawing drawings[] = {{.seed = 1}, {.seed = 2}, {.seed = 2, .lengths = true}, {.seed = 1}};
  kernel.defect = RIGHT;
  kernel.uniform = false;
  assert_int_equal(attune_verifier_create(&verifier, backend, &problem, NULL, &drawings[0]), ATTUNE_OK);
  for (int i = 0; i < 4; i++) {
    if (i > 0) assert_int_equal(attune_verifier_draw(verifier, &drawings[i]), ATTUNE_OK);
    assert_int_equal(attune_verifier_check(verifier, program_of(&problem, NULL), &verdict), ATTUNE_OK);
    assert_true(verdict.passed);
    assert_int_equal(attune_verifier_outputs(verifier, o[i], NULL), ATTUNE_OK);
  }
  assert_memory_not_equal(o[0], o[1], sizeof *o);
  assert_memory_not_equal(o[1], o[2], sizeof *o);
  assert_memory_equal(o[0], o[3], sizeof *o);
  attune_verifier_destroy(verifier);
}

static void magnitudes_are_those_of_the_drawing(void **state) {
  (void)state;
  attune_problem problem = small_problem();
  problem.mask = ATTUNE_MASK_NONE;
  attune_drawing drawing = {.seed = 7, .magnitude = 16.0};
  const attune_verdict usual = verdict_of(&problem, RIGHT), sharp = verdict_with(&problem, NULL, &drawing, NULL, RIGHT);
  drawing.magnitude_v = 1024.0;
  const attune_verdict huge = verdict_with(&problem, NULL, &drawing, NULL, RIGHT);
  drawing = (attune_drawing){.seed = 7, .magnitude = 0x1p-12};
  const attune_verdict tiny = verdict_with(&problem, NULL, &drawing, NULL, RIGHT);
  assert_true(usual.passed && sharp.passed && huge.passed && tiny.passed);
  assert_true(sharp.unfused_error > 1.5 * usual.unfused_error && tiny.unfused_error < usual.unfused_error);
  const double growth = huge.unfused_error / sharp.unfused_error;
  assert_true(growth > 900.0 && growth < 1150.0);
}

/* attune.h, "Gradients": those of larger scores are worse than the unfused ones, whatever the kernel. score_rounding
 * tells the magnitude of q and k. */
static void gradients_are_drawn_with_scores_they_bear(void **state) {
  (void)state;
  const attune_drawing drawing = {.seed = 3, .magnitude = 0x1p11};
  for (int i = 0; i < 4; i++) {
    attune_problem problem = small_problem();
    attune_verifier *verifier;
    problem.operation = ATTUNE_BACKWARD;
    problem.want_lse = 0;
    problem.dtype = i % 2 == 0 ? ATTUNE_FP16 : ATTUNE_BF16;
    problem.scale = i / 2 == 0 ? 0.125f : -1000.0f;
    assert_int_equal(attune_verifier_create(&verifier, backend, &problem, NULL, &drawing), ATTUNE_OK);
    const double score = 0x1p26 * verifier->score_rounding / sqrt((double)problem.head_dim); /* its deviation */
    assert_true(fabs(6.0 * score / (problem.dtype == ATTUNE_FP16 ? 0x1p8 : 0x1p11) - 1.0) < 1e-6);
    attune_verifier_destroy(verifier);
  }
}

/* A density so small that no block is kept still has a place for blocks: nothing is added to NULL. */
static void block_masks_may_keep_nothing(void **state) {
  (void)state;
  attune_problem problem;
  attune_host_block_mask mask;
  attune_problem_init(&problem);
  problem.seqlen_q = problem.seqlen_k = 64;
  problem.block_size = 16;
  problem.block_density = 1e-45f;
  assert_int_equal(attune_host_block_mask_draw(&mask, &problem, 0), ATTUNE_OK);
  assert_int_equal(mask.view.capacity, 0);
  assert_non_null(mask.blocks);
  attune_host_block_mask_free(&mask);
}

/* Else a new input would be compared with itself unset. */
static void every_input_of_numbers_is_drawn(void **state) {
  (void)state;
  for (int id = 0; id < ATTUNE_TENSOR_COUNT; id++) {
    const attune_tensor_row *row = &attune_tensor_table[id];
    const bool numbers = row->element == ATTUNE_ELEMENT_DTYPE || row->element == ATTUNE_ELEMENT_FLOAT;
    if (row->role != ATTUNE_TENSOR_INPUT || !numbers) continue;
    if (id >= ATTUNE_VERIFIED_TENSORS || attune_verified_table[id].host == 0)
      fail_msg("%s has no row of attune_verified_table", row->name);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_input_of_numbers_is_drawn),
      cmocka_unit_test(a_right_kernel_passes),
      cmocka_unit_test(block_masks_may_keep_nothing),
      cmocka_unit_test(defects_are_named_with_their_place),
      cmocka_unit_test(what_lies_between_rows_is_kept),
      cmocka_unit_test(long_rows_have_their_own_bound),
      cmocka_unit_test(buckets_are_powers_of_two_of_visible_keys),
      cmocka_unit_test(outputs_are_contiguous),
      cmocka_unit_test(lengths_are_obeyed),
      cmocka_unit_test(lengths_of_a_broadcast_tensor),
      cmocka_unit_test(lengths_that_do_not_fit_are_refused),
      cmocka_unit_test(drawn_lengths_are_of_every_kind),
      cmocka_unit_test(drawn_lengths_are_verified),
      cmocka_unit_test(what_lies_around_tensors_is_kept),
      cmocka_unit_test(what_lies_around_arrays_is_kept),
      cmocka_unit_test(a_bias_ends_with_its_sequence),
      cmocka_unit_test(the_workspace_has_its_size_and_no_more),
      cmocka_unit_test(every_element_of_a_large_problem_is_compared),
      cmocka_unit_test(every_element_has_the_bound_of_its_bucket),
      cmocka_unit_test(rows_of_every_bucket_are_checked),
      cmocka_unit_test(a_wrong_reference_family_is_refused),
      cmocka_unit_test(inputs_are_normal_and_repeatable),
      cmocka_unit_test(gaps_between_inputs_are_nan),
      cmocka_unit_test(inputs_are_drawn_afresh),
      cmocka_unit_test(magnitudes_are_those_of_the_drawing),
      cmocka_unit_test(gradients_are_drawn_with_scores_they_bear),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
