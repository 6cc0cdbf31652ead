/* Family reference: a warp per query row, plain arithmetic, nothing to tune. Legal everywhere: dispatch's last source.
 */
#include "generator/families/family.h"

enum {
  WARPS = 4,
  TILE_M = WARPS, /* a row each */
  TILE_N = 32,    /* a key each lane */
  ROW_FLOATS_MAX = 256
};

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = TILE_M, .high = TILE_M}, {ATTUNE_FIELD_TILE_N, .low = TILE_N, .high = TILE_N},
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},    {ATTUNE_FIELD_STAGES, .low = 1, .high = 1},
    {ATTUNE_FIELD_MIN_BLOCKS_PER_SM, .high = 1},
};

static attune_status legal(const attune_config *config, const attune_device *device) {
  (void)config, (void)device;
  return ATTUNE_OK;
}

static void layout(attune_layout *out, const attune_config *config) {
  (void)config;
  attune_layout_add(out, "warp", WARPS, 4 * (TILE_N + ROW_FLOATS_MAX), 16);
}

static int registers(const attune_config *config) {
  return 40 + (config->head_dim_v + 31) / 32;
}

static void cost(attune_cost *out, const attune_config *config, const attune_problem *problem) {
  (void)problem;
  const double products = (double)TILE_M * TILE_N * (config->head_dim + config->head_dim_v);
  *out = (attune_cost){
      .shared_bytes = products * 4,
      .loaded_bytes = products * 2, /* every row reads K and V for itself */
      .exponentials = 2.0 * TILE_M * TILE_N,
      .float_operations = products * 4, /* load, unpack, multiply-add */
      .latency_clocks = 4000,
      .outside_clocks = 4000,
  };
}

const attune_family_row attune_family_reference_row = {
    .name = "reference",
    .operation = ATTUNE_OPERATION_FORWARD,
    .template_path = "templates/forward/reference.cu",
    .speed = 0,
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
    .cost = cost,
};
