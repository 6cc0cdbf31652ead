/* Family wgmma: what a thread of a consumer does with its two rows of S, P and O. */
#pragma once
#include "wgmma_items.h"

/* LAZY_RESCALE: O and the sum are rescaled only when some row's maximum has grown by more than a factor of 2^8: until
 * then P may exceed 1, which costs no accuracy in floating point, and the sum is taken against the same maximum. */
constexpr float growth = 8.0f;

/* What a thread holds of its two rows (lane / 4 and lane / 4 + 8 of its warp's 16). */
struct state {
  float o[head_dim_v / 2];
  float max[2];    // in units of q.k
  float sum[2];    // of this thread's columns only, until the end
  float factor[2]; // by which O is to be scaled
  bool grown;      // whether it is
};

/* Starts S = Q K, for as many keys as S has columns. */
template <int n> ATTUNE_DEVICE void start_scores(float (&s)[n], unsigned long long q, unsigned long long k) {
#pragma unroll
  for (int d = 0; d < depth / 16; d++)
    warpgroup_multiply(s, q + (d / 4 * q_panel_bytes + d % 4 * 32) / 16, k + (d / 4 * kv_panel_bytes + d % 4 * 32) / 16,
                       d > 0);
  warpgroup_commit();
}

/* P of a tile: of the thread, the A-operands of the products P V; or a place in shared memory, of which the warpgroup
 * owns 64 rows. The functions that take it are for as many of its columns as 16 steps. */
struct probabilities {
#if P_SHARED
  shared_address tile;
  int row; // the thread's first
#else
  unsigned fragments[tile_n / 16][4];
#endif
};

template <int steps> ATTUNE_DEVICE void hold_probabilities(probabilities &p) {
#if !P_SHARED
  hold((unsigned(&)[steps][4])p.fragments);
#endif
}

/* Starts O += P V. */
template <int steps> ATTUNE_DEVICE void start_values(state &row, probabilities &p, unsigned long long v) {
#if P_SHARED
  const unsigned long long matrix = matrix_k_major(p.tile + p.row / 64 * 64 * row_bytes);
#endif
#pragma unroll
  for (int n = 0; n < steps; n++)
#if P_SHARED
    warpgroup_multiply_n_major(row.o, matrix + (n / 4 * q_panel_bytes + n % 4 * 32) / 16, v + n * 16 * row_bytes / 16,
                               true);
#else
    warpgroup_multiply_registers(row.o, p.fragments[n], v + n * 16 * row_bytes / 16, true);
#endif
  warpgroup_commit();
}

/* Takes the rows' maxima along; the factors for O are left to be applied. */
template <int count> ATTUNE_DEVICE void update_maxima(state &row, const float (&s)[count], float log2_scale) {
  float high[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float h = row.max[half];
#pragma unroll
    for (int n = 0; n < count / 4; n++)
      h = maximum(h, maximum(s[4 * n + 2 * half], s[4 * n + 2 * half + 1]));
    h = maximum(h, shuffle_xor(h, 1)); // the four lanes of a row
    high[half] = maximum(h, shuffle_xor(h, 2));
  }
#if LAZY_RESCALE
  row.grown = any_lane((high[0] - row.max[0]) * log2_scale > growth || (high[1] - row.max[1]) * log2_scale > growth);
  if (row.grown)
#else
  row.grown = true;
#endif
  {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      // A row that has seen no key yet has maximum -inf, and -inf - -inf is not a number.
      row.factor[half] = high[half] == -infinity() ? 1.0f : exp2_approximate((row.max[half] - high[half]) * log2_scale);
      row.max[half] = high[half];
      row.sum[half] *= row.factor[half];
    }
  }
}

/* The same where few maxima grow: whether one might have is seen without the other lanes, and with the bits of floats,
 * which are in order where the larger one is positive: three of them in an instruction. */
template <int count>
ATTUNE_DEVICE void follow_maxima(state &row, const float (&s)[count], float log2_scale, float slack) {
#if LAZY_RESCALE
  bool grown = false;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float limit = row.max[half] + slack;
    int top = 0;
#pragma unroll
    for (int n = 0; n < count / 4; n++)
      top = maximum(top, maximum(float_bits(s[4 * n + 2 * half]), float_bits(s[4 * n + 2 * half + 1])));
    grown = grown || !(limit > 0) || top > float_bits(limit);
  }
  row.grown = false;
  if (!any_lane(grown)) return;
#endif
  update_maxima(row, s, log2_scale);
}

#if POLYNOMIAL
/* exp2(x) of x up to 127 on the FMA units: 2^i by the exponent's bits, 2^f for f from -1/2 to 1/2 by the polynomial of
 * degree 4 with the least relative error, 2.7e-6. 0 below 2^-127, and a NaN stays one. */
ATTUNE_DEVICE float exp2_polynomial(float x) {
  constexpr float to_integer = 12582912.0f; // 1.5 x 2^23: adding it rounds to an integer, in the lowest bits
  x = at_least(-127.0f, x);
  const float shifted = x + to_integer, f = x - (shifted - to_integer);
  const float power = float_of_bits(((unsigned)float_bits(shifted) << 23) + 0x3f800000u);
  return power * ((((0.00957010221f * f + 0.0559178591f) * f + 0.240247443f) * f + 0.693121791f) * f + 0.999999285f);
}
#endif

/* exp2 of a thread's i-th score. */
ATTUNE_DEVICE float exponential(float x, int i) {
#if POLYNOMIAL
  if (i % polynomial == polynomial - 1) return exp2_polynomial(x);
#endif
  return exp2_approximate(x);
}

