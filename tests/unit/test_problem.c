/* Problems: every rule that check knows, the canonical forms, the class text, flops against counting. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/problem_case.h"

static void test_accepts(void **unused) {
  (void)unused;
  attune_problem p;
  attune_problem_init(&p);
  assert_int_equal(attune_problem_check(&p), ATTUNE_OK);
  for (int d = 8; d <= 256; d += 8) {
    p.head_dim = d;
    p.head_dim_v = 264 - d;
    assert_int_equal(attune_problem_check(&p), ATTUNE_OK);
  }
  p = usual();
  p.scale = 0;
  assert_int_equal(attune_problem_check(&p), ATTUNE_OK);
  p.scale = -3.4e38f;
  assert_int_equal(attune_problem_check(&p), ATTUNE_OK);
}

static void test_refuses(void **unused) {
  (void)unused;
  assert_int_equal(attune_problem_check(NULL), ATTUNE_BAD_ARGUMENT);
  REFUSE(ATTUNE_BAD_ARGUMENT, "attune_problem_init", p.struct_size = 200);
  REFUSE(ATTUNE_BAD_ARGUMENT, "attune_problem_init", p.struct_size = 1 << 20);
  REFUSE(ATTUNE_BAD_ARGUMENT, "a multiple of 8", p.struct_size -= 3); /* through a field */
  REFUSE(ATTUNE_BAD_ARGUMENT, "dtype is -1", p.dtype = (attune_dtype)-1);
  REFUSE(ATTUNE_UNSUPPORTED, "dtype is 2", p.dtype = (attune_dtype)2);
  REFUSE(ATTUNE_UNSUPPORTED, "mask is 3", p.mask = (attune_mask)3);
  REFUSE(ATTUNE_BAD_ARGUMENT, "want_lse is 2", p.want_lse = 2);
  REFUSE(ATTUNE_BAD_HEAD_DIM, "head_dim is 0", p.head_dim = 0);
  REFUSE(ATTUNE_UNSUPPORTED, "pad with zeros to 72, and set scale to 1/sqrt(68) = 0.121267813", p.head_dim = 68);
  REFUSE(ATTUNE_UNSUPPORTED, "head_dim is 264; kernels have multiples of 8 up to 256", p.head_dim = 264);
  REFUSE(ATTUNE_UNSUPPORTED, "head_dim_v is 264", p.head_dim_v = 264);
  REFUSE(ATTUNE_BAD_HEADS, "heads_q is 8, heads_kv is 3", p.heads_kv = 3);
  REFUSE(ATTUNE_BAD_HEADS, "heads_q is 8, heads_kv is 16", p.heads_kv = 16);
  REFUSE(ATTUNE_BAD_SIZE, "batch is 0", p.batch = 0);
  REFUSE(ATTUNE_BAD_SIZE, "heads_q is -8", p.heads_q = -8);
  REFUSE(ATTUNE_BAD_SIZE, "heads_kv is 0", p.heads_kv = 0);
  REFUSE(ATTUNE_BAD_SIZE, "seqlen_q is 0", p.seqlen_q = 0);
  REFUSE(ATTUNE_UNSUPPORTED, "seqlen_k is 1073741824; it must be from 1 to 1073741312", p.seqlen_k = 1 << 30);
  REFUSE(ATTUNE_UNSUPPORTED, "a grid holds 2147483647", p.batch = 1 << 20, p.seqlen_q = 1 << 16);
  REFUSE(ATTUNE_BAD_SIZE, "k of shape", p.batch = INT32_MAX / 8, p.seqlen_q = 1, p.seqlen_k = 1 << 29,
         p.heads_q = p.heads_kv = 8);
  REFUSE(ATTUNE_BAD_SIZE, "q of shape", p.q = (attune_strides){INT64_MAX / 8 * 8, 8, 128});
  REFUSE(ATTUNE_UNSUPPORTED, "q.seqlen stride is 132 elements", p.q = (attune_strides){132000, 132, 128});
  REFUSE(ATTUNE_BAD_STRIDE, "v.heads stride is -128", p.v = (attune_strides){128 * 4 * 200, 128 * 4, -128});
  REFUSE(ATTUNE_BAD_STRIDE, "o.seqlen stride is 512 elements", p.o = (attune_strides){128 * 8 * 100, 512, 128});
  REFUSE(ATTUNE_BAD_STRIDE, "o.heads stride is 64", p.o = (attune_strides){128 * 8 * 100, 1024, 64});
  REFUSE(ATTUNE_BAD_STRIDE, "o.batch stride is 0", p.o = (attune_strides){0, 1024, 128});
  REFUSE(ATTUNE_BAD_SCALE, "scale is inf", p.scale = INFINITY);
  REFUSE(ATTUNE_BAD_SCALE, "scale is -inf", p.scale = -INFINITY);
  REFUSE(ATTUNE_BAD_SCALE, "softcap is -1", p.softcap = -1);
  REFUSE(ATTUNE_BAD_SCALE, "softcap is nan", p.softcap = NAN);
  REFUSE(ATTUNE_BAD_SCALE, "softcap is inf", p.softcap = INFINITY);
  REFUSE(ATTUNE_UNSUPPORTED, "at most 10000", p.softcap = 10001);
  REFUSE(ATTUNE_BAD_WINDOW, "window_left is -2", p.window_left = -2);
  REFUSE(ATTUNE_BAD_WINDOW, "window_right is 1, but a causal mask", p.mask = ATTUNE_MASK_CAUSAL, p.window_right = 1);
  REFUSE(ATTUNE_BAD_WINDOW, "window_right is 7", p.mask = ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT, p.window_right = 7);
}

