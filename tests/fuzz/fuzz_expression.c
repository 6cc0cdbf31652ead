/* libFuzzer: texts of mask and score expressions. Whatever parses prints as a text that parses and prints the same,
 * has a value, the same for both, and is emitted; a score has derivatives, of bounded size. Nothing else may happen but
 * a refusal with a message. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "generator/expression/expression.h"

static const attune_param params[] = {
    {"n", ATTUNE_PARAM_INT, 0},
    {"x", ATTUNE_PARAM_FLOAT, 0},
    {"doc", ATTUNE_PARAM_INT_ARRAY, 0},
    {"slope", ATTUNE_PARAM_FLOAT_ARRAY, 0},
};
enum { PARAMS = sizeof params / sizeof *params };
static const int32_t doc[] = {0, 0, 1, INT32_MIN, INT32_MAX};
static const float slope[] = {0.5f, -1e30f, INFINITY};
static const attune_value values[ATTUNE_PARAMS_MAX] = {
    {.integer = -3},
    {.real = 0.25f},
    {.array = doc, .count = sizeof doc / sizeof *doc},
    {.array = slope, .count = sizeof slope / sizeof *slope},
};
static const attune_scope scopes[] = {
    {.values = values},
    {.score = -1.5, .bias = 2, .batch = 1, .head = 2, .q = 3, .k = 4, .seqlen_q = 5, .seqlen_k = 6, .values = values},
    {.score = NAN, .bias = INFINITY, .head = 1, .q = INT32_MAX, .k = INT32_MIN, .seqlen_k = -1, .values = values},
};

static void check(int holds) {
  if (!holds) abort();
}

static void check_values(const attune_expression *a, const attune_expression *b, attune_expression_kind kind) {
  for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
    const double value = attune_expression_evaluate(a, &scopes[i]), again = attune_expression_evaluate(b, &scopes[i]);
    check(value == again || (isnan(value) && isnan(again)));
    check(kind == ATTUNE_EXPRESSION_SCORE || value == 0 || value == 1);
  }
}

static void check_derivatives(const attune_expression *score) {
  attune_derivatives *derivatives;
  const attune_status status = attune_expression_derivative(&derivatives, score);
  check(status == ATTUNE_OK || (status == ATTUNE_UNSUPPORTED && derivatives == NULL && attune_message()[0] != '\0'));
  if (status != ATTUNE_OK) return;
  attune_buffer emitted = {0};
  check(attune_expression_emit_derivatives(&emitted, derivatives, 4096) == ATTUNE_OK && !emitted.failed);
  check(emitted.length < 1 << 20);
  check(derivatives->count >= 1 && derivatives->of[0].by == ATTUNE_BY_SCORE);
  check_values(derivatives->score, score, ATTUNE_EXPRESSION_SCORE);
  for (int i = 0; i < derivatives->count; i++) {
    const attune_derivative *of = &derivatives->of[i];
    check((of->by == ATTUNE_BY_ELEMENT) == (of->index != NULL));
    for (size_t s = 0; s < sizeof scopes / sizeof *scopes; s++) {
      (void)attune_expression_evaluate(of->value, &scopes[s]);
      if (of->index != NULL) (void)attune_expression_evaluate(of->index, &scopes[s]);
    }
  }
  attune_buffer_free(&emitted);
  free(derivatives);
}

static void check_text(const char *text, attune_expression_kind kind) {
  attune_expression *expression, *reparsed = NULL;
  if (attune_expression_parse(&expression, kind, text, params, PARAMS, true) != ATTUNE_OK) {
    check(expression == NULL && attune_message()[0] != '\0');
    return;
  }
  attune_buffer printed = {0}, again = {0}, emitted = {0}, emitted_again = {0};
  attune_expression_print(&printed, expression);
  check(!printed.failed && attune_expression_parse(&reparsed, kind, printed.text, params, PARAMS, true) == ATTUNE_OK);
  attune_expression_print(&again, reparsed);
  check(!again.failed && strcmp(again.text, printed.text) == 0);
  attune_expression_emit(&emitted, expression, 4096);
  attune_expression_emit(&emitted_again, reparsed, 4096);
  check(!emitted.failed && !emitted_again.failed && strcmp(emitted.text, emitted_again.text) == 0);
  check_values(expression, reparsed, kind);
  if (kind == ATTUNE_EXPRESSION_SCORE) check_derivatives(expression);
  attune_buffer_free(&printed);
  attune_buffer_free(&again);
  attune_buffer_free(&emitted);
  attune_buffer_free(&emitted_again);
  free(expression);
  free(reparsed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  if (text == NULL) return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  check_text(text, ATTUNE_EXPRESSION_MASK);
  check_text(text, ATTUNE_EXPRESSION_SCORE);
  free(text);
  return 0;
}