/* From scores to probabilities, in place: columns 8 first to 8 end - 1. */
template <int first, int end, int count>
ATTUNE_DEVICE void exponentiate(state &row, float (&s)[count], float log2_scale) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float shift = row.max[half] == -infinity() ? 0.0f : row.max[half] * log2_scale;
    float sum = row.sum[half];
#pragma unroll
    for (int n = first; n < end; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const float p = exponential(s[4 * n + 2 * half + e] * log2_scale - shift, 2 * n + e);
        s[4 * n + 2 * half + e] = p;
        sum += p;
      }
    row.sum[half] = sum;
  }
}

ATTUNE_DEVICE void rescale(state &row) {
  if (row.grown) {
#pragma unroll
    for (int n = 0; n < head_dim_v / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        row.o[4 * n + e] *= row.factor[e / 2];
  }
}

/* O is rescaled before P V is started, or once it has been. */
ATTUNE_DEVICE void rescale_before(state &row) {
#if RESCALE_BEFORE
  rescale(row);
  hold(row.o);
#endif
}

ATTUNE_DEVICE void rescale_after(state &row) {
#if !RESCALE_BEFORE
  rescale(row);
#endif
}

/* What a thread has of one of its rows of accumulators, times a factor, to that row of a tile of tile_m: chunks of 16
 * bytes, swizzled as the copy engine does it. */
template <int count>
ATTUNE_DEVICE void store_row(shared_address tile, int row, const float (&c)[count], int half, float factor) {
  const int lane = thread_index() % 32;
#pragma unroll
  for (int n = 0; n < count / 4; n++)
    store_shared_32(tile + n / 8 * q_panel_bytes + row * row_bytes + (n % 8 ^ row % 8) * 16 + lane % 4 * 4,
                    pack(c[4 * n + 2 * half] * factor, c[4 * n + 2 * half + 1] * factor));
}

/* The accumulator layout of S is, packed, the A-operand layout of P. */
template <int steps> ATTUNE_DEVICE void pack_probabilities(probabilities &p, const float (&s)[steps * 8]) {
#if P_SHARED
#pragma unroll
  for (int half = 0; half < 2; half++)
    store_row(p.tile, p.row + half * 8, s, half, 1.0f);
  fence_async(); // a product reads it
  named_barrier(1 + consumers + p.row / 64, 128);
#else
#pragma unroll
  for (int n = 0; n < steps; n++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      p.fragments[n][e] = pack(s[8 * n + 2 * e], s[8 * n + 2 * e + 1]);
#endif
}

#if LSE && SPLITS == 1
ATTUNE_DEVICE long long lse_offset(const attune_arguments &problem, const work &w, int row) {
  return (long long)(w.place + row % heads_packed) * problem.seqlen_q + query_of(w, row);
}
#endif

#if SPLITS > 1
/* The thread's columns of a row of this split's O, in floats. */
template <int count> ATTUNE_DEVICE void store_partial_row(float *to, const float (&c)[count], int half, float factor) {
  const int lane = thread_index() % 32;
#pragma unroll
  for (int n = 0; n < count / 4; n++)
#pragma unroll
    for (int e = 0; e < 2; e++)
      store_global_float(to + n * 8 + lane % 4 * 2 + e, c[4 * n + 2 * half + e] * factor);
}

ATTUNE_DEVICE long long partial_row_of(const attune_arguments &problem, const work &w, int row) {
  return partial_row(problem, w.split, w.place + row % heads_packed, query_of(w, row));
}
#endif

/* O / sum to this warp's 16 rows of Q's slot; and LSE. Of a split, both to its part of the workspace. */
ATTUNE_DEVICE void leave_rows(const state &row, const attune_arguments &problem, const work &w, shared_address slot,
                              int warp_row, float log2_scale) {
  const int lane = thread_index() % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float sum = row.sum[half];
    sum += shuffle_xor(sum, 1);
    sum += shuffle_xor(sum, 2);
    const int at = warp_row + half * 8 + lane / 4;
    const row_result result = result_of(problem, head_of(w, at), row.max[half] * log2_scale, sum);
#if SPLITS > 1
    if (query_of(w, at) < w.seqlen_q) {
      const long long part = partial_row_of(problem, w, at);
      store_partial_row(problem.o_partial + part * head_dim_v, row.o, half, result.factor);
      if (lane % 4 == 0) store_global_float(problem.lse_partial + part, result.lse);
    }
#else
    store_row(slot, at, row.o, half, result.factor);
#if LSE
    if (lane % 4 == 0 && query_of(w, at) < w.seqlen_q)
      store_global_float(problem.lse + lse_offset(problem, w, at), result.lse);
#endif
#endif
  }
}

/* Rows that see no key. */
ATTUNE_DEVICE void store_nothing(const attune_arguments &problem, const work &w, int warp_row) {
  const int lane = thread_index() % 32;
#if SPLITS > 1
  const int row = warp_row + lane;
  if (lane < 16 && query_of(w, row) < w.seqlen_q)
    store_global_float(problem.lse_partial + partial_row_of(problem, w, row), -infinity());
#else
  const words zero = {};
  constexpr int chunks = head_dim_v / 8;
  for (int c = lane; c < 16 * chunks; c += 32) {
    const int row = warp_row + c / chunks;
    if (query_of(w, row) < w.seqlen_q)
      store_global_128((char *)problem.o + 2 * (w.batch * problem.o_batch + head_of(w, row) * problem.o_heads +
                                                query_of(w, row) * problem.o_seqlen + c % chunks * 8),
                       zero);
  }
#if LSE
  const int row = warp_row + lane;
  if (lane < 16 && query_of(w, row) < w.seqlen_q)
    store_global_float(problem.lse + lse_offset(problem, w, row),
                       result_of(problem, head_of(w, row), -infinity(), 0.0f).lse);
#endif
#endif
}
