/* Family lists: no attention, but the kernel that builds and checks block lists. A warp a row of blocks; its tile is a
 * listed block. */
#include <math.h>

#include "generator/base/status.h"
#include "generator/families/family.h"

enum { WARPS = 4 };

static attune_status legal(const attune_config *c, const attune_device *device) {
  (void)device;
  if (c->list_block > 0 && c->tile_m == c->list_block && c->tile_n == c->list_block && c->warps == WARPS &&
      c->stages == 1 && c->heads_packed == 1 && c->cluster == 1 && c->blocks == 1)
    return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                     "family lists has tiles of its blocks, %d warps, one stage and one block: forward.lists...list%d"
                     ".m%d.n%d.w%d.s1.b1",
                     WARPS, c->list_block, c->list_block, c->list_block, WARPS);
}

static void axis(attune_axis *out, const attune_config *config, const attune_config_field *field,
                 const attune_problem *problem) {
  (void)problem;
  const attune_config only = {.tile_m = config->list_block,
                              .tile_n = config->list_block,
                              .warps = WARPS,
                              .stages = 1,
                              .heads_packed = 1,
                              .cluster = 1,
                              .blocks = 1};
  *out = (attune_axis){.values = {attune_config_get(&only, field)}, .count = 1};
}

static int64_t shared_bytes(const attune_config *config) {
  (void)config;
  return 0;
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
    .template_path = "templates/lists.cu",
    .speed = -1,
    .legal = legal,
    .axis = axis,
    .shared_bytes = shared_bytes,
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
  p.score_expr[0] = '\0';
  p.want_lse = p.want_bias = p.want_sinks = 0;
  attune_config_of_problem(out, ATTUNE_FAMILY_BLOCK_MASK, &p);
  for (int i = 0; i < attune_config_field_count; i++) {
    attune_axis only;
    if (!attune_config_fields[i].schedule) continue;
    axis(&only, out, &attune_config_fields[i], &p);
    attune_config_set(out, &attune_config_fields[i], only.values[0]);
  }
  return attune_problem_resolve(mask, &p);
}
