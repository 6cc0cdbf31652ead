/* Lifetimes and versions: contexts, plans and builders destroyed in every order and by several threads, plans that a
 * context remembers, and callers whose structs are smaller or larger than this library's. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "generator/problem/field.h"
#include "tests/fake/use.h"

static fake_reset_function *reset;
static fake_fail_function *inject;
static fake_read_function *record;

static _Alignas(16) char memory[512];

static attune_context *open_context(const char *database) {
  attune_context *context;
  attune_options options;
  attune_options_init(&options);
  options.device = "cuda:0";
  options.database = database;
  if (attune_context_create(&context, &options) != ATTUNE_OK) fail_msg("%s", attune_message());
  return context;
}

static attune_problem usual(void) {
  attune_problem problem;
  attune_problem_init(&problem);
  problem.heads_q = 8;
  problem.heads_kv = 2;
  problem.seqlen_q = problem.seqlen_k = 256;
  problem.block_size = 64;
  return problem;
}

static attune_plan *plan_of(attune_context *context, const attune_problem *problem) {
  attune_plan *plan;
  if (attune_plan_create(&plan, context, problem) != ATTUNE_OK) fail_msg("%s", attune_message());
  return plan;
}

static attune_status run(const attune_plan *plan) {
  attune_tensors tensors;
  attune_tensors_init(&tensors);
  tensors.q = tensors.k = tensors.v = tensors.o = memory;
  tensors.block_mask = (attune_block_mask){.batch = 1, .heads = 1, .row_offsets = (int32_t *)(void *)memory};
  return attune_run(plan, &tensors, memory, sizeof memory, NULL);
}

static void expect_all_unloaded(void) {
  const fake_record seen = record();
  assert_true(seen.modules_loaded > 0);
  assert_int_equal(seen.modules_loaded, seen.modules_unloaded);
  assert_int_equal(seen.retains, seen.releases);
  assert_int_equal(seen.pushes, seen.pops);
}

/* ---- order ---- */

enum { CONTEXT, PLAN, SAME_PLAN, BUILDER, OBJECTS };

typedef struct {
  attune_context *context;
  attune_plan *plans[2]; /* one, twice */
  attune_plan *named;
  attune_block_mask_builder *builder;
} objects;

static void destroy_one(objects *o, int which) {
  if (which == CONTEXT) attune_context_destroy(o->context);
  if (which == BUILDER) attune_block_mask_builder_destroy(o->builder);
  if (which != CONTEXT && which != BUILDER) attune_plan_destroy(o->plans[which - PLAN]);
}

static void make_all(objects *o) {
  const attune_problem problem = usual();
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  reset();
  o->context = open_context(":memory:");
  o->plans[0] = plan_of(o->context, &problem);
  o->plans[1] = plan_of(o->context, &problem);
  assert_ptr_equal(o->plans[0], o->plans[1]);
  assert_int_equal(attune_config_reference(&config, &problem), ATTUNE_OK);
  assert_int_equal(attune_config_print(text, &config), ATTUNE_OK);
  assert_int_equal(attune_plan_create_with(&o->named, o->context, &problem, text), ATTUNE_OK);
  assert_int_equal(attune_block_mask_builder_create(&o->builder, o->context, &problem), ATTUNE_OK);
}

/* Every permutation; what is left still works, and the last one gives everything back. */
static void test_every_order(void **state) {
  (void)state;
  int orders = 0;
  for (int code = 0; code < OBJECTS * OBJECTS * OBJECTS * OBJECTS; code++) {
    int order[OBJECTS], place[OBJECTS];
    bool permutation = true;
    for (int i = 0, rest = code; i < OBJECTS; i++, rest /= OBJECTS)
      order[i] = rest % OBJECTS;
    for (int i = 0; i < OBJECTS; i++)
      for (int j = 0; j < i; j++)
        permutation = permutation && order[i] != order[j];
    if (!permutation) continue;
    orders++;
    for (int i = 0; i < OBJECTS; i++)
      place[order[i]] = i;
    objects o;
    make_all(&o);
    for (int i = 0; i < OBJECTS; i++) {
      if (i == orders % OBJECTS) attune_plan_destroy(o.named); /* before each place in turn */
      for (int p = 0; p < 2; p++)
        if (place[PLAN + p] >= i) assert_int_equal(run(o.plans[p]), ATTUNE_OK);
      if (place[BUILDER] >= i) assert_true(attune_block_mask_builder_workspace(o.builder, 1, 1) > 0);
      destroy_one(&o, order[i]);
    }
    expect_all_unloaded();
  }
  assert_int_equal(orders, 24);
}

