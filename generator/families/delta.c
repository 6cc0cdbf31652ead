/* Operation delta, family warp: the first step of the backward pass. A warp finds the terms of some query
 * rows (templates/backward/delta.cu). */
#include "generator/families/family.h"

/* Its own field. */
enum { NATURAL_LSE };

enum { WARPS = 4 };

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},
    {ATTUNE_OWN_FIELD(NATURAL_LSE, "natural_lse"), ATTUNE_FIELD_NATURAL_LSE},
};

static attune_status legal(const attune_config *config, const attune_device *device) {
  (void)config, (void)device;
  return ATTUNE_OK;
}

static void layout(attune_layout *out, const attune_config *config) {
  (void)config;
  attune_layout_constant(out, "rows_of_warp", ATTUNE_DELTA_ROWS_OF_WARP, "rows that a warp works on");
}

static int registers(const attune_config *config) {
  (void)config;
  return 60;
}

const attune_family_row attune_family_delta_row = {
    .name = "warp",
    .operation = ATTUNE_OPERATION_DELTA,
    .template_path = "templates/backward/delta.cu",
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
};
