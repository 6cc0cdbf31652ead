/* Expressions: what parses, what it means, what it prints as, and what is refused where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/expression.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define MASK ATTUNE_EXPRESSION_MASK
#define SCORE ATTUNE_EXPRESSION_SCORE

/* ---- params and their values ---- */

static const attune_param params[ATTUNE_PARAMS_MAX] = {
    {"window", ATTUNE_PARAM_INT},
    {"cap", ATTUNE_PARAM_FLOAT},
    {"doc", ATTUNE_PARAM_INT_ARRAY},
    {"prefix", ATTUNE_PARAM_INT_ARRAY},
    {"slope", ATTUNE_PARAM_FLOAT_ARRAY},
    {"relative", ATTUNE_PARAM_FLOAT_ARRAY},
    {"name_of_23_characters__", ATTUNE_PARAM_INT},
};

enum { WINDOW = 96, DOCUMENTED = 300, REACH = 16 };
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

static int fill_arrays(void **unused) {
  (void)unused;
  for (int i = 0; i < DOCUMENTED; i++)
    doc[i] = i / 50 - 1;
  for (int i = 0; i <= 2 * REACH; i++)
    relative[i] = 0.01f * (float)(i * i) - 1.0f;
  return 0;
}

static const attune_scope usual = {.score = 1.5,
                                   .bias = -0.5,
                                   .batch = 1,
                                   .head = 2,
                                   .q = 10,
                                   .k = 7,
                                   .seqlen_q = 513,
                                   .seqlen_k = 1001,
                                   .values = values};

/* ---- what the tests share ---- */

static void print(char out[4096], const attune_expression *expression) {
  attune_buffer buffer = {0};
  attune_expression_print(&buffer, expression);
  assert_false(buffer.failed);
  assert_true(buffer.length < 4096);
  strcpy(out, buffer.text);
  attune_buffer_free(&buffer);
}

/* Parses it; whatever parses prints as a text that parses to the same. */
static attune_expression *parse(attune_expression_kind kind, const char *text) {
  attune_expression *expression, *reparsed;
  char printed[4096], again[4096];
  if (attune_expression_parse(&expression, kind, text, params, true) != ATTUNE_OK) fail_msg("%s", attune_message());
  print(printed, expression);
  if (attune_expression_parse(&reparsed, kind, printed, params, true) != ATTUNE_OK) fail_msg("%s", attune_message());
  print(again, reparsed);
  assert_string_equal(again, printed);
  free(reparsed);
  return expression;
}

static double value_of(const char *text) {
  attune_expression *expression = parse(SCORE, text);
  const double value = attune_expression_evaluate(expression, &usual);
  free(expression);
  return value;
}

/* A compiler may fuse a product and a sum. */
static bool same(double a, double b) {
  if (isnan(a) || isnan(b) || isinf(a) || isinf(b)) return a == b || (isnan(a) && isnan(b));
  return fabs(a - b) <= 1e-12 * (1.0 + fabs(b));
}

static void check_value(const char *text, double value, double expected) {
  if (!same(value, expected)) fail_msg("%s is %.17g, not %.17g", text, value, expected);
}

/* first, then repeated count times, then last. */
static char *chain(const char *first, const char *repeated, int count, const char *last) {
  char *text = malloc(strlen(first) + (size_t)count * strlen(repeated) + strlen(last) + 1);
  assert_non_null(text);
  char *end = stpcpy(text, first);
  for (int i = 0; i < count; i++)
    end = stpcpy(end, repeated);
  strcpy(end, last);
  return text;
}

/* ---- precedence and text ---- */

static const struct {
  const char *text;
  int level;
} operators[] = {
    {"||", 1}, {"&&", 2}, {"|", 3},  {"^", 4},  {"&", 5}, {"==", 6}, {"!=", 6}, {"<", 7},  {">", 7},
    {"<=", 7}, {">=", 7}, {"<<", 8}, {">>", 8}, {"+", 9}, {"-", 9},  {"*", 10}, {"/", 10}, {"%", 10},
};

/* C's levels, every pair; among equals the left one binds first. */
static void test_precedence(void **unused) {
  (void)unused;
  for (size_t a = 0; a < COUNT(operators); a++) {
    for (size_t b = 0; b < COUNT(operators); b++) {
      char text[64], expected[64], printed[4096];
      const char *first = operators[a].text, *second = operators[b].text;
      snprintf(text, sizeof text, "q %s k%shead", first, second);
      const bool left = operators[a].level >= operators[b].level;
      snprintf(expected, sizeof expected, left ? "((q %s k) %s head)" : "(q %s (k %s head))", first, second);
      attune_expression *expression = parse(MASK, text);
      print(printed, expression);
      assert_string_equal(printed, expected);
      free(expression);
    }
  }
}

