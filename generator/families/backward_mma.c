/* The backward pass by mma.sync and cp.async, for every architecture from sm_80 on (templates/backward/mma.cu). One
 * kernel has a tile of keys in a block and goes through the queries, for the gradients of K and V; another has a tile
 * of queries and goes through the keys, for that of Q. Nothing is added up across blocks, so that the gradients of a
 * config are the same bits on every run. */
#include "generator/base/status.h"
#include "generator/families/family.h"

/* Own fields of the first kernel, and the second one's schedule. */
enum { SPLIT_DKV, DQ_TILE_M, DQ_TILE_N, DQ_WARPS, DQ_STAGES, DQ_MIN_BLOCKS_PER_SM };

enum { FIRST_ARCH = 80, FRAGMENT = 16, WARPS_MAX = 8, ROWS_MAX = 32, TILE_MAX = 256, STAGES_MAX = 3 };

static int padded(int head_dim) {
  return (head_dim + FRAGMENT - 1) / FRAGMENT * FRAGMENT;
}

/* Bytes of a row in shared memory: an odd number of 16-byte chunks, against bank conflicts. */
static int64_t pitch(int head_dim) {
  return 2 * padded(head_dim) + 16;
}

static bool is_dq(const attune_config *config) {
  return config->family == ATTUNE_FAMILY_DQ_MMA;
}

/* Rows that a block owns, and rows of a step. */
static int own_rows(const attune_config *config) {
  return is_dq(config) ? config->tile_m : config->tile_n;
}
static int step_rows(const attune_config *config) {
  return is_dq(config) ? config->tile_n : config->tile_m;
}
static int rows_of_warp(const attune_config *config) {
  return own_rows(config) / config->warps;
}

static void layout(attune_layout *out, const attune_config *c) {
  enum { TERMS_BYTES = 8 };
  const int64_t k = pitch(c->head_dim), v = pitch(c->head_dim_v);
  attune_layout_add(out, "own_k", 1, own_rows(c) * k, 16);
  attune_layout_add(out, "own_v", 1, own_rows(c) * v, 16);
  attune_layout_add(out, "step_k", c->stages, step_rows(c) * k, 16);
  attune_layout_add(out, "step_v", c->stages, step_rows(c) * v, 16);
  if (!is_dq(c)) attune_layout_add(out, "terms", c->stages, (int64_t)step_rows(c) * TERMS_BYTES, 16);
  attune_layout_overlay(out, "staged", own_rows(c) * (k > v ? k : v)); /* a gradient, over everything at the end */
  attune_layout_constant(out, "staged_pitch", (int)(k > v ? k : v), "bytes of a row of a gradient");
  attune_layout_constant(out, "pitch_k", (int)k, "bytes of a row of Q and K");
  attune_layout_constant(out, "pitch_v", (int)v, "bytes of a row of V and dO");
}

/* Accumulators: live all at once, whatever the compiler does. */
static int registers_least(const attune_config *c) {
  const int depth = padded(c->head_dim), width = padded(c->head_dim_v);
  const int larger = depth > width ? depth : width;
  const int gradients = is_dq(c) ? depth : c->own[SPLIT_DKV] ? larger : depth + width;
  return rows_of_warp(c) * (gradients + 2 * step_rows(c)) / 32;
}

static int registers(const attune_config *config) {
  enum { ADDRESSES_AND_STATE = 88 }; /* fitted to what ptxas 13.0 reports for sm_80 and sm_90 */
  const int operand = rows_of_warp(config) * step_rows(config) / 64; /* P or dS, packed */
  return registers_least(config) + operand + ADDRESSES_AND_STATE;
}

static attune_status legal(const attune_config *c, const attune_device *device) {
  enum { USABLE = 232 };
  const char *own = is_dq(c) ? "tile_m" : "tile_n", *step = is_dq(c) ? "tile_n" : "tile_m";
  if (device->arch != 0 && device->arch < FIRST_ARCH)
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "family mma needs sm_%d or later, this device is sm_%d", FIRST_ARCH,
                       device->arch);
  if (own_rows(c) % (FRAGMENT * c->warps) != 0)
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s is %d; with %d warps it must be a multiple of %d", own, own_rows(c),
                       c->warps, FRAGMENT * c->warps);
  if (rows_of_warp(c) > ROWS_MAX)
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s %d over %d warps gives a warp %d rows, it holds %d", own, own_rows(c),
                       c->warps, rows_of_warp(c), ROWS_MAX);
  if (step_rows(c) % FRAGMENT != 0)
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s is %d; it must be a multiple of %d", step, step_rows(c), FRAGMENT);
  const int least = registers_least(c), cap = attune_register_cap(c, device), usable = cap < USABLE ? cap : USABLE;
  if (least <= usable) return ATTUNE_OK;
  return attune_fail(
      ATTUNE_ILLEGAL_CONFIG,
      "a thread needs %d registers for the accumulators alone, it has %d: use more warps or a smaller %s", least,
      usable, step);
}

/* ---- space ---- */

static void dq(attune_config *out, const attune_config *config) {
  out->family = ATTUNE_FAMILY_DQ_MMA;
  out->tile_m = config->own[DQ_TILE_M];
  out->tile_n = config->own[DQ_TILE_N];
  out->warps = config->own[DQ_WARPS];
  out->stages = config->own[DQ_STAGES];
  out->min_blocks_per_sm = config->own[DQ_MIN_BLOCKS_PER_SM];
}

