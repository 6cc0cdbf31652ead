/* Operation combine, family warp: the second step of a config that splits the keys. A warp adds up a row's partial
 * results (templates/forward/combine.cu). */
#include "generator/families/family.h"

enum { WARPS = 4 };

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},
    {ATTUNE_FIELD_SPLITS},
};

static attune_status legal(const attune_config *config, const attune_device *device) {
  (void)config, (void)device;
  return ATTUNE_OK;
}

static void layout(attune_layout *out, const attune_config *config) {
  (void)out, (void)config;
}

static int registers(const attune_config *config) {
  return 32 + config->head_dim_v / 32;
}

const attune_family_row attune_family_combine_row = {
    .name = "warp",
    .operation = ATTUNE_OPERATION_COMBINE,
    .template_path = "templates/forward/combine.cu",
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
};
