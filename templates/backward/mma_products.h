/* Backward mma: a warp has rows of one side, its own, and goes through rows of the other. */
#pragma once
#include "../parts/gradients.h"
#include "../parts/layout.h"

constexpr int threads = warps * 32;
#if OPERATION_BACKWARD
constexpr int own_rows = tile_n, step_rows = tile_m;
#else
constexpr int own_rows = tile_m, step_rows = tile_n;
#endif
constexpr int warp_rows = own_rows / warps;
constexpr int atoms = warp_rows / 16;              // 16-row fragments of a warp
constexpr int depth = (head_dim + 15) / 16 * 16;   // of Q and K in shared memory, padded with zeros
constexpr int width = (head_dim_v + 15) / 16 * 16; // of V and dO

using step_fragment = float[atoms][step_rows / 8][4]; // of products of own rows and rows of a step

/* C = A B^T: rows of the warp times rows of a step, both with `columns` columns. */
template <int columns, int pitch>
ATTUNE_DEVICE void multiply_rows(step_fragment &c, shared_address a_rows, shared_address b_rows) {
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int n = 0; n < step_rows / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        c[m][n][e] = 0.0f;
#pragma unroll
  for (int k = 0; k < columns / 16; k++) {
    unsigned a[atoms][4];
#pragma unroll
    for (int m = 0; m < atoms; m++)
      ldmatrix_x4(a[m], a_rows + m * 16 * pitch + k * 32);
#pragma unroll
    for (int n = 0; n < step_rows / 16; n++) {
      unsigned b[4];
      ldmatrix_x4(b, b_rows + n * 16 * pitch + k * 32);
#pragma unroll
      for (int m = 0; m < atoms; m++) {
        mma_m16n8k16(c[m][2 * n], a[m], b[0], b[1]);
        mma_m16n8k16(c[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}
