/* The search on a machine that measures. */
#include "tests/unit/search_case.h"

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
  /* Of the smaller spaces: each row is a search among all rows for the choice. */
  assert_int_equal(attune_problem_parse(&bench.problem, "forward.bf16.d256.b4.h16.kv16.q4096.k4096"), ATTUNE_OK);
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

/* The configs of a search's rows, in order, and which of them the space has. */
typedef struct {
  attune_config *configs;
  bool *in_space;
  size_t count, capacity;
} tried_configs;

static int compare_configs(const void *a, const void *b) {
  return attune_config_compare(a, b);
}

static bool note_tried(void *user, const attune_measurement *row) {
  tried_configs *tried = user;
  assert_true(tried->count < tried->capacity);
  assert_int_equal(attune_config_parse(&tried->configs[tried->count++], row->config), ATTUNE_OK);
  return true;
}

static bool mark_tried(void *user, const attune_config *config, bool legal, const char *reason) {
  tried_configs *tried = user;
  (void)legal, (void)reason;
  const attune_config *found = bsearch(config, tried->configs, tried->count, sizeof *tried->configs, compare_configs);
  if (found == NULL) return true;
  size_t first = (size_t)(found - tried->configs); /* of the rows of one config */
  while (first > 0 && attune_config_compare(&tried->configs[first - 1], config) == 0)
    first--;
  for (size_t i = first; i < tried->count && attune_config_compare(&tried->configs[i], config) == 0; i++)
    tried->in_space[i] = true;
  return true;
}

/* Times of the shapes that were tried with values that the space leaves out. Returns how many. */
static int refined_shapes(double shapes[8], const bench *bench) {
  const size_t rows = (size_t)rows_of(bench).rows;
  tried_configs tried = {.capacity = rows,
                         .configs = calloc(rows, sizeof *tried.configs),
                         .in_space = calloc(rows, sizeof *tried.in_space)};
  assert_true(tried.configs != NULL && tried.in_space != NULL);
  attune_measurement_filter all = {0};
  assert_int_equal(attune_store_measurements(bench->store, &all, note_tried, &tried), ATTUNE_OK);
  assert_int_equal(tried.count, rows);
  qsort(tried.configs, tried.count, sizeof *tried.configs, compare_configs);
  const attune_device *device = attune_backend_device(bench->machine);
  assert_int_equal(attune_space(&bench->problem, device, ATTUNE_FAMILY_WGMMA, mark_tried, &tried), ATTUNE_OK);
  int count = 0;
  for (size_t i = 0; i < tried.count; i++) {
    int shape = 0;
    while (shape < count && shapes[shape] != by_shape(&tried.configs[i]))
      shape++;
    if (tried.in_space[i] || shape < count) continue;
    assert_true(count < 8);
    shapes[count++] = by_shape(&tried.configs[i]);
  }
  free(tried.configs);
  free(tried.in_space);
  return count;
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
  double shapes[8];
  const int count = refined_shapes(shapes, &bench);
  double fastest[3] = {INFINITY, INFINITY, INFINITY};
  assert_int_equal(
      attune_space(&bench.problem, attune_backend_device(bench.machine), ATTUNE_FAMILY_WGMMA, note_fastest, fastest),
      ATTUNE_OK);
  assert_int_equal(count, 3);
  for (int i = 0; i < 3; i++)
    assert_true(shapes[i] <= fastest[2]);
  close_bench(&bench);
}

/* ---- the backward pass: each trial has three kernels ---- */

static double valley_of_gradients(const attune_config *c) {
  if (c->family == ATTUNE_FAMILY_DELTA) return 1e-5;
  const bool dq = c->family == ATTUNE_FAMILY_DQ_MMA;
  return 1e-3 * (1 + 0.10 * steps(c->tile_m, dq ? 128 : 32) + 0.08 * steps(c->tile_n, dq ? 32 : 128) +
                 0.2 * steps(c->warps, dq ? 8 : 4) + 0.05 * abs(c->stages - 2));
}
static double seconds_of_gradients(const attune_config *c) {
  attune_config kernels[ATTUNE_STEPS_MAX];
  double seconds = 0;
  const int count = attune_config_kernels(kernels, c);
  for (int i = 0; i < count; i++)
    seconds += valley_of_gradients(&kernels[i]);
  return seconds;
}
static bool look_at_gradients(void *user, const attune_config *config, bool legal, const char *reason) {
  double *best = user;
  (void)reason;
  if (legal && !attune_family_is_reference(config->family)) *best = fmin(*best, seconds_of_gradients(config));
  return true;
}
static bool dq_of_the_default(const attune_config *c) {
  return c->family == ATTUNE_FAMILY_DQ_MMA && c->tile_n == 32;
}
static int dq_spills(const attune_config *c) {
  return dq_of_the_default(c) ? 400 : 0;
}

