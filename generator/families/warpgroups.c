/* What the families of Hopper's warpgroup products have in common. */
#include "generator/families/warpgroups.h"

int attune_panels(int head_dim) {
  return (head_dim + ATTUNE_PANEL - 1) / ATTUNE_PANEL;
}

void attune_layout_tiles(attune_layout *out, const char *name, int slots, int panels, int rows) {
  enum { PANEL_ROW_BYTES = 2 * ATTUNE_PANEL, SWIZZLE_BYTES = 1024 /* alignment of a tile */ };
  attune_layout_add(out, name, slots, (int64_t)panels * rows * PANEL_ROW_BYTES, SWIZZLE_BYTES);
}

void attune_layout_barriers(attune_layout *out, const char *name, int count) {
  enum { MBARRIER_BYTES = 8 };
  attune_layout_add(out, name, count, MBARRIER_BYTES, MBARRIER_BYTES);
}

int attune_registers_at_entry(const attune_config *c) {
  enum { SM_REGISTERS = 65536 };
  const int share = SM_REGISTERS / (c->warps * 32 * c->min_blocks_per_sm) / 8 * 8;
  return share < ATTUNE_REGISTERS_MAX ? share : ATTUNE_REGISTERS_MAX;
}

int attune_registers_of_consumer(const attune_config *c, int consumers, int producer) {
  if (consumers == 1 && c->min_blocks_per_sm == 1) return ATTUNE_REGISTERS_MAX; /* nothing is exchanged */
  return (attune_registers_at_entry(c) * (consumers + 1) - producer) / consumers / 8 * 8;
}

void attune_layout_registers(attune_layout *out, const attune_config *c, int consumers, int producer) {
  const int of_consumer = attune_registers_of_consumer(c, consumers, producer);
  attune_layout_constant(out, "consumer_registers", of_consumer, "of a thread that computes, after the exchange");
  attune_layout_constant(out, "producer_registers",
                         attune_registers_at_entry(c) * (consumers + 1) - consumers * of_consumer,
                         "of the other threads");
}
