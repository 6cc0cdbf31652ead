#include "generator/base/text.h"

#include <string.h>

attune_text attune_text_of(const char *start) {
  return (attune_text){.start = start, .next = start, .open = true};
}

int attune_text_column(const attune_text *text) {
  return (int)(text->next - text->start) + 1;
}

bool attune_text_done(const attune_text *text) {
  return !text->open && *text->next == '\0';
}

/* The part ends at `end`, or is none. */
static bool take(attune_text *text, const char *end) {
  if (!text->open || (*end != '.' && *end != '\0')) return false;
  text->open = *end == '.';
  text->next = *end == '.' ? end + 1 : end;
  return true;
}

bool attune_text_word(attune_text *text, const char *word) {
  const size_t length = strlen(word);
  return length > 0 && strncmp(text->next, word, length) == 0 && take(text, text->next + length);
}

bool attune_text_one_of(attune_text *text, const char *prefix, const char *const *words, int32_t *index) {
  const size_t length = strlen(prefix);
  if (strncmp(text->next, prefix, length) != 0) return false;
  for (int32_t i = 0; words[i] != NULL; i++) {
    const char *end = text->next + length + strlen(words[i]);
    if (strncmp(text->next + length, words[i], strlen(words[i])) == 0 && take(text, end)) {
      *index = i;
      return true;
    }
  }
  return false;
}

static bool read_number(const char **at, int32_t *value) {
  const char *c = *at;
  if (*c < '0' || *c > '9' || (*c == '0' && c[1] >= '0' && c[1] <= '9')) return false;
  int64_t number = 0;
  for (; *c >= '0' && *c <= '9'; c++) {
    number = number * 10 + (*c - '0');
    if (number > INT32_MAX) return false;
  }
  *value = (int32_t)number;
  *at = c;
  return true;
}

static bool read_side(const char **at, int32_t *value) {
  if (strncmp(*at, "-1", 2) != 0) return read_number(at, value);
  *value = -1;
  *at += 2;
  return true;
}

bool attune_text_number(attune_text *text, const char *prefix, int32_t *value) {
  const size_t length = strlen(prefix);
  const char *at = text->next + length;
  int32_t number;
  if (strncmp(text->next, prefix, length) != 0 || !read_number(&at, &number) || !take(text, at)) return false;
  *value = number;
  return true;
}

bool attune_text_pair(attune_text *text, const char *prefix, int32_t *a, int32_t *b) {
  const size_t length = strlen(prefix);
  const char *at = text->next + length;
  int32_t first, second;
  if (strncmp(text->next, prefix, length) != 0 || !read_side(&at, &first) || *at++ != ',' || !read_side(&at, &second) ||
      !take(text, at)) {
    return false;
  }
  *a = first;
  *b = second;
  return true;
}

locale_t attune_text_use_plain_locale(void) {
  return uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0));
}
