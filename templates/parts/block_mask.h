/* A block mask as a sparse matrix (attune_block_mask of attune.h): for each row of blocks of sparse_block_size x
 * sparse_block_size the columns that are not empty, ascending, and whether they are full; for each column the rows. */
#pragma once
#include "tiles.h"
#if SPARSE_BLOCK_SIZE

ATTUNE_DEVICE int block_rows(const attune_arguments &problem) {
  return (problem.seqlen_q + sparse_block_size - 1) / sparse_block_size;
}
ATTUNE_DEVICE int block_columns(const attune_arguments &problem) {
  return (problem.seqlen_k + sparse_block_size - 1) / sparse_block_size;
}

/* The blocks of a row or of a column: `count` of them from `first` on. */
struct sparse_list {
  int first, count;
};
struct sparse_block {
  int index; // of a row's block its column, of a column's its row; -1: none
  bool full;
};

/* Never more than the mask holds, nor than there can be, whatever it says. */
ATTUNE_DEVICE sparse_list sparse_list_at(const attune_arguments &problem, const int *offsets, int most) {
  const int first = maximum(load_constant_int(offsets), 0);
  const int end = minimum(load_constant_int(offsets + 1), problem.block_mask_capacity);
  sparse_list found = {first, end > first ? minimum(end - first, most) : 0};
  return found;
}

ATTUNE_DEVICE sparse_block decode_block(int block, int most) {
  const int index = block >> 1;
  sparse_block found = {index >= 0 && index < most ? index : -1, (block & 1) != 0};
  return found;
}

/* Which of the masks is of this head and batch. */
ATTUNE_DEVICE int mask_of(const attune_arguments &problem, int batch, int head) {
  return (problem.block_mask_batch > 1 ? batch : 0) * problem.block_mask_heads +
         (problem.block_mask_heads > 1 ? head : 0);
}

/* ---- the row that a tile of queries is in ---- */

ATTUNE_DEVICE sparse_list sparse_list_of(const attune_arguments &problem, const query_tile &at) {
  const long long before = (long long)mask_of(problem, at.batch, at.head) * block_rows(problem);
  return sparse_list_at(problem, problem.block_mask_row_offsets + before + at.row_begin / sparse_block_size,
                        block_columns(problem));
}
ATTUNE_DEVICE sparse_block sparse_block_at(const attune_arguments &problem, const query_tile &, const sparse_list &row,
                                           int i) {
  return decode_block(load_constant_int(problem.block_mask_indices + row.first + i), block_columns(problem));
}

/* The block of a row and a column of blocks; its index is -1 where it is not kept. */
ATTUNE_DEVICE sparse_block find_sparse_block(const attune_arguments &problem, int batch, int head, int row,
                                             int column) {
  const int columns = block_columns(problem);
  const long long before = (long long)mask_of(problem, batch, head) * block_rows(problem);
  const sparse_list list = sparse_list_at(problem, problem.block_mask_row_offsets + before + row, columns);
  const int *blocks = problem.block_mask_indices + list.first;
  int low = 0, high = list.count; // the first that is not before the column is from low to high
  while (low < high) {
    const int middle = (low + high) / 2;
    if (decode_block(load_constant_int(blocks + middle), columns).index < column)
      low = middle + 1;
    else
      high = middle;
  }
  const sparse_block none = {-1, false};
  if (low == list.count) return none;
  const sparse_block found = decode_block(load_constant_int(blocks + low), columns);
  return found.index == column ? found : none;
}

/* ---- the column that a tile of keys is in ---- */

ATTUNE_DEVICE sparse_list sparse_list_of(const attune_arguments &problem, const key_tile &at) {
  const long long before = (long long)mask_of(problem, at.batch, at.head) * block_columns(problem);
  return sparse_list_at(problem, problem.block_mask_column_offsets + before + at.key_begin / sparse_block_size,
                        block_rows(problem));
}
ATTUNE_DEVICE sparse_block sparse_block_at(const attune_arguments &problem, const key_tile &, const sparse_list &column,
                                           int i) {
  return decode_block(load_constant_int(problem.block_mask_row_indices + column.first + i), block_rows(problem));
}

/* ---- order ---- */

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
