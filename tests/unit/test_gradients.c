/* The gradients in double precision against finite differences of the forward pass in double precision. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/random.h"
#include "tuner/verify/gradients.h"
#include "tuner/verify/verifier.h"

enum { BATCH = 2, SEQLEN_Q = 7, SEQLEN_K = 9, HEADS_Q = 4, HEADS_KV = 2, D = 8, DV = 16 };
enum { OF_Q = BATCH * SEQLEN_Q * HEADS_Q, OF_K = BATCH * SEQLEN_K * HEADS_KV };

/* Multiples of 1/64, so that a step of 1/64 is exact in fp16. */
static const double step = 1.0 / 64;

static struct {
  attune_problem problem;
  attune_inputs inputs;
  uint16_t q[OF_Q * D], k[OF_K * D], v[OF_K * DV], d_o[OF_Q * DV];
  float dlse[OF_Q], sinks[HEADS_Q];
  uint16_t bias[BATCH * HEADS_Q * SEQLEN_Q * SEQLEN_K];
} bench;

static void draw(uint16_t *out, int count, uint64_t *seed) {
  for (int i = 0; i < count; i++)
    out[i] = attune_to_element(ATTUNE_FP16, step * (double)((int)(attune_random_next(seed) % 129) - 64));
}

static void prepare(uint64_t seed) {
  attune_problem p;
  attune_problem_init(&p);
  p.dtype = ATTUNE_FP16;
  p.operation = ATTUNE_BACKWARD;
  p.head_dim = D, p.head_dim_v = DV;
  p.batch = BATCH, p.heads_q = HEADS_Q, p.heads_kv = HEADS_KV;
  p.seqlen_q = SEQLEN_Q, p.seqlen_k = SEQLEN_K;
  p.want_sinks = seed % 2 == 1;
  if (seed % 3 == 1) p.mask = ATTUNE_MASK_CAUSAL;
  if (seed % 3 == 2) p.window_left = 2, p.window_right = 3;
  if (seed % 4 == 2) p.softcap = 1.5f;
  if (seed % 4 == 3) p.scale = -0.5f;
  if (seed % 5 == 4) p.mask_expr = "(q + k) % 4 != head % 4";
  if (seed % 4 == 1) p.score_expr = "score + 0.25 * score * score - abs(q - k) * tanh(score)";
  memset(&bench.inputs, 0, sizeof bench.inputs);
  assert_int_equal(attune_problem_resolve(&bench.problem, &p), ATTUNE_OK);
  draw(bench.q, OF_Q * D, &seed);
  draw(bench.k, OF_K * D, &seed);
  draw(bench.v, OF_K * DV, &seed);
  draw(bench.d_o, OF_Q * DV, &seed);
  for (int i = 0; i < OF_Q; i++)
    bench.dlse[i] = (float)(attune_random_next(&seed) % 100) / 50 - 1;
  for (int i = 0; i < HEADS_Q; i++)
    bench.sinks[i] = (float)(attune_random_next(&seed) % 100) / 50 - 1;
  bench.inputs.q = bench.q, bench.inputs.k = bench.k, bench.inputs.v = bench.v, bench.inputs.d_o = bench.d_o;
  bench.inputs.dlse = bench.dlse, bench.inputs.sinks = bench.sinks;
}

/* What is differentiated: the sum of dO O + dLSE LSE. */
static double loss(void) {
  double sum = 0, o[DV], lse;
  for (int batch = 0; batch < BATCH; batch++)
    for (int row = 0; row < SEQLEN_Q; row++)
      for (int head = 0; head < HEADS_Q; head++) {
        attune_reference_row(o, &lse, &bench.problem, &bench.inputs, batch, head, row);
        const uint16_t *d_o = &bench.d_o[((batch * SEQLEN_Q + row) * HEADS_Q + head) * DV];
        for (int d = 0; d < DV; d++)
          sum += attune_from_element(ATTUNE_FP16, d_o[d]) * o[d];
        if (isfinite(lse)) sum += (double)bench.dlse[(batch * HEADS_Q + head) * SEQLEN_Q + row] * lse;
      }
  return sum;
}

static double difference(uint16_t *element) {
  const uint16_t kept = *element;
  const double value = attune_from_element(ATTUNE_FP16, kept);
  *element = attune_to_element(ATTUNE_FP16, value + step);
  const double above = loss();
  *element = attune_to_element(ATTUNE_FP16, value - step);
  const double below = loss();
  *element = kept;
  return (above - below) / (2 * step);
}

static void near(double found, double expected) {
  const double allowed = 2e-3; /* of the differences, by the third derivative */
  if (!(fabs(found - expected) <= allowed)) fail_msg("%g, by differences %g", found, expected);
}

static attune_row_statistics statistics[OF_Q];

