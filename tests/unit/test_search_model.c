/* The search where nothing can be measured. */
#include "tests/unit/search_case.h"

static attune_status tune_by_model(bench *bench) {
  return attune_tune(&bench->result, bench->store, NULL, attune_backend_device(bench->machine), &bench->problem,
                     &bench->options, NULL);
}

static void test_a_model_has_nothing_to_sample(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.effort = "sample";
  assert_int_equal(attune_tune(&bench.result, bench.store, NULL, attune_backend_device(bench.machine), &bench.problem,
                               &bench.options, NULL),
                   ATTUNE_BAD_ARGUMENT);
  assert_non_null(strstr(attune_message(), "nothing is measured on"));
  close_bench(&bench);
}

static void test_a_model_gives_way_to_measurements(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  assert_int_equal(tune_by_model(&bench), ATTUNE_OK);
  assert_string_equal(bench.result.method, "model");
  tally tally = rows_of(&bench);
  assert_int_equal(tally.modelled, tally.rows);
  assert_true(tally.rows - tally.unverified >= 3); /* the best few were run on the simulator */
  assert_true(bench.result.error_bound > 0);
  assert_int_equal(attune_fake_gpu.logged, 0); /* and none of them timed */
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_string_equal(bench.result.method, "measured");
  assert_int_equal(bench.result.reused, 0);
  close_bench(&bench);
}

static void test_a_model_leaves_wrong_results_out(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.wrong = two_stages;
  assert_int_equal(tune_by_model(&bench), ATTUNE_OK);
  assert_int_not_equal(bench.result.best.stages, 2);
  close_bench(&bench);
}

static void test_a_model_is_verified_with_lengths(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.wrong_with_lengths = two_stages;
  assert_int_equal(tune_by_model(&bench), ATTUNE_OK);
  assert_int_not_equal(bench.result.best.stages, 2);
  assert_true(rows_of(&bench).by_status[ATTUNE_MEASURED_WRONG_RESULT] > 0);
  close_bench(&bench);
}

static void test_a_model_passes_over_what_is_serialised(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.serialised = of_mma; /* the default alone is left */
  assert_int_equal(tune_by_model(&bench), ATTUNE_OK);
  assert_true(is_default(&bench.result.best, &bench));
  assert_true(rows_of(&bench).remarked > 0);
  close_bench(&bench);
}

static void test_a_model_without_a_compiler_stays_unverified(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.no_host_compiler = true;
  assert_int_equal(tune_by_model(&bench), ATTUNE_OK);
  tally tally = rows_of(&bench);
  assert_int_equal(tally.unverified, tally.rows);
  assert_true(bench.result.error_bound == 0);
  assert_true(bench.result.best_seconds > 0);
  close_bench(&bench);
}

static void test_a_model_without_nvrtc_estimates_registers(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.no_nvrtc = true;
  assert_int_equal(tune_by_model(&bench), ATTUNE_OK);
  tally tally = rows_of(&bench);
  assert_int_equal(tally.unverified, 0); /* only what was verified has a row */
  assert_true(tally.rows >= 3);
  assert_int_equal(tune(&bench), ATTUNE_NO_NVRTC); /* but nothing can be measured */
  close_bench(&bench);
}

static void test_a_budget_bounds_a_model_too(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.budget_seconds = 1;
  bench.options.jobs = 4;
  bench.machine = NULL;
  attune_fake_gpu.compile_seconds = 0.02;
  attune_fake_gpu.check_seconds = 0.1;
  attune_device device;
  assert_int_equal(attune_device_of_arch(&device, "sm_90"), ATTUNE_OK);
  assert_int_equal(attune_tune(&bench.result, bench.store, NULL, &device, &bench.problem, &bench.options,
                               &attune_fake_gpu.interrupted),
                   ATTUNE_OK);
  if (bench.result.spent_seconds > 1.2) fail_msg("%.2f s of 1 s", bench.result.spent_seconds);
  assert_true(bench.result.verified >= 1);
  close_bench(&bench);
}

static void test_the_host_device_is_modelled(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.machine = attune_fake_machine("host");
  bench.options.effort = "quick";
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_string_equal(bench.result.method, "model");
  tally tally = rows_of(&bench);
  assert_int_equal(tally.modelled, tally.rows);
  assert_int_equal(tally.unverified, 0);
  int launches = attune_fake_gpu.launches;
  assert_int_equal(tune(&bench), ATTUNE_OK); /* known from before */
  assert_int_equal(attune_fake_gpu.launches, launches);
  close_bench(&bench);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_model_has_nothing_to_sample),
      cmocka_unit_test(test_a_model_gives_way_to_measurements),
      cmocka_unit_test(test_a_model_leaves_wrong_results_out),
      cmocka_unit_test(test_a_model_is_verified_with_lengths),
      cmocka_unit_test(test_a_model_passes_over_what_is_serialised),
      cmocka_unit_test(test_a_model_without_a_compiler_stays_unverified),
      cmocka_unit_test(test_a_model_without_nvrtc_estimates_registers),
      cmocka_unit_test(test_a_budget_bounds_a_model_too),
      cmocka_unit_test(test_the_host_device_is_modelled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
