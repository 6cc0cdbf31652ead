/* Which configs a device can run. */
#include <stdio.h>

#include "generator/base/status.h"
#include "generator/families/family.h"

static attune_status check_computed(const attune_config *c) {
  const struct {
    const char *name;
    int32_t value, limit;
  } ranges[] = {{"dtype", c->dtype, ATTUNE_BF16},
                {"mask_bounds", c->mask_bounds, ATTUNE_MASK_BOUNDS_WINDOW},
                {"has_mask_expr", c->has_mask_expr, 1},
                {"score", c->score, ATTUNE_SCORE_EXPRESSION},
                {"sinks", c->sinks, 1},
                {"lse", c->lse, 1},
                {"dbias", c->dbias, 1},
                {"dsinks", c->dsinks, 1},
                {"dparams", c->dparams, 1},
                {"accumulate", c->accumulate, 1}};
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    if (ranges[i].value < 0 || ranges[i].value > ranges[i].limit) {
      return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s is %d; it must be from 0 to %d", ranges[i].name, ranges[i].value,
                         ranges[i].limit);
    }
  }
  const bool has_expressions = c->has_mask_expr || c->score == ATTUNE_SCORE_EXPRESSION;
  if (has_expressions != (c->expression_hash > 0)) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "expression_hash is %d, with has_mask_expr %d and score %d; it names what those two have",
                       c->expression_hash, c->has_mask_expr, c->score);
  }
  if (c->sparse_block_size < 0 || c->sparse_block_size > ATTUNE_BLOCK_SIZE_MAX || c->sparse_block_size % 16 != 0) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "sparse_block_size is %d; it must be a multiple of 16 up to %d",
                       c->sparse_block_size, ATTUNE_BLOCK_SIZE_MAX);
  }
  static const char *const dims[2] = {"head_dim", "head_dim_v"};
  for (int i = 0; i < 2; i++) {
    const int32_t dim = attune_config_value(c, dims[i]);
    if (attune_config_field_named(c->family, dims[i]) != NULL && (dim < 8 || dim > 256 || dim % 8 != 0))
      return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s is %d; it must be a multiple of 8 from 8 to 256", dims[i], dim);
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
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "needs %d threads a block, this device allows %d: use fewer warps",
                       threads, device->threads_per_block);
  }
  if (shared > device->shared_per_block) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "needs %s bytes of shared memory, this device allows %s: use fewer stages or a smaller tile_n",
                       grouped(needs, shared), grouped(allows, device->shared_per_block));
  }
  if (c->min_blocks_per_sm < 1 || c->min_blocks_per_sm > device->blocks_per_sm) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "min_blocks_per_sm is %d; an SM of this device holds from 1 to %d",
                       c->min_blocks_per_sm, device->blocks_per_sm);
  }
  if (c->min_blocks_per_sm * threads > device->threads_per_sm) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "needs %d threads for %d blocks on an SM, this device has %d: lower min_blocks_per_sm",
                       c->min_blocks_per_sm * threads, c->min_blocks_per_sm, device->threads_per_sm);
  }
  const int64_t together = c->min_blocks_per_sm * (shared + device->shared_reserved);
  if (together > device->shared_per_sm) {
    return attune_fail(
        ATTUNE_ILLEGAL_CONFIG,
        "needs %s bytes of shared memory for %d blocks on an SM, this device has %s: lower min_blocks_per_sm",
        grouped(needs, together), c->min_blocks_per_sm, grouped(allows, device->shared_per_sm));
  }
  return ATTUNE_OK;
}

static attune_status check_ranges(const attune_config *c, const attune_family_row *family) {
  for (int i = 0; i < family->schedule_count; i++) {
    const attune_config_field *field = &family->schedule[i];
    const int32_t value = attune_config_get(c, field), high = field->high_of != NULL ? field->high_of(c) : field->high;
    if (value < field->low || value > high)
      return attune_fail(ATTUNE_ILLEGAL_CONFIG, "%s is %d; family %s takes it from %d to %d", field->name, value,
                         family->name, field->low, high);
  }
  return ATTUNE_OK;
}

/* A split takes its share of the tiles between the first and the last visible one. */
static attune_status check_splits(const attune_config *c) {
  if (c->splits == 1 || (!c->has_mask_expr && c->sparse_block_size == 0)) return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                     "splits is %d; it must be 1 with a mask expression or a block mask, which leave out tiles",
                     c->splits);
}

/* A tile lies in one block of the mask. The reference family goes by rows, and takes any. */
static attune_status check_block_mask(const attune_config *c) {
  if (c->sparse_block_size == 0 || attune_family_is_reference(c->family)) return ATTUNE_OK;
  if (attune_config_field_named(c->family, "tile_m") == NULL) return ATTUNE_OK;
  if (attune_config_operation(c) == ATTUNE_OPERATION_DBIAS) return ATTUNE_OK; /* goes by parts of 16 x 16 */
  if (c->tile_m > 0 && c->tile_n > 0 && c->sparse_block_size % c->tile_m == 0 && c->sparse_block_size % c->tile_n == 0)
    return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG, "tiles of %d x %d do not divide the mask's blocks of %d x %d", c->tile_m,
                     c->tile_n, c->sparse_block_size, c->sparse_block_size);
}

attune_status attune_config_legal(const attune_config *config, const attune_device *device) {
  if (config == NULL || device == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "legality: null pointer");
  const attune_family_row *family = attune_family_find(config->family);
  if (family == NULL) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "family is %d; there are %d", config->family, ATTUNE_FAMILY_LAST + 1);
  }
  attune_status status;
  if ((status = check_computed(config))) return status;
  if ((status = check_ranges(config, family))) return status;
  if ((status = check_splits(config))) return status;
  if ((status = check_block_mask(config))) return status;
  if ((status = family->legal(config, device))) return status;
  if ((status = check_residence(config, device)) || family->dq == NULL) return status;
  attune_config other;
  attune_config_dq(&other, config);
  status = attune_config_legal(&other, device);
  if (status != ATTUNE_OK || (!config->dbias && !config->dparams)) return status;
  attune_config_dbias(&other, config);
  return attune_config_legal(&other, device);
}
