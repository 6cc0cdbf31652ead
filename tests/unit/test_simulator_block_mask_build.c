/* Block masks built by the kernel, on the simulator: from a mask, from a list of blocks, from an expression; the same
 * as made in C. And the checker, for every rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/simulator_block_mask.h"

enum { BATCH = 2, HEADS = 4, ROWS = 10, COLUMNS = 11, CELLS = ROWS * COLUMNS }; /* blocks of 16 */

static attune_context *context;

/* A mask that a build writes, with room around it to see that it writes no further. */
typedef struct {
  attune_block_mask view;
  int32_t rows[BATCH * HEADS * ROWS + 1], blocks[BATCH * HEADS * CELLS], order[BATCH * HEADS * ROWS];
  _Alignas(16) int32_t workspace[BATCH * HEADS * ROWS];
} built_mask;

static void clear(built_mask *block_mask, int batch, int heads, int64_t capacity) {
  memset(block_mask, 0xee, sizeof *block_mask);
  block_mask->view = (attune_block_mask){.batch = batch,
                                         .heads = heads,
                                         .row_offsets = block_mask->rows,
                                         .indices = block_mask->blocks,
                                         .capacity = capacity,
                                         .row_order = block_mask->order};
}

static attune_block_mask_builder *builder_of(const attune_problem *problem) {
  attune_block_mask_builder *builder;
  if (attune_block_mask_builder_create(&builder, context, problem) != ATTUNE_OK) fail_msg("%s", attune_message());
  return builder;
}

static void build(const attune_block_mask_builder *builder, built_mask *block_mask,
                  const attune_block_mask_source *source) {
  const size_t size = attune_block_mask_builder_workspace(builder, block_mask->view.batch, block_mask->view.heads);
  assert_true(size <= sizeof block_mask->workspace);
  if (attune_block_mask_builder_build(builder, source, &block_mask->view, block_mask->workspace, size, NULL) !=
      ATTUNE_OK)
    fail_msg("%s", attune_message());
}

static void check_same(const built_mask *built, const attune_host_block_mask *expected, int64_t rows) {
  assert_memory_equal(built->rows, expected->rows, (size_t)(rows + 1) * sizeof *built->rows);
  assert_memory_equal(built->blocks, expected->blocks, (size_t)expected->view.capacity * sizeof *built->blocks);
  assert_memory_equal(built->order, expected->order, (size_t)rows * sizeof *built->order);
}

static void draw(uint8_t *mask, int cells, unsigned per_256) {
  uint32_t state = per_256 * 977 + 1;
  for (int i = 0; i < cells; i++) {
    state = state * 1664525u + 1013904223u;
    mask[i] = state >> 24 < per_256 ? 255 : 0;
  }
}

static void from_a_mask(void **state) {
  static const unsigned densities[] = {0, 3, 60, 200, 256};
  static const int counts[][2] = {{1, 1}, {1, HEADS}, {BATCH, 1}, {BATCH, HEADS}};
  (void)state;
  attune_problem problem;
  attune_inputs given;
  problem_of(&problem, &given, "\"block_size\":16");
  attune_block_mask_builder *builder = builder_of(&problem);
  for (size_t d = 0; d < COUNT(densities); d++)
    for (size_t c = 0; c < COUNT(counts); c++) {
      uint8_t mask[BATCH * HEADS * CELLS];
      built_mask built;
      attune_host_block_mask expected;
      const int batch = counts[c][0], heads = counts[c][1];
      draw(mask, batch * heads * CELLS, densities[d]);
      assert_int_equal(attune_host_block_mask_of_mask(&expected, &problem, batch, heads, mask), ATTUNE_OK);
      clear(&built, batch, heads, expected.view.capacity);
      const attune_block_mask_source source = {.kind = ATTUNE_BLOCK_MASK_OF_BYTES, .data = mask};
      build(builder, &built, &source);
      check_same(&built, &expected, (int64_t)batch * heads * ROWS);
      if (attune_block_mask_builder_check(builder, &built.view) != ATTUNE_OK) fail_msg("%s", attune_message());
      attune_host_block_mask_free(&expected);
    }
  attune_block_mask_builder_destroy(builder);
}

