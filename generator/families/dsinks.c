/* Operation dsinks, family block: the gradient of the sinks. A block adds up one head's (templates/backward/dsinks.cu).
 */
#include "generator/families/family.h"

/* Its own field. */
enum { NATURAL_LSE };

enum { WARPS = 8 };

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
  attune_layout_add(out, "sums", 1, WARPS * sizeof(float), 16);
}

static int registers(const attune_config *config) {
  (void)config;
  return 40;
}

const attune_family_row attune_family_dsinks_row = {
    .name = "block",
    .operation = ATTUNE_OPERATION_DSINKS,
    .template_path = "templates/backward/dsinks.cu",
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
};
