/* Values of params from texts and arrays: what they become, where they lie, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tuner/tuner.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static attune_inputs given;
static attune_problem problem;

static int start(void **unused) {
  (void)unused;
  memset(&given, 0, sizeof given);
  attune_problem_init(&problem);
  return 0;
}

static void add(const char *text) {
  if (attune_inputs_param(&given, &problem, text) != ATTUNE_OK) fail_msg("%.80s: %s", text, attune_message());
}

/* Nothing is declared, and nothing that was is changed. */
static void refuse(const char *text, const char *says) {
  static attune_inputs before;
  const attune_problem problem_before = problem;
  before = given;
  assert_int_equal(attune_inputs_param(&given, &problem, text), ATTUNE_BAD_ARGUMENT);
  if (strstr(attune_message(), says) == NULL) fail_msg("%.80s: %s", text, attune_message());
  assert_memory_equal(&problem, &problem_before, sizeof problem);
  assert_memory_equal(&given.params, &before.params, sizeof given.params);
  assert_int_equal(given.used, before.used);
  assert_memory_equal(given.elements, before.elements, sizeof *given.elements * (size_t)given.used);
}

static void test_texts(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    attune_param_type type;
    int count;
    double numbers[4];
  } cases[] = {
      {"n=3", ATTUNE_PARAM_INT, 0, {3}},
      {"n=-3", ATTUNE_PARAM_INT, 0, {-3}},
      {"n=0", ATTUNE_PARAM_INT, 0, {0}},
      {"n=2147483647", ATTUNE_PARAM_INT, 0, {INT32_MAX}},
      {"n=-2147483648", ATTUNE_PARAM_INT, 0, {INT32_MIN}},
      {"n=2147483648", ATTUNE_PARAM_FLOAT, 0, {2147483648.0}},
      {"n=-2147483649", ATTUNE_PARAM_FLOAT, 0, {-2147483648.0}},
      {"n=99999999999999999999", ATTUNE_PARAM_FLOAT, 0, {1e20f}},
      {"n=0.5", ATTUNE_PARAM_FLOAT, 0, {0.5}},
      {"n=3.0", ATTUNE_PARAM_FLOAT, 0, {3}},
      {"n=1e3", ATTUNE_PARAM_FLOAT, 0, {1000}},
      {"n=-3.4e38", ATTUNE_PARAM_FLOAT, 0, {-3.4e38f}},
      {"n=0.1", ATTUNE_PARAM_FLOAT, 0, {0.1f}},
      {"n=1e-60", ATTUNE_PARAM_FLOAT, 0, {0}},
      {"n=1,2,3", ATTUNE_PARAM_INT_ARRAY, 3, {1, 2, 3}},
      {"n=-2147483648,2147483647", ATTUNE_PARAM_INT_ARRAY, 2, {INT32_MIN, INT32_MAX}},
      {"n=7,", ATTUNE_PARAM_INT_ARRAY, 1, {7}},
      {"n=7,8,", ATTUNE_PARAM_INT_ARRAY, 2, {7, 8}},
      {"n=0.5,", ATTUNE_PARAM_FLOAT_ARRAY, 1, {0.5}},
      {"n=0.5,-0.25", ATTUNE_PARAM_FLOAT_ARRAY, 2, {0.5, -0.25}},
      {"n=1,2,0.5,4", ATTUNE_PARAM_FLOAT_ARRAY, 4, {1, 2, 0.5, 4}}, /* one float makes all floats */
      {"n=1,2.0", ATTUNE_PARAM_FLOAT_ARRAY, 2, {1, 2}},
      {"n=1,2147483648", ATTUNE_PARAM_FLOAT_ARRAY, 2, {1, 2147483648.0}},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    attune_value values[ATTUNE_PARAMS_MAX];
    start(NULL);
    add(cases[i].text);
    attune_inputs_values(values, &given);
    assert_string_equal(problem.params[0].name, "n");
    if (problem.params[0].type != cases[i].type) fail_msg("%s: type %d", cases[i].text, problem.params[0].type);
    assert_int_equal(problem.param_count, 1);
    assert_int_equal(values[0].count, cases[i].count);
    assert_int_equal(given.used, cases[i].count);
    if (cases[i].type == ATTUNE_PARAM_INT) assert_true(values[0].integer == cases[i].numbers[0]);
    if (cases[i].type == ATTUNE_PARAM_FLOAT) assert_true((double)values[0].real == cases[i].numbers[0]);
    if (cases[i].count == 0) assert_null(values[0].array);
    for (int j = 0; j < cases[i].count; j++) {
      const double found = cases[i].type == ATTUNE_PARAM_INT_ARRAY ? ((const int32_t *)values[0].array)[j]
                                                                   : (double)((const float *)values[0].array)[j];
      if (found != cases[i].numbers[j]) fail_msg("%s: [%d] is %g", cases[i].text, j, found);
    }
  }
}

