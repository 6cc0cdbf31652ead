/* The gradients of the bias, and of arrays of floats that a score expression reads, on the tensor cores of sm_80 and
 * later.
 *
 * A block owns a tile of the bias, which is a tile of queries and keys, and goes through all heads, sequences and tiles
 * of queries that it was added for. For each it computes S and dP once more, and from them the derivative of the loss
 * by the bias (FlashAttention, arXiv 2205.14135, appendix B.4: dS, before the scale), which it sums up in registers: in
 * an order that is always the same, whatever is summed up over. A warp owns 16 of the queries. */
#include "../parts/block_mask.h"
#include "../parts/load_cp_async.h"
#include "../parts/mask_expression.h"
#include "../parts/scores.h"
#include "element_sums.h"
#include "mma_products.h"

constexpr int part_rows = 16; // queries, and keys, of a part of the tile
constexpr int parts_across = tile_n / part_rows, parts = tile_m / part_rows * parts_across; // at most 32

/* What a thread has summed up. */
struct thread_sums {
#if DBIAS
  step_fragment bias;
#endif
#if DPARAMS
  element_tables tables;
  element_sum elements[element_count];
#endif
};

/* The tile as the queries of one head meet it. */
struct pair_tile {
  int batch, head, row, key, seqlen_q, seqlen_k, shift;
};

/* A bit for each part: some query of it sees a key; all see all keys. */
struct seen_parts {
  unsigned some, all;
};

/* Each lane looks at one part. */
ATTUNE_DEVICE seen_parts look_at_parts(const attune_arguments &problem, const pair_tile &at) {
  const int part = thread_index() % 32;
  const int row = at.row + part / parts_across * part_rows, key = at.key + part % parts_across * part_rows;
  const int row_last = minimum(row + part_rows, at.seqlen_q) - 1, key_last = minimum(key + part_rows, at.seqlen_k) - 1;
  const visible_keys any = keys_of_rows(problem, row, row_last, at.shift, at.seqlen_k),
                     first = keys_of_rows(problem, row, row, at.shift, at.seqlen_k),
                     last = keys_of_rows(problem, row_last, row_last, at.shift, at.seqlen_k);
  bool some = part < parts && row < at.seqlen_q && key < at.seqlen_k && any.begin <= key_last && any.end > key;
  bool all = row + part_rows <= at.seqlen_q && last.begin <= key && first.end >= key + part_rows;
#if SPARSE_BLOCK_SIZE
  if (some) {
    const sparse_block block =
        find_sparse_block(problem, at.batch, at.head, row / sparse_block_size, key / sparse_block_size);
    some = block.index >= 0;
    all = all && block.full;
  }
#elif HAS_MASK_EXPR
  if (some) {
    const verdict found =
        classify_tile(problem, at.batch, at.head, row, row_last, key, key_last, at.seqlen_q, at.seqlen_k);
    some = found.maybe;
    all = all && found.always;
  }
#endif
  seen_parts seen;
  seen.some = warp_ballot(some);
  seen.all = warp_ballot(some && all);
  return seen;
}

ATTUNE_DEVICE bool is_visible(const attune_arguments &problem, const pair_tile &at, int row, integer key) {
  const visible_keys keys = keys_of_rows(problem, row, row, at.shift, at.seqlen_k);
  bool seen = row < at.seqlen_q && key.value() >= keys.begin && key.value() < keys.end;
#if HAS_MASK_EXPR
  seen = seen && is_seen<integer, float>(problem, at.batch, at.head, row, key, at.seqlen_q, at.seqlen_k);
#endif
  return seen;
}

