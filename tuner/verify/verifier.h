/* Private to tuner/: what a bed is made of. */
#ifndef ATTUNE_VERIFIER_H
#define ATTUNE_VERIFIER_H

#include "tuner/tuner.h"

/* ---- bed_inputs.c: tensors in host memory ---- */

/* One of q, k, v, o: its shape and where its rows are. */
typedef struct {
  attune_strides strides;
  int64_t batch, seqlen, heads, head_dim;
} attune_layout;
attune_layout attune_layout_q(const attune_problem *problem);
attune_layout attune_layout_k(const attune_problem *problem);
attune_layout attune_layout_v(const attune_problem *problem);
attune_layout attune_layout_o(const attune_problem *problem);
/* Elements from the first to the last, gaps included. */
int64_t attune_layout_extent(const attune_layout *layout);
/* The same of the bias: to the last key of the last row. */
int64_t attune_bias_extent(const attune_problem *problem);
bool attune_layout_contiguous(const attune_layout *layout);
int64_t attune_layout_offset(const attune_layout *layout, int64_t batch, int64_t row, int64_t head);

/* Elements from a normal distribution of mean 0 times magnitude, the same for the same seed on any number of cores;
 * what lies between the rows is NaN, so that a kernel that reads there shows it. malloc'ed, or NULL. */
uint16_t *attune_draw(const attune_layout *layout, attune_dtype dtype, uint64_t seed, double magnitude);

/* ---- bed_rows.c: the rows that are judged in double precision ---- */

typedef struct {
  int batch, head, row;
  int bucket;
} attune_row;
/* Errors fall with the number of keys that a row sees, and so do the outputs: each power of two has its own bound.
 * Bucket 0 sees no key, bucket 1 one to three, bucket i from 2^i on. */
enum { ATTUNE_BUCKETS = 32 };

typedef struct {
  attune_row *rows;
  int64_t count;
  bool all;                              /* every row of the problem */
  double *o, *lse;                       /* exact: count x head_dim_v, count */
  double unfused_errors[ATTUNE_BUCKETS]; /* the largest; 0 where the problem has no such rows */
} attune_rows;
/* Chooses rows of every bucket, as many as about a second of this machine's cores can judge, or takes all, and judges
 * them. */
attune_status attune_rows_create(attune_rows *out, const attune_problem *problem, const attune_inputs *given,
                                 const uint16_t *q, const uint16_t *k, const uint16_t *v, uint64_t seed, bool all);
void attune_rows_free(attune_rows *rows);
/* By the bounds of the mask alone: with a pattern a row may see fewer keys. */
int attune_bucket(const attune_problem *problem, int row);

#endif
