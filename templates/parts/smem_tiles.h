/* Tiles in shared memory as TMA brings them and wgmma reads them: panels of 64 columns, of 128 bytes a row with the
 * 128-byte swizzle, padded with zeros. Where they lie stands in layout.h. */
#pragma once
#include "../primitives/cuda.h"
#include "layout.h"
#include "parameters.h"

constexpr int threads = warps * 32;
#if OPERATION_BACKWARD
constexpr int consumers = warps / 4 - 1; // warpgroups that compute
#else
constexpr int consumers = tile_m / 64; // warpgroups that compute
#endif
constexpr int depth = (head_dim + 15) / 16 * 16; // of the product Q K
constexpr int k_panels = (head_dim + 63) / 64;   // of Q and K
constexpr int v_panels = (head_dim_v + 63) / 64; // of V and O
constexpr int row_bytes = 128;
constexpr int q_panel_bytes = tile_m * row_bytes; // and of P and O
constexpr int kv_panel_bytes = tile_n * row_bytes;
#if Q_PREFETCH
constexpr int q_stages = 2;
#else
constexpr int q_stages = 1;
#endif
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
constexpr int has_mask_warp = 1;
#else
constexpr int has_mask_warp = 0;
#endif

/* Where a 16-byte chunk of a row lies in a tile of panels. */
ATTUNE_DEVICE int swizzled_chunk(int panel_bytes, int row, int chunk) {
  return chunk / 8 * panel_bytes + row * row_bytes + (chunk % 8 ^ row % 8) * 16;
}
