/* Which configs there are for a problem, which of them a device can run, and how they are launched. */
#include <math.h>
#include <stdio.h>

#include "generator/base/status.h"
#include "generator/base/text.h"
#include "generator/families/family.h"

static const attune_family_row *const families[ATTUNE_FAMILY_LAST + 1] = {
    [ATTUNE_FAMILY_REFERENCE] = &attune_family_reference_row,
    [ATTUNE_FAMILY_MMA] = &attune_family_mma_row,
    [ATTUNE_FAMILY_WGMMA] = &attune_family_wgmma_row,
    [ATTUNE_FAMILY_BLOCK_MASK] = &attune_family_block_mask_row,
    [ATTUNE_FAMILY_COMBINE] = &attune_family_combine_row,
};

const attune_family_row *attune_family_find(int32_t family) {
  return family >= 0 && family <= ATTUNE_FAMILY_LAST ? families[family] : NULL;
}

int64_t attune_shared_bytes(const attune_config *config) {
  attune_layout layout = {0};
  attune_family_find(config->family)->layout(&layout, config);
  return (layout.bytes + 15) / 16 * 16;
}

/* ---- legal ---- */

static attune_status check_computed(const attune_config *c) {
  const struct {
    const char *name;
    int32_t value, limit;
  } ranges[] = {{"dtype", c->dtype, ATTUNE_BF16}, {"bound", c->bound, ATTUNE_BOUND_WINDOW},
                {"pattern", c->pattern, 1},       {"score", c->score, ATTUNE_SCORE_EXPRESSION},
                {"sinks", c->sinks, 1},           {"lse", c->lse, 1}};
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    if (ranges[i].value < 0 || ranges[i].value > ranges[i].limit) {
      return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s is %d; it must be from 0 to %d", ranges[i].name, ranges[i].value,
                         ranges[i].limit);
    }
  }
  const bool has_expressions = c->pattern || c->score == ATTUNE_SCORE_EXPRESSION;
  if (has_expressions != (c->expressions > 0)) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "expressions is %d, with pattern %d and score %d; it names what those two have", c->expressions,
                       c->pattern, c->score);
  }
  if (c->list_block < 0 || c->list_block > ATTUNE_BLOCK_SIZE_MAX || c->list_block % 16 != 0) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "list_block is %d; it must be a multiple of 16 up to %d", c->list_block,
                       ATTUNE_BLOCK_SIZE_MAX);
  }
  const int32_t dims[2] = {c->head_dim, c->head_dim_v};
  for (int i = 0; i < 2; i++) {
    if (dims[i] < 8 || dims[i] > 256 || dims[i] % 8 != 0) {
      return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s is %d; it must be a multiple of 8 from 8 to 256",
                         i == 0 ? "head_dim" : "head_dim_v", dims[i]);
    }
  }
  return ATTUNE_OK;
}

/* Bytes with separators, as messages say them. */
static const char *grouped(char out[32], int64_t number) {
  char digits[24];
  const int length = snprintf(digits, sizeof digits, "%lld", (long long)number);
  char *to = out;
  for (int i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0) *to++ = ',';
    *to++ = digits[i];
  }
  *to = '\0';
  return out;
}

static attune_status check_residence(const attune_config *c, const attune_device *device) {
  char needs[32], allows[32];
  const int threads = c->warps * 32;
  const int64_t shared = attune_shared_bytes(c);
  if (threads > device->threads_per_block) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "needs %d threads a block, this device allows %d", threads,
                       device->threads_per_block);
  }
  if (shared > device->shared_per_block) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "needs %s bytes of shared memory, this device allows %s",
                       grouped(needs, shared), grouped(allows, device->shared_per_block));
  }
  if (c->blocks < 1 || c->blocks > device->blocks_per_sm) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "blocks is %d; an SM of this device holds from 1 to %d", c->blocks,
                       device->blocks_per_sm);
  }
  if (c->blocks * threads > device->threads_per_sm) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "needs %d threads for %d blocks on an SM, this device has %d",
                       c->blocks * threads, c->blocks, device->threads_per_sm);
  }
  const int64_t together = c->blocks * (shared + device->shared_reserved);
  if (together > device->shared_per_sm) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "needs %s bytes of shared memory for %d blocks on an SM, this device has %s",
                       grouped(needs, together), c->blocks, grouped(allows, device->shared_per_sm));
  }
  return ATTUNE_OK;
}

