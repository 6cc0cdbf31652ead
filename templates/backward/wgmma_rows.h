/* Backward wgmma: what a consumer warpgroup does with its 64 keys. */
#pragma once
#include "../parts/fragment.h"
#include "../parts/named_barriers.h"
#include "wgmma_load.h"

constexpr int width = (head_dim_v + 15) / 16 * 16; // of the product V dO

/* Makes P zero where the query does not see the key. key: the thread's first; query: the step's first. */
ATTUNE_DEVICE void mask_pairs(float (&p)[tile_m / 2], const attune_arguments &problem, const key_tile &at, int head,
                              int key, int query) {
  const int column = query + 2 * (thread_index() % 4);
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = key + half * 8;
    const visible_rows seen = rows_of_keys(problem, row, row, at.shift, at.seqlen_q);
    const int last = (row < at.seqlen_k ? seen.end : 0) - 1 - column;
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
    const int first = seen.begin - column;
#endif
#pragma unroll
    for (int n = 0; n < tile_m / 8; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int c = n * 8 + e;
        bool hidden = c > last;
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
        hidden = hidden || c < first;
#endif
#if HAS_MASK_EXPR
        hidden = hidden ||
                 !is_seen<integer, float>(problem, at.batch, head, integer(column, c), row, at.seqlen_q, at.seqlen_k);
#endif
        if (hidden) score_at(p, n, half, e) = 0.0f;
      }
  }
}

/* The accumulators of 64 keys and a step's queries are, packed, operand A of products with as many rows. */
using step_operand = unsigned[tile_m / 16][4];
ATTUNE_DEVICE void pack_operand(step_operand &out, const float (&c)[tile_m / 2]) {
#pragma unroll
  for (int n = 0; n < tile_m / 16; n++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      out[n][e] = pack(c[8 * n + 2 * e], c[8 * n + 2 * e + 1]);
}

/* LSE or delta of the queries of a thread's pairs, from those of a step. */
using pair_terms = float[tile_m / 4];
ATTUNE_DEVICE void load_terms(pair_terms &out, shared_address terms) {
#pragma unroll
  for (int n = 0; n < tile_m / 8; n++) {
    const vec64 two = load_shared_64(terms + (n * 8 + thread_index() % 4 * 2) * 4);
    out[2 * n] = float_of_bits(two.x[0]);
    out[2 * n + 1] = float_of_bits(two.x[1]);
  }
}

/* Calls work(n, half, e, term) for each of a thread's pairs. */
template <class pair_work> ATTUNE_DEVICE void each_pair(const pair_terms &terms, const pair_work &work) {
#pragma unroll
  for (int n = 0; n < tile_m / 8; n++)
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        work(n, half, e, terms[2 * n + e]);
}

/* What dS is P times: with what changes a score, its derivative too. */
#if SCORE_SOFTCAP
constexpr bool has_weights = true;
#elif SCORE_EXPRESSION
constexpr bool has_weights = score_is_scaled;
#else
constexpr bool has_weights = false;
#endif

/* S^T of a step becomes P^T; weights, where has_weights, P times the derivative. key: the thread's first. */
ATTUNE_DEVICE void find_probabilities(float (&s)[tile_m / 2], [[maybe_unused]] float (&weights)[tile_m / 2],
                                      const attune_arguments &problem, [[maybe_unused]] const score_place &place,
                                      const key_tile &at, const step_record &record, int key, const pair_terms &lse) {
  [[maybe_unused]] const int query = record.query + 2 * (thread_index() % 4);
  each_pair(lse, [&](int n, int half, int e, float lse_of_query) {
    float &score = score_at(s, n, half, e);
#if SCORE_SOFTCAP || SCORE_EXPRESSION
    float &weight = score_at(weights, n, half, e);
    weight = 1.0f;
    differentiate(score, weight, problem, place, place_in_step(query, n * 8 + e), key + half * 8, lse_of_query, 0.0f);
#else
    score = probability_of(score, problem, lse_of_query);
#endif
  });
  if (!(record.bits & IS_MASKED)) return;
  mask_pairs(s, problem, at, record.head, key, record.query);
#if SCORE_SOFTCAP || SCORE_EXPRESSION
#pragma unroll
  for (int i = 0; i < tile_m / 2; i++)
    if (s[i] == 0.0f) weights[i] = 0.0f;
#endif
}

/* Starts sums += operand B, for B's rows a step's queries. */
template <int count>
ATTUNE_DEVICE void add_product(float (&sums)[count], step_operand &operand, unsigned long long turned) {
  fence_registers(sums);
  fence_registers(operand);
  wgmma_fence();
#pragma unroll
  for (int n = 0; n < tile_m / 16; n++)
    wgmma_rs(sums, operand[n], turned + n * 16 * row_bytes / 16, true);
  wgmma_commit();
}

/* The rows of dS^T of this warp to a slot, as products read them. */
ATTUNE_DEVICE void store_ds(shared_address ds, int warp_row, const step_operand &slopes) {
  const int lane = thread_index() % 32;
  const shared_address row = ds + swizzled_chunk(kv_panel_bytes, warp_row + lane % 16, lane / 16);
#pragma unroll
  for (int n = 0; n < tile_m / 16; n++) // chunk 2n swizzled is the first one's address with bits inverted
    stmatrix_x4((row ^ n % 4 * 32) + n / 4 * kv_panel_bytes, slopes[n]);
  fence_proxy_async();
}

/* Adds a thread's first sums, so many times four, to dQ's. */
template <int chunks, int count> ATTUNE_DEVICE void add_to_dq(float *to, const float (&dq)[count]) {
#pragma unroll
  for (int n = 0; n < chunks; n++)
    reduce_add_128(to + n * 512, dq[4 * n], dq[4 * n + 1], dq[4 * n + 2], dq[4 * n + 3]);
}

/* Starts C = A B^T, of 64 keys and a step's queries. */
template <int columns>
ATTUNE_DEVICE void multiply_rows(float (&c)[tile_m / 2], unsigned long long keys, unsigned long long queries) {
  wgmma_ss_first(c, keys, queries);
#pragma unroll
  for (int d = 1; d < columns / 16; d++)
    wgmma_ss(c, keys + (d / 4 * kv_panel_bytes + d % 4 * 32) / 16, queries + (d / 4 * q_panel_bytes + d % 4 * 32) / 16,
             true);
  wgmma_commit();
}

/* A gradient's rows of this warp, by way of the tile of K or V, whose products have all ended. */
template <int columns, int count>
ATTUNE_DEVICE void store_gradient(char *to, long long row_bytes_out, int rows, shared_address tile, int warp_row,
                                  const float (&c)[count], float scale) {
  const int lane = thread_index() % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = warp_row + half * 8 + lane / 4;
#pragma unroll
    for (int n = 0; n < columns / 8; n++)
      store_shared_32(tile + swizzled_chunk(kv_panel_bytes, row, n) + lane % 4 * 4,
                      pack(score_at(c, n, half, 0) * scale, score_at(c, n, half, 1) * scale));
  }
  warp_barrier();
  constexpr int chunks = columns / 8;
#pragma unroll 4
  for (int i = lane; i < 16 * chunks; i += 32) {
    const int row = i / chunks, chunk = i % chunks;
    if (row < rows)
      store_eight(to + row * row_bytes_out + chunk * 16,
                  load_shared_128(tile + swizzled_chunk(kv_panel_bytes, warp_row + row, chunk)));
  }
}

