/* Searches that a budget or an interruption ends, and those that go on from the rows of earlier ones. */
#include "tests/unit/search_case.h"

static void test_the_budget_leaves_the_default(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.budget_seconds = 1e-9;
  bench.options.jobs = 1;
  attune_fake_gpu.compile_seconds = 2e-3;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.default_seconds > 0);
  assert_true(bench.result.measured >= 1 && bench.result.measured < 13);
  close_bench(&bench);
}

/* Compiling, verifying and the end of the search are part of it. */
static void test_a_budget_bounds_the_whole_search(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.budget_seconds = 1;
  bench.options.jobs = 1;
  attune_fake_gpu.compile_seconds = 0.01;
  attune_fake_gpu.check_seconds = 0.1;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  if (bench.result.spent_seconds > 1.1) fail_msg("%.2f s of 1 s", bench.result.spent_seconds);
  assert_true(bench.result.measured >= 1 && bench.result.measured < 10);
  close_bench(&bench);
  /* What fits is done. */
  open_bench(&bench);
  bench.options.effort = "quick";
  bench.options.budget_seconds = 600;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_equal(bench.result.measured, 13);
  close_bench(&bench);
}

static bool put_for_another_build(void *user, const attune_measurement *row) {
  attune_measurement other = *row;
  other.tool = "0.0.1";
  assert_int_equal(attune_store_put_measurement(user, &other), ATTUNE_OK);
  return true;
}

typedef struct {
  int rows, outdated;
} marks;

static bool count_mark(void *user, const attune_measurement *row) {
  marks *marks = user;
  marks->rows++;
  marks->outdated += row->outdated;
  return true;
}

static marks marks_of(const bench *bench) {
  marks marks = {0};
  assert_int_equal(attune_store_measurements(bench->store, NULL, count_mark, &marks), ATTUNE_OK);
  return marks;
}

/* Another build's rows stand while what runs is the same. Those of other kernels are marked, never chosen and not taken
 * over, also where everything is tried again; where they are what runs once more, they are good again. */
static void test_an_upgrade_outdates_rows(void **state) {
  bench first, later;
  (void)state;
  open_bench(&first);
  first.options.effort = "quick";
  assert_int_equal(tune(&first), ATTUNE_OK);
  const attune_config best = first.result.best;
  const int rows = rows_of(&first).rows;
  attune_store_options in_memory = {.path = ":memory:"};
  later = first;
  assert_int_equal(attune_store_open(&later.store, &in_memory), ATTUNE_OK);
  assert_int_equal(attune_store_measurements(first.store, NULL, put_for_another_build, later.store), ATTUNE_OK);
  start_anew(&later);
  assert_int_equal(tune(&later), ATTUNE_OK);
  assert_int_equal(later.result.outdated, 0);
  assert_true(later.result.reused > 0);
  assert_int_equal(rows_of(&later).rows, rows);
  assert_int_equal(attune_config_compare(&later.result.best, &best), 0);
  for (int force = 0; force < 2; force++) {
    start_anew(&later);
    upgraded = true;
    later.options.force = force;
    assert_int_equal(tune(&later), ATTUNE_OK);
    upgraded = false;
    assert_int_equal(later.result.outdated, rows);
    assert_int_equal(later.result.reused, 0);
    assert_int_equal(marks_of(&later).outdated, rows);
    assert_true(marks_of(&later).rows > rows);
  }
  start_anew(&later);
  later.options.force = false;
  assert_int_equal(tune(&later), ATTUNE_OK);
  assert_int_equal(marks_of(&later).outdated, 0);
  attune_store_close(later.store);
  close_bench(&first);
}

static void test_a_second_search_has_nothing_to_do(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  assert_int_equal(tune(&bench), ATTUNE_OK);
  attune_config best = bench.result.best;
  int rows = rows_of(&bench).rows;
  start_anew(&bench);
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_equal(attune_fake_gpu.launches, 0);
  assert_int_equal(attune_fake_gpu.compiled, 0);
  assert_int_equal(bench.result.measured, 0);
  assert_true(bench.result.reused > 0);
  assert_int_equal(rows_of(&bench).rows, rows);
  assert_int_equal(attune_config_compare(&best, &bench.result.best), 0);
  assert_true(bench.result.best_seconds > 0 && bench.result.default_seconds > 0);
  bench.options.force = true;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.measured > 0);
  assert_int_equal(bench.result.reused, 0);
  close_bench(&bench);
}

static void test_interrupted_searches_go_on(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  int rows = 0, interruptions = 0;
  attune_status status;
  do {
    start_anew(&bench);
    attune_fake_gpu.interrupt_at = 200;
    status = tune(&bench);
    if (status == ATTUNE_INTERRUPTED) {
      interruptions++;
      assert_non_null(strstr(attune_message(), "goes on from there"));
    }
    assert_true(rows_of(&bench).rows > rows);
    rows = rows_of(&bench).rows;
    assert_true(interruptions < 50);
  } while (status == ATTUNE_INTERRUPTED && bench.result.reused < 40);
  assert_true(interruptions > 0);
  start_anew(&bench);
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.reused > 0);
  assert_true(valley(&bench.result.best) <= 1.03 * best_possible(&bench));
  close_bench(&bench);
}

static void test_interrupted_before_it_began(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.interrupted = 1;
  assert_int_equal(tune(&bench), ATTUNE_INTERRUPTED);
  assert_int_equal(attune_fake_gpu.launches, 0);
  close_bench(&bench);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_budget_leaves_the_default), cmocka_unit_test(test_a_budget_bounds_the_whole_search),
      cmocka_unit_test(test_an_upgrade_outdates_rows),      cmocka_unit_test(test_a_second_search_has_nothing_to_do),
      cmocka_unit_test(test_interrupted_searches_go_on),    cmocka_unit_test(test_interrupted_before_it_began),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
