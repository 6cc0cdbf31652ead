/* Private: reads the dot-separated canonical texts of problems and configs. Every reader takes one part, or takes
 * nothing and returns false. Numbers have no sign, no leading zero and no superfluous character, so that a value has
 * one text. */
#ifndef ATTUNE_TEXT_H
#define ATTUNE_TEXT_H

#include <locale.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct attune_text {
  const char *start, *next; /* next: the first character of the next part, or the end */
  bool open;                /* a part must follow: at the start, and after a dot */
} attune_text;

attune_text attune_text_of(const char *start);
int attune_text_column(const attune_text *text); /* of the next part, from 1 */
bool attune_text_done(const attune_text *text);
bool attune_text_word(attune_text *text, const char *word);
/* The prefix and one of the words, which are NULL-terminated. */
bool attune_text_one_of(attune_text *text, const char *prefix, const char *const *words, int32_t *index);
bool attune_text_number(attune_text *text, const char *prefix, int32_t *value); /* "d128" */
bool attune_text_pair(attune_text *text, const char *prefix, int32_t *a,
                      int32_t *b); /* "w127,-1"; -1 is the only sign */

/* Floats have a point, also where the caller's locale has a comma. Returns the thread's locale, to go back to with
 * uselocale. */
locale_t attune_text_use_plain_locale(void);

#endif
