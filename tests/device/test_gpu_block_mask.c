/* Block masks built on a GPU are those that the simulator builds with the same kernel, byte for byte, by rows and by
 * columns: from a mask, a list of blocks, expressions with and without arrays; without room; and damaged ones are
 * found. A line a case. Exit 77: no GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/device/device_case.h"

enum { SEQLEN = 5000, BLOCK = 128, SIDE = (SEQLEN + BLOCK - 1) / BLOCK, BATCH = 2, HEADS = 3 };
enum { MASKS = BATCH * HEADS, ROWS = MASKS * SIDE, CELLS = ROWS * SIDE, ARRAY = 9 };

typedef struct {
  int32_t rows[ROWS + 1], blocks[CELLS], order[ROWS], columns[ROWS + 1], transposed[CELLS];
} block_mask;

typedef struct {
  const char *name, *mask_expr;
  attune_block_mask_source_kind kind;
  bool array;
  int64_t capacity;
} mask_case;

static const mask_case cases[] = {
    {"mask", "", ATTUNE_BLOCK_MASK_OF_BYTES, false, CELLS},
    {"mask, asked again", "(q + k) % 3 == 0", ATTUNE_BLOCK_MASK_OF_BYTES, false, CELLS},
    {"blocks", "", ATTUNE_BLOCK_MASK_OF_BLOCKS, false, CELLS},
    {"blocks, without room", "", ATTUNE_BLOCK_MASK_OF_BLOCKS, false, 0},
    {"expression", "k <= q && q - k < 700 || k / 128 == head + batch", ATTUNE_BLOCK_MASK_OF_EXPRESSION, false, CELLS},
    {"expression, short of room", "k <= q", ATTUNE_BLOCK_MASK_OF_EXPRESSION, false, 100},
    {"documents", "find(ends, q) == find(ends, k)", ATTUNE_BLOCK_MASK_OF_EXPRESSION, true, CELLS},
};
static const int32_t ends[ARRAY] = {0, 256, 300, 1000, 1001, 2048, 4000, 4999, 5000};

static void fail(const char *name, const char *what) {
  printf("FAIL %-28s %s: %s\n", name, what, attune_message());
  exit(1);
}

/* Memory of the machine with `from` in it, or poison. */
static void *place(attune_backend *machine, const void *from, size_t size, const char *name) {
  void *memory = NULL;
  if (attune_memory_allocate(&memory, machine, size) ||
      (from ? attune_memory_write(machine, memory, from, size) : attune_memory_fill(machine, memory, 0xee, size)))
    fail(name, "memory");
  return memory;
}

static void read_back(attune_backend *machine, block_mask *out, const attune_block_mask *from, const char *name) {
  if (attune_backend_synchronize(machine) ||
      attune_memory_read(machine, out->rows, from->row_offsets, sizeof out->rows) ||
      attune_memory_read(machine, out->blocks, from->indices, sizeof out->blocks) ||
      attune_memory_read(machine, out->order, from->row_order, sizeof out->order) ||
      attune_memory_read(machine, out->columns, from->column_offsets, sizeof out->columns) ||
      attune_memory_read(machine, out->transposed, from->row_indices, sizeof out->transposed))
    fail(name, "reading back");
}

