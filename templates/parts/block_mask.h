/* A block mask as a sparse matrix (attune_block_mask of attune.h): for each row of blocks of sparse_block_size x
 * sparse_block_size the columns that are not empty, ascending, and whether they are full. */
#pragma once
#include "tiles.h"
#if SPARSE_BLOCK_SIZE

ATTUNE_DEVICE int block_rows(const attune_arguments &problem) {
  return (problem.seqlen_q + sparse_block_size - 1) / sparse_block_size;
}
ATTUNE_DEVICE int block_columns(const attune_arguments &problem) {
  return (problem.seqlen_k + sparse_block_size - 1) / sparse_block_size;
}

/* A row of blocks: `count` of them from `first` on. */
struct sparse_row {
  int first, count;
};

/* Never more than the mask holds, nor than the keys have, whatever it says. */
ATTUNE_DEVICE sparse_row sparse_row_of(const attune_arguments &problem, const query_tile &at) {
  const int mask = (problem.block_mask_batch > 1 ? at.batch : 0) * problem.block_mask_heads +
                   (problem.block_mask_heads > 1 ? at.head : 0);
  const int *row =
      problem.block_mask_row_offsets + (long long)mask * block_rows(problem) + at.row_begin / sparse_block_size;
  const int first = maximum(load_constant_int(row), 0);
  const int end = minimum(load_constant_int(row + 1), problem.block_mask_capacity);
  sparse_row found = {first, end > first ? minimum(end - first, block_columns(problem)) : 0};
  return found;
}

struct sparse_block {
  int column; // -1: none
  bool full;
};

ATTUNE_DEVICE sparse_block sparse_block_at(const attune_arguments &problem, const sparse_row &row, int i) {
  const int block = load_constant_int(problem.block_mask_indices + row.first + i), column = block >> 1;
  const bool exists = column >= 0 && column < block_columns(problem);
  sparse_block found = {exists ? column : -1, (block & 1) != 0};
  return found;
}

/* The index-th tile where the mask brings an order of rows. A mask that is for several heads or batches is gone through
 * once for each, so that the keys of one stay in L2. false: the order names a row that there is not. */
ATTUNE_DEVICE bool decode_row_order(int &flat_head, int &tile, const attune_arguments &problem, int index) {
  constexpr int parts = sparse_block_size / tile_m;
  const int rows = block_rows(problem), all = rows * problem.block_mask_batch * problem.block_mask_heads;
  const int copy = index / (all * parts);
  const int row = load_constant_int(problem.block_mask_row_order + index % (all * parts) / parts);
  if (row < 0 || row >= all) return false;
  const int mask = row / rows, heads = problem.block_mask_heads > 1 ? 1 : problem.heads_q;
  const int head = problem.block_mask_heads > 1 ? mask % problem.block_mask_heads : copy % heads;
  const int batch = problem.block_mask_batch > 1 ? mask / problem.block_mask_heads : copy / heads;
  flat_head = batch * problem.heads_q + head;
  tile = row % rows * parts + index % parts;
  return true;
}
#endif
