/* Dispatch, source by source, over a store in memory with made-up rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/dispatch.h"

typedef struct {
  attune_store *store;
  attune_device device;
  attune_problem problem;
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  attune_store_options options = {.path = ":memory:", .locate = attune_problem_locate};
  assert_int_equal(attune_store_open(&f->store, &options), ATTUNE_OK);
  assert_int_equal(attune_device_of_arch(&f->device, "sm_90"), ATTUNE_OK);
  snprintf(f->device.name, sizeof f->device.name, "Own GPU");
  attune_problem_init(&f->problem);
  f->problem.head_dim = f->problem.head_dim_v = 128;
  f->problem.heads_q = f->problem.heads_kv = 16;
  f->problem.seqlen_q = f->problem.seqlen_k = 2048;
  f->problem.mask = ATTUNE_MASK_CAUSAL;
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  attune_store_close(f->store);
  free(f);
  return 0;
}

typedef struct {
  attune_config *out;
  int wanted, at;
} pick;

static bool pick_legal(void *user, const attune_config *config, bool legal, const char *reason) {
  pick *p = user;
  (void)reason;
  if (legal && p->at++ == p->wanted) {
    *p->out = *config;
    return false;
  }
  return true;
}

/* The index-th legal config of the mma family; no test wants the one that the model would choose. */
static attune_config config_at(const fixture *f, const attune_problem *problem, int index) {
  attune_config config = {0}, by_model;
  assert_int_equal(attune_config_default(&by_model, problem, &f->device), ATTUNE_OK);
  pick p = {.out = &config, .wanted = index};
  const int32_t family = attune_family_named(attune_problem_operation(problem), "mma");
  assert_int_equal(attune_space(problem, &f->device, family, pick_legal, &p), ATTUNE_OK);
  if (!attune_config_compare(&config, &by_model)) {
    p = (pick){.out = &config, .wanted = index + 7};
    assert_int_equal(attune_space(problem, &f->device, family, pick_legal, &p), ATTUNE_OK);
  }
  assert_true(p.at > p.wanted);
  return config;
}

/* Stores a verified measurement; what a test changes is given by the caller in row, NULL and 0 meaning the usual. */
static void put(const fixture *f, const attune_problem *problem, const attune_config *config, attune_measurement row) {
  char problem_text[ATTUNE_TEXT_MAX], config_text[ATTUNE_TEXT_MAX], identity[256];
  assert_int_equal(attune_problem_print(problem_text, problem), ATTUNE_OK);
  assert_int_equal(attune_config_print(config_text, config), ATTUNE_OK);
  assert_int_equal(attune_device_identity(identity, &f->device), ATTUNE_OK);
  row.problem = row.problem ? row.problem : problem_text;
  row.device = row.device ? row.device : identity;
  row.arch = row.arch ? row.arch : "sm_90";
  row.policy = row.policy ? row.policy : "cold-l2 median";
  char hash[65];
  assert_int_equal(attune_result_hash(hash, config, problem, "sm_90"), ATTUNE_OK);
  row.result_hash = row.result_hash ? row.result_hash : hash;
  row.config = row.config ? row.config : config_text;
  row.verified = row.status == ATTUNE_MEASURED_OK;
  row.median = row.median > 0 ? row.median : 1e-3;
  row.low = row.median * 0.99;
  row.high = row.median * 1.01;
  row.compiler = row.driver = row.clocks = row.note = "";
  assert_int_equal(attune_store_put_measurement(f->store, &row), ATTUNE_OK);
}

static void assert_explains(const attune_choice *choice, const char *words) {
  if (!strstr(choice->explanation, words)) fail_msg("does not say \"%s\":\n%s", words, choice->explanation);
}

static void assert_config(const attune_choice *choice, const attune_config *expected) {
  char is[ATTUNE_TEXT_MAX], wanted[ATTUNE_TEXT_MAX];
  assert_int_equal(attune_config_print(is, &choice->config), ATTUNE_OK);
  assert_int_equal(attune_config_print(wanted, expected), ATTUNE_OK);
  assert_string_equal(is, wanted);
}

