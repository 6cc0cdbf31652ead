/* Problems with expressions: their class and number, what is refused, and the source that a class alone gives. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/problem_case.h"

static const attune_param usual_params[] = {
    {"n", ATTUNE_PARAM_INT, 0}, {"m", ATTUNE_PARAM_INT, 0}, {"slope", ATTUNE_PARAM_FLOAT_ARRAY, 0}};

static attune_problem expressive(const char *mask, const char *score) {
  attune_problem p = usual();
  p.mask_expr = mask;
  p.score_expr = score;
  p.params = usual_params;
  p.param_count = 3;
  return p;
}

static int32_t number_of(attune_problem p) {
  if (attune_problem_check(&p) != ATTUNE_OK) fail_msg("%s", attune_message());
  return attune_problem_expression_hash(&p);
}

static void test_class_of_expressions(void **unused) {
  (void)unused;
  static const struct {
    const char *mask, *score, *parts; /* parts: %d is the number */
    bool bias, sinks, lse;
  } cases[] = {
      {"k <= q", "", ".mask_expr.x%d", false, false, false},
      {"", "score * 2", ".expression.x%d", false, false, false},
      {"k <= q + n", "score + slope[head] * (k - q)", ".mask_expr.expression.sinks.x%d.lse", false, true, true},
      {"", "", ".expression.x%d", true, false, false}, /* as score + bias */
      {"k < n", "bias", ".mask_expr.expression.x%d.lse", true, false, true},
      {"", "", ".sinks", false, true, false},
      {" (1) ", "((score) )", "", false, false, false},
      {"1", "score", ".sinks.lse", false, true, true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_problem p = expressive(cases[i].mask, cases[i].score), parsed;
    p.want_bias = cases[i].bias;
    p.want_sinks = cases[i].sinks;
    p.want_lse = cases[i].lse;
    const int32_t number = number_of(p);
    char text[ATTUNE_TEXT_MAX], again[ATTUNE_TEXT_MAX], expected[ATTUNE_TEXT_MAX];
    const int length = snprintf(expected, sizeof expected, "forward.bf16.d128.b2.h8.kv4.q100.k200");
    snprintf(expected + length, sizeof expected - (size_t)length, cases[i].parts, number);
    assert_int_equal(attune_problem_print(text, &p), ATTUNE_OK);
    assert_string_equal(text, expected);
    assert_int_equal(number > 0, strstr(cases[i].parts, ".x") != NULL);
    assert_int_equal(attune_problem_has_mask_expr(&p), strstr(text, ".mask_expr") != NULL);
    assert_int_equal(attune_problem_changes_score(&p), strstr(text, ".expression") != NULL);
    if (attune_problem_parse(&parsed, text) != ATTUNE_OK) fail_msg("%s", attune_message());
    assert_int_equal(attune_problem_expression_hash(&parsed), number);
    assert_int_equal(attune_problem_score(&parsed), attune_problem_score(&p));
    assert_int_equal(parsed.want_sinks, p.want_sinks);
    assert_int_equal(attune_problem_print(again, &parsed), ATTUNE_OK);
    assert_string_equal(again, text);
    assert_true(attune_problem_distance(&p, &parsed) == 0);
  }
  static const struct {
    const char *parts, *says;
  } bad[] = {
      {".mask_expr", "expected x and a number where there is mask_expr"},
      {".x5", "expected x and a number"},
      {".expression.lse", "expected x and a number"},
      {".mask_expr.x0", "expected x and a number"},
      {".mask_expr.x05", "expected x and a number"},
      {".mask_expr.x5.sinks", "expected the end"},
      {".expression.mask_expr.x5", "expected "},
      {".mask_expr.x99999999999", "expected x and"},
      {".softcap.expression.x5", "canonical form"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[ATTUNE_TEXT_MAX];
    attune_problem p;
    snprintf(text, sizeof text, "forward.bf16.d128.b2.h8.kv4.q100.k200%s", bad[i].parts);
    if (attune_problem_parse(&p, text) == ATTUNE_OK) fail_msg("%s is taken", text);
    if (strstr(attune_message(), bad[i].says) == NULL) fail_msg("%s: %s", text, attune_message());
  }
}

/* The number follows what is compiled: not the blanks, but every operation, name, type and place of a param. */
static void test_numbers(void **unused) {
  (void)unused;
  static const char mask[] = "k < n || q % 2", score[] = "score + slope[head] * (k - q)";
  const int32_t number = number_of(expressive(mask, score));
  attune_problem same[] = {expressive("k<n||q%2", "score+slope[head]*(k-q)"),
                           expressive(" ((k <\tn) || (q % 2))\n", "(score + (slope[ head ] * (k - q)))"),
                           expressive(mask, score), expressive(mask, score), expressive(mask, score)};
  const attune_param renamed[] = {usual_params[0], {"_", ATTUNE_PARAM_INT, 0}, usual_params[2]};
  same[2].params = renamed; /* m has another name, and no expression uses it */
  same[3].want_sinks = same[3].want_lse = 1;
  same[4].seqlen_q = 1000;
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    if (number_of(same[i]) != number) fail_msg("same[%zu] has another number", i);

  attune_problem other[] = {
      expressive("k < n || q % 3", score),
      expressive("k <= n || q % 2", score),
      expressive("k < n && q % 2", score),
      expressive("k < m || q % 2", score),
      expressive("q % 2 || k < n", score),
      expressive(mask, "score - slope[head] * (k - q)"),
      expressive(mask, "score + slope[batch] * (k - q)"),
      expressive(mask, ""),
      expressive("", score),
      expressive(mask, score),
      expressive(mask, score),
      expressive(mask, score),
  };
  const size_t count = sizeof other / sizeof *other;
  const attune_param real[] = {{"n", ATTUNE_PARAM_FLOAT, 0}, usual_params[1], usual_params[2]};
  const attune_param integers[] = {usual_params[0], usual_params[1], {"slope", ATTUNE_PARAM_INT_ARRAY, 0}};
  const attune_param swapped[] = {usual_params[1], usual_params[0], usual_params[2]};
  other[count - 3].params = real;
  other[count - 2].params = integers;
  other[count - 1].params = swapped;
  for (size_t i = 0; i < count; i++) {
    assert_int_not_equal(number_of(other[i]), number);
    for (size_t j = 0; j < i; j++)
      if (number_of(other[i]) == number_of(other[j])) fail_msg("other[%zu] and [%zu] have one number", j, i);
  }
  attune_problem bias = expressive("", ""), plus_bias = expressive("", "score+bias");
  bias.want_bias = plus_bias.want_bias = 1;
  assert_int_equal(number_of(bias), number_of(plus_bias));
  assert_int_equal(number_of(expressive("1", "score")), 0);
  static const char *const odd[] = {"1))))", "(((1", "((1)", "(1))"};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    const attune_problem problem = expressive(odd[i], "score");
    assert_int_equal(attune_problem_check(&problem), ATTUNE_BAD_EXPRESSION);
  }
  assert_int_equal(number_of(expressive("", "")), 0);
  assert_int_not_equal(number_of(expressive("1 + 0", "")), 0);
  assert_int_not_equal(number_of(expressive("", "-score")), 0);

  /* Another score may be near, another pattern is not. */
  attune_problem a = expressive(mask, score), b = expressive("k < n", score);
  assert_true(isinf(attune_problem_distance(&a, &b)));
  a = expressive("", score);
  b = expressive("", "score * 2");
  assert_true(attune_problem_distance(&a, &b) == 1);
}

