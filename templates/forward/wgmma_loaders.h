/* Forward wgmma: the warps of the first warpgroup, which move data: K and V; Q and O; and the one that finds tiles. */
#pragma once
#include "../parts/epilogue.h"
#include "../parts/load_tma.h"
#include "../parts/pipeline.h"
#include "../parts/tile_walk.h"

// Arrivals of a warpgroup when it releases a slot of K or V.
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
constexpr int warpgroup_arrivals = 4; // of each warp, which also reads the tile word
#else
constexpr int warpgroup_arrivals = 1; // a product or a barrier has brought the warps together
#endif

/* ---- the mask warp: finds the tiles that expression or block mask leave ---- */

#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
/* A tile in a word: its number, whether others follow, whether it is full. */
ATTUNE_DEVICE unsigned tile_word(const tile_walk &walk, bool more) {
  return (unsigned)(walk.tile * 4 + more * 2 + walk.full);
}

/* A tile is put into the queue when it is known whether another follows. */
ATTUNE_DEVICE void run_mask_warp(const attune_arguments &problem, const smem_map &smem) {
  pipeline<queue_slots> queue = {smem.queue_full, smem.queue_empty};
  tile_scheduler scheduler = {smem};
  auto put = [&](unsigned word) {
    if (thread_index() % 32 == 0) {
      queue.acquire();
      store_shared_32(smem.queue + 4 * queue.slot, word);
      queue.commit();
    }
    queue.advance();
  };
  work_tile w;
  while (scheduler.next(w, problem)) {
    tile_walk walk = start_walk(problem, w);
    bool any = false;
    while (has_unseen(walk, w)) {
      look(walk, problem, w);
      while (walk.kept != 0) {
        if (any) put(tile_word(walk, true));
        take_tile(walk);
        any = true;
      }
    }
    put(tile_word(walk, false));
  }
}
#endif

/* ---- the load-K/V warp: its first lane starts the copies ---- */

ATTUNE_DEVICE void run_load_kv_warp(const attune_arguments &problem, const attune_tensor_maps &maps,
                                    shared_address shared, const smem_map &smem) {
  const bool elected = thread_index() % 32 == 0;
  pipeline<stages> k = {smem.k_full, smem.k_empty}, v = {smem.v_full, smem.v_empty};
  unsigned landed_parities = 0; // a bit for each slot of V
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
  pipeline<queue_slots> queue = {smem.queue_full, smem.queue_empty};
#endif
  tile_scheduler scheduler = {smem};
  work_tile w;
  while (scheduler.next(w, problem)) {
    const int kv_head = w.head / problem.group;
    const bool ragged = problem.seqlens_k && w.last_tile * tile_n + tile_n > w.seqlen_k; // V has to end with zeros
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
    // What the mask warp found next, in all lanes.
    auto next_word = [&]() {
      int found = 0;
      if (elected) {
        queue.wait();
        found = load_shared_int(smem.queue + 4 * queue.slot);
        queue.release();
      }
      queue.advance();
      return warp_uniform(found);
    };
    int word = next_word();
#endif
    auto load_k = [&](int tile) {
      if (elected) {
        k.acquire();
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
        store_shared_32(smem.k_tile + 4 * k.slot, (unsigned)word);
#endif
        k.expect(k_slot_bytes);
        load_keys<k_panels>(shared + k_offset + k.slot * k_slot_bytes, maps.k, tile, kv_head, w.batch,
                            k.full_barrier());
      }
      k.advance();
    };
    auto load_v = [&](int tile) {
      const bool clears = ragged && tile == w.last_tile;
      const shared_address to = shared + v_offset + v.slot * v_slot_bytes;
      // One for each slot: the neighbour of a cluster may be a slot ahead.
      const shared_address full = v.full_barrier(), landed = smem.v_landed + 8 * v.slot;
      const shared_address arrived = clears ? landed : full;
      if (elected) {
        v.acquire();
        mbarrier_arrive_expect_tx(arrived, v_slot_bytes);
        load_keys<v_panels>(to, maps.v, tile, kv_head, w.batch, arrived);
      }
      if (clears) {
        warp_barrier();
        mbarrier_wait(landed, landed_parities >> v.slot & 1);
        landed_parities ^= 1u << v.slot;
        zero_v_tail(to, w.seqlen_k - tile * tile_n);
        if (elected) v.commit();
      }
      v.advance();
    };
    // V's tiles come one after K's: a consumer asks for the next K before it asks for this V.
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
    load_k(word >> 2);
    while (word & 2) {
      const int before = word >> 2;
      word = next_word();
      load_k(word >> 2);
      load_v(before);
    }
    load_v(word >> 2);
#else
    load_k(w.last_tile);
    for (int i = 1; i < w.tiles; i++) {
      load_k(w.last_tile - i);
      load_v(w.last_tile - i + 1);
    }
    load_v(w.last_tile - w.tiles + 1);
#endif
  }
#if CLUSTER > 1
  // The block stays until its neighbour's consumers have released all slots.
  for (int i = 0; i < stages && elected; i++) {
    k.acquire();
    v.acquire();
    k.advance();
    v.advance();
  }
#endif
}

