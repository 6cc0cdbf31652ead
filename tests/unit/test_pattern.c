/* Named patterns against their rules by hand, and what is said of whole tiles against every one of their elements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "generator/generator.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- params and their values ---- */

static const attune_param params[] = {
    {"n", ATTUNE_PARAM_INT, 0},         {"x", ATTUNE_PARAM_FLOAT, 0},
    {"doc", ATTUNE_PARAM_INT_ARRAY, 0}, {"table", ATTUNE_PARAM_FLOAT_ARRAY, 0},
    {"lowest", ATTUNE_PARAM_INT, 0},
};
static const int32_t doc[] = {0, 0, 0, 1, 1, 1, 1, 1, 5, 5, 5, 9, 9, 9, 9, 9, 9, 9, 2, 2, -3, INT32_MIN, INT32_MAX, 4};
static const float table[] = {0.5f, 1.5f, -2.5f, 3.5f};
static const attune_value values[ATTUNE_PARAMS_MAX] = {
    {.integer = 37},
    {.real = 4.5f},
    {.array = doc, .count = COUNT(doc)},
    {.array = table, .count = COUNT(table)},
    {.integer = INT32_MIN},
};

static attune_expression *parse(const char *text) {
  attune_expression *expression;
  if (attune_expression_parse(&expression, ATTUNE_EXPRESSION_MASK, text, params, COUNT(params), false) != ATTUNE_OK)
    fail_msg("%s", attune_message());
  return expression;
}

static attune_expression *parse_pattern(const char *pattern) {
  char text[ATTUNE_EXPRESSION_MAX];
  if (attune_pattern_expression(text, pattern) != ATTUNE_OK) fail_msg("%s", attune_message());
  return parse(text);
}

static bool sees(const attune_expression *expression, const attune_scope *scope) {
  const double value = attune_expression_evaluate(expression, scope);
  assert_true(value == 0.0 || value == 1.0);
  return value != 0.0;
}

/* ---- patterns by hand: of query q of Q and key k of K ---- */

typedef bool by_hand(int q, int k, int Q, int K);
#define RULE(name, ...)                                                                                                \
  static bool name(int q, int k, int Q, int K) {                                                                       \
    (void)q, (void)k, (void)Q, (void)K;                                                                                \
    return __VA_ARGS__;                                                                                                \
  }

static bool one_bit_at_most(int x) {
  int bits = 0;
  for (; x != 0; x >>= 1)
    bits += x & 1;
  return bits <= 1;
}
static bool is_butterfly(int a, int b) {
  return a == b || a == b + 1 || b == a + 1 || b == 0 || one_bit_at_most(a ^ b);
}
/* templates/parts/arithmetic.h says which hash it is. */
static int random_block(int row, int i, int seed, int blocks) {
  uint32_t x = (uint32_t)row * 2654435761u + (uint32_t)i * 2246822507u + (uint32_t)seed * 3266489909u;
  x = (x ^ (x >> 16)) * 2146121005u;
  x = (x ^ (x >> 15)) * 2221713035u;
  return (int)((x ^ (x >> 16)) % 2147483648u % (uint32_t)blocks);
}
static bool is_bigbird(int q, int k, int K, int block, int window, int global, int random, int seed) {
  const int row = q / block, column = k / block;
  if (row < global || column < global || abs(row - column) <= window) return true;
  for (int i = 0; i < random; i++)
    if (random_block(row, i, seed, (K + block - 1) / block) == column) return true;
  return false;
}

