/* The backward pass as plainly as possible: a warp per key row for the gradients of K and V, one per query row for that
 * of Q; plain arithmetic, nothing to tune. Legal everywhere: dispatch's last source. */
#include "generator/families/family.h"

enum {
  WARPS = 4,
  LANES = 32, /* a row of the other side each */
  ROW_FLOATS_MAX = 256
};

/* tile_m: queries, tile_n: keys. A block has a row a warp. */
static const attune_config_field schedule_of_keys[] = {
    {ATTUNE_FIELD_TILE_M, .low = LANES, .high = LANES},
    {ATTUNE_FIELD_TILE_N, .low = WARPS, .high = WARPS},
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},
};
static const attune_config_field schedule_of_queries[] = {
    {ATTUNE_FIELD_TILE_M, .low = WARPS, .high = WARPS},
    {ATTUNE_FIELD_TILE_N, .low = LANES, .high = LANES},
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},
};

static attune_status legal(const attune_config *config, const attune_device *device) {
  (void)config, (void)device;
  return ATTUNE_OK;
}

/* Of a warp: its row of Q or K and the one of dO or V, and P and dS of 32 rows of the other side. */
static void layout(attune_layout *out, const attune_config *config) {
  (void)config;
  attune_layout_add(out, "warp", WARPS, 4 * (2 * ROW_FLOATS_MAX + 2 * LANES), 16);
}

static int registers(const attune_config *config) {
  return 48 + (config->head_dim + 31) / 32 + (config->head_dim_v + 31) / 32;
}

static void cost(attune_cost *out, const attune_config *config, const attune_problem *problem) {
  (void)problem;
  const double products = (double)WARPS * LANES * (2 * config->head_dim + 2 * config->head_dim_v);
  *out = (attune_cost){
      .shared_bytes = products * 4,
      .loaded_bytes = products * 2, /* every row reads the other side for itself */
      .exponentials = (double)WARPS * LANES,
      .float_operations = products * 4, /* load, unpack, multiply-add */
      .latency_clocks = 4000,
      .outside_clocks = 4000,
  };
}

static void dq(attune_config *out, const attune_config *config) {
  (void)config;
  out->family = ATTUNE_FAMILY_DQ_REFERENCE;
  out->tile_m = out->warps = WARPS;
  out->tile_n = LANES;
}

#define REFERENCE(of, operation_)                                                                                      \
  .name = "reference", .operation = (operation_), .template_path = "templates/backward/reference.cu", .speed = 0,      \
  .legal = legal, .schedule = (of), .schedule_count = sizeof(of) / sizeof *(of), .layout = layout,                     \
  .registers = registers, .cost = cost

const attune_family_row attune_family_backward_reference_row = {REFERENCE(schedule_of_keys, ATTUNE_OPERATION_BACKWARD),
                                                                .dq = dq};
const attune_family_row attune_family_dq_reference_row = {REFERENCE(schedule_of_queries, ATTUNE_OPERATION_DQ)};
