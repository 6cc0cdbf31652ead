/* What bounds, a pattern and lists leave of the blocks of a problem, counted as kernels find it: by ranges, a block at
 * a time. */
#include <stdlib.h>

#include "generator/base/status.h"
#include "tuner/tuner.h"

enum { MOST_CELLS = 1 << 22 }; /* about a second; beyond, rows of blocks are a sample */

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

/* What is left of a row's list, whose blocks go up: 2 * column, and one more where the mask hides nothing. */
typedef struct {
  const int32_t *next, *end;
} listed;

/* Columns are asked for going up. */
static bool is_listed(listed *list, int64_t column) {
  while (list->next < list->end && *list->next / 2 < column)
    list->next++;
  return list->next < list->end && *list->next / 2 == column;
}

static void count_row(attune_sparsity *out, const attune_problem *p, const attune_expression *mask, listed list,
                      attune_range_scope *scope, int64_t row) {
  int64_t kept = 0;
  scope->q = attune_block_range(row, out->block, p->seqlen_q);
  for (int64_t column = 0; column < attune_blocks_of(p->seqlen_k, out->block); column++) {
    scope->k = attune_block_range(column, out->block, p->seqlen_k);
    attune_seen seen = seen_by_bounds(p, scope->q, scope->k);
    if (p->block_size > 0 && !is_listed(&list, column)) seen = ATTUNE_SEEN_NONE;
    if (seen != ATTUNE_SEEN_NONE && mask != NULL) seen = both(seen, attune_expression_seen(mask, scope));
    kept += seen != ATTUNE_SEEN_NONE;
    out->whole += seen == ATTUNE_SEEN_WHOLE;
  }
  out->blocks += attune_blocks_of(p->seqlen_k, out->block);
  out->kept += kept;
  out->rows++;
  if (kept > out->longest) out->longest = kept;
}

/* Something is hidden, and what it is is known. */
static bool countable(const attune_problem *p, const attune_expression *mask) {
  if (attune_problem_has_pattern(p)) return mask != NULL;
  return p->block_size > 0 || p->mask != ATTUNE_MASK_NONE || bounded(p->window_left) || bounded(p->window_right);
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
  if (p.block_size > 0) {
    out->drawn = true;
    out->block = block = p.block_size;
    if ((status = attune_host_block_mask_draw(&drawn, &p, 0)) != ATTUNE_OK) goto out;
  }
  attune_inputs_values(values, inputs);
  attune_range_scope scope = {
      .seqlen_q = {p.seqlen_q, p.seqlen_q}, .seqlen_k = {p.seqlen_k, p.seqlen_k}, .values = values};
  const int64_t rows = attune_blocks_of(p.seqlen_q, block), columns = attune_blocks_of(p.seqlen_k, block);
  const int64_t all = (int64_t)p.batch * p.heads_q * rows;
  const int64_t affordable = MOST_CELLS / columns > 0 ? MOST_CELLS / columns : 1;
  const int64_t step = (all + affordable - 1) / affordable;
  for (int64_t i = 0; i < all; i += step) {
    const int32_t head = (int32_t)(i / rows % p.heads_q), batch = (int32_t)(i / rows / p.heads_q);
    scope.head = (attune_range){head, head};
    scope.batch = (attune_range){batch, batch};
    listed list = {0};
    if (out->drawn) list = (listed){drawn.blocks + drawn.rows[i], drawn.blocks + drawn.rows[i + 1]};
    count_row(out, &p, mask, list, &scope, i % rows);
  }
  out->sampled = step > 1;
out:
  attune_host_block_mask_free(&drawn);
  free(mask);
  return status;
}
