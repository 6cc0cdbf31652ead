/* Family reference: a warp per query row, plain arithmetic, nothing to tune. Legal everywhere; the last rung. */
#include "generator/base/status.h"
#include "generator/families/family.h"

enum {
  WARPS = 4,
  TILE_M = WARPS, /* a row each */
  TILE_N = 32,    /* a key each lane */
  ROW_FLOATS_MAX = 256,
  SHARED_BYTES = WARPS * (TILE_N + ROW_FLOATS_MAX) * 4
};

static const attune_config only = {.tile_m = TILE_M,
                                   .tile_n = TILE_N,
                                   .warps = WARPS,
                                   .stages = 1,
                                   .order = ATTUNE_ORDER_LINEAR,
                                   .heads_packed = 1,
                                   .cluster = 1,
                                   .blocks = 1};

static attune_status legal(const attune_config *config, const attune_device *device) {
  (void)device;
  for (int i = 0; i < attune_config_field_count; i++) {
    const attune_config_field *field = &attune_config_fields[i];
    const int32_t has = attune_config_get(config, field), needs = attune_config_get(&only, field);
    if (field->schedule && has != needs) {
      return attune_fail(ATTUNE_ILLEGAL_CONFIG, "the reference family has %s %d only, not %d", field->name, needs, has);
    }
  }
  return ATTUNE_OK;
}

static void axis(attune_axis *out, const attune_config *config, const attune_config_field *field,
                 const attune_problem *problem) {
  (void)problem;
  (void)config;
  *out = (attune_axis){.values = {attune_config_get(&only, field)}, .count = 1};
}

static int64_t shared_bytes(const attune_config *config) {
  (void)config;
  return SHARED_BYTES;
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
    .template_path = "templates/forward_reference.cu",
    .speed = 0,
    .legal = legal,
    .axis = axis,
    .shared_bytes = shared_bytes,
    .registers = registers,
    .cost = cost,
};
