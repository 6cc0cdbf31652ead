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
ATTUNE_DEVICE void add_to_array(const attune_backward_arguments &a, int param, int index, float sum) {
  float *to = a.gradients.dparams[param];
  if (to && index >= 0 && index < a.problem.values[param].count && sum != 0.0f) reduce_add_float(to + index, sum);
}
#endif
