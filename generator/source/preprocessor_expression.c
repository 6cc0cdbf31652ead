/* The expressions of #if, by recursive descent. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/source/preprocess.h"

typedef struct {
  const char *at;
  const attune_parameter *parameters;
  int count;
  const char *where;
  attune_status status;
  int depth;
} reader;

enum { DEPTH_MAX = 64 };

static int64_t any_of(reader *r);

static int64_t fault(reader *r, const char *what) {
  if (r->status == ATTUNE_OK) {
    r->status = attune_fail(ATTUNE_BAD_ARGUMENT, "%s: #if: %s at \"%.40s\"", r->where, what, r->at);
  }
  return 0;
}

static bool take(reader *r, const char *token) {
  while (*r->at == ' ' || *r->at == '\t')
    r->at++;
  const size_t length = strlen(token);
  if (strncmp(r->at, token, length) != 0) return false;
  r->at += length;
  return true;
}

static const attune_parameter *find(const reader *r, const char *name, size_t length) {
  for (int i = 0; i < r->count; i++) {
    if (strlen(r->parameters[i].name) == length && strncmp(r->parameters[i].name, name, length) == 0) {
      return &r->parameters[i];
    }
  }
  return NULL;
}

static size_t name_length(const char *at) {
  size_t length = 0;
  if (!isalpha((unsigned char)at[0]) && at[0] != '_') return 0;
  while (isalnum((unsigned char)at[length]) || at[length] == '_')
    length++;
  return length;
}

static int64_t defined(reader *r) {
  const bool parenthesis = take(r, "(");
  (void)take(r, "");
  const size_t length = name_length(r->at);
  if (length == 0) return fault(r, "a name must follow defined");
  const bool known = find(r, r->at, length) != NULL;
  r->at += length;
  if (parenthesis && !take(r, ")")) return fault(r, "a parenthesis is not closed");
  return known;
}

static int64_t operand(reader *r) {
  if (r->status != ATTUNE_OK) return 0;
  if (++r->depth > DEPTH_MAX) return fault(r, "too deeply nested");
  int64_t value = 0;
  if (take(r, "!")) {
    value = !operand(r);
  } else if (take(r, "-")) {
    value = -operand(r);
  } else if (take(r, "(")) {
    value = any_of(r);
    if (!take(r, ")")) fault(r, "a parenthesis is not closed");
  } else if (isdigit((unsigned char)*r->at)) {
    char *end;
    value = strtol(r->at, &end, 10);
    if (name_length(end) > 0) return fault(r, "not a number");
    r->at = end;
  } else {
    const size_t length = name_length(r->at);
    if (length == 0) return fault(r, "a number or a name is missing");
    const attune_parameter *parameter = find(r, r->at, length);
    const bool is_defined = length == 7 && strncmp(r->at, "defined", 7) == 0;
    if (parameter == NULL && !is_defined) return fault(r, "unknown name");
    r->at += length;
    value = is_defined ? defined(r) : parameter->value;
  }
  r->depth--;
  return value;
}

static int64_t product(reader *r) {
  int64_t value = operand(r);
  while (r->status == ATTUNE_OK && take(r, "*")) {
    if (__builtin_mul_overflow(value, operand(r), &value)) return fault(r, "overflow");
  }
  return value;
}

static int64_t sum(reader *r) {
  int64_t value = product(r);
  while (r->status == ATTUNE_OK) {
    if (take(r, "+")) {
      if (__builtin_add_overflow(value, product(r), &value)) return fault(r, "overflow");
    } else if (take(r, "-")) {
      if (__builtin_sub_overflow(value, product(r), &value)) return fault(r, "overflow");
    } else {
      break;
    }
  }
  return value;
}

static int64_t comparison(reader *r) {
  const int64_t value = sum(r);
  if (take(r, "==")) return value == sum(r);
  if (take(r, "!=")) return value != sum(r);
  if (take(r, "<=")) return value <= sum(r);
  if (take(r, ">=")) return value >= sum(r);
  if (take(r, "<")) return value < sum(r);
  if (take(r, ">")) return value > sum(r);
  return value;
}

/* Both sides are always read, so that an unknown name on either is a fault. */
static int64_t all_of(reader *r) {
  int64_t value = comparison(r);
  while (r->status == ATTUNE_OK && take(r, "&&")) {
    const int64_t right = comparison(r);
    value = value && right;
  }
  return value;
}

static int64_t any_of(reader *r) {
  int64_t value = all_of(r);
  while (r->status == ATTUNE_OK && take(r, "||")) {
    const int64_t right = all_of(r);
    value = value || right;
  }
  return value;
}

attune_status attune_preprocessor_expression(int64_t *out, const char *expression, const attune_parameter *parameters,
                                             int count, const char *where) {
  reader r = {.at = expression, .parameters = parameters, .count = count, .where = where, .status = ATTUNE_OK};
  const int64_t value = any_of(&r);
  (void)take(&r, "");
  if (r.status == ATTUNE_OK && *r.at != '\0') fault(&r, "not understood");
  if (r.status == ATTUNE_OK) *out = value;
  return r.status;
}
