/* The walks of templates/parts/, on the simulator: the tiles of keys that a tile of queries sees and the tiles of
 * queries that see a tile of keys, against every element of the mask and against each other: by formula and by block
 * mask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/plan.h"
#include "runtime/simulator/runner.h"
#include "tests/unit/host_kernel.h"
#include "tests/unit/walk_kernel.h"

enum { SEQLEN_MAX = 270, BATCH = 2, HEADS = 4, ITEMS = BATCH * HEADS, UNBOUNDED = (1 << 30) - 1 };
enum { BLOCK = 16, SIDE = (SEQLEN_MAX + BLOCK - 1) / BLOCK, CELLS = ITEMS * SIDE * SIDE };

/* By rows, by columns. */
static float results[2][ITEMS][WALK_TILES][WALK_TILES];
static attune_simulator_runner *runner;

/* ---- building ---- */

static void *build(attune_simulator_kernel **kernel, const walk_variant *variant) {
  void *object = load_host_kernels(walk_source(variant, ATTUNE_TARGET_SIMULATOR), "walk");
  *(void **)kernel = dlsym(object, "KERNEL_NAME");
  assert_non_null(*kernel);
  return object;
}

/* ---- the mask, key by key ---- */

typedef struct {
  walk_variant variant;
  int seqlen_q, seqlen_k, align_end, left, right;
  int batch, heads;
  const int32_t *seqlens_q, *seqlens_k; /* NULL: seqlen_q and seqlen_k for all */
  attune_block_mask blocks;
} mask;

/* The mask of one head and batch. */
typedef struct {
  const mask *all;
  int batch, head, seqlen_q, seqlen_k;
} item_mask;

static item_mask item_of(const mask *m, int item) {
  const int groups = m->heads / m->variant.pack, batch = item / groups;
  return (item_mask){m, batch, item % groups * m->variant.pack, m->seqlens_q ? m->seqlens_q[batch] : m->seqlen_q,
                     m->seqlens_k ? m->seqlens_k[batch] : m->seqlen_k};
}

static bool is_inside_bounds(const item_mask *m, int q, int k) {
  const mask *all = m->all;
  const bool bounded = all->variant.bound != WALK_UNBOUNDED;
  const int level = q + (all->align_end && bounded ? m->seqlen_k - m->seqlen_q : 0);
  if (bounded && k > level + all->right) return false;
  return all->variant.bound != WALK_WINDOW || k >= level - all->left;
}

/* What the block mask says of it: -1 that it is hidden, else whether its block is full. */
static int block_of(const item_mask *m, int q, int k) {
  const attune_block_mask *blocks = &m->all->blocks;
  const int rows = (m->all->seqlen_q + BLOCK - 1) / BLOCK;
  const int mask_number = (blocks->batch > 1 ? m->batch : 0) * blocks->heads + (blocks->heads > 1 ? m->head : 0);
  const int32_t *row = blocks->row_offsets + mask_number * rows + q / BLOCK;
  for (int i = row[0]; i < row[1]; i++)
    if (blocks->indices[i] / 2 == k / BLOCK) return blocks->indices[i] % 2;
  return -1;
}

static bool is_expressed(int q, int k) {
  return WALK_SEEN;
}

/* inside: of bounds and kept blocks; partial: the expression is asked. */
typedef struct {
  int visible, inside, all;
  bool partial;
} counts;

static counts count_tile(const item_mask *m, int tile_q, int tile_k) {
  const int queries = WALK_TILE_M / m->all->variant.pack;
  counts c = {0, 0, 0, m->all->variant.expression};
  const int block = m->all->variant.block_size > 0 ? block_of(m, tile_q * queries, tile_k * WALK_TILE_N) : 0;
  if (block == 1) c.partial = false;
  for (int q = tile_q * queries; q < (tile_q + 1) * queries && q < m->seqlen_q; q++)
    for (int k = tile_k * WALK_TILE_N; k < (tile_k + 1) * WALK_TILE_N && k < m->seqlen_k; k++) {
      const bool inside = block >= 0 && is_inside_bounds(m, q, k);
      c.all++;
      c.inside += inside;
      c.visible += inside && (!c.partial || is_expressed(q, k));
    }
  return c;
}

