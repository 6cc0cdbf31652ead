/* Tiles copied to shared memory by all threads of a block, 16 bytes at a time, asynchronously (cp.async). Rows are
 * padded with zeros to 16 elements, and by 16 bytes: an odd number of 16-byte chunks, so that the eight rows of an
 * ldmatrix fall on different banks. */
#pragma once
#include "../primitives/cuda.h"
#include "layout.h"
#include "parameters.h"

/* How a block's threads share the copy of a tile: `across` neighbours take one row, 16 bytes each, again and again. */
template <int columns> struct copy_shape {
  static constexpr int chunks = (columns + 15) / 16 * 2; // of 16 bytes in a row, with the padding to 16 elements
  static constexpr int across = chunks >= 8 ? 8 : chunks >= 4 ? 4 : 2;
  static constexpr int down = warps * 32 / across;
};

/* This thread's first 16 bytes of a tile that starts at `tile`. */
template <int columns> ATTUNE_DEVICE const char *copy_source(const char *tile, long long row_bytes) {
  using shape = copy_shape<columns>;
  return tile + thread_index() / shape::across * row_bytes + thread_index() % shape::across * 16;
}

/* Copies `count` rows of `columns` elements to shared memory. Bounded: rows from `limit` on become zeros. The padding
 * always does. */
template <bool bounded, int count, int columns>
ATTUNE_DEVICE void copy_tile(shared_address tile, const char *source, long long row_bytes, int limit) {
  using shape = copy_shape<columns>;
  constexpr int pitch = shape::chunks * 16 + 16;
  const int row = thread_index() / shape::across;
  const int column = thread_index() % shape::across;
  const shared_address target = tile + row * pitch + column * 16;
#pragma unroll
  for (int r = 0; r < count; r += shape::down) {
    if (count % shape::down == 0 || r + row < count) {
#pragma unroll
      for (int c = 0; c < shape::chunks; c += shape::across)
        if (shape::chunks % shape::across == 0 || c + column < shape::chunks)
          cp_async(target + r * pitch + c * 16, source + c * 16,
                   (!bounded || r + row < limit) && (columns % 16 == 0 || c + column < columns / 8));
    }
    source += shape::down * row_bytes;
  }
}
