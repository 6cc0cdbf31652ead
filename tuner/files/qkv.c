/* Tensors of files and elements of problems: reading q, k and v, rounding to the problem's dtype and back. */
#include "tuner/files/qkv.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/files/problem_parts.h"
#include "tuner/verify/parallel.h"

enum { GRAIN = 1 << 14 };

/* ---- elements ---- */

typedef enum { TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_OTHER } tensor_kind;

static tensor_kind kind_of(const char *dtype) {
  if (strcmp(dtype, "F32") == 0) return TENSOR_F32;
  if (strcmp(dtype, "F16") == 0) return TENSOR_F16;
  return strcmp(dtype, "BF16") == 0 ? TENSOR_BF16 : TENSOR_OTHER;
}

/* A file's data need not be aligned. */
static double load(tensor_kind kind, const void *data, int64_t index) {
  float wide;
  uint16_t half;
  if (kind == TENSOR_F32) {
    memcpy(&wide, (const char *)data + index * (int64_t)sizeof wide, sizeof wide);
    return (double)wide;
  }
  memcpy(&half, (const char *)data + index * (int64_t)sizeof half, sizeof half);
  return attune_from_element(kind == TENSOR_F16 ? ATTUNE_FP16 : ATTUNE_BF16, half);
}

typedef struct {
  const void *data;
  tensor_kind kind;
  attune_dtype dtype;
  uint16_t *elements;
  atomic_llong beyond; /* finite before, not after */
} narrowing;

static void narrow_range(void *user, int64_t begin, int64_t end) {
  narrowing *self = user;
  long long beyond = 0;
  for (int64_t i = begin; i < end; i++) {
    const double value = load(self->kind, self->data, i);
    self->elements[i] = attune_to_element(self->dtype, value);
    if (isfinite(value) && !isfinite(attune_from_element(self->dtype, self->elements[i]))) beyond++;
  }
  atomic_fetch_add(&self->beyond, beyond);
}

static attune_status narrow(uint16_t **out, const attune_tensor *tensor, attune_dtype dtype) {
  int64_t count = 1; /* the file's size bounds it */
  for (int i = 0; i < tensor->rank; i++)
    count *= tensor->shape[i];
  narrowing self = {.data = tensor->data, .kind = kind_of(tensor->dtype), .dtype = dtype};
  self.elements = malloc((size_t)count * sizeof *self.elements);
  if (self.elements == NULL)
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %lld elements of %s", (long long)count, tensor->name);
  attune_parallel(count, GRAIN, narrow_range, &self);
  if (self.beyond > 0) {
    free(self.elements);
    return attune_fail(ATTUNE_BAD_FILE, "%s has %lld elements beyond the largest %s, %g; use --dtype %s", tensor->name,
                       (long long)self.beyond, dtype == ATTUNE_FP16 ? "fp16" : "bf16",
                       dtype == ATTUNE_FP16 ? 65504.0 : 0x1.fep127,
                       dtype == ATTUNE_FP16 ? "bf16, or scale the input" : "fp16 after scaling the input");
  }
  *out = self.elements;
  return ATTUNE_OK;
}

typedef struct {
  const uint16_t *elements;
  attune_dtype dtype;
  tensor_kind kind;
  void *data;
} widening;

static void widen_range(void *user, int64_t begin, int64_t end) {
  const widening *self = user;
  for (int64_t i = begin; i < end; i++) {
    const double value = attune_from_element(self->dtype, self->elements[i]);
    if (self->kind == TENSOR_F32)
      ((float *)self->data)[i] = (float)value;
    else
      ((uint16_t *)self->data)[i] = attune_to_element(self->kind == TENSOR_F16 ? ATTUNE_FP16 : ATTUNE_BF16, value);
  }
}

void *attune_elements_to_tensor(size_t *size, const char *tensor_dtype, attune_dtype dtype, const uint16_t *elements,
                                int64_t count) {
  const tensor_kind kind = kind_of(tensor_dtype);
  *size = (size_t)count * (kind == TENSOR_F32 ? sizeof(float) : sizeof(uint16_t));
  widening self = {elements, dtype, kind, malloc(*size)};
  if (self.data != NULL) attune_parallel(count, GRAIN, widen_range, &self);
  return self.data;
}

/* ---- q, k, v ---- */

