/* How the kernel of a config is built and launched. */
#include <stdio.h>

#include "generator/base/status.h"
#include "generator/families/family.h"

void attune_config_target(char out[16], const attune_config *config, const char *arch) {
  const attune_family_row *family = attune_family_find(config->family);
  snprintf(out, 16, "%s%s", arch, family != NULL && family->own_arch != 0 ? "a" : "");
}

/* What each block works on: so many parts of each head. */
typedef struct {
  int64_t parts;
  const char *of; /* "tiles of queries" */
  int32_t heads;
} grid_shape;

/* The kernel for dK and dV goes by tiles of keys, the one that converts dQ by parts of its tiles, all others by tiles
 * of queries. */
static grid_shape grid_shape_of(const attune_config *config, const attune_problem *problem, int64_t tiles_m) {
  if (config->family == ATTUNE_FAMILY_DQ_CONVERT)
    return (grid_shape){tiles_m * attune_dq_parts(config), "parts of dQ", problem->heads_q};
  if (attune_config_operation(config) != ATTUNE_OPERATION_BACKWARD)
    return (grid_shape){tiles_m * config->splits, "tiles of queries", problem->heads_q / config->pack_gqa};
  const int64_t tiles_n = attune_blocks_of(problem->seqlen_k, config->tile_n);
  return (grid_shape){tiles_n * (attune_config_value(config, "split_dkv") ? 2 : 1), "tiles of keys", problem->heads_kv};
}

attune_status attune_launch_of(attune_launch *out, const attune_config *config, const attune_problem *problem) {
  if (out == NULL || config == NULL || problem == NULL) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "launch: null pointer");
  }
  const attune_family_row *family = attune_family_find(config->family);
  if (family != NULL && attune_config_field_named(config->family, "tile_m") == NULL) {
    *out = (attune_launch){.threads = config->warps * 32,
                           .shared_bytes = (int32_t)attune_shared_bytes(config),
                           .tiles_m = 1,
                           .splits = 1,
                           .cluster = 1};
    return ATTUNE_OK;
  }
  if (family == NULL || config->tile_m < 1 || config->tile_n < 1 || config->warps < 1 || config->cluster < 1 ||
      config->pack_gqa < 1 || config->splits < 1) {
    return attune_fail(
        ATTUNE_ILLEGAL_CONFIG, "family %d, tile_m %d, warps %d, pack_gqa %d, cluster %d, splits %d: not a config",
        config->family, config->tile_m, config->warps, config->pack_gqa, config->cluster, config->splits);
  }
  attune_status status = family->serves != NULL ? family->serves(config, problem) : ATTUNE_OK;
  if (status) return status;
  /* Whole rows of the mask's blocks, whole clusters: tiles past the last query have no rows. */
  const int64_t queries = config->tile_m / config->pack_gqa; /* of a tile */
  const int64_t step = config->sparse_block_size > 0 ? config->sparse_block_size : config->cluster * queries;
  const int64_t rows = (problem->seqlen_q + step - 1) / step * step, tiles = (rows + queries - 1) / queries;
  const grid_shape shape = grid_shape_of(config, problem, tiles);
  int64_t grid;
  if (__builtin_mul_overflow(shape.parts * shape.heads, (int64_t)problem->batch, &grid) || grid > INT32_MAX) {
    return attune_fail(ATTUNE_UNSUPPORTED, "batch %d x %d heads x %lld %s is more than the %d blocks of a grid",
                       problem->batch, shape.heads, (long long)shape.parts, shape.of, INT32_MAX);
  }
  *out = (attune_launch){
      .grid = (int32_t)grid,
      .threads = config->warps * 32,
      .shared_bytes = (int32_t)attune_shared_bytes(config),
      .tiles_m = (int32_t)tiles,
      .splits = config->splits,
      .cluster = config->cluster,
      .resident = config->persistent ? config->min_blocks_per_sm : 0,
  };
  return ATTUNE_OK;
}

int32_t attune_launch_blocks(const attune_launch *launch, const attune_device *device) {
  const int64_t slots = (int64_t)launch->resident * device->sm_count;
  if (slots == 0 || slots >= launch->grid) return launch->grid;
  const int64_t whole = slots - slots % launch->cluster;
  return whole > 0 ? (int32_t)whole : launch->cluster;
}
