/* The ladder, rung by rung, over a store in memory with made-up rows. */
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
  attune_store_options options = {.path = ":memory:"};
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
  assert_int_equal(attune_space(problem, &f->device, ATTUNE_FAMILY_MMA, pick_legal, &p), ATTUNE_OK);
  if (!attune_config_compare(&config, &by_model)) {
    p = (pick){.out = &config, .wanted = index + 7};
    assert_int_equal(attune_space(problem, &f->device, ATTUNE_FAMILY_MMA, pick_legal, &p), ATTUNE_OK);
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
  row.generator = row.generator ? row.generator : attune_generator_hash((attune_family)config->family);
  row.config = row.config ? row.config : config_text;
  row.verified = row.status == ATTUNE_MEASURED_OK;
  row.median = row.median > 0 ? row.median : 1e-3;
  row.low = row.median * 0.99;
  row.high = row.median * 1.01;
  row.compiler = row.driver = row.clocks = row.tool = row.note = "";
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
  assert_string_equal(choice.rung, "model");
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
  assert_string_equal(choice.rung, "model");
  free(choice.explanation);
}

static void test_exact(void **state) {
  fixture *f = *state;
  attune_config fast = config_at(f, &f->problem, 3), slow = config_at(f, &f->problem, 11);
  put(f, &f->problem, &slow, (attune_measurement){.median = 2e-3});
  put(f, &f->problem, &fast, (attune_measurement){.median = 1e-3});
  attune_choice choice = choose(f);
  assert_string_equal(choice.rung, "exact");
  assert_config(&choice, &fast);
  assert_explains(&choice, "1 ms, cold-l2 median");
  assert_explains(&choice, "; taken");
  free(choice.explanation);
}

static void test_outdated_generator(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){.generator = "0123"});
  attune_choice choice = choose(f);
  assert_string_equal(choice.rung, "model");
  assert_explains(&choice, "exact: 1 choice for this problem on this device, 1 of another generator");
  free(choice.explanation);
}

static void test_unreadable_row(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){.config = "forward.mma.nonsense"});
  attune_choice choice = choose(f);
  assert_string_equal(choice.rung, "model");
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
    assert_string_not_equal(choice.rung, "exact");
    assert_explains(&choice, "1 not legal here");
    free(choice.explanation);
  }
}

static void test_failed_measurements(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){.status = ATTUNE_MEASURED_WRONG_RESULT});
  attune_choice choice = choose(f);
  assert_string_equal(choice.rung, "model");
  assert_explains(&choice, "exact: 1 measurements all the same, 1 wrong_result");
  free(choice.explanation);
}

static void test_near_problem(void **state) {
  fixture *f = *state;
  attune_problem near = f->problem, farther = f->problem, other = f->problem;
  near.seqlen_q = near.seqlen_k = 4096;
  farther.batch = 8;
  other.head_dim = other.head_dim_v = 64;
  attune_config own = config_at(f, &near, 3), far_config = config_at(f, &farther, 11),
                foreign = config_at(f, &other, 5);
  put(f, &farther, &far_config, (attune_measurement){0});
  put(f, &near, &own, (attune_measurement){0});
  put(f, &other, &foreign, (attune_measurement){0});
  attune_choice choice = choose(f);
  assert_string_equal(choice.rung, "near-problem");
  assert_config(&choice, &own);
  assert_explains(&choice, "2.0 doublings away");
  assert_explains(&choice, "1 of another kernel");
  free(choice.explanation);
}

static void test_too_far(void **state) {
  fixture *f = *state;
  attune_problem far = f->problem;
  far.seqlen_q = 1;
  attune_config config = config_at(f, &far, 3);
  put(f, &far, &config, (attune_measurement){0});
  attune_choice choice = choose(f);
  assert_string_equal(choice.rung, "model");
  assert_explains(&choice, "1 too far");
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
  assert_string_equal(choice.rung, "near-device");
  assert_config(&choice, &alike);
  assert_explains(&choice, "on Other GPU");
  free(choice.explanation);
}

static void test_other_arch_is_no_neighbour(void **state) {
  fixture *f = *state;
  attune_config config = config_at(f, &f->problem, 3);
  put(f, &f->problem, &config, (attune_measurement){.device = "Old GPU|sm_80|108", .arch = "sm_80"});
  attune_choice choice = choose(f);
  assert_string_equal(choice.rung, "model");
  free(choice.explanation);
}

/* An estimate never passes for a measurement, and gives way to any. */
static void test_model_rows(void **state) {
  fixture *f = *state;
  attune_config estimated = config_at(f, &f->problem, 3), measured = config_at(f, &f->problem, 11);
  put(f, &f->problem, &estimated, (attune_measurement){.policy = "model", .median = 1e-5});
  attune_choice choice = choose(f);
  assert_string_equal(choice.rung, "model");
  assert_config(&choice, &estimated);
  assert_explains(&choice, "1 estimated only");
  free(choice.explanation);
  put(f, &f->problem, &measured, (attune_measurement){.median = 1e-3});
  choice = choose(f);
  assert_string_equal(choice.rung, "exact");
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

static void test_refused_rungs(void **state) {
  fixture *f = *state;
  attune_problem near = f->problem, resolved;
  near.batch = 2;
  attune_config own = config_at(f, &f->problem, 3), other = config_at(f, &near, 11);
  put(f, &f->problem, &own, (attune_measurement){0});
  put(f, &near, &other, (attune_measurement){0});
  assert_int_equal(attune_problem_resolve(&resolved, &f->problem), ATTUNE_OK);
  const char *const rungs[] = {"exact", "near-problem", "model", "reference"};
  for (int i = 0; i < 4; i++) {
    attune_choice choice;
    refuser r = {.refusals = i, .with = ATTUNE_WOULD_COMPILE};
    assert_int_equal(attune_climb(&choice, f->store, &resolved, &f->device, refuse, &r), ATTUNE_OK);
    assert_string_equal(choice.rung, rungs[i]);
    if (i) assert_explains(&choice, "passed over: refused here");
    free(choice.explanation);
  }
  attune_choice choice;
  refuser all = {.refusals = 99, .with = ATTUNE_WOULD_COMPILE};
  assert_int_equal(attune_climb(&choice, f->store, &resolved, &f->device, refuse, &all), ATTUNE_WOULD_COMPILE);
  assert_explains(&choice, "reference: always there");
  free(choice.explanation);
  refuser grave = {.refusals = 99, .with = ATTUNE_OUT_OF_MEMORY};
  assert_int_equal(attune_climb(&choice, f->store, &resolved, &f->device, refuse, &grave), ATTUNE_OUT_OF_MEMORY);
  assert_int_equal(grave.offers, 1);
  free(choice.explanation);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_empty_store),
      TEST(test_no_store),
      TEST(test_exact),
      TEST(test_outdated_generator),
      TEST(test_unreadable_row),
      TEST(test_illegal_row),
      TEST(test_failed_measurements),
      TEST(test_near_problem),
      TEST(test_too_far),
      TEST(test_near_device),
      TEST(test_other_arch_is_no_neighbour),
      TEST(test_model_rows),
      TEST(test_refused_rungs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
