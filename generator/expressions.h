/* The part of generator.h that is about mask and score expressions, as values. Their grammar is in the README. */
#ifndef ATTUNE_EXPRESSIONS_H
#define ATTUNE_EXPRESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/attune.h"

/* All values from low to high. */
typedef struct {
  int32_t low, high;
} attune_range;

typedef enum { ATTUNE_EXPRESSION_MASK = 0, ATTUNE_EXPRESSION_SCORE = 1 } attune_expression_kind;
typedef struct attune_expression attune_expression;
/* Parses, checks and types a text. ATTUNE_BAD_EXPRESSION with the column, ATTUNE_UNSUPPORTED where it is too long. The
 * tree keeps nothing of params; bias: that name is known. free() it. */
attune_status attune_expression_parse(attune_expression **out, attune_expression_kind kind, const char *text,
                                      const attune_param *params, int param_count, bool bias);
/* What a checked problem has compiled in: NULL where there is nothing, or only its number is known (the problem was
 * parsed from its class). A bias without a score expression is "score + bias". free() it. */
attune_status attune_problem_expression(attune_expression **out, attune_expression_kind kind,
                                        const attune_problem *problem);
/* What stands for an expression of which only expression_hash is known. */
extern const char attune_expression_unknown[];
bool attune_expression_is_unknown(const char *text);
/* What the names stand for; arrays in the caller's memory. */
typedef struct {
  double score, bias;
  int32_t batch, head, q, k, seqlen_q, seqlen_k;
  const attune_value *values;
} attune_scope;
/* In double where kernels compute in float. A mask's value is 0 or 1. */
double attune_expression_evaluate(const attune_expression *expression, const attune_scope *scope);
typedef enum {
  ATTUNE_BY_SCORE = 0,
  ATTUNE_BY_BIAS = 1,
  ATTUNE_BY_PARAM = 2,  /* a float */
  ATTUNE_BY_ELEMENT = 3 /* of a float array */
} attune_derivative_by;
typedef struct {
  attune_derivative_by by;
  int32_t param;                  /* PARAM, ELEMENT: its index in the problem's params, else -1 */
  const attune_expression *index; /* ELEMENT: which one, an int; outside of the array there is none. Else NULL */
  const attune_expression *value;
} attune_derivative;
/* of[0] is that by the score. Others are there where they are not 0 throughout: the same index of an array once, other
 * indices apart, also where they come to the same element. */
typedef struct {
  const attune_expression *score;
  int32_t count;
  const attune_derivative *of;
} attune_derivatives;
/* What a score changes by: rules in the README. ATTUNE_UNSUPPORTED where it becomes too large. The trees are the
 * result's own; free() it alone. */
attune_status attune_expression_derivative(attune_derivatives **out, const attune_expression *score);
typedef struct {
  attune_range batch, head, q, k, seqlen_q, seqlen_k;
  const attune_value *values; /* NULL: they may be anything */
  int64_t *evaluated;         /* nodes, and elements of arrays, that were looked at are added; NULL: not counted */
} attune_range_scope;
typedef enum { ATTUNE_SEEN_NONE = 0, ATTUNE_SEEN_PARTIAL = 1, ATTUNE_SEEN_WHOLE = 2 } attune_seen;
/* Whether the keys of a tile are seen by none of its rows, by all, or perhaps by some; as kernels find it. */
attune_seen attune_expression_seen(const attune_expression *mask, const attune_range_scope *scope);
/* A named pattern, or several joined by | and &, as a mask expression: "window:1024 & butterfly:128". The names and
 * what they take stand in the README. */
attune_status attune_pattern_expression(char out[ATTUNE_EXPRESSION_MAX], const char *pattern);

#endif