static void test_expressions_refused(void **unused) {
  (void)unused;
  const attune_param twice[] = {{"n", ATTUNE_PARAM_INT, 0}, {"m", ATTUNE_PARAM_FLOAT, 0}, {"n", ATTUNE_PARAM_INT, 0}};
  const attune_param many[ATTUNE_PARAMS_MAX + 1] = {{0}};
  char ones[ATTUNE_EXPRESSION_MAX + 1] = "";
  memset(ones, '1', ATTUNE_EXPRESSION_MAX);
#define TEXT(field, text) p.field = text
#define PARAM(name, type) p.params = (const attune_param[]){{name, type, 0}}, p.param_count = 1
  REFUSE(ATTUNE_BAD_EXPRESSION, "mask expression \"k <\", column 4", TEXT(mask_expr, "k <"));
  REFUSE(ATTUNE_BAD_EXPRESSION, "a mask does not know the score", TEXT(mask_expr, "score > 0"));
  REFUSE(ATTUNE_BAD_EXPRESSION, "score expression \"score + n\", column 9: no such name: n",
         TEXT(score_expr, "score + n"));
  REFUSE(ATTUNE_BAD_EXPRESSION, "the problem has no bias", TEXT(score_expr, "score + bias"));
  REFUSE(ATTUNE_BAD_EXPRESSION, "softcap 20 beside a score expression or a bias", p.softcap = 20,
         TEXT(score_expr, "score * 2"));
  REFUSE(ATTUNE_BAD_EXPRESSION, "softcap 20 beside", p.softcap = 20, p.want_bias = 1);
  REFUSE(ATTUNE_BAD_EXPRESSION, "its score expression does not use it", p.want_bias = 1, TEXT(score_expr, "score * 2"));
  REFUSE(ATTUNE_UNSUPPORTED, "mask_expr has 480 bytes; 479 is the limit", TEXT(mask_expr, ones));
  REFUSE(ATTUNE_UNSUPPORTED, "score_expr has 480 bytes; 479 is the limit", TEXT(score_expr, ones));
  REFUSE(ATTUNE_BAD_EXPRESSION, "\"#\" with the expression_hash 0 is neither an expression", TEXT(mask_expr, "#"));
  REFUSE(ATTUNE_BAD_EXPRESSION, "expression_hash -5 is neither", TEXT(score_expr, "#"), p.expression_hash = -5);
  REFUSE(ATTUNE_BAD_EXPRESSION, "expression_hash is 7, but no expression", p.expression_hash = 7);
  REFUSE(ATTUNE_BAD_EXPRESSION, "expression_hash is 7, but no expression", TEXT(mask_expr, "k <= q"),
         p.expression_hash = 7);
  REFUSE(ATTUNE_BAD_EXPRESSION, "\"#7\" with the expression_hash 7 is neither", TEXT(mask_expr, "#7"),
         p.expression_hash = 7);
  REFUSE(ATTUNE_BAD_ARGUMENT, "want_bias is 2", p.want_bias = 2);
  REFUSE(ATTUNE_BAD_ARGUMENT, "want_sinks is -1", p.want_sinks = -1);
  REFUSE(ATTUNE_UNSUPPORTED, "block_size is 24; it must be a multiple of 16", p.block_size = 24);
  REFUSE(ATTUNE_BAD_SIZE, "block_size is -16", p.block_size = -16);
  REFUSE(ATTUNE_UNSUPPORTED, "block_size is 65552", p.block_size = 65552);
  REFUSE(ATTUNE_BAD_SIZE, "block_density is 1.5", p.block_size = 64, p.block_density = 1.5f);
  REFUSE(ATTUNE_BAD_SIZE, "block_density is nan", p.block_size = 64, p.block_density = NAN);
  REFUSE(ATTUNE_BAD_SIZE, "there is no block_size", p.block_density = 0.5f);
  REFUSE(ATTUNE_BAD_STRIDE, "a stride of bias is -8", p.want_bias = 1, p.bias.heads = -8);
  REFUSE(ATTUNE_BAD_SIZE, "bias reaches over", p.want_bias = 1, p.bias.batch = INT64_MAX / 2);
  /* Which gradients are wanted; the forward pass, which ignores it, takes all of it. */
#define BACKWARD p.operation = ATTUNE_BACKWARD
  REFUSE(ATTUNE_BAD_ARGUMENT, "accumulate is 2", BACKWARD, p.accumulate = 2);
  REFUSE(ATTUNE_BAD_ARGUMENT, "want_dbias is -1", p.want_dbias = -1);
  REFUSE(ATTUNE_BAD_ARGUMENT, "the problem has no bias", BACKWARD, p.want_dbias = 1);
  REFUSE(ATTUNE_BAD_STRIDE, "rows of the output would overlap", BACKWARD, p.want_bias = p.want_dbias = 1,
         p.bias.seqlen = p.seqlen_k - 1);
  REFUSE(ATTUNE_BAD_ARGUMENT, "the problem has no sinks", BACKWARD, p.want_dsinks = 1);
  REFUSE(ATTUNE_BAD_ARGUMENT, "no array of floats changes the score", BACKWARD, p.want_dparams = 1,
         PARAM("slope", ATTUNE_PARAM_FLOAT), TEXT(score_expr, "score * slope"));
  REFUSE(ATTUNE_UNSUPPORTED, "want_dparams is 1, whose sums", BACKWARD, p.want_dparams = 1, p.deterministic = 1,
         PARAM("slope", ATTUNE_PARAM_FLOAT_ARRAY), TEXT(score_expr, "score * slope[head]"));
  attune_problem forward;
  attune_problem_init(&forward);
  forward.want_dbias = forward.want_dsinks = forward.want_dparams = forward.accumulate = 1;
  assert_int_equal(attune_problem_resolve(&forward, &forward), ATTUNE_OK);
  assert_true(!forward.want_dbias && !forward.want_dsinks && !forward.want_dparams && !forward.accumulate);
  /* params, used or not */
  REFUSE(ATTUNE_BAD_ARGUMENT, "param_count is 1, params is NULL", p.param_count = 1);
  REFUSE(ATTUNE_BAD_ARGUMENT, "param_count is -1", p.params = twice, p.param_count = -1);
  REFUSE(ATTUNE_UNSUPPORTED, "param_count is 9; 8 is the limit", p.params = many, p.param_count = 9);
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0].type is 0", p.params = many, p.param_count = 1);
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0] and params[2] are both named n", p.params = twice, p.param_count = 3);
  REFUSE(ATTUNE_UNSUPPORTED, "params[0].reserved is 3", p.param_count = 1,
         p.params = (const attune_param[]){{"n", ATTUNE_PARAM_INT, 3}});
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0] is named seqlen_k, which expressions have already",
         PARAM("seqlen_k", ATTUNE_PARAM_INT));
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0] is named tanh, which", PARAM("tanh", ATTUNE_PARAM_INT));
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0] is named bias, which", PARAM("bias", ATTUNE_PARAM_FLOAT));
  REFUSE(ATTUNE_UNSUPPORTED, "params[0].type is 5", PARAM("n", (attune_param_type)5));
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0].type is -1", PARAM("n", (attune_param_type)-1));
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0] has the name \"\"", PARAM("", ATTUNE_PARAM_INT));
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0] has the name \"2n\"", PARAM("2n", ATTUNE_PARAM_INT));
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0] has the name \"a-b\"", PARAM("a-b", ATTUNE_PARAM_INT));
  REFUSE(ATTUNE_BAD_EXPRESSION, "params[0] has the name \"\"", PARAM(NULL, ATTUNE_PARAM_INT));
  REFUSE(ATTUNE_UNSUPPORTED, "\"nnnnnnnnnnnnnnnnnnnnnnnn\" of 24 letters; 23 is the limit",
         PARAM("nnnnnnnnnnnnnnnnnnnnnnnn", ATTUNE_PARAM_INT));
