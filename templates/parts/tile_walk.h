/* The walk over the tiles that a mask expression or a block mask leaves inside of the bounds: over tiles of keys for a
 * tile of queries, or over tiles of queries for a tile of keys, from the last to the first. A warp looks at 32 tiles at
 * a time, each lane at one, so that an empty tile costs next to nothing. All lanes take part. */
#pragma once
#include "block_mask.h"
#include "mask_expression.h"

struct tile_walk {
  int tile;                 // where the walk is
  bool full, more;          // nothing is masked in it; others follow
  int window;               // what is below was not looked at yet: tiles; with a block mask, places in the list
  unsigned kept, kept_full; // of the 32 from there on: still to come, full
#if SPARSE_BLOCK_SIZE
  sparse_list list;
  int looked_at; // this lane's tile
#endif
};

/* ---- tiles of keys for a tile of queries ---- */

ATTUNE_DEVICE int count_tiles_across(const attune_arguments &problem, const query_tile &) {
  return (problem.seqlen_k + tile_n - 1) / tile_n;
}
#if SPARSE_BLOCK_SIZE
ATTUNE_DEVICE int tiles_of_block(const query_tile &) {
  return sparse_block_size / tile_n;
}
#elif HAS_MASK_EXPR
ATTUNE_DEVICE verdict classify(const attune_arguments &problem, const query_tile &at, int tile) {
  return classify_tile(problem, at.batch, at.head, at.row_begin, minimum(at.row_begin + tile_m, at.seqlen_q) - 1,
                       tile * tile_n, minimum(tile * tile_n + tile_n, at.seqlen_k) - 1, at.seqlen_q, at.seqlen_k);
}
#endif

/* ---- tiles of queries for a tile of keys ---- */

ATTUNE_DEVICE int count_tiles_across(const attune_arguments &problem, const key_tile &) {
  return (problem.seqlen_q + tile_queries - 1) / tile_queries;
}
#if SPARSE_BLOCK_SIZE
ATTUNE_DEVICE int tiles_of_block(const key_tile &) {
  return sparse_block_size / tile_queries;
}
#elif HAS_MASK_EXPR
ATTUNE_DEVICE verdict classify(const attune_arguments &problem, const key_tile &at, int tile) {
  return classify_tile(problem, at.batch, at.head, tile * tile_queries,
                       minimum((tile + 1) * tile_queries, at.seqlen_q) - 1, at.key_begin,
                       minimum(at.key_begin + tile_n, at.seqlen_k) - 1, at.seqlen_q, at.seqlen_k);
}
#endif

/* ---- either ---- */

template <class tile_of> ATTUNE_DEVICE bool is_within(const tile_of &at, int tile) {
  return tile > at.last_tile - at.tiles && tile <= at.last_tile;
}

template <class tile_of> ATTUNE_DEVICE bool has_unseen(const tile_walk &walk, const tile_of &at) {
#if SPARSE_BLOCK_SIZE
  return walk.window > 0;
#else
  return walk.window > at.last_tile - at.tiles + 1;
#endif
}

/* At the next 32. */
template <class tile_of> ATTUNE_DEVICE void look(tile_walk &walk, const attune_arguments &problem, const tile_of &at) {
  walk.window -= 32;
  int tile = walk.window + thread_index() % 32;
  bool seen = false, full = false;
#if SPARSE_BLOCK_SIZE
  if (tile >= 0) {
    const int tiles = tiles_of_block(at);
    const sparse_block block = sparse_block_at(problem, at, walk.list, tile / tiles);
    tile = block.index * tiles + tile % tiles;
    seen = block.index >= 0 && is_within(at, tile);
    full = block.full;
  }
  walk.looked_at = tile;
#elif HAS_MASK_EXPR
  if (is_within(at, tile)) {
    const verdict found = classify(problem, at, tile);
    seen = found.maybe;
    full = found.always;
  }
#else
  seen = full = is_within(at, tile);
#endif
  walk.kept = warp_ballot(seen);
  walk.kept_full = warp_ballot(full && tile >= at.full_begin && tile < at.full_end);
}

/* Before the first one. Where none is left, the walk is of one tile past the end of the keys or queries, in which all
 * is masked. */
template <class tile_of> ATTUNE_DEVICE tile_walk start_walk(const attune_arguments &problem, const tile_of &at) {
  tile_walk walk = {};
  walk.tile = count_tiles_across(problem, at);
#if SPARSE_BLOCK_SIZE
  walk.list = sparse_list_of(problem, at);
  walk.window = walk.list.count * tiles_of_block(at);
#else
  walk.window = (at.last_tile / 32 + 1) * 32;
#endif
  return walk;
}

/* To the highest of the 32. */
ATTUNE_DEVICE void take_tile(tile_walk &walk) {
  const int bit = highest_bit(walk.kept);
#if SPARSE_BLOCK_SIZE
  walk.tile = shuffle(walk.looked_at, bit);
#else
  walk.tile = walk.window + bit;
#endif
  walk.full = walk.kept_full >> bit & 1;
  walk.kept ^= 1u << bit;
}

template <class tile_of>
ATTUNE_DEVICE void step_walk(tile_walk &walk, const attune_arguments &problem, const tile_of &at) {
  if (walk.kept != 0) take_tile(walk);
  while (walk.kept == 0 && has_unseen(walk, at))
    look(walk, problem, at);
  walk.more = walk.kept != 0;
}

/* At the first one. */
template <class tile_of> ATTUNE_DEVICE tile_walk first_of_walk(const attune_arguments &problem, const tile_of &at) {
  tile_walk walk = start_walk(problem, at);
  step_walk(walk, problem, at); // looks ahead
  if (walk.more) step_walk(walk, problem, at);
  return walk;
}
