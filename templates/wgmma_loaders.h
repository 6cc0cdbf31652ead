/* Family wgmma: the roles of the first warpgroup: producer, scout, porter. */
#pragma once
#include "wgmma_items.h"

/* ---- the producer: one warp, whose first lane starts the copies ---- */

template <int panels, int panel_bytes>
ATTUNE_DEVICE void load_panels(shared_address to, const attune_tensor_map &map, int row, int head, int batch,
                               shared_address full, unsigned long long policy) {
#pragma unroll
  for (int p = 0; p < panels; p++)
    load_tile(to + p * panel_bytes, map, p * 64, row, head, batch, full, policy);
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
    load_tile_multicast(to + p * kv_panel_bytes + first * row_bytes, map, p * 64, tile * tile_n + first, head, batch,
                        full, (1 << cluster) - 1, read_again);
#else
  load_panels<panels, kv_panel_bytes>(to, map, tile * tile_n, head, batch, full, read_again);
#endif
}

/* Clears the rows from `limit` on of V's tile: keys that a length in device memory leaves out may hold anything, and
 * 0 x NaN is NaN. */
ATTUNE_DEVICE void clear_tail(shared_address v, int limit) {
  const words zero = {};
  for (int at = limit * row_bytes + thread_index() % 32 * 16; at < kv_panel_bytes; at += 32 * 16)
#pragma unroll
    for (int p = 0; p < v_panels; p++)
      store_shared_128(v + p * kv_panel_bytes + at, zero);
  fence_async();
  warp_barrier();
}

#if PATTERN || LIST_BLOCK
/* A tile in a word, as it is told: its number, whether others follow, whether it is whole. */
ATTUNE_DEVICE unsigned word_of(const tile_walk &walk, bool more) {
  return (unsigned)(walk.tile * 4 + more * 2 + walk.whole);
}

/* The scout. A tile is told when it is known whether another follows. */
ATTUNE_DEVICE void find_tiles(const attune_arguments &problem, const mbarriers &at) {
  ring<found_slots> found;
  auto tell = [&](unsigned word) {
    if (thread_index() % 32 == 0) {
      mbarrier_wait(at.found_empty + 8 * found.slot, found.parity ^ 1);
      store_shared_32(at.found + 4 * found.slot, word);
      mbarrier_arrive(at.found_full + 8 * found.slot);
    }
    advance(found);
  };
  work w;
  for (unsigned round = 0; next_work(w, round, problem, at);) {
    tile_walk walk = start_walk(problem, w);
    bool any = false;
    while (has_unseen(walk, w)) {
      look(walk, problem, w);
      while (walk.kept != 0) {
        if (any) tell(word_of(walk, true));
        take_tile(walk);
        any = true;
      }
    }
    tell(word_of(walk, false));
  }
}
#endif

