/* The reference: conversions over all patterns, rows against small cases worked out by hand. */
#include "tuner/verify/reference.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void every_pattern_survives_the_round_trip(void **state) {
  (void)state;
  for (int dtype = ATTUNE_FP16; dtype <= ATTUNE_BF16; dtype++)
    for (unsigned pattern = 0; pattern < 65536; pattern++) {
      const uint16_t element = (uint16_t)pattern;
      const double value = attune_from_element((attune_dtype)dtype, element);
      assert_int_equal(attune_to_element((attune_dtype)dtype, value), element);
      float narrow;
      attune_elements_to_floats(&narrow, (attune_dtype)dtype, &element, 1);
      if (isnan(value)) {
        assert_true(isnan(narrow));
      } else {
        assert_true((double)narrow == value && !signbit(narrow) == !signbit(value));
      }
    }
}

/* Between every two neighbours: the middle goes to the even one, and a hair on either side to the nearer one. */
static void rounding_is_to_nearest_even(void **state) {
  (void)state;
  for (int d = ATTUNE_FP16; d <= ATTUNE_BF16; d++) {
    const attune_dtype dtype = (attune_dtype)d;
    const uint16_t infinity = dtype == ATTUNE_FP16 ? 0x7c00 : 0x7f80;
    for (uint16_t low = 0; low < infinity; low++) {
      const uint16_t high = (uint16_t)(low + 1), even = low % 2 == 0 ? low : high;
      const double below = attune_from_element(dtype, low);
      /* The format's next power of two stands for infinity in the rounding of the largest numbers. */
      const double above = high < infinity ? attune_from_element(dtype, high) : dtype == ATTUNE_FP16 ? 0x1p16 : 0x1p128;
      const double middle = (below + above) / 2;
      assert_int_equal(attune_to_element(dtype, middle), even);
      assert_int_equal(attune_to_element(dtype, nextafter(middle, 0)), low);
      assert_int_equal(attune_to_element(dtype, nextafter(middle, INFINITY)), high);
      assert_int_equal(attune_to_element(dtype, -middle), even | 0x8000);
    }
    assert_int_equal(attune_to_element(dtype, INFINITY), infinity);
    assert_int_equal(attune_to_element(dtype, -1e300), infinity | 0x8000);
    assert_int_equal(attune_to_element(dtype, 1e-300), 0);
    assert_int_equal(attune_to_element(dtype, -0.0), 0x8000);
    assert_true(attune_to_element(dtype, (double)NAN) > infinity);
  }
}

/* Of floats on a grid over all exponents, which also meets elements and the middle of two. */
static void fast_rounding_is_the_same(void **state) {
  (void)state;
  for (int dtype = ATTUNE_FP16; dtype <= ATTUNE_BF16; dtype++)
    for (uint64_t pattern = 0; pattern < UINT64_C(1) << 32; pattern += 0x3fd) {
      const uint32_t bits = (uint32_t)pattern;
      float value;
      memcpy(&value, &bits, sizeof value);
      if (isnan(value)) continue;
      const double expected =
          attune_from_element((attune_dtype)dtype, attune_to_element((attune_dtype)dtype, (double)value));
      if ((double)attune_round_to_element((attune_dtype)dtype, value) != expected)
        fail_msg("%a becomes %a, expected %a", (double)value,
                 (double)attune_round_to_element((attune_dtype)dtype, value), expected);
    }
}

static attune_strides contiguous(int seqlen, int heads, int head_dim) {
  return (attune_strides){(int64_t)seqlen * heads * head_dim, (int64_t)heads * head_dim, head_dim};
}

/* A resolved problem without the generator, so that this test stands on reference.c alone. */
static attune_problem problem_of(int seqlen_q, int seqlen_k, int heads_q, int heads_kv) {
  attune_problem problem = {.struct_size = sizeof problem,
                            .dtype = ATTUNE_BF16,
                            .head_dim = 8,
                            .head_dim_v = 8,
                            .batch = 1,
                            .heads_q = heads_q,
                            .heads_kv = heads_kv,
                            .seqlen_q = seqlen_q,
                            .seqlen_k = seqlen_k,
                            .window_left = 1 << 30,
                            .window_right = 1 << 30,
                            .scale = 1.0f};
  problem.q = problem.o = contiguous(seqlen_q, heads_q, 8);
  problem.k = problem.v = contiguous(seqlen_k, heads_kv, 8);
  return problem;
}