/* A refused problem leaves the output alone; a stride of zero broadcasts inputs; permuted outputs are fine. */
static void test_strides(void **unused) {
  (void)unused;
  attune_problem p = usual(), out;
  memset(&out, 0x5a, sizeof out);
  attune_problem untouched = out;
  p.head_dim = 7;
  assert_int_equal(attune_problem_resolve(&out, &p), ATTUNE_UNSUPPORTED);
  assert_memory_equal(&out, &untouched, sizeof out);

  p = usual();
  p.k = (attune_strides){.batch = 0, .seqlen = 512, .heads = 128};
  p.o = (attune_strides){.batch = 128 * 8 * 100, .seqlen = 128, .heads = 128 * 100};
  assert_int_equal(attune_problem_resolve(&out, &p), ATTUNE_OK);
  assert_int_equal(out.k.batch, 0);
  assert_int_equal(out.q.heads, 128);
  assert_int_equal(out.q.seqlen, 128 * 8);
  assert_int_equal(out.q.batch, 128 * 8 * 100);
  assert_int_equal(out.v.batch, 128 * 4 * 200);
  assert_int_equal(out.o.heads, 128 * 100);
  assert_true(fabsf(out.scale - 0.08838835f) < 1e-7f);
}

static attune_problem resolved(attune_mask mask, int left, int right, int seqlen_q, int seqlen_k) {
  attune_problem p = usual(), out;
  p.mask = mask;
  p.window_left = left;
  p.window_right = right;
  p.seqlen_q = seqlen_q;
  p.seqlen_k = seqlen_k;
  assert_int_equal(attune_problem_resolve(&out, &p), ATTUNE_OK);
  assert_int_equal(attune_problem_mask_bounds(&p), attune_problem_mask_bounds(&out));
  attune_problem again;
  assert_int_equal(attune_problem_resolve(&again, &out), ATTUNE_OK);
  assert_memory_equal(&again, &out, sizeof out);
  return out;
}

static bool visible(const attune_problem *p, int left, int right, attune_mask mask, int i, int j) {
  const int shift = mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? p->seqlen_k - p->seqlen_q : 0;
  if (mask != ATTUNE_MASK_NONE && j > i + shift) return false;
  return (left < 0 || j >= i + shift - left) && (right < 0 || j <= i + shift + right);
}

/* The canonical mask hides what the given one hides, for the bounds themselves and for shorter lengths; flops count it.
 */
static void test_masks(void **unused) {
  (void)unused;
  const int sides[] = {-1, 0, 1, 2, 3, 4, 5, 6, 7, 100};
  for (int mask = 0; mask < 3; mask++) {
    for (int q = 1; q < 6; q++) {
      for (int k = 1; k < 6; k++) {
        for (int l = 0; l < 10; l++) {
          for (int r = 0; r < (mask == ATTUNE_MASK_NONE ? 10 : 2); r++) {
            attune_problem p = resolved((attune_mask)mask, sides[l], sides[r], q, k);
            const bool bounded = p.window_left != ATTUNE_UNBOUNDED || p.window_right != ATTUNE_UNBOUNDED;
            assert_int_equal(bounded, attune_problem_mask_bounds(&p) != ATTUNE_MASK_BOUNDS_NONE);
            double pairs = 0;
            for (int kk = k; kk >= 1; kk--) {
              for (int qq = q; qq >= 1; qq--) {
                p.seqlen_q = qq;
                p.seqlen_k = kk;
                const int wl = p.window_left, wr = p.window_right;
                for (int i = 0; i < qq; i++) {
                  for (int j = 0; j < kk; j++) {
                    const bool expected = visible(&p, sides[l], sides[r], (attune_mask)mask, i, j);
                    assert_int_equal(visible(&p, wl, wr, p.mask, i, j), expected);
                    if (qq == q && kk == k) pairs += expected;
                  }
                }
              }
            }
            p.seqlen_q = q;
            p.seqlen_k = k;
            assert_true(attune_problem_flops(&p) == pairs * 2 * 256 * 8 * 2);
          }
        }
      }
    }
  }
}

