/* Which keys a query sees, and what becomes of its scores: the one place where masks live. A family asks which tiles of
 * keys its rows see and goes through them from the last to the first; within one it changes the scores, hides those
 * that a tile keeps from a row, and at the end asks for a row's result.
 *
 * Bounds (causal, window) make the tiles one piece of the keys; those in the middle of it are whole, which costs
 * nothing. A pattern, an expression, leaves out tiles inside of it: the expression is evaluated on ranges, a tile at a
 * time, and tells tiles that are hidden, whole, and neither (templates/arithmetic.h). */
#pragma once
#include "arguments.h"
#include "parameters.h"
#include "primitives.h"
#if PATTERN || SCORE_EXPRESSION
#include "expressions.h"
#endif

ATTUNE_DEVICE int divide(int n, const attune_divisor &by) {
  return (int)((unsigned long long)n * by.multiplier >> by.shift);
}

/* Row r of a tile is query r / heads_packed of the tile's head plus r % heads_packed. */
[[maybe_unused]] constexpr int tile_queries = tile_m / heads_packed;
[[maybe_unused]] constexpr int rows_apart = 8 / heads_packed; // in queries: a thread's two rows

/* A tile of query rows of one head, or of heads_packed heads from that one on, and the tiles of keys that its bounds
 * leave. */
struct row_tile {
  int head, batch;
  int seqlen_q, seqlen_k;
  int row_begin, shift;     // row i is level with key i + shift
  int last_tile, tiles;     // from last_tile down
  int full_begin, full_end; // those that bounds and the end of the keys leave whole for all rows
#if SPLITS > 1
  int split; // of the tiles, this part
#endif
#if SCORE_EXPRESSION
  item_constants constants;
#endif
};

/* What the rows first to last see by the bounds: keys from begin to end - 1. */
struct visible_keys {
  int begin, end;
};

ATTUNE_DEVICE visible_keys keys_of_rows(const attune_arguments &problem, int first, int last, int shift, int seqlen_k) {
  visible_keys keys = {0, seqlen_k};
#if BOUND_CAUSAL || BOUND_WINDOW
  keys.end = minimum(keys.end, last + shift + problem.window_right + 1);
#endif
#if BOUND_WINDOW
  keys.begin = maximum(0, first + shift - problem.window_left);
#endif
  return keys;
}

ATTUNE_DEVICE int shift_of(const attune_arguments &problem, int seqlen_q, int seqlen_k) {
#if BOUND_CAUSAL || BOUND_WINDOW
  return problem.align_end ? seqlen_k - seqlen_q : 0;
#else
  return 0;
#endif
}

#if SPLITS > 1
/* Leaves the split's share of the tiles: the first split has the last tiles. */
ATTUNE_DEVICE void take_split(row_tile &at) {
  const int each = (at.tiles + splits - 1) / splits, before = minimum(at.split * each, at.tiles);
  at.tiles = minimum(each, at.tiles - before);
  at.last_tile -= before;
}

/* Where a split leaves its part of a row: the number of the row of all splits. place: batch * heads_q + head. */
ATTUNE_DEVICE long long partial_row(const attune_arguments &problem, int split, int place, int query) {
  return ((long long)split * problem.batch * problem.heads_q + place) * problem.seqlen_q + query;
}
#endif