/* Arrays lie one after the other in `given`, also in a copy of it; scalars take no place. */
static void test_places(void **unused) {
  (void)unused;
  static const float of_file[] = {1.5f, 2.5f};
  static attune_inputs copy;
  attune_value values[ATTUNE_PARAMS_MAX];
  add("a=1,2,3");
  add("b=9");
  add("c=0.5,0.25");
  assert_int_equal(attune_inputs_array(&given, &problem, "d", ATTUNE_PARAM_FLOAT_ARRAY, of_file, 2), ATTUNE_OK);
  add("e=1.25");
  add("f=4,");
  copy = given;
  memset(&given, 0x5a, sizeof given);
  attune_inputs_values(values, &copy);
  assert_ptr_equal(values[0].array, &copy.elements[0]);
  assert_ptr_equal(values[2].array, &copy.elements[3]);
  assert_ptr_equal(values[3].array, of_file);
  assert_ptr_equal(values[5].array, &copy.elements[5]);
  assert_int_equal(copy.used, 6);
  static const int64_t counts[ATTUNE_PARAMS_MAX] = {3, 0, 2, 2, 0, 1, 0, 0};
  static const char names[] = "abcdef";
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++) {
    assert_int_equal(values[i].count, counts[i]);
    if (i < 6) assert_true(copy.names[i][0] == names[i] && copy.names[i][1] == '\0');
  }
  assert_true(((const int32_t *)values[0].array)[2] == 3 && ((const int32_t *)values[5].array)[0] == 4);
  assert_true(((const float *)values[2].array)[1] == 0.25f);
  assert_true(values[1].integer == 9 && values[4].real == 1.25f);
  assert_int_equal(copy.declared[3].type, ATTUNE_PARAM_FLOAT_ARRAY);
  assert_int_equal(problem.param_count, 6);
}

static void test_refused(void **unused) {
  (void)unused;
  static const char *const bad[] = {"",        "n",       "n=",       "n=,",    "n=x",   "n=3x",   "n=1,x",
                                    "n=1,,2",  "n=,1",    "n=1;2",    "n=1, x", "n=inf", "n=-inf", "n=nan",
                                    "n=1,inf", "n=1e400", "n=3.5e38", "n=3=4",  "n=--1", "n=1 ,2", "n=infinity"};
  add("first=1,2,3");
  for (size_t i = 0; i < COUNT(bad); i++)
    refuse(bad[i], "expected name=3, name=0.5 or name=1,2,3");
  refuse("=3", "a name has from 1 to 23 letters");
  refuse("name_of_24_characters___=3", "param \"name_of_24_characters___\": a name has from 1 to 23 letters");
  add("name_of_23_characters__=3");
  assert_string_equal(problem.params[1].name, "name_of_23_characters__");
  assert_int_equal(attune_inputs_array(&given, &problem, "", ATTUNE_PARAM_INT_ARRAY, bad, 1), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_inputs_array(&given, &problem, "name_of_24_characters___", ATTUNE_PARAM_INT_ARRAY, bad, 1),
                   ATTUNE_BAD_ARGUMENT);
  assert_int_equal(problem.param_count, 2);
}