static void test_bound_and_score(void **unused) {
  (void)unused;
  attune_problem p = resolved(ATTUNE_MASK_NONE, -1, -1, 64, 64);
  assert_int_equal(attune_problem_mask_bounds(&p), ATTUNE_MASK_BOUNDS_NONE);
  p = resolved(ATTUNE_MASK_CAUSAL, -1, -1, 64, 64);
  assert_int_equal(attune_problem_mask_bounds(&p), ATTUNE_MASK_BOUNDS_CAUSAL);
  assert_int_equal(p.window_right, 0);
  p = resolved(ATTUNE_MASK_NONE, -1, 5, 64, 64);
  assert_int_equal(attune_problem_mask_bounds(&p), ATTUNE_MASK_BOUNDS_CAUSAL);
  p = resolved(ATTUNE_MASK_CAUSAL, 9, -1, 64, 64);
  assert_int_equal(attune_problem_mask_bounds(&p), ATTUNE_MASK_BOUNDS_WINDOW);
  p = resolved(ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT, -1, -1, 1, 64); /* decoding: nothing is hidden */
  assert_int_equal(attune_problem_mask_bounds(&p), ATTUNE_MASK_BOUNDS_NONE);

  assert_int_equal(attune_problem_score(&p), ATTUNE_SCORE_PLAIN);
  p.scale = -0.5f;
  assert_int_equal(attune_problem_score(&p), ATTUNE_SCORE_NEGATED);
  p.softcap = 30;
  assert_int_equal(attune_problem_score(&p), ATTUNE_SCORE_SOFTCAP);
}

static void test_text(void **unused) {
  (void)unused;
  static const char *const texts[] = {
      "forward.bf16.d128.b4.h16.kv16.q4096.k4096.causal",
      "forward.fp16.d64.b1.h1.kv1.q1.k1",
      "forward.bf16.d192.v128.b1.h128.kv128.q4096.k4096.causal.lse",
      "forward.bf16.d64.b1.h8.kv2.q100.k300.causal-bottom-right.w31,0.softcap.lse",
      "forward.bf16.d64.b1.h8.kv2.q100.k300.w31,5",
      "forward.bf16.d64.b1.h8.kv2.q100.k300.w-1,5.negated",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    attune_problem p;
    char again[ATTUNE_TEXT_MAX];
    assert_int_equal(attune_problem_parse(&p, texts[i]), ATTUNE_OK);
    assert_int_equal(attune_problem_print(again, &p), ATTUNE_OK);
    assert_string_equal(again, texts[i]);
  }
  /* The longest one fits. */
  attune_problem p = usual();
  p.mask = ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT;
  p.head_dim_v = 104;
  p.batch = 1;
  p.heads_q = p.heads_kv = 1;
  p.seqlen_q = p.seqlen_k = (1 << 30) - 512;
  p.window_left = (1 << 30) - 514;
  p.softcap = 1;
  p.want_lse = 1;
  char text[ATTUNE_TEXT_MAX];
  assert_int_equal(attune_problem_print(text, &p), ATTUNE_OK);
  assert_int_equal(attune_problem_parse(&p, text), ATTUNE_OK);
}

