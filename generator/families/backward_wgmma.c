/* The backward pass by Hopper's warpgroup products and tensor copy engine; sm_90 alone (templates/backward/wgmma.cu). A
 * block of keys makes the gradients of K and V, and adds to sums of floats that of Q, which a last kernel converts. */
#include "generator/base/status.h"
#include "generator/families/warpgroups.h"
#include "generator/families/wgmma_products.h"

enum {
  ROWS = ATTUNE_CONSUMER_ROWS,
  PRODUCER_REGISTERS = 40,      /* at least: with fewer it spills */
  PRODUCER_REGISTERS_WIDE = 24, /* it spills: with fewer for the consumers, ptxas serializes their products */
  CONSUMERS_MAX = 2,
  NARROW = 128, /* up to this head_dim a warpgroup has dK and dV of its keys as accumulators */
  STAGES_MAX = 3,
  DS_SLOTS = 2,
  BLOCKS_MAX = 2,
  TERMS_BYTES = 8,   /* of a query row */
  RECORD_BYTES = 16, /* what a step is */
  CONVERT_WARPS = 4
};

/* Of two warpgroups one has dK of the keys, the other dV. */
static bool is_wide(const attune_config *c) {
  return c->head_dim > NARROW || c->head_dim_v > NARROW;
}

static int consumers(const attune_config *c) {
  return is_wide(c) ? 2 : c->tile_n / ROWS;
}

/* A warpgroup's part of a tile of dQ: some of the rows and all columns, or all rows and a panel. */
static bool dq_by_rows(const attune_config *c) {
  return c->tile_m > ROWS || consumers(c) == 1;
}
static int dq_columns(const attune_config *c) {
  return dq_by_rows(c) ? c->head_dim : (attune_panels(c->head_dim) + 1) / 2 * ATTUNE_PANEL;
}

int attune_dq_parts(const attune_config *config) {
  return consumers(config);
}

int64_t attune_dq_partial_floats(const attune_config *config) {
  return (int64_t)consumers(config) * ROWS * dq_columns(config);
}

static int producer_registers(const attune_config *c) {
  return is_wide(c) ? PRODUCER_REGISTERS_WIDE : PRODUCER_REGISTERS;
}

static int registers_of_consumer(const attune_config *c) {
  return attune_registers_of_consumer(c, consumers(c), producer_registers(c));
}

/* dK, dV, S and dP; or dK or dV, and a part of dQ. */
static int accumulators(const attune_config *c) {
  const int larger = c->head_dim > c->head_dim_v ? c->head_dim : c->head_dim_v;
  return is_wide(c) ? larger / 2 + dq_columns(c) / 2 + c->tile_m / 4 : c->head_dim / 2 + c->head_dim_v / 2 + c->tile_m;
}

static void add_dq(attune_layout *out, const attune_config *c) {
  attune_layout_constant(out, "dq_by_rows", dq_by_rows(c), "1: a part of dQ is some rows of the tile, 0: some columns");
  attune_layout_constant(out, "dq_columns", dq_columns(c), "of a part of dQ");
  attune_layout_constant(out, "dq_parts", consumers(c), "of a tile of dQ");
}

static void layout(attune_layout *out, const attune_config *c) {
  const int k = attune_panels(c->head_dim), v = attune_panels(c->head_dim_v);
  /* K has a column for each of dQ's parts. */
  attune_layout_tiles(out, "k", 1, is_wide(c) ? 2 * dq_columns(c) / ATTUNE_PANEL : k, c->tile_n);
  attune_layout_tiles(out, "v", 1, v, c->tile_n);
  attune_layout_tiles(out, "q", c->stages, k, c->tile_m);
  attune_layout_tiles(out, "d_o", c->stages, v, c->tile_m);
  attune_layout_tiles(out, "ds", DS_SLOTS, attune_panels(c->tile_m), c->tile_n);
  if (is_wide(c)) attune_layout_add(out, "weights", 1, (int64_t)c->tile_n * c->tile_m * 4, 128);
  attune_layout_add(out, "terms", c->stages, (int64_t)c->tile_m * TERMS_BYTES, 16);
  attune_layout_add(out, "record", c->stages, RECORD_BYTES, 16);
  attune_layout_barriers(out, "kv_full", 1);
  attune_layout_barriers(out, "kv_landed", 1); /* ragged K and V before their tails are zeroed */
  attune_layout_barriers(out, "step_full", c->stages);
  attune_layout_barriers(out, "step_empty", c->stages);
  attune_layout_barriers(out, "step_landed", c->stages); /* likewise Q and dO */
  if (!is_wide(c)) {
    attune_layout_barriers(out, "ds_full", DS_SLOTS);
    attune_layout_barriers(out, "ds_empty", DS_SLOTS);
  }
  attune_layout_registers(out, c, consumers(c), producer_registers(c));
  add_dq(out, c);
}