static attune_status check_ranges(const attune_config *c) {
  for (int i = 0; i < attune_config_field_count(c->family); i++) {
    const attune_config_field *field = attune_config_field_at(c->family, i);
    if (!field->schedule) continue;
    const int32_t value = attune_config_get(c, field), high = field->high_of != NULL ? field->high_of(c) : field->high;
    if (value < field->low || value > high)
      return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s is %d; family %s takes it from %d to %d", field->name, value,
                         attune_family_name((attune_family)c->family), field->low, high);
  }
  return ATTUNE_OK;
}

/* A split takes its share of the tiles between the first and the last visible one. */
static attune_status check_splits(const attune_config *c) {
  if (c->splits == 1 || (!c->pattern && c->list_block == 0)) return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                     "splits is %d; it must be 1 with a mask expression or lists, which leave out tiles", c->splits);
}

/* A tile lies in one listed block. The reference family goes by rows, and takes any. */
static attune_status check_lists(const attune_config *c) {
  if (c->list_block == 0 || c->family == ATTUNE_FAMILY_REFERENCE) return ATTUNE_OK;
  if (c->tile_m > 0 && c->tile_n > 0 && c->list_block % c->tile_m == 0 && c->list_block % c->tile_n == 0)
    return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG, "tiles of %d x %d do not divide listed blocks of %d x %d", c->tile_m,
                     c->tile_n, c->list_block, c->list_block);
}

attune_status attune_config_legal(const attune_config *config, const attune_device *device) {
  if (config == NULL || device == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "legality: null pointer");
  const attune_family_row *family = attune_family_find(config->family);
  if (family == NULL) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "family is %d; there are %d", config->family, ATTUNE_FAMILY_COUNT);
  }
  attune_status status;
  if ((status = check_computed(config))) return status;
  if ((status = check_ranges(config))) return status;
  if ((status = check_splits(config))) return status;
  if ((status = check_lists(config))) return status;
  if ((status = family->legal(config, device))) return status;
  return check_residence(config, device);
}

/* ---- enumeration ---- */

typedef struct {
  const attune_family_row *family;
  const attune_problem *problem; /* or NULL */
  /* Returns false to stop. */
  bool (*visit)(void *user, const attune_config *config);
  void *user;
} walk;

static void axis_of(attune_axis *out, const attune_config_field *field, const attune_config *config,
                    const attune_problem *problem) {
  *out = field->axis.count > 0 ? field->axis : (attune_axis){.values = {field->low}, .count = 1};
  if (field->axis_of != NULL) field->axis_of(out, config, problem);
}

/* The product of the family's axes, the table's last field fastest. */
static bool walk_fields(const walk *w, attune_config *config, int field) {
  if (field == w->family->schedule_count) return w->visit(w->user, config);
  const attune_config_field *row = &w->family->schedule[field];
  attune_axis axis;
  axis_of(&axis, row, config, w->problem);
  for (int i = 0; i < axis.count; i++) {
    attune_config_set(config, row, axis.values[i]);
    if (!walk_fields(w, config, field + 1)) return false;
  }
  return true;
}

static bool has(const attune_axis *axis, int32_t value) {
  for (int i = 0; i < axis->count; i++)
    if (axis->values[i] == value) return true;
  return false;
}

/* The axis of the space, and what refines it. */
static void long_axis(attune_axis *out, const attune_config_field *field, const attune_config *config) {
  attune_axis more = {.count = 0};
  axis_of(out, field, config, NULL);
  if (field->refine != NULL) field->refine(&more, config);
  for (int i = 0; i < more.count && out->count < ATTUNE_AXIS_MAX; i++)
    out->values[out->count++] = more.values[i];
}

/* With another value of one field. Where that leaves a later or an earlier one without its own, as a tile of other rows
 * does the warps for them, it takes the first there is. */
