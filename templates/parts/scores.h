/* What becomes of a tile's scores before the softmax: the score expression with its bias, softcap or a negative scale;
 * and the mask. */
#pragma once
#include "fragment.h"
#include "tiles.h"
#if HAS_MASK_EXPR
#include "expressions.h"
#endif

/* ---- score changes ---- */

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

ATTUNE_DEVICE void fetch_bias(tile_bias &bias, const attune_arguments &problem, const query_tile &at, int row,
                              int key) {
#if SCORE_EXPRESSION
  if (!uses_bias) return;
  const int first = key + 2 * (thread_index() % 4);
  // Of an address all terms are even, whichever the row.
  const bool paired =
      (((unsigned long long)problem.bias / 2) | problem.bias_batch | problem.bias_heads | problem.bias_seqlen) % 2 == 0;
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
ATTUNE_DEVICE void change_scores(fragment &s, const attune_arguments &problem, const query_tile &at, int row, int key,
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

/* ---- the mask ---- */

/* masked(half, column): of the thread's two rows, and of the tile's columns from the thread's first one on. */
template <class fragment, class predicate> ATTUNE_DEVICE void mask_where(fragment &s, const predicate &masked) {
#pragma unroll
  for (int half = 0; half < 2; half++)
#pragma unroll
    for (int n = 0; n < eights(s); n++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        if (masked(half, n * 8 + e)) score_at(s, n, half, e) = -infinity();
}

/* Makes -inf of what is masked; row: the thread's first query. A tile asks for those sides alone that reach into it. */
template <class fragment>
ATTUNE_DEVICE void mask_scores(fragment &s, const attune_arguments &problem, const query_tile &at, int row, int key) {
  const int column = key + 2 * (thread_index() % 4);
  int first[2], last[2]; // columns that are seen
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const visible_keys keys =
        keys_of_rows(problem, row + half * rows_apart, row + half * rows_apart, at.shift, at.seqlen_k);
    first[half] = keys.begin - column;
    last[half] = keys.end - 1 - column;
  }
#if MASK_BOUNDS_WINDOW || HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
  if (key >= at.full_end * tile_n)
#endif
    mask_where(s, [&](int half, int c) { return c > last[half]; });
#if MASK_BOUNDS_WINDOW
  if (key < at.full_begin * tile_n) mask_where(s, [&](int half, int c) { return c < first[half]; });
#endif
#if HAS_MASK_EXPR
  mask_where(s, [&](int half, int c) {
    return !is_seen<integer, float>(problem, at.batch, at.head, row + half * 8, integer(column, c), at.seqlen_q,
                                    at.seqlen_k);
  });
#endif
}