RULE(causal, k <= q)
RULE(bottom_right, k <= q + K - Q)
RULE(window_50, q - 50 <= k && k <= q + 50)
RULE(window_50_7, q - 50 <= k && k <= q + 7)
RULE(window_0_90, q <= k && k <= q + 90)
RULE(diagonal, q == k)
RULE(prefix_70, k <= q || k < 70)
RULE(global_9, q < 9 || k < 9)
RULE(longformer_30_5, abs(q - k) <= 30 || q < 5 || k < 5)
RULE(chunked_48, q - q % 48 == k - k % 48)
RULE(strided_20, abs(q - k) < 20 || abs(q - k) % 20 == 0)
RULE(dilated_6_5, abs(q - k) <= 30 && abs(q - k) % 5 == 0)
RULE(blocks_64_2, abs(q / 64 - k / 64) <= 2)
RULE(blocks_32_0, q / 32 == k / 32)
RULE(butterfly_128, is_butterfly(q / 128, k / 128))
RULE(butterfly_64, is_butterfly(q / 64, k / 64))
RULE(butterfly_24, is_butterfly(q / 24, k / 24))
RULE(bigbird_64, is_bigbird(q, k, K, 64, 1, 1, 3, 0))
RULE(bigbird_32_0, is_bigbird(q, k, K, 32, 0, 1, 3, 0))
RULE(bigbird_50_1_0_0, is_bigbird(q, k, K, 50, 1, 0, 0, 0))
RULE(bigbird_20_2_2_1_99, is_bigbird(q, k, K, 20, 2, 2, 1, 99))
RULE(bigbird_16_0_0_6_7, is_bigbird(q, k, K, 16, 0, 0, 6, 7))
RULE(bigbird_128_0_0_8_1234, is_bigbird(q, k, K, 128, 0, 0, 8, 1234))
RULE(causal_window, q - 50 <= k && k <= q)
RULE(any_of_three, k <= q || (abs(q - k) <= 80 && k < 33) || q < 3 || k < 3)
RULE(and_of_or, (k <= q || abs(q - k) <= 200) && q / 100 == k / 100)
RULE(or_of_and, k <= q || (abs(q - k) <= 200 && q / 100 == k / 100))
RULE(and_first, (k <= q && abs(q - k) <= 200) || q / 100 == k / 100)

static const struct {
  const char *pattern;
  by_hand *hand;
} patterns[] = {
    {"causal", causal},
    {"causal-bottom-right", bottom_right},
    {"window:50", window_50},
    {"window:50,7", window_50_7},
    {"window:0,90", window_0_90},
    {"window:0", diagonal},
    {"prefix:70", prefix_70},
    {"prefix:0", causal},
    {"global:9", global_9},
    {"longformer:30,5", longformer_30_5},
    {"longformer:50,0", window_50},
    {"chunked:48", chunked_48},
    {"strided:20", strided_20},
    {"dilated:6,5", dilated_6_5},
    {"dilated:50,1", window_50},
    {"blocks:64,2", blocks_64_2},
    {"blocks:32,0", blocks_32_0},
    {"butterfly", butterfly_128},
    {"butterfly:128", butterfly_128},
    {"butterfly:64", butterfly_64},
    {"butterfly:24", butterfly_24},
    {"bigbird:64", bigbird_64},
    {"bigbird:64,1,1,3,0", bigbird_64},
    {"bigbird:32,0", bigbird_32_0},
    {"bigbird:50,1,0,0", bigbird_50_1_0_0},
    {"bigbird:20,2,2,1,99", bigbird_20_2_2_1_99},
    {"bigbird:16,0,0,6,7", bigbird_16_0_0_6_7},
    {"bigbird:128,0,0,8,1234", bigbird_128_0_0_8_1234},
    /* composed: & binds closer, parentheses bind closest, blanks do not count */
    {"causal & window:50", causal_window},
    {"  (window:50)&( ( causal ) ) ", causal_window},
    {"window:50,50 & window:200,0", causal_window},
    {"causal | window:80 & prefix:33 | global:3", any_of_three},
    {"(causal | window:200) & chunked:100", and_of_or},
    {"causal | window:200 & chunked:100", or_of_and},
    {"causal | (window:200 & chunked:100)", or_of_and},
    {"window:200 & chunked:100 | causal", or_of_and},
    {"causal & window:200 | chunked:100", and_first},
    {"(causal & window:200) | chunked:100", and_first},
    {"((((((((((((((((causal))))))))))))))))", causal},
    {"(causal) | (causal & (causal))", causal},
};

/* In a grid of all of its queries and keys: those beside the borders of small blocks, and some between. */
static bool in_grid(int i) {
  return i % 13 == 0 || i % 32 <= 1 || i % 32 == 31 || i % 50 == 49 || i % 50 == 0;
}

static void check_pattern(const char *pattern, by_hand *hand, int seqlen_q, int seqlen_k) {
  attune_expression *expression = parse_pattern(pattern);
  int seen = 0, hidden = 0;
  for (int q = 0; q < seqlen_q; q++) {
    for (int k = 0; k < seqlen_k; k++) {
      if (!in_grid(q) || !in_grid(k)) continue;
      const attune_scope scope = {.q = q, .k = k, .seqlen_q = seqlen_q, .seqlen_k = seqlen_k};
      const bool expected = hand(q, k, seqlen_q, seqlen_k);
      if (sees(expression, &scope) != expected)
        fail_msg("%s: q %d of %d and k %d of %d is %d, not %d", pattern, q, seqlen_q, k, seqlen_k, !expected, expected);
      seen += expected;
      hidden += !expected;
    }
  }
  if (seen == 0 || hidden == 0) fail_msg("%s: the grid has one answer only", pattern);
  free(expression);
}

