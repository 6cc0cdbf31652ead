/* Block masks in every family, on the simulator: random ones of every density against double precision, the same as
 * formulas bit for bit, in any order of rows; and damaged ones, which must not reach out of bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/enqueue_case.h"
#include "tests/unit/simulator_block_mask.h"

enum { ROWS = 3, COLUMNS = 3 }; /* blocks of 64 in 150 queries and 170 keys */

/* All divide blocks of 64. */
static const family_schedules schedules[ATTUNE_FAMILY_COUNT] = {
    {"m4.n32.w4.s1.b1"},
    {"m64.n32.w4.s2.lazy.b1", "m32.n64.w2.s1.q_in_regs.heads.b1"},
    {"m64.n32.w8.s2.lazy.q_prefetch.intra_wg_overlap.persistent_static.b1", "m64.n64.w8.s3.b1",
     "m64.n32.w8.s2.lazy.q_prefetch.intra_wg_overlap.persistent_dynamic.b1"},
};

typedef struct {
  const char *name, *problem;
  int batch, heads; /* of the mask */
  const char *mask; /* a row of blocks after the other, for every head again; NULL: by chance */
} mask_case;

#define MASKED "\"block_size\":64,\"lse\":true"
static const mask_case cases[] = {
    {"none", MASKED, 1, 1, "000000000"},
    {"one block", MASKED, 1, 1, "000010000"},
    {"all", MASKED, 1, 1, "111111111"},
    {"rows of one block, and an empty one", MASKED, 1, 1, "001000100"},
    {"ragged last blocks", MASKED, 1, 1, "001001111"},
    {"for each head", MASKED ",\"block_density\":0.5", 1, 4, NULL},
    {"for each batch", MASKED ",\"block_density\":0.3", 2, 1, NULL},
    {"for each of both", MASKED ",\"block_density\":0.4,\"mask\":\"causal\"", 2, 4, NULL},
    {"few", MASKED ",\"block_density\":0.1,\"window\":[70,20]", 2, 4, NULL},
    {"above a diagonal", MASKED ",\"mask\":\"causal\"", 1, 1, "011001000"},
    {"partly", MASKED ",\"block_density\":0.6,\"mask_expr\":\"k % 3 != q % 2\"", 2, 4, NULL},
    {"scores", MASKED ",\"block_density\":0.5,\"score_expr\":\"score - 0.1 * abs(q - k)\",\"sinks\":true", 2, 1, NULL},
};

/* The case's mask; density: of those by chance. */
static void mask_of(attune_host_block_mask *out, const mask_case *c, const attune_problem *problem) {
  uint8_t mask[2 * 4 * ROWS * COLUMNS];
  const int size = c->batch * c->heads * ROWS * COLUMNS;
  uint32_t state = 12345;
  for (int i = 0; i < size; i++) {
    state = state * 1664525u + 1013904223u;
    mask[i] = c->mask != NULL ? c->mask[i % (ROWS * COLUMNS)] == '1'
                              : (double)(state >> 8) < (double)problem->block_density * (1 << 24);
  }
  if (attune_host_block_mask_of_mask(out, problem, c->batch, c->heads, mask) != ATTUNE_OK)
    fail_msg("%s", attune_message());
}

static void check_case(void **state) {
  const mask_case *c = *state;
  attune_problem problem;
  attune_inputs given;
  attune_host_block_mask block_mask;
  attune_verifier *verifiers[SCHEDULES];
  problem_of(&problem, &given, c->problem);
  mask_of(&block_mask, c, &problem);
  given.block_mask = block_mask.view;
  for (int i = 0; i < SCHEDULES; i++) {
    if (i == 1) given.block_mask.row_order = NULL; /* no order of rows changes a bit */
    if (attune_verifier_create(&verifiers[i], machines[i], &problem, &given, &(attune_drawing){.seed = 3}) != ATTUNE_OK)
      fail_msg("%s: %s", c->name, attune_message());
  }
  for (int family = 0; family < ATTUNE_FAMILY_COUNT; family++) {
    attune_config config;
    config_of(&config, (attune_family)family, schedule_of(schedules[family], (size_t)(c - cases)), &problem);
    assert_int_equal(attune_config_legal(&config, attune_backend_device(machines[0])), ATTUNE_OK);
    uint16_t *first = NULL;
    for (int i = 0; i < SCHEDULES; i++) {
      if (!runs_under((size_t)(c - cases + family), i)) continue;
      uint16_t *o = verified(verifiers[i], machines[i], &config, &problem, c->name);
      if (first != NULL) assert_memory_equal(first, o, elements_of(&problem) * sizeof *first);
      free(first);
      first = o;
    }
    free(first);
  }
  for (int i = 0; i < SCHEDULES; i++)
    attune_verifier_destroy(verifiers[i]);
  attune_host_block_mask_free(&block_mask);
}

