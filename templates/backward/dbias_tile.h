/* What the kernels for the gradients of bias and arrays share: the part of the bias that a block has, the scores that
 * it was added to, and sums for elements of arrays. */
#pragma once
#include "../parts/gradients.h"

/* A tile of the bias from `row` and `key` on, and the sequences, heads and queries whose scores have it added: one
 * each, or all where the gradient is a sum over them. */
struct bias_tile {
  int batch, head, row, key;
  int end_batch, end_head, end_row; // of batch, head and row
};

ATTUNE_DEVICE bias_tile find_bias_tile(const attune_backward_arguments &a, int index) {
  const attune_gradients &g = a.gradients;
  const int tiles_m = (g.dbias_rows + tile_m - 1) / tile_m;
  bias_tile at;
  at.key = index % g.tiles_n * tile_n;
  index /= g.tiles_n;
  at.row = index % tiles_m * tile_m;
  index /= tiles_m;
  at.head = index % g.dbias_heads;
  at.batch = index / g.dbias_heads;
  at.end_batch = g.dbias_batch > 1 ? at.batch + 1 : a.problem.batch;
  at.end_head = g.dbias_heads > 1 ? at.head + 1 : a.problem.heads_q;
  at.end_row = g.dbias_rows > 1 ? minimum(at.row + tile_m, g.dbias_rows) : a.problem.seqlen_q;
  return at;
}

ATTUNE_DEVICE char *dbias_of_row(const attune_backward_arguments &a, const bias_tile &at, int row) {
  const attune_arguments &problem = a.problem;
  return (char *)a.gradients.dbias +
         2 * (at.batch * problem.bias_batch + at.head * problem.bias_heads + row * problem.bias_seqlen);
}

ATTUNE_DEVICE void store_dbias(char *to, float sum) {
#if ACCUMULATE
  sum += unpack_low(load_global_16(to));
#endif
  store_global_16(to, pack(sum, 0.0f));
}

#if DPARAMS
/* What a thread has to add to an element of an array: until it comes to another one. */
struct element_sum {
  int param, index;
  float sum;
};

ATTUNE_DEVICE void add_element(const attune_backward_arguments &a, const element_sum &of) {
  float *to = a.gradients.dparams[of.param];
  if (to && of.index >= 0 && of.index < a.problem.values[of.param].count && of.sum != 0.0f)
    reduce_add_float(to + of.index, of.sum);
}

ATTUNE_DEVICE void add_to_element(const attune_backward_arguments &a, element_sum &of, int param, int index,
                                  float slope) {
  if (index != of.index) add_element(a, of);
  of = {param, index, (index == of.index ? of.sum : 0.0f) + slope};
}

/* What is left, of all lanes: they often have the same element. */
ATTUNE_DEVICE void add_rest(const attune_backward_arguments &a, element_sum of) {
  const int param = warp_uniform(of.param), index = warp_uniform(of.index);
  if (warp_any(of.index != index || of.param != param)) {
    add_element(a, of);
    return;
  }
#pragma unroll
  for (int mask = 16; mask >= 1; mask /= 2)
    of.sum += shuffle_xor(of.sum, mask);
  if (thread_index() % 32 == 0) add_element(a, of);
}
#endif
