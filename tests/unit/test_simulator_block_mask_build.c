/* Block masks built by the kernel, on the simulator: from a mask, from a list of blocks, from an expression; the same
 * as made in C, by rows and by columns. And the checker, for every rule. */
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
  int32_t columns[BATCH * HEADS * COLUMNS + 1], transposed[BATCH * HEADS * CELLS];
  _Alignas(16) int32_t workspace[BATCH * HEADS * ROWS];
} built_mask;

static void clear(built_mask *block_mask, int batch, int heads, int64_t capacity) {
  memset(block_mask, 0xee, sizeof *block_mask);
  block_mask->view = (attune_block_mask){.batch = batch,
                                         .heads = heads,
                                         .row_offsets = block_mask->rows,
                                         .indices = block_mask->blocks,
                                         .capacity = capacity,
                                         .row_order = block_mask->order,
                                         .column_offsets = block_mask->columns,
                                         .row_indices = block_mask->transposed};
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

/* The blocks of a mask by columns, from its blocks by rows, of so many rows and columns each. */
static void check_transposed(const attune_block_mask *block_mask, int rows, int columns) {
  int32_t count = 0;
  for (int mask = 0; mask < block_mask->batch * block_mask->heads; mask++)
    for (int column = 0; column < columns; column++) {
      assert_int_equal(block_mask->column_offsets[mask * columns + column], count);
      for (int row = 0; row < rows; row++)
        for (int i = block_mask->row_offsets[mask * rows + row];
             i < block_mask->row_offsets[mask * rows + row + 1] && i < block_mask->capacity; i++)
          if (block_mask->indices[i] / 2 == column)
            assert_int_equal(block_mask->row_indices[count++], 2 * row + block_mask->indices[i] % 2);
    }
  assert_int_equal(block_mask->column_offsets[block_mask->batch * block_mask->heads * columns], count);
}

static void check_same(const built_mask *built, const attune_host_block_mask *expected, int64_t rows) {
  assert_memory_equal(built->rows, expected->rows, (size_t)(rows + 1) * sizeof *built->rows);
  assert_memory_equal(built->blocks, expected->blocks, (size_t)expected->view.capacity * sizeof *built->blocks);
  assert_memory_equal(built->order, expected->order, (size_t)rows * sizeof *built->order);
  check_transposed(&built->view, ROWS, COLUMNS);
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
  for (int i = 0; i <= BATCH * HEADS * COLUMNS; i++)
    assert_int_equal(built.columns[i], 0);
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

/* More than 32 rows and 32 columns, some of them empty: columns take several warps, and each warp several looks. */
static void by_columns(void **state) {
  enum { TALL = 70, WIDE = 101, MASKS = 2 };
  static const unsigned densities[] = {0, 3, 40, 200, 256};
  static uint8_t mask[MASKS * TALL * WIDE];
  static int32_t rows[MASKS * TALL + 1], blocks[MASKS * TALL * WIDE], columns[MASKS * WIDE + 1],
      transposed[MASKS * TALL * WIDE];
  static _Alignas(16) int32_t workspace[MASKS * TALL];
  (void)state;
  attune_problem problem;
  attune_inputs given;
  problem_of(&problem, &given, "\"block_size\":16");
  problem.seqlen_q = TALL * 16 - 9, problem.seqlen_k = WIDE * 16 - 1;
  attune_block_mask_builder *builder = builder_of(&problem);
  for (size_t d = 0; d < COUNT(densities); d++) {
    draw(mask, MASKS * TALL * WIDE, densities[d]);
    for (int i = 0; i < MASKS * TALL * WIDE; i++)
      if (densities[d] < 256 && (i / WIDE % 9 == 4 || i % WIDE % 10 == 2)) mask[i] = 0;
    const attune_block_mask_source source = {.kind = ATTUNE_BLOCK_MASK_OF_BYTES, .data = mask};
    const attune_block_mask view = {.batch = MASKS,
                                    .heads = 1,
                                    .row_offsets = rows,
                                    .indices = blocks,
                                    .capacity = MASKS * TALL * WIDE,
                                    .column_offsets = columns,
                                    .row_indices = transposed};
    if (attune_block_mask_builder_build(builder, &source, &view, workspace, sizeof workspace, NULL) != ATTUNE_OK)
      fail_msg("%s", attune_message());
    check_transposed(&view, TALL, WIDE);
    for (int column = 2; densities[d] < 256 && column < MASKS * WIDE; column += column == 92 ? 11 : 10)
      assert_int_equal(columns[column], columns[column + 1]);
    if (attune_block_mask_builder_check(builder, &view) != ATTUNE_OK) fail_msg("%s", attune_message());
  }
  attune_block_mask_builder_destroy(builder);
}

/* Columns are read from what the launch before wrote. In the launch that writes it, they would race. */
static void transposing_takes_a_launch(void **state) {
  (void)state;
  attune_problem problem, mask_problem;
  attune_inputs given;
  attune_config config;
  attune_steps steps;
  attune_program *program;
  built_mask built;
  problem_of(&problem, &given, "\"block_size\":16");
  clear(&built, 1, 1, CELLS);
  assert_int_equal(attune_config_block_mask(&config, &mask_problem, &problem), ATTUNE_OK);
  assert_int_equal(attune_block_mask_build_steps(&steps, &config, &mask_problem, &built.view), ATTUNE_OK);
  assert_int_equal(steps.count, 3);
  for (int early = 0; early < 2; early++) {
    attune_step *last = &steps.steps[2];
    for (int i = 0; early && i < last->binding_count; i++)
      if (last->bindings[i].tensor == ATTUNE_TENSOR_BUILT_INDICES ||
          last->bindings[i].tensor == ATTUNE_TENSOR_BUILT_OFFSETS)
        last->bindings[i].access = ATTUNE_ACCESS_WRITE;
    const attune_program_source from = {.backend = attune_context_machine(context), .problem = &mask_problem};
    if (attune_program_load(&program, &from, &steps) != ATTUNE_OK) fail_msg("%s", attune_message());
    const attune_run_inputs run = {.source = {.kind = ATTUNE_BLOCK_MASK_OF_EXPRESSION}, .built = built.view};
    const attune_status status = attune_enqueue(program, &run, built.workspace, sizeof built.workspace, NULL);
    attune_program_destroy(program);
    assert_int_equal(status, early ? ATTUNE_KERNEL_FAULT : ATTUNE_OK);
    if (early) assert_non_null(strstr(attune_message(), "of built row_offsets, which kernels may only write"));
  }
}

/* What does not fit is counted, and nothing is written behind the end. Columns have what fits. */
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
    check_transposed(&built.view, ROWS, COLUMNS);
    for (int i = capacity; i < CELLS; i++)
      assert_int_equal(built.transposed[i], (int32_t)0xeeeeeeee);
    assert_int_equal(attune_block_mask_builder_check(builder, &built.view), ATTUNE_BAD_BLOCK_MASK);
  }
  attune_block_mask_builder_destroy(builder);
}

