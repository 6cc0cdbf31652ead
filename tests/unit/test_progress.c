#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tuner/command/columns.h"
#include "tuner/search/search.h"

typedef struct {
  attune_progress progress;
  char *text;
  size_t size;
} screen;

static void open_screen(screen *screen, bool terminal, bool color) {
  screen->text = NULL;
  screen->progress = (attune_progress){.to = open_memstream(&screen->text, &screen->size),
                                       .terminal = terminal,
                                       .color = color,
                                       .width = 80,
                                       .drawn = -5,
                                       .label = "[1/2] gpt2"};
}

static void close_screen(screen *screen) {
  attune_progress_close(&screen->progress);
  fclose(screen->progress.to);
}

static int occurrences(const char *text, const char *what) {
  int count = 0;
  for (; (text = strstr(text, what)); text++)
    count++;
  return count;
}

static void test_plain_lines(void **state) {
  screen screen;
  (void)state;
  open_screen(&screen, false, false);
  for (int i = 0; i <= 100; i++)
    attune_progress_draw(&screen.progress, "compiling", i, 100, 1.5e-3, 0.1 * i, 0);
  close_screen(&screen);
  assert_int_equal(occurrences(screen.text, "\n"), 3); /* at 0, 5 and 10 seconds */
  assert_int_equal(occurrences(screen.text, "\r"), 0);
  assert_int_equal(occurrences(screen.text, "\033"), 0);
  assert_non_null(strstr(screen.text, "50/100 compiling, best 1.500 ms, about 5.00 s left, [1/2] gpt2\n"));
  free(screen.text);
}

static void test_bar(void **state) {
  screen screen;
  (void)state;
  open_screen(&screen, true, true);
  attune_progress_draw(&screen.progress, "measuring", 5, 10, 0, 10, 0);
  attune_progress_draw(&screen.progress, "measuring", 6, 10, 0, 10.01, 0); /* too soon to draw again */
  close_screen(&screen);
  assert_non_null(strstr(screen.text, "\r[\033[32m##########----------\033[0m] 5/10 measuring, best -, about 10.00 s"));
  assert_int_equal(occurrences(screen.text, "measuring"), 1);
  assert_int_equal(occurrences(screen.text, "\n"), 0);
  assert_non_null(strstr(screen.text, "\r\033[K"));
  free(screen.text);
}

static void test_bar_fits_the_width(void **state) {
  screen screen;
  (void)state;
  open_screen(&screen, true, false);
  screen.progress.width = 40;
  attune_progress_draw(&screen.progress, "measuring", 1, 10, 0, 1, 0);
  fflush(screen.progress.to);
  assert_int_equal(strcspn(screen.text + 1, "\033"), 39);
  assert_int_equal(occurrences(screen.text, "\033[3"), 0); /* no color */
  close_screen(&screen);
  free(screen.text);
}

static void test_budget_bounds_the_estimate(void **state) {
  screen screen;
  (void)state;
  open_screen(&screen, false, false);
  attune_progress_draw(&screen.progress, "verifying", 1, 100, 0, 10, 25);
  close_screen(&screen);
  assert_non_null(strstr(screen.text, "at most 15.00 s left"));
  free(screen.text);
}

/* All are tried, and the best of them are verified once more. */
static void test_the_end_has_no_count(void **state) {
  screen screen;
  (void)state;
  open_screen(&screen, false, false);
  attune_progress_draw(&screen.progress, "verifying", 80, 80, 1.5e-3, 10, 0);
  attune_progress_draw(&screen.progress, "verifying", 80, 80, 1.5e-3, 20, 15);
  close_screen(&screen);
  assert_string_equal(screen.text, "verifying, best 1.500 ms, [1/2] gpt2\n"
                                   "verifying, best 1.500 ms, 5.00 s over the budget for the least that is done, "
                                   "[1/2] gpt2\n");
  free(screen.text);
}