/* A pattern and the block mask made of it, whose partial blocks ask the same expression, give the same bits. */
static void formula_equals_block_mask(void **state) {
  static const char *const patterns[] = {"\"pattern\":\"butterfly:64\"", "\"pattern\":\"window:40 | global:10\""};
  (void)state;
  for (size_t i = 0; i < COUNT(patterns); i++) {
    attune_problem formula, data;
    attune_inputs given, given_data;
    attune_expression *mask;
    attune_host_block_mask block_mask;
    problem_of(&formula, &given, patterns[i]);
    data = formula;
    given_data = given;
    data.block_size = 64;
    assert_int_equal(attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, &formula), ATTUNE_OK);
    by_expression self = {mask, &data, NULL, 1, 1};
    assert_int_equal(attune_host_block_mask_make(&block_mask, &data, 1, 1, seen_by_expression, &self), ATTUNE_OK);
    given_data.block_mask = block_mask.view;
    for (int family = 1; family < ATTUNE_FAMILY_COUNT; family++) {
      uint16_t *by_formula = computed((attune_family)family, schedules[family][0], &formula, &given);
      uint16_t *by_block_mask = computed((attune_family)family, schedules[family][0], &data, &given_data);
      assert_memory_equal(by_formula, by_block_mask, elements_of(&formula) * sizeof *by_formula);
      free(by_formula);
      free(by_block_mask);
    }
    attune_host_block_mask_free(&block_mask);
    free(mask);
  }
}

/* The simulator reports any access outside of a tensor; what comes out is not looked at, and where an order names a row
 * twice two blocks may write it. */
static void damaged_masks_stay_in_bounds(void **state) {
  enum { ALL = ROWS + 1 };
  static int32_t rows[][ALL] = {
      {0, 2, 4, 6},          {0, 2, 4, 600},         {6, 4, 2, 0},
      {-5, 2, INT32_MAX, 6}, {INT32_MIN, -1, -7, 9}, {0, INT32_MAX, 4, 2000000},
      {0, 0, 0, INT32_MIN},
  };
  static int32_t blocks[6] = {1, 5, INT32_MAX, -3, 7, 2000000001};
  static int32_t orders[][ROWS] = {{0, 1, 2}, {2, 2, 2}, {-1, 3, 1000000}, {INT32_MIN, INT32_MAX, 0}};
  (void)state;
  attune_problem problem;
  attune_inputs given;
  problem_of(&problem, &given, MASKED);
  assert_int_equal(attune_problem_resolve(&problem, &problem), ATTUNE_OK);
  attune_tensors tensors;
  attune_tensors_init(&tensors);
  const size_t size = (size_t)2 * 170 * 4 * 64 * 2;
  void *memory[5];
  for (size_t i = 0; i < COUNT(memory); i++) {
    assert_non_null(memory[i] = aligned_alloc(256, size));
    memset(memory[i], 0, size);
  }
  tensors.q = memory[0], tensors.k = memory[1], tensors.v = memory[2], tensors.o = memory[3], tensors.lse = memory[4];
  for (int i = 0; i < ATTUNE_FAMILY_COUNT * FAMILY_SCHEDULES; i++) {
    const attune_family family = (attune_family)(i / FAMILY_SCHEDULES);
    const char *schedule = schedules[family][i % FAMILY_SCHEDULES];
    attune_config config;
    attune_loaded *loaded;
    if (schedule == NULL) continue;
    config_of(&config, family, schedule, &problem);
    attune_kernel *kernel;
    if (attune_kernel_compile(&kernel, &config, &problem, "host") != ATTUNE_OK) fail_msg("%s", attune_message());
    assert_int_equal(attune_load(&loaded, machines[0], kernel, &config), ATTUNE_OK);
    for (size_t r = 0; r < COUNT(rows); r++)
      for (size_t o = 0; o < COUNT(orders); o++) {
        tensors.block_mask = (attune_block_mask){.batch = 1,
                                                 .heads = 1,
                                                 .row_offsets = rows[r],
                                                 .indices = blocks,
                                                 .capacity = r % 2 == 0 ? 6 : 0,
                                                 .row_order = orders[o]};
        const attune_status status = enqueue_loaded(loaded, &config, &problem, &tensors);
        const bool twice = strstr(attune_message(), "each element is one block's to write") != NULL;
        if (status != ATTUNE_OK && !twice) fail_msg("%s", attune_message());
      }
    attune_unload(loaded);
    free(kernel);
  }
  for (size_t i = 0; i < COUNT(memory); i++)
    free(memory[i]);
}

static void tiles_that_do_not_divide_are_refused(void **state) {
  (void)state;
  attune_problem problem;
  attune_inputs given;
  attune_config config;
  problem_of(&problem, &given, MASKED);
  config_of(&config, ATTUNE_FAMILY_MMA, "m128.n64.w4.s2.b1", &problem);
  assert_int_equal(attune_config_legal(&config, attune_backend_device(machines[0])), ATTUNE_ILLEGAL_CONFIG);
  assert_non_null(strstr(attune_message(), "tiles of 128 x 64 do not divide the mask's blocks of 64 x 64"));
}

int main(void) {
  static struct CMUnitTest tests[COUNT(cases) + 3] = {
      cmocka_unit_test(formula_equals_block_mask),
      cmocka_unit_test(damaged_masks_stay_in_bounds),
      cmocka_unit_test(tiles_that_do_not_divide_are_refused),
  };
  for (size_t i = 0; i < COUNT(cases); i++)
    tests[3 + i] = (struct CMUnitTest){
        .name = cases[i].name, .test_func = check_case, .initial_state = (void *)(uintptr_t)&cases[i]};
  return cmocka_run_group_tests_name("simulator_block_mask", tests, open_machines, close_machines);
}