static void test_text(void **unused) {
  (void)unused;
  static const struct {
    const char *text, *printed;
  } cases[] = {
      {" ( ( q ) ) ", "q"},
      {"q\t<\nk", "(q < k)"},
      {"-q*k", "((-q) * k)"},
      {"!q==k", "((!q) == k)"},
      {"~q&k", "((~q) & k)"},
      {"- -q", "(-(-q))"},
      {"-(-1)", "(-(-1))"},
      {"q- -1", "(q - (-1))"},
      {"!-~q", "(!(-(~q)))"},
      {"!!q", "(!(!q))"},
      {"q?k:head?1:2", "(q ? k : (head ? 1 : 2))"},
      {"q?k?1:2:3", "(q ? (k ? 1 : 2) : 3)"},
      {"q||k?1:2+3", "((q || k) ? 1 : (2 + 3))"},
      {"q<k?q:k", "((q < k) ? q : k)"},
      {"doc[ q+1 ]", "doc[(q + 1)]"},
      {"-doc[doc[q]]", "(-doc[doc[q]])"},
      {"min (q,k)", "min(q, k)"},
      {"random(q,k,1)", "random(q, k, 1)"},
      {"find( doc , q+1 )", "find(doc, (q + 1))"},
      {"int(float(q))", "int(float(q))"},
      {"name_of_23_characters__", "name_of_23_characters__"},
      {"0x1F", "31"},
      {"0XFF", "255"},
      {"0", "0"},
      {"2147483647", "2147483647"},
      {"1.", "1.0"},
      {".5", "0.5"},
      {"0.50f", "0.5"},
      {"1e3", "1e+03"},
      {"1000.0", "1e+03"},
      {"0e0", "0.0"},
      {"0.1", "0.1"},
      {"16777217.0", "16777216.0"},
      {"1e-50", "0.0"},
      {"1e-45", "1e-45"},
      {"3.4e38", "3.4e+38"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    char printed[4096];
    attune_expression *expression = parse(SCORE, cases[i].text);
    print(printed, expression);
    assert_string_equal(printed, cases[i].printed);
    free(expression);
  }
}

/* As deep and as long as a tree can be: printing adds the parentheses that the text did without. */
static void test_largest(void **unused) {
  (void)unused;
  static const struct {
    const char *first, *repeated;
    int count;
    const char *last, *closing; /* closing: as often as repeated */
  } cases[] = {
      {"k", "+k", 127, "", ""}, /* 255 nodes and the conversion to a float */
      {"", "~", 254, "k", ""},       {"", "- ", 254, "k", ""},
      {"", "k ? k : ", 63, "k", ""}, {"", "k ? 1 ? ", 20, "k", " : 2 : 3"},
      {"", "(", 511, "k", ")"},      {"", "abs(", 254, "k", ")"},
      {"", "doc[", 127, "k", "]"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    char *opened = chain(cases[i].first, cases[i].repeated, cases[i].count, cases[i].last);
    char *text = chain(opened, cases[i].closing, cases[i].count, "");
    free(parse(SCORE, text));
    free(opened);
    free(text);
  }
}

/* One character of a text changed, put in or taken out: it parses and prints as a fixed point, or is refused. */
static void test_edits(void **unused) {
  (void)unused;
  static const char base[] = "doc[q] == doc[k] && !(q % 4) ? min(q, -1.5e1) / cap : random(1, k, 0x2f) << 3 | ~q";
  static const char characters[] = " ().,[]?:+-*/%&|^~!=<>0x9efqk_;#\"\\\n\x80";
  char text[sizeof base + 2];
  for (size_t at = 0; at < sizeof base; at++) {
    for (size_t c = 0; c < sizeof characters; c++) {
      for (int edit = 0; edit < 3; edit++) { /* put in the place of, insert, delete */
        const size_t skip = edit == 1 ? 0 : 1, put = edit == 2 ? 0 : 1;
        if (at + skip > sizeof base - 1 && skip > 0) continue;
        memcpy(text, base, at);
        if (put) text[at] = characters[c];
        strcpy(text + at + put, base + at + skip);
        attune_expression *expression;
        if (attune_expression_parse(&expression, SCORE, text, params, true) == ATTUNE_OK) {
          free(expression);
          free(parse(SCORE, text));
        } else {
          assert_null(expression);
          assert_non_null(strstr(attune_message(), "\", column "));
        }
      }
    }
  }
}

/* An application that calls setlocale() may write 0,5. */
static void test_locale(void **unused) {
  (void)unused;
  static const char *const comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "nl_NL.UTF-8", "pt_BR.UTF-8", "ru_RU.UTF-8"};
  size_t i = 0;
  while (i < COUNT(comma) && setlocale(LC_ALL, comma[i]) == NULL)
    i++;
  if (i == COUNT(comma)) {
    print_message("skipped: no locale that writes floats with a comma\n");
    skip();
  }
  char printed[4096];
  attune_expression *expression = parse(SCORE, "0.5 + score");
  print(printed, expression);
  assert_string_equal(printed, "(0.5 + score)");
  free(expression);
}
static int leave_locale(void **unused) {
  (void)unused;
  return setlocale(LC_ALL, "C") == NULL;
}

/* ---- meaning: against the same by hand, over a grid ---- */

typedef double by_hand(const attune_scope *s);

static int32_t distance(const attune_scope *s) {
  return s->q < s->k ? s->k - s->q : s->q - s->k;
}
static int32_t document(int32_t i) {
  return i >= 0 && i < DOCUMENTED ? doc[i] : 0;
}
/* templates/arithmetic.h says which hash it is. */
static int32_t random_by_hand(int32_t a, int32_t b, int32_t c) {
  uint32_t x = (uint32_t)a * 2654435761u + (uint32_t)b * 2246822507u + (uint32_t)c * 3266489909u;
  x = (x ^ (x >> 16)) * 2146121005u;
  x = (x ^ (x >> 15)) * 2221713035u;
  return (int32_t)((x ^ (x >> 16)) % 2147483648u);
}

static double documents(const attune_scope *s) {
  return document(s->q) == document(s->k);
}
static double window(const attune_scope *s) {
  return distance(s) < WINDOW;
}
static double strided(const attune_scope *s) {
  return distance(s) < 64 || distance(s) % 64 == 0;
}
static double dilated(const attune_scope *s) {
  return distance(s) <= 4 * WINDOW && distance(s) % 4 == 0;
}
static double butterfly(const attune_scope *s) {
  const int32_t a = s->q / 128, b = s->k / 128;
  if (a == b || b == 0) return 1;
  int bits = 0;
  for (int32_t differ = a ^ b; differ != 0; differ >>= 1)
    bits += differ & 1;
  return bits <= 1;
}
static double prefix_lm(const attune_scope *s) {
  return s->k <= s->q || s->k < prefix[s->batch];
}
static double chunked(const attune_scope *s) {
  return s->q / 64 == s->k / 64 && s->k <= s->q;
}
static double first_and_near(const attune_scope *s) {
  if (s->k < 4) return 1;
  return s->k <= s->q && s->q - s->k < WINDOW;
}
static double bottom_right(const attune_scope *s) {
  return s->k <= s->q + s->seqlen_k - s->seqlen_q;
}
/* doc ascends by one every 50 elements, from -1. */
static double up_to_the_document(const attune_scope *s) {
  const int32_t at_most = s->q / 50 * 50 + 50;
  return s->k < (at_most < DOCUMENTED ? at_most : DOCUMENTED);
}

static double blocks_at_random(const attune_scope *s) {
  return random_by_hand(s->head, s->q / 64, s->k / 64) < 1 << 30;
}
static double dropped(const attune_scope *s) {
  return random_by_hand(7, s->q * 4096 + s->k, s->batch * 4 + s->head) % 100 >= 30;
}
static double direction_of_head(const attune_scope *s) {
  if (s->head % 2 != 0) return s->k <= s->q;
  return s->q <= s->k;
}
static double shifted(const attune_scope *s) {
  return s->q / 8 == s->k / 8 || ((s->q ^ s->k) & 63) == 0;
}
static double documents_as_truth(const attune_scope *s) {
  return document(s->k) != 0 && document(s->q) == 0;
}

static double alibi(const attune_scope *s) {
  return s->score + (double)slope[s->head] * (double)(s->k - s->q);
}
static double alibi_both_ways(const attune_scope *s) {
  return s->score - (double)slope[s->head] * (double)distance(s);
}
static double relative_bias(const attune_scope *s) {
  int32_t offset = s->k - s->q;
  if (offset < -REACH) offset = -REACH;
  if (offset > REACH) offset = REACH;
  return s->score + (double)relative[offset + REACH];
}
/* No clamp: what is outside of the table is 0. */
static double relative_bias_within(const attune_scope *s) {
  const int32_t at = s->k - s->q + REACH;
  return s->score + (at >= 0 && at <= 2 * REACH ? (double)relative[at] : 0.0);
}
static double softcap(const attune_scope *s) {
  return (double)cap * tanh(s->score / (double)cap);
}
static double with_bias(const attune_scope *s) {
  return 0.1f * s->score + s->bias;
}
static double masked_by_score(const attune_scope *s) {
  return document(s->q) == document(s->k) ? s->score : (double)-1e30f;
}
static double log_distance(const attune_scope *s) {
  return s->score - log(1.0 + (double)distance(s));
}
static double truth_in_arithmetic(const attune_scope *s) {
  const double seen = s->k <= s->q ? 1 : 0, even = s->q % 2 == 0 ? 1 : 0;
  return s->score * seen - 2 * (1 - seen) + even;
}
static double functions(const attune_scope *s) {
  return sqrt(fabs(s->score)) + exp(-s->score * s->score) + floor(s->score) + fmin(s->score, s->q) +
         fmax(s->score, s->k);
}
static double whole_part(const attune_scope *s) {
  const double x = s->score * 3;
  if (isnan(x)) return 0;
  return x >= 2147483647.0 ? 2147483647 % 5 : x <= -2147483648.0 ? -2147483648ll % 5 : (int)x % 5;
}
static double wrapping(const attune_scope *s) {
  const uint32_t x = ((uint32_t)s->q * 1103515245u + 12345u) ^ ((uint32_t)s->k << 23);
  return (double)(int32_t)x / 1000;
}
static double nested_ternaries(const attune_scope *s) {
  if (s->head == 0) return s->score;
  if (s->head == 1) return s->q < s->k ? -s->score : 2 * s->score;
  return s->batch == 0 ? s->q : 0.25;
}

static const struct {
  attune_expression_kind kind;
  const char *text;
  by_hand *hand;
} meanings[] = {
    {MASK, "doc[q]==doc[k]", documents},
    {MASK, "abs(q - k) < window", window},
    {MASK, "q - k < window && k - q < window", window},
    {MASK, "(q - k) % 64 == 0 || abs(q - k) < 64", strided},
    {MASK, "abs(q - k) <= 4 * window && (q - k) % 4 == 0", dilated},
    {MASK, "q/128 == k/128 || k/128 == 0 || ((q/128 ^ k/128) & ((q/128 ^ k/128) - 1)) == 0", butterfly},
    {MASK, "k <= q || k < prefix[batch]", prefix_lm},
    {MASK, "q / 64 == k / 64 && k <= q", chunked},
    {MASK, "k < 4 || (k <= q && q - k < window)", first_and_near},
    {MASK, "k < 4 || k <= q && q - k < window", first_and_near},
    {MASK, "k <= q + (seqlen_k - seqlen_q)", bottom_right},
    {MASK, "random(head, q / 64, k / 64) < 1 << 30", blocks_at_random},
    {MASK, "random(7, q * 4096 + k, batch * 4 + head) % 100 >= 30", dropped},
    {MASK, "find(doc, q / 50 - 1) > k", up_to_the_document},
    {MASK, "head & 1 ? k <= q : q <= k", direction_of_head},
    {MASK, "q >> 3 == k >> 3 || ((q ^ k) & 0x3f) == 0", shifted},
    {MASK, "doc[k] && !doc[q]", documents_as_truth},
    {SCORE, "score + slope[head] * (k - q)", alibi},
    {SCORE, "score - slope[head] * abs(q - k)", alibi_both_ways},
    {SCORE, "score + relative[max(-16, min(16, k - q)) + 16]", relative_bias},
    {SCORE, "score + relative[k - q + 16]", relative_bias_within},
    {SCORE, "cap * tanh(score / cap)", softcap},
    {SCORE, "0.1 * score + bias", with_bias},
    {SCORE, "doc[q] == doc[k] ? score : -1e30", masked_by_score},
    {SCORE, "score - log(1 + abs(q - k))", log_distance},
    {SCORE, "score * (k <= q) - 2 * (k > q) + !(q & 1)", truth_in_arithmetic},
    {SCORE, "sqrt(abs(score)) + exp(-score * score) + floor(score) + min(score, q) + max(score, k)", functions},
    {SCORE, "int(score * 3) % 5", whole_part},
    {SCORE, "(q * 1103515245 + 12345 ^ k << 23) / 1000.0", wrapping},
    {SCORE, "head == 0 ? score : head == 1 ? q < k ? -score : score * 2 : batch == 0 ? q : 0.25", nested_ternaries},
};

static const int32_t places[] = {0,   1,   2,   3,   7,   8,   15,  16,  17,  49,  50,  63,  64,
                                 65,  95,  96,  97,  127, 128, 129, 199, 200, 255, 256, 299, 300,
                                 383, 384, 391, 392, 393, 511, 512, 640, 768, 896, 999, 1000};
static const double scores[] = {0.0, 3.25, -7.5, 1e30, -1e30, INFINITY, NAN};

static void over_grid(void (*check)(const attune_scope *scope, void *user), void *user) {
  attune_scope scope = usual;
  for (scope.batch = 0; scope.batch < 2; scope.batch++)
    for (scope.head = 0; scope.head < 4; scope.head++)
      for (size_t q = 0; q < COUNT(places); q++)
        for (size_t k = 0; k < COUNT(places); k++)
          for (size_t s = 0; s < COUNT(scores); s++) {
            scope.q = places[q];
            scope.k = places[k];
            scope.score = scores[s];
            scope.bias = 0.001 * scope.q;
            check(&scope, user);
          }
}

struct meaning {
  const attune_expression *expression;
  by_hand *hand;
  const char *text;
  double least, most;
};

static void check_meaning(const attune_scope *scope, void *user) {
  struct meaning *m = user;
  const double value = attune_expression_evaluate(m->expression, scope);
  m->least = fmin(m->least, value);
  m->most = fmax(m->most, value);
  const double expected = m->hand(scope);
  if (!same(value, expected))
    fail_msg("%s is %.17g, not %.17g, at batch %d, head %d, q %d, k %d, score %g", m->text, value, expected,
             scope->batch, scope->head, scope->q, scope->k, scope->score);
}

static void test_meaning(void **unused) {
  (void)unused;
  for (size_t i = 0; i < COUNT(meanings); i++) {
    attune_expression *expression = parse(meanings[i].kind, meanings[i].text);
    struct meaning m = {expression, meanings[i].hand, meanings[i].text, INFINITY, -INFINITY};
    over_grid(check_meaning, &m);
    assert_true(m.least < m.most); /* the grid has both answers */
    if (meanings[i].kind == MASK) assert_true(m.least == 0.0 && m.most == 1.0);
    free(expression);
  }
}

/* The text is what the C compiler reads too. It would rather have more parentheses. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wparentheses"
#pragma GCC diagnostic ignored "-Wconversion"
#define AS_C(...)                                                                                                      \
  { #__VA_ARGS__, (double)(__VA_ARGS__) }
struct as_c {
  const char *text;
  double value;
};
enum { AS_C_COUNT = 22 };
static void compile_as_c(struct as_c out[AS_C_COUNT], const attune_scope *s) {
  const int32_t q = s->q, k = s->k, head = s->head, batch = s->batch;
  const double score = s->score;
  const struct as_c cases[AS_C_COUNT] = {
      AS_C(q - k - head - batch),
      AS_C(q * 3 / 7 % 5 * 2),
      AS_C(q + k * head - k / (head + 1) % 3),
      AS_C(q << 2 + batch >> 1 + head),
      AS_C(q & 3 == 3),
      AS_C(q & 7 | k & 56 ^ head),
      AS_C(q ^ k & 12 | 1),
      AS_C(q < k == k < q),
      AS_C(q < k < head),
      AS_C(q == k != head > 1),
      AS_C(q || k && head),
      AS_C(q && k || head && batch),
      AS_C(!q + !k * 2 - -head),
      AS_C(~q & 15),
      AS_C(-q % 7 + -q / 7),
      AS_C(-q >> 2),
      AS_C(!q == k > head),
      AS_C(q > k   ? q - k
           : head  ? -1
           : batch ? 2.5
                   : 3),
      AS_C((q > k ? k : q) + 1),
      AS_C(score > q ? score : q),
      AS_C(score * 2 - q / 2 * 0.5f),
      AS_C(score && q || !score),
  };
  memcpy(out, cases, sizeof cases);
}
#pragma GCC diagnostic pop

static void check_as_c(const attune_scope *scope, void *user) {
  attune_expression **expressions = user;
  struct as_c cases[AS_C_COUNT];
  compile_as_c(cases, scope);
  for (int i = 0; i < AS_C_COUNT; i++) {
    if (expressions[i] == NULL) expressions[i] = parse(SCORE, cases[i].text);
    check_value(cases[i].text, attune_expression_evaluate(expressions[i], scope), cases[i].value);
  }
}

static void test_as_c(void **unused) {
  (void)unused;
  attune_expression *expressions[AS_C_COUNT] = {0};
  over_grid(check_as_c, expressions);
  for (int i = 0; i < AS_C_COUNT; i++)
    free(expressions[i]);
}

/* ---- meaning: single values, where C leaves it open or is otherwise ---- */

static void test_values(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    double value;
  } cases[] = {
      /* ints wrap */
      {"2147483647 + 1", -2147483648.0},
      {"-2147483647 - 2", 2147483647.0},
      {"65536 * 65536", 0},
      {"46341 * 46341", -2147479015.0},
      {"-(-2147483647 - 1)", -2147483648.0},
      {"abs(-2147483647 - 1)", -2147483648.0},
      {"(-2147483647 - 1) / -1", -2147483648.0},
      {"(-2147483647 - 1) % -1", 0},
      /* shifts take the lower five bits, and keep the sign */
      {"1 << 31", -2147483648.0},
      {"1 << 32", 1},
      {"3 << 33", 6},
      {"1 << -1", -2147483648.0},
      {"-8 >> 1", -4},
      {"-1 >> 31", -1},
      {"-256 >> 36", -16},
      /* division */
      {"q / 0", 0},
      {"q % 0", 0},
      {"-q / (q - 10)", 0},
      {"0 / 0", 0},
      {"7 / 2", 3},
      {"-7 / 2", -3},
      {"7 / -2", -3},
      {"-7 % 3", -1},
      {"7 % -3", 1},
      {"7 / 2.0", 3.5},
      {"1 / 0.0", INFINITY},
      {"0.0 / 0", NAN},
      /* elements */
      {"find(doc, 1)", 150},
      {"find(doc, -2)", 0},
      {"find(doc, 2147483647)", 300},
      {"doc[299]", 4},
      {"doc[0]", -1},
      {"doc[300]", 0},
      {"doc[-1]", 0},
      {"doc[2147483647]", 0},
      {"doc[-2147483647 - 1]", 0},
      {"slope[3]", 0.0625},
      {"slope[4]", 0},
      {"slope[-1]", 0},
      {"slope[q > k]", 0.25},
      /* to an int */
      {"int(2.9)", 2},
      {"int(-2.9)", -2},
      {"int(2147483000.0)", 2147483008.0},
      {"int(1e10)", 2147483647.0},
      {"int(-1e10)", -2147483648.0},
      {"int(1 / 0.0)", 2147483647.0},
      {"int(log(0))", -2147483648.0},
      {"int(0.0 / 0)", 0},
      {"int(sqrt(-1))", 0},
      {"int(q)", 10},
      /* truth values */
      {"(q > k) + (q > k)", 2},
      {"-(q > k)", -1},
      {"~(q > k)", -2},
      {"(q > k) * 0.5 + (q < k)", 0.5},
      {"(q > k) == 1", 1},
      {"3 > 2 > 1", 0},
      {"1 << (q > k)", 2},
      {"abs(q < k)", 0},
      {"!5", 0},
      {"!0", 1},
      {"!0.5", 0},
      {"!0.0", 1},
      {"!!7", 1},
      {"2 && 4", 1},
      {"0.5 || 0", 1},
      {"0.25 ? 3 : 4", 3},
      {"0.0 / 0 ? 3 : 4", 3},
      /* ints and floats meet as floats; both sides of a ? do */
      {"1 ? 7 / 2 : 0.5", 3},
      {"0 ? 7 : 1 / 2.0", 0.5},
      {"float(7) / 2", 3.5},
      {"float(7 / 2)", 3},
      {"min(7, 2)", 2},
      {"min(7, 7.5) / 2", 3.5},
      {"max(7, 2) / 2", 3},
      {"max(1, 2.5)", 2.5},
      {"abs(-2.5)", 2.5},
      {"sqrt(16)", 4},
      {"exp(0)", 1},
      {"log(1)", 0},
      {"tanh(0)", 0},
      {"floor(-1.5)", -2},
      {"floor(7 / 2)", 3},
      /* literals are floats, rounded once */
      {"0.1", 0.1f},
      {"16777217.0", 16777216.0},
      {"1.00000017881393432617187499", 1.00000017881393432617187499f},
      {"0x7fffffff", 2147483647.0},
      /* names */
      {"batch * 1000 + head * 100 + q + k", 1217},
      {"seqlen_q * 10000 + seqlen_k", 5131001},
      {"window", WINDOW},
      {"cap", 2.5},
      {"name_of_23_characters__", 23},
      {"prefix[batch]", 200},
      {"score + bias", 1},
  };
  for (size_t i = 0; i < COUNT(cases); i++)
    check_value(cases[i].text, value_of(cases[i].text), cases[i].value);
}

