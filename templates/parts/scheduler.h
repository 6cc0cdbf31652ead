/* Which tiles of queries a block works on, and in which order: of all tiles, batch and head. */
#pragma once
#include "block_mask.h"
#include "tiles.h"
#if PERSISTENT_DYNAMIC
#include "pipeline.h"
#include "smem_tiles.h"
#endif

/* A tile of queries with the tiles of keys that it sees. */
struct work_tile : query_tile {
  int tile_index; // in the order of work
  int flat_head;  // batch * heads_q + head; of packed heads the first
};

/* What a row of the tile is. */
ATTUNE_DEVICE int head_of(const work_tile &w, int row) {
  return w.head + row % pack_gqa;
}
ATTUNE_DEVICE int query_of(const work_tile &w, int row) {
  return w.row_begin + row / pack_gqa;
}

ATTUNE_DEVICE int divide(int n, const attune_divisor &by) {
  return (int)((unsigned long long)n * by.multiplier >> by.shift);
}

/* n / d, where `by` stands for d. Family mma divides: what the multiplication gives, nvcc carries through its addresses
 * in 64 bits, for up to 17% more instructions. */
ATTUNE_DEVICE int divide(int n, [[maybe_unused]] int d, [[maybe_unused]] const attune_divisor &by) {
#if FAMILY_MMA
  return n / d;
#else
  return divide(n, by);
#endif
}

ATTUNE_DEVICE unsigned count_tiles(const attune_arguments &problem) {
  return (unsigned)(problem.tiles_m * (problem.heads_q / pack_gqa) * problem.batch) * splits;
}

/* ---- order ---- */

#if ORDER_L2_SECTIONS
constexpr int section_bytes = 16 << 20; // keys and values of the heads that are worked on together, for L2's sake
#endif

/* flat_head: of groups of packed heads. */
ATTUNE_DEVICE void decode_order(int &flat_head, int &tile, const attune_arguments &problem, int index) {
#if ORDER_L2_SECTIONS
  const int key_bytes = 2 * (head_dim + head_dim_v), heads = problem.heads_q / pack_gqa * problem.batch;
  const int section = maximum(1, section_bytes / key_bytes / problem.seqlen_k) * problem.group / pack_gqa;
  const int before = index / (section * problem.tiles_m) * section; // heads of the sections before
  const int inside = index - before * problem.tiles_m, across = minimum(section, heads - before);
  flat_head = before + inside % across;
  tile = inside / across;
#elif ORDER_HEADS || ORDER_LPT
  tile = divide(index, problem.heads_q / pack_gqa * problem.batch, problem.by_heads);
  flat_head = index - tile * (problem.heads_q / pack_gqa) * problem.batch;
#else
  flat_head = divide(index, problem.tiles_m, problem.by_tiles_m);
  tile = index - flat_head * problem.tiles_m;
#endif
#if ORDER_REVERSED || ORDER_LPT || ORDER_L2_SECTIONS
  tile = problem.tiles_m - 1 - tile;
#endif
}

/* The tile of that index, of a cluster its tiles together; false: it has no rows. */
ATTUNE_DEVICE bool decode_tile(work_tile &w, const attune_arguments &problem, int tile_index) {
  int tile;
  w.tile_index = tile_index;
#if SPLITS > 1
  w.split = divide(tile_index, problem.by_work_tiles);
  tile_index -= w.split * problem.work_tiles;
#endif
#if SPARSE_BLOCK_SIZE
  if (problem.block_mask_row_order) {
    if (!decode_row_order(w.flat_head, tile, problem, tile_index)) return false;
  } else
#endif
    decode_order(w.flat_head, tile, problem, tile_index);
  w.batch = divide(w.flat_head, problem.heads_q / pack_gqa, problem.by_heads_q);
  w.head = w.flat_head - w.batch * (problem.heads_q / pack_gqa);
#if PACK_GQA > 1
  w.head *= pack_gqa;
  w.flat_head *= pack_gqa;
#endif
#if CLUSTER > 1
  // The blocks see the same keys; one whose tile has no rows goes along, since the others wait for what it loads.
  if (!find_keys(w, problem, tile * cluster)) return false;
  w.row_begin += block_index() % cluster * tile_queries;
  return true;
#else
  return find_keys(w, problem, tile);
#endif
}