static attune_choice choose(const fixture *f) {
  attune_choice choice;
  assert_int_equal(attune_choose(&choice, f->store, &f->problem, &f->device), ATTUNE_OK);
  assert_int_equal(attune_config_legal(&choice.config, &f->device), ATTUNE_OK);
  return choice;
}

static void test_empty_store(void **state) {
  fixture *f = *state;
  attune_config expected;
  assert_int_equal(attune_config_default(&expected, &f->problem, &f->device), ATTUNE_OK);
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  assert_config(&choice, &expected);
  assert_explains(&choice, "exact: 0 choices");
  assert_explains(&choice, "near-problem: 0 choices");
  assert_explains(&choice, "near-device: 0 choices");
  free(choice.explanation);
}

static void test_no_store(void **state) {
  fixture *f = *state;
  attune_choice choice;
  assert_int_equal(attune_choose(&choice, NULL, &f->problem, &f->device), ATTUNE_OK);
  assert_string_equal(choice.source, "model");
  free(choice.explanation);
}

static void test_exact(void **state) {
  fixture *f = *state;
  attune_config fast = config_at(f, &f->problem, 3), slow = config_at(f, &f->problem, 11);
  put(f, &f->problem, &slow, (attune_measurement){.median = 2e-3});
  put(f, &f->problem, &fast, (attune_measurement){.median = 1e-3});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "exact");
  assert_config(&choice, &fast);
  assert_explains(&choice, "1 ms, cold-l2 median");
  assert_explains(&choice, "; taken");
  free(choice.explanation);
}

static void test_outdated(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){.result_hash = "0123"});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  assert_explains(&choice, "exact: 1 choice for this problem on this device\n");
  assert_explains(&choice, "; outdated: another kernel would run today");
  free(choice.explanation);
}

/* Of rows of version 1 nobody knows what ran: they are kept, and outdated. */
static void test_version_1(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config,
      (attune_measurement){.result_hash = "v1:d41f0adacb92a25958b839dc572cd1e7b3f5292db8d1668b4f626e23f4b527d3"});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  assert_explains(&choice, "; outdated: another kernel would run today");
  free(choice.explanation);
}

static bool take_config(void *user, const attune_measurement *row) {
  snprintf(user, ATTUNE_TEXT_MAX, "%s", row->config);
  return true;
}

static void assert_stored_choice(const fixture *f, const attune_config *expected) {
  char stored[ATTUNE_TEXT_MAX] = "", wanted[ATTUNE_TEXT_MAX];
  assert_int_equal(attune_config_print(wanted, expected), ATTUNE_OK);
  assert_int_equal(attune_store_choices(f->store, NULL, take_config, stored), ATTUNE_OK);
  assert_string_equal(stored, wanted);
}

/* The fastest one that still runs takes the place of an outdated choice, if it is nearly as fast. */
static void test_instead_of_an_outdated_choice(void **state) {
  fixture *f = *state;
  attune_config gone = config_at(f, &f->problem, 3), next = config_at(f, &f->problem, 11),
                slower = config_at(f, &f->problem, 5), slow = config_at(f, &f->problem, 17);
  put(f, &f->problem, &slow, (attune_measurement){.median = 1.11e-3});
  put(f, &f->problem, &gone, (attune_measurement){.median = 1e-3, .result_hash = "0123"});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  free(choice.explanation);
  assert_stored_choice(f, &gone); /* counted as outdated until somebody tunes */
  put(f, &f->problem, &slower, (attune_measurement){.median = 1.09e-3});
  put(f, &f->problem, &next, (attune_measurement){.median = 1.08e-3});
  assert_stored_choice(f, &gone);
  choice = choose(f);
  assert_string_equal(choice.source, "exact");
  assert_config(&choice, &next);
  assert_explains(&choice, "; outdated");
  free(choice.explanation);
  assert_stored_choice(f, &next);
  choice = choose(f);
  assert_config(&choice, &next);
  assert_null(strstr(choice.explanation, "outdated"));
  free(choice.explanation);
}

