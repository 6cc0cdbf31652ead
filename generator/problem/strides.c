/* Where the elements of a problem's tensors lie: the rules of strides, and contiguous strides written out. */
#include <string.h>

#include "generator/base/status.h"
#include "generator/expression/expression.h"
#include "generator/problem/rules.h"

enum { ELEMENT_BYTES = 2, STRIDE_ELEMENTS = 8 };

typedef struct {
  const char *name;
  const attune_strides *strides;
  int32_t batch, seqlen, heads, head_dim;
  bool written;
} tensor_shape;

static bool is_contiguous_shorthand(const attune_strides *strides) {
  return strides->batch == 0 && strides->seqlen == 0 && strides->heads == 0;
}

static bool contiguous_strides(attune_strides *out, const tensor_shape *shape) {
  out->heads = shape->head_dim;
  out->seqlen = (int64_t)shape->heads * shape->head_dim;
  return !__builtin_mul_overflow(out->seqlen, (int64_t)shape->seqlen, &out->batch);
}

/* Bytes from the first element to the end of the last one. */
static bool extent_bytes(int64_t *out, const tensor_shape *shape, const attune_strides *strides) {
  const int64_t steps[3] = {shape->batch - 1, shape->seqlen - 1, shape->heads - 1};
  const int64_t sizes[3] = {strides->batch, strides->seqlen, strides->heads};
  int64_t elements = shape->head_dim;
  for (int i = 0; i < 3; i++) {
    int64_t part;
    if (__builtin_mul_overflow(steps[i], sizes[i], &part)) return false;
    if (__builtin_add_overflow(elements, part, &elements)) return false;
  }
  return !__builtin_mul_overflow(elements, (int64_t)ELEMENT_BYTES, out);
}

/* Strides of nested dimensions: each steps over all that the smaller ones reach. An output with other strides would
 * have two rows in one place, or so interleaved that no one means it. */
static attune_status check_no_overlap(const tensor_shape *shape) {
  struct {
    const char *name;
    int64_t size, stride;
  } dims[3] = {{"batch", shape->batch, shape->strides->batch},
               {"seqlen", shape->seqlen, shape->strides->seqlen},
               {"heads", shape->heads, shape->strides->heads}};
  for (int i = 1; i < 3; i++) {
    for (int j = i; j > 0 && dims[j].stride < dims[j - 1].stride; j--) {
      __auto_type other = dims[j];
      dims[j] = dims[j - 1];
      dims[j - 1] = other;
    }
  }
  int64_t reach = shape->head_dim;
  for (int i = 0; i < 3; i++) {
    if (dims[i].size == 1) continue;
    if (dims[i].stride < reach) {
      return attune_fail(ATTUNE_BAD_STRIDE,
                         "%s.%s stride is %lld elements, but what lies inside it reaches over %lld; rows of the output "
                         "would overlap: use a stride of at least %lld",
                         shape->name, dims[i].name, (long long)dims[i].stride, (long long)reach, (long long)reach);
    }
    reach += (dims[i].size - 1) * dims[i].stride;
  }
  return ATTUNE_OK;
}

static attune_status check_tensor(const tensor_shape *shape) {
  const char *const names[3] = {"batch", "seqlen", "heads"};
  const int64_t values[3] = {shape->strides->batch, shape->strides->seqlen, shape->strides->heads};
  for (int i = 0; i < 3; i++) {
    if (values[i] < 0) {
      return attune_fail(ATTUNE_BAD_STRIDE, "%s.%s stride is %lld; strides must not be negative", shape->name, names[i],
                         (long long)values[i]);
    }
    if (values[i] % STRIDE_ELEMENTS != 0) {
      return attune_fail(
          ATTUNE_UNSUPPORTED,
          "%s.%s stride is %lld elements; it must be a multiple of %d (16 bytes): copy the tensor or pad it",
          shape->name, names[i], (long long)values[i], STRIDE_ELEMENTS);
    }
  }
  attune_strides strides = *shape->strides;
  int64_t bytes;
  bool fits = true;
  if (is_contiguous_shorthand(&strides)) fits = contiguous_strides(&strides, shape);
  if (!fits || !extent_bytes(&bytes, shape, &strides)) {
    return attune_fail(ATTUNE_BAD_SIZE,
                       "%s of shape (%d, %d, %d, %d) reaches over more bytes than a 64-bit offset can hold: split the "
                       "batch or the heads",
                       shape->name, shape->batch, shape->seqlen, shape->heads, shape->head_dim);
  }
  if (shape->written && !is_contiguous_shorthand(shape->strides)) return check_no_overlap(shape);
  return ATTUNE_OK;
}

