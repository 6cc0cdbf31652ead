/* A list of regions, summed up and printed. */
#include "generator/families/layout.h"

#include <assert.h>
#include <stdbool.h>

#include "generator/base/buffer.h"

void attune_layout_add(attune_layout *layout, const char *name, int slots, int64_t slot_bytes, int alignment) {
  if (slots == 0) return;
  assert(layout->region_count < ATTUNE_REGIONS_MAX);
  const int64_t offset = (layout->bytes + alignment - 1) / alignment * alignment;
  layout->regions[layout->region_count++] = (attune_region){name, slots, slot_bytes, offset};
  layout->bytes = offset + slots * slot_bytes;
}

void attune_layout_overlay(attune_layout *layout, const char *name, int64_t slot_bytes) {
  assert(layout->region_count < ATTUNE_REGIONS_MAX);
  layout->regions[layout->region_count++] = (attune_region){name, 1, slot_bytes, 0};
  if (slot_bytes > layout->bytes) layout->bytes = slot_bytes;
}

void attune_layout_constant(attune_layout *layout, const char *name, int value, const char *meaning) {
  assert(layout->constant_count < ATTUNE_LAYOUT_CONSTANTS_MAX);
  layout->constants[layout->constant_count].name = name;
  layout->constants[layout->constant_count].meaning = meaning;
  layout->constants[layout->constant_count++].value = value;
}

/* Barriers and words: of those the source needs the addresses again and again. */
static bool is_small(const attune_region *region) {
  return region->slot_bytes <= ATTUNE_LAYOUT_SMALL_BYTES;
}

/* A struct with the addresses, computed once. */
static void print_map(attune_buffer *out, const attune_layout *layout) {
  attune_buffer_add_text(out, "\n/* Where barriers and words are in the block. */\nstruct smem_map {\n");
  for (int i = 0; i < layout->region_count; i++)
    if (is_small(&layout->regions[i])) attune_buffer_print(out, "  shared_address %s;\n", layout->regions[i].name);
  attune_buffer_add_text(out, "};\nATTUNE_DEVICE smem_map map_smem(shared_address start) {\n  smem_map smem;\n");
  for (int i = 0; i < layout->region_count; i++)
    if (is_small(&layout->regions[i])) {
      const attune_region *r = &layout->regions[i];
      attune_buffer_print(out, "  smem.%s = start + %lld; // %d x %lld bytes\n", r->name, (long long)r->offset,
                          r->slots, (long long)r->slot_bytes);
    }
  attune_buffer_add_text(out, "  return smem;\n}\n");
}

void attune_layout_print(attune_buffer *out, const attune_layout *layout) {
  attune_buffer_print(out,
                      "#include \"cuda.h\"\n/* The block's %lld bytes of dynamic shared memory. Offsets are bytes; a "
                      "region's slots follow each "
                      "other. */\n\n",
                      (long long)layout->bytes);
  for (int i = 0; i < layout->region_count; i++) {
    const attune_region *r = &layout->regions[i];
    if (is_small(r)) continue;
    attune_buffer_print(out, "constexpr int %s_offset = %lld; // %d x %lld bytes\n", r->name, (long long)r->offset,
                        r->slots, (long long)r->slot_bytes);
    attune_buffer_print(out, "constexpr int %s_slot_bytes = %lld;\n", r->name, (long long)r->slot_bytes);
  }
  attune_buffer_add_text(out, "\n");
  for (int i = 0; i < layout->constant_count; i++)
    attune_buffer_print(out, "constexpr int %s = %d; // %s\n", layout->constants[i].name, layout->constants[i].value,
                        layout->constants[i].meaning);
  print_map(out, layout);
}
