/* Backward reference: rows as floats, and their products. */
#pragma once
#include "../primitives/cuda.h"

constexpr int row_floats = 256; // at most, of a row of either width

/* Column `d` of the row that starts at `from`. */
ATTUNE_DEVICE float element(const char *from, int d) {
  const unsigned word = load_constant_16(from + 2 * d);
  return unpack_low(word);
}

/* Products of a row of floats in shared memory with one of elements. */
template <int columns> ATTUNE_DEVICE float product_of(shared_address row, const char *other) {
  float sum = 0.0f;
  for (int d = 0; d < columns; d += 8) {
    const vec128 chunk = load_global_128(other + 2 * d);
#pragma unroll
    for (int e = 0; e < 4; e++) {
      sum = multiply_add(load_shared_float(row + 4 * (d + 2 * e)), unpack_low(chunk.x[e]), sum);
      sum = multiply_add(load_shared_float(row + 4 * (d + 2 * e + 1)), unpack_high(chunk.x[e]), sum);
    }
  }
  return sum;
}

ATTUNE_DEVICE int length_of(const int *lengths, int batch, int bound) {
  return lengths ? load_length(lengths + batch, bound) : bound;
}
