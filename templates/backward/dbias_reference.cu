/* The gradients of the bias, and of arrays that a score expression reads, as plainly as possible: a warp a row of the
 * bias and 32 of its keys, one a lane; float arithmetic throughout. */
#include "../parts/block_mask.h"
#include "../parts/layout.h"
#include "../parts/mask_expression.h"
#include "dbias_tile.h"
#include "reference_rows.h"

constexpr int threads = warps * 32;

ATTUNE_DEVICE bool is_visible(const attune_arguments &problem, const score_place &at, int row, int key) {
  const int shift = shift_of(problem, at.seqlen_q, at.seqlen_k);
  const visible_keys keys = keys_of_rows(problem, row, row, shift, at.seqlen_k);
  if (key < keys.begin || key >= keys.end) return false;
#if SPARSE_BLOCK_SIZE
  const sparse_block block =
      find_sparse_block(problem, at.batch, at.head, row / sparse_block_size, key / sparse_block_size);
  if (block.index < 0 || block.full) return block.index >= 0;
#endif
#if HAS_MASK_EXPR
  return is_seen<integer, float>(problem, at.batch, at.head, row, key, at.seqlen_q, at.seqlen_k);
#else
  return true;
#endif
}

/* Row by row into shared memory. */
template <int columns> ATTUNE_DEVICE void stage_row(shared_address to, const char *from) {
  for (int d = thread_index() % 32; d < columns; d += 32)
    store_shared_float(to + 4 * d, element(from, d));
}

/* What one pair gives: the derivative of the loss by the bias. */
ATTUNE_DEVICE float add_pair(const attune_backward_arguments &a, const score_place &at, int row, int key,
                             shared_address q, shared_address d_o) {
  const attune_arguments &problem = a.problem;
  const int head_kv = at.head / problem.group;
  const char *k = (const char *)problem.k +
                  2 * (at.batch * problem.k_batch + head_kv * problem.k_heads + key * problem.k_seqlen),
             *v = (const char *)problem.v +
                  2 * (at.batch * problem.v_batch + head_kv * problem.v_heads + key * problem.v_seqlen);
  const float *terms = terms_of_row(a, at.batch, at.head, row);
  const score_derivatives changed =
      derivatives_of(problem, at, product_of<head_dim>(q, k), bias_of_pair(problem, at, row, key), row, key);
  const float p = exp2_approximate((changed.value - load_constant_float(terms)) * problem.log2_scale);
  if (p == 0.0f) return 0.0f;
  const float slope = p * (product_of<head_dim_v>(d_o, v) - load_constant_float(terms + 1));
#if DPARAMS
  each_element(changed, [&](int, int param, int index, float by) { add_to_array(a, param, index, slope * by); });
#endif
  return slope * derivative_by_bias(changed);
}

ATTUNE_KERNEL(threads, 1) KERNEL_NAME(const attune_backward_arguments a) {
  const attune_arguments &problem = a.problem;
  const attune_gradients &g = a.gradients;
  const bias_tile tile = find_bias_tile(a, block_index());
  const int lane = thread_index() % 32, warp = thread_index() / 32, key = tile.key + lane;
  const int first_row = tile.row + warp, end_row = g.dbias_rows > 1 ? first_row + 1 : tile.end_row;
  const shared_address q = shared_memory() + warp_offset + warp * warp_slot_bytes, d_o = q + 4 * row_floats;
  float sum = 0.0f;
  if (first_row >= g.dbias_rows) return;
  for (int batch = tile.batch; batch < tile.end_batch; batch++)
    for (int head = tile.head; head < tile.end_head; head++) {
      const score_place at = place_of(problem, batch, head, length_of(problem.seqlens_q, batch, problem.seqlen_q),
                                      length_of(problem.seqlens_k, batch, problem.seqlen_k));
      for (int row = first_row; row < minimum(end_row, at.seqlen_q); row++) {
        stage_row<head_dim>(q, (const char *)problem.q +
                                   2 * (batch * problem.q_batch + head * problem.q_heads + row * problem.q_seqlen));
        stage_row<head_dim_v>(d_o,
                              (const char *)g.d_o + 2 * (batch * g.do_batch + head * g.do_heads + row * g.do_seqlen));
        warp_barrier();
        if (is_visible(problem, at, row, key)) sum += add_pair(a, at, row, key, q, d_o);
        warp_barrier(); // the rows are read before the next ones overwrite them
      }
    }
#if DBIAS
  if (key < problem.seqlen_k) store_dbias(dbias_of_row(a, tile, first_row) + 2 * (long long)key, sum);
#endif
}