/* As torch.nonzero has them: ascending. Twins and what is out of place are dropped. */
static void from_blocks(void **state) {
  (void)state;
  attune_problem problem;
  attune_inputs given;
  uint8_t mask[BATCH * HEADS * CELLS];
  int32_t blocks[2 * BATCH * HEADS * CELLS][4], count = 0;
  built_mask built;
  attune_host_block_mask expected;
  problem_of(&problem, &given, "\"block_size\":16,\"mask_expr\":\"k % 5 != 0\"");
  draw(mask, BATCH * HEADS * CELLS, 90);
  for (int i = 0; i < BATCH * HEADS * CELLS; i++) {
    const int32_t block[4] = {i / CELLS / HEADS, i / CELLS % HEADS, i % CELLS / COLUMNS, i % COLUMNS};
    if (mask[i]) memcpy(blocks[count++], block, sizeof block);
    if (mask[i] && i % 7 == 0) memcpy(blocks[count++], block, sizeof block);
  }
  assert_int_equal(attune_host_block_mask_of_mask(&expected, &problem, BATCH, HEADS, mask), ATTUNE_OK);
  attune_block_mask_builder *builder = builder_of(&problem);
  clear(&built, BATCH, HEADS, expected.view.capacity);
  attune_block_mask_source source = {.kind = ATTUNE_BLOCK_MASK_OF_BLOCKS, .data = blocks, .count = count};
  build(builder, &built, &source);
  check_same(&built, &expected, BATCH * HEADS * ROWS);
  source.count = 0;
  source.data = NULL;
  build(builder, &built, &source);
  assert_int_equal(built.rows[BATCH * HEADS * ROWS], 0);
  attune_host_block_mask_free(&expected);
  attune_block_mask_builder_destroy(builder);
}

static void from_an_expression(void **state) {
  static const char *const problems[] = {
      "\"block_size\":16,\"pattern\":\"butterfly:16\"",
      "\"block_size\":16,\"pattern\":\"window:20 | global:3\",\"mask\":\"causal\"",
      "\"block_size\":16,\"mask\":\"causal\"",
      "\"block_size\":16,\"mask_expr\":\"doc[q] == doc[k]\",\"params\":{\"doc\":[0,0,0,0,1,1,1,2,2,2,2,2,2,2,2,2,2,5]}",
      "\"block_size\":16,\"mask_expr\":\"find(cu, q) == find(cu, k)\",\"params\":{\"cu\":[0,16,40,41,96,150]}",
      "\"block_size\":16,\"mask_expr\":\"k < 20 * head + 50 * batch || k % 40 == q % 40\"",
  };
  static const int counts[][2] = {{1, 1}, {1, HEADS}, {BATCH, HEADS}};
  (void)state;
  for (size_t i = 0; i < COUNT(problems); i++) {
    attune_problem problem;
    attune_inputs given;
    attune_expression *mask;
    attune_block_mask_source source = {.kind = ATTUNE_BLOCK_MASK_OF_EXPRESSION};
    problem_of(&problem, &given, problems[i]);
    attune_inputs_values(source.values, &given);
    assert_int_equal(attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, &problem), ATTUNE_OK);
    attune_block_mask_builder *builder = builder_of(&problem);
    for (size_t c = 0; c < COUNT(counts); c++) {
      by_expression self = {mask, &problem, source.values, counts[c][0], counts[c][1]};
      built_mask built;
      attune_host_block_mask expected;
      assert_int_equal(
          attune_host_block_mask_make(&expected, &problem, self.batch, self.heads, seen_by_expression, &self),
          ATTUNE_OK);
      clear(&built, self.batch, self.heads, expected.view.capacity);
      build(builder, &built, &source);
      check_same(&built, &expected, (int64_t)self.batch * self.heads * ROWS);
      attune_host_block_mask_free(&expected);
    }
    attune_block_mask_builder_destroy(builder);
    free(mask);
  }
}

/* What does not fit is counted, and nothing is written behind the end. */
static void short_of_room(void **state) {
  (void)state;
  attune_problem problem;
  attune_inputs given;
  uint8_t mask[CELLS];
  built_mask built;
  problem_of(&problem, &given, "\"block_size\":16");
  memset(mask, 1, sizeof mask);
  attune_block_mask_builder *builder = builder_of(&problem);
  const attune_block_mask_source source = {.kind = ATTUNE_BLOCK_MASK_OF_BYTES, .data = mask};
  for (int capacity = 0; capacity < CELLS; capacity += 37) {
    clear(&built, 1, 1, capacity);
    build(builder, &built, &source);
    assert_int_equal(built.rows[ROWS], CELLS);
    for (int i = 0; i < CELLS; i++)
      assert_int_equal(built.blocks[i], i < capacity ? 2 * (i % COLUMNS) + 1 : (int32_t)0xeeeeeeee);
    assert_int_equal(attune_block_mask_builder_check(builder, &built.view), ATTUNE_BAD_BLOCK_MASK);
  }
  attune_block_mask_builder_destroy(builder);
}