/* All bits of a count of its arguments look tossed, whichever of them counts. */
static void test_random(void **unused) {
  (void)unused;
  static const char *const texts[] = {"random(q, 1, 2)", "random(1, q, 2)", "random(1, 2, q)"};
  enum { DRAWS = 4096 };
  for (size_t i = 0; i < COUNT(texts); i++) {
    attune_expression *expression = parse(SCORE, texts[i]);
    int ones[32] = {0};
    attune_scope scope = usual;
    for (scope.q = 0; scope.q < DRAWS; scope.q++) {
      const double value = attune_expression_evaluate(expression, &scope);
      assert_true(value >= 0 && value <= INT32_MAX);
      for (int bit = 0; bit < 31; bit++)
        ones[bit] += (int32_t)value >> bit & 1;
    }
    for (int bit = 0; bit < 31; bit++) /* six standard deviations */
      assert_in_range(ones[bit], DRAWS / 2 - 192, DRAWS / 2 + 192);
    free(expression);
  }
}

/* ---- refusals ---- */

static void check_refused(attune_expression_kind kind, const char *text, bool bias, const char *says) {
  attune_expression *expression;
  const attune_status status = attune_expression_parse(&expression, kind, text, params, bias);
  if (status == ATTUNE_OK) fail_msg("%s is not refused", text);
  assert_int_equal(status, ATTUNE_BAD_EXPRESSION);
  assert_null(expression);
  if (strstr(attune_message(), says) == NULL) fail_msg("%s: %s", attune_message(), says);
  assert_non_null(strstr(attune_message(), kind == MASK ? "mask expression" : "score expression"));
}