/* However many configs there are, the work ends with the budget. */
static void test_the_bar_fills_under_a_budget(void **state) {
  screen screen;
  (void)state;
  open_screen(&screen, true, false);
  attune_progress_draw(&screen.progress, "verifying", 1, 100, 0, 15, 20);
  attune_progress_draw(&screen.progress, "verifying", 95, 100, 0, 16, 20);
  close_screen(&screen);
  assert_non_null(strstr(screen.text, "\r[###############-----] 1/100"));
  assert_non_null(strstr(screen.text, "\r[###################-] 95/100"));
  free(screen.text);
}

static void test_what_was_known_says_nothing_of_the_speed(void **state) {
  screen screen;
  (void)state;
  open_screen(&screen, false, false);
  screen.progress.known = 40;
  attune_progress_draw(&screen.progress, "compiling", 50, 60, 0, 10, 0);
  close_screen(&screen);
  assert_non_null(strstr(screen.text, "50/60 compiling, best -, about 10.00 s left"));
  free(screen.text);
}

/* Of a table that is 29 columns wide. */
static const attune_column columns[] = {{"name", -8, 0}, {"time", 6, 0}, {"rate", 6, 1}, {"error", 6, 2}};

static void expect_table(int width, const char *expected) {
  static const char *const rows[][4] = {{"short", "1 us", "20", "0.5"}, {"a longer one", "2 us", "", "0.25"}};
  attune_columns table;
  char *text;
  size_t size;
  FILE *to = open_memstream(&text, &size);
  attune_columns_begin(&table, to, columns, 4, width);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    attune_columns_row(&table, rows[i]);
  fclose(to);
  assert_string_equal(text, expected);
  free(text);
}

static void test_tables_drop_columns_that_do_not_fit(void **state) {
  (void)state;
  expect_table(29, "name       time   rate  error\n"
                   "short      1 us     20    0.5\n"
                   "a longer one\n"
                   "           2 us          0.25\n");
  expect_table(28, "name       time   rate\n"
                   "short      1 us     20\n"
                   "a longer one\n"
                   "           2 us\n");
  const char *const least = "name       time\n"
                            "short      1 us\n"
                            "a longer one\n"
                            "           2 us\n";
  expect_table(15, least);
  expect_table(1, least);
}

static void test_environment(void **state) {
  attune_progress progress;
  (void)state;
  setenv("NO_COLOR", "1", 1);
  attune_progress_open(&progress, "x", false);
  assert_ptr_equal(progress.to, stderr);
  assert_false(progress.color);
  unsetenv("NO_COLOR");
  setenv("TERM", "dumb", 1);
  attune_progress_open(&progress, "x", false);
  assert_false(progress.terminal);
  attune_progress_open(&progress, "x", true);
  attune_progress_draw(&progress, "nothing", 0, 1, 0, 100, 0);
  attune_progress_close(&progress);
  assert_null(progress.to);
}

static void test_seconds_as_text(void **state) {
  static const struct {
    double seconds;
    const char *text;
  } cases[] = {{0, "-"},         {12.3e-6, "12.30 us"}, {1.2345e-3, "1.234 ms"}, {0.5, "500.000 ms"},
               {4.56, "4.56 s"}, {125, "2m05s"},        {1e12, "1.0e+12 s"}};
  char text[24];
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_print_seconds(text, cases[i].seconds);
    assert_string_equal(text, cases[i].text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plain_lines),
      cmocka_unit_test(test_bar),
      cmocka_unit_test(test_bar_fits_the_width),
      cmocka_unit_test(test_budget_bounds_the_estimate),
      cmocka_unit_test(test_the_end_has_no_count),
      cmocka_unit_test(test_tables_drop_columns_that_do_not_fit),
      cmocka_unit_test(test_the_bar_fills_under_a_budget),
      cmocka_unit_test(test_what_was_known_says_nothing_of_the_speed),
      cmocka_unit_test(test_environment),
      cmocka_unit_test(test_seconds_as_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