static void test_text_refused(void **unused) {
  (void)unused;
  static const struct {
    const char *text, *says;
  } cases[] = {
      {"", "column 1: expected \"forward\""},
      {"sideways.bf16", "column 1: expected \"forward\" or \"backward\""},
      {"backward.bf16.d64.b1.h1.kv1.q1.k1.lse", "canonical"},
      {"forward.fp32.d64.b1.h1.kv1.q1.k1", "column 9: expected \"fp16\""},
      {"forward.bf16.d064.b1.h1.kv1.q1.k1", "column 14: expected d and head_dim"},
      {"forward.bf16.d64.v64.b1.h1.kv1.q1.k1", "canonical"},
      {"forward.bf16.d64.b1.h1.kv1.q1.k1.", "column 34"},
      {"forward.bf16.d64.b1.h1.kv1.q1.k1.lse.causal", "column 38"},
      {"forward.bf16.d64.b1.h1.kv1.q9.k9.none", "canonical"},
      {"forward.bf16.d64.b1.h1.kv1.q9.k9.w9,9", "canonical"},
      {"forward.bf16.d64.b1.h1.kv1.q9.k9.w3,-2", "column 34"},
      {"forward.bf16.d64.b99999999999.h1.kv1.q9.k9", "column 18"},
      {"forward.bf16.d64.b1.h1.kv1.q9.k9.softcap.negated", "canonical"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_problem p;
    assert_int_equal(attune_problem_parse(&p, cases[i].text), ATTUNE_BAD_ARGUMENT);
    if (strstr(attune_message(), cases[i].says) == NULL) fail_msg("%s: %s", cases[i].text, attune_message());
  }
  attune_problem p;
  assert_int_equal(attune_problem_parse(&p, "forward.bf16.d63.b1.h1.kv1.q9.k9"), ATTUNE_UNSUPPORTED);
}

/* Another operation is another class, never a near one; the backward pass reads LSE whether or not it is wanted. */
static void test_backward(void **unused) {
  (void)unused;
  attune_problem forward, backward = usual(), with_lse;
  char text[ATTUNE_TEXT_MAX], other[ATTUNE_TEXT_MAX];
  forward = backward;
  backward.operation = ATTUNE_BACKWARD;
  with_lse = backward;
  with_lse.want_lse = 1;
  assert_int_equal(attune_problem_print(text, &backward), ATTUNE_OK);
  assert_memory_equal(text, "backward.", 9);
  assert_int_equal(attune_problem_print(other, &with_lse), ATTUNE_OK);
  assert_string_equal(text, other);
  assert_true(isinf(attune_problem_distance(&forward, &backward)));
  assert_true(attune_problem_distance(&with_lse, &backward) == 0);
  int32_t sizes[ATTUNE_PROBLEM_SIZES];
  assert_int_equal(attune_problem_place(text, sizes, &backward), ATTUNE_OK);
  assert_int_equal(attune_problem_place(other, sizes, &forward), ATTUNE_OK);
  assert_string_not_equal(text, other);
  assert_int_equal(attune_problem_resolve(&forward, &forward), ATTUNE_OK);
  assert_int_equal(attune_problem_resolve(&backward, &backward), ATTUNE_OK);
  assert_true(backward.dq.seqlen == backward.q.seqlen && backward.d_o.batch == backward.o.batch);
  if (forward.head_dim == forward.head_dim_v)
    assert_true(attune_problem_flops(&backward) == 2.5 * attune_problem_flops(&forward));
  assert_true(attune_problem_bytes(&backward) > 2 * attune_problem_bytes(&forward));
}

static void test_distance(void **unused) {
  (void)unused;
  attune_problem a = usual(), b = usual();
  assert_true(attune_problem_distance(&a, &b) == 0);
  b.seqlen_q = 200;
  b.batch = 8;
  assert_true(fabs(attune_problem_distance(&a, &b) - 3) < 1e-12);
  assert_true(attune_problem_distance(&a, &b) == attune_problem_distance(&b, &a));
  b.mask = ATTUNE_MASK_CAUSAL;
  assert_true(isinf(attune_problem_distance(&a, &b)));
  b = usual();
  b.head_dim = 64;
  assert_true(isinf(attune_problem_distance(&a, &b)));
}

/* The same place class means a finite distance, which is that of the sizes. */
static void test_place(void **unused) {
  (void)unused;
  static const char *const texts[] = {
      "forward.bf16.d128.b4.h16.kv4.q512.k512",
      "forward.bf16.d128.b1.h32.kv32.q64.k4096",
      "forward.fp16.d128.b4.h16.kv4.q512.k512",
      "forward.bf16.d64.b4.h16.kv4.q512.k512",
      "forward.bf16.d128.v64.b4.h16.kv4.q512.k512",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.causal",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.w99,5",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.w199,5",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.softcap",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.mask_expr.x7",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.mask_expr.x8",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.block_mask64",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.block_mask128",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.sinks",
      "forward.bf16.d128.b4.h16.kv4.q512.k512.lse",
  };
  enum { COUNT = sizeof texts / sizeof *texts };
  attune_problem problems[COUNT];
  char classes[COUNT][ATTUNE_TEXT_MAX];
  int32_t sizes[COUNT][ATTUNE_PROBLEM_SIZES];
  for (int i = 0; i < COUNT; i++) {
    if (attune_problem_parse(&problems[i], texts[i]) != ATTUNE_OK) fail_msg("%s", attune_message());
    assert_int_equal(attune_problem_place(classes[i], sizes[i], &problems[i]), ATTUNE_OK);
  }
  for (int i = 0; i < COUNT * COUNT; i++) {
    const int a = i / COUNT, b = i % COUNT;
    const double distance = attune_problem_distance(&problems[a], &problems[b]);
    double sum = 0;
    for (int s = 0; s < ATTUNE_PROBLEM_SIZES; s++)
      sum += sizes[a][s] > 0 ? fabs(log2((double)sizes[a][s] / sizes[b][s])) : 0;
    if (isfinite(distance) != (strcmp(classes[a], classes[b]) == 0)) fail_msg("%s and %s", texts[a], texts[b]);
    if (isfinite(distance) && !(fabs(distance - sum) < 1e-9))
      fail_msg("%s and %s: %g, but %g", texts[a], texts[b], distance, sum);
  }
}

static void test_bytes(void **unused) {
  (void)unused;
  attune_problem p = usual();
  const double expected = 2.0 * 2 * (8 * 100 * 256.0 + 4 * 200 * 256.0);
  assert_true(attune_problem_bytes(&p) == expected);
  p.want_lse = 1;
  assert_true(attune_problem_bytes(&p) == expected + 4.0 * 2 * 8 * 100);
}

/* The class keeps of the density a power of two. */
static void test_block_mask(void **unused) {
  (void)unused;
  static const struct {
    int32_t block;
    float density;
    const char *parts;
    int32_t one_in;
  } cases[] = {
      {0, 0, "", 0},
      {128, 0, ".block_mask128", 0},
      {64, 1, ".block_mask64.in1", 1},
      {16, 0.1f, ".block_mask16.in8", 8},
      {128, 0.0215f, ".block_mask128.in64", 64},
      {128, 1e-30f, ".block_mask128.in65536", 65536},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_problem p, parsed;
    char text[ATTUNE_TEXT_MAX], expected[ATTUNE_TEXT_MAX];
    attune_problem_init(&p);
    p.block_size = cases[i].block;
    p.block_density = cases[i].density;
    snprintf(expected, sizeof expected, "forward.bf16.d64.b1.h1.kv1.q1.k1%s", cases[i].parts);
    assert_int_equal(attune_problem_print(text, &p), ATTUNE_OK);
    assert_string_equal(text, expected);
    assert_int_equal(attune_problem_density_denominator(&p), cases[i].one_in);
    assert_int_equal(attune_problem_is_sparse(&p), cases[i].block > 0);
    if (attune_problem_parse(&parsed, text) != ATTUNE_OK) fail_msg("%s", attune_message());
    assert_int_equal(parsed.block_size, cases[i].block);
    assert_true(attune_problem_distance(&p, &parsed) == 0);
    parsed.block_size += 16;
    assert_true(isinf(attune_problem_distance(&p, &parsed)));
  }
  attune_problem a, b;
  assert_int_equal(attune_problem_parse(&a, "forward.bf16.d64.b1.h1.kv1.q512.k512.block_mask64.in8"), ATTUNE_OK);
  assert_int_equal(attune_problem_parse(&b, "forward.bf16.d64.b1.h1.kv1.q512.k512.block_mask64.in2"), ATTUNE_OK);
  assert_true(attune_problem_distance(&a, &b) == 2);
  assert_int_equal(attune_problem_parse(&a, "forward.bf16.d64.b1.h1.kv1.q1.k1.block_mask64.in3"), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_problem_parse(&a, "forward.bf16.d64.b1.h1.kv1.q1.k1.block_mask20"), ATTUNE_UNSUPPORTED);
  assert_int_equal(attune_problem_parse(&a, "forward.bf16.d64.b1.h1.kv1.q1.k1.in8"), ATTUNE_BAD_ARGUMENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_block_mask), cmocka_unit_test(test_accepts),      cmocka_unit_test(test_refuses),
      cmocka_unit_test(test_strides),    cmocka_unit_test(test_masks),        cmocka_unit_test(test_bound_and_score),
      cmocka_unit_test(test_text),       cmocka_unit_test(test_text_refused), cmocka_unit_test(test_backward),
      cmocka_unit_test(test_distance),   cmocka_unit_test(test_place),        cmocka_unit_test(test_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