static void test_refused(void **unused) {
  (void)unused;
  static const struct {
    attune_expression_kind kind;
    const char *text, *says;
  } cases[] = {
      {MASK, "", "column 1: it ends where a value is expected"},
      {MASK, " \t", "column 3: it ends"},
      {MASK, "q <", "column 4: it ends"},
      {MASK, "(q", "column 3: expected ')' after a parenthesis"},
      {MASK, "()", "column 2: expected a value, found ')'"},
      {MASK, "q < k)", "column 6: expected an operator or the end"},
      {MASK, "q < k k", "column 7: expected an operator or the end"},
      {MASK, "q ? k", "column 6: expected ':'"},
      {MASK, "q ? : k", "column 5: expected a value, found ':'"},
      {MASK, "q : k", "column 3: expected an operator or the end"},
      /* names */
      {MASK, "q < keys", "column 5: no such name: keys"},
      {MASK, "Q < k", "column 1: no such name: Q"},
      {MASK, "q < name_of_24_characters___", "column 5: no such name: name_of_24_characters___"},
      {MASK, "name_of_23_characters", "column 1: no such name"},
      {MASK, "name_of_23_characters___and_more", "column 1: no such name"},
      {MASK, "sin(q)", "column 1: no such name: sin"},
      {MASK, "q < score", "column 5: a mask does not know the score"},
      {MASK, "1 + bias", "column 5: the problem has no bias for masks"},
      /* functions */
      {SCORE, "score + exp", "column 12: expected '(': exp is a function"},
      {SCORE, "min + 1", "column 5: expected '(': min is a function"},
      {SCORE, "min(q)", "column 6: min takes 2 values"},
      {SCORE, "min()", "column 5: expected a value, found ')'"},
      {SCORE, "min(q, k, 1)", "column 9: expected ')'"},
      {SCORE, "abs(q, k)", "column 6: expected ')'"},
      {MASK, "find + 1", "column 6: expected '(': find is a function"},
      {MASK, "find(q, k)", "column 6: find looks in an array of int"},
      {MASK, "find(slope, k)", "column 6: find looks in an array of int"},
      {MASK, "find(doc)", "column 9: expected ','"},
      {MASK, "find(doc, 0.5)", "column 10: a float where an int is needed"},
      {MASK, "find(doc, k", "column 12: expected ')'"},
      {SCORE, "random(q, k)", "column 12: random takes 3 values"},
      {SCORE, "random(q, k, 0.5)", "column 1: a float where an int is needed; write int(...)"},
      {SCORE, "exp(q", "column 6: expected ')'"},
      /* elements */
      {MASK, "doc == 1", "column 1: doc is an array of int: it needs an index, as in doc[q]"},
      {SCORE, "score + slope", "column 9: slope is an array of float: it needs an index"},
      {MASK, "abs(doc)", "column 5: doc is an array"},
      {MASK, "window[q] < 3", "column 7: expected an operator or the end"},
      {MASK, "q[0]", "column 2: expected an operator or the end"},
      {MASK, "doc[q][k]", "column 7: expected an operator or the end"},
      {MASK, "doc[q", "column 6: expected ']' after an index"},
      {MASK, "doc[]", "column 5: expected a value, found ']'"},
      {MASK, "doc[0.5]", "column 5: a float where an int is needed"},
      {MASK, "doc[cap] == 1", "column 5: a float where an int is needed"},
      /* ints alone */
      {SCORE, "score % 2", "column 7: a float where an int is needed"},
      {SCORE, "1 << score", "column 3: a float where an int is needed"},
      {SCORE, "q & 0.5", "column 3: a float where an int is needed"},
      {SCORE, "q + ~score", "column 5: a float where an int is needed"},
      /* what changes something, or is no expression */
      {MASK, "q = k", "column 3: an assignment; equality is =="},
      {MASK, "q += 1", "column 3: an assignment"},
      {MASK, "q -= 1", "column 3: an assignment"},
      {MASK, "q *= 1", "column 3: an assignment"},
      {MASK, "q /= 1", "column 3: an assignment"},
      {MASK, "q %= 1", "column 3: an assignment"},
      {MASK, "q &= 1", "column 3: an assignment"},
      {MASK, "q |= 1", "column 3: an assignment"},
      {MASK, "q ^= 1", "column 3: an assignment"},
      {MASK, "q <<= 1", "column 3: an assignment"},
      {MASK, "q >>= 1", "column 3: an assignment"},
      {MASK, "doc[q] = 1", "column 8: an assignment"},
      {MASK, "q++", "column 2: ++ has side effects"},
      {MASK, "q--", "column 2: -- has side effects"},
      {MASK, "q--k", "column 2: -- has side effects"},
      {MASK, "k < --q", "column 5: -- has side effects; write -(-x)"},
      {MASK, "k < ++q", "column 5: expected a value, found '+'"},
      {MASK, "+q", "column 1: expected a value, found '+'"},
      {MASK, "q; k", "column 2: one expression only"},
      {MASK, "q, k", "column 2: one expression only"},
      {MASK, "(q, k)", "column 3: expected ')'"},
      {MASK, "q === k", "column 5: expected a value, found '='"},
      {MASK, "q && & k", "column 6: expected a value, found '&'"},
      {MASK, "q ! k", "column 3: expected an operator or the end"},
      {MASK, "*q", "column 1: expected a value, found '*'"},
      {MASK, "&q", "column 1: expected a value, found '&'"},
      {MASK, "q.k", "column 2: expected an operator or the end"},
      {MASK, "(int)q", "column 5: expected '(': int is a function"},
      {MASK, "\"q\"", "column 1: expected a value, found '\"'"},
      {MASK, "'q'", "column 1: expected a value, found '''"},
      {MASK, "#define", "column 1: expected a value, found '#'"},
      {MASK, "q # k", "column 3: expected an operator or the end"},
      {MASK, "q // k", "column 4: expected a value, found '/'"},
      {MASK, "q /* k */", "column 4: expected a value, found '*'"},
      {MASK, "q < \\", "column 5: expected a value, found '\\'"},
      {MASK, "q < k\r", "column 6: expected an operator or the end"},
      {MASK, "q < \xc3\xa4", "column 5: expected a value, found '?'"},
      /* numbers */
      {MASK, "q < 2147483648", "column 5: an int ends at 2147483647"},
      {MASK, "q < 0x80000000", "column 5: an int ends at 2147483647"},
      {MASK, "q < 99999999999999999999999999", "column 5: an int ends at 2147483647"},
      {MASK, "q < 010", "column 5: octal in C"},
      {MASK, "q < 08", "column 5: octal in C"},
      {MASK, "q < 12k", "column 5: not a number"},
      {MASK, "q < 0x", "column 5: not a number"},
      {MASK, "q < 0x1p3", "column 5: not a number"},
      {MASK, "q < 0x1.8", "column 5: not a number"},
      {MASK, "q < 1f", "column 5: not a number"},
      {MASK, "q < 1u", "column 5: not a number"},
      {MASK, "q < .", "column 5: expected a value, found '.'"},
      {SCORE, "score < 1.2.3", "column 9: not a number"},
      {SCORE, "score < 1..", "column 9: not a number"},
      {SCORE, "score < 1e", "column 9: not a number"},
      {SCORE, "score < 1e+", "column 9: not a number"},
      {SCORE, "score < 1.5ff", "column 9: not a number"},
      {SCORE, "score < 3.5e38", "column 9: a float ends at 3.4e38"},
      {SCORE, "score < 1e999", "column 9: a float ends at 3.4e38"},
  };
  for (size_t i = 0; i < COUNT(cases); i++)
    check_refused(cases[i].kind, cases[i].text, true, cases[i].says);
  check_refused(SCORE, "score + bias", false, "column 9: the problem has no bias");
}