static void test_patterns(void **unused) {
  (void)unused;
  for (size_t i = 0; i < COUNT(patterns); i++) {
    check_pattern(patterns[i].pattern, patterns[i].hand, 1100, 1100);
    check_pattern(patterns[i].pattern, patterns[i].hand, 401, 1000);
    check_pattern(patterns[i].pattern, patterns[i].hand, 1000, 401);
  }
}

static void test_text(void **unused) {
  (void)unused;
  static const struct {
    const char *pattern, *expression;
  } cases[] = {
      {"causal", "k <= q"},
      {" ( causal ) ", "k <= q"},
      {"window:12", "q - k <= 12 && k - q <= 12"},
      {"window:1073741824,0", "q - k <= 1073741824 && k - q <= 0"},
  };
  char text[ATTUNE_EXPRESSION_MAX];
  for (size_t i = 0; i < COUNT(cases); i++) {
    assert_int_equal(attune_pattern_expression(text, cases[i].pattern), ATTUNE_OK);
    assert_string_equal(text, cases[i].expression);
  }
  assert_int_equal(attune_pattern_expression(NULL, "causal"), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_pattern_expression(text, NULL), ATTUNE_BAD_ARGUMENT);
}

static void test_refused(void **unused) {
  (void)unused;
  static const struct {
    const char *pattern, *says;
  } cases[] = {
      {"", "column 1: no such pattern; there are causal, causal-bottom-right, window:LEFT[,RIGHT], "},
      {"casual", "bigbird:BLOCK[,WINDOW[,GLOBAL[,RANDOM[,SEED]]]]"},
      {"causal & Window:3", "column 10: no such pattern (did you mean window?)"},
      {"causal &", "column 9: no such pattern"},
      {"causal | | causal", "column 10: no such pattern"},
      {"causal-bottom", "column 1: no such pattern"},
      {"window", "column 7: window needs its numbers: window:LEFT[,RIGHT]"},
      {"window 3", "column 7: window needs"},
      {"causal & longformer:4 | causal", "column 22: longformer needs its numbers: longformer:WINDOW,GLOBAL"},
      {"dilated:4", "column 10: dilated needs its numbers: dilated:WINDOW,STEP"},
      {"bigbird", "column 8: bigbird needs its numbers"},
      {"window:", "column 8: expected a number from 0 to 2^30"},
      {"window: 3", "column 8: expected a number"},
      {"window:-1", "column 8: expected a number"},
      {"window:3,", "column 10: expected a number"},
      {"window:3,,4", "column 10: expected a number"},
      {"window:1073741825", "column 8: expected a number"},
      {"window:99999999999999999999", "column 8: expected a number"},
      {"window:1,2,3", "column 12: one number too many"},
      {"causal:3", "column 8: one number too many"},
      {"butterfly:64,1", "column 14: one number too many"},
      {"bigbird:1,2,3,4,5,6", "column 19: one number too many"},
      {"chunked:0", "column 10: a size of 0"},
      {"strided:0", "column 10: a size of 0"},
      {"blocks:0,3", "column 11: a size of 0"},
      {"butterfly:0", "column 12: a size of 0"},
      {"bigbird:0", "column 10: a size of 0"},
      {"dilated:3,0", "column 12: a size of 0"},
      {"bigbird:128,1,1,9", "at most 8 random blocks"},
      {"causal causal", "column 8: expected |, & or the end"},
      {"window:3x", "column 9: expected |, & or the end"},
      {"window:3.5", "column 9: expected |, & or the end"},
      {"causal && causal", "column 9: no such pattern"},
      {"causal)", "column 7: expected |, & or the end"},
      {"(causal", "column 8: expected ')'"},
      {"((causal) | window:3", "column 21: expected ')'"},
      {"(causal window:3)", "column 9: expected ')'"},
      {"()", "column 2: no such pattern"},
      {"(((((((((((((((((causal)))))))))))))))))", "column 17: nested too deeply"},
      {"bigbird:128,1,1,8 & bigbird:128", "the limit"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    char text[ATTUNE_EXPRESSION_MAX] = "untouched";
    if (attune_pattern_expression(text, cases[i].pattern) != ATTUNE_BAD_EXPRESSION)
      fail_msg("\"%s\" is not refused", cases[i].pattern);
    if (strstr(attune_message(), cases[i].says) == NULL) fail_msg("%s: expected %s", attune_message(), cases[i].says);
    assert_string_equal(text, "untouched");
  }
}

/* The numbers that are largest still mean what they say. */
static void test_large_numbers(void **unused) {
  (void)unused;
  static const struct {
    const char *pattern;
    int32_t q, k;
    bool seen;
  } cases[] = {
      {"dilated:1073741824,1", 1 << 29, 3, true},        {"dilated:1000,1000", 1000000, 0, true},
      {"dilated:1000,1000", 1001000, 0, false},          {"window:1073741824", 0, (1 << 30) - 513, true},
      {"blocks:1073741824,0", 0, (1 << 30) - 513, true}, {"bigbird:1073741824,0,0,0", 0, (1 << 30) - 513, true},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    attune_expression *expression = parse_pattern(cases[i].pattern);
    const attune_scope scope = {.q = cases[i].q, .k = cases[i].k, .seqlen_q = 1 << 30, .seqlen_k = 1 << 30};
    if (sees(expression, &scope) != cases[i].seen) fail_msg("%s, q %d, k %d", cases[i].pattern, scope.q, scope.k);
    free(expression);
  }
  char text[ATTUNE_EXPRESSION_MAX]; /* the product would wrap */
  assert_int_equal(attune_pattern_expression(text, "dilated:65536,65536"), ATTUNE_BAD_EXPRESSION);
  assert_non_null(strstr(attune_message(), "column 20: "));
}

/* ---- tiles ---- */

static const char *const masks[] = {
    /* leaves, conversions, signs */
    "1", "0", "q", "x", "k - q", "-k < -q", "~q < ~k", "!(k <= q)", "!!(q % 3)", "(q < k) + (k < 9) == 1",
    "q < k == k < 9", "-(q < k) < -(k < 9)", "!(q & 1) || !(head ^ batch)", "head < 2 && k < 40 || batch && q == 3",
    /* ints wrap */
    "q * 100000000 < k", "q * k * 65537 > 0", "q + 2147483000 < k", "-2147483647 - q - 2 < 0", "q + k > 0",
    "abs(q * 715827882) < 1 << 28", "-(q * 536870912) <= 0", "~(q * 536870912) < k", "q - lowest > 0", "-lowest < q",
    "abs(lowest + k / 64) > 0", "abs(lowest) < 0", "lowest / -1 < k", "lowest % -1 == 0", "k < n || q > lowest",
    "(lowest + q / 1000) / -1 < 0", "lowest / (q - k) > 0", "min(q + 2147483640, k) < 0",
    /* shifts */
    "q << 28 < k", "q << n > 0", "q >> 3 == k >> 3", "q >> k & 1", "(q - 60) >> 2 < k - 60", "q << -1 >= 0",
    "1 << q > 5", "(q - 9) << 40 == 0", "-k >> 31 == -1", "(q - 20) >> -29 < (k - 20) >> 35",
    /* divisions */
    "(q - k) / 7 == 3", "(q - k) / -7 == 3", "q / (k - 40) < 2", "q / 0 == k", "q % 0 == 0", "(q - k) % 5 == 0",
    "(q - k) % -5 == 2", "q % k < 3", "q % 64 < k % 64", "-q % 8 > -3", "q % 16 / 4 == k % 16 / 4", "7 % -q > 0",
    "-7 / 2 == q - 20", "-7 % -4 < k - 9", "(q - k) / 16 == 0", "(q - k) / n <= -2 || q % n == k / n",
    /* bits */
    "q & 24", "(q & k) > 9", "(q | k) < 96", "(q ^ k) <= 15", "(q - 50 & k - 50) < 7", "(q - 50 | 7) < k",
    "(q - 50 ^ -1) < k", "(q & -8) == (k & -8)", "q & k & -q", "(k & 255) < 99", "(q / 8 ^ k / 8) == 1",
    "(-3 & -6) + (-3 | 4) + (-3 ^ 4) < q", "(q | 64) >= k", "(-q & 63) > k % 64", "(q - 40 & k - 40) == -8",
    /* functions */
    "min(q, k) > 30", "max(q, k - 100) <= 60", "abs(q - k) <= n", "abs(q - n) < max(k, 3)", "min(q, 2.5) > 1",
    "int(q * 0.5) == k", "sqrt(k) < x", "floor(q / 2.0) < k", "exp(-1.0 * q) < 0.001", "log(1 + k) < tanh(q)",
    "float(q) < k", "int(x) < q", "int(x) * 8 > abs(k)", "random(q / 8, k / 8, 1) % 3 == 0",
    "random(batch, head, n) % 2 == 0", "random(q, 0, 0) >= 0", "random(q, k, 0) <= 1 << 30",
    "random(k, q, 0) & 1 && random(0, 0, k / 16) & 2",
    /* ternaries */
    "q < k ? k < 50 : q < 50", "head ? k <= q : 1", "(q < n ? q : k + 5) < 40", "(q < k ? 1.5 : k) > 2",
    "batch ? doc[q] == doc[k] : q < k", "(q / 64 ? q : 1 << 31) < k", "q < 1000 ? k < 1000 : k > 1000",
    /* arrays, also outside of them */
    "doc[q] == doc[k]", "doc[q - 5] <= doc[k / 2]", "doc[doc[q]] >= 0", "doc[q * 1000] == 0", "table[k] > x",
    "doc[k - 100] == 0", "doc[n] < q", "doc[k % 24] - doc[q % 20] > 0", "doc[doc[k]] < doc[q] + 1",
    "doc[q * 178956970] == 0", "table[doc[k]] < q", "doc[-1] == 0 && doc[24] == 0 && doc[22] > q",
    /* lengths */
    "seqlen_k - k <= n", "k - seqlen_k < q - seqlen_q", "k * seqlen_k < q * seqlen_q", "k < seqlen_k / 2",
    "k % ((seqlen_k + 15) / 16) < 4", "seqlen_q % seqlen_k < q"};

static uint32_t state = 1;
static int32_t draw(int32_t low, int32_t high) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return (int32_t)(low + (int64_t)(state % (uint32_t)(high - low + 1)));
}

