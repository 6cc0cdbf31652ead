/* The search on a machine that measures. */
#include "tests/unit/search_case.h"

/* Of all families but the reference. */
typedef struct {
  double best;
  int candidates, legal;
} space;

static bool look_at(void *user, const attune_config *config, bool legal, const char *reason) {
  space *space = user;
  (void)reason;
  if (config->family == ATTUNE_FAMILY_REFERENCE) return true;
  space->candidates++;
  space->legal += legal;
  if (legal) space->best = fmin(space->best, valley(config));
  return true;
}

static space space_of(const bench *bench) {
  space space = {.best = INFINITY};
  assert_int_equal(attune_space(&bench->problem, attune_backend_device(bench->machine), -1, look_at, &space),
                   ATTUNE_OK);
  return space;
}

static double best_possible(const bench *bench) {
  return space_of(bench).best;
}

/* The slowest true time of all rows, and how many configs they are of. */
typedef struct {
  double slowest;
  int configs;
  attune_config seen[256];
} row_configs;

static bool look_at_row(void *user, const attune_measurement *row) {
  row_configs *rows = user;
  attune_config config;
  assert_int_equal(attune_config_parse(&config, row->config), ATTUNE_OK);
  rows->slowest = fmax(rows->slowest, valley(&config));
  for (int i = 0; i < rows->configs; i++)
    if (attune_config_compare(&rows->seen[i], &config) == 0) return true;
  assert_true(rows->configs < (int)(sizeof rows->seen / sizeof *rows->seen));
  rows->seen[rows->configs++] = config;
  return true;
}

/* The result's figures, of a search in which nothing failed, are those of the fake machine; its noise only adds. */
static void assert_figures(const bench *bench) {
  const attune_tune_result *result = &bench->result;
  const double most = 1 + attune_fake_gpu.noise + 1e-9, least = 1 - 1e-9;
  const space space = space_of(bench);
  static row_configs rows;
  attune_measurement_filter all = {0};
  rows = (row_configs){0};
  assert_int_equal(attune_store_measurements(bench->store, &all, look_at_row, &rows), ATTUNE_OK);
  assert_int_equal(result->candidates, space.candidates);
  assert_int_equal(result->legal, space.legal);
  assert_int_equal(result->compiled, rows.configs);
  assert_int_equal(result->verified, rows.configs);
  assert_int_equal(result->measured, rows.configs);
  assert_true(result->best_seconds >= least * valley(&result->best));
  assert_true(result->best_seconds <= most * valley(&result->best));
  assert_true(result->default_seconds >= least * valley(&result->initial));
  assert_true(result->default_seconds <= most * valley(&result->initial));
  assert_true(result->worst_seconds >= least * rows.slowest && result->worst_seconds <= most * rows.slowest);
}

/* ---- finding ---- */

static void test_normal_finds_the_valley(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  attune_fake_gpu.noise = 0.005;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(valley(&bench.result.best) <= 1.03 * best_possible(&bench));
  assert_figures(&bench);
  assert_int_equal(bench.result.measured, 80);
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
  assert_figures(&bench);
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

/* ---- stopping and going on ---- */

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

/* The best schedule has a value that the space leaves out. */
static double refined(const attune_config *c) {
  return 1e-3 * (1 + 0.10 * steps(c->tile_m, 128) + 0.08 * steps(c->tile_n, 128) + 0.05 * abs(c->stages - 2) +
                 0.02 * (attune_config_value(c, "intra_wg_overlap") == 0) +
                 0.03 * (attune_config_value(c, "pingpong") != ATTUNE_PINGPONG_SOFTMAX));
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
    assert_int_equal(attune_config_value(&bench.result.best, "pingpong"), ATTUNE_PINGPONG_SOFTMAX);
    assert_int_equal(bench.result.reused > 0, process);
    assert_int_equal(bench.result.measured > 0, !process);
  }
  close_bench(&bench);
}

/* A time for each tile shape. */
static double by_shape(const attune_config *c) {
  return 1e-3 * (1 + 0.1 * steps(c->tile_m, 128) + 0.001 * c->tile_n + 0.05 * steps(c->warps, 8) +
                 0.01 * c->min_blocks_per_sm);
}

