/* For tests of the search: a store in memory, the fake machine, one problem. */
#ifndef ATTUNE_TESTS_SEARCH_CASE_H
#define ATTUNE_TESTS_SEARCH_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/hash.h"
#include "tests/fake/backend.h"

/* What runs is the config alone: thousands of trials need not be emitted. upgraded: by another version of Attune. */
static bool upgraded;
attune_status __wrap_attune_result_hash(char out[65], const attune_config *config, const attune_problem *problem,
                                        const char *arch);
attune_status __wrap_attune_result_hash(char out[65], const attune_config *config, const attune_problem *problem,
                                        const char *arch) {
  char text[ATTUNE_TEXT_MAX + 8];
  (void)problem;
  (void)arch;
  attune_status status = attune_config_print(text, config);
  if (upgraded) strcat(text, ".new");
  if (status == ATTUNE_OK) attune_sha256(out, text, strlen(text));
  return status;
}

typedef struct {
  attune_store *store;
  attune_backend *machine;
  attune_problem problem;
  attune_tune_options options;
  attune_tune_result result;
} bench;

/* True times with one best schedule; far from it in every axis it gets slower. */
static inline double steps(int a, int b) {
  return fabs(log2((double)(a > 0 ? a : 1) / (b > 0 ? b : 1)));
}
static inline double valley(const attune_config *c) {
  return 1e-3 * (1 + 0.10 * steps(c->tile_m, 128) + 0.08 * steps(c->tile_n, 64) + 0.2 * steps(c->warps, 4) +
                 0.05 * abs(c->stages - 2) + 0.04 * (attune_config_value(c, "q_in_regs") == 0) +
                 0.03 * (c->order != ATTUNE_ORDER_LPT) + 0.02 * abs(c->min_blocks_per_sm - 2));
}
static inline double flat(const attune_config *c) {
  return (void)c, 1e-3;
}

static inline void open_bench(bench *bench) {
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
static inline void start_anew(bench *bench) {
  bench->machine = attune_fake_machine("sm_100");
  attune_fake_gpu.seconds = valley;
}

static inline attune_status tune(bench *bench) {
  return attune_tune(&bench->result, bench->store, bench->machine, attune_backend_device(bench->machine),
                     &bench->problem, &bench->options, &attune_fake_gpu.interrupted);
}

static inline void close_bench(bench *bench) {
  attune_store_close(bench->store);
}

typedef struct {
  int rows, by_status[ATTUNE_MEASURED_COUNT], modelled, unverified, remarked; /* skipped for the compiler's remark */
} tally;

static inline bool count_row(void *user, const attune_measurement *row) {
  tally *tally = user;
  tally->rows++;
  tally->by_status[row->status]++;
  tally->remarked += row->status == ATTUNE_MEASURED_SKIPPED && strstr(row->note, "(C7510) Potential") != NULL;
  tally->modelled += strcmp(row->policy, "model") == 0;
  tally->unverified += row->status == ATTUNE_MEASURED_OK && !row->verified;
  return true;
}

static inline tally rows_of(const bench *bench) {
  tally tally = {0};
  attune_measurement_filter all = {0};
  assert_int_equal(attune_store_measurements(bench->store, &all, count_row, &tally), ATTUNE_OK);
  return tally;
}

static inline bool is_default(const attune_config *config, const bench *bench) {
  attune_config initial;
  assert_int_equal(attune_config_default(&initial, &bench->problem, attune_backend_device(bench->machine)), ATTUNE_OK);
  return attune_config_compare(config, &initial) == 0;
}

static inline bool two_stages(const attune_config *config) {
  return config->stages == 2;
}
static inline bool of_mma(const attune_config *config) {
  return config->family == ATTUNE_FAMILY_MMA;
}

/* Of all families but the reference. */
typedef struct {
  double best;
  int candidates, legal;
} space;

static inline bool look_at(void *user, const attune_config *config, bool legal, const char *reason) {
  space *space = user;
  (void)reason;
  if (config->family == ATTUNE_FAMILY_REFERENCE) return true;
  space->candidates++;
  space->legal += legal;
  if (legal) space->best = fmin(space->best, valley(config));
  return true;
}

static inline space space_of(const bench *bench) {
  space space = {.best = INFINITY};
  assert_int_equal(attune_space(&bench->problem, attune_backend_device(bench->machine), -1, look_at, &space),
                   ATTUNE_OK);
  return space;
}

static inline double best_possible(const bench *bench) {
  return space_of(bench).best;
}

#endif