/* One element as often as a few; small numbers, some that are as large as can be. */
static attune_range draw_tile(int32_t most) {
  const int32_t size = draw(0, 3) == 0 ? 1 : draw(1, 3) == 1 ? 1 << draw(0, 4) : draw(1, 16);
  int32_t low = draw(0, 5) == 0 ? draw(0, 12) : draw(0, most);
  if (draw(0, 2) == 0) low = low / size * size;
  if (draw(0, 15) == 0) low += (1 << 30) - 1024;
  return (attune_range){low, low + size - 1};
}

static attune_range draw_range(int32_t low, int32_t high) {
  const int32_t first = draw(low, high);
  return (attune_range){first, draw(0, 3) == 0 && first < high ? first + 1 : first};
}

static int32_t within(attune_range range) {
  return draw(range.low, range.high);
}

static void check_all(const char *text, const attune_expression *mask, const attune_range_scope *tile, bool whole) {
  attune_scope s = {.values = values, .batch = within(tile->batch), .head = within(tile->head)};
  s.seqlen_q = within(tile->seqlen_q);
  s.seqlen_k = within(tile->seqlen_k);
  for (s.q = tile->q.low; s.q <= tile->q.high; s.q++)
    for (s.k = tile->k.low; s.k <= tile->k.high; s.k++)
      if (sees(mask, &s) != whole)
        fail_msg("%s: q %d..%d, k %d..%d is said to be %s, but not at batch %d, head %d, q %d, k %d of %d, %d", text,
                 tile->q.low, tile->q.high, tile->k.low, tile->k.high, whole ? "whole" : "none", s.batch, s.head, s.q,
                 s.k, s.seqlen_q, s.seqlen_k);
}