static void add_memory(attune_simulator_memory *memory, const char *name, const void *base, int64_t count,
                       attune_simulator_access access) {
  const attune_shape words = {count, {1, 1, 1}, {0}};
  assert_int_equal(attune_simulator_memory_add(memory, name, base, access, 4, &words), ATTUNE_OK);
}

static void run(attune_simulator_kernel *kernel, const mask *m, uint64_t seed) {
  const attune_block_mask *blocks = &m->blocks;
  const struct attune_arguments arguments = {.lse = &results[0][0][0][0],
                                             .seqlens_q = m->seqlens_q,
                                             .seqlens_k = m->seqlens_k,
                                             .batch = m->batch,
                                             .heads_q = m->heads,
                                             .seqlen_q = m->seqlen_q,
                                             .seqlen_k = m->seqlen_k,
                                             .align_end = m->align_end,
                                             .window_left = m->left,
                                             .window_right = m->right,
                                             .block_mask_row_offsets = blocks->row_offsets,
                                             .block_mask_indices = blocks->indices,
                                             .block_mask_column_offsets = blocks->column_offsets,
                                             .block_mask_row_indices = blocks->row_indices,
                                             .block_mask_capacity = (int)blocks->capacity,
                                             .block_mask_batch = blocks->batch,
                                             .block_mask_heads = blocks->heads};
  const int items = m->batch * m->heads / m->variant.pack, masks = blocks->batch * blocks->heads;
  attune_simulator_memory memory = {.count = 0};
  memset(results, 0, sizeof results);
  add_memory(&memory, "results", results, 2 * items * WALK_TILES * WALK_TILES, ATTUNE_SIMULATOR_WRITE);
  add_memory(&memory, "seqlens_q", m->seqlens_q, m->batch, ATTUNE_SIMULATOR_READ);
  add_memory(&memory, "seqlens_k", m->seqlens_k, m->batch, ATTUNE_SIMULATOR_READ);
  add_memory(&memory, "row_offsets", blocks->row_offsets, masks * ((m->seqlen_q + BLOCK - 1) / BLOCK) + 1,
             ATTUNE_SIMULATOR_READ);
  add_memory(&memory, "column_offsets", blocks->column_offsets, masks * ((m->seqlen_k + BLOCK - 1) / BLOCK) + 1,
             ATTUNE_SIMULATOR_READ);
  add_memory(&memory, "indices", blocks->indices, blocks->capacity, ATTUNE_SIMULATOR_READ);
  add_memory(&memory, "row_indices", blocks->row_indices, blocks->capacity, ATTUNE_SIMULATOR_READ);
  const attune_simulator_grid grid = {.kernel = kernel,
                                      .name = "walk",
                                      .blocks = items * WALK_TILES,
                                      .threads = 32,
                                      .shared_bytes = 16,
                                      .arguments = &arguments,
                                      .memory = &memory,
                                      .seed = seed};
  if (attune_simulator_run(runner, &grid) != ATTUNE_OK) fail_msg("%s", attune_message());
}

/* What the kernel found; by columns behind all items of rows. */
static int found_by(const mask *m, bool keys, int item, int tile, int other) {
  const int items = m->batch * m->heads / m->variant.pack;
  return (int)(&results[0][0][0][0])[(((keys ? items : 0) + item) * WALK_TILES + tile) * WALK_TILES + other];
}

