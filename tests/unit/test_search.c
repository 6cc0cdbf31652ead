#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/backend.h"

/* ---- a bench: a store in memory, the fake machine, one problem ---- */

typedef struct {
  attune_store *store;
  attune_backend *machine;
  attune_problem problem;
  attune_tune_options options;
  attune_tune_result result;
} bench;

/* True times with one best schedule; far from it in every axis it gets slower. */
static double steps(int a, int b) {
  return fabs(log2((double)(a > 0 ? a : 1) / (b > 0 ? b : 1)));
}
static double valley(const attune_config *c) {
  return 1e-3 * (1 + 0.10 * steps(c->tile_m, 128) + 0.08 * steps(c->tile_n, 64) + 0.2 * steps(c->warps, 4) +
                 0.05 * abs(c->stages - 2) + 0.04 * (attune_config_value(c, "q_registers") == 0) +
                 0.03 * (c->order != ATTUNE_ORDER_LONGEST) + 0.02 * abs(c->blocks - 2));
}
static double flat(const attune_config *c) {
  return (void)c, 1e-3;
}

static void open_bench(bench *bench) {
  attune_store_options in_memory = {.path = ":memory:"};
  memset(bench, 0, sizeof *bench);
  assert_int_equal(attune_store_open(&bench->store, &in_memory), ATTUNE_OK);
  bench->machine = attune_fake_machine("sm_100");
  attune_fake_gpu.seconds = valley;
  assert_int_equal(attune_problem_parse(&bench->problem, "forward.bf16.d128.b4.h16.kv16.q4096.k4096.causal"),
                   ATTUNE_OK);
  bench->options = (attune_tune_options){.effort = "normal", .jobs = 2};
}

/* A new process: what the fake machine did is forgotten, the store is not. */
static void start_anew(bench *bench) {
  bench->machine = attune_fake_machine("sm_100");
  attune_fake_gpu.seconds = valley;
}

static attune_status tune(bench *bench) {
  return attune_tune(&bench->result, bench->store, bench->machine, attune_backend_device(bench->machine),
                     &bench->problem, &bench->options, &attune_fake_gpu.interrupted);
}

static void close_bench(bench *bench) {
  attune_store_close(bench->store);
}

typedef struct {
  int rows, by_status[ATTUNE_MEASURED_COUNT], modelled, unverified, remarked; /* skipped for the compiler's remark */
} tally;

static bool count_row(void *user, const attune_measurement *row) {
  tally *tally = user;
  tally->rows++;
  tally->by_status[row->status]++;
  tally->remarked += row->status == ATTUNE_MEASURED_SKIPPED && strstr(row->note, "(C7510) Potential") != NULL;
  tally->modelled += strcmp(row->policy, "model") == 0;
  tally->unverified += row->status == ATTUNE_MEASURED_OK && !row->verified;
  return true;
}

static tally rows_of(const bench *bench) {
  tally tally = {0};
  attune_measurement_filter all = {0};
  assert_int_equal(attune_store_measurements(bench->store, &all, count_row, &tally), ATTUNE_OK);
  return tally;
}

typedef struct {
  double best;
} minimum;

static bool find_minimum(void *user, const attune_config *config, bool legal, const char *reason) {
  minimum *minimum = user;
  (void)reason;
  if (legal && config->family == ATTUNE_FAMILY_MMA) minimum->best = fmin(minimum->best, valley(config));
  return true;
}

static double best_possible(const bench *bench) {
  minimum minimum = {INFINITY};
  assert_int_equal(
      attune_space(&bench->problem, attune_backend_device(bench->machine), ATTUNE_FAMILY_MMA, find_minimum, &minimum),
      ATTUNE_OK);
  return minimum.best;
}

static bool is_default(const attune_config *config, const bench *bench) {
  attune_config initial;
  assert_int_equal(attune_config_default(&initial, &bench->problem, attune_backend_device(bench->machine)), ATTUNE_OK);
  return attune_config_compare(config, &initial) == 0;
}

/* ---- finding ---- */

