/* Family mma: tensor cores by mma.sync, tiles by cp.async; every architecture from sm_80 on. The template is
 * templates/forward/mma.cu. */
#include <stdio.h>

#include "generator/base/status.h"
#include "generator/families/family.h"

/* Its own fields. */
enum { Q_IN_REGS };

enum { FIRST_ARCH = 80, FRAGMENT = 16, WARPS_MAX = 8, ROWS_MAX = 64, TILE_N_MAX = 256, STAGES_MAX = 4 };

static int padded(int head_dim) {
  return (head_dim + FRAGMENT - 1) / FRAGMENT * FRAGMENT;
}

/* Bytes of a row in shared memory: an odd number of 16-byte chunks, against bank conflicts. */
static int64_t pitch(int head_dim) {
  return 2 * padded(head_dim) + 16;
}

static int rows_of_warp(const attune_config *config) {
  return config->tile_m / config->warps;
}

static void layout(attune_layout *out, const attune_config *c) {
  attune_layout_add(out, "q", 1, c->tile_m * pitch(c->head_dim), 16);
  attune_layout_add(out, "k", c->stages, c->tile_n * pitch(c->head_dim), 16);
  attune_layout_add(out, "v", c->stages, c->tile_n * pitch(c->head_dim_v), 16);
  attune_layout_overlay(out, "o", c->tile_m * pitch(c->head_dim_v)); /* staged over everything at the end */
  attune_layout_constant(out, "pitch_k", (int)pitch(c->head_dim), "bytes of a row of Q and K");
  attune_layout_constant(out, "pitch_v", (int)pitch(c->head_dim_v), "bytes of a row of V and O");
}

/* Accumulators of S and O and the Q that stays: live all at once, whatever the compiler does. */
static int registers_least(const attune_config *config) {
  const int rows = rows_of_warp(config);
  const int s = rows * config->tile_n / 32;
  const int o = rows * padded(config->head_dim_v) / 32;
  const int q = config->own[Q_IN_REGS] ? rows * padded(config->head_dim) / 64 : 0;
  return s + o + q;
}

static int registers(const attune_config *config) {
  enum { ADDRESSES_AND_STATE = 64, ATOM = 12 }; /* an atom: its maximum, sum and operands in flight */
  return registers_least(config) + ADDRESSES_AND_STATE + rows_of_warp(config) / FRAGMENT * ATOM;
}

/* ---- legal ---- */

static attune_status check_shape(const attune_config *c) {
  if (c->tile_m % (FRAGMENT * c->warps) != 0) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "tile_m is %d; with %d warps it must be a multiple of %d", c->tile_m,
                       c->warps, FRAGMENT * c->warps);
  }
  if (rows_of_warp(c) > ROWS_MAX) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "tile_m %d over %d warps gives a warp %d rows, it holds %d", c->tile_m,
                       c->warps, rows_of_warp(c), ROWS_MAX);
  }
  if (c->tile_n % FRAGMENT != 0) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "tile_n is %d; it must be a multiple of %d", c->tile_n, FRAGMENT);
  }
  return ATTUNE_OK;
}

static attune_status check_registers(const attune_config *c, const attune_device *device) {
  enum { USABLE = 240 }; /* of 255, what addresses and loop state leave at best */
  const int least = registers_least(c), cap = attune_register_cap(c, device);
  if (least > USABLE) {
    return attune_fail(
        ATTUNE_ILLEGAL_CONFIG,
        "a thread needs %d registers for S, O and Q alone (%d rows a warp), it has %d: use more warps or a "
        "smaller tile",
        least, rows_of_warp(c), USABLE);
  }
  if (least > cap) {
    return attune_fail(
        ATTUNE_ILLEGAL_CONFIG,
        "a thread needs %d registers for S, O and Q alone, %d blocks of %d threads leave it %d of this SM's %d", least,
        c->min_blocks_per_sm, c->warps * 32, cap, device->registers_per_sm);
  }
  return ATTUNE_OK;
}

