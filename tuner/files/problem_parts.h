/* Private to tuner/: what flags, JSON and files of tensors have in common where they say a problem. */
#ifndef ATTUNE_PROBLEM_PARTS_H
#define ATTUNE_PROBLEM_PARTS_H

#include "generator/problem/field.h"
#include "tuner/tuner.h"

/* The bit of attune_flags.seen for --problem; the others are those of the rows of the table of fields. */
#define ATTUNE_SEEN_PROBLEM (UINT64_C(1) << 63)
/* Whether the flag of that field was given. */
bool attune_flags_seen(const attune_flags *flags, const attune_problem_field *field);
/* Index of the word, or -1. */
int attune_word_index(const char *const *words, const char *word);

#endif
