/* Family combine: not in the space; the second step of a config that splits the keys. A warp adds up a row's partial
 * results (templates/forward/combine.cu). */
#include "generator/base/status.h"
#include "generator/families/family.h"

enum { WARPS = 4, TILE_M = WARPS };

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = TILE_M, .high = TILE_M},
    {ATTUNE_FIELD_WARPS, .low = WARPS, .high = WARPS},
    {ATTUNE_FIELD_SPLITS},
    {ATTUNE_FIELD_BLOCKS, .high = 1},
};

static attune_status legal(const attune_config *config, const attune_device *device) {
  (void)config, (void)device;
  return ATTUNE_OK;
}

static void layout(attune_layout *out, const attune_config *config) {
  (void)out, (void)config;
}

static int registers(const attune_config *config) {
  return 32 + config->head_dim_v / 32;
}

static void cost(attune_cost *out, const attune_config *config, const attune_problem *problem) {
  (void)config, (void)problem;
  *out = (attune_cost){.outside_clocks = 2000};
}

const attune_family_row attune_family_combine_row = {
    .template_path = "templates/forward/combine.cu",
    .speed = -1,
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
    .cost = cost,
};

void attune_config_combine(attune_config *out, const attune_config *config) {
  *out = (attune_config){.family = ATTUNE_FAMILY_COMBINE,
                         .dtype = config->dtype,
                         .head_dim = config->head_dim_v,
                         .head_dim_v = config->head_dim_v,
                         .sinks = config->sinks,
                         .lse = config->lse,
                         .tile_m = TILE_M,
                         .warps = WARPS,
                         .splits = config->splits,
                         .blocks = 1};
  attune_config_complete(out);
}

/* ---- how many splits are worth trying, for the families that have them ---- */

/* Blocks that one split has. */
static int64_t blocks_of(const attune_config *config, const attune_problem *p) {
  const int64_t rows = (int64_t)p->seqlen_q * config->heads_packed;
  return (rows + config->tile_m - 1) / config->tile_m * (p->heads_q / config->heads_packed) * p->batch;
}

/* As long as there are fewer blocks than the largest GPU holds, and each has some tiles of keys. */
void attune_splits_axis(attune_axis *out, const attune_config *config, const attune_problem *problem) {
  enum { MOST_BLOCKS = 512, FEWEST_TILES = 2 };
  *out = (attune_axis){.values = {1}, .count = 1};
  if (problem == NULL || config->pattern || config->list_block > 0 || config->heads_packed < 1) return;
  for (int32_t splits = 2; splits <= ATTUNE_SPLITS_MAX; splits *= 2) {
    if (blocks_of(config, problem) * splits > MOST_BLOCKS) break;
    if (problem->seqlen_k < splits * FEWEST_TILES * config->tile_n) break;
    out->values[out->count++] = splits;
  }
}

/* Halves and doubles, and what lies between: 132 multiprocessors are no power of two. */
void attune_splits_refine(attune_axis *out, const attune_config *config) {
  static const int32_t values[] = {2, 3, 4, 6, 8, 11, 16, 22, 32, 44, 64, 96, 128};
  *out = (attune_axis){.count = 0};
  if (config->pattern || config->list_block > 0) return;
  for (size_t i = 0; i < sizeof values / sizeof *values; i++)
    if (2 * values[i] >= config->splits && values[i] <= 2 * config->splits && config->splits > 1)
      out->values[out->count++] = values[i];
}
