/* What bounds, a pattern and a block mask leave of the blocks of a problem, counted as kernels find it: by ranges, a
 * block at a time. */
#include <stdlib.h>

#include "generator/base/status.h"
#include "tuner/tuner.h"

/* About a second of work, in blocks that are looked at and nodes of the mask that are evaluated for them; beyond, rows
 * of blocks are a sample. Of a longer row of blocks every so many are looked at. */
enum { MOST_WORK = 1 << 26, LONGEST_ROW = 1 << 16 };

static bool bounded(int32_t side) {
  return side >= 0 && side < ATTUNE_UNBOUNDED;
}

/* What causal mask and window say of the block. */
static attune_seen seen_by_bounds(const attune_problem *p, attune_range q, attune_range k) {
  const int64_t shift = p->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? (int64_t)p->seqlen_k - p->seqlen_q : 0;
  const int32_t right = p->mask == ATTUNE_MASK_NONE ? p->window_right : 0;
  bool whole = true;
  if (bounded(right)) {
    if (k.low > q.high + shift + right) return ATTUNE_SEEN_NONE;
    whole = k.high <= q.low + shift + right;
  }
  if (bounded(p->window_left)) {
    if (k.high < q.low + shift - p->window_left) return ATTUNE_SEEN_NONE;
    whole = whole && k.low >= q.high + shift - p->window_left;
  }
  return whole ? ATTUNE_SEEN_WHOLE : ATTUNE_SEEN_PARTIAL;
}

static attune_seen both(attune_seen a, attune_seen b) {
  return a < b ? a : b;
}

/* What is left of a row of a block mask, whose blocks go up: 2 * column, and one more where the mask hides nothing. */
typedef struct {
  const int32_t *next, *end;
} kept_blocks;

/* Columns are asked for going up. */
static bool is_kept(kept_blocks *blocks, int64_t column) {
  while (blocks->next < blocks->end && *blocks->next / 2 < column)
    blocks->next++;
  return blocks->next < blocks->end && *blocks->next / 2 == column;
}

/* Returns how much work that was. */
static int64_t count_row(attune_sparsity *out, const attune_problem *p, const attune_expression *mask,
                         kept_blocks blocks, attune_range_scope *scope, int64_t row) {
  const int64_t columns = out->columns;
  const int64_t step = columns <= LONGEST_ROW ? 1 : columns / LONGEST_ROW | 1; /* odd: in step with no power of two */
  int64_t kept = 0, looked_at = 0, evaluated = 0;
  scope->q = attune_block_range(row, out->block, p->seqlen_q);
  scope->evaluated = &evaluated;
  for (int64_t column = 0; column < columns; column += step, looked_at++) {
    scope->k = attune_block_range(column, out->block, p->seqlen_k);
    attune_seen seen = seen_by_bounds(p, scope->q, scope->k);
    if (p->block_size > 0 && !is_kept(&blocks, column)) seen = ATTUNE_SEEN_NONE;
    if (seen != ATTUNE_SEEN_NONE && mask != NULL) seen = both(seen, attune_expression_seen(mask, scope));
    kept += seen != ATTUNE_SEEN_NONE;
    out->whole += seen == ATTUNE_SEEN_WHOLE;
  }
  out->blocks += looked_at;
  out->kept += kept;
  out->rows++;
  out->sampled = out->sampled || step > 1;
  if (kept * step > out->longest) out->longest = kept * step < columns ? kept * step : columns;
  return looked_at + evaluated;
}

/* Something is hidden, and what it is is known. */
static bool countable(const attune_problem *p, const attune_expression *mask) {
  if (attune_problem_has_mask_expr(p)) return mask != NULL;
  return p->block_size > 0 || p->mask != ATTUNE_MASK_NONE || bounded(p->window_left) || bounded(p->window_right);
}

/* Block masks as a tuner draws them; where that were too many, those of fewer heads and rows, which are as good a
 * sample. */
static attune_status draw_block_mask(attune_host_block_mask *out, attune_problem *p) {
  const int64_t columns = attune_blocks_of(p->seqlen_k, p->block_size);
  const int64_t rows = MOST_WORK / columns > 0 ? MOST_WORK / columns : 1;
  if ((int64_t)p->batch * p->heads_q * attune_blocks_of(p->seqlen_q, p->block_size) > rows) {
    p->batch = p->heads_q = p->heads_kv = 1;
    if (p->seqlen_q > rows * p->block_size) p->seqlen_q = (int32_t)(rows * p->block_size);
  }
  return attune_host_block_mask_draw(out, p, 0);
}

static int64_t greatest_divisor(int64_t a, int64_t b) {
  return b == 0 ? a : greatest_divisor(b, a % b);
}

/* Steps of about 0.618 of all rows visit each of them once, and any first part of them evenly. */
static void count_rows(attune_sparsity *out, const attune_problem *p, const attune_expression *mask,
                       const attune_host_block_mask *drawn, attune_range_scope *scope) {
  const int64_t rows = attune_blocks_of(p->seqlen_q, out->block), all = (int64_t)p->batch * p->heads_q * rows;
  int64_t step = (int64_t)(0.618 * (double)all) | 1, at = 0, work = 0, count = 0;
  while (greatest_divisor(step, all) != 1)
    step += 2;
  for (; count < all && work < MOST_WORK; count++) {
    const int32_t head = (int32_t)(at / rows % p->heads_q), batch = (int32_t)(at / rows / p->heads_q);
    scope->head = (attune_range){head, head};
    scope->batch = (attune_range){batch, batch};
    kept_blocks blocks = {0};
    if (out->drawn) blocks = (kept_blocks){drawn->blocks + drawn->rows[at], drawn->blocks + drawn->rows[at + 1]};
    work += count_row(out, p, mask, blocks, scope, at % rows);
    at = (at + step) % all;
  }
  out->sampled = out->sampled || count < out->all_rows;
}

attune_status attune_sparsity_of(attune_sparsity *out, const attune_problem *problem, const attune_inputs *inputs,
                                 int32_t block) {
  attune_problem p;
  attune_value values[ATTUNE_PARAMS_MAX];
  attune_expression *mask = NULL;
  attune_host_block_mask drawn = {0};
  attune_status status = attune_problem_resolve(&p, problem);
  *out = (attune_sparsity){.block = block};
  if (status == ATTUNE_OK && block < 1) status = attune_fail(ATTUNE_BAD_SIZE, "blocks of %d", block);
  if (status == ATTUNE_OK) status = attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, &p);
  if (status != ATTUNE_OK || !countable(&p, mask)) goto out;
  if (p.block_size > 0) out->block = block = p.block_size;
  out->all_rows = (int64_t)p.batch * p.heads_q * attune_blocks_of(p.seqlen_q, block);
  out->columns = attune_blocks_of(p.seqlen_k, block);
  if (p.block_size > 0) {
    out->drawn = true;
    if ((status = draw_block_mask(&drawn, &p)) != ATTUNE_OK) goto out;
  }
  attune_inputs_values(values, inputs);
  attune_range_scope scope = {
      .seqlen_q = {p.seqlen_q, p.seqlen_q}, .seqlen_k = {p.seqlen_k, p.seqlen_k}, .values = values};
  count_rows(out, &p, mask, &drawn, &scope);
out:
  attune_host_block_mask_free(&drawn);
  free(mask);
  return status;
}