static void test_too_large(void **unused) {
  (void)unused;
  static const struct {
    const char *first, *repeated;
    int count;
    const char *last, *says;
  } cases[] = {
      {"", "(", 512, "k", "column 513: nested deeper than 512"},
      {"", "~", 512, "k", "column 512: nested deeper than 512"},
      {"", "- ", 100000, "k", "nested deeper than 512"},
      {"", "(", 100000, "k", "nested deeper than 512"},
      {"", "doc[", 100000, "k", "more than 256 operations and operands"},
      {"", "abs(", 100000, "k", "nested deeper than 512"},
      {"", "k?", 100000, "k", "more than 256 operations and operands"},
      {"", "k?k:", 512, "k", "more than 256 operations and operands"},
      {"", "~", 256, "k", "more than 256 operations and operands"},
      {"k", "+k", 128, "", "column 258: more than 256 operations and operands"},
      {"k", "+k", 100000, "", "column 258: more than 256 operations and operands"},
      {"k", "k", 100000, "", "column 1: no such name: kkkk"},
      {"", "9", 100000, "", "column 1: an int ends at"},
      {"0.", "9", 100000, "x", "column 1: not a number"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    char *text = chain(cases[i].first, cases[i].repeated, cases[i].count, cases[i].last);
    check_refused(SCORE, text, true, cases[i].says);
    free(text);
  }
}

static void test_arguments(void **unused) {
  (void)unused;
  attune_expression *expression;
  assert_int_equal(attune_expression_parse(NULL, MASK, "q", params, false), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_expression_parse(&expression, MASK, NULL, params, false), ATTUNE_BAD_ARGUMENT);
  /* No params at all, and none behind a gap. */
  assert_int_equal(attune_expression_parse(&expression, MASK, "q < k", NULL, false), ATTUNE_OK);
  free(expression);
  const attune_param gap[ATTUNE_PARAMS_MAX] = {
      {"a", ATTUNE_PARAM_INT}, {"", ATTUNE_PARAM_NONE}, {"b", ATTUNE_PARAM_INT}};
  assert_int_equal(attune_expression_parse(&expression, MASK, "a", gap, false), ATTUNE_OK);
  free(expression);
  assert_int_equal(attune_expression_parse(&expression, MASK, "b", gap, false), ATTUNE_BAD_EXPRESSION);
}

/* ---- what is emitted, and what is used ---- */

static void test_emitted(void **unused) {
  (void)unused;
  static const struct {
    attune_expression_kind kind;
    const char *text, *emitted;
    int32_t longest; /* sequence */
  } cases[] = {
      {SCORE, "score + (k - q)", "(score + small<real>((k - q)))", 1 << 20},
      {SCORE, "score + k * q", "(score + real((k * q)))", 1 << 20},
      {SCORE, "score + slope[head] * (k - q)", "(score + (item.c0 * real((k - q))))", ATTUNE_UNBOUNDED},
      {SCORE, "cap * tanh(score / cap)", "(param_cap * hyperbolic_tangent(quotient(score, param_cap)))",
       ATTUNE_UNBOUNDED},
      {SCORE, "score > 0 ? 0.5 : 2", "select((score > real(0.0f)), real(0.5f), real(2.0f))", ATTUNE_UNBOUNDED},
      {SCORE, "score * (k <= q) + bias", "((score * small<real>(select((k <= q), index(1), index(0)))) + bias)",
       ATTUNE_UNBOUNDED},
      {SCORE, "float(q) + int(score) + 1e30", "(((real(q)) + real(truncated(score))) + real(1e+30f))",
       ATTUNE_UNBOUNDED},
      {SCORE, "1.0", "real(1.0f)", ATTUNE_UNBOUNDED},
      {SCORE, "min(q, k) + max(q, 1.5)", "(real(smaller(q, k)) + larger(real(q), real(1.5f)))", ATTUNE_UNBOUNDED},
      {MASK, "doc[q] == doc[k]", "(param_doc[q] == param_doc[k])", ATTUNE_UNBOUNDED},
      {MASK, "window", "(param_window != index(0))", ATTUNE_UNBOUNDED},
      {MASK, "cap", "(param_cap != real(0.0f))", ATTUNE_UNBOUNDED},
      {MASK, "q && !k", "((q != index(0)) && (!(k != index(0))))", ATTUNE_UNBOUNDED},
      {MASK, "(q < k) & 1", "((select((q < k), index(1), index(0)) & index(1)) != index(0))", ATTUNE_UNBOUNDED},
      {MASK, "random(1, q, k) < 5", "(random_bits(index(1), q, k) < index(5))", ATTUNE_UNBOUNDED},
      {MASK, "head ? q < k : q > -1", "select((head != index(0)), (q < k), (q > (-index(1))))", ATTUNE_UNBOUNDED},
      {MASK, "(q < k) == (k < 3)",
       "(select((q < k), index(1), index(0)) == select((k < index(3)), index(1), index(0)))", ATTUNE_UNBOUNDED},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    attune_buffer buffer = {0};
    attune_expression *expression = parse(cases[i].kind, cases[i].text);
    attune_expression_emit(&buffer, expression, cases[i].longest);
    assert_false(buffer.failed);
    assert_string_equal(buffer.text, cases[i].emitted);
    attune_buffer_free(&buffer);
    free(expression);
  }
}

/* No text of the caller's but names of params gets into a source: what is emitted has no other characters. */
static void test_emitted_characters(void **unused) {
  (void)unused;
  for (size_t i = 0; i < COUNT(meanings); i++) {
    attune_buffer buffer = {0};
    attune_expression *expression = parse(meanings[i].kind, meanings[i].text);
    attune_expression_emit(&buffer, expression, 4096);
    assert_int_equal(strspn(buffer.text, "abcdefghijklmnopqrstuvwxyz_0123456789.+-*/%&|^~!=<>()[], "), buffer.length);
    attune_buffer_free(&buffer);
    free(expression);
  }
}

static void test_uses(void **unused) {
  (void)unused;
  attune_expression *expression = parse(SCORE, "slope[doc[q]] + score");
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    assert_int_equal(attune_expression_uses(expression, i), i == 2 || i == 4);
  assert_false(attune_expression_uses_bias(expression));
  free(expression);
  expression = parse(SCORE, "score + bias");
  assert_false(attune_expression_uses(expression, 1)); /* bias is a name, not the param of that index */
  assert_true(attune_expression_uses_bias(expression));
  free(expression);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_precedence),
      cmocka_unit_test(test_text),
      cmocka_unit_test(test_largest),
      cmocka_unit_test(test_edits),
      cmocka_unit_test_teardown(test_locale, leave_locale),
      cmocka_unit_test(test_meaning),
      cmocka_unit_test(test_as_c),
      cmocka_unit_test(test_values),
      cmocka_unit_test(test_random),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_too_large),
      cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_emitted),
      cmocka_unit_test(test_emitted_characters),
      cmocka_unit_test(test_uses),
  };
  return cmocka_run_group_tests(tests, fill_arrays, NULL);
}