static void expect_tile(const item_mask *m, int item, int tile_q, int tile_k) {
  const mask *all = m->all;
  const counts c = count_tile(m, tile_q, tile_k);
  const int by_rows = found_by(all, false, item, tile_q, tile_k), by_keys = found_by(all, true, item, tile_k, tile_q);
  const int queries = WALK_TILE_M / all->variant.pack;
  const bool rows_whole = (tile_q + 1) * queries <= m->seqlen_q, keys_whole = (tile_k + 1) * WALK_TILE_N <= m->seqlen_k;
  const char *wrong = NULL;
  if ((by_rows > 0) != (by_keys > 0)) wrong = "the walks differ";
  if (rows_whole && keys_whole && by_rows != by_keys) wrong = "the walks differ in what is full";
  if (c.visible > 0 && by_rows == 0) wrong = "a visible key is left out";
  if (c.inside == 0 && by_rows > 0) wrong = "a tile that is hidden as a whole is not";
  if ((by_rows == 2 || by_keys == 2) && c.visible < c.all) wrong = "a tile with hidden keys counts as full";
  if (by_rows == 2 && !keys_whole) wrong = "a tile with keys past the end counts as full";
  if (by_keys == 2 && !rows_whole) wrong = "a tile with queries past the end counts as full";
  if (!c.partial && c.visible == c.all && keys_whole && by_rows != 2) wrong = "a full tile of keys does not count";
  if (!c.partial && c.visible == c.all && rows_whole && by_keys != 2) wrong = "a full tile of queries does not count";
  if (wrong != NULL)
    fail_msg("%s: bound %d, expression %d, block_size %d, pack %d, batch %d, head %d, %d queries, %d keys, align_end "
             "%d, left %d, right %d, tile (%d, %d): %d by rows, %d by keys; %d of %d visible",
             wrong, all->variant.bound, all->variant.expression, all->variant.block_size, all->variant.pack, m->batch,
             m->head, m->seqlen_q, m->seqlen_k, all->align_end, all->left, all->right, tile_q, tile_k, by_rows, by_keys,
             c.visible, c.all);
}

/* A walk that visits nothing is of the tile past the end, which is not full; no other walk visits that one. */
static void expect_ends(const mask *m, bool keys, int item, int tiles, int others) {
  for (int t = 0; t < tiles; t++) {
    int visited = 0;
    for (int other = 0; other < others; other++)
      visited += found_by(m, keys, item, t, other) > 0;
    const int past = found_by(m, keys, item, t, others);
    if (past > (visited == 0)) fail_msg("%s %d: %d tiles, %d past the end", keys ? "keys" : "rows", t, visited, past);
  }
}

static int tiles_of(int length, int tile) {
  return (length + tile - 1) / tile;
}

static void check(attune_simulator_kernel *kernel, const mask *m, uint64_t seed) {
  const int queries = WALK_TILE_M / m->variant.pack;
  run(kernel, m, seed);
  for (int item = 0; item < m->batch * m->heads / m->variant.pack; item++) {
    const item_mask one = item_of(m, item);
    for (int q = 0; q * queries < one.seqlen_q; q++)
      for (int k = 0; k * WALK_TILE_N < one.seqlen_k; k++)
        expect_tile(&one, item, q, k);
    const int tiles_q = tiles_of(m->seqlen_q, queries), tiles_k = tiles_of(m->seqlen_k, WALK_TILE_N);
    expect_ends(m, false, item, tiles_q, tiles_k);
    expect_ends(m, true, item, tiles_k, tiles_q);
  }
}

/* ---- by formula ---- */

static void check_sizes(walk_bound bound, bool expression, int pack, const int (*windows)[2], int window_count) {
  static const int seqlens[] = {1, 4, 7, 16, 45, SEQLEN_MAX};
  enum { SEQLENS = sizeof seqlens / sizeof *seqlens };
  const walk_variant variant = {bound, expression, 0, pack};
  attune_simulator_kernel *kernel = NULL;
  void *object = build(&kernel, &variant);
  for (int i = 0; i < SEQLENS * SEQLENS * window_count * 2; i++) {
    const int(*window)[2] = &windows[i / 2 % window_count];
    const int sizes = i / 2 / window_count;
    const mask m = {.variant = variant,
                    .seqlen_q = seqlens[sizes % SEQLENS] / pack + (pack > 1),
                    .seqlen_k = seqlens[sizes / SEQLENS],
                    .align_end = i % 2,
                    .left = (*window)[0],
                    .right = (*window)[1],
                    .batch = 1,
                    .heads = pack};
    check(kernel, &m, (uint64_t)i);
  }
  dlclose(object);
}

