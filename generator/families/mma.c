/* Family mma: tensor cores by mma.sync, tiles by cp.async; every architecture from sm_80 on. The template is
 * templates/forward_mma.cu, whose layout of shared memory and of registers stands here as arithmetic. */
#include <stdio.h>

#include "generator/base/status.h"
#include "generator/families/family.h"

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

static int64_t shared_bytes(const attune_config *config) {
  const int64_t q = config->tile_m * pitch(config->head_dim);
  const int64_t o = config->tile_m * pitch(config->head_dim_v);
  const int64_t kv = (int64_t)config->stages * config->tile_n * (pitch(config->head_dim) + pitch(config->head_dim_v));
  return q + kv > o ? q + kv : o; /* O is staged over everything at the end */
}

/* Accumulators of S and O and the Q that stays: live all at once, whatever the compiler does. */
static int registers_least(const attune_config *config) {
  const int rows = rows_of_warp(config);
  const int s = rows * config->tile_n / 32;
  const int o = rows * padded(config->head_dim_v) / 32;
  const int q = config->q_registers ? rows * padded(config->head_dim) / 64 : 0;
  return s + o + q;
}

static int registers(const attune_config *config) {
  enum { ADDRESSES_AND_STATE = 64, ATOM = 12 }; /* an atom: its maximum, sum and operands in flight */
  return registers_least(config) + ADDRESSES_AND_STATE + rows_of_warp(config) / FRAGMENT * ATOM;
}

/* ---- legal ---- */

static attune_status check_range(const char *name, int32_t value, int32_t low, int32_t high) {
  if (value >= low && value <= high) return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s is %d; it must be from %d to %d", name, value, low, high);
}

static attune_status check_shape(const attune_config *c) {
  attune_status status;
  if ((status = check_range("warps", c->warps, 1, WARPS_MAX))) return status;
  if ((status = check_range("tile_m", c->tile_m, FRAGMENT, WARPS_MAX * ROWS_MAX))) return status;
  if ((status = check_range("tile_n", c->tile_n, FRAGMENT, TILE_N_MAX))) return status;
  if ((status = check_range("stages", c->stages, 1, STAGES_MAX))) return status;
  if ((status = check_range("q_registers", c->q_registers, 0, 1))) return status;
  if ((status = check_range("lazy_rescale", c->lazy_rescale, 0, 1))) return status;
  if ((status = check_range("order", c->order, 0, ATTUNE_ORDER_LONGEST))) return status;
  if (c->q_prefetch || c->overlap || c->rotation || c->halves || c->persistent) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "q_prefetch %d, overlap %d, rotation %d, halves %d, persistent %d: family mma has none of them",
                       c->q_prefetch, c->overlap, c->rotation, c->halves, c->persistent);
  }
  if (c->rescale_before || c->p_shared || c->o_place || c->polynomial || c->heads_packed != 1 || c->cluster != 1) {
    return attune_fail(
        ATTUNE_ILLEGAL_CONFIG,
        "rescale_before %d, p_shared %d, o_place %d, polynomial %d: family mma has none of them; heads_packed %d, "
        "cluster %d: it has 1",
        c->rescale_before, c->p_shared, c->o_place, c->polynomial, c->heads_packed, c->cluster);
  }
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
        c->blocks, c->warps * 32, cap, device->registers_per_sm);
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

static const struct {
  size_t offset;
  attune_axis axis;
} axes[] = {
    {offsetof(attune_config, tile_m), {{16, 32, 64, 128, 192, 256}, 6}},
    {offsetof(attune_config, tile_n), {{16, 32, 48, 64, 80, 96, 112, 128}, 8}},
    {offsetof(attune_config, warps), {{1, 2, 4, 8}, 4}},
    {offsetof(attune_config, stages), {{1, 2, 3, 4}, 4}},
    {offsetof(attune_config, q_registers), {{0, 1}, 2}},
    {offsetof(attune_config, lazy_rescale), {{0, 1}, 2}},
    {offsetof(attune_config, order),
     {{ATTUNE_ORDER_LINEAR, ATTUNE_ORDER_HEADS, ATTUNE_ORDER_REVERSED, ATTUNE_ORDER_LONGEST}, 4}},
    {offsetof(attune_config, heads_packed), {{1}, 1}},
    {offsetof(attune_config, cluster), {{1}, 1}},
    {offsetof(attune_config, blocks), {{1, 2, 3}, 3}},
};

static void axis(attune_axis *out, const attune_config *config, const attune_config_field *field,
                 const attune_problem *problem) {
  (void)problem;
  enum { TINY_TILE_M = 32 };
  *out = (attune_axis){.values = {0}, .count = 1};
  for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
    if (axes[i].offset == field->offset) *out = axes[i].axis;
  }
  /* Without a bound all tiles are equally long: only the order of heads matters. */
  if (field->offset == offsetof(attune_config, order) && config->bound == ATTUNE_BOUND_NONE) out->count = 2;
  /* One or two warps serve short tiles alone. */
  if (field->offset == offsetof(attune_config, warps) && config->tile_m > TINY_TILE_M) {
    *out = (attune_axis){.values = {4, 8}, .count = 2};
  }
}

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
      .shared_bytes = kv_bytes * (c->warps + 1) + (c->q_registers ? 0 : q_bytes),
      .loaded_bytes = kv_bytes,
      .exponentials = m * n * (softcap ? 3 : 1),
      .float_operations = m * n * (softcap ? 7 : 4) + (c->lazy_rescale ? 0.1 : 1) * m * width,
      .latency_clocks = 100,
      .outside_clocks = 2500 + (q_bytes + 2 * m * width) / 32,
  };
}

const attune_family_row attune_family_mma_row = {
    .template_path = "templates/forward_mma.cu",
    .speed = 1,
    .legal = legal,
    .axis = axis,
    .shared_bytes = shared_bytes,
    .registers = registers,
    .cost = cost,
};
