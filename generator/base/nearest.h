/* Private: which word was meant. */
#ifndef ATTUNE_NEAREST_H
#define ATTUNE_NEAREST_H

#include <stddef.h>

/* Writes " (did you mean A, B or C?)", of the words that are nearest to the given one: the same but for case, '-' and
 * '_', else those that begin with it, else those that two edits make of it. Writes "" where there is none. words is
 * NULL-terminated; prefix, such as "--", stands before each. Returns out. */
const char *attune_did_you_mean(char out[160], const char *word, const char *const *words, const char *prefix);

#endif
