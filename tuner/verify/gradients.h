/* Private to tuner/verify/: gradients in double precision, and as the unfused computation gives them. Kernels read O as
 * it was rounded to the dtype, which changes the gradients by itself: where that is farther off than the unfused
 * computation, it stands for it. */
#ifndef ATTUNE_GRADIENTS_H
#define ATTUNE_GRADIENTS_H

#include "tuner/tuner.h"

/* What the gradients need of one query row, exact and as the unfused computation has it. */
typedef struct {
  double lse, delta;  /* delta: the sum of P dP, less the gradient that flows into LSE */
  double saved_delta; /* the same from O as it was rounded */
  float maximum, sum; /* of the softmax */
  float unfused_delta;
  bool wide; /* attune_row_unfused_score */
} attune_row_statistics;

/* From Q, K, V and dO alone. */
void attune_statistics_of_row(attune_row_statistics *out, const attune_problem *problem, const attune_inputs *inputs,
                              int batch, int head, int index);
/* From LSE and O, which inputs has: for problems whose rows are too many to compute. */
void attune_statistics_given(attune_row_statistics *out, const attune_problem *problem, const attune_inputs *inputs,
                             int batch, int head, int index);

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