static void find_statistics(void) {
  for (int i = 0; i < OF_Q; i++)
    attune_statistics_of_row(&statistics[i], &bench.problem, &bench.inputs, i / SEQLEN_Q / HEADS_Q,
                             i / SEQLEN_Q % HEADS_Q, i % SEQLEN_Q);
}

static void gradients_are_differences(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 12; seed++) {
    double dq[D], unfused_q[D], dk[SEQLEN_K * D], dv[SEQLEN_K * DV], unfused_k[SEQLEN_K * D], unfused_v[SEQLEN_K * DV];
    int keys[SEQLEN_K];
    prepare(seed);
    find_statistics();
    const int batch = (int)seed % BATCH, head = (int)seed % HEADS_Q, row = (int)seed % SEQLEN_Q;
    attune_reference_dq(dq, unfused_q, &bench.problem, &bench.inputs,
                        &statistics[(batch * HEADS_Q + head) * SEQLEN_Q + row], batch, head, row);
    for (int d = 0; d < D; d++) {
      near(dq[d], difference(&bench.q[((batch * SEQLEN_Q + row) * HEADS_Q + head) * D + d]));
      assert_true(fabs(unfused_q[d] - dq[d]) < 0.02);
    }
    for (int i = 0; i < SEQLEN_K; i++)
      keys[i] = i;
    const int head_kv = head % HEADS_KV;
    assert_true(attune_reference_dkv(dk, dv, unfused_k, unfused_v, &bench.problem, &bench.inputs, statistics, batch,
                                     head_kv, keys, SEQLEN_K));
    for (int key = 0; key < SEQLEN_K; key += 2) {
      const int at = (batch * SEQLEN_K + key) * HEADS_KV + head_kv;
      for (int d = 0; d < D; d += 3) {
        near(dk[key * D + d], difference(&bench.k[at * D + d]));
        assert_true(fabs(unfused_k[key * D + d] - dk[key * D + d]) < 0.02);
      }
      for (int d = 0; d < DV; d += 5) {
        near(dv[key * DV + d], difference(&bench.v[at * DV + d]));
        assert_true(fabs(unfused_v[key * DV + d] - dv[key * DV + d]) < 0.02);
      }
    }
  }
}

/* ---- what changes scores ---- */

static double float_difference(float *element) {
  const float kept = *element;
  *element = kept + (float)step;
  const double above = loss();
  *element = kept - (float)step;
  const double below = loss();
  *element = kept;
  return (above - below) / (2 * step);
}

/* A bias that is shared in one of eight ways, sinks, and an array. */
static void prepare_scores(uint64_t seed) {
  static const char expression[] = "score * table[(q + k) % 5] + bias * (1 + 0.25 * score)";
  attune_problem p;
  prepare(seed);
  p = bench.problem;
  p.softcap = 0;
  p.score_expr = expression;
  p.want_sinks = p.want_dsinks = p.want_bias = p.want_dbias = p.want_dparams = 1;
  p.bias = (attune_strides){.seqlen = seed & 1 ? SEQLEN_K : 0};
  p.bias.heads = seed & 2 ? (seed & 1 ? SEQLEN_Q : 1) * SEQLEN_K : 0;
  p.bias.batch = seed & 4 ? HEADS_Q * SEQLEN_Q * SEQLEN_K : 0;
  assert_int_equal(attune_inputs_param(&bench.inputs, &p, "table=1.0,-0.5,0.75,1.25"), ATTUNE_OK);
  if (attune_problem_resolve(&bench.problem, &p) != ATTUNE_OK) fail_msg("%s", attune_message());
  draw(bench.bias, sizeof bench.bias / sizeof *bench.bias, &seed);
  bench.inputs.bias = bench.bias;
}

static void gradients_of_what_changes_scores(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 12; seed++) {
    attune_rows sets[ATTUNE_ROWS_COUNT] = {{0}};
    prepare_scores(seed);
    if (attune_score_gradients_create(sets, &bench.problem, &bench.inputs, seed, true) != ATTUNE_OK)
      fail_msg("%s", attune_message());
    const attune_rows *bias = &sets[ATTUNE_ROWS_OF_DBIAS];
    for (int64_t i = 0; i < bias->count; i += 3)
      for (int64_t d = i % 2; d < bias->width; d += 4) {
        const attune_row *row = &bias->rows[i];
        const attune_strides *strides = &bench.problem.bias;
        near(bias->exact[ATTUNE_TENSOR_DBIAS][i * bias->width + d],
             difference(&bench.bias[row->batch * strides->batch + row->head * strides->heads +
                                    row->row * strides->seqlen + d]));
      }
    for (int head = 0; head < HEADS_Q; head++)
      near(sets[ATTUNE_ROWS_OF_DSINKS].exact[ATTUNE_TENSOR_DSINKS][head], float_difference(&bench.sinks[head]));
    assert_int_equal(sets[ATTUNE_ROWS_OF_DPARAMS].width, 4);
    for (int i = 0; i < 4; i++)
      near(sets[ATTUNE_ROWS_OF_DPARAMS].exact[ATTUNE_TENSOR_DPARAM][i],
           float_difference(&bench.inputs.elements[bench.inputs.params[0].first + i].real));
    for (int i = 0; i < ATTUNE_ROWS_COUNT; i++)
      attune_rows_free(&sets[i]);
  }
}