static void open_backward(bench *bench) {
  open_bench(bench);
  bench->machine = attune_fake_machine("sm_90");
  attune_fake_gpu.seconds = valley_of_gradients;
  assert_int_equal(attune_problem_parse(&bench->problem, "backward.bf16.d128.b4.h16.kv16.q4096.k4096.causal"),
                   ATTUNE_OK);
}

static void test_backward_finds_both_valleys(void **state) {
  bench bench;
  double best = INFINITY;
  (void)state;
  open_backward(&bench);
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_int_equal(attune_space(&bench.problem, attune_backend_device(bench.machine), -1, look_at_gradients, &best),
                   ATTUNE_OK);
  if (seconds_of_gradients(&bench.result.best) > 1.05 * best)
    fail_msg("%g seconds were found, %g are possible", seconds_of_gradients(&bench.result.best), best);
  assert_true(fabs(bench.result.best_seconds - seconds_of_gradients(&bench.result.best)) < 1e-9);
  assert_true(is_default(&bench.result.initial, &bench));
  assert_true(attune_fake_gpu.compiled >= 3 * bench.result.compiled);
  bench.options.family = "tcgen05";
  assert_int_equal(tune(&bench), ATTUNE_BAD_ARGUMENT);
  assert_non_null(strstr(attune_message(), "of operation backward"));
  bench.options.family = "mma";
  assert_int_equal(tune(&bench), ATTUNE_OK);
  assert_true(bench.result.reused > 0);
  close_bench(&bench);
}

/* What is wrong with the kernel for dQ is wrong with the config. */
static void test_backward_fails_with_any_kernel(void **state) {
  bench bench;
  (void)state;
  for (int i = 0; i < 4; i++) {
    static const attune_measured expected[] = {ATTUNE_MEASURED_COMPILE_FAILED, ATTUNE_MEASURED_WRONG_RESULT,
                                               ATTUNE_MEASURED_LAUNCH_FAILED, ATTUNE_MEASURED_SKIPPED};
    open_backward(&bench);
    if (i == 0) attune_fake_gpu.uncompilable = dq_of_the_default;
    if (i == 1) attune_fake_gpu.wrong = dq_of_the_default;
    if (i == 2) attune_fake_gpu.fails = dq_of_the_default;
    if (i == 3) attune_fake_gpu.spills = dq_spills;
    bench.options.family = "mma";
    assert_int_equal(tune(&bench), ATTUNE_OK);
    /* The default is measured whatever it spills. */
    assert_true(attune_config_value(&bench.result.best, "dq_tile_n") != 32 ||
                (i == 3 && is_default(&bench.result.best, &bench)));
    assert_true(rows_of(&bench).by_status[expected[i]] > 0);
    close_bench(&bench);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_normal_finds_the_valley),
      cmocka_unit_test(test_quick_tries_a_dozen),
      cmocka_unit_test(test_exhaustive_finds_the_best),
      cmocka_unit_test(test_a_sample_is_drawn_once),
      cmocka_unit_test(test_ties_go_to_the_default),
      cmocka_unit_test(test_unknown_effort_and_family),
      cmocka_unit_test(test_the_choice_was_in_the_final_race),
      cmocka_unit_test(test_one_unusual_problem_does_not_decide_for_its_class),
      cmocka_unit_test(test_refinements_are_found_and_known_again),
      cmocka_unit_test(test_exhaustive_refines_three_shapes),
      cmocka_unit_test(test_backward_finds_both_valleys),
      cmocka_unit_test(test_backward_fails_with_any_kernel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
