/* What expressions mean: against the same by hand over a grid, against the C compiler, and value by value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/expression_case.h"

static const attune_scope usual = {.score = 1.5,
                                   .bias = -0.5,
                                   .batch = 1,
                                   .head = 2,
                                   .q = 10,
                                   .k = 7,
                                   .seqlen_q = 513,
                                   .seqlen_k = 1001,
                                   .values = values};

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

/* ---- meaning: against the same by hand, over a grid ---- */

typedef double by_hand(const attune_scope *s);

static int32_t distance(const attune_scope *s) {
  return s->q < s->k ? s->k - s->q : s->q - s->k;
}
static int32_t document(int32_t i) {
  return i >= 0 && i < DOCUMENTED ? doc[i] : 0;
}
/* templates/parts/arithmetic.h says which hash it is. */
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
      /* what turns a last place into another result goes by floats, each operation rounded once */
      {"int(0.7 * 10)", 7},
      {"floor(0.7 * 10)", 7},
      {"0.7 * 10 == 7 ? 1 : 0", 1},
      {"0.7 * 10 < 7 ? 1 : 0", 0},
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

/* ---- the largest ---- */

static void test_largest(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    double largest;
  } cases[] = {
      {"score", INFINITY},
      {"20 * tanh(score / 20)", 20},
      {"cap * tanh(score / cap)", INFINITY},
      {"max(min(score, 50), -40)", 50},
      {"min(50, max(-60, score))", 60},
      {"min(score, 5)", INFINITY},
      {"abs(min(max(score, -3), 2))", 3},
      {"max(min(score, 50), -50) + bias", INFINITY},
      {"doc[q] == doc[k] ? 20 * tanh(score) : -1e4", 1e4},
      {"k <= q ? tanh(score) : score", INFINITY},
      {"tanh(score) * tanh(bias) - 3 * tanh(score)", 4},
      {"tanh(score) / (2 + tanh(bias))", 1},
      {"tanh(score) / (1 + tanh(bias))", INFINITY},
      {"tanh(score) + log(k <= q)", INFINITY},
      {"exp(tanh(score) * 2)", 7.38905609893065},
      {"exp(score)", INFINITY},
      {"exp(min(score, 3))", 20.0855369231877},
      {"log(2 + tanh(score))", 1.09861228866811},
      {"sqrt(5 + 4 * tanh(score))", 3},
      {"floor(tanh(score) * 2.5)", 3},
      {"tanh(score) + q % 4", 4},
      {"tanh(score) + doc[q]", 2147483649.0},
      {"tanh(score) + slope[q]", INFINITY},
      {"-tanh(score) + float(int(score) & 7)", 8},
      {"1e30 * tanh(score) * 1e30", INFINITY},
      {"(score > 3) + 0.5", 1.5},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    attune_expression *expression = parse(SCORE, cases[i].text);
    const double largest = attune_expression_largest(expression), wanted = cases[i].largest;
    if (largest != wanted && !(fabs(largest - wanted) <= 1e-3 * wanted))
      fail_msg("%s: %.17g, not %g", cases[i].text, largest, wanted);
    free(expression);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_largest), cmocka_unit_test(test_meaning), cmocka_unit_test(test_as_c),
      cmocka_unit_test(test_values),  cmocka_unit_test(test_random),  cmocka_unit_test(test_emitted_characters),
  };
  return cmocka_run_group_tests(tests, fill_arrays, NULL);
}
