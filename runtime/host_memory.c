#include "runtime/host_memory.h"

#include <inttypes.h>
#include <stdio.h>

#include "runtime/fail.h"

/* Widest stride first; a dimension of one element has no stride. */
static void add_dimension(attune_host_tensor *tensor, uint64_t stride, uint64_t size) {
  if (size <= 1) return;
  int at = tensor->rank++;
  for (; at > 0 && tensor->stride[at - 1] < stride; at--) {
    tensor->stride[at] = tensor->stride[at - 1];
    tensor->size[at] = tensor->size[at - 1];
  }
  tensor->stride[at] = stride;
  tensor->size[at] = size;
}

static bool measure(attune_host_tensor *tensor) {
  tensor->extent = tensor->row;
  tensor->nested = true;
  for (int d = tensor->rank - 1; d >= 0; d--) {
    uint64_t span;
    if (tensor->stride[d] < tensor->extent) tensor->nested = tensor->nested && tensor->stride[d] == 0;
    if (__builtin_mul_overflow(tensor->stride[d], tensor->size[d] - 1, &span) ||
        __builtin_add_overflow(tensor->extent, span, &tensor->extent))
      return false;
  }
  uintptr_t end;
  return !__builtin_add_overflow(tensor->base, tensor->extent, &end);
}

/* Adds a tensor unless it is absent; strides in elements. */
static attune_status add(attune_host_memory *memory, const char *name, const void *base, bool written, uint64_t element,
                         int64_t row, const int64_t strides[3], const int64_t sizes[3]) {
  if (!base) return ATTUNE_OK;
  attune_host_tensor *tensor = &memory->tensors[memory->count++];
  *tensor =
      (attune_host_tensor){.name = name, .base = (uintptr_t)base, .row = (uint64_t)row * element, .written = written};
  for (int d = 0; d < 3; d++) {
    uint64_t stride;
    if (sizes[d] < 1 || strides[d] < 0 || __builtin_mul_overflow((uint64_t)strides[d], element, &stride))
      return attune_fail(ATTUNE_BAD_SIZE,
                         "%s has size %" PRId64 " and stride %" PRId64 " in dimension %d; a launch needs"
                         " positive sizes and strides that fit 64 bits",
                         name, sizes[d], strides[d], d);
    add_dimension(tensor, stride, (uint64_t)sizes[d]);
  }
  if (!measure(tensor)) return attune_fail(ATTUNE_BAD_SIZE, "%s is larger than the address space", name);
  return ATTUNE_OK;
}

attune_status attune_host_memory_of(attune_host_memory *out, const attune_config *config,
                                    const struct attune_arguments *a) {
  *out = (attune_host_memory){.count = 0};
  if (a->group < 1 || a->heads_q % a->group != 0)
    return attune_fail(ATTUNE_BAD_HEADS, "%d query heads do not divide into groups of %d", a->heads_q, a->group);
  int64_t d = config->head_dim, dv = config->head_dim_v, one[3] = {0, 0, 0};
  int64_t size_q[3] = {a->batch, a->seqlen_q, a->heads_q}, size_k[3] = {a->batch, a->seqlen_k, a->heads_q / a->group};
  int64_t q[3] = {a->q_batch, a->q_seqlen, a->q_heads}, k[3] = {a->k_batch, a->k_seqlen, a->k_heads};
  int64_t v[3] = {a->v_batch, a->v_seqlen, a->v_heads}, o[3] = {a->o_batch, a->o_seqlen, a->o_heads};
  int64_t none[3] = {1, 1, 1}, lse = (int64_t)a->batch * a->heads_q;
  attune_status status;
  if ((status = add(out, "q", a->q, false, 2, d, q, size_q)) != ATTUNE_OK) return status;
  if ((status = add(out, "k", a->k, false, 2, d, k, size_k)) != ATTUNE_OK) return status;
  if ((status = add(out, "v", a->v, false, 2, dv, v, size_k)) != ATTUNE_OK) return status;
  if ((status = add(out, "o", a->o, true, 2, dv, o, size_q)) != ATTUNE_OK) return status;
  if ((status = add(out, "lse", a->lse, true, 4, lse * a->seqlen_q, one, none)) != ATTUNE_OK) return status;
  if ((status = add(out, "seqlens_q", a->seqlens_q, false, 4, a->batch, one, none)) != ATTUNE_OK) return status;
  return add(out, "seqlens_k", a->seqlens_k, false, 4, a->batch, one, none);
}

/* Whether the bytes lie in one row of the tensor. */
static bool holds(const attune_host_tensor *tensor, uint64_t offset, uint64_t size) {
  if (size > tensor->extent || offset > tensor->extent - size) return false;
  if (!tensor->nested) return true; /* rows overlap: any byte in the extent may be an element */
  for (int d = 0; d < tensor->rank && tensor->stride[d] > 0; d++) {
    uint64_t index = offset / tensor->stride[d];
    if (index >= tensor->size[d]) return false;
    offset -= index * tensor->stride[d];
  }
  return offset + size <= tensor->row;
}

bool attune_host_memory_allows(const attune_host_memory *memory, char reason[256], const void *address, int size,
                               bool write) {
  uintptr_t at = (uintptr_t)address;
  const char *verb = write ? "writes" : "reads";
  if (!address) {
    snprintf(reason, 256, "%s %d bytes through a null pointer", verb, size);
    return false;
  }
  if (at % (uintptr_t)size != 0) {
    snprintf(reason, 256, "%s %d bytes at device address %#" PRIxPTR ", which is not aligned to %d", verb, size, at,
             size);
    return false;
  }
  const attune_host_tensor *inside = NULL, *near = NULL, *forbidden = NULL;
  uint64_t least = UINT64_MAX;
  for (int i = 0; i < memory->count; i++) {
    const attune_host_tensor *tensor = &memory->tensors[i];
    if (at >= tensor->base && holds(tensor, at - tensor->base, (uint64_t)size)) {
      if (tensor->written == write) return true;
      forbidden = tensor;
    }
    if (at >= tensor->base && at < tensor->base + tensor->extent) inside = tensor;
    uint64_t distance = at < tensor->base ? tensor->base - at : at - tensor->base;
    if (at >= tensor->base) distance = distance < tensor->extent ? 0 : distance - tensor->extent;
    if (distance < least) {
      least = distance;
      near = tensor;
    }
  }
  if (forbidden)
    snprintf(reason, 256, "%s %d bytes of %s, which kernels may only %s", verb, size, forbidden->name,
             write ? "read" : "write");
  else if (inside)
    snprintf(reason, 256, "%s %d bytes at byte %" PRIu64 " of %s, between its rows: that is no element of the tensor",
             verb, size, (uint64_t)(at - inside->base), inside->name);
  else if (near)
    snprintf(reason, 256, "%s %d bytes at device address %#" PRIxPTR ", %" PRIu64 " bytes %s %s (%" PRIu64 " bytes)",
             verb, size, at, at < near->base ? near->base - at : at - near->base - near->extent,
             at < near->base ? "before" : "behind", near->name, near->extent);
  else
    snprintf(reason, 256, "%s %d bytes at device address %#" PRIxPTR ", and the launch has no tensors", verb, size, at);
  return false;
}