/* dK and dV together must fit the registers. */
static void split_dkv_axis(attune_axis *out, const attune_config *config, const attune_problem *problem) {
  enum { TOGETHER = 384 };
  (void)problem;
  if (padded(config->head_dim) + padded(config->head_dim_v) > TOGETHER) *out = (attune_axis){.values = {1}, .count = 1};
}

static void split_dkv_refine(attune_axis *out, const attune_config *config) {
  (void)config;
  *out = (attune_axis){.values = {1}, .count = 1};
}

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = FRAGMENT, .high = TILE_MAX, .axis = {{16, 32, 64, 128}, 4}},
    {ATTUNE_FIELD_TILE_N, .low = FRAGMENT, .high = TILE_MAX, .axis = {{64, 128}, 2}},
    {ATTUNE_FIELD_WARPS, .low = 1, .high = WARPS_MAX, .axis = {{4, 8}, 2}},
    {ATTUNE_FIELD_STAGES, .low = 1, .high = STAGES_MAX, .axis = {{1, 2}, 2}},
    {ATTUNE_OWN_FIELD(SPLIT_DKV, "split_dkv"), .prefix = "split_dkv", .flag = true, .high = 1,
     .axis_of = split_dkv_axis, .refine = split_dkv_refine,
     .meaning = "dK and dV are worked on by blocks of their own"},
    {ATTUNE_FIELD_MIN_BLOCKS_PER_SM, .high = INT32_MAX, .axis = {{1, 2}, 2}},
    {ATTUNE_OWN_FIELD(DQ_TILE_M, "dq_tile_m"), .prefix = "dq_m", .absent = ATTUNE_NEVER_ABSENT, .low = FRAGMENT,
     .high = TILE_MAX, .axis = {{64, 128}, 2}, .meaning = "query rows of a block of the kernel for dQ"},
    {ATTUNE_OWN_FIELD(DQ_TILE_N, "dq_tile_n"), .prefix = "dq_n", .absent = ATTUNE_NEVER_ABSENT, .low = FRAGMENT,
     .high = TILE_MAX, .axis = {{16, 32, 64, 128}, 4}, .meaning = "key rows of a step of it"},
    {ATTUNE_OWN_FIELD(DQ_WARPS, "dq_warps"), .prefix = "dq_w", .absent = ATTUNE_NEVER_ABSENT, .low = 1,
     .high = WARPS_MAX, .axis = {{4, 8}, 2}, .meaning = "warps of a block of it"},
    {ATTUNE_OWN_FIELD(DQ_STAGES, "dq_stages"), .prefix = "dq_s", .absent = ATTUNE_NEVER_ABSENT, .low = 1,
     .high = STAGES_MAX, .axis = {{1, 2}, 2}, .meaning = "its K tiles and V tiles in shared memory"},
    {ATTUNE_OWN_FIELD(DQ_MIN_BLOCKS_PER_SM, "dq_min_blocks_per_sm"), .prefix = "dq_b", .absent = ATTUNE_NEVER_ABSENT,
     .low = 1, .high = INT32_MAX, .axis = {{1, 2}, 2}, .meaning = "blocks of it that an SM should hold"},
};

static const attune_config_field dq_schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = FRAGMENT, .high = TILE_MAX}, {ATTUNE_FIELD_TILE_N, .low = FRAGMENT, .high = TILE_MAX},
    {ATTUNE_FIELD_WARPS, .low = 1, .high = WARPS_MAX},        {ATTUNE_FIELD_STAGES, .low = 1, .high = STAGES_MAX},
    {ATTUNE_FIELD_MIN_BLOCKS_PER_SM, .high = INT32_MAX},
};

/* ---- cost ---- */

/* Of one kernel. */
static void cost(attune_cost *out, const attune_config *c, const attune_problem *problem) {
  const double depth = padded(c->head_dim), width = padded(c->head_dim_v);
  const double own = own_rows(c), step = step_rows(c);
  const bool split = c->own[SPLIT_DKV] && !is_dq(c);
  /* Of blocks that work on dK and of those that work on dV the mean. */
  const double products = is_dq(c) ? 2 * depth + width : split ? 1.5 * depth + width : 2 * depth + 2 * width;
  const double step_bytes = 2 * step * (depth + width), own_bytes = 2 * own * (depth + width);
  const bool softcap = problem->softcap > 0;
  /* Each warp reads the step's tiles for each of two products, and its own rows. */
  *out = (attune_cost){
      .matrix_flops = 2 * own * step * products,
      .shared_bytes = step_bytes * (2 * c->warps + 1) + own_bytes,
      .loaded_bytes = step_bytes,
      .exponentials = own * step * (softcap ? 3 : 1),
      .float_operations = own * step * (softcap ? 10 : 6),
      .latency_clocks = c->stages == 1 ? 900 : 100, /* with one stage a step waits for its own tiles */
      .outside_clocks = 2500 + 2 * own_bytes / 32,
  };
}

#define MMA                                                                                                            \
  .name = "mma", .template_path = "templates/backward/mma.cu", .speed = 1, .legal = legal, .layout = layout,           \
  .registers = registers, .cost = cost

const attune_family_row attune_family_backward_mma_row = {
    MMA,
    .operation = ATTUNE_OPERATION_BACKWARD,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .dq = dq,
};
const attune_family_row attune_family_dq_mma_row = {
    MMA,
    .operation = ATTUNE_OPERATION_DQ,
    .schedule = dq_schedule,
    .schedule_count = sizeof dq_schedule / sizeof *dq_schedule,
};
