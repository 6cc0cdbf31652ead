/* Private to tuner/verify/ and its tests: the tensors of a problem, drawing them, rows in double precision. */
#ifndef ATTUNE_VERIFIER_H
#define ATTUNE_VERIFIER_H

#include "tuner/tuner.h"

/* ---- tensors.c: where the rows of the tensors lie, and what the verifier knows of each besides attune_tensor_table */

/* A tensor as (batch, seqlen, heads, width), width contiguous; width 0: the problem has none. */
typedef struct {
  attune_strides strides; /* in elements */
  int64_t batch, seqlen, heads, width;
} attune_layout;

/* Those of a run that are tensors of their own, which stand before block masks and arrays of params. */
#define ATTUNE_VERIFIED_TENSORS ATTUNE_TENSOR_ROW_OFFSETS
typedef enum { ATTUNE_MAGNITUDE_ONE, ATTUNE_MAGNITUDE_QK, ATTUNE_MAGNITUDE_V } attune_magnitude;
typedef struct {
  size_t host;                /* offset of the caller's pointer in attune_inputs; 0: it is no input */
  attune_magnitude magnitude; /* how it is drawn */
} attune_verified_row;
extern const attune_verified_row attune_verified_table[ATTUNE_VERIFIED_TENSORS];

/* The param whose gradient it is; -1: of none. */
int attune_param_of(attune_tensor_id id);
attune_layout attune_layout_of(const attune_problem *problem, attune_tensor_id id);
/* The same with the arrays of a run, which say how large their gradients are. */
attune_layout attune_layout_in(const attune_problem *problem, attune_tensor_id id, const attune_run_inputs *run);
/* Elements from the first to the last, gaps included; 0 if there is no such tensor. */
int64_t attune_layout_extent(const attune_layout *layout);
int64_t attune_layout_offset(const attune_layout *layout, int64_t batch, int64_t row, int64_t head);

/* The lengths of a problem's sequences, (batch) each. */
typedef struct {
  const int32_t *of[2]; /* by attune_side */
} attune_lengths;
/* Rows of sequence `batch` that kernels may touch, and elements of each: the rest is beyond its lengths. Where one
 * sequence serves the whole batch, those of the longest. */
int64_t attune_rows_in_use(const attune_tensor_row *tensor, const attune_layout *layout, const attune_lengths *lengths,
                           int64_t batch);
int64_t attune_columns_in_use(const attune_tensor_row *tensor, const attune_layout *layout,
                              const attune_lengths *lengths, int64_t batch);

/* ---- draw.c: inputs in host memory ---- */

/* A tensor's elements at its layout, malloc'ed, or NULL: those of `from`, or if that is NULL from a normal distribution
 * of mean 0 times magnitude, the same for the same seed on any number of cores. What is beyond lengths or between rows
 * is NaN (-1 of integers), so that a kernel that reads there shows it. lengths: NULL: the layout's. masks: some of the
 * elements are what hides a key (bias_masks of attune_drawing). */
void *attune_draw_tensor(const attune_tensor_row *tensor, const attune_layout *layout, const attune_lengths *lengths,
                         attune_dtype dtype, const void *from, uint64_t seed, double magnitude, bool masks);
/* The same of elements of the problem's dtype, without lengths. */
uint16_t *attune_draw(const attune_layout *layout, attune_dtype dtype, uint64_t seed, double magnitude);
/* Lengths of `batch` sequences of at most bound_q queries and bound_k keys. Sequence i is of the kind seed + i, modulo
 * ATTUNE_LENGTH_KINDS: both odd; all queries and an odd number of keys; ... */
void attune_draw_lengths(int32_t *seqlens_q, int32_t *seqlens_k, int64_t batch, int32_t bound_q, int32_t bound_k,
                         uint64_t seed);

/* ---- rows.c: the rows that are computed in double precision ---- */

/* A query and its head; or a key and its key head; or a row of another output, as its layout has it. */
typedef struct {
  int batch, head, row;
  int bucket;
  int column; /* the first one that is known */
} attune_row;
/* Errors fall with the number of keys that a row sees, and so do the outputs: each power of two has its own bound.
 * Bucket 0 sees no key, bucket 1 one to three, bucket i from 2^i on. Of a key it is the queries that see it, in all
 * heads that share it. */
enum { ATTUNE_BUCKETS = 32 };

typedef struct {
  attune_row *rows;
  int64_t count;
  bool all;                               /* every row of the problem */
  int64_t width;                          /* columns that are known of each; 0: all */
  double *exact[ATTUNE_VERIFIED_TENSORS]; /* of outputs: count x width; else NULL */
  /* of outputs: the largest; 0 where the problem has no such rows */
  double unfused_errors[ATTUNE_VERIFIED_TENSORS][ATTUNE_BUCKETS];
} attune_rows;
/* Whether all rows of both sides are few enough to be computed in about a second of this machine's cores. */
bool attune_rows_affordable(const attune_problem *problem);
/* Chooses rows of every bucket, as many as about a second of this machine's cores can compute, or takes all, and
 * computes what the problem's operation writes of them. inputs holds all that the problem has, lengths included;
 * backward has rows of either side, and unless they are all needs the O and LSE that forward wrote. */
attune_status attune_rows_create(attune_rows *out, const attune_problem *problem, attune_side side,
                                 const attune_inputs *inputs, uint64_t seed, bool all);
