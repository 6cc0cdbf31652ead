/* The two products of a warpgroup's 64 rows: S = Q K and O += P V. Descriptors move by bytes / 16. Layouts: PTX ISA,
 * "Asynchronous warpgroup level matrix instructions". */
#pragma once
#include "named_barriers.h"
#include "smem_tiles.h"

/* Starts S = Q K, for as many keys as S has columns. */
template <int n> ATTUNE_DEVICE void issue_qk(float (&s)[n], unsigned long long q, unsigned long long k) {
#pragma unroll
  for (int d = 0; d < depth / 16; d++)
    wgmma_ss(s, q + (d / 4 * q_panel_bytes + d % 4 * 32) / 16, k + (d / 4 * kv_panel_bytes + d % 4 * 32) / 16, d > 0);
  wgmma_commit();
}

/* P of a tile: of the thread, the A-operands of the products P V; or a place in shared memory, of which the warpgroup
 * owns 64 rows. The functions that take it are for as many of its columns as 16 steps. */
struct probabilities {
#if P_IN_SMEM
  shared_address tile;
  int row; // the thread's first
#else
  unsigned fragments[tile_n / 16][4];
#endif
};

template <int steps> ATTUNE_DEVICE void fence_probabilities(probabilities &p) {
#if !P_IN_SMEM
  fence_registers((unsigned(&)[steps][4])p.fragments);
#endif
}

/* Starts O += P V. */
template <int steps> ATTUNE_DEVICE void issue_pv(float (&o)[head_dim_v / 2], probabilities &p, unsigned long long v) {
#if P_IN_SMEM
  const unsigned long long matrix = descriptor_k_major(p.tile + p.row / 64 * 64 * row_bytes);
#endif
#pragma unroll
  for (int n = 0; n < steps; n++)
#if P_IN_SMEM
    wgmma_ss_n_major(o, matrix + (n / 4 * q_panel_bytes + n % 4 * 32) / 16, v + n * 16 * row_bytes / 16, true);
#else
    wgmma_rs(o, p.fragments[n], v + n * 16 * row_bytes / 16, true);
#endif
  wgmma_commit();
}

/* S = Q K alone, waited for. */
template <int n> ATTUNE_DEVICE void multiply_qk(float (&s)[n], unsigned long long q, unsigned long long k) {
  fence_registers(s);
  wgmma_fence();
  issue_qk(s, q, k);
  wgmma_wait<0>();
  fence_registers(s);
}

/* O += P V alone, waited for. */
template <int steps>
ATTUNE_DEVICE void multiply_pv(float (&o)[head_dim_v / 2], probabilities &p, unsigned long long v) {
  fence_registers(o);
  fence_probabilities<steps>(p);
  wgmma_fence();
  issue_pv<steps>(o, p, v);
  wgmma_wait<0>();
  fence_registers(o);
  fence_probabilities<steps>(p);
}

/* What a thread has of one of its rows of accumulators, times a factor, to that row of a tile of tile_m. */
template <int count>
ATTUNE_DEVICE void store_row(shared_address tile, int row, const float (&c)[count], int half, float factor) {
  const int lane = thread_index() % 32;
#pragma unroll
  for (int n = 0; n < count / 4; n++)
    store_shared_32(tile + swizzled_chunk(q_panel_bytes, row, n) + lane % 4 * 4,
                    pack(c[4 * n + 2 * half] * factor, c[4 * n + 2 * half + 1] * factor));
}

/* The accumulator layout of S is, packed, the A-operand layout of P. */
template <int steps> ATTUNE_DEVICE void pack_probabilities(probabilities &p, const float (&s)[steps * 8]) {
#if P_IN_SMEM
#pragma unroll
  for (int half = 0; half < 2; half++)
    store_row(p.tile, p.row + half * 8, s, half, 1.0f);
  fence_proxy_async(); // a product reads it
  named_barrier_sync(WARPGROUP_BARRIER + p.row / 64, 128);
#else
#pragma unroll
  for (int n = 0; n < steps; n++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      p.fragments[n][e] = pack(s[8 * n + 2 * e], s[8 * n + 2 * e + 1]);
#endif
}
