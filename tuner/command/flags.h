/* Private to tuner/: bits of attune_flags.seen, and the words of enums. */
#ifndef ATTUNE_FLAGS_H
#define ATTUNE_FLAGS_H

#include "tuner/tuner.h"

enum {
  ATTUNE_SEEN_DTYPE = 1u << 0,
  ATTUNE_SEEN_HEAD_DIM = 1u << 1,
  ATTUNE_SEEN_HEAD_DIM_V = 1u << 2,
  ATTUNE_SEEN_BATCH = 1u << 3,
  ATTUNE_SEEN_HEADS_Q = 1u << 4,
  ATTUNE_SEEN_HEADS_KV = 1u << 5,
  ATTUNE_SEEN_SEQLEN_Q = 1u << 6,
  ATTUNE_SEEN_SEQLEN_K = 1u << 7,
  ATTUNE_SEEN_MASK = 1u << 8,
  ATTUNE_SEEN_WINDOW = 1u << 9,
  ATTUNE_SEEN_SCALE = 1u << 10,
  ATTUNE_SEEN_SOFTCAP = 1u << 11,
  ATTUNE_SEEN_LSE = 1u << 12,
  ATTUNE_SEEN_PROBLEM = 1u << 20 /* after those of expressions, bias, sinks and lists */
};

/* NULL-terminated, in the order of attune_dtype and attune_mask. */
extern const char *const attune_dtype_words[];
extern const char *const attune_mask_words[];
/* Index of the word, or -1. */
int attune_word_index(const char *const *words, const char *word);

#endif