static void test_without_bounds(void **unused) {
  (void)unused;
  static const int windows[][2] = {{UNBOUNDED, UNBOUNDED}};
  check_sizes(WALK_UNBOUNDED, false, 1, windows, 1);
  check_sizes(WALK_UNBOUNDED, false, 2, windows, 1);
  check_sizes(WALK_UNBOUNDED, true, 1, windows, 1);
}

static void test_causal(void **unused) {
  (void)unused;
  static const int windows[][2] = {{UNBOUNDED, 0}, {UNBOUNDED, 3}};
  check_sizes(WALK_RIGHT, false, 1, windows, 2);
  check_sizes(WALK_RIGHT, false, 2, windows, 2);
  check_sizes(WALK_RIGHT, true, 1, windows, 2);
}

static void test_windows(void **unused) {
  (void)unused;
  static const int windows[][2] = {{0, 0}, {3, 2}, {20, 0}, {9, UNBOUNDED}};
  check_sizes(WALK_WINDOW, false, 1, windows, 4);
  check_sizes(WALK_WINDOW, false, 2, windows, 4);
  check_sizes(WALK_WINDOW, true, 1, windows, 4);
}

/* ---- by block mask, as the builder makes it ---- */

static attune_context *context;
static uint32_t drawn;

/* From 0 to below - 1. */
static int draw(int below) {
  drawn = drawn * 1664525u + 1013904223u;
  return (int)((uint64_t)(drawn >> 8) * (uint64_t)below >> 24);
}

/* Masks of the kinds that problems have, of lengths up to what the packed heads leave. */
static void draw_mask(mask *m, attune_problem *problem, const walk_variant *variant) {
  static int32_t seqlens_q[BATCH], seqlens_k[BATCH];
  attune_problem_init(problem);
  problem->batch = BATCH, problem->heads_q = problem->heads_kv = HEADS;
  problem->seqlen_q = 1 + draw(SEQLEN_MAX / variant->pack), problem->seqlen_k = 1 + draw(SEQLEN_MAX);
  problem->block_size = BLOCK;
  if (variant->expression) problem->mask_expr = WALK_EXPRESSION;
  const bool causal = variant->bound == WALK_RIGHT || (variant->bound == WALK_WINDOW && draw(2));
  if (causal) problem->mask = draw(2) ? ATTUNE_MASK_CAUSAL : ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT;
  if (variant->bound == WALK_WINDOW) problem->window_left = draw(60);
  if (variant->bound == WALK_WINDOW && !causal) problem->window_right = draw(60);
  *m = (mask){.variant = *variant,
              .seqlen_q = problem->seqlen_q,
              .seqlen_k = problem->seqlen_k,
              .align_end = problem->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT,
              .left = problem->window_left < 0 ? UNBOUNDED : problem->window_left,
              .right = causal                      ? 0
                       : problem->window_right < 0 ? UNBOUNDED
                                                   : problem->window_right,
              .batch = BATCH,
              .heads = HEADS};
  for (int i = 0; i < BATCH; i++) {
    seqlens_q[i] = draw(problem->seqlen_q + 1);
    seqlens_k[i] = draw(problem->seqlen_k + 1);
  }
  if (draw(2)) m->seqlens_q = seqlens_q;
  if (draw(2)) m->seqlens_k = seqlens_k;
}

