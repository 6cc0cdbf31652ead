/* Family lists: no attention, but the kernel that builds and checks block lists. A warp a row of blocks; its tile is a
 * listed block. */
#include <math.h>

#include "generator/base/status.h"
#include "generator/families/family.h"

enum { WARPS = 4 };

static int32_t tile_high(const attune_config *c) {
  return c->list_block;
}

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = 16, .high_of = tile_high},
    {ATTUNE_FIELD_TILE_N, .low = 16, .high_of = tile_high},
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},
    {ATTUNE_FIELD_STAGES, .low = 1, .high = 1},
    {ATTUNE_FIELD_BLOCKS, .high = 1},
};

static attune_status legal(const attune_config *c, const attune_device *device) {
  (void)device;
  if (c->list_block > 0 && c->tile_m == c->list_block && c->tile_n == c->list_block) return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG, "family lists has tiles of its blocks: m%d and n%d", c->list_block,
                     c->list_block);
}

static void layout(attune_layout *out, const attune_config *config) {
  (void)out, (void)config;
}

static int registers(const attune_config *config) {
  (void)config;
  return 40;
}

static void cost(attune_cost *out, const attune_config *config, const attune_problem *problem) {
  (void)config, (void)problem;
  *out = (attune_cost){.outside_clocks = 4000};
}

const attune_family_row attune_family_block_mask_row = {
    .template_path = "templates/block_mask/builder.cu",
    .speed = -1,
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
    .cost = cost,
};

attune_status attune_config_block_mask(attune_config *out, attune_problem *mask, const attune_problem *problem) {
  if (out == NULL || mask == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "config of lists: null pointer");
  const attune_status status = attune_problem_check(problem);
  if (status) return status;
  if (problem->block_size == 0)
    return attune_fail(ATTUNE_BAD_SIZE, "the problem has no block_size: set it to list blocks");
  attune_problem p = *problem;
  p.dtype = ATTUNE_BF16;
  p.head_dim = p.head_dim_v = 64;
  p.q = p.k = p.v = p.o = p.bias = (attune_strides){0};
  p.scale = NAN;
  p.softcap = 0;
  p.score_expr = NULL;
  p.want_lse = p.want_bias = p.want_sinks = 0;
  attune_config_of_problem(out, ATTUNE_FAMILY_BLOCK_MASK, &p);
  out->tile_m = out->tile_n = out->list_block;
  out->warps = WARPS;
  out->stages = out->blocks = 1;
  return attune_problem_resolve(mask, &p);
}