static bool mark_next(void *user, const attune_measurement *row) {
  if (row->median == 1.08e-3) *(int64_t *)user = row->id;
  return true;
}

/* What a tuner of another version marked is taken where it runs, but the choice is left to that version. */
static void test_marked_instead_of_an_outdated_choice(void **state) {
  fixture *f = *state;
  attune_config gone = config_at(f, &f->problem, 3), next = config_at(f, &f->problem, 11);
  put(f, &f->problem, &gone, (attune_measurement){.median = 1e-3, .result_hash = "0123"});
  put(f, &f->problem, &next, (attune_measurement){.median = 1.08e-3});
  char problem[ATTUNE_TEXT_MAX], identity[256];
  int64_t id = 0;
  assert_int_equal(attune_problem_print(problem, &f->problem), ATTUNE_OK);
  assert_int_equal(attune_device_identity(identity, &f->device), ATTUNE_OK);
  assert_int_equal(attune_store_measurements(f->store, NULL, mark_next, &id), ATTUNE_OK);
  assert_int_equal(attune_store_mark(f->store, problem, identity, &id, 1, true), ATTUNE_OK);
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "exact");
  assert_config(&choice, &next);
  free(choice.explanation);
  assert_stored_choice(f, &gone);
}

/* This build need not look again at what it measured itself. */
static void test_own_build(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){.result_hash = "0123", .tool = attune_tool()});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "exact");
  free(choice.explanation);
}

static bool take_tool(void *user, const attune_measurement *row) {
  snprintf(user, 128, "%s", row->tool);
  return true;
}

/* What another build measured is looked at once; the measurement keeps the tool that made it. */
static void test_another_build(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  char tool[128];
  put(f, &f->problem, &config, (attune_measurement){.tool = "another build"});
  for (int i = 0; i < 2; i++) {
    attune_choice choice = choose(f);
    assert_string_equal(choice.source, "exact");
    free(choice.explanation);
    assert_int_equal(attune_store_choices(f->store, NULL, take_tool, tool), ATTUNE_OK);
    assert_string_equal(tool, attune_tool());
    assert_int_equal(attune_store_measurements(f->store, NULL, take_tool, tool), ATTUNE_OK);
    assert_string_equal(tool, "another build");
  }
}

static void test_unreadable_row(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){.config = "forward.mma.nonsense"});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  assert_explains(&choice, "1 unreadable");
  free(choice.explanation);
}

static void test_illegal_row(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){0});
  f->device.threads_per_block = 16; /* same identity, but nothing fits any more */
  attune_choice choice;
  attune_status status = attune_choose(&choice, f->store, &f->problem, &f->device);
  if (status == ATTUNE_OK) {
    assert_string_not_equal(choice.source, "exact");
    assert_explains(&choice, "; not legal here");
    free(choice.explanation);
  }
}

static void test_failed_measurements(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){.status = ATTUNE_MEASURED_WRONG_RESULT});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  assert_explains(&choice, "exact: 1 row is stored for this problem, 1 wrong_result");
  free(choice.explanation);
}

static void test_near_problem(void **state) {
  fixture *f = *state;
  attune_problem near = f->problem, farther = f->problem, other = f->problem;
  near.seqlen_q = 4096;
  farther.batch = 4;
  other.head_dim = other.head_dim_v = 64;
  attune_config own = config_at(f, &near, 3), far_config = config_at(f, &farther, 11),
                foreign = config_at(f, &other, 5);
  put(f, &farther, &far_config, (attune_measurement){.median = 1e-6});
  put(f, &near, &own, (attune_measurement){0});
  put(f, &other, &foreign, (attune_measurement){0});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "near-problem");
  assert_config(&choice, &own);
  assert_explains(&choice, "1.0 doublings away");
  assert_explains(&choice, "near-problem: 2 choices");
  free(choice.explanation);
}

