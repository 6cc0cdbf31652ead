/* Gradients of elements of arrays, summed up before they are added to those in device memory, where additions of many
 * blocks to one place wait for each other. A thread sums up as long as its element stays the same. What it has then
 * goes to a table of its warp in shared memory, where no two lanes add to one place at a time; large arrays have no
 * table. */
#pragma once
#include "../parts/layout.h"
#include "dbias_tile.h"
#if DPARAMS

struct element_sum {
  int index; // -1: none
  float sum;
};

/* Where an array's sums begin in a warp's table; -1: the arrays are too large for one, or it is not wanted. */
struct element_tables {
  int first[8];
  int count; // floats in use
};

ATTUNE_DEVICE element_tables make_tables(const attune_backward_arguments &a) {
  element_tables tables;
  tables.count = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const long long count = a.gradients.dparams[i] ? a.problem.values[i].count : 0;
    const bool fits = count > 0 && count <= table_floats - tables.count;
    tables.first[i] = fits ? tables.count : -1;
    if (fits) tables.count += (int)count;
  }
  for (int i = thread_index(); i < warps * tables.count; i += warps * 32)
    store_shared_float(shared_memory() + tables_offset + i / tables.count * tables_slot_bytes + i % tables.count * 4,
                       0.0f);
  return tables;
}

/* What all lanes of a warp have, to the table or to device memory. */
ATTUNE_DEVICE void add_sums(const attune_backward_arguments &a, const element_tables &tables, int param,
                            const element_sum &of) {
  const int lane = thread_index() % 32, warp = thread_index() / 32, first = tables.first[param];
  const shared_address sums = shared_memory() + lanes_offset + warp * lanes_slot_bytes,
                       table = shared_memory() + tables_offset + warp * tables_slot_bytes + 4 * first;
  const unsigned same = match_any(of.index);
  store_shared_float(sums + 4 * lane, of.sum);
  warp_barrier();
  if (highest_bit(same) == lane && of.index >= 0 && of.index < a.problem.values[param].count) {
    float sum = 0.0f;
    for (unsigned left = same; left != 0; left ^= 1u << highest_bit(left))
      sum += load_shared_float(sums + 4 * highest_bit(left));
    if (first >= 0)
      store_shared_float(table + 4 * of.index, load_shared_float(table + 4 * of.index) + sum);
    else
      add_to_array(a, param, of.index, sum);
  }
  warp_barrier();
}

/* Adds a slope to an element; index -1: none. All lanes of a warp take part. */
ATTUNE_DEVICE void add_slope(const attune_backward_arguments &a, const element_tables &tables, int param,
                             element_sum &of, int index, float slope) {
  const bool stays = index < 0 || of.index < 0 || index == of.index;
  if (warp_any(!stays)) {
    add_sums(a, tables, param, of);
    of.index = -1;
    of.sum = 0.0f;
  }
  if (index >= 0) of.index = index;
  of.sum += slope;
}

/* The tables of all warps to device memory; all threads of the block take part. */
ATTUNE_DEVICE void store_tables(const attune_backward_arguments &a, const element_tables &tables) {
  barrier();
#pragma unroll
  for (int p = 0; p < 8; p++) {
    if (tables.first[p] < 0) continue;
    for (int i = thread_index(); i < (int)a.problem.values[p].count; i += warps * 32) {
      float sum = 0.0f;
      for (int warp = 0; warp < warps; warp++)
        sum +=
            load_shared_float(shared_memory() + tables_offset + warp * tables_slot_bytes + 4 * (tables.first[p] + i));
      add_to_array(a, p, i, sum);
    }
  }
}
#endif
