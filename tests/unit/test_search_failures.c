/* The search where kernels fail, are wrong, spill or are serialised. */
#include "tests/unit/search_case.h"

static bool tile_of_128(const attune_config *config) {
  return config->tile_m == 128;
}
static int spill_of_128(const attune_config *config) {
  return config->tile_m == 128 ? 256 : 0;
}
static int spill_little(const attune_config *config) {
  return config->tile_m == 128 ? 4 : 0;
}
static int spill_of_all(const attune_config *config) {
  return 256 + config->tile_m;
}

static void test_wrong_results_never_win(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.wrong = two_stages;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_not_equal(bench.result.best.stages, 2);
  assert_true(rows_of(&bench).by_status[ATTUNE_MEASURED_WRONG_RESULT] > 0);
  close_bench(&bench);
}

/* Measured, and found wrong by the sequences with lengths that only finalists are verified on. */
static double wrong_below;
static bool is_fast(const attune_config *config) {
  return valley(config) < wrong_below;
}

static void test_finalists_are_verified_with_lengths(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  wrong_below = 1.03 * best_possible(&bench);
  attune_fake_gpu.wrong_with_lengths = is_fast;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(valley(&bench.result.best) >= wrong_below);
  const int wrong = rows_of(&bench).by_status[ATTUNE_MEASURED_WRONG_RESULT];
  assert_true(wrong > 0);
  assert_int_equal(bench.result.failed, wrong);
  start_anew(&bench); /* nothing is left of it for another search to choose */
  attune_fake_gpu.wrong_with_lengths = is_fast;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(valley(&bench.result.best) >= wrong_below);
  close_bench(&bench);
}

/* Races are on usual inputs, others in each batch; lengths come once, for the finalists. */
static void test_inputs_are_drawn_afresh(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.seed = 100;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  const attune_drawing *drawings = attune_fake_gpu.drawings;
  int with_lengths = 0, usual = 0;
  for (int i = 0; i < attune_fake_gpu.drawn; i++) {
    with_lengths += drawings[i].lengths;
    usual += !drawings[i].lengths;
    if (drawings[i].lengths) continue;
    assert_true(drawings[i].magnitude == 0.0);
    for (int j = 0; j < i; j++)
      assert_true(drawings[j].lengths || drawings[j].seed != drawings[i].seed);
  }
  assert_in_range(attune_fake_gpu.drawn, 1, (int)(sizeof attune_fake_gpu.drawings / sizeof *drawings) - 1);
  assert_int_equal(with_lengths, 3);
  assert_true(usual >= 80 / 13);
  assert_false(drawings[attune_fake_gpu.drawn - 1].lengths);
  close_bench(&bench);
}

static void test_nothing_right_is_an_error(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.effort = "quick";
  attune_fake_gpu.wrong = of_mma;
  assert_int_equal(tune(&bench), ATTUNE_WRONG_RESULT);
  assert_non_null(strstr(attune_message(), "7 instead of 1"));
  start_anew(&bench);
  attune_fake_gpu.wrong = of_mma;
  assert_int_equal(tune(&bench), ATTUNE_WRONG_RESULT); /* what is recalled has its reason too */
  assert_int_equal(attune_fake_gpu.launches, 0);
  assert_non_null(strstr(attune_message(), "7 instead of 1"));
  close_bench(&bench);
}

static void test_what_does_not_compile_is_a_row(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.uncompilable = tile_of_128;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_not_equal(bench.result.best.tile_m, 128);
  assert_int_equal(rows_of(&bench).by_status[ATTUNE_MEASURED_COMPILE_FAILED], bench.result.failed);
  assert_true(bench.result.failed > 0);
  close_bench(&bench);
}

static void test_a_failing_launch_is_a_row(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.fails = two_stages;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_not_equal(bench.result.best.stages, 2);
  assert_true(rows_of(&bench).by_status[ATTUNE_MEASURED_LAUNCH_FAILED] > 0);
  close_bench(&bench);
}

static void test_a_lost_device_ends_the_run_and_not_the_search(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  int runs = 0;
  attune_status status;
  do { /* each run loses the device to one more config, and the next one leaves that out */
    start_anew(&bench);
    attune_fake_gpu.fails = two_stages;
    attune_fake_gpu.fatal = true;
    status = tune(&bench);
    if (status != ATTUNE_OK) assert_int_equal(status, ATTUNE_DRIVER_FAILED);
    assert_true(++runs < 200);
    assert_int_equal(rows_of(&bench).by_status[ATTUNE_MEASURED_LAUNCH_FAILED], runs - (status == ATTUNE_OK));
  } while (status != ATTUNE_OK);
  assert_true(runs > 1);
  assert_int_not_equal(bench.result.best.stages, 2);
  close_bench(&bench);
}

static void test_spilling_kernels_are_passed_over(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.spills = spill_of_128;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.best.tile_m != 128 || is_default(&bench.result.best, &bench));
  assert_true(rows_of(&bench).by_status[ATTUNE_MEASURED_SKIPPED] > 0);
  close_bench(&bench);
  open_bench(&bench);
  attune_fake_gpu.spills = spill_little;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_equal(bench.result.best.tile_m, 128);
  assert_int_equal(rows_of(&bench).by_status[ATTUNE_MEASURED_SKIPPED], 0);
  close_bench(&bench);
}

/* 128 bytes a thread are raced, more are not. */
static int least_that_is_much;
static int spill_at_the_limit(const attune_config *config) {
  return config->tile_m == 128 ? least_that_is_much : 0;
}

static void test_the_limit_of_spilling(void **state) {
  bench bench;
  (void)state;
  for (int more = 0; more < 2; more++) {
    open_bench(&bench);
    least_that_is_much = 128 + more;
    attune_fake_gpu.spills = spill_at_the_limit;
    assert_int_equal(tune(&bench), ATTUNE_OK);
    assert_int_equal(rows_of(&bench).by_status[ATTUNE_MEASURED_SKIPPED] > 0, more);
    close_bench(&bench);
  }
}

/* What the compiler serialised is a row that says so, and is no winner although it would be the fastest. */
static void test_serialised_kernels_are_passed_over(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.serialised = tile_of_128;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.best.tile_m != 128 || is_default(&bench.result.best, &bench));
  tally tally = rows_of(&bench);
  assert_true(tally.remarked > 0);
  assert_int_equal(tally.remarked, tally.by_status[ATTUNE_MEASURED_SKIPPED]);
  close_bench(&bench);
  open_bench(&bench);
  bench.options.effort = "quick";
  attune_fake_gpu.serialised = of_mma; /* then some are measured all the same */
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.measured > 4);
  close_bench(&bench);
}

static void test_where_all_spill_some_are_measured(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.effort = "quick";
  attune_fake_gpu.spills = spill_of_all;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.measured > 4);
  close_bench(&bench);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_wrong_results_never_win),
      cmocka_unit_test(test_finalists_are_verified_with_lengths),
      cmocka_unit_test(test_inputs_are_drawn_afresh),
      cmocka_unit_test(test_nothing_right_is_an_error),
      cmocka_unit_test(test_what_does_not_compile_is_a_row),
      cmocka_unit_test(test_a_failing_launch_is_a_row),
      cmocka_unit_test(test_a_lost_device_ends_the_run_and_not_the_search),
      cmocka_unit_test(test_spilling_kernels_are_passed_over),
      cmocka_unit_test(test_the_limit_of_spilling),
      cmocka_unit_test(test_serialised_kernels_are_passed_over),
      cmocka_unit_test(test_where_all_spill_some_are_measured),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