static tensor_shape shape_of(const attune_problem *p, const char *name) {
  const tensor_shape shapes[] = {
      {"q", &p->q, p->batch, p->seqlen_q, p->heads_q, p->head_dim, false},
      {"k", &p->k, p->batch, p->seqlen_k, p->heads_kv, p->head_dim, false},
      {"v", &p->v, p->batch, p->seqlen_k, p->heads_kv, p->head_dim_v, false},
      {"o", &p->o, p->batch, p->seqlen_q, p->heads_q, p->head_dim_v, p->operation == ATTUNE_FORWARD},
      {"d_o", &p->d_o, p->batch, p->seqlen_q, p->heads_q, p->head_dim_v, false},
      {"dq", &p->dq, p->batch, p->seqlen_q, p->heads_q, p->head_dim, true},
      {"dk", &p->dk, p->batch, p->seqlen_k, p->heads_kv, p->head_dim, true},
      {"dv", &p->dv, p->batch, p->seqlen_k, p->heads_kv, p->head_dim_v, true},
  };
  int i = 0;
  while (strcmp(shapes[i].name, name) != 0)
    i++;
  return shapes[i];
}

attune_status attune_check_strides(const attune_problem_field *field, const attune_problem *p) {
  const tensor_shape shape = shape_of(p, field->member);
  return check_tensor(&shape);
}

void attune_problem_drop_strides(attune_problem *p) {
  p->q = p->k = p->v = p->o = p->d_o = p->dq = p->dk = p->dv = (attune_strides){0};
}

void attune_canonical_strides(attune_problem *p) {
  attune_strides *const strides[] = {&p->q, &p->k, &p->v, &p->o, &p->d_o, &p->dq, &p->dk, &p->dv};
  const char *const names[] = {"q", "k", "v", "o", "d_o", "dq", "dk", "dv"};
  const int count = p->operation == ATTUNE_BACKWARD ? 8 : 4;
  for (int i = 0; i < count; i++) {
    const tensor_shape shape = shape_of(p, names[i]);
    if (is_contiguous_shorthand(strides[i])) (void)contiguous_strides(strides[i], &shape); /* checked: no overflow */
  }
}

/* Sums over what the bias repeats; the others have a place each. */
static attune_status check_dbias_overlap(const attune_problem *p) {
  const attune_strides *s = &p->bias;
  const tensor_shape shape = {"dbias, as bias:",
                              s,
                              s->batch != 0 ? p->batch : 1,
                              s->seqlen != 0 ? p->seqlen_q : 1,
                              s->heads != 0 ? p->heads_q : 1,
                              p->seqlen_k,
                              true};
  return check_no_overlap(&shape);
}

/* A problem that was read from its class does not know whether it has a bias. */
attune_status attune_check_want_dbias(const attune_problem_field *field, const attune_problem *p) {
  const attune_status status = attune_check_flag(field, p);
  if (status != ATTUNE_OK || !p->want_dbias || p->operation == ATTUNE_FORWARD) return status;
  if (!p->want_bias && !attune_problem_expressions_unknown(p))
    return attune_fail(ATTUNE_BAD_ARGUMENT,
                       "want_dbias is 1, but the problem has no bias: set want_bias to 1 (--bias B,H,Q)");
  return check_dbias_overlap(p);
}

attune_status attune_check_want_dsinks(const attune_problem_field *field, const attune_problem *p) {
  const attune_status status = attune_check_flag(field, p);
  if (status != ATTUNE_OK || !p->want_dsinks || p->operation == ATTUNE_FORWARD || p->want_sinks) return status;
  return attune_fail(ATTUNE_BAD_ARGUMENT,
                     "want_dsinks is 1, but the problem has no sinks: set want_sinks to 1 (--sinks)");
}

attune_status attune_check_bias(const attune_problem_field *field, const attune_problem *p) {
  (void)field;
  const int64_t strides[3] = {p->bias.batch, p->bias.heads, p->bias.seqlen};
  const int32_t last[3] = {p->batch - 1, p->heads_q - 1, p->seqlen_q - 1};
  int64_t extent = p->seqlen_k;
  if (p->want_bias != 0 && p->want_bias != 1)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "want_bias is %d; it must be 0 or 1", p->want_bias);
  for (int i = 0; i < 3; i++) {
    int64_t span;
    if (strides[i] < 0)
      return attune_fail(ATTUNE_BAD_STRIDE, "a stride of bias is %lld; strides must not be negative",
                         (long long)strides[i]);
    if (__builtin_mul_overflow(strides[i], (int64_t)last[i], &span) || __builtin_add_overflow(extent, span, &extent) ||
        extent > INT64_MAX / ELEMENT_BYTES)
      return attune_fail(ATTUNE_BAD_SIZE, "bias reaches over more bytes than a 64-bit offset can hold");
  }
  return ATTUNE_OK;
}