static void faults_are_found(void **state) {
  static const struct {
    int place, value;
    char what; /* r: of rows, b: of blocks, o: of order, c: of columns, t: of the blocks of columns */
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
      {3, -1, 'c', "column 2 of blocks (batch 0, head 0): column_offsets and row_indices"},
      {3, 4 * ROWS, 'c', "column 2 of blocks (batch 0, head 0): column_offsets and row_indices"},
      {0, 1, 'c', "column 0 of blocks (batch 0, head 0): column_offsets and row_indices"},
      {COLUMNS, CELLS - 1, 'c', "column 10 of blocks (batch 0, head 0): column_offsets and row_indices"},
      {HEADS * COLUMNS, INT32_MAX, 'c', "column 10 of blocks (batch 0, head 3): column_offsets and row_indices"},
      {5, 2 * ROWS, 't', "column 0 of blocks (batch 0, head 0): column_offsets and row_indices"},
      {5, 2 * 5, 't', "column 0 of blocks (batch 0, head 0): column_offsets and row_indices"}, /* not full */
      {CELLS + 4, -7, 't', "column 0 of blocks (batch 0, head 1): column_offsets and row_indices"},
      {ROWS + 2, 2 * 1 + 1, 't', "column 1 of blocks (batch 0, head 0): column_offsets and row_indices"}, /* twice */
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
     : faults[i].what == 'c' ? built.columns
     : faults[i].what == 't' ? built.transposed
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
  built.view.row_indices = NULL;
  assert_int_equal(attune_block_mask_builder_build(builder, &source, &built.view, built.workspace, size, NULL),
                   ATTUNE_BAD_POINTER);
  built.view.row_indices = built.transposed;
  built.view.column_offsets = NULL;
  assert_int_equal(attune_block_mask_builder_build(builder, &source, &built.view, built.workspace, size, NULL),
                   ATTUNE_BAD_POINTER);
  assert_non_null(strstr(attune_message(), "give both, or neither"));
  built.view.column_offsets = (int32_t *)((char *)built.columns + 1);
  assert_int_equal(attune_block_mask_builder_check(builder, &built.view), ATTUNE_BAD_POINTER);
  built.view.column_offsets = built.columns;
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
  built.view.column_offsets = built.view.row_indices = NULL;
  build(builder, &built, &source);
  assert_int_equal(built.columns[0], (int32_t)0xeeeeeeee);
  assert_int_equal(attune_block_mask_builder_check(builder, &built.view), ATTUNE_OK);
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
  assert_non_null(strstr(attune_message(), "set a block_size in the problem"));
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
      cmocka_unit_test(from_a_mask),
      cmocka_unit_test(from_blocks),
      cmocka_unit_test(from_an_expression),
      cmocka_unit_test(by_columns),
      cmocka_unit_test(transposing_takes_a_launch),
      cmocka_unit_test(short_of_room),
      cmocka_unit_test(faults_are_found),
      cmocka_unit_test(bad_arguments),
      cmocka_unit_test(bad_runs),
  };
  return cmocka_run_group_tests_name("simulator_block_mask_build", tests, set_up, tear_down);
}