/* What was measured of the forward pass says nothing of the backward pass, however near. */
static void test_near_problem_of_gradients(void **state) {
  fixture *f = *state;
  attune_problem forward = f->problem;
  f->problem.operation = ATTUNE_BACKWARD;
  attune_problem near = f->problem;
  near.seqlen_q = 4096;
  attune_config own = config_at(f, &near, 3), foreign = config_at(f, &forward, 5);
  put(f, &forward, &foreign, (attune_measurement){.median = 1e-6});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  assert_explains(&choice, "near-problem: 0 choices");
  free(choice.explanation);
  put(f, &near, &own, (attune_measurement){0});
  choice = choose(f);
  assert_string_equal(choice.source, "near-problem");
  assert_config(&choice, &own);
  free(choice.explanation);
  put(f, &f->problem, &own, (attune_measurement){0});
  choice = choose(f);
  assert_string_equal(choice.source, "exact");
  free(choice.explanation);
}

/* Each size alone: half, twice and a quarter are near, an eighth and eight times are not; in between, the nearer one.
 */
static void test_each_axis_of_distance(void **state) {
  fixture *f = *state;
  f->problem.batch = 8;
  f->problem.heads_q = 64;
  f->problem.heads_kv = 16;
  f->problem.window_left = 127;
  f->problem.window_right = 0;
  f->problem.mask = ATTUNE_MASK_NONE;
  const size_t axes[] = {offsetof(attune_problem, batch),    offsetof(attune_problem, heads_q),
                         offsetof(attune_problem, heads_kv), offsetof(attune_problem, seqlen_q),
                         offsetof(attune_problem, seqlen_k), offsetof(attune_problem, window_left)};
  for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
    const bool grouped = axes[i] == offsetof(attune_problem, heads_kv);
    const struct {
      int times, by;
      bool near;
    } steps[] = {{8, 1, false}, {1, 8, false}, {1, 4, true}, {grouped ? 1 : 2, grouped ? 2 : 1, true}};
    for (size_t j = 0; j < sizeof steps / sizeof *steps; j++) {
      attune_problem other = f->problem;
      int32_t *size = (int32_t *)((char *)&other + axes[i]);
      const int window = axes[i] == offsetof(attune_problem, window_left);
      if (grouped && steps[j].times > 4) continue; /* more key heads than query heads */
      if (axes[i] == offsetof(attune_problem, heads_q) && steps[j].by > 4) continue;
      *size = (*size + window) * steps[j].times / steps[j].by - window;
      attune_config config = config_at(f, &other, 3 + (int)j);
      put(f, &other, &config, (attune_measurement){.median = j == 2 ? 1e-6 : 1e-3});
      attune_choice choice = choose(f);
      if (!steps[j].near) assert_explains(&choice, "near-problem: 0 choices"); /* they are not even read */
      if (strcmp(choice.source, steps[j].near ? "near-problem" : "model"))
        fail_msg("%zu %zu %s", i, j, choice.explanation);
      if (steps[j].near) assert_config(&choice, &config); /* twice is nearer than a quarter */
      free(choice.explanation);
    }
    assert_int_equal(attune_store_forget(f->store, NULL, NULL), ATTUNE_OK);
  }
}

/* Every size is near, all of them together are not. */
static void test_too_far(void **state) {
  fixture *f = *state;
  attune_problem far = f->problem;
  far.seqlen_q = far.seqlen_k = 2867;
  far.heads_q = far.heads_kv = 22;
  far.batch = 2;
  attune_config config = config_at(f, &far, 3);
  put(f, &far, &config, (attune_measurement){0});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  assert_explains(&choice, "near-problem: 1 choice for near problems on this device, 1 too far");
  free(choice.explanation);
}

static void test_near_device(void **state) {
  fixture *f = *state;
  attune_config alike = config_at(f, &f->problem, 3), unlike = config_at(f, &f->problem, 11);
  attune_device other = f->device;
  char close_identity[256], far_identity[256];
  snprintf(other.name, sizeof other.name, "Other GPU");
  other.sm_count = f->device.sm_count - 2;
  assert_int_equal(attune_device_identity(close_identity, &other), ATTUNE_OK);
  other.sm_count = f->device.sm_count / 2;
  assert_int_equal(attune_device_identity(far_identity, &other), ATTUNE_OK);
  put(f, &f->problem, &unlike, (attune_measurement){.device = far_identity, .median = 1e-4});
  put(f, &f->problem, &alike, (attune_measurement){.device = close_identity});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "near-device");
  assert_config(&choice, &alike);
  assert_explains(&choice, "on Other GPU");
  free(choice.explanation);
}