/* q = 0, so that every visible key weighs the same; v of key j is j + 100 * head, so that O is the mean visible index.
 */
static void expect_visible(const attune_problem *problem, int row, int first, int last) {
  const size_t count = (size_t)problem->seqlen_k * (size_t)problem->heads_kv * 8;
  uint16_t *q = calloc((size_t)problem->seqlen_q * (size_t)problem->heads_q * 8, sizeof *q);
  uint16_t *k = calloc(count, sizeof *k), *v = calloc(count, sizeof *v);
  assert_true(q && k && v);
  for (int key = 0; key < problem->seqlen_k; key++)
    for (int head = 0; head < problem->heads_kv; head++)
      for (int d = 0; d < 8; d++)
        v[key * problem->v.seqlen + head * 8 + d] = attune_to_element(ATTUNE_BF16, key + 100 * head);
  const attune_inputs inputs = {.q = q, .k = k, .v = v};
  for (int head = 0; head < problem->heads_q; head++) {
    const int head_kv = head / (problem->heads_q / problem->heads_kv);
    double o[8], unfused[8], lse;
    attune_reference_row(o, &lse, problem, &inputs, 0, head, row);
    attune_unfused_row(unfused, problem, &inputs, 0, head, row);
    if (first >= last) {
      assert_true(o[0] == 0.0 && unfused[7] == 0.0 && lse == -INFINITY);
      continue;
    }
    const double mean = (first + last - 1) / 2.0 + 100 * head_kv;
    assert_true(fabs(o[7] - mean) < 1e-12);
    assert_true(fabs(unfused[0] - mean) <= mean / 64);
    assert_true(fabs(lse - log(last - first)) < 1e-12);
  }
  free(q);
  free(k);
  free(v);
}

static void masks_show_the_keys_that_the_header_says(void **state) {
  (void)state;
  attune_problem problem = problem_of(4, 6, 2, 1);
  expect_visible(&problem, 0, 0, 6);
  problem.mask = ATTUNE_MASK_CAUSAL;
  expect_visible(&problem, 0, 0, 1);
  expect_visible(&problem, 3, 0, 4);
  problem.mask = ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT;
  expect_visible(&problem, 0, 0, 3);
  expect_visible(&problem, 3, 0, 6);
  problem.window_left = 1;
  expect_visible(&problem, 0, 1, 3);
  problem.mask = ATTUNE_MASK_NONE;
  problem.window_right = 2;
  expect_visible(&problem, 0, 0, 3);
  expect_visible(&problem, 3, 2, 6);
  problem.window_left = problem.window_right = -1;
  expect_visible(&problem, 2, 0, 6);
}

static void rows_that_see_no_key_are_zero(void **state) {
  (void)state;
  attune_problem problem = problem_of(6, 4, 4, 2);
  problem.mask = ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT;
  expect_visible(&problem, 0, 0, 0);
  expect_visible(&problem, 1, 0, 0);
  expect_visible(&problem, 2, 0, 1);
  problem.mask = ATTUNE_MASK_NONE;
  problem.window_left = 0;
  problem.window_right = 0;
  expect_visible(&problem, 5, 5, 4);
}

