/* Operation dbias: the gradients of what changes the scores. Family mma has a tile of queries and keys in a block
 * (templates/backward/dbias.cu), family reference a query in a warp (templates/backward/dbias_reference.cu); both go
 * through all heads and sequences that share the bias. Each has one schedule. */
#include "generator/families/family.h"

enum {
  FIRST_ARCH = 80,
  TILE_M = 64,
  TILE_N = 64,
  TILE_N_WIDE = 32,  /* where a tile has more than WIDE columns: it fits the 99 KiB of sm_86, sm_89 and sm_120, */
  TILE_N_LEAST = 16, /* as does this with tables */
  WIDE = 256,
  WARPS = 4,
  LANES = 32,
  ROW_FLOATS_MAX = 256,
  TABLE_FLOATS = 640 /* of a warp */
};

static attune_status legal(const attune_config *config, const attune_device *device) {
  (void)config, (void)device;
  return ATTUNE_OK;
}

/* ---- mma ---- */

static int padded(int head_dim) {
  return (head_dim + 15) / 16 * 16;
}

int32_t attune_dbias_tile_n(const attune_config *config) {
  if (padded(config->head_dim) + padded(config->head_dim_v) <= WIDE) return TILE_N;
  return config->dparams ? TILE_N_LEAST : TILE_N_WIDE;
}

/* As many as shared memory holds on sm_90: a block waits for its tiles, and only others work meanwhile. */
static int resident_blocks(const attune_config *c) {
  const int columns = padded(c->head_dim) + padded(c->head_dim_v);
  return columns <= WIDE ? 3 : 2;
}

static void layout(attune_layout *out, const attune_config *c) {
  const int64_t k = 2 * padded(c->head_dim) + 16, v = 2 * padded(c->head_dim_v) + 16;
  attune_layout_add(out, "own_k", 1, c->tile_m * k, 16);
  attune_layout_add(out, "own_v", 1, c->tile_m * v, 16);
  attune_layout_add(out, "step_k", 1, c->tile_n * k, 16);
  attune_layout_add(out, "step_v", 1, c->tile_n * v, 16);
  if (c->dparams) {
    attune_layout_add(out, "tables", WARPS, TABLE_FLOATS * 4, 16);
    attune_layout_add(out, "lanes", WARPS, LANES * 4, 16);
    attune_layout_constant(out, "table_floats", TABLE_FLOATS, "elements of arrays that a warp sums up");
  }
  attune_layout_overlay(out, "sums", (int64_t)WARPS * c->tile_n * 4); /* of rows, over everything at the end */
  attune_layout_constant(out, "resident_blocks", resident_blocks(c), "blocks that an SM should hold, by registers");
  attune_layout_constant(out, "pitch_k", (int)k, "bytes of a row of Q and K");
  attune_layout_constant(out, "pitch_v", (int)v, "bytes of a row of V and dO");
}

static int registers(const attune_config *c) {
  enum { ADDRESSES_AND_STATE = 72 };
  return 3 * c->tile_n / 2 + ADDRESSES_AND_STATE; /* S, dP and the gradient */
}

static void cost(attune_cost *out, const attune_config *c, const attune_problem *problem) {
  const double columns = padded(c->head_dim) + padded(c->head_dim_v), m = c->tile_m, n = c->tile_n;
  (void)problem;
  *out = (attune_cost){
      .matrix_flops = 2 * m * n * columns,
      .shared_bytes = 2 * columns * (2 * m + (WARPS + 1) * n),
      .loaded_bytes = 2 * columns * (m + n),
      .exponentials = m * n,
      .float_operations = 16 * m * n,
      .latency_clocks = 1200,
      .outside_clocks = 1000,
  };
}

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = TILE_M, .high = TILE_M},
    {ATTUNE_FIELD_TILE_N, .low = TILE_N_LEAST, .high = TILE_N},
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},
};

const attune_family_row attune_family_dbias_mma_row = {
    .name = "mma",
    .operation = ATTUNE_OPERATION_DBIAS,
    .template_path = "templates/backward/dbias.cu",
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
    .cost = cost,
};

/* ---- reference ---- */

/* Of a warp: its rows of Q and dO, and sums of up to 32 keys. */
static void reference_layout(attune_layout *out, const attune_config *config) {
  (void)config;
  attune_layout_add(out, "warp", WARPS, 4 * 2 * ROW_FLOATS_MAX, 16);
}

static int reference_registers(const attune_config *config) {
  (void)config;
  return 64;
}

static const attune_config_field reference_schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = WARPS, .high = WARPS},
    {ATTUNE_FIELD_TILE_N, .low = LANES, .high = LANES},
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},
};

static void reference_cost(attune_cost *out, const attune_config *c, const attune_problem *problem) {
  const double products = (double)WARPS * LANES * (c->head_dim + c->head_dim_v);
  (void)problem;
  *out = (attune_cost){
      .shared_bytes = products * 4,
      .loaded_bytes = products * 2,
      .exponentials = (double)WARPS * LANES,
      .float_operations = products * 4,
      .latency_clocks = 4000,
      .outside_clocks = 4000,
  };
}

const attune_family_row attune_family_dbias_reference_row = {
    .name = "reference",
    .operation = ATTUNE_OPERATION_DBIAS,
    .template_path = "templates/backward/dbias_reference.cu",
    .legal = legal,
    .schedule = reference_schedule,
    .schedule_count = sizeof reference_schedule / sizeof *reference_schedule,
    .layout = reference_layout,
    .registers = reference_registers,
    .cost = reference_cost,
};