static void faults_are_found(void **state) {
  static const struct {
    int place, value;
    char what; /* r: of rows, b: of blocks, o: of order */
    const char *message;
  } faults[] = {
      {3, -1, 'r', "row 2 of blocks (batch 0, head 0): its begin and end"},
      {3, 4 * COLUMNS + 1, 'r', "row 2 of blocks (batch 0, head 0): its columns do not ascend"},
      {2 * ROWS, INT32_MAX, 'r', "row 9 of blocks (batch 0, head 1): its begin and end"},
      {0, 1, 'r', "row 0 of blocks (batch 0, head 0): its begin and end"},
      {5, 2 * COLUMNS, 'b', "row 0 of blocks (batch 0, head 0): it has a column that"},
      {CELLS + 4, -7, 'b', "row 0 of blocks (batch 0, head 1): it has a column that"},
      {COLUMNS + 1, 1, 'b', "row 1 of blocks (batch 0, head 0): its columns do not ascend"},
      {COLUMNS + 2, 1, 'b', "row 1 of blocks (batch 0, head 0): its columns do not ascend"},
      {7, 8, 'o', "row 7 of blocks (batch 0, head 0): order"},
      {7, -8, 'o', "row 7 of blocks (batch 0, head 0): order"},
  };
  (void)state;
  attune_problem problem;
  attune_inputs given;
  uint8_t mask[HEADS * CELLS];
  problem_of(&problem, &given, "\"block_size\":16");
  memset(mask, 1, sizeof mask);
  attune_block_mask_builder *builder = builder_of(&problem);
  const attune_block_mask_source source = {.kind = ATTUNE_BLOCK_MASK_OF_BYTES, .data = mask};
  for (size_t i = 0; i < COUNT(faults); i++) {
    built_mask built;
    clear(&built, 1, HEADS, HEADS * CELLS);
    build(builder, &built, &source);
    assert_int_equal(attune_block_mask_builder_check(builder, &built.view), ATTUNE_OK);
    (faults[i].what == 'r'   ? built.rows
     : faults[i].what == 'b' ? built.blocks
                             : built.order)[faults[i].place] = faults[i].value;
    assert_int_equal(attune_block_mask_builder_check(builder, &built.view), ATTUNE_BAD_BLOCK_MASK);
    if (strstr(attune_message(), faults[i].message) == NULL) fail_msg("%zu: %s", i, attune_message());
  }
  attune_block_mask_builder_destroy(builder);
}

static void bad_arguments(void **state) {
  (void)state;
  attune_problem problem;
  attune_inputs given;
  attune_block_mask_builder *builder;
  built_mask built;
  uint8_t mask[CELLS] = {0};
  attune_block_mask_source source = {.kind = ATTUNE_BLOCK_MASK_OF_BYTES, .data = mask};
  problem_of(&problem, &given, "\"block_size\":0");
  assert_int_equal(attune_block_mask_builder_create(&builder, context, &problem), ATTUNE_BAD_SIZE);
  assert_null(builder);
  assert_int_equal(attune_block_mask_builder_create(NULL, context, &problem), ATTUNE_BAD_ARGUMENT);
  problem.block_size = 16;
  builder = builder_of(&problem);
  const size_t size = attune_block_mask_builder_workspace(builder, 1, 1);
  assert_int_equal(size, ROWS * sizeof(int32_t));
  assert_int_equal(attune_block_mask_builder_workspace(builder, INT32_MAX, INT32_MAX), 0); /* sizes that none has */
  assert_int_equal(attune_block_mask_builder_workspace(builder, -1, 1), 0);
  clear(&built, 1, 1, CELLS);
  assert_int_equal(attune_block_mask_builder_build(builder, &source, &built.view, built.workspace, size - 1, NULL),
                   ATTUNE_WORKSPACE_TOO_SMALL);
  assert_int_equal(attune_block_mask_builder_build(builder, &source, &built.view, NULL, size, NULL),
                   ATTUNE_BAD_POINTER);
  built.view.heads = 3;
  assert_int_equal(attune_block_mask_builder_build(builder, &source, &built.view, built.workspace, size, NULL),
                   ATTUNE_BAD_SIZE);
  built.view.heads = 1;
  built.view.indices = NULL;
  assert_int_equal(attune_block_mask_builder_build(builder, &source, &built.view, built.workspace, size, NULL),
                   ATTUNE_BAD_POINTER);
  built.view.indices = built.blocks;
  source.data = NULL;
  assert_int_equal(attune_block_mask_builder_build(builder, &source, &built.view, built.workspace, size, NULL),
                   ATTUNE_BAD_POINTER);
  source.kind = (attune_block_mask_source_kind)9;
  assert_int_equal(attune_block_mask_builder_build(builder, &source, &built.view, built.workspace, size, NULL),
                   ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_block_mask_builder_check(builder, NULL), ATTUNE_BAD_ARGUMENT);
  attune_block_mask_builder_destroy(builder);
  attune_block_mask_builder_destroy(NULL);
}