/* The tile's rows of Q, dO, K and V. */
ATTUNE_DEVICE void copy_rows(const attune_backward_arguments &a, const pair_tile &at) {
  const attune_arguments &problem = a.problem;
  const attune_gradients &g = a.gradients;
  const int head_kv = at.head / problem.group;
  const shared_address shared = shared_memory();
  const char *q = (const char *)problem.q +
                  2 * (at.batch * problem.q_batch + at.head * problem.q_heads + at.row * problem.q_seqlen),
             *d_o = (const char *)g.d_o + 2 * (at.batch * g.do_batch + at.head * g.do_heads + at.row * g.do_seqlen),
             *k = (const char *)problem.k +
                  2 * (at.batch * problem.k_batch + head_kv * problem.k_heads + at.key * problem.k_seqlen),
             *v = (const char *)problem.v +
                  2 * (at.batch * problem.v_batch + head_kv * problem.v_heads + at.key * problem.v_seqlen);
  const int rows = at.seqlen_q - at.row, keys = at.seqlen_k - at.key;
  copy_tile<true, tile_m, head_dim>(shared + own_k_offset, copy_source<head_dim>(q, 2 * problem.q_seqlen),
                                    2 * problem.q_seqlen, rows);
  copy_tile<true, tile_m, head_dim_v>(shared + own_v_offset, copy_source<head_dim_v>(d_o, 2 * g.do_seqlen),
                                      2 * g.do_seqlen, rows);
  copy_tile<true, tile_n, head_dim>(shared + step_k_offset, copy_source<head_dim>(k, 2 * problem.k_seqlen),
                                    2 * problem.k_seqlen, keys);
  copy_tile<true, tile_n, head_dim_v>(shared + step_v_offset, copy_source<head_dim_v>(v, 2 * problem.v_seqlen),
                                      2 * problem.v_seqlen, keys);
  cp_async_commit();
}

/* Adds up what the pairs that are seen give. seen: of the warp's parts. */
ATTUNE_DEVICE void add_pairs(thread_sums &sums, const attune_backward_arguments &a, const pair_tile &at,
                             const step_fragment &s, const step_fragment &dp, const tile_bias &biases,
                             seen_parts seen) {
  const attune_arguments &problem = a.problem;
  const score_place place = place_of(problem, at.batch, at.head, at.seqlen_q, at.seqlen_k);
  const int own = at.row + thread_index() / 32 * warp_rows + thread_index() % 32 / 4;
  const int column = at.key + 2 * (thread_index() % 4);
  float lse[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = own + half * 8;
    const float *terms = terms_of_row(a, at.batch, at.head, row);
    lse[half] = row < at.seqlen_q ? load_constant_float(terms) : infinity();
    delta[half] = row < at.seqlen_q ? load_constant_float(terms + 1) : 0.0f;
  }
#pragma unroll
  for (int n = 0; n < tile_n / 8; n++) {
    if (!(seen.some >> n / 2 & 1)) continue;
    const bool all = seen.all >> n / 2 & 1;
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int row = own + e / 2 * 8;
      const integer key = integer(column, n * 8 + e % 2);
      float bias = 0.0f;
      if (uses_bias) bias = e % 2 == 0 ? unpack_low(biases.pair[e / 2][n]) : unpack_high(biases.pair[e / 2][n]);
      const score_derivatives changed = derivatives_of(problem, place, s[0][n][e], bias, row, key);
      float p = exp2_approximate((changed.value - lse[e / 2]) * problem.log2_scale);
      if (!all && !is_visible(problem, at, row, key)) p = 0.0f;
      const float slope = p * (dp[0][n][e] - delta[e / 2]);
      // The derivative of a score that hides may be no number.
#if DBIAS
      sums.bias[0][n][e] += p == 0.0f ? 0.0f : slope * derivative_by_bias(changed);
#endif
#if DPARAMS
      each_element(changed, [&](int i, int param, int index, float by) {
        const bool counts = p != 0.0f && index >= 0;
        add_slope(a, sums.tables, param, sums.elements[i], counts ? index : -1, counts ? slope * by : 0.0f);
      });
#endif
    }
  }
}

/* The gradient of one row of the bias that all queries share: the sum over all rows of the block, warp by warp. */
ATTUNE_DEVICE void store_row_sums(const attune_backward_arguments &a, const bias_tile &tile,
                                  const step_fragment &sums) {
  const shared_address shared = shared_memory() + sums_offset;
#pragma unroll
  for (int n = 0; n < tile_n / 8; n++)
#pragma unroll
    for (int e = 0; e < 2; e++) {
      float sum = sums[0][n][e] + sums[0][n][e + 2];
#pragma unroll
      for (int mask = 4; mask <= 16; mask *= 2)
        sum += shuffle_xor(sum, mask);
      if (thread_index() % 32 < 4)
        store_shared_float(shared + 4 * (thread_index() / 32 * tile_n + n * 8 + thread_index() % 4 * 2 + e), sum);
    }
  barrier();
  for (int c = thread_index(); c < tile_n && tile.key + c < a.problem.seqlen_k; c += threads) {
    float sum = 0.0f;
    for (int warp = 0; warp < warps; warp++)
      sum += load_shared_float(shared + 4 * (warp * tile_n + c));
    store_dbias(dbias_of_row(a, tile, 0) + 2 * (long long)(tile.key + c), sum);
  }
}

