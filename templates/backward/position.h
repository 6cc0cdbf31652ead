/* Where a block of the backward pass is: its own tile, and how it goes through the tiles of the other side. */
#pragma once
#include "../parts/gradients.h"
#include "../parts/scheduler.h"
#include "../parts/tile_walk.h"

#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
using walk_state = tile_walk;
#else
/* Between the bounds all tiles are seen, upwards: blocks of a causal mask, which begin on the diagonal, then add to dQ
 * in different places. */
struct walk_state {
  int tile;
  bool full, more; // nothing is masked in it; others follow
};

template <class tile_of> ATTUNE_DEVICE void take_tile(walk_state &walk, const tile_of &at, int tile) {
  walk.tile = tile;
  walk.full = tile >= at.full_begin && tile < at.full_end;
  walk.more = tile < at.last_tile;
}
#endif

/* The tile of the other side stands in `walk`. Of keys, the head is one of those that share them. */
struct position {
#if OPERATION_DQ
  work_tile at;
#else
  key_tile at;
  int end_head;
#endif
  score_place place; // of the head
  walk_state walk;
};

/* To the first tile of the head, which has some. */
ATTUNE_DEVICE void begin_walk(position &p, const attune_arguments &problem) {
  p.place = place_of(problem, p.at.batch, p.at.head, p.at.seqlen_q, p.at.seqlen_k);
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
  p.walk = first_of_walk(problem, p.at);
#else
  take_tile(p.walk, p.at, p.at.last_tile - p.at.tiles + 1);
#endif
}

/* To the next tile; false: there is none. */
ATTUNE_DEVICE bool advance(position &p, const attune_arguments &problem) {
  if (p.walk.more) {
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
    step_walk(p.walk, problem, p.at);
#else
    take_tile(p.walk, p.at, p.walk.tile + 1);
#endif
    return true;
  }
#if OPERATION_DQ
  return false;
#else
  if (p.at.head + 1 >= p.end_head) return false;
  p.at.head++;
  begin_walk(p, problem);
  return true;
#endif
}

#if !OPERATION_DQ
ATTUNE_DEVICE bool is_last(const position &p) {
  return !p.walk.more && p.at.head + 1 >= p.end_head;
}

/* At the index-th tile of keys, before a walk begins; false: it has no keys. Heads are worked on in sections whose
 * queries L2 holds, and of a section all first tiles first: of a causal mask these are the longest. */
constexpr int section_bytes = 32 << 20;
constexpr int query_bytes = 2 * (head_dim + head_dim_v) + 4 * head_dim; // Q, dO, and sums of dQ

ATTUNE_DEVICE bool find_position(position &p, const attune_backward_arguments &a, int index) {
  const attune_arguments &problem = a.problem;
  const int heads_kv = problem.heads_q / problem.group, heads = heads_kv * problem.batch, tiles_n = a.gradients.tiles_n;
  const int fitting = section_bytes / query_bytes / problem.group / problem.seqlen_q;
  const int section = minimum(maximum(fitting, 1), heads); // so that section * tiles_n is at most the grid
  const int before = index / (section * tiles_n) * section, inside = index - before * tiles_n;
  const int across = minimum(section, heads - before), place = before + inside % across;
  p = position();
  p.at.batch = place / heads_kv;
  p.at.head = place % heads_kv * problem.group;
  p.end_head = p.at.head + problem.group;
  if (!find_rows(p.at, problem, inside / across)) return false;
  p.place = place_of(problem, p.at.batch, p.at.head, p.at.seqlen_q, p.at.seqlen_k);
  return true;
}
#endif