enum { BATCH, SEQLEN, HEADS, HEAD_DIM, RANK };

static attune_status find(const attune_tensor **out, const attune_safetensors *file, const char *name) {
  *out = attune_safetensors_find(file, name);
  if (*out == NULL)
    return attune_fail(ATTUNE_BAD_FILE,
                       "no tensor \"%s\"; q, k and v of shape (batch, seqlen, heads, head_dim) are needed", name);
  if ((*out)->rank != RANK)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%s\" has %d dimensions, it needs 4: (batch, seqlen, heads, head_dim)",
                       name, (*out)->rank);
  if (kind_of((*out)->dtype) == TENSOR_OTHER)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%s\" is %s, it must be F32, F16 or BF16", name, (*out)->dtype);
  for (int i = 0; i < RANK; i++)
    if ((*out)->shape[i] > INT32_MAX)
      return attune_fail(ATTUNE_BAD_SIZE, "tensor \"%s\": dimension %d is %lld, at most %d is possible", name, i,
                         (long long)(*out)->shape[i], INT32_MAX);
  return ATTUNE_OK;
}

static attune_status agree(const attune_tensor *a, const attune_tensor *b, int dimension, const char *what) {
  if (a->shape[dimension] == b->shape[dimension]) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_FILE, "%s of \"%s\" is %lld, that of \"%s\" is %lld; they must be the same", what,
                     a->name, (long long)a->shape[dimension], b->name, (long long)b->shape[dimension]);
}

static attune_status read_bias(attune_qkv *out, const attune_safetensors *file) {
  const attune_tensor *bias = attune_safetensors_find(file, "bias");
  if (bias == NULL) return ATTUNE_OK;
  if (bias->rank != RANK || kind_of(bias->dtype) == TENSOR_OTHER || bias->shape[3] != out->problem.seqlen_k)
    return attune_fail(ATTUNE_BAD_FILE,
                       "tensor \"bias\" must be F32, F16 or BF16 of shape (batch or 1, heads or 1, seqlen_q or 1, %d)",
                       out->problem.seqlen_k);
  const attune_status status = attune_bias_of_sizes(&out->problem, bias->shape[0], bias->shape[1], bias->shape[2]);
  return status == ATTUNE_OK ? narrow(&out->bias, bias, out->problem.dtype) : status;
}

static attune_status floats_of(float **out, const attune_tensor *tensor) {
  int64_t count = 1; /* the file's size bounds it */
  for (int i = 0; i < tensor->rank; i++)
    count *= tensor->shape[i];
  *out = malloc((size_t)count * sizeof **out);
  if (*out == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %s", tensor->name);
  for (int64_t i = 0; i < count; i++)
    (*out)[i] = (float)load(kind_of(tensor->dtype), tensor->data, i);
  return ATTUNE_OK;
}

static attune_status read_sinks(attune_qkv *out, const attune_safetensors *file) {
  const attune_tensor *sinks = attune_safetensors_find(file, "sinks");
  if (sinks == NULL) return ATTUNE_OK;
  const tensor_kind kind = kind_of(sinks->dtype);
  if (sinks->rank != 1 || kind == TENSOR_OTHER || sinks->shape[0] != out->problem.heads_q)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"sinks\" must be F32, F16 or BF16 of shape (%d)",
                       out->problem.heads_q);
  out->problem.want_sinks = 1;
  return floats_of(&out->sinks, sinks);
}

/* One that is shaped as O. */
static attune_status read_like_o(uint16_t **out, const attune_problem *p, const attune_safetensors *file,
                                 const char *name) {
  const attune_tensor *tensor = attune_safetensors_find(file, name);
  if (tensor == NULL) return ATTUNE_OK;
  if (tensor->rank != RANK || kind_of(tensor->dtype) == TENSOR_OTHER || tensor->shape[BATCH] != p->batch ||
      tensor->shape[SEQLEN] != p->seqlen_q || tensor->shape[HEADS] != p->heads_q ||
      tensor->shape[HEAD_DIM] != p->head_dim_v)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%s\" must be F32, F16 or BF16 of shape (%d, %d, %d, %d)", name,
                       p->batch, p->seqlen_q, p->heads_q, p->head_dim_v);
  return narrow(out, tensor, p->dtype);
}

