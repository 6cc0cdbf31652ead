/* For tests of block masks: which blocks an expression leaves, found in C. */
#ifndef ATTUNE_TESTS_SIMULATOR_BLOCK_MASK_H
#define ATTUNE_TESTS_SIMULATOR_BLOCK_MASK_H

#include "tests/unit/simulator_case.h"

/* What the problem's expression says of a block of a mask for batch and heads. */
typedef struct {
  const attune_expression *mask; /* NULL: all is seen */
  const attune_problem *problem;
  const attune_value *values;
  int batch, heads;
} by_expression;

static inline attune_seen seen_by_expression(void *user, int32_t batch, int32_t head, int32_t row, int32_t column) {
  const by_expression *self = user;
  const attune_problem *p = self->problem;
  const attune_range_scope scope = {.batch = {self->batch > 1 ? batch : 0, self->batch > 1 ? batch : p->batch - 1},
                                    .head = {self->heads > 1 ? head : 0, self->heads > 1 ? head : p->heads_q - 1},
                                    .q = attune_block_range(row, p->block_size, p->seqlen_q),
                                    .k = attune_block_range(column, p->block_size, p->seqlen_k),
                                    .seqlen_q = {p->seqlen_q, p->seqlen_q},
                                    .seqlen_k = {p->seqlen_k, p->seqlen_k},
                                    .values = self->values};
  if (p->mask == ATTUNE_MASK_CAUSAL && scope.k.low > scope.q.high) return ATTUNE_SEEN_NONE;
  return self->mask != NULL ? attune_expression_seen(self->mask, &scope) : ATTUNE_SEEN_WHOLE;
}

#endif
