/* Tiles brought and taken by TMA, box by box; by one thread, except where it says otherwise. */
#pragma once
#include "scheduler.h"
#include "smem_tiles.h"

/* What L2 is to keep (the descriptors that createpolicy makes): Q and O pass once, K and V serve other blocks too. */
constexpr unsigned long long evict_first = 0x12f0000000000000;
constexpr unsigned long long evict_last = 0x14f0000000000000;

template <int panels, int panel_bytes>
ATTUNE_DEVICE void load_panels(shared_address to, const attune_tensor_map &map, int row, int head, int batch,
                               shared_address full, unsigned long long policy) {
#pragma unroll
  for (int p = 0; p < panels; p++)
    tma_load(to + p * panel_bytes, map, p * 64, row, head, batch, full, policy);
}

/* This block's part of K's or V's tile. */
template <int panels>
ATTUNE_DEVICE void load_keys(shared_address to, const attune_tensor_map &map, int tile, int head, int batch,
                             shared_address full) {
#if CLUSTER > 1
  constexpr int rows = tile_n / cluster;
  const int first = block_index() % cluster * rows;
#pragma unroll
  for (int p = 0; p < panels; p++)
    tma_load_multicast(to + p * kv_panel_bytes + first * row_bytes, map, p * 64, tile * tile_n + first, head, batch,
                       full, (1 << cluster) - 1, evict_last);
#else
  load_panels<panels, kv_panel_bytes>(to, map, tile * tile_n, head, batch, full, evict_last);
#endif
}

/* A warp clears the rows from `limit` on of a tile: what a length in device memory leaves out may hold anything, and
 * 0 x NaN is NaN. */
template <int panels, int panel_bytes> ATTUNE_DEVICE void zero_rows(shared_address tile, int limit) {
  const vec128 zero = {};
  for (int at = limit * row_bytes + thread_index() % 32 * 16; at < panel_bytes; at += 32 * 16)
#pragma unroll
    for (int p = 0; p < panels; p++)
      store_shared_128(tile + p * panel_bytes + at, zero);
}

ATTUNE_DEVICE void zero_v_tail(shared_address v, int limit) {
  zero_rows<v_panels, kv_panel_bytes>(v, limit);
  fence_proxy_async();
  warp_barrier();
}

/* A box of Q's tile, or of O's: packed heads come before queries in their maps. */
ATTUNE_DEVICE void load_q(shared_address to, const attune_tensor_map &map, const work_tile &w, shared_address full) {
#if PACK_GQA > 1
  load_panels<k_panels, q_panel_bytes>(to, map, w.head, w.row_begin, w.batch, full, evict_first);
#else
  load_panels<k_panels, q_panel_bytes>(to, map, w.row_begin, w.head, w.batch, full, evict_first);
#endif
}

ATTUNE_DEVICE void store_o(const attune_tensor_map &map, const work_tile &w, shared_address from) {
#pragma unroll
  for (int p = 0; p < v_panels; p++)
#if PACK_GQA > 1
    tma_store(map, p * 64, w.head, w.row_begin, w.batch, from + p * q_panel_bytes, evict_first);
#else
    tma_store(map, p * 64, w.row_begin, w.head, w.batch, from + p * q_panel_bytes, evict_first);
#endif
  tma_store_wait_read();
}