typedef struct {
  objects *objects;
  int which;
  pthread_barrier_t *together;
} destroyer;

static void *destroy_in_thread(void *user) {
  const destroyer *d = user;
  pthread_barrier_wait(d->together);
  destroy_one(d->objects, d->which);
  return NULL;
}

static void test_threads_destroy(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    objects o;
    pthread_t threads[OBJECTS];
    pthread_barrier_t together;
    destroyer destroyers[OBJECTS];
    make_all(&o);
    assert_int_equal(pthread_barrier_init(&together, NULL, OBJECTS), 0);
    for (int i = 0; i < OBJECTS; i++) {
      destroyers[i] = (destroyer){&o, i, &together};
      assert_int_equal(pthread_create(&threads[i], NULL, destroy_in_thread, &destroyers[i]), 0);
    }
    for (int i = 0; i < OBJECTS; i++)
      pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&together);
    attune_plan_destroy(o.named);
    expect_all_unloaded();
  }
}

/* ---- plans that are remembered ---- */

static void test_equal_problems_have_one_plan(void **state) {
  (void)state;
  reset();
  attune_context *context = open_context(":memory:");
  char mask[] = "k <= q + n", same_mask[] = "k <= q + n", name[] = "n", same_name[] = "n";
  const attune_param params[] = {{name, ATTUNE_PARAM_INT, 0}}, same_params[] = {{same_name, ATTUNE_PARAM_INT, 0}};
  attune_problem problem = usual(), same = usual();
  attune_plan *plan, *found;
  problem.mask_expr = mask, same.mask_expr = same_mask;
  problem.params = params, same.params = same_params;
  problem.param_count = same.param_count = 1;
  assert_int_equal(attune_plan_find(&found, context, &problem), ATTUNE_OK);
  assert_null(found);
  plan = plan_of(context, &problem);
  /* It keeps nothing of the caller's texts. */
  memset(mask, 'x', sizeof mask - 1);
  name[0] = 'x';
  assert_int_equal(run(plan), ATTUNE_OK);
  assert_int_equal(attune_plan_find(&found, context, &same), ATTUNE_OK);
  assert_ptr_equal(found, plan);
  attune_plan_destroy(found);
  attune_plan_destroy(plan);
  found = plan_of(context, &same); /* remembered without a user */
  assert_ptr_equal(found, plan);
  assert_int_equal(run(found), ATTUNE_OK);
  attune_plan_destroy(found);

  /* Any value, stride or text makes another. */
  attune_problem others[] = {same, same, same, same, same, same, same, same, same};
  const attune_param renamed[] = {{"m", ATTUNE_PARAM_INT, 0}};
  others[0].scale = 0.5f;
  others[1].o = (attune_strides){256 * 8 * 64, 64, 256 * 64};
  others[2].mask_expr = "k < q + n";
  others[3].params = renamed, others[3].mask_expr = "k <= q + m";
  others[4].window_left = 1000; /* hides nothing: the same kernel, and another plan */
  others[5].want_bias = 1, others[5].bias.seqlen = 256;
  for (int i = 6; i < 9; i++)
    others[i].operation = ATTUNE_BACKWARD, others[i].block_size = 0, others[i].block_density = 0;
  others[7].d_o = (attune_strides){256 * 8 * 64, 64, 256 * 64};
  others[8].dk = (attune_strides){256 * 8 * 64, 64, 256 * 64};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    assert_int_equal(attune_plan_find(&found, context, &others[i]), ATTUNE_OK);
    assert_null(found);
    attune_plan_destroy(plan_of(context, &others[i]));
    assert_int_equal(attune_plan_find(&found, context, &others[i]), ATTUNE_OK);
    assert_non_null(found);
    assert_ptr_not_equal(found, plan);
    attune_plan_destroy(found);
  }
  attune_context_destroy(context);
  expect_all_unloaded();
}

