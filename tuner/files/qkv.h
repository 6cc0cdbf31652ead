/* Private to tuner/: q, k and v of a file, and what the backward pass reads, as a problem and its elements. */
#ifndef ATTUNE_QKV_H
#define ATTUNE_QKV_H

#include "tuner/tuner.h"

typedef struct {
  attune_problem problem; /* shapes from the file, the rest from the flags; wants LSE */
  char dtype[8];          /* of q in the file: "F32", "F16", "BF16" */
  uint16_t *q, *k, *v;    /* contiguous, in the problem's dtype; malloc'ed */
  uint16_t *bias;         /* of the tensor bias (batch or 1, heads or 1, queries or 1, keys), or NULL */
  float *sinks;           /* of the tensor sinks (heads), or NULL */
  /* Backward: of the tensors of these names ("do" for d_o), or NULL. o and lse are both there, or none. */
  uint16_t *d_o, *o;
  float *dlse, *lse;
  void *arrays[ATTUNE_PARAMS_MAX];   /* of tensors "param.NAME", I32 or F32 */
  attune_host_block_mask block_mask; /* of the tensor block_mask, if there is one */
  attune_inputs given;
} attune_qkv;

attune_status attune_qkv_read(attune_qkv *out, const char *path, const attune_flags *flags);
void attune_qkv_free(attune_qkv *qkv);

/* Elements of dtype as a tensor's "F32", "F16" or "BF16"; malloc'ed, NULL without memory. */
void *attune_elements_to_tensor(size_t *size, const char *tensor_dtype, attune_dtype dtype, const uint16_t *elements,
                                int64_t count);

#endif