static void test_normal_finds_the_valley(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.noise = 0.005;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(valley(&bench.result.best) <= 1.03 * best_possible(&bench));
  assert_true(bench.result.best_seconds <= bench.result.default_seconds);
  assert_true(bench.result.worst_seconds >= bench.result.default_seconds);
  assert_true(bench.result.measured <= 80);
  assert_true(bench.result.verified >= bench.result.measured);
  assert_true(bench.result.legal <= bench.result.candidates);
  assert_string_equal(bench.result.method, "measured");
  assert_true(is_default(&bench.result.initial, &bench));
  assert_int_equal(attune_fake_gpu.verifiers, 1);
  close_bench(&bench);
}

static void test_quick_tries_a_dozen(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.effort = "quick";
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_equal(bench.result.measured, 13);
  assert_true(bench.result.default_seconds > 0);
  assert_true(bench.result.best_seconds <= bench.result.default_seconds);
  close_bench(&bench);
}

static void test_exhaustive_finds_the_best(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.effort = "exhaustive";
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_equal(bench.result.measured, bench.result.legal);
  assert_true(fabs(valley(&bench.result.best) - best_possible(&bench)) < 1e-12);
  close_bench(&bench);
}

/* After it nothing of the sample is left, and what it found is no worse than what was known. */
static void test_a_sample_is_drawn_once(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  assert_int_equal(tune(&bench), ATTUNE_OK);
  const double found = valley(&bench.result.best);
  bench.options.effort = "sample";
  bench.options.seed = 3;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_in_range(bench.result.measured, 300, 600);
  assert_true(valley(&bench.result.best) <= found);
  start_anew(&bench);
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_equal(bench.result.measured, 0);
  bench.options.seed = 4;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.measured > 0); /* another sample */
  close_bench(&bench);
}

static void test_ties_go_to_the_default(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.seconds = flat;
  attune_fake_gpu.noise = 0.01;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(is_default(&bench.result.best, &bench));
  close_bench(&bench);
}

static void test_unknown_effort_and_family(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.effort = "heroic";
  assert_int_equal(tune(&bench), ATTUNE_BAD_ARGUMENT);
  bench.options.effort = "quick";
  bench.options.family = "telepathy";
  assert_int_equal(tune(&bench), ATTUNE_BAD_ARGUMENT);
  bench.options.family = "reference";
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_equal(bench.result.best.family, ATTUNE_FAMILY_REFERENCE);
  close_bench(&bench);
}

/* Some configs are within a hundredth of each other, in the order of their first launch and so the default first; the
 * clocks fall by four hundredths once the finalists are compiled again, and the budget is spent by then. */
static int close_ones;
static attune_tune_options *running_out;
static double slower_in_the_end(const attune_config *config) {
  static attune_config seen[64];
  static int count;
  int place = 0;
  if (attune_fake_gpu.launches == 1) count = 0;
  while (place < count && attune_config_compare(&seen[place], config) != 0)
    place++;
  if (place == count && count < 64) seen[count++] = *config;
  const double clocks = attune_fake_gpu.compiled > 13 ? 1.04 : 1.0;
  if (attune_fake_gpu.compiled > 13) running_out->budget_seconds = 1e-9;
  return 1e-3 * clocks * (1 + 0.0005 * place) * (place < close_ones ? 1 : 2);
}

static void test_the_choice_was_in_the_final_race(void **state) {
  const int quick = 13, finalists = 5, most = 3;
  bench bench;
  (void)state;
  for (close_ones = finalists; close_ones <= quick; close_ones++) {
    const int challenges = close_ones - finalists < most ? close_ones - finalists : most;
    open_bench(&bench);
    bench.options.effort = "quick";
    attune_fake_gpu.seconds = slower_in_the_end;
    running_out = &bench.options;
    assert_int_equal(tune(&bench), ATTUNE_OK);
    assert_int_equal(rows_of(&bench).rows, quick + finalists + 2 * challenges);
    if (close_ones <= finalists + most) assert_true(is_default(&bench.result.best, &bench));
    close_bench(&bench);
  }
}

static void test_one_unusual_problem_does_not_decide_for_its_class(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.effort = "quick";
  bench.problem.scale = 1e30f; /* legal for the reference family alone */
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_equal(bench.result.best.family, ATTUNE_FAMILY_MMA);
  close_bench(&bench);
}

/* ---- failing ---- */

