/* The backward pass as plainly as possible: a warp a row, which is a key for the gradients of K and V, and a query for
 * that of Q; 32 rows of the other side at a time, one a lane; float arithmetic throughout, no rounding of P and dS. */
#include "../parts/block_mask.h"
#include "../parts/gradients.h"
#include "../parts/layout.h"
#include "../parts/mask_expression.h"
#include "../parts/tiles.h"
#include "reference_rows.h"

constexpr int threads = warps * 32;

/* A gradient's row, by way of shared memory, 16 bytes at a time. */
template <int columns, int count>
ATTUNE_DEVICE void store_row(char *to, shared_address staged, const float (&sums)[count], float scale) {
  const int lane = thread_index() % 32;
  warp_barrier();
#pragma unroll
  for (int c = 0; c < count; c++)
    if (lane + 32 * c < columns) store_shared_float(staged + 4 * (lane + 32 * c), sums[c] * scale);
  warp_barrier();
  if (lane >= columns / 8) return;
  vec128 chunk;
#pragma unroll
  for (int e = 0; e < 4; e++)
    chunk.x[e] = pack(load_shared_float(staged + 4 * (lane * 8 + 2 * e)),
                      load_shared_float(staged + 4 * (lane * 8 + 2 * e + 1)));
  store_eight(to + lane * 16, chunk);
}

