/* What leaves a kernel: O, and LSE where it is wanted; of a split its part of both. */
#pragma once
#include "row_result.h"
#include "scheduler.h"
#include "softmax.h"

ATTUNE_DEVICE char *o_address(const attune_arguments &problem, const work_tile &w, int row, int chunk) {
  return (char *)problem.o + 2 * (w.batch * problem.o_batch + head_of(w, row) * problem.o_heads +
                                  query_of(w, row) * problem.o_seqlen + chunk * 8);
}

/* The sum over the four lanes of a row. */
ATTUNE_DEVICE float sum_of_row(float sum) {
  sum += shuffle_xor(sum, 1);
  sum += shuffle_xor(sum, 2);
  return sum;
}

#if SPLITS > 1
/* The number of a row among the rows of all splits: where its part is left. */
ATTUNE_DEVICE long long partial_row(const attune_arguments &problem, const work_tile &w, int row) {
  const int flat_head = w.flat_head + row % pack_gqa;
  return ((long long)w.split * problem.batch * problem.heads_q + flat_head) * problem.seqlen_q + query_of(w, row);
}

/* Of a row its largest score and its sum: their logarithm together would be too coarse where scores are large. */
ATTUNE_DEVICE void store_softmax_partial(const attune_arguments &problem, long long part, float max, float sum) {
#if !SCORE_UNBOUNDED
  // Without the factor that the shift's rounding left in the sum: other splits have another.
  if (sum != 0.0f) sum *= exp2_approximate(-multiply_add(max, problem.log2_scale, -shift_of(max, problem.log2_scale)));
#endif
  store_global_float(problem.softmax_partial + 2 * part, max);
  store_global_float(problem.softmax_partial + 2 * part + 1, sum);
}

/* The thread's columns of a row of this split's O, normalised, in floats; and what the row's softmax has come to. */
template <class fragment>
ATTUNE_DEVICE void store_o_partial(const attune_arguments &problem, const work_tile &w, int row, const fragment &o,
                                   int half, float max, float sum) {
  const int lane = thread_index() % 32;
  const long long part = partial_row(problem, w, row);
  const float factor = sum == 0.0f ? 0.0f : reciprocal(sum);
  float *to = problem.o_partial + part * head_dim_v;
#pragma unroll
  for (int n = 0; n < head_dim_v / 8; n++)
#pragma unroll
    for (int e = 0; e < 2; e++)
      store_global_float(to + n * 8 + lane % 4 * 2 + e, score_at(o, n, half, e) * factor);
  if (lane % 4 == 0) store_softmax_partial(problem, part, max, sum);
}
#endif

#if LSE
ATTUNE_DEVICE void store_lse(const attune_arguments &problem, const work_tile &w, int row, float lse) {
  store_global_float(problem.lse + ((long long)(w.flat_head + row % pack_gqa) * problem.seqlen_q + query_of(w, row)),
                     lse);
}
#endif

/* A warp's `count` rows from warp_row on, which see no key: O = 0; of a split that they saw none. */
template <int count> ATTUNE_DEVICE void store_zero(const attune_arguments &problem, const work_tile &w, int warp_row) {
  const int lane = thread_index() % 32;
#if SPLITS > 1
  const int row = warp_row + lane;
  if (lane < count && query_of(w, row) < w.seqlen_q)
    store_softmax_partial(problem, partial_row(problem, w, row), -infinity(), 0.0f);
#else
  const vec128 zero = {};
  constexpr int chunks = head_dim_v / 8;
  for (int c = lane; c < count * chunks; c += 32) {
    const int row = warp_row + c / chunks;
    if (query_of(w, row) < w.seqlen_q) store_global_128(o_address(problem, w, row, c % chunks), zero);
  }
#if LSE
  const int row = warp_row + lane;
  if (lane < count && query_of(w, row) < w.seqlen_q)
    store_lse(problem, w, row, finish_row(problem, head_of(w, row), -infinity(), 0.0f).lse);
#endif
#endif
}