/* What the forward pass writes. */
static void compute_forward(void) {
  static uint16_t o[OF_Q * DV];
  static float lse[OF_Q];
  for (int i = 0; i < OF_Q; i++) {
    double exact[DV], exact_lse;
    const int batch = i / SEQLEN_Q / HEADS_Q, head = i / SEQLEN_Q % HEADS_Q, row = i % SEQLEN_Q;
    attune_reference_row(exact, &exact_lse, &bench.problem, &bench.inputs, batch, head, row);
    lse[i] = (float)exact_lse;
    for (int d = 0; d < DV; d++)
      o[((batch * SEQLEN_Q + row) * HEADS_Q + head) * DV + d] = attune_to_element(ATTUNE_FP16, exact[d]);
  }
  bench.inputs.o = o, bench.inputs.lse = lse;
}

/* Of a large problem some elements are computed, from what forward wrote; arrays are left to the reference family. */
static void some_elements_agree(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 8; seed++) {
    attune_rows all[ATTUNE_ROWS_COUNT] = {{0}}, some[ATTUNE_ROWS_COUNT] = {{0}};
    prepare_scores(seed);
    compute_forward();
    assert_int_equal(attune_score_gradients_create(all, &bench.problem, &bench.inputs, seed, true), ATTUNE_OK);
    assert_int_equal(attune_score_gradients_create(some, &bench.problem, &bench.inputs, seed, false), ATTUNE_OK);
    const attune_rows *bias = &some[ATTUNE_ROWS_OF_DBIAS], *exact = &all[ATTUNE_ROWS_OF_DBIAS];
    assert_true(bias->count > 0 && bias->width > 0);
    for (int64_t i = 0; i < bias->count; i++) {
      int64_t same = 0;
      while (memcmp(&exact->rows[same], &bias->rows[i], offsetof(attune_row, bucket)) != 0)
        same++;
      for (int64_t d = 0; d < bias->width; d++)
        assert_true(fabs(bias->exact[ATTUNE_TENSOR_DBIAS][i * bias->width + d] -
                         exact->exact[ATTUNE_TENSOR_DBIAS][same * exact->width + bias->rows[i].column + d]) < 2e-2);
    }
    for (int head = 0; head < HEADS_Q; head++)
      assert_true(fabs(some[ATTUNE_ROWS_OF_DSINKS].exact[ATTUNE_TENSOR_DSINKS][head] -
                       all[ATTUNE_ROWS_OF_DSINKS].exact[ATTUNE_TENSOR_DSINKS][head]) < 2e-2);
    assert_int_equal(some[ATTUNE_ROWS_OF_DPARAMS].count, 0);
    for (int i = 0; i < ATTUNE_ROWS_COUNT; i++) {
      attune_rows_free(&all[i]);
      attune_rows_free(&some[i]);
    }
  }
}

/* What forward wrote gives the same statistics, but for the rounding of O and LSE. */
static void given_statistics_agree(void **state) {
  (void)state;
  prepare(6);
  compute_forward();
  find_statistics();
  for (int i = 0; i < OF_Q; i++) {
    attune_row_statistics given;
    attune_statistics_given(&given, &bench.problem, &bench.inputs, i / SEQLEN_Q / HEADS_Q, i / SEQLEN_Q % HEADS_Q,
                            i % SEQLEN_Q);
    assert_true(fabs(given.lse - statistics[i].lse) < 1e-5);
    assert_true(fabs(given.delta - statistics[i].delta) < 2e-2);
  }
}

static void queries_are_counted(void **state) {
  (void)state;
  const int keys[] = {0, 3, 8};
  int64_t seen[3];
  prepare(1); /* causal */
  attune_reference_queries(seen, &bench.problem, &bench.inputs, 0, 1, keys, 3);
  assert_int_equal(seen[0], 2 * SEQLEN_Q);
  assert_int_equal(seen[1], 2 * (SEQLEN_Q - 3));
  assert_int_equal(seen[2], 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_are_differences),
                                     cmocka_unit_test(gradients_of_what_changes_scores),
                                     cmocka_unit_test(given_statistics_agree), cmocka_unit_test(some_elements_agree),
                                     cmocka_unit_test(queries_are_counted)};
  return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