ATTUNE_KERNEL(threads, 1) KERNEL_NAME(const attune_backward_arguments a) {
  const attune_arguments &problem = a.problem;
  const attune_gradients &g = a.gradients;
  const int lane = thread_index() % 32, warp = thread_index() / 32;
#if OPERATION_DQ
  const int tiles = problem.tiles_m, heads = problem.heads_q, rows = tile_m;
#else
  const int tiles = g.tiles_n, heads = problem.heads_q / problem.group, rows = tile_n;
#endif
  const int place = block_index() / tiles, own = block_index() % tiles * rows + warp;
  const int batch = place / heads, own_head = place % heads;
  const int seqlen_q = length_of(problem.seqlens_q, batch, problem.seqlen_q);
  const int seqlen_k = length_of(problem.seqlens_k, batch, problem.seqlen_k);
  const int shift = shift_of(problem, seqlen_q, seqlen_k);

  // Rows of Q and dO go together, and rows of K and V.
  auto q_row = [&](int head, int row) {
    return (const char *)problem.q + 2 * (batch * problem.q_batch + head * problem.q_heads + row * problem.q_seqlen);
  };
  auto do_row = [&](int head, int row) {
    return (const char *)g.d_o + 2 * (batch * g.do_batch + head * g.do_heads + row * g.do_seqlen);
  };
  auto k_row = [&](int head, int row) {
    return (const char *)problem.k + 2 * (batch * problem.k_batch + head * problem.k_heads + row * problem.k_seqlen);
  };
  auto v_row = [&](int head, int row) {
    return (const char *)problem.v + 2 * (batch * problem.v_batch + head * problem.v_heads + row * problem.v_seqlen);
  };
#if OPERATION_DQ
  if (own >= seqlen_q) return;
  const char *own_k = q_row(own_head, own), *own_v = do_row(own_head, own);
  const visible_keys others = keys_of_rows(problem, own, own, shift, seqlen_k);
#else
  if (own >= seqlen_k) return;
  const char *own_k = k_row(own_head, own), *own_v = v_row(own_head, own);
  const visible_rows others = rows_of_keys(problem, own, own, shift, seqlen_q);
#endif

  const shared_address row_k = shared_memory() + warp_offset + warp * warp_slot_bytes, row_v = row_k + 4 * row_floats,
                       p_shared = row_v + 4 * row_floats, ds_shared = p_shared + 4 * 32;
  for (int d = lane; d < head_dim; d += 32)
    store_shared_float(row_k + 4 * d, element(own_k, d));
  for (int d = lane; d < head_dim_v; d += 32)
    store_shared_float(row_v + 4 * d, element(own_v, d));
  warp_barrier();

  float sums_k[(head_dim + 31) / 32] = {}; // dQ or dK: columns lane, lane + 32, ...
#if !OPERATION_DQ
  float sums_v[(head_dim_v + 31) / 32] = {};
#endif
  auto visit = [&](const score_place &place, int first, int end, [[maybe_unused]] bool full) {
    const int head = place.head;
    const int other = first + lane;
#if OPERATION_DQ
    const int row = own, key = other, head_kv = head / problem.group;
    auto other_k = [&](int i) { return k_row(head_kv, i); };
    auto other_v = [&](int i) { return v_row(head_kv, i); };
#else
    const int row = other, key = own;
    auto other_k = [&](int i) { return q_row(head, i); };
    auto other_v = [&](int i) { return do_row(head, i); };
#endif
#if HAS_MASK_EXPR && OPERATION_DQ
    if (!full && !classify_tile(problem, batch, head, own, own, first, end - 1, seqlen_q, seqlen_k).maybe) return;
#elif HAS_MASK_EXPR
    if (!full && !classify_tile(problem, batch, head, first, end - 1, own, own, seqlen_q, seqlen_k).maybe) return;
#endif
    float p = 0.0f, ds = 0.0f;
    if (other < end) {
      const float *terms = terms_of_row(a, batch, head, row);
      p = product_of<head_dim>(row_k, other_k(other));
      ds = product_of<head_dim_v>(row_v, other_v(other));
      differentiate(p, ds, problem, place, row, key, load_constant_float(terms), load_constant_float(terms + 1));
#if HAS_MASK_EXPR
      if (!full && !is_seen<integer, float>(problem, batch, head, row, key, seqlen_q, seqlen_k)) p = ds = 0.0f;
#endif
    }
    store_shared_float(p_shared + 4 * lane, p);
    store_shared_float(ds_shared + 4 * lane, ds);
    warp_barrier();
    for (int j = 0; j < end - first; j++) {
      const float weight = load_shared_float(p_shared + 4 * j), slope = load_shared_float(ds_shared + 4 * j);
      if (weight == 0.0f && slope == 0.0f) continue; // 0 times what nobody sees might be NaN
      const char *k = other_k(first + j), *v = other_v(first + j);
#pragma unroll
      for (int c = 0; c < (head_dim + 31) / 32; c++)
        if (lane + 32 * c < head_dim) sums_k[c] = multiply_add(slope, element(k, lane + 32 * c), sums_k[c]);
#if !OPERATION_DQ
#pragma unroll
      for (int c = 0; c < (head_dim_v + 31) / 32; c++)
        if (lane + 32 * c < head_dim_v) sums_v[c] = multiply_add(weight, element(v, lane + 32 * c), sums_v[c]);
#endif
    }
    warp_barrier(); // P and dS are read before the next ones overwrite them
  };
#if OPERATION_DQ
  const int first_head = own_head, end_head = own_head + 1;
#else
  const int first_head = own_head * problem.group, end_head = first_head + problem.group;
#endif
  for (int head = first_head; head < end_head; head++) {
    const score_place place = place_of(problem, batch, head, seqlen_q, seqlen_k);
#if SPARSE_BLOCK_SIZE
#if OPERATION_DQ
    query_tile at = {};
    at.row_begin = own;
#else
    key_tile at = {};
    at.key_begin = own;
#endif
    at.head = head;
    at.batch = batch;
    const sparse_list blocks = sparse_list_of(problem, at);
    for (int i = 0; i < blocks.count; i++) {
      const sparse_block block = sparse_block_at(problem, at, blocks, i);
      if (block.index < 0) continue;
      const int begin = block.index * sparse_block_size, end = minimum(others.end, begin + sparse_block_size);
      for (int first = maximum(others.begin, begin); first < end; first += 32)
        visit(place, first, minimum(first + 32, end), block.full);
    }
#else
    for (int first = others.begin; first < others.end; first += 32)
      visit(place, first, minimum(first + 32, others.end), false);
#endif
  }

#if OPERATION_DQ
  store_row<head_dim>((char *)g.dq + 2 * (batch * g.dq_batch + own_head * g.dq_heads + own * g.dq_seqlen), row_k,
                      sums_k, g.scale);
#else
  store_row<head_dim>((char *)g.dk + 2 * (batch * g.dk_batch + own_head * g.dk_heads + own * g.dk_seqlen), row_k,
                      sums_k, g.scale);
  store_row<head_dim_v>((char *)g.dv + 2 * (batch * g.dv_batch + own_head * g.dv_heads + own * g.dv_seqlen), row_v,
                        sums_v, 1.0f);
#endif
}
