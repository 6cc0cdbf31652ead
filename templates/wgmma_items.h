/* Family wgmma: what a block works on, item by item, and the dealer. Every role finds the same items by itself, or
 * hears of them. */
#pragma once
#include "mask.h"
#include "wgmma_layout.h"

/* A tile of queries, and which tiles of keys it sees. */
struct work : row_tile {
  int item;
  int place; // head of the whole batch, of packed ones the first
};

/* What a row of the tile is. */
ATTUNE_DEVICE int head_of(const work &w, int row) {
  return w.head + row % heads_packed;
}
ATTUNE_DEVICE int query_of(const work &w, int row) {
  return w.row_begin + row / heads_packed;
}

ATTUNE_DEVICE void find_usual(int &place, int &tile, const attune_arguments &problem, int index) {
#if ORDER_SECTIONS
  const int key_bytes = 2 * (head_dim + head_dim_v), heads = problem.heads_q / heads_packed * problem.batch;
  const int section = maximum(1, section_bytes / key_bytes / problem.seqlen_k) * problem.group / heads_packed;
  const int before = index / (section * problem.tiles_m) * section; // heads of the sections before
  const int inside = index - before * problem.tiles_m, across = minimum(section, heads - before);
  place = before + inside % across;
  tile = inside / across;
#elif ORDER_HEADS || ORDER_LONGEST
  tile = divide(index, problem.by_heads);
  place = index - tile * (problem.heads_q / heads_packed) * problem.batch;
#else
  place = divide(index, problem.by_tiles_m);
  tile = index - place * problem.tiles_m;
#endif
#if ORDER_REVERSED || ORDER_LONGEST || ORDER_SECTIONS
  tile = problem.tiles_m - 1 - tile;
#endif
}

/* What an item is, of a cluster its tiles together; false: there is nothing in it. */
ATTUNE_DEVICE bool find_work(work &w, const attune_arguments &problem, int item) {
  int tile;
  w.item = item;
#if SPLITS > 1
  w.split = divide(item, problem.by_work_tiles);
  item -= w.split * problem.work_tiles;
#endif
#if LIST_BLOCK
  if (problem.list_order) {
    if (!find_ordered(w.place, tile, problem, item)) return false;
  } else
#endif
    find_usual(w.place, tile, problem, item);
  w.batch = divide(w.place, problem.by_heads_q);
  w.head = w.place - w.batch * (problem.heads_q / heads_packed);
#if HEADS_PACKED > 1
  w.head *= heads_packed;
  w.place *= heads_packed;
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

ATTUNE_DEVICE unsigned count_items(const attune_arguments &problem) {
  return (unsigned)(problem.tiles_m * (problem.heads_q / heads_packed) * problem.batch) * splits;
}

#if PERSISTENT_DYNAMIC
/* The dealer: one thread. A block's first item is its own, the others come from the counter; -1 ends them. What a block
 * holds no other can take, so that an item is taken when the warp that is ahead of all asks for it, and not before.
 * Items that have no rows (of the short sequences of a batch) are passed over here, ahead of those who compute. */
ATTUNE_DEVICE void deal_items(const attune_arguments &problem, const mbarriers &at) {
  ring<dealt_slots> dealt;
  int asked_parity = 0;
  bool more = true;
  work w;
  auto take = [&]() { return (unsigned)grid_size() + count_up(problem.counter); };
  for (bool first = true; more; first = false) {
    if (!first) {
      mbarrier_wait(at.asked, asked_parity);
      asked_parity ^= 1;
    }
    mbarrier_wait(at.dealt_empty + 8 * dealt.slot, dealt.parity ^ 1);
    unsigned item = first ? (unsigned)block_index() : take();
    while (item < count_items(problem) && !find_work(w, problem, (int)item))
      item = take();
    more = item < count_items(problem);
    store_shared_32(at.dealt + 4 * dealt.slot, more ? item : (unsigned)-1);
    mbarrier_arrive(at.dealt_full + 8 * dealt.slot);
    advance(dealt);
  }
}

/* The block's next item; false: there is none, and none may be asked for any more. round: how many the warp has had.
 * Every warp but the dealer's hears of every item; all its lanes take part. */
ATTUNE_DEVICE bool next_item(int &item, unsigned &round, const attune_arguments &, const mbarriers &at) {
  const unsigned slot = round % dealt_slots, parity = round / dealt_slots % 2;
  item = 0;
  if (thread_index() % 32 == 0) {
    if (thread_index() == asking_thread && round > 0) mbarrier_arrive(at.asked);
    mbarrier_wait(at.dealt_full + 8 * slot, (int)parity);
    item = load_shared_int(at.dealt + 4 * slot);
    mbarrier_arrive(at.dealt_empty + 8 * slot);
  }
  item = warp_uniform(item);
  round++;
  return item >= 0;
}
#else
/* A block's items, or a cluster's: one of every round of the grid, back and forth, so that with items that become
 * shorter none gets the longest of every round. */
ATTUNE_DEVICE unsigned item_of_round(unsigned round) { // unsigned: up to twice a grid of 2^31 - 1
  const unsigned grid = (unsigned)(grid_size() / cluster), block = (unsigned)(block_index() / cluster);
  return round * grid + (round % 2 == 0 ? block : grid - 1 - block);
}

/* The block's next item. */
ATTUNE_DEVICE bool next_item(int &item, unsigned &round, const attune_arguments &problem, const mbarriers &) {
  if (item_of_round(round) >= count_items(problem)) return false;
  item = (int)item_of_round(round++);
  return true;
}
#endif

/* The block's next item that has keys to see. */
ATTUNE_DEVICE bool next_work(work &w, unsigned &round, const attune_arguments &problem, const mbarriers &at) {
  int item;
  while (next_item(item, round, problem, at))
    if (find_work(w, problem, item) && w.tiles > 0) return true;
  return false;
}