/* One that is shaped as LSE. */
static attune_status read_like_lse(float **out, const attune_problem *p, const attune_safetensors *file,
                                   const char *name) {
  const attune_tensor *tensor = attune_safetensors_find(file, name);
  if (tensor == NULL) return ATTUNE_OK;
  if (tensor->rank != 3 || kind_of(tensor->dtype) == TENSOR_OTHER || tensor->shape[0] != p->batch ||
      tensor->shape[1] != p->heads_q || tensor->shape[2] != p->seqlen_q)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%s\" must be F32, F16 or BF16 of shape (%d, %d, %d)", name, p->batch,
                       p->heads_q, p->seqlen_q);
  return floats_of(out, tensor);
}

/* What the backward pass reads besides. */
static attune_status read_backward(attune_qkv *out, const attune_safetensors *file) {
  const attune_problem *p = &out->problem;
  if (p->operation != ATTUNE_BACKWARD) return ATTUNE_OK;
  attune_status status = read_like_o(&out->d_o, p, file, "do");
  if (status == ATTUNE_OK) status = read_like_lse(&out->dlse, p, file, "dlse");
  if (status == ATTUNE_OK) status = read_like_o(&out->o, p, file, "o");
  if (status == ATTUNE_OK) status = read_like_lse(&out->lse, p, file, "lse");
  if (status != ATTUNE_OK || (out->o == NULL) == (out->lse == NULL)) return status;
  return attune_fail(ATTUNE_BAD_FILE,
                     "there is a tensor \"%s\" and no \"%s\"; the gradients need both, or neither: then both are "
                     "computed",
                     out->o != NULL ? "o" : "lse", out->o != NULL ? "lse" : "o");
}