static void test_find_never_makes_one(void **state) {
  (void)state;
  reset();
  attune_context *context = open_context(":memory:");
  attune_problem problem = usual();
  attune_plan *found = (attune_plan *)memory;
  problem.head_dim = 7;
  assert_int_equal(attune_plan_find(&found, context, &problem), ATTUNE_OK);
  assert_null(found);
  problem.param_count = INT32_MAX; /* nothing is read of them */
  assert_int_equal(attune_plan_find(&found, context, &problem), ATTUNE_OK);
  problem.struct_size = 1;
  assert_int_equal(attune_plan_find(&found, context, &problem), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_plan_find(NULL, context, &problem), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_plan_find(&found, NULL, &problem), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_plan_find(&found, context, NULL), ATTUNE_BAD_ARGUMENT);
  attune_context_destroy(context);
  assert_int_equal(record().modules_loaded, 0);
}

/* A failure is not remembered. */
static void test_failures_are_tried_again(void **state) {
  (void)state;
  reset();
  attune_context *context = open_context(":memory:");
  const attune_problem problem = usual();
  attune_plan *plan;
  inject("cuModuleGetFunction", 999, 1000);
  assert_int_equal(attune_plan_create(&plan, context, &problem), ATTUNE_DRIVER_FAILED);
  inject("", 0, 0);
  assert_int_equal(attune_plan_find(&plan, context, &problem), ATTUNE_OK);
  assert_null(plan);
  attune_plan_destroy(plan_of(context, &problem));
  attune_context_destroy(context);
}

/* attune.h: the message is that of the last call that failed, whatever later ones try on their way. */
static void test_successes_leave_the_message(void **state) {
  (void)state;
  reset();
  attune_context *none, *context;
  assert_int_not_equal(
      attune_context_create(&none, &(attune_options){.struct_size = sizeof(attune_options), .device = "cpu"}),
      ATTUNE_OK);
  char message[256];
  snprintf(message, sizeof message, "%s", attune_message());
  assert_non_null(strstr(message, "cpu"));
  context = open_context(":memory:");
  assert_string_equal(attune_message(), message);
  attune_problem problem = usual();
  attune_plan_destroy(plan_of(context, &problem));
  assert_string_equal(attune_message(), message);
  problem.operation = ATTUNE_BACKWARD;
  attune_plan_destroy(plan_of(context, &problem));
  assert_string_equal(attune_message(), message);
  attune_context_destroy(context);
}

/* The one that was not used for longest is forgotten, and stays its user's. */
static void test_many_plans(void **state) {
  (void)state;
  enum { MANY = 260, REMEMBERED = 256 };
  reset();
  attune_context *context = open_context(":memory:");
  attune_problem problem = usual();
  attune_plan *first = plan_of(context, &problem), *found;
  for (int i = 1; i < MANY; i++) {
    problem.scale = 1 / (float)(i + 1);
    attune_plan_destroy(plan_of(context, &problem));
    if (i == 1) continue;
    problem.scale = 0.5f; /* the second one is used all the time */
    attune_plan_destroy(plan_of(context, &problem));
  }
  fake_record seen = record();
  assert_int_equal(seen.modules_loaded - seen.modules_unloaded, REMEMBERED + 1);
  problem.scale = 0.5f;
  assert_int_equal(attune_plan_find(&found, context, &problem), ATTUNE_OK);
  assert_non_null(found);
  attune_plan_destroy(found);
  problem = usual();
  assert_int_equal(attune_plan_find(&found, context, &problem), ATTUNE_OK);
  assert_null(found);
  assert_int_equal(run(first), ATTUNE_OK);
  attune_plan_destroy(first);
  seen = record();
  assert_int_equal(seen.modules_loaded - seen.modules_unloaded, REMEMBERED);
  attune_context_destroy(context);
  expect_all_unloaded();
}

typedef struct {
  attune_context *context;
  int failures;
} user;

