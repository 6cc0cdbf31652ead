/* What leaves a kernel: O, and LSE where it is wanted. */
#pragma once
#include "scheduler.h"
#include "softmax.h"

ATTUNE_DEVICE char *o_address(const attune_arguments &problem, const work_tile &w, int row, int chunk) {
  return (char *)problem.o + 2 * (w.batch * problem.o_batch + head_of(w, row) * problem.o_heads +
                                  query_of(w, row) * problem.o_seqlen + chunk * 8);
}

#if SPLITS > 1
/* The number of a row among the rows of all splits: where its part is left. */
ATTUNE_DEVICE long long partial_row(const attune_arguments &problem, const work_tile &w, int row) {
  const int flat_head = w.flat_head + row % heads_packed;
  return ((long long)w.split * problem.batch * problem.heads_q + flat_head) * problem.seqlen_q + query_of(w, row);
}

/* The thread's columns of a row of this split's O, in floats, and the row's LSE to base 2. */
template <class fragment>
ATTUNE_DEVICE void store_o_partial(const attune_arguments &problem, const work_tile &w, int row, const fragment &o,
                                   int half, const row_result &result) {
  const int lane = thread_index() % 32;
  const long long part = partial_row(problem, w, row);
  float *to = problem.o_partial + part * head_dim_v;
#pragma unroll
  for (int n = 0; n < head_dim_v / 8; n++)
#pragma unroll
    for (int e = 0; e < 2; e++)
      store_global_float(to + n * 8 + lane % 4 * 2 + e, score_at(o, n, half, e) * result.factor);
  if (lane % 4 == 0) store_global_float(problem.lse_partial + part, result.lse);
}
#endif

#if LSE
ATTUNE_DEVICE void store_lse(const attune_arguments &problem, const work_tile &w, int row, float lse) {
  store_global_float(
      problem.lse + ((long long)(w.flat_head + row % heads_packed) * problem.seqlen_q + query_of(w, row)), lse);
}
#endif

/* A warp's `count` rows from warp_row on, which see no key: O = 0; of a split nothing but LSE. */
template <int count> ATTUNE_DEVICE void store_zero(const attune_arguments &problem, const work_tile &w, int warp_row) {
  const int lane = thread_index() % 32;
#if SPLITS > 1
  const int row = warp_row + lane;
  if (lane < count && query_of(w, row) < w.seqlen_q)
    store_global_float(problem.lse_partial + partial_row(problem, w, row), -infinity());
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
