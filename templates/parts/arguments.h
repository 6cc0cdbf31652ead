/* What kernels are called with, passed by value. Read by the C that launches and by the kernels alike, so it is plain C
 * and C++ with fixed-size types and no include. Strides are in elements, offsets are 64-bit. */
#ifndef ATTUNE_ARGUMENTS_H
#define ATTUNE_ARGUMENTS_H

/* What an expression's name stands for; as attune_value of attune.h. */
struct attune_argument {
  const void *array;
  long long count;
  int integer;
  float real;
};

/* What the kernel of block masks is to do: count the blocks of each row; fill in row_offsets, indices and row_order;
 * fill in column_offsets and row_indices from them; or check the rows, or the columns, that attune_arguments has. */
enum attune_block_mask_step {
  ATTUNE_BLOCK_MASK_COUNT = 0,
  ATTUNE_BLOCK_MASK_FILL = 1,
  ATTUNE_BLOCK_MASK_TRANSPOSE = 2,
  ATTUNE_BLOCK_MASK_CHECK_ROWS = 3,
  ATTUNE_BLOCK_MASK_CHECK_COLUMNS = 4
};
/* What they are built from, as attune_block_mask_source_kind of attune.h. */
enum attune_block_mask_origin {
  ATTUNE_BLOCK_MASK_FROM_EXPRESSION = 0,
  ATTUNE_BLOCK_MASK_FROM_BYTES = 1,
  ATTUNE_BLOCK_MASK_FROM_BLOCKS = 2
};
/* Which of a block mask's rules a row or a column breaks. */
enum attune_block_mask_fault {
  ATTUNE_BLOCK_MASK_SOUND = 0,
  ATTUNE_BLOCK_MASK_BAD_ROW = 1,       /* its begin and end */
  ATTUNE_BLOCK_MASK_BAD_COLUMN = 2,    /* there is no such column */
  ATTUNE_BLOCK_MASK_UNSORTED = 3,      /* or twice the same */
  ATTUNE_BLOCK_MASK_BAD_ORDER = 4,     /* the order names it never, or more than once */
  ATTUNE_BLOCK_MASK_NOT_TRANSPOSED = 5 /* the column has other blocks than the rows have in it */
};
/* Columns that a warp transposes: at most 32. */
enum { ATTUNE_BLOCK_MASK_STRIP = 32 };
struct attune_block_mask_work {
  int step, kind;     /* attune_block_mask_step, attune_block_mask_origin */
  const void *source; /* attune_block_mask_source of attune.h */
  long long count;
  int *counts; /* of each row; or the attune_block_mask_fault of each row and then of each column */
  int *row_offsets, *indices, *row_order, *column_offsets, *row_indices;
};

/* n / d for 0 <= n < 2^31 is n * multiplier >> shift: a division of a kernel's takes it a hundred clocks. */
struct attune_divisor {
  unsigned multiplier, shift;
};

struct attune_arguments {
  const void *q, *k, *v;
  void *o;
  float *lse;           /* (batch, heads_q, seqlen_q) */
  const int *seqlens_q; /* (batch), or null: seqlen_q for all */
  const int *seqlens_k;
  long long q_batch, q_seqlen, q_heads;
  long long k_batch, k_seqlen, k_heads;
  long long v_batch, v_seqlen, v_heads;
  long long o_batch, o_seqlen, o_heads;
  int batch, heads_q, group;                              /* group: query heads on one key head */
  int seqlen_q, seqlen_k;                                 /* upper bounds where seqlens_* are given */
  int tiles_m;                                            /* ceil(seqlen_q / tile_m); of clusters' tiles together */
  struct attune_divisor by_tiles_m, by_heads_q, by_heads; /* by_heads: heads_q * batch */
  int align_end;                 /* 1: the mask's diagonal ends at the last key (shift = seqlen_k - seqlen_q) */
  int window_left, window_right; /* visible: i+shift-left <= j <= i+shift+right; unbounded: 2^30 - 1 */
  float log2_scale; /* score times this is the exponent of 2; never 0, never negative (see score kinds in generator) */
  float cap_scale; /* softcap: the exponent is log2_scale * tanh(cap_scale * q.k); expression: of q * k, to the score */
  const float *sinks; /* (heads_q) */
  const void *bias;
  long long bias_batch, bias_seqlen, bias_heads;
  struct attune_argument values[8];
  const int *block_mask_row_offsets, *block_mask_indices, *block_mask_row_order; /* attune_block_mask of attune.h */
  int block_mask_capacity, block_mask_batch, block_mask_heads;
  unsigned *counter;      /* of what blocks have taken; each launch begins with 0 */
  float *o_partial;       /* of splits: (splits, batch, heads_q, seqlen_q, head_dim_v), each split's O, normalised */
  float *softmax_partial; /* (splits, batch, heads_q, seqlen_q, 2): of each row the largest score, and the sum */
  int work_tiles;         /* tiles of one split */
  struct attune_divisor by_work_tiles;
#if !OPERATION_FORWARD && !OPERATION_COMBINE /* these kernels are called with what stands before */
  const int *block_mask_column_offsets, *block_mask_row_indices;
#endif
};

/* What the kernel that builds and checks block masks is called with (templates/block_mask/builder.cu). */
struct attune_block_mask_arguments {
  struct attune_arguments problem;
  struct attune_block_mask_work work;
};

/* What the kernels of the backward pass have besides (templates/backward/). */
struct attune_gradients {
  const void *d_o;
  const float *dlse; /* (batch, heads_q, seqlen_q), or null: 0 */
  void *dq, *dk, *dv;
  void *dbias;       /* strides of bias */
  float *dsinks;     /* (heads_q) */
  float *dparams[8]; /* of values; null: not wanted */
  long long do_batch, do_seqlen, do_heads;
  long long dq_batch, dq_seqlen, dq_heads;
  long long dk_batch, dk_seqlen, dk_heads;
  long long dv_batch, dv_seqlen, dv_heads;
  /* (batch, heads_q, rows_padded, 2): of each query row LSE in base 2, with score expressions natural, inf where it
   * sees no key and past its sequence's end; and the product of O and its gradient, less dlse. */
  float *row_terms;
  float *dq_partial; /* sums of what blocks add to dQ, before scale: as templates/backward/dq_partial.h has them */
  int rows_padded;   /* seqlen_q, rounded up */
  int tiles_n;       /* ceil(seqlen_k / tile_n) */
  float scale;       /* the derivative of the natural score with respect to q.k, but for what softcap does */
  /* Sizes of dbias: 1 where it is a sum over the dimension. Where there is none, those of the scores. */
  int dbias_batch, dbias_heads, dbias_rows;
};
struct attune_backward_arguments {
  struct attune_arguments problem;
  struct attune_gradients gradients;
};

/* Of any kernel: which member it is called with, its operation says. All begin with `problem`. */
union attune_kernel_arguments {
  struct attune_arguments problem; /* forward, combine */
  struct attune_block_mask_arguments block_mask;
  struct attune_backward_arguments backward; /* backward, delta, dq */
};

/* What TMA reads to find a tile (CUDA driver API, CUtensorMap); opaque to kernels. */
struct __attribute__((aligned(64))) attune_tensor_map {
  unsigned long long opaque[16];
};

/* The second argument of kernels that move tiles by map: Q, K, V and O, backward dO, as (head_dim, seqlen, heads,
 * batch). */
enum { ATTUNE_TENSOR_MAPS = 4 };
struct attune_tensor_maps {
  struct attune_tensor_map q, k, v, o;
};

#endif