/* That time for a few configs of the shape; the others take longer than any of another shape. */
static double best_of_shape(const attune_config *c) {
  return by_shape(c) +
         1e-3 * (abs(c->stages - 2) + (attune_config_value(c, "intra_wg_overlap") == 0) + (c->lazy_rescale == 0) +
                 (c->order != 0) + (c->persistent == 0) + (attune_config_value(c, "half_tiles") != 0));
}

/* Which shapes were tried with values that the space leaves out. */
typedef struct {
  const bench *bench;
  double refined[8]; /* their times */
  int count;
} refined_shapes;

typedef struct {
  const attune_config *wanted;
  bool found;
} membership;

static bool compare_with(void *user, const attune_config *config, bool legal, const char *reason) {
  membership *m = user;
  (void)legal, (void)reason;
  m->found = m->found || attune_config_compare(config, m->wanted) == 0;
  return !m->found;
}

static bool note_refined(void *user, const attune_measurement *row) {
  refined_shapes *shapes = user;
  attune_config config;
  assert_int_equal(attune_config_parse(&config, row->config), ATTUNE_OK);
  membership m = {.wanted = &config};
  const attune_device *device = attune_backend_device(shapes->bench->machine);
  assert_int_equal(attune_space(&shapes->bench->problem, device, ATTUNE_FAMILY_WGMMA, compare_with, &m), ATTUNE_OK);
  if (m.found) return true;
  for (int i = 0; i < shapes->count; i++)
    if (shapes->refined[i] == by_shape(&config)) return true;
  assert_true(shapes->count < 8);
  shapes->refined[shapes->count++] = by_shape(&config);
  return true;
}

/* Times of the three fastest shapes of the space. */
static bool note_fastest(void *user, const attune_config *config, bool legal, const char *reason) {
  double *fastest = user, seconds = by_shape(config);
  (void)reason;
  for (int i = 0; legal && i < 3 && fastest[i] != seconds; i++) {
    if (seconds >= fastest[i]) continue;
    const double slower = fastest[i];
    fastest[i] = seconds;
    seconds = slower;
  }
  return true;
}

/* After the whole space, refinements are tried of the three fastest tile shapes, and of no other. */
static void test_exhaustive_refines_three_shapes(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench);
  assert_int_equal(attune_problem_parse(&bench.problem, "forward.bf16.d256.b4.h16.kv16.q4096.k4096"), ATTUNE_OK);
  bench.options.family = "wgmma";
  bench.options.effort = "exhaustive";
  bench.machine = attune_fake_machine("sm_90");
  attune_fake_gpu.seconds = best_of_shape;
  assert_int_equal(tune(&bench), ATTUNE_OK);
  refined_shapes shapes = {.bench = &bench};
  attune_measurement_filter all = {0};
  assert_int_equal(attune_store_measurements(bench.store, &all, note_refined, &shapes), ATTUNE_OK);
  double fastest[3] = {INFINITY, INFINITY, INFINITY};
  assert_int_equal(
      attune_space(&bench.problem, attune_backend_device(bench.machine), ATTUNE_FAMILY_WGMMA, note_fastest, fastest),
      ATTUNE_OK);
  assert_int_equal(shapes.count, 3);
  for (int i = 0; i < 3; i++)
    assert_true(shapes.refined[i] <= fastest[2]);
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
      cmocka_unit_test(test_the_limit_of_spilling),
      cmocka_unit_test(test_serialised_kernels_are_passed_over),
      cmocka_unit_test(test_where_all_spill_some_are_measured),
      cmocka_unit_test(test_the_budget_leaves_the_default),
      cmocka_unit_test(test_a_budget_bounds_the_whole_search),
      cmocka_unit_test(test_an_upgrade_outdates_rows),
      cmocka_unit_test(test_a_second_search_has_nothing_to_do),
      cmocka_unit_test(test_refinements_are_found_and_known_again),
      cmocka_unit_test(test_exhaustive_refines_three_shapes),
      cmocka_unit_test(test_interrupted_searches_go_on),
      cmocka_unit_test(test_interrupted_before_it_began),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