static int registers(const attune_config *c) {
  enum { ELASTIC = 40 /* estimate.c does without so many */, ADDRESSES_AND_STATE = 24 };
  const int lacks = accumulators(c) + ADDRESSES_AND_STATE - registers_of_consumer(c);
  return attune_registers_at_entry(c) + (lacks > 0 ? ELASTIC + lacks : 0);
}

/* ---- legal ---- */

static attune_status check_shape(const attune_config *c) {
  if (c->tile_m % ROWS != 0 || c->tile_n % ROWS != 0)
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "tile_m is %d and tile_n %d; they must be multiples of %d", c->tile_m,
                       c->tile_n, ROWS);
  if (is_wide(c) && (c->tile_m != ROWS || c->tile_n != ROWS))
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "tile_m is %d and tile_n %d; above head_dim %d they must be %d",
                       c->tile_m, c->tile_n, NARROW, ROWS);
  if (c->warps != 4 * (consumers(c) + 1))
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "warps is %d; tile_n %d and head_dim %d need %d: four load, others compute", c->warps, c->tile_n,
                       c->head_dim, 4 * (consumers(c) + 1));
  const bool by_rows = c->tile_m == ROWS * consumers(c);
  if (is_wide(c) || by_rows || (c->tile_m == ROWS && attune_panels(c->head_dim) == consumers(c))) return ATTUNE_OK;
  return attune_fail(
      ATTUNE_ILLEGAL_CONFIG,
      "tile_m is %d, tile_n %d and head_dim %d; dQ is shared by rows where tile_m is tile_n, or by columns "
      "where tile_m is %d, tile_n %d and head_dim above %d",
      c->tile_m, c->tile_n, c->head_dim, ROWS, CONSUMERS_MAX * ROWS, ATTUNE_PANEL);
}

static attune_status legal(const attune_config *c, const attune_device *device) {
  enum { ADDRESSES_AND_STATE = 12 };
  if (device->arch != ATTUNE_WARPGROUPS_ARCH && device->arch != 0) /* 0: the simulator */
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "family wgmma needs sm_%d, this device is sm_%d", ATTUNE_WARPGROUPS_ARCH,
                       device->arch);
  const attune_status status = check_shape(c);
  if (status != ATTUNE_OK) return status;
  const int needs = accumulators(c) + ADDRESSES_AND_STATE, has = registers_of_consumer(c);
  if (needs <= has) return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG, "a thread needs %d registers for its accumulators, it has %d", needs, has);
}

static attune_status serves(const attune_config *config, const attune_problem *p) {
  (void)config;
  if (p->deterministic)
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "family wgmma adds dQ up in any order, and the problem is to be deterministic");
  attune_status status = attune_tensor_map_takes("q", &p->q, p->seqlen_q, p->heads_q, p->batch);
  if (status == ATTUNE_OK) status = attune_tensor_map_takes("k", &p->k, p->seqlen_k, p->heads_kv, p->batch);
  if (status == ATTUNE_OK) status = attune_tensor_map_takes("v", &p->v, p->seqlen_k, p->heads_kv, p->batch);
  return status == ATTUNE_OK ? attune_tensor_map_takes("do", &p->d_o, p->seqlen_q, p->heads_q, p->batch) : status;
}

/* ---- space ---- */

static void warps_axis(attune_axis *out, const attune_config *config, const attune_problem *problem) {
  (void)problem;
  out->values[0] = 4 * (consumers(config) + 1);
}

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = ROWS, .high = ROWS * CONSUMERS_MAX, .axis = {{ROWS, 2 * ROWS}, 2}},
    {ATTUNE_FIELD_TILE_N, .low = ROWS, .high = ROWS * CONSUMERS_MAX, .axis = {{ROWS, 2 * ROWS}, 2}},
    {ATTUNE_FIELD_WARPS, .low = 8, .high = 4 * (CONSUMERS_MAX + 1), .axis_of = warps_axis},
    {ATTUNE_FIELD_STAGES, .low = 1, .high = STAGES_MAX, .axis = {{1, 2, 3}, 3}},
    {ATTUNE_FIELD_MIN_BLOCKS_PER_SM, .high = BLOCKS_MAX, .axis = {{1, 2}, 2}},
};

