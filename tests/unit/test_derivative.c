/* Derivatives of scores: their texts, and their values against differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "generator/expression/tree.h"
#include "tests/unit/expression_case.h"

static attune_derivatives *derive(const char *text) {
  attune_derivatives *derivatives;
  attune_expression *score = parse(SCORE, text);
  if (attune_expression_derivative(&derivatives, score) != ATTUNE_OK) fail_msg("%s: %s", text, attune_message());
  free(score);
  return derivatives;
}

/* "score: ...; slope[head]: ..." */
static void describe(char out[8192], const attune_derivatives *d) {
  size_t length = 0;
  for (int i = 0; i < d->count; i++) {
    char by[4096] = "score", value[4096], index[4096];
    if (d->of[i].by == ATTUNE_BY_BIAS) strcpy(by, "bias");
    if (d->of[i].by == ATTUNE_BY_PARAM) strcpy(by, params[d->of[i].param].name);
    if (d->of[i].by == ATTUNE_BY_ELEMENT) {
      print(index, d->of[i].index);
      assert_true(snprintf(by, sizeof by, "%s[%.4000s]", params[d->of[i].param].name, index) < (int)sizeof by);
    }
    print(value, d->of[i].value);
    length += (size_t)snprintf(out + length, 8192 - length, "%s%s: %s", i > 0 ? "; " : "", by, value);
    assert_true(length < 8192);
  }
}

/* ---- texts ---- */