/* What run refuses before anything is launched. */
static void bad_runs(void **state) {
  (void)state;
  static uint16_t memory[4][BATCH * 170 * HEADS * 64] __attribute__((aligned(16)));
  attune_problem problem;
  attune_inputs given;
  attune_plan *plan, *plain;
  attune_tensors tensors;
  built_mask built;
  attune_block_mask_source source = {.kind = ATTUNE_BLOCK_MASK_OF_EXPRESSION};
  problem_of(&problem, &given, "\"block_size\":16");
  if (attune_plan_create_with(&plan, context, &problem, "forward.reference.bf16.d64.block_mask16.m4.n32.w4.s1.b1") !=
      ATTUNE_OK)
    fail_msg("%s", attune_message());
  attune_block_mask_builder *builder = builder_of(&problem);
  clear(&built, 1, 1, CELLS);
  build(builder, &built, &source);
  attune_tensors_init(&tensors);
  tensors.q = memory[0], tensors.k = memory[1], tensors.v = memory[2], tensors.o = memory[3];
  assert_int_equal(attune_run(plan, &tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER); /* no block mask */
  tensors.block_mask = built.view;
  assert_int_equal(attune_run(plan, &tensors, NULL, 0, NULL), ATTUNE_OK);
  tensors.block_mask.heads = 2;
  assert_int_equal(attune_run(plan, &tensors, NULL, 0, NULL), ATTUNE_BAD_SIZE);
  tensors.block_mask.heads = 1;
  tensors.block_mask.capacity = -1;
  assert_int_equal(attune_run(plan, &tensors, NULL, 0, NULL), ATTUNE_BAD_SIZE);
  tensors.block_mask.capacity = CELLS;
  tensors.block_mask.row_offsets = NULL;
  assert_int_equal(attune_run(plan, &tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER);
  tensors.block_mask = built.view;
  tensors.block_mask.indices = (int32_t *)((char *)built.blocks + 2);
  assert_int_equal(attune_run(plan, &tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER);
  tensors.block_mask = built.view;
  problem.block_size = 0;
  if (attune_plan_create_with(&plain, context, &problem, "forward.reference.bf16.d64.m4.n32.w4.s1.b1") != ATTUNE_OK)
    fail_msg("%s", attune_message());
  assert_int_equal(attune_run(plain, &tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER);
  assert_non_null(strstr(attune_message(), "set block_size in the problem"));
  attune_block_mask_builder_destroy(builder);
  attune_plan_destroy(plan);
  attune_plan_destroy(plain);
}

static int set_up(void **state) {
  (void)state;
  attune_options options;
  attune_options_init(&options);
  options.device = "host";
  options.database = ":memory:";
  return attune_context_create(&context, &options) == ATTUNE_OK ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  attune_context_destroy(context);
  return 0;
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(from_a_mask),   cmocka_unit_test(from_blocks),      cmocka_unit_test(from_an_expression),
      cmocka_unit_test(short_of_room), cmocka_unit_test(faults_are_found), cmocka_unit_test(bad_arguments),
      cmocka_unit_test(bad_runs),
  };
  return cmocka_run_group_tests_name("simulator_block_mask_build", tests, set_up, tear_down);
}
