/* A tile of queries and the tiles of keys that its bounds leave it; a tile of keys and the tiles of queries that theirs
 * leave it. */
#pragma once
#include "bounds.h"
#if SCORE_EXPRESSION
#include "expressions.h"
#endif

/* Row r of a tile is query r / pack_gqa of the tile's head plus r % pack_gqa. */
constexpr int tile_queries = tile_m / pack_gqa;
constexpr int rows_apart = 8 / pack_gqa; // in queries: a thread's two rows

/* tile_m rows of one head, or of pack_gqa heads from that one on. A tile of keys is full if every row sees all of
 * it. */
struct query_tile {
  int head, batch;
  int seqlen_q, seqlen_k;
  int row_begin, shift;     // row i is level with key i + shift
  int last_tile, tiles;     // of keys, from last_tile down
  int full_begin, full_end; // those that bounds and the end of the keys leave full
#if SPLITS > 1
  int split; // of the tiles, this part
#endif
#if SCORE_EXPRESSION
  item_constants constants;
#endif
};

#if SPLITS > 1
/* Leaves the split's share of the tiles: the first split has the last tiles. */
ATTUNE_DEVICE void take_split(query_tile &at) {
  const int each = (at.tiles + splits - 1) / splits, before = minimum(at.split * each, at.tiles);
  at.tiles = minimum(each, at.tiles - before);
  at.last_tile -= before;
}
#endif

/* Fills in what follows from head, batch and split; false: the tile has no rows. */
ATTUNE_DEVICE bool find_keys(query_tile &at, const attune_arguments &problem, int tile) {
  at.seqlen_q = problem.seqlens_q ? load_length(problem.seqlens_q + at.batch, problem.seqlen_q) : problem.seqlen_q;
  at.seqlen_k = problem.seqlens_k ? load_length(problem.seqlens_k + at.batch, problem.seqlen_k) : problem.seqlen_k;
  at.row_begin = tile * tile_queries;
  if (at.row_begin >= at.seqlen_q) return false;
  at.shift = shift_of(problem, at.seqlen_q, at.seqlen_k);
  at.full_begin = 0;
  at.full_end = at.seqlen_k / tile_n;
  const int row_last = minimum(at.row_begin + tile_queries, at.seqlen_q) - 1;
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
  at.full_end = minimum(at.full_end, maximum(at.row_begin + at.shift + problem.window_right + 1, 0) / tile_n);
#endif
#if MASK_BOUNDS_WINDOW
  at.full_begin = (maximum(0, row_last + at.shift - problem.window_left) + tile_n - 1) / tile_n;
#endif
  const visible_keys keys = keys_of_rows(problem, at.row_begin, row_last, at.shift, at.seqlen_k);
  const int first_tile = keys.begin / tile_n;
  at.tiles = keys.end > keys.begin ? (keys.end + tile_n - 1) / tile_n - first_tile : 0;
  at.last_tile = first_tile + at.tiles - 1;
#if SPLITS > 1
  take_split(at);
#endif
#if SCORE_EXPRESSION
  at.constants = constants_of(problem, at.batch, at.head, at.seqlen_q, at.seqlen_k);
#endif
  return true;
}

/* tile_n keys, as the rows of one head see them. A tile of queries is full if it has tile_queries of them and all see
 * every key of the tile that there is. */
struct key_tile {
  int head, batch;
  int seqlen_q, seqlen_k;
  int key_begin, shift;
  int last_tile, tiles;     // of queries, from last_tile down
  int full_begin, full_end; // those that bounds and the end of the queries leave full
};

/* Fills in what follows from head and batch; false: the tile has no keys. */
ATTUNE_DEVICE bool find_rows(key_tile &at, const attune_arguments &problem, int tile) {
  at.seqlen_q = problem.seqlens_q ? load_length(problem.seqlens_q + at.batch, problem.seqlen_q) : problem.seqlen_q;
  at.seqlen_k = problem.seqlens_k ? load_length(problem.seqlens_k + at.batch, problem.seqlen_k) : problem.seqlen_k;
  at.key_begin = tile * tile_n;
  if (at.key_begin >= at.seqlen_k) return false;
  at.shift = shift_of(problem, at.seqlen_q, at.seqlen_k);
  at.full_begin = 0;
  at.full_end = at.seqlen_q / tile_queries;
  const int key_last = minimum(at.key_begin + tile_n, at.seqlen_k) - 1;
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
  at.full_begin = (maximum(0, key_last - at.shift - problem.window_right) + tile_queries - 1) / tile_queries;
#endif
#if MASK_BOUNDS_WINDOW
  at.full_end = minimum(at.full_end, maximum(at.key_begin - at.shift + problem.window_left + 1, 0) / tile_queries);
#endif
  const visible_rows rows = rows_of_keys(problem, at.key_begin, key_last, at.shift, at.seqlen_q);
  const int first_tile = rows.begin / tile_queries;
  at.tiles = rows.end > rows.begin ? (rows.end + tile_queries - 1) / tile_queries - first_tile : 0;
  at.last_tile = first_tile + at.tiles - 1;
  return true;
}
