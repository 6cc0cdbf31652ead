/* Which word was meant: by edits, and by what people leave out. */
#include "generator/base/nearest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 40, FARTHEST = 2, SHORTEST_START = 3, MOST_SHOWN = 4 };

/* In small letters, without '-' and '_'; returns the length. */
static int plain(char out[LONGEST + 1], const char *word) {
  int length = 0;
  for (; *word != '\0' && length < LONGEST; word++)
    if (*word != '-' && *word != '_') out[length++] = (char)tolower((unsigned char)*word);
  out[length] = '\0';
  return length;
}

/* Letters to insert, delete, replace or exchange with the next one to make one word of the other. */
static int edits(const char *a, int a_length, const char *b, int b_length) {
  int rows[3][LONGEST + 1] = {{0}};
  int *before = rows[0], *above = rows[1], *row = rows[2];
  for (int j = 0; j <= b_length; j++)
    row[j] = j;
  for (int i = 1; i <= a_length; i++) {
    int *const oldest = before;
    before = above, above = row, row = oldest;
    row[0] = i;
    for (int j = 1; j <= b_length; j++) {
      row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
      if (above[j] + 1 < row[j]) row[j] = above[j] + 1;
      if (row[j - 1] + 1 < row[j]) row[j] = row[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < row[j])
        row[j] = before[j - 2] + 1;
    }
  }
  return row[b_length];
}

/* Beyond FARTHEST: another word. */
static int distance(const char *word, const char *candidate) {
  char a[LONGEST + 1], b[LONGEST + 1];
  const int a_length = plain(a, word), b_length = plain(b, candidate);
  if (a_length == b_length && memcmp(a, b, (size_t)a_length) == 0) return -1;
  if (a_length >= SHORTEST_START && a_length < b_length && memcmp(a, b, (size_t)a_length) == 0) return 0;
  const int found = edits(a, a_length, b, b_length);
  return 3 * found <= a_length ? found : FARTHEST + 1; /* of a short word little would be left */
}

const char *attune_did_you_mean(char out[160], const char *word, const char *const *words, const char *prefix) {
  int nearest = FARTHEST, count = 0, shown = 0;
  out[0] = '\0';
  for (int i = 0; words[i] != NULL; i++) {
    const int found = distance(word, words[i]);
    if (found < nearest) count = 0;
    if (found <= nearest) {
      nearest = found;
      count++;
    }
  }
  if (count > MOST_SHOWN) count = MOST_SHOWN;
  for (int i = 0; words[i] != NULL && shown < count; i++) {
    if (distance(word, words[i]) != nearest) continue;
    const size_t length = strlen(out);
    snprintf(out + length, 160 - length, "%s%s%s",
             shown == 0          ? " (did you mean "
             : shown + 1 < count ? ", "
                                 : " or ",
             prefix, words[i]);
    shown++;
  }
  if (count > 0 && strlen(out) < 158) strcat(out, "?)");
  return out;
}