ATTUNE_DEVICE void store_tile(const attune_backward_arguments &a, const bias_tile &tile, const step_fragment &sums) {
  const int own = tile.row + thread_index() / 32 * warp_rows + thread_index() % 32 / 4;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = own + half * 8;
    if (row >= a.gradients.dbias_rows) continue;
    char *to = dbias_of_row(a, tile, row);
#pragma unroll
    for (int n = 0; n < tile_n / 8; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int key = tile.key + n * 8 + thread_index() % 4 * 2 + e;
        if (key < a.problem.seqlen_k) store_dbias(to + 2 * (long long)key, sums[0][n][2 * half + e]);
      }
  }
}

ATTUNE_KERNEL(threads, resident_blocks) KERNEL_NAME(const attune_backward_arguments a) {
  const attune_arguments &problem = a.problem;
  const bias_tile tile = find_bias_tile(a, block_index());
  const int lane = thread_index() % 32, warp_row = thread_index() / 32 * warp_rows;
  const shared_address shared = shared_memory();
  // Addresses that this lane gives to ldmatrix: for operand A rows 0-15 with two chunks; for B two groups of eight
  // rows.
  const shared_address own_k = shared + own_k_offset + (warp_row + lane % 16) * pitch_k + lane / 16 * 16;
  const shared_address own_v = shared + own_v_offset + (warp_row + lane % 16) * pitch_v + lane / 16 * 16;
  const shared_address step_k = shared + step_k_offset + (lane % 8 + lane / 16 * 8) * pitch_k + lane / 8 % 2 * 16;
  const shared_address step_v = shared + step_v_offset + (lane % 8 + lane / 16 * 8) * pitch_v + lane / 8 % 2 * 16;
  thread_sums sums = {};
#if DPARAMS
  sums.tables = make_tables(a);
#pragma unroll
  for (int i = 0; i < element_count; i++)
    sums.elements[i].index = -1;
  barrier(); // the tables are there
#endif

  auto visit = [&](const pair_tile &at) {
    seen_parts seen = look_at_parts(problem, at);
    if (seen.some == 0) return; // for all warps
    barrier();                  // they have left the tiles before
    copy_rows(a, at);
    tile_bias biases;
    query_tile of_head = {};
    of_head.batch = at.batch;
    of_head.head = at.head;
    fetch_bias(biases, problem, of_head, at.row + warp_row + lane / 4, at.key);
    cp_async_wait<0>();
    barrier();
    constexpr unsigned of_warp = (1u << parts_across) - 1;
    const int shift = thread_index() / 32 * parts_across;
    seen = {seen.some >> shift & of_warp, seen.all >> shift & of_warp};
    if (seen.some == 0) return;
    step_fragment s, dp;
    multiply_rows<depth, pitch_k>(s, own_k, step_k);
    multiply_rows<width, pitch_v>(dp, own_v, step_v);
    add_pairs(sums, a, at, s, dp, biases, seen);
  };

  for (int batch = tile.batch; batch < tile.end_batch; batch++) {
    pair_tile at = {batch, 0, 0, tile.key, problem.seqlen_q, problem.seqlen_k, 0};
    if (problem.seqlens_q) at.seqlen_q = load_length(problem.seqlens_q + batch, problem.seqlen_q);
    if (problem.seqlens_k) at.seqlen_k = load_length(problem.seqlens_k + batch, problem.seqlen_k);
    at.shift = shift_of(problem, at.seqlen_q, at.seqlen_k);
    for (at.head = tile.head; at.head < tile.end_head; at.head++)
      for (at.row = tile.row; at.row < tile.end_row; at.row += tile_m)
        visit(at);
  }
#if DPARAMS
  each_element(score_derivatives(), [&](int i, int param, int, float) { // what is left
    add_sums(a, sums.tables, param, sums.elements[i]);
  });
  store_tables(a, sums.tables);
#endif
#if DBIAS
  barrier(); // shared memory is free
  if (a.gradients.dbias_rows == 1)
    store_row_sums(a, tile, sums.bias);
  else
    store_tile(a, tile, sums.bias);
#endif
}
