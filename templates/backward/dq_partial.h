/* dQ as blocks of keys add to it, in floats: in the order in which a warpgroup has accumulators, so that its threads
 * add 16 bytes each, side by side. Of a tile of queries each warpgroup has a part: 64 of its rows, or of 64 rows some
 * of the columns. */
#pragma once
#include "../parts/arguments.h"
#include "../parts/layout.h"
#include "../parts/parameters.h"

constexpr int dq_part_floats = 64 * dq_columns;

/* What thread `thread` of the warpgroup has of the part: four floats for every eight columns, 512 floats apart. tile:
 * of queries, those of all heads counted through. */
ATTUNE_DEVICE float *dq_part(const attune_backward_arguments &a, int tile, int part, int thread) {
  return a.gradients.dq_partial + ((long long)tile * dq_parts + part) * dq_part_floats + 4 * thread;
}