/* Tensors "param.NAME" are arrays for expressions. */
static attune_status read_params(attune_qkv *out, const attune_safetensors *file) {
  static const char prefix[] = "param.";
  const attune_tensor *tensor;
  int count = 0;
  for (int i = 0; (tensor = attune_safetensors_at(file, i)) != NULL; i++) {
    if (strncmp(tensor->name, prefix, strlen(prefix)) != 0) continue;
    const bool integers = strcmp(tensor->dtype, "I32") == 0;
    if (!integers && strcmp(tensor->dtype, "F32") != 0)
      return attune_fail(ATTUNE_BAD_FILE, "tensor \"%s\" is %s; a param is I32 or F32", tensor->name, tensor->dtype);
    if (count == ATTUNE_PARAMS_MAX) return attune_fail(ATTUNE_BAD_FILE, "more than %d params", ATTUNE_PARAMS_MAX);
    void *copy = malloc(tensor->size > 0 ? tensor->size : 1); /* a file's data need not be aligned */
    if (copy == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %s", tensor->name);
    memcpy(copy, tensor->data, tensor->size);
    out->arrays[count++] = copy;
    const attune_status status = attune_inputs_array(&out->given, &out->problem, tensor->name + strlen(prefix),
                                                     integers ? ATTUNE_PARAM_INT_ARRAY : ATTUNE_PARAM_FLOAT_ARRAY, copy,
                                                     (int64_t)(tensor->size / sizeof(int32_t)));
    if (status != ATTUNE_OK) return status;
  }
  return ATTUNE_OK;
}

/* Which blocks are kept, as a sparse block mask; the problem's density is theirs. */
static attune_status read_block_mask(attune_qkv *out, const attune_safetensors *file, int32_t block) {
  attune_problem *p = &out->problem;
  const attune_tensor *mask = attune_safetensors_find(file, "block_mask");
  if (mask == NULL) return ATTUNE_OK;
  const int64_t rows = attune_blocks_of(p->seqlen_q, block), columns = attune_blocks_of(p->seqlen_k, block);
  const bool bytes = strcmp(mask->dtype, "U8") == 0 || strcmp(mask->dtype, "BOOL") == 0;
  const bool fits = mask->rank == RANK && (mask->shape[0] == 1 || mask->shape[0] == p->batch) &&
                    (mask->shape[1] == 1 || mask->shape[1] == p->heads_q) && mask->shape[2] == rows &&
                    mask->shape[3] == columns;
  if (!bytes || !fits)
    return attune_fail(ATTUNE_BAD_FILE,
                       "tensor \"block_mask\" must be U8 or BOOL of shape (%d or 1, %d or 1, %lld, %lld): blocks of %d "
                       "x %d (--block-size)",
                       p->batch, p->heads_q, (long long)rows, (long long)columns, block, block);
  p->block_size = block;
  attune_status status = attune_problem_check(p);
  if (status == ATTUNE_OK)
    status = attune_host_block_mask_of_mask(&out->block_mask, p, (int32_t)mask->shape[0], (int32_t)mask->shape[1],
                                            mask->data);
  if (status != ATTUNE_OK) return status;
  p->block_density = (float)out->block_mask.view.capacity / (float)mask->size;
  out->given.block_mask = out->block_mask.view;
  return ATTUNE_OK;
}

static attune_status read_tensors(attune_qkv *out, const attune_safetensors *file, const attune_flags *flags) {
  attune_status status;
  const attune_tensor *q, *k, *v;
  if ((status = find(&q, file, "q")) != ATTUNE_OK) return status;
  if ((status = find(&k, file, "k")) != ATTUNE_OK) return status;
  if ((status = find(&v, file, "v")) != ATTUNE_OK) return status;
  if ((status = agree(q, k, BATCH, "the batch")) != ATTUNE_OK) return status;
  if ((status = agree(k, v, BATCH, "the batch")) != ATTUNE_OK) return status;
  if ((status = agree(k, v, SEQLEN, "the seqlen")) != ATTUNE_OK) return status;
  if ((status = agree(k, v, HEADS, "the number of heads")) != ATTUNE_OK) return status;
  if ((status = agree(q, k, HEAD_DIM, "the head_dim")) != ATTUNE_OK) return status;

  attune_problem *problem = &out->problem;
  *problem = flags->problem;
  if (!attune_flags_seen(flags, attune_problem_field_of("dtype")))
    problem->dtype = kind_of(q->dtype) == TENSOR_F16 ? ATTUNE_FP16 : ATTUNE_BF16;
  problem->batch = (int32_t)q->shape[BATCH];
  problem->seqlen_q = (int32_t)q->shape[SEQLEN];
  problem->heads_q = (int32_t)q->shape[HEADS];
  problem->head_dim = (int32_t)q->shape[HEAD_DIM];
  problem->seqlen_k = (int32_t)k->shape[SEQLEN];
  problem->heads_kv = (int32_t)k->shape[HEADS];
  problem->head_dim_v = (int32_t)v->shape[HEAD_DIM];
  attune_problem_drop_strides(problem);
  problem->want_lse = 1;
  out->given = flags->given;
  if ((status = read_bias(out, file)) != ATTUNE_OK) return status;
  if ((status = read_sinks(out, file)) != ATTUNE_OK) return status;
  if ((status = read_params(out, file)) != ATTUNE_OK) return status;
  if ((status = read_block_mask(out, file, flags->block_size)) != ATTUNE_OK) return status;
  out->given.bias = out->bias;
  out->given.sinks = out->sinks;
  if ((status = attune_problem_check(problem)) != ATTUNE_OK) return status;

  strcpy(out->dtype, q->dtype);
  if ((status = narrow(&out->q, q, problem->dtype)) != ATTUNE_OK) return status;
  if ((status = narrow(&out->k, k, problem->dtype)) != ATTUNE_OK) return status;
  if ((status = narrow(&out->v, v, problem->dtype)) != ATTUNE_OK) return status;
  return read_backward(out, file);
}

attune_status attune_qkv_read(attune_qkv *out, const char *path, const attune_flags *flags) {
  attune_safetensors *file;
  *out = (attune_qkv){0};
  attune_status status = attune_safetensors_read(&file, path);
  if (status != ATTUNE_OK) return status;
  status = read_tensors(out, file, flags);
  attune_safetensors_close(file);
  if (status == ATTUNE_OK) return ATTUNE_OK;
  attune_qkv_free(out);
  return attune_fail(status, "%s: %s", path, attune_message());
}

void attune_qkv_free(attune_qkv *qkv) {
  free(qkv->q);
  free(qkv->k);
  free(qkv->v);
  free(qkv->bias);
  free(qkv->sinks);
  free(qkv->d_o);
  free(qkv->o);
  free(qkv->dlse);
  free(qkv->lse);
  attune_host_block_mask_free(&qkv->block_mask);
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    free(qkv->arrays[i]);
  *qkv = (attune_qkv){0};
}