ATTUNE_DEVICE void produce(const attune_arguments &problem, const attune_tensor_maps &maps, shared_address shared,
                           const mbarriers &at) {
  const bool loads = thread_index() % 32 == 0;
  ring<stages> k, v;
  unsigned landed_parities = 0; // a bit for each slot
#if PATTERN || LIST_BLOCK
  ring<found_slots> found;
#endif
  work w;
  for (unsigned round = 0; next_work(w, round, problem, at);) {
    const int kv_head = w.head / problem.group;
    const bool ragged = problem.seqlens_k && w.last_tile * tile_n + tile_n > w.seqlen_k;
#if PATTERN || LIST_BLOCK
    // What the scout found next, in all lanes.
    auto next_found = [&]() {
      int told = 0;
      if (loads) {
        mbarrier_wait(at.found_full + 8 * found.slot, found.parity);
        told = load_shared_int(at.found + 4 * found.slot);
        mbarrier_arrive(at.found_empty + 8 * found.slot);
      }
      advance(found);
      return warp_uniform(told);
    };
    int told = next_found();
#endif
    auto load_k = [&](int tile) {
      if (loads) {
        mbarrier_wait(at.k_empty + 8 * k.slot, k.parity ^ 1);
#if PATTERN || LIST_BLOCK
        store_shared_32(at.tiles + 4 * k.slot, (unsigned)told);
#endif
        mbarrier_arrive_expect(at.k_full + 8 * k.slot, k_slot_bytes);
        load_keys<k_panels>(shared + k_offset + k.slot * k_slot_bytes, maps.k, tile, kv_head, w.batch,
                            at.k_full + 8 * k.slot);
      }
      advance(k);
    };
    auto load_v = [&](int tile) {
      const bool clears = ragged && tile == w.last_tile;
      const shared_address to = shared + v_offset + v.slot * v_slot_bytes;
      // One for each slot: the neighbour of a cluster may be a slot ahead.
      const shared_address full = at.v_full + 8 * v.slot, landed = at.v_landed + 8 * v.slot;
      const shared_address arrived = clears ? landed : full;
      if (loads) {
        mbarrier_wait(at.v_empty + 8 * v.slot, v.parity ^ 1);
        mbarrier_arrive_expect(arrived, v_slot_bytes);
        load_keys<v_panels>(to, maps.v, tile, kv_head, w.batch, arrived);
      }
      if (clears) {
        warp_barrier();
        mbarrier_wait(landed, landed_parities >> v.slot & 1);
        landed_parities ^= 1u << v.slot;
        clear_tail(to, w.seqlen_k - tile * tile_n);
        if (loads) mbarrier_arrive(full);
      }
      advance(v);
    };
#if PATTERN || LIST_BLOCK
    load_k(told >> 2);
#else
    load_k(w.last_tile);
#endif
#if PATTERN || LIST_BLOCK
    while (told & 2) {
      const int before = told >> 2;
      told = next_found();
      load_k(told >> 2);
      load_v(before);
    }
    load_v(told >> 2);
#else
    for (int i = 1; i < w.tiles; i++) {
      load_k(w.last_tile - i);
      load_v(w.last_tile - i + 1);
    }
    load_v(w.last_tile - w.tiles + 1);
#endif
  }
#if CLUSTER > 1
  // The block stays until its neighbour's consumers have told all that they tell.
  for (int i = 0; i < stages && loads; i++) {
    mbarrier_wait(at.k_empty + 8 * k.slot, k.parity ^ 1);
    mbarrier_wait(at.v_empty + 8 * v.slot, v.parity ^ 1);
    advance(k);
    advance(v);
  }
#endif
}

/* ---- the porter: one warp; brings Q, and from the same slot, or from O's own, takes away what consumers leave ---- */

/* A box of Q's tile, or of O's: packed heads come before queries in their maps. */
ATTUNE_DEVICE void load_queries(shared_address to, const attune_tensor_map &map, const work &w, shared_address full) {
#if HEADS_PACKED > 1
  load_panels<k_panels, q_panel_bytes>(to, map, w.head, w.row_begin, w.batch, full, passes_once);
#else
  load_panels<k_panels, q_panel_bytes>(to, map, w.row_begin, w.head, w.batch, full, passes_once);
#endif
}

ATTUNE_DEVICE void store_queries(const attune_tensor_map &map, const work &w, shared_address from) {
#pragma unroll
  for (int p = 0; p < v_panels; p++)
#if HEADS_PACKED > 1
    store_tile(map, p * 64, w.head, w.row_begin, w.batch, from + p * q_panel_bytes, passes_once);
#else
    store_tile(map, p * 64, w.row_begin, w.head, w.batch, from + p * q_panel_bytes, passes_once);
#endif
  finish_stores();
}

/* Those of the tile's rows that there are, where that is known in device memory only. */
ATTUNE_DEVICE void copy_rows(const attune_arguments &problem, const work &w, shared_address slot) {
  constexpr int chunks = head_dim_v / 8;
#pragma unroll 1
  for (int c = thread_index() % 32; c < (w.seqlen_q - w.row_begin) * heads_packed * chunks; c += 32) {
    const int row = c / chunks, chunk = c % chunks;
    store_global_128((char *)problem.o + 2 * (w.batch * problem.o_batch + head_of(w, row) * problem.o_heads +
                                              query_of(w, row) * problem.o_seqlen + chunk * 8),
                     load_shared_128(slot + chunk / 8 * q_panel_bytes + row * row_bytes + (chunk % 8 ^ row % 8) * 16));
  }
  fence_async(); // the copy engine writes here next
  warp_barrier();
}