/* dK and dV of a warpgroup's keys; warp_row: the warp's first, in the tiles of K and V. */
ATTUNE_DEVICE void store_dk(const attune_backward_arguments &a, shared_address shared, const key_tile &at, int warp_row,
                            const float (&dk)[head_dim / 2]) {
  const attune_gradients &g = a.gradients;
  const int first = at.key_begin + warp_row, head_kv = at.head / a.problem.group;
  store_gradient<head_dim>((char *)g.dk + 2 * (at.batch * g.dk_batch + head_kv * g.dk_heads + first * g.dk_seqlen),
                           2 * g.dk_seqlen, at.seqlen_k - first, shared + k_offset, warp_row, dk, g.scale);
}
ATTUNE_DEVICE void store_dv(const attune_backward_arguments &a, shared_address shared, const key_tile &at, int warp_row,
                            const float (&dv)[head_dim_v / 2]) {
  const attune_gradients &g = a.gradients;
  const int first = at.key_begin + warp_row, head_kv = at.head / a.problem.group;
  store_gradient<head_dim_v>((char *)g.dv + 2 * (at.batch * g.dv_batch + head_kv * g.dv_heads + first * g.dv_seqlen),
                             2 * g.dv_seqlen, at.seqlen_k - first, shared + v_offset, warp_row, dv, 1.0f);
}

/* Starts a part of dQ = dS K, once dS^T is there from all. */
ATTUNE_DEVICE void multiply_ds(float (&dq)[dq_columns / 2], unsigned long long ds_turned, unsigned long long k_turned) {
  wgmma_fence();
  wgmma_ss_m_major_first(dq, ds_turned, k_turned);
#pragma unroll
  for (int n = 1; n < tile_n / 16; n++)
    wgmma_ss_m_major(dq, ds_turned + n * 16 * row_bytes / 16, k_turned + n * 16 * row_bytes / 16, true);
  wgmma_commit();
}