/* Random tiles, of which none or all is true where it is said; how often it is said. */
static void check_tiles(int verdicts[3], const char *text, const attune_expression *mask, int tiles, int32_t most) {
  for (int i = 0; i < tiles; i++) {
    const int32_t longest = most + 64;
    const attune_range_scope tile = {.batch = draw_range(0, 1),
                                     .head = draw_range(0, 3),
                                     .q = draw_tile(most),
                                     .k = draw_tile(most),
                                     .seqlen_q = draw_range(1, longest),
                                     .seqlen_k = draw_range(1, longest),
                                     .values = draw(0, 4) == 0 ? NULL : values};
    const attune_seen seen = attune_expression_seen(mask, &tile);
    verdicts[seen]++;
    for (int repeat = 0; repeat < 3 && seen != ATTUNE_SEEN_PARTIAL; repeat++)
      check_all(text, mask, &tile, seen == ATTUNE_SEEN_WHOLE);
  }
}

static void test_tiles_of_masks(void **unused) {
  (void)unused;
  int verdicts[3] = {0};
  for (size_t i = 0; i < COUNT(masks); i++) {
    attune_expression *mask = parse(masks[i]);
    check_tiles(verdicts, masks[i], mask, 300, 40);
    check_tiles(verdicts, masks[i], mask, 100, 500);
    free(mask);
  }
  for (int i = 0; i < 3; i++) /* it says something */
    assert_true(verdicts[i] > (int)COUNT(masks) * 400 / 10);
}