static void test_other_arch_is_no_neighbour(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){.device = "Old GPU|sm_80|108", .arch = "sm_80"});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  free(choice.explanation);
}

/* An estimate never passes for a measurement, and gives way to any. */
static void test_model_rows(void **state) {
  fixture *f = *state;
  attune_config estimated = config_at(f, &f->problem, 3), measured = config_at(f, &f->problem, 11);
  put(f, &f->problem, &estimated, (attune_measurement){.policy = "model", .median = 1e-5});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  assert_config(&choice, &estimated);
  assert_explains(&choice, "1 estimated only");
  free(choice.explanation);
  put(f, &f->problem, &measured, (attune_measurement){.median = 1e-3});
  choice = choose(f);
  assert_string_equal(choice.source, "exact");
  assert_config(&choice, &measured);
  free(choice.explanation);
}

typedef struct {
  int refusals, offers;
  attune_status with;
} refuser;

static attune_status refuse(void *user, const attune_config *config) {
  refuser *r = user;
  (void)config;
  return r->offers++ < r->refusals ? attune_fail(r->with, "refused here") : ATTUNE_OK;
}

static void test_refused_sources(void **state) {
  fixture *f = *state;
  attune_problem near = f->problem, resolved;
  near.batch = 2;
  attune_config own = config_at(f, &f->problem, 3), other = config_at(f, &near, 11);
  put(f, &f->problem, &own, (attune_measurement){0});
  put(f, &near, &other, (attune_measurement){0});
  assert_int_equal(attune_problem_resolve(&resolved, &f->problem), ATTUNE_OK);
  const char *const sources[] = {"exact", "near-problem", "model", "reference"};
  for (int i = 0; i < 4; i++) {
    attune_choice choice;
    refuser r = {.refusals = i, .with = ATTUNE_WOULD_COMPILE};
    assert_int_equal(attune_dispatch(&choice, f->store, &resolved, &f->device, refuse, &r), ATTUNE_OK);
    assert_string_equal(choice.source, sources[i]);
    if (i) assert_explains(&choice, "passed over: refused here");
    free(choice.explanation);
  }
  attune_choice choice;
  refuser all = {.refusals = 99, .with = ATTUNE_WOULD_COMPILE};
  assert_int_equal(attune_dispatch(&choice, f->store, &resolved, &f->device, refuse, &all), ATTUNE_WOULD_COMPILE);
  assert_explains(&choice, "reference: always there");
  free(choice.explanation);
  refuser grave = {.refusals = 99, .with = ATTUNE_OUT_OF_MEMORY};
  assert_int_equal(attune_dispatch(&choice, f->store, &resolved, &f->device, refuse, &grave), ATTUNE_OUT_OF_MEMORY);
  assert_int_equal(grave.offers, 1);
  free(choice.explanation);
}

/* Four of one source have their say, each config once, before the next source has its turn. */
static void test_offers(void **state) {
  fixture *f = *state;
  attune_problem resolved;
  assert_int_equal(attune_problem_resolve(&resolved, &f->problem), ATTUNE_OK);
  attune_config same = config_at(f, &f->problem, 3);
  put(f, &f->problem, &same, (attune_measurement){0});
  for (int i = 0; i < 7; i++) { /* near problems: the own config twice, then six others */
    attune_problem near = f->problem;
    near.seqlen_q += 16 * (i + 1);
    attune_config config = config_at(f, &near, i < 2 ? 3 : 9 + 2 * i);
    put(f, &near, &config, (attune_measurement){0});
  }
  attune_choice choice;
  refuser r = {.refusals = 5, .with = ATTUNE_WOULD_COMPILE};
  assert_int_equal(attune_dispatch(&choice, f->store, &resolved, &f->device, refuse, &r), ATTUNE_OK);
  assert_string_equal(choice.source, "model"); /* one exact, four near, then this */
  assert_int_equal(r.offers, 6);
  free(choice.explanation);
  r = (refuser){.refusals = 4, .with = ATTUNE_WOULD_COMPILE};
  assert_int_equal(attune_dispatch(&choice, f->store, &resolved, &f->device, refuse, &r), ATTUNE_OK);
  assert_string_equal(choice.source, "near-problem");
  assert_int_equal(r.offers, 5);
  free(choice.explanation);
}