/* ---- the load-Q/store-O warp: O leaves through Q's slot, through one of its own, or through the last V's ---- */

#if O_STAGING_Q
constexpr int o_slots = q_stages;
#else
constexpr int o_slots = 1;
#endif

/* Tiles whose Q is asked for before the first one's O leaves. Where O lies in V's slot no index may be waited for then:
 * the load-K/V warp, which needs the slot, comes to request the next one only afterwards. */
#if O_STAGING_Q || O_STAGING_V && PERSISTENT_DYNAMIC
constexpr int tiles_in_hand = q_stages;
#else
constexpr int tiles_in_hand = q_stages + 1;
#endif

/* Those of the tile's rows that there are, where that is known in device memory only. A warp. */
ATTUNE_DEVICE void store_o_rows(const attune_arguments &problem, const work_tile &w, shared_address from) {
  constexpr int chunks = head_dim_v / 8;
#pragma unroll 1
  for (int c = thread_index() % 32; c < (w.seqlen_q - w.row_begin) * pack_gqa * chunks; c += 32) {
    const int row = c / chunks, chunk = c % chunks;
    store_global_128(o_address(problem, w, row, chunk),
                     load_shared_128(from + swizzled_chunk(q_panel_bytes, row, chunk)));
  }
  fence_proxy_async(); // TMA writes here next
  warp_barrier();
}

#if O_STAGING_V
/* Releases V's slot for the warpgroups that have left their O there. */
ATTUNE_DEVICE void release_for_consumers(shared_address empty) {
  for (int i = 0; i < warpgroup_arrivals * consumers; i++)
#if CLUSTER > 1
    for (int block = 0; block < cluster; block++)
      mbarrier_arrive_cluster(empty, block);
#else
    mbarrier_arrive(empty);
#endif
}
#endif

ATTUNE_DEVICE void run_load_q_store_o_warp(const attune_arguments &problem, const attune_tensor_maps &maps,
                                           shared_address shared, const smem_map &smem) {
  const bool elected = thread_index() % 32 == 0;
#if O_STAGING_Q
  // Q's slot has no empty barrier: consumers write O into it and arrive on o_full; then O is sent and Q loaded anew.
  pipeline<q_stages> q = {smem.q_full, 0};
  pipeline<o_slots> o = {smem.o_full, 0};
#else
  pipeline<q_stages> q = {smem.q_full, smem.q_empty};
  pipeline<o_slots> o = {smem.o_full, smem.o_empty};
#endif
  work_tile w;
  tile_scheduler coming = {smem};
#if PERSISTENT_DYNAMIC
  // An index is read once: those in hand, the oldest first; -1: none.
  int indices[tiles_in_hand];
  bool more = true;
#pragma unroll
  for (int i = 0; i < tiles_in_hand; i++)
    indices[i] = -1;
  auto next_to_come = [&]() {
    more = more && coming.next(w, problem);
#pragma unroll
    for (int i = 1; i < tiles_in_hand; i++)
      indices[i - 1] = indices[i];
    indices[tiles_in_hand - 1] = more ? w.tile_index : -1;
    return more;
  };
  auto next_to_leave = [&]() { return indices[0] >= 0 && decode_tile(w, problem, indices[0]); };
#else
  tile_scheduler leaving = {smem};
  auto next_to_come = [&]() { return coming.next(w, problem); };
  auto next_to_leave = [&]() { return leaving.next(w, problem); };
#endif
  auto load_next_q = [&]() {
    if (!next_to_come()) return;
    if (elected) {
#if !O_STAGING_Q
      q.acquire();
#endif
      q.expect(k_panels * q_panel_bytes);
      load_q(shared + q_offset + q.slot * q_slot_bytes, maps.q, w, q.full_barrier());
    }
    q.advance();
  };
  for (int i = 0; i < tiles_in_hand; i++)
    load_next_q();
  while (next_to_leave()) {
    o.wait_warp();
#if O_STAGING_V
    const int v_slot = warp_uniform(elected ? load_shared_int(smem.o_slot) : 0);
    [[maybe_unused]] const shared_address from = shared + v_offset + v_slot * v_slot_bytes;
#elif O_STAGING_OWN
    [[maybe_unused]] const shared_address from = shared + o_offset;
#else
    [[maybe_unused]] const shared_address from = shared + q_offset + o.slot * q_slot_bytes;
#endif
#if SPLITS == 1 // else consumers have written their part themselves
    if (problem.seqlens_q && w.row_begin + tile_queries > w.seqlen_q)
      store_o_rows(problem, w, from);
    else if (elected)
      store_o(maps.o, w, from);
#endif
#if !O_STAGING_Q
    if (elected) o.release();
#endif
    o.advance();
#if O_STAGING_V
    if (elected) release_for_consumers(smem.v_empty + 8 * v_slot);
#endif
    load_next_q();
  }
}