static void dq(attune_config *out, const attune_config *config) {
  out->family = ATTUNE_FAMILY_DQ_CONVERT;
  out->tile_m = config->tile_m;
  out->tile_n = config->tile_n;
  out->warps = CONVERT_WARPS;
}

static void print_primitives(struct attune_buffer *out, const attune_config *c) {
  attune_print_wgmma(out, c->tile_m, c->dtype, ATTUNE_WGMMA_K_MAJOR);
  attune_print_wgmma_first(out, c->tile_m, c->dtype, ATTUNE_WGMMA_K_MAJOR);
  attune_print_wgmma(out, c->head_dim, c->dtype, ATTUNE_WGMMA_REGISTERS);
  if (c->head_dim_v != c->head_dim) attune_print_wgmma(out, c->head_dim_v, c->dtype, ATTUNE_WGMMA_REGISTERS);
  attune_print_wgmma(out, dq_columns(c), c->dtype, ATTUNE_WGMMA_M_MAJOR);
  attune_print_wgmma_first(out, dq_columns(c), c->dtype, ATTUNE_WGMMA_M_MAJOR);
}

/* ---- cost ---- */

static void cost(attune_cost *out, const attune_config *c, const attune_problem *problem) {
  const double depth = (c->head_dim + 15) / 16 * 16, width = (c->head_dim_v + 15) / 16 * 16;
  const double m = c->tile_m, n = c->tile_n;
  const double dq_width = dq_by_rows(c) ? depth : consumers(c) * dq_columns(c);
  const double owners = is_wide(c) ? 1 : consumers(c); /* of keys */
  const bool softcap = problem->softcap > 0;
  *out = (attune_cost){
      .matrix_flops = 2 * m * n * (2 * depth + 2 * width + dq_width),
      /* Operands: Q and dO twice by each warpgroup (wide: by one), K and V, dS^T written and read, K for dQ; weights.
       */
      .shared_bytes = 2 * m * (depth + width) * (2 * owners + 1) + 2 * n * (depth + width) +
                      2 * m * n * (1 + consumers(c)) + 2 * n * dq_width + (is_wide(c) ? 8 * m * n : 0),
      .loaded_bytes = 2 * m * (depth + width) + 4 * m * depth,
      .exponentials = m * n * (softcap ? 3 : 1),
      .float_operations = m * n * (softcap ? 12 : 8),
      .latency_clocks = c->stages == 1 ? 1400 : 500,
      /* Both fitted to tests/data/measured-h100-backward.txt. */
      .serial_share = consumers(c) * c->min_blocks_per_sm > 1 ? 0.6 : 1,
      .outside_clocks = 12000,
  };
}

const attune_family_row attune_family_backward_wgmma_row = {
    .name = "wgmma",
    .operation = ATTUNE_OPERATION_BACKWARD,
    .template_path = "templates/backward/wgmma.cu",
    .speed = 2,
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
    .print_primitives = print_primitives,
    .serves = serves,
    .dq = dq,
    .tensor_maps = true,
    .own_arch = ATTUNE_WARPGROUPS_ARCH,
    .cost = cost,
};

/* ---- the kernel that converts dQ ---- */

static const attune_config_field convert_schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = ROWS, .high = ROWS * CONSUMERS_MAX},
    {ATTUNE_FIELD_TILE_N, .low = ROWS, .high = ROWS * CONSUMERS_MAX},
    {ATTUNE_FIELD_WARPS, .low = CONVERT_WARPS, .high = CONVERT_WARPS},
};

static attune_status convert_legal(const attune_config *config, const attune_device *device) {
  (void)config, (void)device;
  return ATTUNE_OK;
}

static void convert_layout(attune_layout *out, const attune_config *c) {
  attune_layout_add(out, "staged", 1, (int64_t)ROWS * (2 * dq_columns(c) + 16), 16);
  add_dq(out, c);
}

static int convert_registers(const attune_config *config) {
  (void)config;
  return 40;
}

const attune_family_row attune_family_dq_convert_row = {
    .name = "convert",
    .operation = ATTUNE_OPERATION_DQ,
    .template_path = "templates/backward/convert.cu",
    .legal = convert_legal,
    .schedule = convert_schedule,
    .schedule_count = sizeof convert_schedule / sizeof *convert_schedule,
    .layout = convert_layout,
    .registers = convert_registers,
};
