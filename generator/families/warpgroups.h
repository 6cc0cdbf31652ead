/* Private to generator/: a block of one warpgroup that loads and others that compute, the consumers, to which it gives
 * registers; tiles in shared memory as Hopper's tensor copy engine and products have them. */
#ifndef ATTUNE_WARPGROUPS_H
#define ATTUNE_WARPGROUPS_H

#include "generator/families/family.h"

enum {
  ATTUNE_WARPGROUPS_ARCH = 90,
  ATTUNE_CONSUMER_ROWS = 64, /* of a product */
  ATTUNE_PANEL = 64          /* columns: 128 bytes, the width of the swizzle */
};

int attune_panels(int head_dim);
/* Regions of the layout: `slots` tiles of so many panels and rows; `count` mbarriers. */
void attune_layout_tiles(attune_layout *out, const char *name, int slots, int panels, int rows);
void attune_layout_barriers(attune_layout *out, const char *name, int count);
/* Of a thread: before the exchange; of a consumer after it, which leaves the others at least `producer`. */
int attune_registers_at_entry(const attune_config *config);
int attune_registers_of_consumer(const attune_config *config, int consumers, int producer);
/* The constants consumer_registers and producer_registers. */
void attune_layout_registers(attune_layout *out, const attune_config *config, int consumers, int producer);

#endif