#if O_PLACE_OV
/* Tells that V's slot is left, for the warpgroups that have left their O there. */
ATTUNE_DEVICE void leave_for_consumers(shared_address empty) {
  for (int i = 0; i < speakers * consumers; i++)
#if CLUSTER > 1
    for (int block = 0; block < cluster; block++)
      mbarrier_arrive_at(empty, block);
#else
    mbarrier_arrive(empty);
#endif
}
#endif

ATTUNE_DEVICE void carry_rows(const attune_arguments &problem, const attune_tensor_maps &maps, shared_address shared,
                              const mbarriers &at) {
  const bool moves = thread_index() % 32 == 0;
#if O_PLACE_OQ
  constexpr int o_slots = q_stages;
#else
  constexpr int o_slots = 1;
#endif
  ring<q_stages> coming;
  ring<o_slots> leaving;
  unsigned next_coming = 0; // round
  // Items whose Q is asked for before the first one's O leaves. Where O lies in V's slot no deal may be waited for
  // then: the producer, which needs the slot, comes to ask for the next one only afterwards.
#if O_PLACE_OQ || O_PLACE_OV && PERSISTENT_DYNAMIC
  constexpr int in_hand = q_stages;
#else
  constexpr int in_hand = q_stages + 1;
#endif
#if PERSISTENT_DYNAMIC
  // An item is told once: those in hand, the oldest first; -1: none.
  int brought[in_hand];
  bool more = true;
#pragma unroll
  for (int i = 0; i < in_hand; i++)
    brought[i] = -1;
#else
  unsigned next_leaving = 0;
#endif
  work w;
  auto next_to_come = [&]() {
#if PERSISTENT_DYNAMIC
    more = more && next_work(w, next_coming, problem, at);
#pragma unroll
    for (int i = 1; i < in_hand; i++)
      brought[i - 1] = brought[i];
    brought[in_hand - 1] = more ? w.item : -1;
    return more;
#else
    return next_work(w, next_coming, problem, at);
#endif
  };
  auto next_to_leave = [&]() {
#if PERSISTENT_DYNAMIC
    return brought[0] >= 0 && find_work(w, problem, brought[0]);
#else
    return next_work(w, next_leaving, problem, at);
#endif
  };
  auto bring = [&]() {
    if (!next_to_come()) return;
    if (moves) {
      const shared_address full = at.q_full + 8 * coming.slot;
#if !O_PLACE_OQ
      mbarrier_wait(at.q_empty + 8 * coming.slot, coming.parity ^ 1);
#endif
      mbarrier_arrive_expect(full, k_panels * q_panel_bytes);
      load_queries(shared + coming.slot * q_slot_bytes, maps.q, w, full);
    }
    advance(coming);
  };
  for (int i = 0; i < in_hand; i++)
    bring();
  while (next_to_leave()) {
    if (moves) mbarrier_wait(at.o_full + 8 * leaving.slot, leaving.parity);
    warp_barrier(); // a lane that waited by itself could come too late for this phase and the next
#if O_PLACE_OV
    const int v_slot = warp_uniform(moves ? load_shared_int(at.o_slot) : 0);
    [[maybe_unused]] const shared_address slot = shared + v_offset + v_slot * v_slot_bytes;
#elif O_PLACE_OB
    [[maybe_unused]] const shared_address slot = shared + o_offset;
#else
    [[maybe_unused]] const shared_address slot = shared + leaving.slot * q_slot_bytes;
#endif
#if SPLITS == 1 // else consumers have written their part themselves
    if (problem.seqlens_q && w.row_begin + tile_queries > w.seqlen_q)
      copy_rows(problem, w, slot);
    else if (moves)
      store_queries(maps.o, w, slot);
#endif
    advance(leaving);
#if !O_PLACE_OQ
    if (moves) mbarrier_arrive(at.o_empty);
#endif
#if O_PLACE_OV
    if (moves) leave_for_consumers(at.v_empty + 8 * v_slot);
#endif
    bring();
  }
}
