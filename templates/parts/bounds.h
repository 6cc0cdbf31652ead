/* Which keys the mask's bounds (causal, window) leave a query, and which queries they leave a key: query i sees the
 * keys from i + shift - window_left to i + shift + window_right. */
#pragma once
#include "../primitives/cuda.h"
#include "arguments.h"
#include "parameters.h"

/* Keys from begin to end - 1. */
struct visible_keys {
  int begin, end;
};

/* Queries from begin to end - 1. */
struct visible_rows {
  int begin, end;
};

/* Those that some row from first to last sees. */
ATTUNE_DEVICE visible_keys keys_of_rows(const attune_arguments &problem, int first, int last, int shift, int seqlen_k) {
  visible_keys keys = {0, seqlen_k};
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
  keys.end = minimum(keys.end, last + shift + problem.window_right + 1);
#endif
#if MASK_BOUNDS_WINDOW
  keys.begin = maximum(0, first + shift - problem.window_left);
#endif
  return keys;
}

/* Those that see some key from first to last. */
ATTUNE_DEVICE visible_rows rows_of_keys(const attune_arguments &problem, int first, int last, int shift, int seqlen_q) {
  visible_rows rows = {0, seqlen_q};
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
  rows.begin = maximum(0, first - shift - problem.window_right);
#endif
#if MASK_BOUNDS_WINDOW
  rows.end = minimum(rows.end, last - shift + problem.window_left + 1);
#endif
  return rows;
}

ATTUNE_DEVICE int shift_of(const attune_arguments &problem, int seqlen_q, int seqlen_k) {
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
  return problem.align_end ? seqlen_k - seqlen_q : 0;
#else
  return 0;
#endif
}