void attune_rows_free(attune_rows *rows);
/* By the bounds of the mask alone, in a sequence of these lengths: with a pattern a row may see fewer keys. */
int attune_bucket(const attune_problem *problem, attune_side side, int32_t seqlen_q, int32_t seqlen_k, int row);
/* Of an output's rows. */
attune_side attune_side_of(attune_tensor_id id);
/* Which rows an output's are: a side's, or those of a gradient that has a shape of its own. */
typedef enum {
  ATTUNE_ROWS_OF_QUERIES = ATTUNE_QUERIES,
  ATTUNE_ROWS_OF_KEYS = ATTUNE_KEYS,
  ATTUNE_ROWS_OF_DBIAS,
  ATTUNE_ROWS_OF_DSINKS,
  ATTUNE_ROWS_OF_DPARAMS, /* the first of ATTUNE_PARAMS_MAX */
  ATTUNE_ROWS_COUNT = ATTUNE_ROWS_OF_DPARAMS + ATTUNE_PARAMS_MAX
} attune_rows_of;
attune_rows_of attune_rows_of_output(attune_tensor_id id);
/* What bounds the errors of each bucket, from its rows' largest and their number: a bucket of few rows takes in its
 * neighbours. */
void attune_pool_errors(double out[ATTUNE_BUCKETS], const double largest[ATTUNE_BUCKETS],
                        const int64_t population[ATTUNE_BUCKETS]);
/* What the backward pass needs of every query row, (batch, heads_q, seqlen_q): from Q, K and V, or unless all are
 * computed from O and LSE. malloc'ed; NULL: no memory. */
struct attune_row_statistics *attune_statistics_of_rows(const attune_problem *problem, const attune_inputs *inputs,
                                                        bool all);

/* ---- score_gradients.c: the gradients of the bias, the sinks and arrays of params ---- */

/* Of the bucket of a row of dbias. */
int attune_bucket_of_dbias(const attune_problem *problem, int row);
/* Fills in the sets from ATTUNE_ROWS_OF_DBIAS on that the problem wants: all elements, or of the bias some, and none of
 * arrays. */
attune_status attune_score_gradients_create(attune_rows sets[ATTUNE_ROWS_COUNT], const attune_problem *problem,
                                            const attune_inputs *inputs, uint64_t seed, bool all);

/* ---- a verifier ---- */

enum { ATTUNE_POISON = 0xff, ATTUNE_GUARD = 4096 /* bytes, on a GPU */ };

/* A tensor on the device. On a GPU poison lies before and behind it, so that an access that is off by a little shows;
 * the simulator reports such an access by itself. */
typedef struct {
  attune_layout layout;
  int64_t extent; /* elements; 0: there is no such tensor */
  size_t element; /* bytes of one */
  char *memory;   /* guard, elements, guard */
  char *host;     /* of an output: what was read back of all of it; else NULL */
  bool pinned;
  char *reference; /* of an output: host as the reference family left it, or NULL */
  char *before;    /* of an output that is added to: the elements before a run, else NULL */
} attune_verified_tensor;

struct attune_verifier {
  attune_backend *backend;
  attune_problem problem; /* resolved */
  attune_inputs inputs;   /* the caller's */
  size_t guard;           /* bytes before and behind what is on the device */
  attune_verified_tensor tensors[ATTUNE_VERIFIED_TENSORS];
  attune_run_inputs run;             /* on the device, what a kernel is given */
  char *arrays[ATTUNE_PARAMS_MAX];   /* guard, elements, guard */
  attune_host_block_mask block_mask; /* drawn */
  char *workspace;                   /* guard, workspace, guard */
  size_t workspace_capacity;         /* without guards */
  size_t workspace_size;             /* what the last check asked for */
  int32_t *lengths[2];               /* (batch), by attune_side */
  float *values;                     /* of every 16-bit element, by its bits */
  bool *spoiled; /* (batch, heads_kv, head_dim_v): some key's value is not finite there; NULL: none is */
  attune_rows rows[ATTUNE_ROWS_COUNT]; /* by attune_rows_of, of the inputs that were drawn last */
  double score_rounding;               /* of q.k as a sum of floats, where its terms cancel */
  double weight_rounding;              /* of O, where scores are so large that not even a row's only weight is 1 */
  /* how far an output may be from the reference family's */
  double reference_apart[ATTUNE_VERIFIED_TENSORS][ATTUNE_BUCKETS];
  attune_program *reference; /* made when first needed */
  attune_program *forward;   /* likewise: what makes O and LSE of a backward problem that is too large for the host */
  void *saved[2];            /* backward: O and LSE, in host memory */
};

/* ---- saved.c ---- */

/* Backward: O and LSE of the inputs, on the device and in `inputs`: computed here where all is, else by the forward
 * pass of the reference family on the device. */
attune_status attune_verifier_save(attune_verifier *verifier, attune_inputs *inputs, bool here);

/* ---- verifier.c, compare.c ---- */

/* Elements of the output, as read back. */
const char *attune_output_elements(const attune_verifier *verifier, attune_tensor_id id);
/* twice the unfused error of the bucket, of gradients three times, plus 1e-5, plus weight_rounding */
double attune_bound_of_bucket(const attune_verifier *verifier, attune_tensor_id id, int bucket);
void attune_compare_outputs(attune_verifier *verifier, attune_verdict *verdict);
/* ATTUNE_OK, or a mismatch in verdict if the kernel wrote past its workspace. */
attune_status attune_compare_workspace(attune_verifier *verifier, attune_verdict *verdict);

#endif