static void test_tiles_of_patterns(void **unused) {
  (void)unused;
  for (size_t i = 0; i < COUNT(patterns); i++) {
    int verdicts[3] = {0};
    attune_expression *mask = parse_pattern(patterns[i].pattern);
    check_tiles(verdicts, patterns[i].pattern, mask, 400, 1000);
    if (verdicts[ATTUNE_SEEN_NONE] == 0 || verdicts[ATTUNE_SEEN_WHOLE] + verdicts[ATTUNE_SEEN_PARTIAL] == 0)
      fail_msg("%s: %d none, %d partial, %d whole", patterns[i].pattern, verdicts[0], verdicts[1], verdicts[2]);
    free(mask);
  }
}

/* Tiles of 128 x 128, at multiples of it: what is said is what is. */
static void test_exact_tiles(void **unused) {
  (void)unused;
  enum { TILE = 128, SEQLEN = 2000 }; /* the last tile is ragged */
  static const struct {
    const char *pattern;
    bool mixed; /* some tiles are */
  } cases[] = {
      {"butterfly:128", false},
      {"butterfly:256", false},
      {"blocks:128,1", false},
      {"chunked:512", false},
      {"bigbird:128", false},
      {"bigbird:128,0,0,5,77", false},
      {"blocks:128,1 | chunked:512", false},
      {"causal", true},
      {"window:256", true},
      {"causal & butterfly:128", true},
      {"prefix:300", true},
      {"global:150", true},
  };
  static const int32_t offsets[] = {0, 1, 31, 32, 63, 64, 65, 95, 96, 99, 100, 126, 127};
  for (size_t i = 0; i < COUNT(cases); i++) {
    const char *pattern = cases[i].pattern;
    attune_expression *mask = parse_pattern(pattern);
    int verdicts[3] = {0};
    for (int32_t q = 0; q < SEQLEN; q += TILE) {
      for (int32_t k = 0; k < SEQLEN; k += TILE) {
        const attune_range_scope tile = {
            .q = {q, q + TILE - 1}, .k = {k, k + TILE - 1}, .seqlen_q = {SEQLEN, SEQLEN}, .seqlen_k = {SEQLEN, SEQLEN}};
        size_t seen = 0;
        for (size_t a = 0; a < COUNT(offsets); a++)
          for (size_t b = 0; b < COUNT(offsets); b++)
            seen +=
                sees(mask,
                     &(attune_scope){.q = q + offsets[a], .k = k + offsets[b], .seqlen_q = SEQLEN, .seqlen_k = SEQLEN});
        const attune_seen expected = seen == 0                                 ? ATTUNE_SEEN_NONE
                                     : seen == COUNT(offsets) * COUNT(offsets) ? ATTUNE_SEEN_WHOLE
                                                                               : ATTUNE_SEEN_PARTIAL;
        const attune_seen said = attune_expression_seen(mask, &tile);
        if (said != expected) fail_msg("%s: q %d, k %d is said to be %d, is %d", pattern, q, k, said, expected);
        verdicts[said]++;
      }
    }
    if ((verdicts[ATTUNE_SEEN_PARTIAL] > 0) != cases[i].mixed || verdicts[0] == 0 || verdicts[2] == 0)
      fail_msg("%s: %d none, %d partial, %d whole", pattern, verdicts[0], verdicts[1], verdicts[2]);
    free(mask);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_patterns),       cmocka_unit_test(test_text),
      cmocka_unit_test(test_refused),        cmocka_unit_test(test_large_numbers),
      cmocka_unit_test(test_tiles_of_masks), cmocka_unit_test(test_tiles_of_patterns),
      cmocka_unit_test(test_exact_tiles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
