/* Private to generator/: an expression as a tree, and its two texts. */
#ifndef ATTUNE_EXPRESSION_H
#define ATTUNE_EXPRESSION_H

#include "generator/base/buffer.h"
#include "generator/generator.h"

/* Everything in parentheses, one blank around operators: equal trees have equal texts, and it parses to the same tree.
 */
void attune_expression_print(attune_buffer *out, const attune_expression *expression);
/* The same in C++ over the types of templates/parts/arithmetic.h: index and real are those of the function around it.
 * No sequence is longer than most_seqlen. */
void attune_expression_emit(attune_buffer *out, const attune_expression *expression, int32_t most_seqlen);
/* Parts of a score that are the same for a whole head are emitted as item.c0, item.c1, ... (index(item.c0) if they are
 * ints); this is how many there are, whether one is an int, and its text. */
int attune_expression_constants(const attune_expression *expression);
bool attune_expression_constant_is_int(const attune_expression *expression, int constant);
void attune_expression_emit_constant(attune_buffer *out, const attune_expression *expression, int constant,
                                     int32_t most_seqlen);
/* Statements that set result.value, result.by0, result.by1, ... (of[0], of[1], ...), and of elements result.at1, an
 * int. What several of them need is computed once. */
attune_status attune_expression_emit_derivatives(attune_buffer *out, const attune_derivatives *derivatives,
                                                 int32_t most_seqlen);
/* Whether it names the param, the bias. */
bool attune_expression_uses(const attune_expression *expression, int param);
bool attune_expression_uses_bias(const attune_expression *expression);
/* Whether it is the float 1. */
bool attune_expression_is_one(const attune_expression *expression);
/* No score that a kernel computes is larger in magnitude, whatever its names, params and arrays are; infinite where
 * nothing bounds it. A NaN does not count. */
double attune_expression_largest(const attune_expression *score);
/* Whether the name is one that expressions have without being told. */
bool attune_expression_knows(const char *name);

/* ---- of a problem: problem/expressions.c, problem/expression_source.c, source/expressions.c ---- */

/* Whether scores stay in what the softmax of plain scores is right for, whatever the inputs are ("Large scores" in
 * attune.h). False where the problem changes no score by an expression, or its own is not known. */
bool attune_problem_bounds_score(const attune_problem *problem);
/* Whether only expression_hash is known of them. */
bool attune_problem_expressions_unknown(const attune_problem *problem);
/* The functions of the mask and the score that a kernel calls; each may be NULL. */
void attune_expressions_write(attune_buffer *out, const attune_problem *problem, const attune_expression *mask,
                              const attune_expression *score);
/* The same with the score's derivatives, as a kernel that computes gradients calls it: constants_of, the struct
 * score_derivatives and the function changed_score_derivatives. */
attune_status attune_derivatives_write(attune_buffer *out, const attune_problem *problem,
                                       const attune_derivatives *derivatives);
/* What stands in the place of templates/expressions.h. problem may be NULL where the config has no expressions. */
attune_status attune_expressions_emit(attune_buffer *out, const attune_config *config, const attune_problem *problem);

#endif