/* Masks, windows and expressions go by the sequence's own lengths. */
static void lengths_of_a_sequence_end_its_keys(void **state) {
  (void)state;
  enum { KEYS = 6 };
  const int32_t seqlens_q[] = {4, 2}, seqlens_k[] = {6, 3};
  uint16_t q[2 * 4 * 8] = {0}, k[2 * KEYS * 8] = {0}, v[2 * KEYS * 8];
  attune_problem problem = problem_of(4, KEYS, 1, 1);
  problem.batch = 2;
  for (int i = 0; i < 2 * KEYS * 8; i++)
    v[i] = i / 8 % KEYS < seqlens_k[i / 8 / KEYS] ? attune_to_element(ATTUNE_BF16, i / 8 % KEYS) : 0x7fff;
  attune_inputs inputs = {.q = q, .k = k, .v = v};
  inputs.seqlens[ATTUNE_QUERIES].array = seqlens_q;
  inputs.seqlens[ATTUNE_KEYS].array = seqlens_k;
  const struct {
    attune_mask mask;
    int batch, row, keys; /* those that the row sees, from the first on */
  } cases[] = {{ATTUNE_MASK_NONE, 0, 1, 6},
               {ATTUNE_MASK_NONE, 1, 1, 3},
               {ATTUNE_MASK_CAUSAL, 1, 1, 2},
               {ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT, 0, 0, 3},
               {ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT, 1, 0, 2}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double o[8], unfused[8], lse;
    problem.mask = cases[i].mask;
    attune_reference_row(o, &lse, &problem, &inputs, cases[i].batch, 0, cases[i].row);
    attune_unfused_row(unfused, &problem, &inputs, cases[i].batch, 0, cases[i].row);
    assert_true(fabs(o[0] - (cases[i].keys - 1) / 2.0) < 1e-12);
    assert_true(fabs(unfused[0] - o[0]) <= o[0] / 64);
    assert_true(fabs(lse - log(cases[i].keys)) < 1e-12);
    assert_int_equal(attune_reference_keys(&problem, &inputs, cases[i].batch, 0, cases[i].row), cases[i].keys);
  }
  problem.mask_expr = "k * 10 < seqlen_k + 10 * (seqlen_q - 1)";
  problem.mask = ATTUNE_MASK_NONE; /* 10 k < 36 in the first sequence, 10 k < 13 in the second */
  assert_int_equal(attune_reference_keys(&problem, &inputs, 0, 0, 0), 4);
  assert_int_equal(attune_reference_keys(&problem, &inputs, 1, 0, 0), 2);
}

/* Two keys with scores a and b: O is the logistic function of their difference. */
static void scores_take_scale_and_softcap(void **state) {
  (void)state;
  attune_problem problem = problem_of(1, 2, 1, 1);
  uint16_t q[8] = {0}, k[16] = {0}, v[16] = {0};
  const attune_inputs inputs = {.q = q, .k = k, .v = v};
  q[0] = attune_to_element(ATTUNE_BF16, 2.0);
  k[0] = attune_to_element(ATTUNE_BF16, 3.0);
  k[8] = attune_to_element(ATTUNE_BF16, 1.0);
  v[0] = attune_to_element(ATTUNE_BF16, 1.0);
  const struct {
    float scale, softcap;
    double a, b;
  } cases[] = {{1.0f, 0.0f, 6.0, 2.0},
               {-0.5f, 0.0f, -3.0, -1.0},
               {0.0f, 0.0f, 0.0, 0.0},
               {0.5f, 2.0f, 2.0 * tanh(1.5), 2.0 * tanh(0.5)},
               {1000.0f, 0.0f, 6000.0, 2000.0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double o[8], unfused[8], lse;
    problem.scale = cases[i].scale;
    problem.softcap = cases[i].softcap;
    attune_reference_row(o, &lse, &problem, &inputs, 0, 0, 0);
    attune_unfused_row(unfused, &problem, &inputs, 0, 0, 0);
    const double expected = 1.0 / (1.0 + exp(cases[i].b - cases[i].a));
    assert_true(fabs(o[0] - expected) < 1e-12);
    assert_true(fabs(unfused[0] - expected) < 0.01);
    assert_true(o[1] == 0.0);
    const double high = fmax(cases[i].a, cases[i].b);
    assert_true(fabs(lse - (high + log(exp(cases[i].a - high) + exp(cases[i].b - high)))) < 1e-9);
  }
}

static void unfused_scores_beyond_fp16_are_finite(void **state) {
  (void)state;
  attune_problem problem = problem_of(1, 2, 1, 1);
  problem.dtype = ATTUNE_FP16;
  uint16_t q[8] = {0}, k[16] = {0}, v[16] = {0};
  const attune_inputs inputs = {.q = q, .k = k, .v = v};
  q[0] = k[0] = attune_to_element(ATTUNE_FP16, 1000.0);
  k[8] = attune_to_element(ATTUNE_FP16, 999.0);
  v[0] = attune_to_element(ATTUNE_FP16, 1.0);
  double o[8];
  attune_unfused_row(o, &problem, &inputs, 0, 0, 0);
  assert_true(o[0] == 1.0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_pattern_survives_the_round_trip),
      cmocka_unit_test(rounding_is_to_nearest_even),
      cmocka_unit_test(fast_rounding_is_the_same),
      cmocka_unit_test(masks_show_the_keys_that_the_header_says),
      cmocka_unit_test(rows_that_see_no_key_are_zero),
      cmocka_unit_test(lengths_of_a_sequence_end_its_keys),
      cmocka_unit_test(scores_take_scale_and_softcap),
      cmocka_unit_test(unfused_scores_beyond_fp16_are_finite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