#undef TEXT
#undef PARAM
}

/* Of a class alone the number is known; it names a kernel, but cannot make one. */
static void test_emit_of_class(void **unused) {
  (void)unused;
  attune_problem p = expressive("k <= q + n", "score + slope[head]"), parsed, other = expressive("k <= q", "");
  char text[ATTUNE_TEXT_MAX], *source;
  attune_config config;
  assert_int_equal(attune_problem_print(text, &p), ATTUNE_OK);
  assert_int_equal(attune_problem_parse(&parsed, text), ATTUNE_OK);
  assert_int_equal(attune_config_reference(&config, &parsed), ATTUNE_OK);
  assert_int_equal(config.expression_hash, attune_problem_expression_hash(&p));
  assert_true(config.has_mask_expr == 1 && config.score == ATTUNE_SCORE_EXPRESSION);
  assert_int_equal(attune_emit(&source, &config, &parsed, ATTUNE_TARGET_SIMULATOR), ATTUNE_BAD_EXPRESSION);
  assert_non_null(strstr(attune_message(), "of which only this number is known"));
  assert_int_equal(attune_emit(&source, &config, NULL, ATTUNE_TARGET_CUDA), ATTUNE_BAD_EXPRESSION);
  assert_int_equal(attune_emit(&source, &config, &other, ATTUNE_TARGET_CUDA), ATTUNE_BAD_EXPRESSION);
  assert_non_null(strstr(attune_message(), ", the problem x"));
  assert_int_equal(attune_emit(&source, &config, &p, ATTUNE_TARGET_SIMULATOR), ATTUNE_OK);
  assert_non_null(strstr(source, "/* mask: (k <= (q + n)) */"));
  free(source);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_class_of_expressions),
      cmocka_unit_test(test_numbers),
      cmocka_unit_test(test_expressions_refused),
      cmocka_unit_test(test_emit_of_class),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
