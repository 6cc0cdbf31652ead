/* Private to the files of expressions: nodes that are made of others, simplified. */
#ifndef ATTUNE_EXPRESSION_ALGEBRA_H
#define ATTUNE_EXPRESSION_ALGEBRA_H

#include "generator/expression/tree.h"

/* Nodes of which no two are equal, so that equal parts are one part. Places are those of nodes[]. */
typedef struct {
  node *nodes;
  int count, most;
  bool full; /* something needed more than `most` nodes; every place since is 0 */
} attune_algebra;

int attune_algebra_add(attune_algebra *of, node n);
int attune_algebra_number(attune_algebra *of, float x); /* finite */
bool attune_algebra_is_zero(const attune_algebra *of, int place);
/* Of floats. What is a number stays exact: numbers are joined where a float holds the result. Zero times anything is
 * zero, and a divisor that is also a factor is taken out: so a result may be a number where the operation itself gives
 * NaN, never the other way round. */
int attune_algebra_negated(attune_algebra *of, int a);
int attune_algebra_sum(attune_algebra *of, int a, int b);
int attune_algebra_difference(attune_algebra *of, int a, int b);
int attune_algebra_product(attune_algebra *of, int a, int b);
int attune_algebra_quotient(attune_algebra *of, int a, int b);
/* condition ? a : b */
int attune_algebra_choice(attune_algebra *of, int condition, int a, int b);

#endif