static void test_text(void **unused) {
  (void)unused;
  static const struct {
    const char *text, *derivatives;
  } cases[] = {
      {"score", "score: 1.0"},
      {"q * 0.5", "score: 0.0"},
      {"score + bias", "score: 1.0; bias: 1.0"},
      {"bias - score", "score: (-1.0); bias: 1.0"},
      {"-(-score)", "score: 1.0"},
      {"0.125 * score", "score: 0.125"},
      {"2 * (score * 3)", "score: 6.0"},
      {"0.1 * (0.3 * score)", "score: (0.1 * 0.3)"}, /* no float is their product */
      {"score / 2", "score: 0.5"},
      {"score / 20", "score: (1.0 / 2e+01)"},
      {"20 * tanh(score / 20)", "score: (1.0 - (tanh((score / 20)) * tanh((score / 20))))"},
      {"cap * tanh(score / cap)",
       "score: (1.0 - (tanh((score / cap)) * tanh((score / cap)))); "
       "cap: (tanh((score / cap)) - ((1.0 - (tanh((score / cap)) * tanh((score / cap)))) * (score / cap)))"},
      {"score + slope[head] * (k - q)", "score: 1.0; slope[head]: float((k - q))"},
      {"score + relative[k - q] + relative[k-q] - relative[q]",
       "score: 1.0; relative[(k - q)]: 2.0; relative[q]: (-1.0)"},
      {"score * slope[head] + slope[head] * bias",
       "score: slope[head]; slope[head]: (score + bias); bias: slope[head]"},
      {"score * score", "score: (2.0 * score)"},
      {"score / cap", "score: (1.0 / cap); cap: (-((score / cap) / cap))"},
      {"doc[q] == doc[k] ? score * cap : -1e30",
       "score: ((doc[q] == doc[k]) ? cap : 0.0); cap: ((doc[q] == doc[k]) ? score : 0.0)"},
      {"k <= q ? score : score", "score: 1.0"},
      {"max(score, 0)", "score: ((score > 0) ? 1.0 : 0.0)"},
      {"max(0, score)", "score: (((0 > score) || (score != score)) ? 0.0 : 1.0)"},
      {"min(score, bias)", "score: (((score < bias) || (bias != bias)) ? 1.0 : 0.0); bias: (((score < bias) || (bias "
                           "!= bias)) ? 0.0 : 1.0)"},
      {"abs(score)", "score: ((score < 0.0) ? (-1.0) : 1.0)"},
      {"score - log(1 + abs(q - k))", "score: 1.0"},
      {"exp(score)", "score: exp(score)"},
      {"exp(-score * score)", "score: (-(2.0 * (exp(((-score) * score)) * score)))"},
      {"log(score)", "score: (1.0 / score)"},
      {"sqrt(score)", "score: (0.5 / sqrt(score))"},
      {"floor(score) + int(score) + (score > 0) + float(q)", "score: 0.0"},
      {"float(score)", "score: 1.0"},
      {"score * (k <= q)", "score: float((k <= q))"},
      {"score * q * k", "score: (float(k) * float(q))"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    char described[8192];
    attune_derivatives *d = derive(cases[i].text);
    describe(described, d);
    if (strcmp(described, cases[i].derivatives) != 0)
      fail_msg("%s:\n%s\n%s", cases[i].text, described, cases[i].derivatives);
    free(d);
  }
}

/* What the value and the derivatives share has a name. */
static void test_emitted(void **unused) {
  (void)unused;
  static const struct {
    const char *text, *emitted;
  } cases[] = {
      {"score", "  result.value = score;\n  result.by0 = real(1.0f);\n"},
      {"20 * tanh(score / 20)", "  const real t0 = hyperbolic_tangent(quotient(score, real(2e+01f)));\n"
                                "  result.value = (real(2e+01f) * t0);\n"
                                "  result.by0 = (real(1.0f) - (t0 * t0));\n"},
      {"score > 0.5 ? score * slope[q] : score * cap + floor(bias * cap)",
       "  const bool t0 = (score > real(0.5f));\n"
       "  const real t1 = param_slope[q];\n"
       "  result.value = select(t0, (score * t1), ((score * param_cap) + rounded_down(rounded_product(bias, "
       "param_cap))));\n"
       "  result.by0 = select(t0, t1, param_cap);\n"
       "  result.by1 = select(t0, score, real(0.0f));\n"
       "  result.at1 = (q).value();\n"
       "  result.by2 = select(t0, real(0.0f), score);\n"},
      {"score * slope[head] * slope[head] + floor(0.3 * cap) * (0.3 * cap)",
       "  const real t0 = (score * item.c0);\n"
       "  const real t1 = rounded_down(rounded_product(real(0.3f), param_cap));\n"
       "  result.value = ((t0 * item.c0) + (t1 * (real(0.3f) * param_cap)));\n"
       "  result.by0 = item.c1;\n"
       "  result.by1 = ((item.c0 * score) + t0);\n"
       "  result.at1 = (head).value();\n"
       "  result.by2 = (real(0.3f) * t1);\n"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    attune_buffer emitted = {0};
    attune_derivatives *d = derive(cases[i].text);
    assert_int_equal(attune_expression_emit_derivatives(&emitted, d, 4096), ATTUNE_OK);
    if (strcmp(emitted.text, cases[i].emitted) != 0)
      fail_msg("%s:\n%s%s", cases[i].text, emitted.text, cases[i].emitted);
    attune_buffer_free(&emitted);
    free(d);
  }
}

/* ---- values, against differences ---- */

/* Values that tests may change; of few bits, so that steps from them are exact. */
static float some_slopes[4], some_relative[8];
static attune_value some_values[ATTUNE_PARAMS_MAX];
static attune_scope at;

static void place_values(void) {
  memcpy(some_values, values, sizeof some_values);
  some_values[1].real = 2.5f;
  some_values[4] = (attune_value){.array = some_slopes, .count = COUNT(some_slopes)};
  some_values[5] = (attune_value){.array = some_relative, .count = COUNT(some_relative)};
  for (size_t i = 0; i < COUNT(some_slopes); i++)
    some_slopes[i] = 0.5f + 0.375f * (float)i;
  for (size_t i = 0; i < COUNT(some_relative); i++)
    some_relative[i] = 0.25f * (float)i - 0.875f;
  at = (attune_scope){.score = 1.375,
                      .bias = -0.75,
                      .batch = 1,
                      .head = 2,
                      .q = 5,
                      .k = 3,
                      .seqlen_q = 8,
                      .seqlen_k = 9,
                      .values = some_values};
}

static const double step = 0x1p-11;
static int singular;

static double moved(const attune_expression *score, double *real, float *single, double by) {
  const double real_before = real != NULL ? *real : 0;
  const float single_before = single != NULL ? *single : 0;
  if (real != NULL) *real += by;
  if (single != NULL) *single += (float)by;
  const double value = attune_expression_evaluate(score, &at);
  if (real != NULL) *real = real_before;
  if (single != NULL) *single = single_before;
  return value;
}

/* Whether the derivative is the difference, where the score has one there: no kink, no jump, nothing infinite. */
static int check_difference(const char *text, const attune_expression *score, const char *by, double *real,
                            float *single, double derivative) {
  double slope_of[4]; /* over quarters of the step on both sides */
  for (int i = 0; i < 4; i++)
    slope_of[i] =
        (moved(score, real, single, (i - 1) * step / 2) - moved(score, real, single, (i - 2) * step / 2)) / (step / 2);
  const double central =
                   (4 * (slope_of[1] + slope_of[2]) - (slope_of[0] + slope_of[1] + slope_of[2] + slope_of[3])) / 4,
               bend = fabs(slope_of[3] - slope_of[0]) + fabs(slope_of[2] - slope_of[1]);
  const double value = fabs(moved(score, real, single, 0));
  if (!(bend < 1e-2 * (1 + fabs(central))) || value > 1e5) return 0;
  if (!isfinite(derivative)) { /* of what is infinite times zero: sqrt(q - q) */
    singular++;
    return 0;
  }
  /* By the score's own curvature, and what is left of value's last places. */
  const double error = 1e-3 * bend + 1e-10 * (1 + value) / step + 1e-6 * fabs(central);
  if (!(fabs(derivative - central) <= error))
    fail_msg("%s by %s at score %g, q %d, k %d: %.12g, not %.12g (error %g)", text, by, at.score, at.q, at.k,
             derivative, central, error);
  return 1;
}

/* By what is looked for; of elements all indices that come to this one. */
static double sum_of(const attune_derivatives *d, attune_derivative_by by, int param, int32_t element) {
  double sum = 0;
  for (int i = 0; i < d->count; i++) {
    const attune_derivative *of = &d->of[i];
    if (of->by != by || of->param != param) continue;
    if (of->index != NULL && attune_expression_evaluate(of->index, &at) != element) continue;
    sum += attune_expression_evaluate(of->value, &at);
  }
  return sum;
}

static int check_differences(const char *text, const attune_derivatives *d) {
  int checked = 0;
  checked += check_difference(text, d->score, "score", &at.score, NULL, sum_of(d, ATTUNE_BY_SCORE, -1, 0));
  checked += check_difference(text, d->score, "bias", &at.bias, NULL, sum_of(d, ATTUNE_BY_BIAS, -1, 0));
  checked += check_difference(text, d->score, "cap", NULL, &some_values[1].real, sum_of(d, ATTUNE_BY_PARAM, 1, 0));
  for (int32_t i = 0; i < (int32_t)COUNT(some_slopes); i++)
    checked += check_difference(text, d->score, "slope", NULL, &some_slopes[i], sum_of(d, ATTUNE_BY_ELEMENT, 4, i));
  for (int32_t i = 0; i < (int32_t)COUNT(some_relative); i++)
    checked +=
        check_difference(text, d->score, "relative", NULL, &some_relative[i], sum_of(d, ATTUNE_BY_ELEMENT, 5, i));
  return checked;
}

static const double scores[] = {1.375, -2.125, 0.28125, -0.40625, 6.625};

static int check_over_scores(const char *text, const attune_derivatives *d) {
  int checked = 0;
  for (size_t i = 0; i < COUNT(scores); i++) {
    at.score = scores[i];
    at.k = 2 + (int32_t)i;
    at.head = (int32_t)i % 3;
    checked += check_differences(text, d);
  }
  return checked;
}

/* Every operator and function, with leaves on both of its sides. */
static void test_operators(void **unused) {
  (void)unused;
  static const char *const texts[] = {
      "score * slope[head] + bias * cap",
      "score * slope[head] - bias * cap",
      "(score + bias) * (score - cap) * slope[head]",
      "(score + bias) / (cap + slope[head] * score)",
      "score / cap / slope[1] / (bias * bias)",
      "-(score * -bias)",
      "abs(score * bias) + abs(cap)",
      "min(score, bias * cap) * slope[0]",
      "max(score * cap, bias) * slope[0]",
      "min(score, 0.5) + max(-1, bias) + min(2, score)",
      "exp(score * bias / cap)",
      "log(score * score + bias * bias + cap)",
      "sqrt(score * score + cap * slope[head])",
      "tanh(score * bias + cap)",
      "cap * tanh(score / cap)",
      "20 * tanh(score / 20)",
      "floor(score) * score + floor(bias) * cap",
      "float(score) * float(q) * cap",
      "int(score) * score + int(cap) * bias",
      "(score > bias) * score + (score <= cap) * bias",
      "score > 0.3 ? score * bias : score * cap",
      "score > 0.3 && bias < 1 || cap == 2 ? exp(score) : slope[head] * score",
      "!(q & 1) ? score * score : k < q ? bias * bias * score : cap * cap",
      "score * slope[head] + slope[2 - head] * slope[1] + slope[q] * slope[k - 3]",
      "relative[k - q + 4] * relative[q - k] + relative[k & 7] * score",
      "relative[doc[q] & 7 | 1 ^ k] * score * (random(q, k, 1) % 3) * (find(doc, q) >> 2 << 1) * ~q",
      "score * (k / 2 * 3 % 5 - 7) + (q >= k) * bias * (q != k) * cap",
      "tanh(exp(min(score, 2) * 0.25) - log(abs(bias) + 1)) / sqrt(cap * cap + score * score)",
  };
  place_values();
  for (size_t i = 0; i < COUNT(texts); i++) {
    attune_derivatives *d = derive(texts[i]);
    singular = 0;
    if (check_over_scores(texts[i], d) < 50 || singular > 0) fail_msg("%s: hardly a difference was checked", texts[i]);
    free(d);
  }
}

/* ---- scores at random ---- */

static uint32_t drawn = 1;
static int draw(int below) {
  drawn = drawn * 1664525u + 1013904223u;
  return (int)((drawn >> 8) % (uint32_t)below);
}

/* Texts in which $ is a float, # an int and ? a truth value of the next level. */
static const char *const floats[] = {"($ + $)",
                                     "($ - $)",
                                     "$ * $",
                                     "$ * $",
                                     "($ / $)",
                                     "$ / (abs($) + 0.5)",
                                     "-$",
                                     "abs($)",
                                     "min($, $)",
                                     "max($, $)",
                                     "exp($)",
                                     "exp(min($, 1.5))",
                                     "log($)",
                                     "log(abs($) + 0.25)",
                                     "sqrt($)",
                                     "sqrt(abs($) + 0.5)",
                                     "tanh($)",
                                     "floor($)",
                                     "float(#)",
                                     "(@ ? $ : $)",
                                     "(@ ? $ : #)",
                                     "min($, #)",
                                     "max(0, $)",
                                     "$ * #",
                                     "(2 * $)",
                                     "($ / 4)",
                                     "0.3 * $",
                                     "($ + #)",
                                     "cap * tanh($ / cap)"};
static const char *const float_leaves[] = {
    "score",           "score",       "score", "bias", "cap",         "slope[head]",     "slope[k]",
    "relative[q - k]", "relative[#]", "0.75",  "3.0",  "slope[head]", "relative[k & 3]", "relative[4 - head]"};
static const char *const ints[] = {"q", "k", "head", "2", "(# + #)", "(# - #)", "# * #", "(# % 5)", "int($)", "abs(#)"};
static const char *const truths[] = {"$ < $", "$ > 0.5", "# <= #", "@ && @", "@ || @", "!(@)", "q == k + 2", "$"};

static void write_random(attune_buffer *out, char what, int depth) {
  const char *text = "k";
  if (what == '$') text = depth > 0 ? floats[draw(COUNT(floats))] : float_leaves[draw(COUNT(float_leaves))];
  if (what == '#') text = ints[draw(depth > 0 ? COUNT(ints) : 4)];
  if (what == '@') text = depth > 0 ? truths[draw(COUNT(truths))] : "q < k";
  for (; *text != '\0'; text++) {
    if (*text == '$' || *text == '#' || *text == '@')
      write_random(out, *text, depth - 1);
    else
      attune_buffer_add(out, text, 1);
  }
}

static bool is_number(const attune_expression *tree, int place, double number) {
  return tree->nodes[place].kind == LITERAL_REAL && (double)tree->nodes[place].real == number;
}

/* What was made of the score's parts has no operation that does nothing. */
static void check_simplified(const char *text, const attune_expression *score) {
  for (int i = score->root + 1; i < score->count; i++) {
    const node *n = &score->nodes[i];
    const int a = n->operand[0], b = n->operand[1];
    bool simple = true;
    if (n->kind == UNARY) simple = score->nodes[a].kind != UNARY && !is_number(score, a, 0);
    if (n->kind == SELECT) simple = b != n->operand[2];
    if (n->kind == BINARY && n->type == REAL) {
      const bool product = n->index == TIMES || n->index == DIVIDE;
      simple = !is_number(score, a, 0) && !is_number(score, b, product ? 1 : 0);
      if (n->index == TIMES) simple = simple && !is_number(score, a, 1) && !is_number(score, b, 0);
      if (n->index == DIVIDE) simple = simple && a != b;
      if (product) simple = simple && score->nodes[a].kind != UNARY && score->nodes[b].kind != UNARY;
    }
    if (!simple) fail_msg("%s: node %d is not simplified", text, i);
    for (int other = 0; other < i; other++)
      if (memcmp(n, &score->nodes[other], sizeof *n) == 0) fail_msg("%s: nodes %d and %d are one", text, other, i);
  }
}

/* A derivative's text parses to what has the same value, unless it is too long. */
static int check_reparsed(const attune_expression *derivative) {
  attune_buffer printed = {0}, again = {0};
  attune_expression *reparsed;
  attune_expression_print(&printed, derivative);
  const attune_status status = attune_expression_parse(&reparsed, SCORE, printed.text, params, PARAMS, true);
  if (status == ATTUNE_OK) {
    attune_expression_print(&again, reparsed);
    assert_string_equal(printed.text, again.text);
    const double a = attune_expression_evaluate(derivative, &at), b = attune_expression_evaluate(reparsed, &at);
    if (!(a == b || (isnan(a) && isnan(b)))) fail_msg("%s is %g, not %g", printed.text, a, b);
    free(reparsed);
  } else {
    assert_int_equal(status, ATTUNE_UNSUPPORTED);
  }
  attune_buffer_free(&printed);
  attune_buffer_free(&again);
  return status == ATTUNE_OK;
}

static void check_largest(const char *text, const attune_expression *score) {
  static const double extremes[] = {0, 1, -3e38, 3e38, INFINITY, -INFINITY, NAN};
  attune_scope scope = at;
  for (size_t i = 0; i < COUNT(extremes); i++) {
    scope.score = extremes[i];
    scope.bias = -extremes[i / 2];
    const double value = fabs(attune_expression_evaluate(score, &scope)), largest = attune_expression_largest(score);
    if (value > largest) fail_msg("%s at %g is %g, more than %g", text, extremes[i], value, largest);
  }
}

static void test_random(void **unused) {
  (void)unused;
  enum { TEXTS = 4000 };
  singular = 0;
  int texts = 0, checked = 0, reparsed = 0, results = 0;
  place_values();
  for (int i = 0; i < TEXTS; i++) {
    attune_buffer text = {0};
    attune_expression *score;
    attune_derivatives *d;
    write_random(&text, '$', 1 + i % 5);
    if (attune_expression_parse(&score, SCORE, text.text, params, PARAMS, true) == ATTUNE_OK) {
      if (attune_expression_derivative(&d, score) != ATTUNE_OK) fail_msg("%s: %s", text.text, attune_message());
      texts++;
      checked += check_over_scores(text.text, d);
      check_simplified(text.text, d->score);
      check_largest(text.text, score);
      for (int j = 0; j < d->count; j++)
        reparsed += check_reparsed(d->of[j].value);
      results += d->count;
      free(d);
      free(score);
    }
    attune_buffer_free(&text);
  }
  print_message("%d scores, %d differences (%d singular), %d of %d texts\n", texts, checked, singular, reparsed,
                results);
  assert_true(texts > TEXTS * 9 / 10);
  assert_true(checked > texts * 40);
  assert_true(singular < checked / 1000);
  assert_true(reparsed > results * 9 / 10);
}

/* ---- what is not taken does not count ---- */

static void test_not_taken(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    double score, by_score;
  } cases[] = {
      {"score > 0 ? sqrt(score) : 0", -1, 0},
      {"score > 0 ? log(score) * cap : 2 * score", -1, 2},
      {"exp(score > 0 ? log(score) : score * 0)", 0, 0},
      {"tanh(score > 0 ? 1 / score : 0)", 0, 0},
      {"k > q ? score / (k > q) : 3 * score", 1, 3},
      {"min(score, sqrt(score - 1))", 0.5, 1},
      {"max(sqrt(score - 1), score)", 0.5, 1},
      {"max(score, 0)", 0, 0}, /* the second one of equals */
      {"max(0, score)", 0, 1},
      {"min(score, 0)", 0, 0},
      {"min(0, score)", 0, 1},
      {"abs(score)", 0, 1},
      {"abs(-score)", 0, -1},
      {"score * log(score)", 0, -INFINITY},
  };
  place_values();
  for (size_t i = 0; i < COUNT(cases); i++) {
    attune_derivatives *d = derive(cases[i].text);
    at.score = cases[i].score;
    const double by_score = attune_expression_evaluate(d->of[0].value, &at);
    if (by_score != cases[i].by_score) fail_msg("%s at %g: %g", cases[i].text, cases[i].score, by_score);
    free(d);
  }
}

/* ---- size ---- */

/* name[0] between the texts, then name[1], ... */
static attune_expression *of_elements(const char *before, const char *after, int count, const char *last, char close) {
  attune_buffer text = {0};
  attune_expression *expression;
  for (int i = 0; i < count; i++)
    attune_buffer_print(&text, "%sslope[%d]%s", before, i, after);
  attune_buffer_add_text(&text, last);
  for (int i = 0; i < count && close != '\0'; i++)
    attune_buffer_add(&text, &close, 1);
  if (attune_expression_parse(&expression, SCORE, text.text, params, PARAMS, true) != ATTUNE_OK)
    fail_msg("%s", attune_message());
  attune_buffer_free(&text);
  return expression;
}

static void test_size(void **unused) {
  (void)unused;
  attune_derivatives *d;
  attune_expression *score = of_elements("", " * ", 63, "score", '\0');
  assert_int_equal(attune_expression_derivative(&d, score), ATTUNE_OK);
  assert_int_equal(d->count, 64);
  assert_true(d->score->count < 4 * NODES_MAX); /* not their square */
  free(d);
  free(score);
  score = of_elements("min(", ", ", 63, "1.0", ')');
  assert_int_equal(attune_expression_derivative(&d, score), ATTUNE_UNSUPPORTED);
  assert_null(d);
  assert_non_null(strstr(attune_message(), "derivatives of more than 2048 operations and operands; split it into"));
  free(score);
}

static void test_arguments(void **unused) {
  (void)unused;
  attune_derivatives *d;
  attune_expression *mask = parse(MASK, "q < k");
  assert_int_equal(attune_expression_derivative(&d, mask), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_expression_derivative(&d, NULL), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_expression_derivative(NULL, mask), ATTUNE_BAD_ARGUMENT);
  free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text),      cmocka_unit_test(test_emitted),   cmocka_unit_test(test_operators),
      cmocka_unit_test(test_random),    cmocka_unit_test(test_not_taken), cmocka_unit_test(test_size),
      cmocka_unit_test(test_arguments),
  };
  return cmocka_run_group_tests(tests, fill_arrays, NULL);
}
