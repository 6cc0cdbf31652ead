/* Which device memory a kernel may touch: the tensors that its step names, element by element. */
#ifndef ATTUNE_SIMULATOR_MEMORY_H
#define ATTUNE_SIMULATOR_MEMORY_H

#include <stdbool.h>

#include "runtime/backend.h"

enum { ATTUNE_SIMULATOR_TENSORS_MAX = ATTUNE_TENSOR_COUNT };

/* What a kernel may do with a tensor, and nothing else: blocks have no order, so that anything more would be a race. */
typedef enum {
  ATTUNE_SIMULATOR_READ,
  ATTUNE_SIMULATOR_WRITE,
  ATTUNE_SIMULATOR_COUNT,
  ATTUNE_SIMULATOR_ADD
} attune_simulator_access;

/* Dimensions from the widest stride to the narrowest, then `row` bytes that lie together. */
typedef struct {
  const char *name;
  uintptr_t base;
  uint64_t extent; /* bytes from base to behind the last element */
  int rank;
  uint64_t stride[3], size[3]; /* bytes, elements */
  uint64_t row;
  bool nested; /* each stride spans what is inside it, so that an offset tells its element */
  attune_simulator_access allowed;
} attune_simulator_tensor;

typedef struct {
  attune_simulator_tensor tensors[ATTUNE_SIMULATOR_TENSORS_MAX];
  int count;
} attune_simulator_memory;

/* What the bindings of the call's step name. ATTUNE_BAD_SIZE if an extent overflows. */
attune_status attune_simulator_memory_of(attune_simulator_memory *out, const attune_call *call);
/* Adds a tensor, unless it is absent or empty. */
attune_status attune_simulator_memory_add(attune_simulator_memory *memory, const char *name, const void *base,
                                          attune_simulator_access allowed, int element_bytes,
                                          const attune_shape *shape);
/* Judges one access of size bytes, a power of two. */
bool attune_simulator_memory_allows(const attune_simulator_memory *memory, const void *address, int size,
                                    attune_simulator_access access);
/* Of one that is not allowed: what it does and where the next tensor is. */
void attune_simulator_memory_explain(const attune_simulator_memory *memory, char reason[256], const void *address,
                                     int size, attune_simulator_access access);

/* What the simulator keeps in an attune_tensor_map: a tensor of 2-byte elements, and the box that one load brings. */
typedef struct {
  const void *base;
  int64_t size[4];   /* as in attune_tensor_map_box */
  int64_t stride[3]; /* bytes */
  int32_t box_columns, box_rows, box_inner;
} attune_simulator_tensor_map;

/* Boxes of 64 columns (128 bytes, the swizzle's width). */
void attune_simulator_tensor_map_fill(struct attune_tensor_map *out, const void *base, const int64_t size[4],
                                      const int64_t stride[3], int box_rows, int box_inner);
/* Where row `row` of the box at `at` is: the places along all axes but columns. false: outside of the tensor. */
bool attune_simulator_tensor_map_row(int64_t place[3], const attune_simulator_tensor_map *map, const int at[4],
                                     int row);
attune_simulator_tensor_map attune_simulator_tensor_map_of(const struct attune_tensor_map *map);

#endif
