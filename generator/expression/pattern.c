/* Named patterns as mask expressions. A pattern is a name with numbers, "window:1024,0"; patterns are joined by & and
 * |, of which & binds closer, and may stand in parentheses. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/buffer.h"
#include "generator/base/nearest.h"
#include "generator/base/status.h"
#include "generator/generator.h"

enum { NUMBERS_MAX = 5, NEST_MAX = 16, RANDOM_MAX = 8, LARGEST = 1 << 30 };

/* $1 ... $5 are the numbers. A number that is not given is its default, or that of another one: -1 is the first. */
typedef struct {
  const char *name, *arguments;
  int required, count;
  int32_t defaults[NUMBERS_MAX];
  const char *expression;
} pattern;

static const pattern patterns[] = {
    {"causal", "", 0, 0, {0}, "k <= q"},
    {"causal-bottom-right", "", 0, 0, {0}, "k - seqlen_k <= q - seqlen_q"},
    {"window", ":LEFT[,RIGHT]", 1, 2, {0, -1}, "q - k <= $1 && k - q <= $2"},
    {"prefix", ":KEYS", 1, 1, {0}, "k < $1 || k <= q"},
    {"global", ":TOKENS", 1, 1, {0}, "q < $1 || k < $1"},
    {"longformer", ":WINDOW,GLOBAL", 2, 2, {0}, "abs(q - k) <= $1 || q < $2 || k < $2"},
    {"chunked", ":TOKENS", 1, 1, {0}, "q / $1 == k / $1"},
    {"strided", ":STRIDE", 1, 1, {0}, "abs(q - k) < $1 || (q - k) % $1 == 0"},
    {"dilated", ":WINDOW,STEP", 2, 2, {0}, "abs(q - k) <= $1 * $2 && (q - k) % $2 == 0"},
    {"blocks", ":BLOCK,WINDOW", 2, 2, {0}, "abs(q / $1 - k / $1) <= $2"},
    {"butterfly",
     "[:BLOCK]",
     0,
     1,
     {128},
     "abs(q / $1 - k / $1) <= 1 || k / $1 == 0 || ((q / $1 ^ k / $1) & ((q / $1 ^ k / $1) - 1)) == 0"},
    {"bigbird",
     ":BLOCK[,WINDOW[,GLOBAL[,RANDOM[,SEED]]]]",
     1,
     5,
     {128, 1, 1, 3, 0},
     "abs(q / $1 - k / $1) <= $2 || q / $1 < $3 || k / $1 < $3"}, /* and random ones */
};
enum { PATTERN_COUNT = sizeof patterns / sizeof *patterns };

typedef struct {
  const char *start, *at;
  attune_buffer *out;
  int depth;
} reader;

static attune_status refuse(const reader *r, const char *what) {
  return attune_fail(ATTUNE_BAD_EXPRESSION, "pattern \"%.120s\", column %d: %s", r->start, (int)(r->at - r->start) + 1,
                     what);
}

static void skip_blanks(reader *r) {
  while (*r->at == ' ')
    r->at++;
}

static attune_status unknown(const reader *r) {
  const char *words[PATTERN_COUNT + 1] = {NULL};
  char name[40], nearest[160], names[768] = "no such pattern";
  snprintf(name, sizeof name, "%.*s", (int)strcspn(r->at, " :|&()"), r->at);
  for (int i = 0; i < PATTERN_COUNT; i++)
    words[i] = patterns[i].name;
  strcat(names, attune_did_you_mean(nearest, name, words, ""));
  for (int i = 0; i < PATTERN_COUNT; i++) {
    const size_t length = strlen(names);
    snprintf(names + length, sizeof names - length, "%s%s%s", i > 0 ? ", " : "; there are ", patterns[i].name,
             patterns[i].arguments);
  }
  return refuse(r, names);
}

static attune_status read_numbers(int32_t out[NUMBERS_MAX], reader *r, const pattern *p) {
  int count = 0;
  if (*r->at == ':') {
    do {
      char *end;
      r->at++;
      const long value = isdigit((unsigned char)*r->at) ? strtol(r->at, &end, 10) : -1;
      if (value < 0 || value > LARGEST) return refuse(r, "expected a number from 0 to 2^30");
      if (count == p->count) return refuse(r, "one number too many");
      r->at = end;
      out[count++] = (int32_t)value;
    } while (*r->at == ',');
  }
  if (count < p->required) {
    char what[96];
    snprintf(what, sizeof what, "%s needs its numbers: %s%s", p->name, p->name, p->arguments);
    return refuse(r, what);
  }
  for (; count < p->count; count++)
    out[count] = p->defaults[count] < 0 ? out[0] : p->defaults[count];
  return ATTUNE_OK;
}

static bool has_zero_divisor(const pattern *p, const int32_t *numbers) {
  for (const char *at = p->expression; (at = strpbrk(at, "/%")) != NULL; at++)
    if (at[2] == '$' && numbers[at[3] - '1'] == 0) return true; /* "/ $1" */
  return false;
}

