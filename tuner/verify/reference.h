/* Private to tuner/: elements of 16 bits, for the verifier and the verbs; and a query row, pair by pair. */
#ifndef ATTUNE_REFERENCE_H
#define ATTUNE_REFERENCE_H

#include "tuner/tuner.h"

void attune_elements_to_floats(float *out, attune_dtype dtype, const uint16_t *in, int count);
/* The nearest element, as a float: what attune_to_element and back give, faster. */
float attune_round_to_element(attune_dtype dtype, float value);
/* width is a multiple of 8. Eight sums at a time, since a single one waits for every addition. */
double attune_exact_dot(const float *a, const float *b, int width);
float attune_float_dot(const float *a, const float *b, int width);

enum { ATTUNE_HEAD_DIM_MAX = 256 };

/* One query row and the keys that it may see: [first, last). */
typedef struct {
  const attune_problem *problem;
  float q[ATTUNE_HEAD_DIM_MAX];
  const uint16_t *k, *v;      /* of the row's batch and key head */
  int32_t seqlen_q, seqlen_k; /* of the row's sequence */
  int64_t first, last;
  attune_expression *mask, *score; /* or NULL */
  const uint16_t *bias;            /* of the row, or NULL */
  attune_value values[ATTUNE_PARAMS_MAX];
  attune_scope scope;
  const int32_t *kept; /* blocks of the row, if the problem has a block mask */
  int32_t kept_count;
} attune_query_row;

/* inputs holds all that the problem has; index is below the sequence's length. attune_row_close frees. */
void attune_row_open(attune_query_row *row, const attune_problem *problem, const attune_inputs *inputs, int batch,
                     int head, int index);
void attune_row_close(attune_query_row *row);
/* Of a key in [first, last): whether it is seen; its score in double precision; and as a framework keeps it, rounded to
 * the dtype unless wide, which is for rows whose scores are beyond fp16's range, where a framework answers NaN. */
bool attune_row_sees(attune_query_row *row, int64_t key);
double attune_row_score(attune_query_row *row, int64_t key);
float attune_row_unfused_score(attune_query_row *row, int64_t key, bool wide);
/* Before softcap or an expression changes it: scale * q.k. */
double attune_row_scaled(attune_query_row *row, int64_t key);
float attune_row_unfused_scaled(attune_query_row *row, int64_t key, bool wide);
/* Sets what expressions know of the pair. */
void attune_row_scope(attune_query_row *row, int64_t key, double scaled);
/* -inf if no key is visible; NaN if any score is not finite, but for those that an expression hides by -inf. */
float attune_row_unfused_maximum(attune_query_row *row, bool wide);

#endif
