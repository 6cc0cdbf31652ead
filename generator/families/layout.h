/* Private to generator/: where the parts of a block's dynamic shared memory lie. A family names its regions once: the
 * launch asks for their sum, and the source gets their offsets as constants. */
#ifndef ATTUNE_LAYOUT_H
#define ATTUNE_LAYOUT_H

#include <stdint.h>

enum { ATTUNE_REGIONS_MAX = 24, ATTUNE_LAYOUT_CONSTANTS_MAX = 5, ATTUNE_LAYOUT_SMALL_BYTES = 16 };

typedef struct {
  const char *name;
  int slots;
  int64_t slot_bytes, offset;
} attune_region;

typedef struct {
  attune_region regions[ATTUNE_REGIONS_MAX];
  struct {
    const char *name, *meaning;
    int32_t value;
  } constants[ATTUNE_LAYOUT_CONSTANTS_MAX];
  int region_count, constant_count;
  int64_t bytes; /* of all */
} attune_layout;

struct attune_buffer;

/* `slots` pieces of slot_bytes, one after the other, behind what was added before. slots 0: nothing is added. */
void attune_layout_add(attune_layout *layout, const char *name, int slots, int64_t slot_bytes, int alignment);
/* A region from 0 on, for when nothing else is needed any more. */
void attune_layout_overlay(attune_layout *layout, const char *name, int64_t slot_bytes);
/* Another number that the source needs of the layout. */
void attune_layout_constant(attune_layout *layout, const char *name, int value, const char *meaning);
/* NAME_offset and NAME_slot_bytes of each region, of those of barriers and words a struct smem_map with the addresses,
 * and the constants. */
void attune_layout_print(struct attune_buffer *out, const attune_layout *layout);

#endif
