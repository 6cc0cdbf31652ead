#include "runtime/simulator/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "generator/base/status.h"

/* Widest stride first. A dimension of one element, or of stride 0, moves no address. */
static void add_dimension(attune_simulator_tensor *tensor, uint64_t stride, uint64_t size) {
  if (size <= 1 || stride == 0) return;
  int at = tensor->rank++;
  for (; at > 0 && tensor->stride[at - 1] < stride; at--) {
    tensor->stride[at] = tensor->stride[at - 1];
    tensor->size[at] = tensor->size[at - 1];
  }
  tensor->stride[at] = stride;
  tensor->size[at] = size;
}

/* Rows that follow each other without a gap are one row: what is contiguous is checked without a division. */
static void join_rows(attune_simulator_tensor *tensor) {
  while (tensor->rank > 0 && tensor->stride[tensor->rank - 1] == tensor->row)
    tensor->row *= tensor->size[--tensor->rank];
}

static bool measure(attune_simulator_tensor *tensor) {
  tensor->extent = tensor->row;
  tensor->nested = true;
  for (int d = tensor->rank - 1; d >= 0; d--) {
    uint64_t span;
    if (tensor->stride[d] < tensor->extent) tensor->nested = false;
    if (__builtin_mul_overflow(tensor->stride[d], tensor->size[d] - 1, &span) ||
        __builtin_add_overflow(tensor->extent, span, &tensor->extent))
      return false;
  }
  join_rows(tensor);
  uintptr_t end;
  return !__builtin_add_overflow(tensor->base, tensor->extent, &end);
}

attune_status attune_simulator_memory_add(attune_simulator_memory *memory, const char *name, const void *base,
                                          attune_simulator_access allowed, int element_bytes,
                                          const attune_shape *shape) {
  const uint64_t element = (uint64_t)element_bytes;
  attune_simulator_tensor *tensor = &memory->tensors[memory->count];
  *tensor = (attune_simulator_tensor){
      .name = name, .base = (uintptr_t)base, .row = (uint64_t)shape->row * element, .allowed = allowed};
  if (!base || shape->row == 0) return ATTUNE_OK;
  for (int d = 0; d < 3; d++) {
    uint64_t stride;
    if (shape->sizes[d] < 1 || shape->strides[d] < 0 ||
        __builtin_mul_overflow((uint64_t)shape->strides[d], element, &stride))
      return attune_fail(ATTUNE_BAD_SIZE,
                         "%s has size %" PRId64 " and stride %" PRId64 " in dimension %d; a launch needs"
                         " positive sizes and strides that fit 64 bits",
                         name, shape->sizes[d], shape->strides[d], d);
    add_dimension(tensor, stride, (uint64_t)shape->sizes[d]);
  }
  if (!measure(tensor)) return attune_fail(ATTUNE_BAD_SIZE, "%s is larger than the address space", name);
  memory->count++;
  return ATTUNE_OK;
}

attune_status attune_simulator_memory_of(attune_simulator_memory *out, const attune_call *call) {
  static const attune_simulator_access allowed[] = {[ATTUNE_ACCESS_READ] = ATTUNE_SIMULATOR_READ,
                                                    [ATTUNE_ACCESS_WRITE] = ATTUNE_SIMULATOR_WRITE,
                                                    [ATTUNE_ACCESS_COUNT] = ATTUNE_SIMULATOR_COUNT,
                                                    [ATTUNE_ACCESS_ADD] = ATTUNE_SIMULATOR_ADD};
  attune_status status = ATTUNE_OK;
  out->count = 0;
  for (int i = 0; i < call->step->binding_count && status == ATTUNE_OK; i++) {
    const attune_binding *binding = &call->step->bindings[i];
    const attune_tensor_row *tensor = &attune_tensor_table[binding->tensor];
    attune_shape shape = {.row = binding->elements, .sizes = {1, 1, 1}};
    if (binding->elements == 0) tensor->shape(&shape, call->problem, call->run);
    status =
        attune_simulator_memory_add(out, tensor->name, attune_tensor_of_arguments(call->arguments, binding->tensor),
                                    allowed[binding->access], attune_element_bytes(tensor->element), &shape);
  }
  return status;
}

/* Whether the bytes lie in one row of the tensor. */
static bool holds(const attune_simulator_tensor *tensor, uint64_t offset, uint64_t size) {
  if (size > tensor->extent || offset > tensor->extent - size) return false;
  if (!tensor->nested) return true; /* rows overlap: any byte in the extent may be an element */
  for (int d = 0; d < tensor->rank; d++) {
    uint64_t index = offset / tensor->stride[d];
    if (index >= tensor->size[d]) return false;
    offset -= index * tensor->stride[d];
  }
  return offset + size <= tensor->row;
}