/* Fills in what follows from head, batch and split; false: the tile has no rows. */
ATTUNE_DEVICE bool find_keys(row_tile &at, const attune_arguments &problem, int tile) {
  at.seqlen_q = problem.seqlens_q ? load_global_int(problem.seqlens_q + at.batch) : problem.seqlen_q;
  at.seqlen_k = problem.seqlens_k ? load_global_int(problem.seqlens_k + at.batch) : problem.seqlen_k;
  at.row_begin = tile * tile_queries;
  if (at.row_begin >= at.seqlen_q) return false;
  at.shift = shift_of(problem, at.seqlen_q, at.seqlen_k);
  at.full_begin = 0;
  at.full_end = at.seqlen_k / tile_n;
  const int row_last = minimum(at.row_begin + tile_queries, at.seqlen_q) - 1;
#if BOUND_CAUSAL || BOUND_WINDOW
  at.full_end = minimum(at.full_end, maximum(at.row_begin + at.shift + problem.window_right + 1, 0) / tile_n);
#endif
#if BOUND_WINDOW
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

#if PATTERN
/* What the pattern says of the keys first_key to last_key and the rows first_row to last_row. */
ATTUNE_DEVICE verdict pattern_of(const attune_arguments &problem, int batch, int head, int first_row, int last_row,
                                 int first_key, int last_key, int seqlen_q, int seqlen_k) {
  return is_seen<range, unknown>(problem, range(batch), range(head), range(first_row, last_row),
                                 range(first_key, last_key), range(seqlen_q), range(seqlen_k));
}
#endif

#if LIST_BLOCK
ATTUNE_DEVICE int block_rows(const attune_arguments &problem) {
  return (problem.seqlen_q + list_block - 1) / list_block;
}
ATTUNE_DEVICE int block_columns(const attune_arguments &problem) {
  return (problem.seqlen_k + list_block - 1) / list_block;
}

/* A row of blocks: `count` of them from `first` on. */
struct listed_row {
  int first, count;
};

/* Never more than the lists hold, nor than the keys have, whatever they say. */
ATTUNE_DEVICE listed_row row_of_lists(const attune_arguments &problem, const row_tile &at) {
  const int list =
      (problem.list_batch > 1 ? at.batch : 0) * problem.list_heads + (problem.list_heads > 1 ? at.head : 0);
  const int *row = problem.list_rows + (long long)list * block_rows(problem) + at.row_begin / list_block;
  const int first = maximum(load_constant_int(row), 0);
  const int end = minimum(load_constant_int(row + 1), problem.list_capacity);
  listed_row found = {first, end > first ? minimum(end - first, block_columns(problem)) : 0};
  return found;
}

struct listed_block {
  int column; // -1: none
  bool whole;
};

ATTUNE_DEVICE listed_block block_of_list(const attune_arguments &problem, const listed_row &row, int i) {
  const int block = load_constant_int(problem.list_blocks + row.first + i), column = block >> 1;
  const bool exists = column >= 0 && column < block_columns(problem);
  listed_block found = {exists ? column : -1, (block & 1) != 0};
  return found;
}

/* The index-th item where the lists bring an order of their own. Lists that are for several heads or batches are gone
 * through once for each, so that the keys of one stay in L2. false: the order names a row that there is not. */
ATTUNE_DEVICE bool find_ordered(int &place, int &tile, const attune_arguments &problem, int index) {
  constexpr int parts = list_block / tile_m;
  const int rows = block_rows(problem), all = rows * problem.list_batch * problem.list_heads;
  const int copy = index / (all * parts);
  const int row = load_constant_int(problem.list_order + index % (all * parts) / parts);
  if (row < 0 || row >= all) return false;
  const int list = row / rows, heads = problem.list_heads > 1 ? 1 : problem.heads_q;
  const int head = problem.list_heads > 1 ? list % problem.list_heads : copy % heads;
  const int batch = problem.list_batch > 1 ? list / problem.list_heads : copy / heads;
  place = batch * problem.heads_q + head;
  tile = row % rows * parts + index % parts;
  return true;
}
#endif

#if PATTERN || LIST_BLOCK
/* The walk over the tiles that are left: those of the listed blocks, or those that the pattern does not hide. A warp
 * looks at 32 at a time, each lane at one, so that a tile left out costs next to nothing. All lanes take part. */
struct tile_walk {
  int tile;            // where the walk is
  bool whole, more;    // nothing is hidden in it; others follow
  int window;          // what is below was not looked at yet: tiles; with lists, places in the row
  unsigned kept, full; // of the 32 from there on: still to come, whole
#if LIST_BLOCK
  listed_row row;
  int looked_at; // this lane's tile
#endif
};

#if LIST_BLOCK
constexpr int tiles_of_block = list_block / tile_n;
#endif

ATTUNE_DEVICE bool has_unseen(const tile_walk &walk, const row_tile &at) {
#if LIST_BLOCK
  return walk.window > 0;
#else
  return walk.window > at.last_tile - at.tiles + 1;
#endif
}

ATTUNE_DEVICE bool is_within(const row_tile &at, int tile) {
  return tile > at.last_tile - at.tiles && tile <= at.last_tile;
}

/* At the next 32. */
ATTUNE_DEVICE void look(tile_walk &walk, const attune_arguments &problem, const row_tile &at) {
  walk.window -= 32;
  int tile = walk.window + thread_index() % 32;
  bool seen = false, whole = false;
#if LIST_BLOCK
  if (tile >= 0) {
    const listed_block block = block_of_list(problem, walk.row, tile / tiles_of_block);
    tile = block.column * tiles_of_block + tile % tiles_of_block;
    seen = block.column >= 0 && is_within(at, tile);
    whole = block.whole;
  }
  walk.looked_at = tile;
#else
  if (is_within(at, tile)) {
    const verdict found =
        pattern_of(problem, at.batch, at.head, at.row_begin, minimum(at.row_begin + tile_m, at.seqlen_q) - 1,
                   tile * tile_n, minimum(tile * tile_n + tile_n, at.seqlen_k) - 1, at.seqlen_q, at.seqlen_k);
    seen = found.maybe;
    whole = found.always;
  }
#endif
  walk.kept = lanes_where(seen);
  walk.full = lanes_where(whole && tile >= at.full_begin && tile < at.full_end);
}

/* To the highest of the 32. */
ATTUNE_DEVICE void take_tile(tile_walk &walk) {
  const int bit = highest_bit(walk.kept);
#if LIST_BLOCK
  walk.tile = shuffle(walk.looked_at, bit);
#else
  walk.tile = walk.window + bit;
#endif
  walk.whole = walk.full >> bit & 1;
  walk.kept ^= 1u << bit;
}

/* Before the first one. Where none is left, the walk is of one tile past the end of the keys, in which all is hidden.
 */
ATTUNE_DEVICE tile_walk start_walk(const attune_arguments &problem, const row_tile &at) {
  tile_walk walk = {};
  walk.tile = (problem.seqlen_k + tile_n - 1) / tile_n;
#if LIST_BLOCK
  walk.row = row_of_lists(problem, at);
  walk.window = walk.row.count * tiles_of_block;
#else
  walk.window = (at.last_tile / 32 + 1) * 32;
#endif
  return walk;
}

ATTUNE_DEVICE void next_tile(tile_walk &walk, const attune_arguments &problem, const row_tile &at) {
  if (walk.kept != 0) take_tile(walk);
  while (walk.kept == 0 && has_unseen(walk, at))
    look(walk, problem, at);
  walk.more = walk.kept != 0;
}

ATTUNE_DEVICE tile_walk first_tile(const attune_arguments &problem, const row_tile &at) {
  tile_walk walk = start_walk(problem, at);
  next_tile(walk, problem, at); // looks ahead
  if (walk.more) next_tile(walk, problem, at);
  return walk;
}
#endif

/* ---- scores: those of a thread for two rows, in the layout of the matrix units' accumulators ---- */

/* Row (half ? 8 : 0), column 8 n + 2 (lane % 4) + e of a fragment of 16 rows. */
template <int count> ATTUNE_DEVICE float &score_at(float (&s)[count], int n, int half, int e) {
  return s[4 * n + 2 * half + e];
}
template <int count> ATTUNE_DEVICE float &score_at(float (&s)[count][4], int n, int half, int e) {
  return s[n][2 * half + e];
}

/* Columns of a fragment, in eights. */
template <int count> ATTUNE_DEVICE constexpr int eights(const float (&)[count]) {
  return count / 4;
}
template <int count> ATTUNE_DEVICE constexpr int eights(const float (&)[count][4]) {
  return count;
}

/* The bias of a tile, two neighbouring keys in a word, for both rows of the thread. It is fetched before the scores are
 * waited for. */
struct tile_bias {
#if SCORE_EXPRESSION
  unsigned pair[2][uses_bias ? tile_n / 8 : 1];
#endif
};

#if SCORE_EXPRESSION
ATTUNE_DEVICE unsigned bias_pair(const char *row, int key, int seqlen_k) {
  unsigned word = 0;
  if (key < seqlen_k) word = load_constant_16(row + 2 * key);
  if (key + 1 < seqlen_k) word |= load_constant_16(row + 2 * key + 2) << 16;
  return word;
}
#endif

ATTUNE_DEVICE void fetch_bias(tile_bias &bias, const attune_arguments &problem, const row_tile &at, int row, int key) {
#if SCORE_EXPRESSION
  if (!uses_bias) return;
  const int first = key + 2 * (thread_index() % 4);
  const bool paired = ((unsigned long long)problem.bias / 2 + problem.bias_batch + problem.bias_heads) % 2 == 0 &&
                      problem.bias_seqlen % 2 == 0;
  const char *rows[2];
#pragma unroll
  for (int half = 0; half < 2; half++)
    rows[half] = bias_of_row(problem, at.batch, at.head, minimum(row + half * 8, problem.seqlen_q - 1));
  if (paired && key + tile_n <= problem.seqlen_k) {
#pragma unroll
    for (int n = 0; n < tile_n / 8; n++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        bias.pair[half][n] = (unsigned)load_global_int((const int *)(rows[half] + 2 * (first + n * 8)));
  } else {
#pragma unroll
    for (int n = 0; n < tile_n / 8; n++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        bias.pair[half][n] = bias_pair(rows[half], first + n * 8, problem.seqlen_k);
  }
#endif
}

/* From q.k to what log2_scale makes an exponent. row: the thread's first, key: the tile's first. */
template <class fragment>
ATTUNE_DEVICE void change_scores(fragment &s, const attune_arguments &problem, const row_tile &at, int row, int key,
                                 const tile_bias &bias) {
#if SCORE_EXPRESSION
  const int column = 2 * (thread_index() % 4);
#pragma unroll
  for (int half = 0; half < 2; half++)
#pragma unroll
    for (int n = 0; n < eights(s); n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        float &score = score_at(s, n, half, e), added = 0.0f;
        if (uses_bias) added = e == 0 ? unpack_low(bias.pair[half][n]) : unpack_high(bias.pair[half][n]);
        score = changed_score(problem, at.constants, score * problem.cap_scale, added, at.batch, at.head,
                              row + half * 8, integer(key + column, n * 8 + e), at.seqlen_q, at.seqlen_k);
      }
#endif
#if SCORE_SOFTCAP
  const float twice = 2.8853900817779268f * problem.cap_scale; // tanh(x) = 1 - 2 / (1 + 2^(2 x log2(e)))
#endif
#if SCORE_NEGATED || SCORE_SOFTCAP
#pragma unroll
  for (int n = 0; n < eights(s); n++)
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        float &score = score_at(s, n, half, e);
#if SCORE_NEGATED
        score = -score;
#endif
#if SCORE_SOFTCAP
        score = 1.0f - 2.0f * reciprocal(1.0f + exp2_approximate(twice * score));
#endif
      }
#endif
}

/* hidden(half, column): of the thread's two rows, and of the tile's columns from the thread's first one on. */
template <class fragment, class predicate> ATTUNE_DEVICE void hide_where(fragment &s, const predicate &hidden) {
#pragma unroll
  for (int half = 0; half < 2; half++)
#pragma unroll
    for (int n = 0; n < eights(s); n++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        if (hidden(half, n * 8 + e)) score_at(s, n, half, e) = -infinity();
}

/* Makes -inf of what is hidden; row: the thread's first query. A tile asks for those sides alone that reach into it. */
template <class fragment>
ATTUNE_DEVICE void hide_scores(fragment &s, const attune_arguments &problem, const row_tile &at, int row, int key) {
  const int column = key + 2 * (thread_index() % 4);
  int first[2], last[2]; // columns that are seen
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const visible_keys keys =
        keys_of_rows(problem, row + half * rows_apart, row + half * rows_apart, at.shift, at.seqlen_k);
    first[half] = keys.begin - column;
    last[half] = keys.end - 1 - column;
  }
#if BOUND_WINDOW || PATTERN || LIST_BLOCK
  if (key >= at.full_end * tile_n)
#endif
    hide_where(s, [&](int half, int c) { return c > last[half]; });
#if BOUND_WINDOW
  if (key < at.full_begin * tile_n) hide_where(s, [&](int half, int c) { return c < first[half]; });
#endif
#if PATTERN
  hide_where(s, [&](int half, int c) {
    return !is_seen<integer, float>(problem, at.batch, at.head, row + half * 8, integer(column, c), at.seqlen_q,
                                    at.seqlen_k);
  });
#endif
}

/* ---- a row's end ---- */

struct row_result {
  float factor; // what O is to be multiplied with
  float lse;    // natural; of a split to base 2
};

/* highest: the largest exponent of 2 that was seen, -inf if no key was; sum: of 2^(exponent - highest). A sink belongs
 * to the row, so that it is added where splits are combined. */
ATTUNE_DEVICE row_result result_of(const attune_arguments &problem, int head, float highest, float sum) {
  float factor = 1.0f;
#if SINKS && SPLITS == 1
  // One more key, without a value.
  const float sink = 1.4426950408889634f * load_constant_float(problem.sinks + head);
  const float top = maximum(highest, sink);
  factor = sum == 0.0f ? 0.0f : exp2_approximate(highest - top);
  sum = sum * factor + (sink == -infinity() ? 0.0f : exp2_approximate(sink - top));
  highest = top;
#endif
  row_result result;
  result.factor = sum == 0.0f ? 0.0f : factor * reciprocal(sum); // no visible key: O = 0, LSE = -inf
#if SPLITS > 1
  result.lse = sum == 0.0f ? -infinity() : highest + log2_approximate(sum);
#elif LSE
  result.lse = sum == 0.0f ? -infinity() : 0.6931471805599453f * (highest + log2_approximate(sum));
#endif
  return result;
}