/* From bytes, with rows and columns that are empty, or from the expression. */
static void build_blocks(mask *m, const attune_problem *problem) {
  static uint8_t bytes[CELLS];
  static int32_t rows[ITEMS * SIDE + 1], columns[ITEMS * SIDE + 1], indices[CELLS], transposed[CELLS];
  static _Alignas(16) int32_t workspace[ITEMS * SIDE];
  const int kept = draw(4) * 85, empty_row = draw(6), empty_column = draw(6);
  const int side = tiles_of(problem->seqlen_k, BLOCK);
  for (int i = 0; i < CELLS; i++)
    bytes[i] = draw(256) < kept && i / side % 6 != empty_row && i % side % 6 != empty_column;
  const bool by_expression = draw(3) == 0;
  const attune_block_mask_source source = {.kind = by_expression ? ATTUNE_BLOCK_MASK_OF_EXPRESSION
                                                                 : ATTUNE_BLOCK_MASK_OF_BYTES,
                                           .data = by_expression ? NULL : bytes};
  m->blocks = (attune_block_mask){.batch = draw(2) ? BATCH : 1,
                                  .heads = draw(2) && m->variant.pack == 1 ? HEADS : 1,
                                  .row_offsets = rows,
                                  .indices = indices,
                                  .capacity = CELLS,
                                  .column_offsets = columns,
                                  .row_indices = transposed};
  attune_block_mask_builder *builder;
  if (attune_block_mask_builder_create(&builder, context, problem) != ATTUNE_OK ||
      attune_block_mask_builder_build(builder, &source, &m->blocks, workspace, sizeof workspace, NULL) != ATTUNE_OK ||
      attune_block_mask_builder_check(builder, &m->blocks) != ATTUNE_OK)
    fail_msg("%s", attune_message());
  attune_block_mask_builder_destroy(builder);
}

static void test_block_masks(void **unused) {
  (void)unused;
  enum { MASKS = 16 };
  for (int i = 0; i < 9; i++) {
    const walk_variant variant = {(walk_bound)(i % 3), i / 3 == 1, BLOCK, i / 3 == 2 ? 2 : 1};
    attune_simulator_kernel *kernel = NULL;
    void *object = build(&kernel, &variant);
    drawn = (uint32_t)i;
    for (int j = 0; j < MASKS; j++) {
      mask m;
      attune_problem problem;
      draw_mask(&m, &problem, &variant);
      build_blocks(&m, &problem);
      check(kernel, &m, (uint64_t)j);
    }
    dlclose(object);
  }
}

/* The simulator reports what is read out of bounds, whatever the lists say; what is visited is not looked at. */
static void test_damaged_lists(void **unused) {
  (void)unused;
  enum { OFFSETS = 5, CAPACITY = 6 }; /* blocks of 16 in 60 queries and keys */
  static int32_t offsets[][OFFSETS] = {{0, 2, 4, 6, 600},
                                       {6, 4, 2, 0, -1},
                                       {-5, 2, INT32_MAX, 6, 6},
                                       {INT32_MIN, -1, 3, 3, INT32_MIN},
                                       {0, INT32_MAX, 1, 9, 2000000}};
  static int32_t indices[CAPACITY] = {1, 5, INT32_MAX, -3, 7, 2000000001};
  const walk_variant variant = {WALK_UNBOUNDED, false, BLOCK, 1};
  attune_simulator_kernel *kernel = NULL;
  void *object = build(&kernel, &variant);
  for (size_t i = 0; i < 2 * sizeof offsets / sizeof *offsets; i++) {
    const attune_block_mask blocks = {.batch = 1,
                                      .heads = 1,
                                      .row_offsets = offsets[i / 2],
                                      .indices = indices,
                                      .capacity = i % 2 ? CAPACITY : 0,
                                      .column_offsets = offsets[i / 2],
                                      .row_indices = indices};
    const mask m = {.variant = variant, .seqlen_q = 60, .seqlen_k = 60, .batch = 1, .heads = 1, .blocks = blocks};
    run(kernel, &m, i);
  }
  dlclose(object);
}

static int set_up(void **unused) {
  (void)unused;
  attune_options options;
  attune_options_init(&options);
  options.device = "host";
  options.database = ":memory:";
  if (attune_context_create(&context, &options) != ATTUNE_OK) return -1;
  return attune_simulator_runner_create(&runner) == ATTUNE_OK ? 0 : -1;
}

static int tear_down(void **unused) {
  (void)unused;
  attune_simulator_runner_destroy(runner);
  attune_context_destroy(context);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_without_bounds), cmocka_unit_test(test_causal),        cmocka_unit_test(test_windows),
      cmocka_unit_test(test_block_masks),    cmocka_unit_test(test_damaged_lists),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
