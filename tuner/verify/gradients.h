/* Private to tuner/verify/: gradients in double precision, and as the unfused computation gives them. Kernels read O as
 * it was rounded to the dtype, which changes the gradients by itself: where that is farther off than the unfused
 * computation, it stands for it. */
#ifndef ATTUNE_GRADIENTS_H
#define ATTUNE_GRADIENTS_H

#include "tuner/verify/reference.h"

/* What the gradients need of one query row, exact and as the unfused computation has it. */
typedef struct attune_row_statistics {
  double lse, delta;  /* delta: the sum of P dP, less the gradient that flows into LSE */
  double saved_delta; /* the same from O as it was rounded */
  float maximum, sum; /* of the softmax */
  float unfused_delta;
  bool wide; /* attune_row_unfused_score */
} attune_row_statistics;

/* A query row and what it has besides in the backward pass. */
typedef struct {
  attune_query_row row;
  float d_o[ATTUNE_HEAD_DIM_MAX];
  float dlse;
  attune_derivatives *derivatives; /* of the score expression, or NULL */
} attune_gradient_row;
/* As attune_row_open. */
void attune_gradient_row_open(attune_gradient_row *row, const attune_problem *problem, const attune_inputs *inputs,
                              int batch, int head, int index);
void attune_gradient_row_close(attune_gradient_row *row);

/* From Q, K, V and dO alone. */
void attune_statistics_of_row(attune_row_statistics *out, const attune_problem *problem, const attune_inputs *inputs,
                              int batch, int head, int index);
/* From LSE and O, which inputs has: for problems whose rows are too many to compute. */
void attune_statistics_given(attune_row_statistics *out, const attune_problem *problem, const attune_inputs *inputs,
                             int batch, int head, int index);

/* What a score that a key gives adds to the derivative by one leaf of the score expression: exact, from the delta that
 * is saved, and as the unfused computation rounds it. The key is seen. of: NULL: 0. */
typedef struct {
  double exact, saved, unfused;
} attune_slope;
attune_slope attune_slope_of(attune_gradient_row *row, const attune_row_statistics *statistics, int64_t key,
                             const attune_derivative *of);

/* head_dim numbers each. */
void attune_reference_dq(double *exact, double *unfused, const attune_problem *problem, const attune_inputs *inputs,
                         const attune_row_statistics *statistics, int batch, int head, int index);
/* Of `count` keys of a sequence and key head: dk has count x head_dim numbers, dv count x head_dim_v. statistics: of
 * all query rows, (batch, heads_q, seqlen_q). false: no memory. */
bool attune_reference_dkv(double *dk, double *dv, double *unfused_dk, double *unfused_dv, const attune_problem *problem,
                          const attune_inputs *inputs, const attune_row_statistics *statistics, int batch, int head_kv,
                          const int *keys, int count);
/* How many queries see each of the keys, those of all heads that share them together. */
void attune_reference_queries(int64_t *out, const attune_problem *problem, const attune_inputs *inputs, int batch,
                              int head_kv, const int *keys, int count);

#endif