static bool visit_moved(const walk *w, const attune_config *config, int moved, int32_t value) {
  attune_config other = *config;
  attune_config_set(&other, &w->family->schedule[moved], value);
  for (int i = 0; i < w->family->schedule_count; i++) {
    const attune_config_field *field = &w->family->schedule[i];
    attune_axis axis;
    if (i == moved) continue;
    long_axis(&axis, field, &other);
    if (!has(&axis, attune_config_get(&other, field))) attune_config_set(&other, field, axis.values[0]);
  }
  return w->visit(w->user, &other);
}

static bool walk_near(const walk *w, const attune_config *config) {
  for (int i = 0; i < w->family->schedule_count; i++) {
    const attune_config_field *field = &w->family->schedule[i];
    attune_axis axis;
    long_axis(&axis, field, config);
    for (int v = 0; v < axis.count; v++)
      if (axis.values[v] != attune_config_get(config, field) && !visit_moved(w, config, i, axis.values[v]))
        return false;
  }
  return true;
}

static bool walk_family(const attune_problem *problem, int family, bool (*visit)(void *, const attune_config *),
                        void *user) {
  const walk w = {.family = families[family], .problem = problem, .visit = visit, .user = user};
  attune_config config;
  attune_config_of_problem(&config, (attune_family)family, problem);
  return walk_fields(&w, &config, 0);
}

typedef struct {
  const attune_device *device;
  attune_visit *visit;
  void *user;
} space_visitor;

static bool visit_space(void *user, const attune_config *config) {
  const space_visitor *visitor = user;
  const bool legal = attune_config_legal(config, visitor->device) == ATTUNE_OK;
  return visitor->visit(visitor->user, config, legal, legal ? "" : attune_message());
}

attune_status attune_space(const attune_problem *problem, const attune_device *device, int family, attune_visit *visit,
                           void *user) {
  if (device == NULL || visit == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "space: null pointer");
  if (family >= ATTUNE_FAMILY_COUNT) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "family is %d; there are %d", family, ATTUNE_FAMILY_COUNT);
  }
  attune_problem resolved;
  const attune_status status = attune_problem_resolve(&resolved, problem);
  if (status) return status;
  space_visitor visitor = {.device = device, .visit = visit, .user = user};
  for (int f = 0; f < ATTUNE_FAMILY_COUNT; f++) {
    if ((family < 0 || family == f) && !walk_family(&resolved, f, visit_space, &visitor)) break;
  }
  return ATTUNE_OK;
}

void attune_space_near(const attune_config *config, const attune_device *device, attune_visit *visit, void *user) {
  space_visitor visitor = {.device = device, .visit = visit, .user = user};
  const attune_family_row *family = attune_family_find(config->family);
  const walk w = {.family = family, .visit = visit_space, .user = &visitor};
  if (family != NULL) (void)walk_near(&w, config);
}

/* ---- the default ---- */

typedef struct {
  const attune_problem *problem;
  const attune_device *device;
  attune_config best;
  double best_seconds;
  attune_estimate_memo memo;
} default_search;

static bool visit_default(void *user, const attune_config *config) {
  default_search *search = user;
  if (attune_config_legal(config, search->device) != ATTUNE_OK) return true;
  const double seconds = attune_estimate_resolved(config, search->problem, search->device, 0, 0, &search->memo);
  if (seconds < search->best_seconds ||
      (seconds == search->best_seconds && attune_config_compare(config, &search->best) < 0)) {
    search->best = *config;
    search->best_seconds = seconds;
  }
  return true;
}

attune_status attune_config_default(attune_config *out, const attune_problem *problem, const attune_device *device) {
  if (out == NULL || device == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "default config: null pointer");
  attune_problem resolved;
  const attune_status status = attune_problem_resolve(&resolved, problem);
  if (status) return status;
  default_search search = {.problem = &resolved, .device = device, .best_seconds = INFINITY};
  for (int speed = ATTUNE_FAMILY_COUNT - 1; speed >= 0; speed--) {
    for (int f = 0; f < ATTUNE_FAMILY_COUNT; f++) {
      if (families[f]->speed == speed) (void)walk_family(&resolved, f, visit_default, &search);
    }
    if (isfinite(search.best_seconds)) break;
  }
  *out = search.best; /* the reference family is always legal */
  return ATTUNE_OK;
}

