/* Block masks (attune.h) in host memory: from what says which blocks are seen. */
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/tuner.h"

void attune_host_block_mask_free(attune_host_block_mask *block_mask) {
  free(block_mask->rows);
  free(block_mask->blocks);
  free(block_mask->order);
  *block_mask = (attune_host_block_mask){0};
}

static attune_status upload(int32_t **out, attune_backend *backend, const int32_t *from, int64_t count) {
  void *memory = NULL;
  if (from == NULL || count == 0) return ATTUNE_OK;
  const attune_status status = attune_memory_allocate(&memory, backend, (size_t)count * sizeof *from);
  if (status != ATTUNE_OK) return status;
  *out = memory;
  return attune_memory_write(backend, memory, from, (size_t)count * sizeof *from);
}

/* By counting: the rows of each column, ascending. */
static void transpose(int32_t *offsets, int32_t *rows, const attune_block_mask *mask, int64_t row_count,
                      int64_t column_count) {
  const int64_t masks = (int64_t)mask->batch * mask->heads;
  memset(offsets, 0, (size_t)(masks * column_count + 1) * sizeof *offsets);
  for (int64_t row = 0; row < masks * row_count; row++)
    for (int32_t i = mask->row_offsets[row]; i < mask->row_offsets[row + 1]; i++)
      offsets[row / row_count * column_count + (mask->indices[i] >> 1) + 1]++;
  for (int64_t i = 0; i < masks * column_count; i++)
    offsets[i + 1] += offsets[i];
  for (int64_t row = masks * row_count - 1; row >= 0; row--) /* backwards, each column from its end */
    for (int32_t i = mask->row_offsets[row + 1] - 1; i >= mask->row_offsets[row]; i--) {
      const int64_t column = row / row_count * column_count + (mask->indices[i] >> 1);
      rows[--offsets[column + 1]] = (int32_t)(2 * (row % row_count) + (mask->indices[i] & 1));
    }
  memmove(offsets, offsets + 1, (size_t)(masks * column_count) * sizeof *offsets); /* each now begins its column */
  offsets[masks * column_count] = mask->row_offsets[masks * row_count];
}

static attune_status upload_columns(attune_block_mask *out, attune_backend *backend, const attune_problem *problem,
                                    const attune_block_mask *mask) {
  const int64_t rows = attune_blocks_of(problem->seqlen_q, problem->block_size),
                columns = attune_blocks_of(problem->seqlen_k, problem->block_size),
                all = (int64_t)mask->batch * mask->heads * columns,
                kept = mask->row_offsets[(int64_t)mask->batch * mask->heads * rows];
  int32_t *offsets = malloc((size_t)(all + 1) * sizeof *offsets),
          *indices = malloc((size_t)(kept + 1) * sizeof *indices);
  attune_status status = ATTUNE_OK;
  if (offsets == NULL || indices == NULL)
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %lld columns of blocks", (long long)all);
  else
    transpose(offsets, indices, mask, rows, columns);
  if (status == ATTUNE_OK) status = upload(&out->column_offsets, backend, offsets, all + 1);
  if (status == ATTUNE_OK) status = upload(&out->row_indices, backend, indices, kept);
  free(offsets);
  free(indices);
  return status;
}

attune_status attune_host_block_mask_upload(attune_block_mask *out, attune_backend *backend,
                                            const attune_problem *problem, const attune_block_mask *block_mask) {
  const int64_t rows =
      (int64_t)block_mask->batch * block_mask->heads * attune_blocks_of(problem->seqlen_q, problem->block_size);
  *out = (attune_block_mask){.batch = block_mask->batch, .heads = block_mask->heads, .capacity = block_mask->capacity};
  attune_status status = upload(&out->row_offsets, backend, block_mask->row_offsets, rows + 1);
  if (status == ATTUNE_OK) status = upload(&out->indices, backend, block_mask->indices, block_mask->capacity);
  if (status == ATTUNE_OK) status = upload(&out->row_order, backend, block_mask->row_order, rows);
  if (status != ATTUNE_OK || problem->operation == ATTUNE_FORWARD) return status;
  return upload_columns(out, backend, problem, block_mask);
}

void attune_host_block_mask_release(attune_backend *backend, const attune_block_mask *block_mask) {
  int32_t *const memory[] = {block_mask->row_offsets, block_mask->indices, block_mask->row_order,
                             block_mask->column_offsets, block_mask->row_indices};
  for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
    if (memory[i] != NULL) attune_memory_free(backend, memory[i]);
}

static attune_status append(attune_host_block_mask *block_mask, int64_t *count, int64_t *room, int32_t block) {
  if (*count == *room) {
    *room = *room < INT32_MAX / 2 ? *room * 2 + 64 : INT32_MAX;
    int32_t *more = *count < INT32_MAX ? realloc(block_mask->blocks, (size_t)*room * sizeof *more) : NULL;
    if (more == NULL)
      return attune_fail(*count < INT32_MAX ? ATTUNE_OUT_OF_MEMORY : ATTUNE_BAD_SIZE,
                         "no room for more than %lld blocks in a mask", (long long)*count);
    block_mask->blocks = more;
  }
  block_mask->blocks[(*count)++] = block;
  return ATTUNE_OK;
}