static void write_expression(attune_buffer *out, const char *text, const int32_t *numbers) {
  for (; *text != '\0'; text++) {
    if (*text == '$')
      attune_buffer_print(out, "%d", numbers[*++text - '1']);
    else
      attune_buffer_add(out, text, 1);
  }
}

/* Each row of blocks sees so many blocks more, drawn from its number and the seed. No blanks, so that eight fit. */
static attune_status write_random(reader *r, const int32_t *numbers) {
  const int32_t block = numbers[0], count = numbers[3], seed = numbers[4];
  if (count > RANDOM_MAX) return refuse(r, "bigbird takes at most 8 random blocks a row");
  for (int32_t i = 0; i < count; i++)
    attune_buffer_print(r->out, "||k/%d==random(q/%d,%d,%d)%%((seqlen_k+%d)/%d)", block, block, i, seed, block - 1,
                        block);
  return ATTUNE_OK;
}

static attune_status read_any(reader *r);

static attune_status read_one(reader *r) {
  skip_blanks(r);
  if (*r->at == '(') {
    if (r->depth++ == NEST_MAX) return refuse(r, "nested too deeply");
    r->at++;
    const attune_status status = read_any(r);
    if (status != ATTUNE_OK) return status;
    if (*r->at != ')') return refuse(r, "expected ')'");
    r->at++;
    r->depth--;
    skip_blanks(r);
    return ATTUNE_OK;
  }
  size_t length = 0;
  while (isalnum((unsigned char)r->at[length]) || r->at[length] == '-')
    length++;
  for (int i = 0; i < PATTERN_COUNT; i++) {
    const pattern *p = &patterns[i];
    int32_t numbers[NUMBERS_MAX] = {0};
    if (strlen(p->name) != length || strncmp(r->at, p->name, length) != 0) continue;
    r->at += length;
    attune_status status = read_numbers(numbers, r, p);
    if (status != ATTUNE_OK) return status;
    if (has_zero_divisor(p, numbers)) return refuse(r, "a size of 0");
    if (strstr(p->expression, "$1 * $2") != NULL && (int64_t)numbers[0] * numbers[1] > LARGEST)
      return refuse(r, "a window of more than 2^30 keys");
    attune_buffer_add_text(r->out, "(");
    write_expression(r->out, p->expression, numbers);
    if (strcmp(p->name, "bigbird") == 0) status = write_random(r, numbers);
    attune_buffer_add_text(r->out, ")");
    skip_blanks(r);
    return status;
  }
  return unknown(r);
}

static attune_status read_all(reader *r) {
  attune_buffer_add_text(r->out, "(");
  attune_status status = read_one(r);
  while (status == ATTUNE_OK && *r->at == '&') {
    r->at++;
    attune_buffer_add_text(r->out, " && ");
    status = read_one(r);
  }
  attune_buffer_add_text(r->out, ")");
  return status;
}

static attune_status read_any(reader *r) {
  attune_buffer_add_text(r->out, "(");
  attune_status status = read_all(r);
  while (status == ATTUNE_OK && *r->at == '|') {
    r->at++;
    attune_buffer_add_text(r->out, " || ");
    status = read_all(r);
  }
  attune_buffer_add_text(r->out, ")");
  return status;
}

/* The expression without the parentheses that its tree does not need. */
static attune_status tidy(char out[ATTUNE_EXPRESSION_MAX], const attune_buffer *text) {
  if (text->failed) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a pattern");
  const char *at = text->text;
  size_t length = text->length;
  while (length >= 2 && at[0] == '(' && at[length - 1] == ')') {
    int depth = 0;
    size_t closes = 0;
    for (size_t i = 0; i < length; i++) {
      depth += (at[i] == '(') - (at[i] == ')');
      if (depth == 0) {
        closes = i;
        break;
      }
    }
    if (closes != length - 1) break;
    at++;
    length -= 2;
  }
  if (length >= ATTUNE_EXPRESSION_MAX)
    return attune_fail(ATTUNE_BAD_EXPRESSION, "the pattern makes an expression of %zu bytes; %d is the limit", length,
                       ATTUNE_EXPRESSION_MAX - 1);
  memcpy(out, at, length);
  out[length] = '\0';
  return ATTUNE_OK;
}

attune_status attune_pattern_expression(char out[ATTUNE_EXPRESSION_MAX], const char *text) {
  if (out == NULL || text == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "pattern: null pointer");
  attune_buffer buffer = {0};
  reader r = {.start = text, .at = text, .out = &buffer};
  attune_status status = read_any(&r);
  if (status == ATTUNE_OK && *r.at != '\0') status = refuse(&r, "expected |, & or the end");
  if (status == ATTUNE_OK) status = tidy(out, &buffer);
  attune_buffer_free(&buffer);
  return status;
}
