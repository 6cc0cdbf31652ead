/* For tests of expressions: params with values, and parsing that checks what it parsed. Included after cmocka. */
#ifndef ATTUNE_TESTS_EXPRESSION_CASE_H
#define ATTUNE_TESTS_EXPRESSION_CASE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/expression/expression.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define MASK ATTUNE_EXPRESSION_MASK
#define SCORE ATTUNE_EXPRESSION_SCORE

/* ---- params and their values ---- */

static const attune_param params[] = {
    {"window", ATTUNE_PARAM_INT, 0},
    {"cap", ATTUNE_PARAM_FLOAT, 0},
    {"doc", ATTUNE_PARAM_INT_ARRAY, 0},
    {"prefix", ATTUNE_PARAM_INT_ARRAY, 0},
    {"slope", ATTUNE_PARAM_FLOAT_ARRAY, 0},
    {"relative", ATTUNE_PARAM_FLOAT_ARRAY, 0},
    {"name_of_23_characters__", ATTUNE_PARAM_INT, 0},
};

enum { PARAMS = sizeof params / sizeof *params, WINDOW = 96, DOCUMENTED = 300, REACH = 16 };
static const float cap = 2.5f;
static int32_t doc[DOCUMENTED]; /* shorter than the grid: the keys beyond are in document 0 */
static const int32_t prefix[] = {70, 200};
static const float slope[] = {0.5f, 0.25f, 0.125f, 0.0625f};
static float relative[2 * REACH + 1];

static const attune_value values[ATTUNE_PARAMS_MAX] = {
    {.integer = WINDOW},
    {.real = 2.5f},
    {.array = doc, .count = COUNT(doc)},
    {.array = prefix, .count = COUNT(prefix)},
    {.array = slope, .count = COUNT(slope)},
    {.array = relative, .count = COUNT(relative)},
    {.integer = 23},
};

static inline int fill_arrays(void **unused) {
  (void)unused;
  for (int i = 0; i < DOCUMENTED; i++)
    doc[i] = i / 50 - 1;
  for (int i = 0; i <= 2 * REACH; i++)
    relative[i] = 0.01f * (float)(i * i) - 1.0f;
  return 0;
}

/* ---- what the tests share ---- */

static inline void print(char out[4096], const attune_expression *expression) {
  attune_buffer buffer = {0};
  attune_expression_print(&buffer, expression);
  assert_false(buffer.failed);
  assert_true(buffer.length < 4096);
  strcpy(out, buffer.text);
  attune_buffer_free(&buffer);
}

/* Parses it; whatever parses prints as a text that parses to the same. */
static inline attune_expression *parse(attune_expression_kind kind, const char *text) {
  attune_expression *expression, *reparsed;
  char printed[4096], again[4096];
  if (attune_expression_parse(&expression, kind, text, params, PARAMS, true) != ATTUNE_OK)
    fail_msg("%s", attune_message());
  print(printed, expression);
  if (attune_expression_parse(&reparsed, kind, printed, params, PARAMS, true) != ATTUNE_OK)
    fail_msg("%s", attune_message());
  print(again, reparsed);
  assert_string_equal(again, printed);
  free(reparsed);
  return expression;
}

#endif
