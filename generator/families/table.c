/* The table of families. */
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

const char *attune_family_name(attune_family family) {
  const attune_family_row *row = attune_family_find((int32_t)family);
  return row != NULL ? row->name : "unknown";
}

attune_operation attune_config_operation(const attune_config *config) {
  const attune_family_row *row = attune_family_find(config->family);
  return row != NULL ? row->operation : ATTUNE_OPERATION_COUNT;
}
