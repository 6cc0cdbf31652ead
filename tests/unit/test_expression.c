/* Expressions: what parses, what it prints and is emitted as, and what is refused where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <locale.h>

#include "tests/unit/expression_case.h"

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
        if (attune_expression_parse(&expression, SCORE, text, params, PARAMS, true) == ATTUNE_OK) {
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

/* ---- refusals ---- */

static void check_refused(attune_expression_kind kind, const char *text, bool bias, const char *says) {
  attune_expression *expression;
  const attune_status status = attune_expression_parse(&expression, kind, text, params, PARAMS, bias);
  if (status == ATTUNE_OK) fail_msg("%s is not refused", text);
  const bool too_large = strstr(says, "nested deeper") != NULL || strstr(says, "operations and operands") != NULL;
  assert_int_equal(status, too_large ? ATTUNE_UNSUPPORTED : ATTUNE_BAD_EXPRESSION);
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
      {MASK, "q < seqlenk", "column 5: no such name: seqlenk (did you mean seqlen_k?); declare"},
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
      {MASK, "window[q] < 3", "column 1: window is an int: it takes no index"},
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
  assert_int_equal(attune_expression_parse(NULL, MASK, "q", params, PARAMS, false), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_expression_parse(&expression, MASK, NULL, params, PARAMS, false), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_expression_parse(&expression, MASK, "q", params, 9, false), ATTUNE_BAD_ARGUMENT);
  /* No params at all, and none beyond their count. */
  assert_int_equal(attune_expression_parse(&expression, MASK, "q < k", NULL, 0, false), ATTUNE_OK);
  free(expression);
  const attune_param two[] = {{"a", ATTUNE_PARAM_INT, 0}, {"b", ATTUNE_PARAM_INT, 0}};
  assert_int_equal(attune_expression_parse(&expression, MASK, "a", two, 1, false), ATTUNE_OK);
  free(expression);
  assert_int_equal(attune_expression_parse(&expression, MASK, "b", two, 1, false), ATTUNE_BAD_EXPRESSION);
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
      {SCORE, "q / 3.0 + floor(q / 3.0)",
       "(quotient(real(q), real(3.0f)) + rounded_down(rounded_quotient(real(q), real(3.0f))))", ATTUNE_UNBOUNDED},
      {MASK, "q * 0.7 - k * 0.7 == 0",
       "(rounded_difference(rounded_product(real(q), real(0.7f)), rounded_product(real(k), "
       "real(0.7f))) == real(0.0f))",
       ATTUNE_UNBOUNDED},
      {MASK, "doc[q] == doc[k]", "(param_doc[q] == param_doc[k])", ATTUNE_UNBOUNDED},
      {MASK, "find(doc, q) < 2", "(find_in(param_doc, q) < index(2))", ATTUNE_UNBOUNDED},
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
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_too_large),
      cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_emitted),
      cmocka_unit_test(test_uses),
  };
  return cmocka_run_group_tests(tests, fill_arrays, NULL);
}
