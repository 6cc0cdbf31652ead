#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/fake/backend.h"

enum { CANDIDATES = 4 };

static double by_tile(const attune_config *config) {
  return 1e-3 * config->tile_m;
}
static bool last_fails(const attune_config *config) {
  return config->tile_m == 103;
}

/* Candidates whose true times are 1e-3 * tile_m. */
typedef struct {
  attune_backend *machine;
  attune_verifier *verifier;
  attune_config configs[CANDIDATES];
  attune_candidate candidates[CANDIDATES];
} bench;

static void open_bench(bench *bench, const char *arch, const int *tiles) {
  bench->machine = attune_fake_machine(arch);
  attune_fake_gpu.seconds = by_tile;
  assert_int_equal(attune_verifier_create(&bench->verifier, bench->machine, NULL, NULL, NULL), ATTUNE_OK);
  for (int i = 0; i < CANDIDATES; i++) {
    bench->configs[i] = (attune_config){.tile_m = tiles[i]};
    bench->candidates[i] = (attune_candidate){.program = attune_fake_program(bench->machine, &bench->configs[i])};
  }
}

static attune_status race(bench *bench, int rounds, double seconds) {
  return attune_measure(bench->verifier, bench->machine, bench->candidates, CANDIDATES, rounds, seconds);
}

static void close_bench(bench *bench) {
  for (int i = 0; i < CANDIDATES; i++) {
    attune_timing_free(&bench->candidates[i].timing);
    attune_program_destroy((attune_program *)bench->candidates[i].program);
  }
  attune_verifier_destroy(bench->verifier);
}

static const int near_tiles[] = {100, 101, 102, 103};

static void test_exact_times_settle_soon(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench, "sm_90", near_tiles);
  assert_int_equal(race(&bench, 100, 1e9), ATTUNE_OK);
  for (int i = 0; i < CANDIDATES; i++) {
    const attune_timing *timing = &bench.candidates[i].timing;
    assert_int_equal(timing->count, 10);
    assert_true(fabs(timing->median - 1e-3 * near_tiles[i]) < 1e-9);
    assert_true(timing->low <= timing->median && timing->median <= timing->high);
  }
  close_bench(&bench);
}

static void test_noise_is_measured_to_the_end(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench, "sm_90", near_tiles);
  attune_fake_gpu.noise = 0.1;
  assert_int_equal(race(&bench, 50, 1e9), ATTUNE_OK);
  for (int i = 0; i < CANDIDATES; i++) {
    const attune_timing *timing = &bench.candidates[i].timing;
    assert_int_equal(timing->count, 50);
    double truth = 1.05 * 1e-3 * near_tiles[i]; /* median of the noise */
    assert_true(timing->low < truth && truth < timing->high);
    assert_true(timing->high - timing->low < 0.05 * truth);
  }
  close_bench(&bench);
}

static void test_rounds_are_interleaved_in_changing_order(void **state) {
  bench bench;
  int changes = 0;
  (void)state;
  open_bench(&bench, "sm_90", near_tiles);
  assert_int_equal(race(&bench, 100, 1e9), ATTUNE_OK);
  assert_int_equal(attune_fake_gpu.logged, 10 * CANDIDATES);
  for (int round = 0; round < 10; round++) {
    int seen = 0;
    for (int i = 0; i < CANDIDATES; i++)
      seen |= 1 << (attune_fake_gpu.log[round * CANDIDATES + i].tile_m - 100);
    assert_int_equal(seen, 15);
    changes += round && attune_fake_gpu.log[round * CANDIDATES].tile_m != attune_fake_gpu.log[0].tile_m;
  }
  assert_true(changes > 0);
  close_bench(&bench);
}

static void test_cache_is_flushed_before_every_sample(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench, "sm_90", near_tiles);
  assert_int_equal(race(&bench, 100, 1e9), ATTUNE_OK);
  assert_int_equal(attune_fake_gpu.fills, attune_fake_gpu.logged);
  assert_int_equal(attune_fake_gpu.launches, attune_fake_gpu.logged + 2 * CANDIDATES); /* warm-up */
  close_bench(&bench);
  open_bench(&bench, "host", near_tiles);
  assert_int_equal(race(&bench, 100, 1e9), ATTUNE_OK);
  assert_int_equal(attune_fake_gpu.fills, 0);
  close_bench(&bench);
}

static void test_the_slow_leave_early(void **state) {
  static const int tiles[] = {100, 200, 101, 120};
  bench bench;
  (void)state;
  open_bench(&bench, "sm_90", tiles);
  attune_fake_gpu.noise = 0.02;
  assert_int_equal(race(&bench, 30, 1e9), ATTUNE_OK);
  assert_int_equal(bench.candidates[1].timing.count, 5);
  assert_int_equal(bench.candidates[3].timing.count, 5);
  assert_true(bench.candidates[0].timing.count >= 10);
  assert_int_equal(bench.candidates[0].timing.count, bench.candidates[2].timing.count);
  close_bench(&bench);
}

static void test_time_runs_out_after_a_whole_round(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench, "sm_90", near_tiles);
  assert_int_equal(race(&bench, 100, 0), ATTUNE_OK);
  for (int i = 0; i < CANDIDATES; i++)
    assert_int_equal(bench.candidates[i].timing.count, 1);
  close_bench(&bench);
}

static void test_a_failing_launch_names_its_candidate(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench, "sm_90", near_tiles);
  attune_fake_gpu.fails = last_fails;
  assert_int_equal(race(&bench, 100, 1e9), ATTUNE_DRIVER_FAILED);
  for (int i = 0; i < CANDIDATES; i++)
    assert_int_equal(bench.candidates[i].status, near_tiles[i] == 103 ? ATTUNE_DRIVER_FAILED : ATTUNE_OK);
  close_bench(&bench);
}

static void test_bad_arguments(void **state) {
  bench bench;
  (void)state;
  open_bench(&bench, "sm_90", near_tiles);
  assert_int_equal(attune_measure(bench.verifier, bench.machine, bench.candidates, 0, 10, 1), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(race(&bench, 0, 1), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(race(&bench, 100000, 1), ATTUNE_BAD_ARGUMENT);
  close_bench(&bench);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exact_times_settle_soon),
      cmocka_unit_test(test_noise_is_measured_to_the_end),
      cmocka_unit_test(test_rounds_are_interleaved_in_changing_order),
      cmocka_unit_test(test_cache_is_flushed_before_every_sample),
      cmocka_unit_test(test_the_slow_leave_early),
      cmocka_unit_test(test_time_runs_out_after_a_whole_round),
      cmocka_unit_test(test_a_failing_launch_names_its_candidate),
      cmocka_unit_test(test_bad_arguments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