static bool visit_only(void *user, const attune_config *config) {
  *(attune_config *)user = *config;
  return false;
}

attune_status attune_config_reference(attune_config *out, const attune_problem *problem) {
  if (out == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "reference config: null pointer");
  const attune_status status = attune_problem_check(problem);
  if (status) return status;
  (void)walk_family(problem, ATTUNE_FAMILY_REFERENCE, visit_only, out);
  return ATTUNE_OK;
}

/* ---- launch ---- */

void attune_config_target(char out[16], const attune_config *config, const char *arch) {
  const attune_family_row *family = attune_family_find(config->family);
  snprintf(out, 16, "%s%s", arch, family != NULL && family->own_arch != 0 ? "a" : "");
}

/* The tensor-core kernels subtract the row's maximum after scaling, in one fused step: its rounding is harmless until a
 * scaled score reaches 2^31. The reference family subtracts first and takes any scale. */
static attune_status check_scale(const attune_config *config, const attune_problem *problem) {
  static const float steepest = 1000;
  if (config->family == ATTUNE_FAMILY_REFERENCE || problem->softcap > 0) return ATTUNE_OK;
  if (!(fabsf(problem->scale) > steepest)) return ATTUNE_OK; /* NaN: the usual one */
  return attune_fail(ATTUNE_ILLEGAL_CONFIG, "scale is %g; family %s takes up to %g, family reference any",
                     (double)problem->scale, attune_family_name((attune_family)config->family), (double)steepest);
}

attune_status attune_launch_of(attune_launch *out, const attune_config *config, const attune_problem *problem) {
  if (out == NULL || config == NULL || problem == NULL) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "launch: null pointer");
  }
  const attune_family_row *family = attune_family_find(config->family);
  if (family == NULL || config->tile_m < 1 || config->warps < 1 || config->cluster < 1 || config->heads_packed < 1 ||
      config->splits < 1) {
    return attune_fail(
        ATTUNE_ILLEGAL_CONFIG, "family %d, tile_m %d, warps %d, heads_packed %d, cluster %d, splits %d: not a config",
        config->family, config->tile_m, config->warps, config->heads_packed, config->cluster, config->splits);
  }
  attune_status status = check_scale(config, problem);
  if (status == ATTUNE_OK && family->serves != NULL) status = family->serves(config, problem);
  if (status) return status;
  /* Whole rows of listed blocks, whole clusters: tiles past the last query have no rows. */
  const int64_t queries = config->tile_m / config->heads_packed; /* of a tile */
  const int64_t step = config->list_block > 0 ? config->list_block : config->cluster * queries;
  const int64_t tiles = (problem->seqlen_q + step - 1) / step * step / queries;
  const int32_t heads = problem->heads_q / config->heads_packed;
  int64_t grid;
  if (__builtin_mul_overflow(tiles * heads * config->splits, (int64_t)problem->batch, &grid) || grid > INT32_MAX) {
    return attune_fail(ATTUNE_UNSUPPORTED,
                       "batch %d x heads_q %d x %lld tiles of %d rows is more than the %d blocks of a grid",
                       problem->batch, heads, (long long)tiles, config->tile_m, INT32_MAX);
  }
  *out = (attune_launch){
      .grid = (int32_t)grid,
      .threads = config->warps * 32,
      .shared_bytes = (int32_t)attune_shared_bytes(config),
      .tiles_m = (int32_t)tiles,
      .splits = config->splits,
      .cluster = config->cluster,
      .resident = config->persistent ? config->blocks : 0,
  };
  return ATTUNE_OK;
}

int32_t attune_launch_blocks(const attune_launch *launch, const attune_device *device) {
  const int64_t slots = (int64_t)launch->resident * device->sm_count;
  if (slots == 0 || slots >= launch->grid) return launch->grid;
  const int64_t whole = slots - slots % launch->cluster;
  return whole > 0 ? (int32_t)whole : launch->cluster;
}