static attune_status legal(const attune_config *c, const attune_device *device) {
  if (device->arch != 0 && device->arch < FIRST_ARCH) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "family mma needs sm_%d or later, this device is sm_%d", FIRST_ARCH,
                       device->arch);
  }
  const attune_status status = check_shape(c);
  return status ? status : check_registers(c, device);
}

/* ---- space ---- */

/* One or two warps serve short tiles alone. */
static void warps_axis(attune_axis *out, const attune_config *config, const attune_problem *problem) {
  enum { TINY_TILE_M = 32 };
  (void)problem;
  if (config->tile_m > TINY_TILE_M) *out = (attune_axis){.values = {4, 8}, .count = 2};
}

/* Without a bound all tiles are equally long: only the order of heads matters. */
static void order_axis(attune_axis *out, const attune_config *config, const attune_problem *problem) {
  (void)problem;
  if (config->mask_bounds == ATTUNE_MASK_BOUNDS_NONE) out->count = 2;
}

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = FRAGMENT, .high = WARPS_MAX * ROWS_MAX, .axis = {{16, 32, 64, 128, 192, 256}, 6}},
    {ATTUNE_FIELD_TILE_N, .low = FRAGMENT, .high = TILE_N_MAX, .axis = {{16, 32, 48, 64, 80, 96, 112, 128}, 8}},
    {ATTUNE_FIELD_WARPS, .low = 1, .high = WARPS_MAX, .axis = {{1, 2, 4, 8}, 4}, .axis_of = warps_axis},
    {ATTUNE_FIELD_STAGES, .low = 1, .high = STAGES_MAX, .axis = {{1, 2, 3, 4}, 4}},
    {ATTUNE_OWN_FIELD(Q_IN_REGS, "q_in_regs"), .prefix = "q_in_regs", .flag = true, .high = 1, .axis = {{0, 1}, 2},
     .meaning = "Q's fragments stay in registers, else they come from shared memory at every tile"},
    {ATTUNE_FIELD_LAZY_RESCALE, .axis = {{0, 1}, 2}},
    {ATTUNE_FIELD_ORDER, .high = ATTUNE_ORDER_LPT, .axis_of = order_axis,
     .axis = {{ATTUNE_ORDER_LINEAR, ATTUNE_ORDER_HEADS, ATTUNE_ORDER_REVERSED, ATTUNE_ORDER_LPT}, 4}},
    {ATTUNE_FIELD_SPLITS},
    {ATTUNE_FIELD_MIN_BLOCKS_PER_SM, .high = INT32_MAX, .axis = {{1, 2, 3}, 3}},
};

/* ---- cost ---- */

static void cost(attune_cost *out, const attune_config *c, const attune_problem *problem) {
  const double depth = padded(c->head_dim), width = padded(c->head_dim_v);
  const double m = c->tile_m, n = c->tile_n;
  const double kv_bytes = 2 * n * (depth + width);
  const double q_bytes = 2 * m * depth;
  const bool softcap = problem->softcap > 0;
  /* The fewer rows a warp owns, the more often K and V leave shared memory: once for every warp. */
  *out = (attune_cost){
      .matrix_flops = 2 * m * n * (depth + width),
      .shared_bytes = kv_bytes * (c->warps + 1) + (c->own[Q_IN_REGS] ? 0 : q_bytes),
      .loaded_bytes = kv_bytes,
      .exponentials = m * n * (softcap ? 3 : 1),
      .float_operations = m * n * (softcap ? 7 : 4) + (c->lazy_rescale ? 0.1 : 1) * m * width,
      .latency_clocks = 100,
      .outside_clocks = 2500 + (q_bytes + 2 * m * width) / 32,
  };
}

const attune_family_row attune_family_mma_row = {
    .name = "mma",
    .operation = ATTUNE_OPERATION_FORWARD,
    .template_path = "templates/forward/mma.cu",
    .speed = 1,
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
    .cost = cost,
};