/* By counting, stable: one mask after the other, so that the keys of a head stay in L2, the longest rows first. */
static attune_status sort_rows(attune_host_block_mask *block_mask, int64_t count, int64_t rows, int64_t columns) {
  int64_t *starts = malloc(((size_t)columns + 2) * sizeof *starts);
  block_mask->order = malloc((size_t)(count * rows) * sizeof *block_mask->order);
  if (starts == NULL || block_mask->order == NULL) {
    free(starts);
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %lld rows of blocks", (long long)(count * rows));
  }
  for (int64_t first = 0; first < count * rows; first += rows) {
    memset(starts, 0, ((size_t)columns + 2) * sizeof *starts);
    for (int64_t row = first; row < first + rows; row++)
      starts[columns - (block_mask->rows[row + 1] - block_mask->rows[row]) + 1]++;
    for (int64_t i = 0; i < columns; i++)
      starts[i + 1] += starts[i];
    for (int64_t row = first; row < first + rows; row++)
      block_mask->order[first + starts[columns - (block_mask->rows[row + 1] - block_mask->rows[row])]++] = (int32_t)row;
  }
  free(starts);
  return ATTUNE_OK;
}

attune_status attune_host_block_mask_make(attune_host_block_mask *out, const attune_problem *problem, int32_t batch,
                                          int32_t heads, attune_block_seen *seen, void *user) {
  const int64_t rows = attune_blocks_of(problem->seqlen_q, problem->block_size),
                columns = attune_blocks_of(problem->seqlen_k, problem->block_size);
  const int64_t all = rows * batch * heads;
  int64_t count = 0, room = 64;
  attune_status status = ATTUNE_OK;
  *out = (attune_host_block_mask){0};
  if (all >= INT32_MAX)
    return attune_fail(ATTUNE_BAD_SIZE, "%lld rows of blocks; block masks take 2^31 - 2", (long long)all);
  out->rows = malloc((size_t)(all + 1) * sizeof *out->rows);
  if (out->rows == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %lld rows of blocks", (long long)all);
  /* Never NULL, since C adds no 0 to NULL. */
  out->blocks = malloc((size_t)room * sizeof *out->blocks);
  if (out->blocks == NULL) status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a block mask");
  for (int64_t row = 0; row < all && status == ATTUNE_OK; row++) {
    out->rows[row] = (int32_t)count;
    for (int64_t column = 0; column < columns && status == ATTUNE_OK; column++) {
      const attune_seen block = seen(user, (int32_t)(row / rows / heads), (int32_t)(row / rows % heads),
                                     (int32_t)(row % rows), (int32_t)column);
      if (block != ATTUNE_SEEN_NONE)
        status = append(out, &count, &room, (int32_t)(2 * column + (block == ATTUNE_SEEN_WHOLE)));
    }
  }
  out->rows[all] = (int32_t)count;
  if (status == ATTUNE_OK) status = sort_rows(out, (int64_t)batch * heads, rows, columns);
  out->view = (attune_block_mask){.batch = batch,
                                  .heads = heads,
                                  .row_offsets = out->rows,
                                  .indices = out->blocks,
                                  .capacity = count,
                                  .row_order = out->order};
  if (status != ATTUNE_OK) attune_host_block_mask_free(out);
  return status;
}

/* ---- of a mask ---- */

typedef struct {
  const uint8_t *mask;
  int64_t heads, rows, columns;
  attune_seen kept;
} dense_mask;

static attune_seen seen_by_mask(void *user, int32_t batch, int32_t head, int32_t row, int32_t column) {
  const dense_mask *self = user;
  const int64_t place = ((batch * self->heads + head) * self->rows + row) * self->columns + column;
  return self->mask[place] != 0 ? self->kept : ATTUNE_SEEN_NONE;
}

attune_status attune_host_block_mask_of_mask(attune_host_block_mask *out, const attune_problem *problem, int32_t batch,
                                             int32_t heads, const uint8_t *mask) {
  dense_mask self = {mask, heads, attune_blocks_of(problem->seqlen_q, problem->block_size),
                     attune_blocks_of(problem->seqlen_k, problem->block_size),
                     attune_problem_has_mask_expr(problem) ? ATTUNE_SEEN_PARTIAL : ATTUNE_SEEN_WHOLE};
  return attune_host_block_mask_make(out, problem, batch, heads, seen_by_mask, &self);
}

/* ---- by chance ---- */

typedef struct {
  uint64_t state, below; /* a block is kept if its number is less */
  attune_seen kept;
} chance;

static attune_seen seen_by_chance(void *user, int32_t batch, int32_t head, int32_t row, int32_t column) {
  chance *self = user;
  (void)batch, (void)head, (void)row, (void)column;
  self->state = self->state * 6364136223846793005u + 1442695040888963407u; /* Knuth, MMIX */
  return self->state >> 32 < self->below ? self->kept : ATTUNE_SEEN_NONE;
}

attune_status attune_host_block_mask_draw(attune_host_block_mask *out, const attune_problem *problem, uint64_t seed) {
  const double density = problem->block_density > 0 ? (double)problem->block_density : 0.25;
  chance self = {seed * 2862933555777941757u + 3037000493u, (uint64_t)(density * 4294967296.0),
                 attune_problem_has_mask_expr(problem) ? ATTUNE_SEEN_PARTIAL : ATTUNE_SEEN_WHOLE};
  return attune_host_block_mask_make(out, problem, problem->batch, problem->heads_q, seen_by_chance, &self);
}