static void test_too_many_params(void **unused) {
  (void)unused;
  char text[16];
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++) {
    snprintf(text, sizeof text, "p%d=%d", i, i);
    add(text);
  }
  refuse("more=1", "more than 8 params");
  refuse("more=1,2", "more than 8 params");
  assert_int_equal(attune_inputs_array(&given, &problem, "more", ATTUNE_PARAM_INT_ARRAY, text, 1), ATTUNE_BAD_ARGUMENT);
  attune_value values[ATTUNE_PARAMS_MAX];
  attune_inputs_values(values, &given);
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    assert_int_equal(values[i].integer, i);
}

static char *list(const char *name, int count) {
  static char text[8 * ATTUNE_GIVEN_ELEMENTS];
  char *end = stpcpy(text, name);
  for (int i = 0; i < count; i++)
    end += sprintf(end, "%s%d", i > 0 ? "," : "=", i);
  return text;
}

static void test_too_many_elements(void **unused) {
  (void)unused;
  refuse(list("a", ATTUNE_GIVEN_ELEMENTS + 1), "more than 4096 values in all");
  add(list("a", ATTUNE_GIVEN_ELEMENTS - 3));
  refuse(list("b", 4), "more than 4096 values in all");
  add("b=7,8");
  refuse("c=1,2", "more than 4096 values in all");
  attune_value values[ATTUNE_PARAMS_MAX];
  attune_inputs_values(values, &given);
  assert_int_equal(((const int32_t *)values[0].array)[ATTUNE_GIVEN_ELEMENTS - 4], ATTUNE_GIVEN_ELEMENTS - 4);
  assert_int_equal(((const int32_t *)values[1].array)[1], 8);
  add("c=5"); /* a number takes no place */
  add("d=0.5");
  attune_inputs_values(values, &given);
  assert_true(values[2].integer == 5 && values[3].real == 0.5f);
  assert_int_equal(((const int32_t *)values[1].array)[1], 8);
  add("e=9,");
  refuse("f=1,", "more than 4096 values in all");
}

/* Lengths lie among the elements of arrays, also in a copy; new ones take the place of those that there were. */
static void test_lengths(void **unused) {
  (void)unused;
  static attune_inputs copy;
  static const int32_t first[] = {5, 6}, lengths[] = {512, 0, 1}, bad[] = {3, -1};
  assert_null(attune_inputs_seqlens(&given, ATTUNE_QUERIES));
  add("a=1,2");
  assert_int_equal(attune_inputs_set_seqlens(&given, ATTUNE_KEYS, first, 2), ATTUNE_OK);
  assert_int_equal(attune_inputs_set_seqlens(&given, ATTUNE_KEYS, lengths, 3), ATTUNE_OK);
  add("b=3,");
  copy = given;
  memset(&given, 0x5a, sizeof given);
  assert_null(attune_inputs_seqlens(&copy, ATTUNE_QUERIES));
  assert_memory_equal(attune_inputs_seqlens(&copy, ATTUNE_KEYS), lengths, sizeof lengths);
  assert_int_equal(copy.seqlens[ATTUNE_KEYS].count, 3);
  attune_value values[ATTUNE_PARAMS_MAX];
  attune_inputs_values(values, &copy);
  assert_int_equal(((const int32_t *)values[1].array)[0], 3);
  copy.seqlens[ATTUNE_KEYS].array = first;
  assert_ptr_equal(attune_inputs_seqlens(&copy, ATTUNE_KEYS), first);
  assert_int_equal(attune_inputs_set_seqlens(&copy, ATTUNE_QUERIES, bad, 2), ATTUNE_BAD_SIZE);
  assert_non_null(strstr(attune_message(), "seqlens_q[1] is -1"));
  copy.used = ATTUNE_GIVEN_ELEMENTS - 2;
  assert_int_equal(attune_inputs_set_seqlens(&copy, ATTUNE_QUERIES, lengths, 3), ATTUNE_BAD_ARGUMENT);
  assert_null(attune_inputs_seqlens(&copy, ATTUNE_QUERIES));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_texts, start),
      cmocka_unit_test_setup(test_places, start),
      cmocka_unit_test_setup(test_refused, start),
      cmocka_unit_test_setup(test_too_many_params, start),
      cmocka_unit_test_setup(test_too_many_elements, start),
      cmocka_unit_test_setup(test_lengths, start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