/* Builds them and reads them back; *sound: the checker's word on them, *damaged: on them with one column changed. */
static void build(block_mask *out, attune_context *context, const mask_case *c, const void *data, size_t data_size,
                  int64_t count, attune_status *sound, attune_status *damaged) {
  attune_backend *machine = attune_context_machine(context);
  attune_problem problem;
  attune_problem_init(&problem);
  problem.head_dim = problem.head_dim_v = 64;
  problem.batch = BATCH, problem.heads_q = problem.heads_kv = HEADS;
  problem.seqlen_q = problem.seqlen_k = SEQLEN;
  problem.block_size = BLOCK;
  const attune_param param = {.name = "ends", .type = ATTUNE_PARAM_INT_ARRAY};
  problem.mask_expr = c->mask_expr;
  problem.params = &param;
  problem.param_count = c->array ? 1 : 0;
  attune_block_mask_builder *builder;
  if (attune_block_mask_builder_create(&builder, context, &problem)) fail(c->name, "attune_block_mask_builder_create");

  const size_t workspace_size = attune_block_mask_builder_workspace(builder, BATCH, HEADS);
  void *workspace = place(machine, NULL, workspace_size, c->name);
  void *source_data = data ? place(machine, data, data_size, c->name) : NULL;
  void *array = place(machine, ends, sizeof ends, c->name);
  attune_block_mask_source source = {.kind = c->kind, .data = source_data, .count = count};
  if (c->array) source.values[0] = (attune_value){.array = array, .count = ARRAY};
  const attune_block_mask view = {.batch = BATCH,
                                  .heads = HEADS,
                                  .row_offsets = place(machine, NULL, sizeof out->rows, c->name),
                                  .indices = place(machine, NULL, sizeof out->blocks, c->name),
                                  .capacity = c->capacity,
                                  .row_order = place(machine, NULL, sizeof out->order, c->name),
                                  .column_offsets = place(machine, NULL, sizeof out->columns, c->name),
                                  .row_indices = place(machine, NULL, sizeof out->transposed, c->name)};
  if (attune_block_mask_builder_build(builder, &source, &view, workspace, workspace_size, NULL))
    fail(c->name, "attune_block_mask_builder_build");
  read_back(machine, out, &view, c->name);
  *sound = attune_block_mask_builder_check(builder, &view);
  const int32_t wrong = 2 * SIDE;
  if (attune_memory_write(machine, view.indices, &wrong, sizeof wrong)) fail(c->name, "writing");
  *damaged = attune_block_mask_builder_check(builder, &view);
  attune_block_mask_builder_destroy(builder);
  void *const all[] = {workspace,      source_data,         array,           view.row_offsets, view.indices,
                       view.row_order, view.column_offsets, view.row_indices};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i]) attune_memory_free(machine, all[i]);
}

static const void *draw(const mask_case *c, size_t *size, int64_t *count) {
  static uint8_t mask[CELLS];
  static int32_t blocks[CELLS][4];
  uint32_t random = 7;
  *size = 0, *count = 0;
  for (int i = 0; i < CELLS; i++) {
    random = random * 1664525u + 1013904223u;
    mask[i] = random >> 24 < 40;
    if (mask[i]) {
      const int32_t block[4] = {i / (HEADS * SIDE * SIDE), i / (SIDE * SIDE) % HEADS, i / SIDE % SIDE, i % SIDE};
      memcpy(blocks[(*count)++], block, sizeof block);
    }
  }
  if (c->kind == ATTUNE_BLOCK_MASK_OF_BLOCKS) *size = (size_t)*count * sizeof blocks[0];
  if (c->kind == ATTUNE_BLOCK_MASK_OF_BYTES) *size = sizeof mask, *count = 0;
  if (c->kind == ATTUNE_BLOCK_MASK_OF_EXPRESSION) *count = 0;
  return c->kind == ATTUNE_BLOCK_MASK_OF_BLOCKS  ? (void *)blocks
         : c->kind == ATTUNE_BLOCK_MASK_OF_BYTES ? (void *)mask
                                                 : NULL;
}

int main(void) {
  static block_mask built, expected;
  attune_context *gpu, *host;
  int failed = 0;
  if (!case_open(&gpu, "cuda:0", ":memory:")) return CASE_SKIPPED;
  if (!case_open(&host, "host", ":memory:")) return 1;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const mask_case *c = &cases[i];
    size_t size;
    int64_t count;
    attune_status sound[2], damaged[2];
    const void *data = draw(c, &size, &count);
    build(&built, gpu, c, data, size, count, &sound[0], &damaged[0]);
    build(&expected, host, c, data, size, count, &sound[1], &damaged[1]);
    const bool whole = c->capacity == CELLS;
    const bool same = memcmp(&built, &expected, sizeof built) == 0;
    const bool judged = sound[0] == sound[1] && damaged[0] == damaged[1] &&
                        (!whole || (sound[0] == ATTUNE_OK && damaged[0] == ATTUNE_BAD_BLOCK_MASK));
    printf("%-4s %-28s %d blocks, %s; checker %s, of damaged ones %s\n", same && judged ? "ok" : "FAIL", c->name,
           expected.rows[ROWS], same ? "as on the simulator" : "others than on the simulator",
           attune_status_name(sound[0]), attune_status_name(damaged[0]));
    failed += !(same && judged);
  }
  attune_context_destroy(host);
  attune_context_destroy(gpu);
  printf("%zu cases, %d failed\n", sizeof cases / sizeof *cases, failed);
  return failed != 0;
}