static void *use_plans(void *argument) {
  user *u = argument;
  for (int i = 0; i < 400; i++) {
    attune_problem problem = usual();
    attune_plan *plan = NULL;
    problem.scale = (float)(i % 7 + 1) / 16;
    u->failures += attune_plan_create(&plan, u->context, &problem) != ATTUNE_OK || run(plan) != ATTUNE_OK;
    attune_plan_destroy(plan);
  }
  return NULL;
}

static void test_threads_share_plans(void **state) {
  (void)state;
  enum { THREADS = 4 };
  reset();
  attune_context *context = open_context(":memory:");
  pthread_t threads[THREADS];
  user users[THREADS];
  for (int i = 0; i < THREADS; i++) {
    users[i] = (user){.context = context};
    assert_int_equal(pthread_create(&threads[i], NULL, use_plans, &users[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(users[i].failures, 0);
  }
  const fake_record seen = record();
  assert_int_equal(seen.modules_loaded - seen.modules_unloaded, 7);
  attune_context_destroy(context);
  expect_all_unloaded();
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void test_cost_of_a_remembered_plan(void **state) {
  (void)state;
  enum { TIMES = 2000 };
  attune_context *context = open_context(":memory:");
  attune_problem problem = usual();
  problem.mask_expr = "k <= q || k / 64 == q / 64";
  attune_plan *plan = plan_of(context, &problem);
  const double start = seconds();
  for (int i = 0; i < TIMES; i++)
    attune_plan_destroy(plan_of(context, &problem));
  const double each = (seconds() - start) / TIMES;
  print_message("a remembered plan costs %.2f us\n", 1e6 * each);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__has_feature)
  assert_true(each > 0 && each < 20e-6);
#endif
  attune_plan_destroy(plan);
  attune_context_destroy(context);
}

/* ---- versions of structs ---- */

/* Of the last tensor of a run in the table, or of the block mask that three of them are part of. */
static size_t end_of_tensors(void) {
  size_t end = offsetof(attune_tensors, block_mask) + sizeof(attune_block_mask);
  for (int id = 0; id < ATTUNE_TENSOR_COUNT; id++) {
    const size_t tensor = attune_tensor_table[id].run + sizeof(void *);
    if (tensor <= sizeof(attune_tensors) && tensor > end) end = tensor; /* beyond are those of the builder */
  }
  return end;
}

/* Nothing may lie between the last field and the end, where a field of the next version would be. */
static void test_structs_end_with_their_last_field(void **state) {
  (void)state;
  size_t end = 0; /* of the last field in the table */
  for (int i = 0; i < attune_problem_field_count; i++) {
    const attune_problem_field *field = &attune_problem_fields[i];
    const size_t size = field->kind == ATTUNE_FIELD_STRIDES || field->kind == ATTUNE_FIELD_BIAS ? sizeof(attune_strides)
                        : field->kind >= ATTUNE_FIELD_MASK_EXPR                                 ? sizeof(void *)
                                                                                                : sizeof(int32_t);
    if (field->offset + size > end) end = field->offset + size;
  }
  assert_int_equal(sizeof(attune_problem), end);
  assert_int_equal(sizeof(attune_options), offsetof(attune_options, host_seed) + sizeof(uint64_t));
  assert_int_equal(sizeof(attune_tensors), end_of_tensors());
  assert_int_equal(sizeof(attune_block_mask), 9 * sizeof(int64_t));
  assert_int_equal(sizeof(attune_block_mask), offsetof(attune_block_mask, reserved) + 2 * sizeof(int64_t));
  assert_int_equal(sizeof(attune_value), offsetof(attune_value, reserved) + sizeof(int64_t));
  assert_int_equal(sizeof(attune_param), offsetof(attune_param, reserved) + sizeof(int32_t));
}

typedef struct {
  attune_problem known;
  uint64_t newer[2];
} newer_problem;

static void test_init_writes_the_callers_size(void **state) {
  (void)state;
  newer_problem p;
  memset(&p, 0x5a, sizeof p);
  attune_problem_init_sized(&p.known, sizeof p);
  assert_int_equal(p.known.struct_size, sizeof p);
  assert_int_equal(p.known.head_dim, 64);
  assert_true(p.newer[0] == 0 && p.newer[1] == 0);
  const size_t smaller = offsetof(attune_problem, block_density);
  memset(&p, 0x5a, sizeof p);
  attune_problem_init_sized(&p.known, smaller);
  assert_int_equal(p.known.struct_size, smaller);
  assert_int_equal(p.known.block_size, 0);
  for (size_t i = smaller; i < sizeof p; i++)
    assert_int_equal(((unsigned char *)&p)[i], 0x5a);
  attune_problem_init_sized(NULL, sizeof p);
  attune_options_init_sized(NULL, 8);
  attune_tensors_init_sized(NULL, 8);
}

static void expect_unsupported(attune_status status, const char *words) {
  assert_int_equal(status, ATTUNE_UNSUPPORTED);
  if (strstr(attune_message(), words) == NULL) fail_msg("\"%s\" does not say \"%s\"", attune_message(), words);
}

/* A program compiled with a newer header: fine as long as it uses nothing of it. */
static void test_larger_structs(void **state) {
  (void)state;
  reset();
  attune_context *context = open_context(":memory:"), *other;
  newer_problem p;
  attune_plan *plan, *same;
  attune_problem_init_sized(&p.known, sizeof p);
  assert_int_equal(attune_plan_create(&plan, context, &p.known), ATTUNE_OK);
  attune_problem today;
  attune_problem_init(&today);
  same = plan_of(context, &today);
  assert_ptr_equal(same, plan);
  p.newer[1] = 1;
  char words[64];
  snprintf(words, sizeof words, "attune_problem at byte %zu is set", sizeof today + sizeof p.newer[0]);
  expect_unsupported(attune_problem_check(&p.known), words);
  expect_unsupported(attune_plan_create(&same, context, &p.known), "does not know");
  assert_null(same);

  struct {
    attune_tensors known;
    uint64_t newer;
  } t;
  attune_tensors_init_sized(&t.known, sizeof t);
  t.known.q = t.known.k = t.known.v = t.known.o = memory;
  assert_int_equal(attune_run(plan, &t.known, memory, sizeof memory, NULL), ATTUNE_OK);
  const int launches = record().launches;
  t.newer = 1;
  expect_unsupported(attune_run(plan, &t.known, memory, sizeof memory, NULL), "attune_tensors at byte");
  assert_int_equal(record().launches, launches);

  struct {
    attune_options known;
    uint64_t newer;
  } o;
  attune_options_init_sized(&o.known, sizeof o);
  o.known.device = "cuda:0", o.known.database = ":memory:";
  assert_int_equal(attune_context_create(&other, &o.known), ATTUNE_OK);
  attune_context_destroy(other);
  o.newer = 1;
  expect_unsupported(attune_context_create(&other, &o.known), "attune_options at byte");
  attune_plan_destroy(plan);
  attune_plan_destroy(plan);
  attune_context_destroy(context);
  expect_all_unloaded();
}

/* What is set for another problem is not left out in silence. */
static void test_surplus_inputs(void **state) {
  (void)state;
  reset();
  attune_context *context = open_context(":memory:");
  attune_problem problem = usual();
  problem.expression_hash = 7;
  attune_plan *plan;
  assert_int_equal(attune_plan_create(&plan, context, &problem), ATTUNE_BAD_EXPRESSION);
  assert_non_null(strstr(attune_message(), "expression_hash is 7"));
  problem.mask_expr = "#";
  assert_int_not_equal(attune_plan_create(&plan, context, &problem), ATTUNE_OK);
  problem = usual();
  problem.block_size = 0;
  plan = plan_of(context, &problem);
  attune_tensors tensors;
  attune_tensors_init(&tensors);
  tensors.q = tensors.k = tensors.v = tensors.o = memory;
  assert_int_equal(attune_run(plan, &tensors, memory, sizeof memory, NULL), ATTUNE_OK);
  tensors.values[3].integer = 1;
  assert_int_equal(attune_run(plan, &tensors, memory, sizeof memory, NULL), ATTUNE_BAD_ARGUMENT);
  assert_non_null(strstr(attune_message(), "values[3] is set, but the problem has 0 params"));
  tensors.values[3].integer = 0;
  tensors.block_mask.capacity = 4;
  assert_int_equal(attune_run(plan, &tensors, memory, sizeof memory, NULL), ATTUNE_BAD_ARGUMENT);
  assert_non_null(strstr(attune_message(), "block_mask is given"));
  attune_plan_destroy(plan);
  attune_context_destroy(context);
}

/* Fields of the next version stand where these are. */
static void test_reserved_fields(void **state) {
  (void)state;
  reset();
  attune_context *context = open_context(":memory:");
  attune_problem problem = usual();
  const attune_param param = {"n", ATTUNE_PARAM_INT, 0};
  problem.params = &param, problem.param_count = 1;
  attune_plan *plan = plan_of(context, &problem);
  attune_block_mask_builder *builder;
  assert_int_equal(attune_block_mask_builder_create(&builder, context, &problem), ATTUNE_OK);
  attune_tensors tensors;
  attune_tensors_init(&tensors);
  tensors.q = tensors.k = tensors.v = tensors.o = memory;
  tensors.block_mask = (attune_block_mask){.batch = 1, .heads = 1, .row_offsets = (int32_t *)(void *)memory};
  assert_int_equal(attune_run(plan, &tensors, memory, sizeof memory, NULL), ATTUNE_OK);
  tensors.values[0].reserved = 1;
  expect_unsupported(attune_run(plan, &tensors, memory, sizeof memory, NULL), "values[0].reserved");
  tensors.values[0].reserved = 0;
  tensors.block_mask.reserved[1] = 1;
  expect_unsupported(attune_run(plan, &tensors, memory, sizeof memory, NULL), "block_mask.reserved[1]");
  tensors.block_mask.reserved[1] = 0;
  attune_block_mask_source source = {.reserved = {0, 1}};
  expect_unsupported(
      attune_block_mask_builder_build(builder, &source, &tensors.block_mask, memory, sizeof memory, NULL),
      "source.reserved[1]");
  attune_block_mask_builder_destroy(builder);
  attune_plan_destroy(plan);
  attune_context_destroy(context);
}

/* ---- the store's fallback ---- */

static void test_warning(void **state) {
  (void)state;
  attune_context *context = open_context(":memory:");
  assert_string_equal(attune_context_warning(context), "");
  attune_context_destroy(context);
  context = open_context("/proc/no/such/folder/attune.db"); /* where nobody may make one */
  if (strstr(attune_context_warning(context), "/proc/no/such") == NULL)
    fail_msg("the warning is \"%s\"", attune_context_warning(context));
  const attune_problem problem = usual();
  attune_plan *plan = plan_of(context, &problem);
  assert_int_equal(run(plan), ATTUNE_OK);
  attune_plan_destroy(plan);
  attune_context_destroy(context);
  assert_string_equal(attune_context_warning(NULL), "");
}

int main(void) {
  void *cuda = fake_use("ATTUNE_LIBCUDA", "fake_cuda.so");
  (void)fake_use("ATTUNE_NVRTC", "fake_nvrtc.so");
  fake_find(&reset, cuda, "fake_reset");
  fake_find(&inject, cuda, "fake_fail");
  fake_find(&record, cuda, "fake_read");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_order),
      cmocka_unit_test(test_threads_destroy),
      cmocka_unit_test(test_equal_problems_have_one_plan),
      cmocka_unit_test(test_find_never_makes_one),
      cmocka_unit_test(test_failures_are_tried_again),
      cmocka_unit_test(test_successes_leave_the_message),
      cmocka_unit_test(test_many_plans),
      cmocka_unit_test(test_threads_share_plans),
      cmocka_unit_test(test_cost_of_a_remembered_plan),
      cmocka_unit_test(test_structs_end_with_their_last_field),
      cmocka_unit_test(test_init_writes_the_callers_size),
      cmocka_unit_test(test_larger_structs),
      cmocka_unit_test(test_surplus_inputs),
      cmocka_unit_test(test_reserved_fields),
      cmocka_unit_test(test_warning),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