/* Each config is offered once, whichever sources name it. */
static void test_offered_before(void **state) {
  fixture *f = *state;
  attune_problem resolved, near = f->problem;
  near.seqlen_q = 4096;
  assert_int_equal(attune_problem_resolve(&resolved, &f->problem), ATTUNE_OK);
  attune_config config = config_at(f, &f->problem, 3), by_model;
  assert_int_equal(attune_config_default(&by_model, &f->problem, &f->device), ATTUNE_OK);
  put(f, &f->problem, &config, (attune_measurement){0});
  put(f, &near, &config, (attune_measurement){0});
  put(f, &f->problem, &by_model, (attune_measurement){.device = "Other GPU|sm_90|132"});
  attune_choice choice;
  refuser all = {.refusals = 99, .with = ATTUNE_WOULD_COMPILE};
  assert_int_equal(attune_dispatch(&choice, f->store, &resolved, &f->device, refuse, &all), ATTUNE_WOULD_COMPILE);
  assert_int_equal(all.offers, 3); /* exact, near device, reference */
  assert_null(strstr(choice.explanation, "the least estimate"));
  free(choice.explanation);
}

/* What is outdated costs a check each, and not more than eight of them. */
static void test_checks(void **state) {
  fixture *f = *state;
  for (int i = 0; i < 12; i++) {
    attune_problem near = f->problem;
    near.seqlen_q += (i < 6 ? 16 : 1200) * (i + 1) / (i < 6 ? 1 : 6);
    attune_config config = config_at(f, &near, 9 + 2 * i);
    put(f, &near, &config, (attune_measurement){.result_hash = "0123"});
  }
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "model");
  int outdated = 0;
  for (const char *at = choice.explanation; (at = strstr(at, "; outdated")); at++)
    outdated++;
  assert_int_equal(outdated, 8);
  free(choice.explanation);
}

/* A problem's expressions are known to whoever asks, not to the store. */
static void test_expressions(void **state) {
  fixture *f = *state;
  attune_problem near = f->problem, changed;
  f->problem.score_expr = "score + 1";
  near = f->problem;
  near.batch = 2;
  attune_config config = config_at(f, &near, 3), own;
  put(f, &near, &config, (attune_measurement){0});
  attune_choice choice = choose(f);
  assert_string_equal(choice.source, "near-problem");
  free(choice.explanation);
  changed = f->problem;
  changed.score_expr = "score + 2";
  own = config_at(f, &changed, 3);
  assert_int_equal(attune_store_forget(f->store, NULL, NULL), ATTUNE_OK);
  put(f, &changed, &own, (attune_measurement){0});
  choice = choose(f);
  assert_string_equal(choice.source, "model");
  free(choice.explanation);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_empty_store),
      TEST(test_no_store),
      TEST(test_exact),
      TEST(test_outdated),
      TEST(test_version_1),
      TEST(test_instead_of_an_outdated_choice),
      TEST(test_marked_instead_of_an_outdated_choice),
      TEST(test_own_build),
      TEST(test_another_build),
      TEST(test_unreadable_row),
      TEST(test_illegal_row),
      TEST(test_failed_measurements),
      TEST(test_near_problem),
      TEST(test_near_problem_of_gradients),
      TEST(test_each_axis_of_distance),
      TEST(test_too_far),
      TEST(test_near_device),
      TEST(test_other_arch_is_no_neighbour),
      TEST(test_model_rows),
      TEST(test_refused_sources),
      TEST(test_offers),
      TEST(test_offered_before),
      TEST(test_checks),
      TEST(test_expressions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
