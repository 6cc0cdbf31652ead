/* Operation block_mask, family warp: the kernel that builds and checks block masks (templates/block_mask/builder.cu). A
 * warp works on a row of blocks; its tile is a block of the mask. */
#include "generator/base/status.h"
#include "generator/families/family.h"

enum { WARPS = 4 };

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},
};

static attune_status legal(const attune_config *c, const attune_device *device) {
  (void)device;
  if (c->sparse_block_size > 0) return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG, "sparse_block_size is %d; a block mask has a block of queries and keys",
                     c->sparse_block_size);
}

static void layout(attune_layout *out, const attune_config *config) {
  attune_layout_constant(out, "tile_m", config->sparse_block_size, "queries of a block");
  attune_layout_constant(out, "tile_n", config->sparse_block_size, "keys of a block");
}

static int registers(const attune_config *config) {
  (void)config;
  return 40;
}

const attune_family_row attune_family_block_mask_row = {
    .name = "warp",
    .operation = ATTUNE_OPERATION_BLOCK_MASK,
    .template_path = "templates/block_mask/builder.cu",
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
};