static bool two_stages(const attune_config *config) {
  return config->stages == 2;
}
static bool tile_of_128(const attune_config *config) {
  return config->tile_m == 128;
}
static bool any(const attune_config *config) {
  return config->family == ATTUNE_FAMILY_MMA;
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
  attune_fake_gpu.wrong = any;
  assert_int_equal(tune(&bench), ATTUNE_WRONG_RESULT);
  assert_non_null(strstr(attune_message(), "7 instead of 1"));
  start_anew(&bench);
  attune_fake_gpu.wrong = any;
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
  attune_fake_gpu.serialised = any; /* then some are measured all the same */
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

/* ---- stopping and going on ---- */

static void test_the_budget_leaves_the_default(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.budget_seconds = 1e-9;
  bench.options.jobs = 1;
  attune_fake_gpu.compile_microseconds = 2000;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.default_seconds > 0);
  assert_true(bench.result.measured >= 1 && bench.result.measured < 13);
  close_bench(&bench);
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

/* The best schedule has a value that the space leaves out. */
static double refined(const attune_config *c) {
  return 1e-3 * (1 + 0.10 * steps(c->tile_m, 128) + 0.08 * steps(c->tile_n, 128) + 0.05 * abs(c->stages - 2) +
                 0.02 * (attune_config_value(c, "overlap") == 0) +
                 0.03 * (attune_config_value(c, "rotation") != ATTUNE_PINGPONG_SOFTMAX));
}

static void test_refinements_are_found_and_known_again(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  bench.options.family = "wgmma";
  for (int process = 0; process < 2; process++) {
    bench.machine = attune_fake_machine("sm_90");
    attune_fake_gpu.seconds = refined;
    assert_int_equal(tune(&bench), ATTUNE_OK);
    assert_int_equal(attune_config_value(&bench.result.best, "rotation"), ATTUNE_PINGPONG_SOFTMAX);
    assert_int_equal(bench.result.reused > 0, process);
    assert_int_equal(bench.result.measured > 0, !process);
  }
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

/* ---- models ---- */

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
  assert_true(bench.result.bound > 0);
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
  attune_fake_gpu.serialised = any; /* the default alone is left */
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
  assert_true(bench.result.bound == 0);
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
      cmocka_unit_test(test_normal_finds_the_valley),
      cmocka_unit_test(test_quick_tries_a_dozen),
      cmocka_unit_test(test_exhaustive_finds_the_best),
      cmocka_unit_test(test_a_sample_is_drawn_once),
      cmocka_unit_test(test_ties_go_to_the_default),
      cmocka_unit_test(test_the_choice_was_in_the_final_race),
      cmocka_unit_test(test_one_unusual_problem_does_not_decide_for_its_class),
      cmocka_unit_test(test_unknown_effort_and_family),
      cmocka_unit_test(test_wrong_results_never_win),
      cmocka_unit_test(test_finalists_are_verified_with_lengths),
      cmocka_unit_test(test_inputs_are_drawn_afresh),
      cmocka_unit_test(test_nothing_right_is_an_error),
      cmocka_unit_test(test_what_does_not_compile_is_a_row),
      cmocka_unit_test(test_a_failing_launch_is_a_row),
      cmocka_unit_test(test_a_lost_device_ends_the_run_and_not_the_search),
      cmocka_unit_test(test_spilling_kernels_are_passed_over),
      cmocka_unit_test(test_serialised_kernels_are_passed_over),
      cmocka_unit_test(test_where_all_spill_some_are_measured),
      cmocka_unit_test(test_the_budget_leaves_the_default),
      cmocka_unit_test(test_a_second_search_has_nothing_to_do),
      cmocka_unit_test(test_refinements_are_found_and_known_again),
      cmocka_unit_test(test_interrupted_searches_go_on),
      cmocka_unit_test(test_interrupted_before_it_began),
      cmocka_unit_test(test_a_model_has_nothing_to_sample),
      cmocka_unit_test(test_a_model_gives_way_to_measurements),
      cmocka_unit_test(test_a_model_leaves_wrong_results_out),
      cmocka_unit_test(test_a_model_is_verified_with_lengths),
      cmocka_unit_test(test_a_model_passes_over_what_is_serialised),
      cmocka_unit_test(test_a_model_without_a_compiler_stays_unverified),
      cmocka_unit_test(test_a_model_without_nvrtc_estimates_registers),
      cmocka_unit_test(test_the_host_device_is_modelled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