static bool contains(const attune_simulator_tensor *tensor, uintptr_t at, int size) {
  return at >= tensor->base && holds(tensor, at - tensor->base, (uint64_t)size);
}

/* Bytes from the address to the tensor, 0 inside its extent. */
static uint64_t distance(const attune_simulator_tensor *tensor, uintptr_t at) {
  if (at < tensor->base) return tensor->base - at;
  uint64_t offset = at - tensor->base;
  return offset < tensor->extent ? 0 : offset - tensor->extent;
}

void attune_simulator_memory_explain(const attune_simulator_memory *memory, char reason[256], const void *address,
                                     int size, attune_simulator_access access) {
  const uintptr_t at = (uintptr_t)address;
  static const char *const verbs[] = {"reads", "writes", "counts up", "adds to"}, *const only[] = {"read", "write",
                                                                                                   "count up",
                                                                                                   "add to"};
  const char *verb = verbs[access];
  const attune_simulator_tensor *near = NULL, *forbidden = NULL;
  for (int i = 0; i < memory->count; i++) {
    const attune_simulator_tensor *tensor = &memory->tensors[i];
    if (contains(tensor, at, size)) forbidden = tensor;
    if (!near || distance(tensor, at) < distance(near, at)) near = tensor;
  }
  if (at == 0)
    snprintf(reason, 256, "%s %d bytes through a null pointer", verb, size);
  else if (at % (uintptr_t)size != 0)
    snprintf(reason, 256, "%s %d bytes at device address %#" PRIxPTR ", which is not aligned to %d", verb, size, at,
             size);
  else if (forbidden)
    snprintf(reason, 256, "%s %d bytes of %s, which kernels may only %s", verb, size, forbidden->name,
             only[forbidden->allowed]);
  else if (!near)
    snprintf(reason, 256, "%s %d bytes at device address %#" PRIxPTR ", and the launch has no tensors", verb, size, at);
  else if (at >= near->base && at - near->base < near->extent)
    snprintf(reason, 256, "%s %d bytes at byte %" PRIu64 " of %s, between its rows: that is no element of the tensor",
             verb, size, (uint64_t)(at - near->base), near->name);
  else
    snprintf(reason, 256,
             "%s %d bytes at device address %#" PRIxPTR ", %" PRIu64 " bytes %s %s, which has %" PRIu64 " bytes", verb,
             size, at, distance(near, at), at < near->base ? "before" : "behind", near->name, near->extent);
}

bool attune_simulator_memory_allows(const attune_simulator_memory *memory, const void *address, int size,
                                    attune_simulator_access access) {
  const uintptr_t at = (uintptr_t)address;
  if ((at & (uintptr_t)(size - 1)) != 0) return false;
  for (int i = 0; i < memory->count; i++)
    if (memory->tensors[i].allowed == access && contains(&memory->tensors[i], at, size)) return true;
  return false;
}

_Static_assert(sizeof(attune_simulator_tensor_map) <= sizeof(struct attune_tensor_map),
               "a map holds what the simulator keeps");

void attune_simulator_tensor_map_fill(struct attune_tensor_map *out, const void *base, const int64_t size[4],
                                      const int64_t stride[3], int box_rows, int box_inner) {
  attune_simulator_tensor_map map = {.base = base, .box_columns = 64, .box_rows = box_rows, .box_inner = box_inner};
  memcpy(map.size, size, sizeof map.size);
  memcpy(map.stride, stride, sizeof map.stride);
  *out = (struct attune_tensor_map){.opaque = {0}};
  memcpy(out->opaque, &map, sizeof map);
}

bool attune_simulator_tensor_map_row(int64_t place[3], const attune_simulator_tensor_map *map, const int at[4],
                                     int row) {
  place[0] = (int64_t)at[1] + row % map->box_inner;
  place[1] = (int64_t)at[2] + row / map->box_inner;
  place[2] = at[3];
  for (int i = 0; i < 3; i++)
    if (place[i] < 0 || place[i] >= map->size[1 + i]) return false;
  return true;
}

attune_simulator_tensor_map attune_simulator_tensor_map_of(const struct attune_tensor_map *map) {
  attune_simulator_tensor_map out;
  memcpy(&out, map->opaque, sizeof out);
  return out;
}