/* ---- persistence ---- */

#if PERSISTENT_DYNAMIC
/* A queue of tile indices that the scheduler warp fills and every other warp reads; -1 ends it. */
constexpr int work_readers = 4 * consumers + 2 + has_mask_warp; // warps: consumers, K and V, Q and O
constexpr int requesting_thread = 32 * has_mask_warp;           // of the warp that is ahead of all

/* The scheduler warp: one thread. A block's first tile is its own, the others come from the counter. What a block holds
 * no other can take, so that a tile is taken when the warp that is ahead of all requests it, and not before. Tiles that
 * have no rows (of the short sequences of a batch) are passed over here, ahead of those who compute. */
ATTUNE_DEVICE void schedule_tiles(const attune_arguments &problem, const smem_map &smem) {
  pipeline<work_slots> work = {smem.work_full, smem.work_empty};
  int requested_parity = 0;
  bool more = true;
  work_tile w;
  auto take = [&]() { return (unsigned)grid_size() + atomic_increment(problem.counter); };
  for (bool first = true; more; first = false) {
    if (!first) {
      mbarrier_wait(smem.work_requested, requested_parity);
      requested_parity ^= 1;
    }
    work.acquire();
    unsigned index = first ? (unsigned)block_index() : take();
    while (index < count_tiles(problem) && !decode_tile(w, problem, (int)index))
      index = take();
    more = index < count_tiles(problem);
    store_shared_32(smem.work_index + 4 * work.slot, more ? index : (unsigned)-1);
    work.commit();
    work.advance();
  }
}
#endif

/* The block's tiles, as one warp goes through them. All its lanes take part. */
struct tile_scheduler {
  const smem_map &smem;
  unsigned round = 0; // how many the warp has had

#if PERSISTENT_DYNAMIC
  /* false: there is none, and none may be requested any more. Every warp but the scheduler's reads every index. */
  ATTUNE_MEMBER bool next_index(int &tile_index, const attune_arguments &) {
    pipeline<work_slots> work = {smem.work_full, smem.work_empty, (int)(round % work_slots),
                                 (int)(round / work_slots % 2)};
    tile_index = 0;
    if (thread_index() % 32 == 0) {
      if (thread_index() == requesting_thread && round > 0) mbarrier_arrive(smem.work_requested);
      work.wait();
      tile_index = load_shared_int(smem.work_index + 4 * work.slot);
      work.release();
    }
    tile_index = warp_uniform(tile_index);
    round++;
    return tile_index >= 0;
  }
#else
  /* A block's tiles, or a cluster's: one of every round of the grid, back and forth, so that with tiles that become
   * shorter none gets the longest of every round. */
  ATTUNE_MEMBER static unsigned index_of_round(unsigned round) { // unsigned: up to twice a grid of 2^31 - 1
    const unsigned grid = (unsigned)(grid_size() / cluster), block = (unsigned)(block_index() / cluster);
    return round * grid + (round % 2 == 0 ? block : grid - 1 - block);
  }

  ATTUNE_MEMBER bool next_index(int &tile_index, const attune_arguments &problem) {
    if (index_of_round(round) >= count_tiles(problem)) return false;
    tile_index = (int)index_of_round(round++);
    return true;
  }
#endif

  /* The next one that sees keys. */
  ATTUNE_MEMBER bool next(work_tile &w, const attune_arguments &problem) {
    int tile_index;
    while (next_index(tile_index, problem))
      if (decode_tile(w, problem, tile_index) && w.tiles > 0) return true;
    return false;
  }
};
