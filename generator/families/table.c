/* The table of families. */
#include <string.h>

#include "generator/families/family.h"

static const attune_family_row *const families[ATTUNE_FAMILY_LAST + 1] = {
    [ATTUNE_FAMILY_REFERENCE] = &attune_family_reference_row,
    [ATTUNE_FAMILY_MMA] = &attune_family_mma_row,
    [ATTUNE_FAMILY_WGMMA] = &attune_family_wgmma_row,
    [ATTUNE_FAMILY_BLOCK_MASK] = &attune_family_block_mask_row,
    [ATTUNE_FAMILY_COMBINE] = &attune_family_combine_row,
    [ATTUNE_FAMILY_BACKWARD_REFERENCE] = &attune_family_backward_reference_row,
    [ATTUNE_FAMILY_BACKWARD_MMA] = &attune_family_backward_mma_row,
    [ATTUNE_FAMILY_BACKWARD_WGMMA] = &attune_family_backward_wgmma_row,
    [ATTUNE_FAMILY_DELTA] = &attune_family_delta_row,
    [ATTUNE_FAMILY_DQ_REFERENCE] = &attune_family_dq_reference_row,
    [ATTUNE_FAMILY_DQ_MMA] = &attune_family_dq_mma_row,
    [ATTUNE_FAMILY_DQ_CONVERT] = &attune_family_dq_convert_row,
    [ATTUNE_FAMILY_DBIAS_REFERENCE] = &attune_family_dbias_reference_row,
    [ATTUNE_FAMILY_DBIAS_MMA] = &attune_family_dbias_mma_row,
    [ATTUNE_FAMILY_DSINKS] = &attune_family_dsinks_row,
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

int32_t attune_family_named(attune_kernel_operation operation, const char *name) {
  int32_t family = 0;
  while (family <= ATTUNE_FAMILY_LAST &&
         (families[family]->operation != operation || strcmp(families[family]->name, name) != 0))
    family++;
  return family;
}

bool attune_family_is_reference(int32_t family) {
  return strcmp(attune_family_name((attune_family)family), "reference") == 0;
}

attune_kernel_operation attune_problem_operation(const attune_problem *problem) {
  return problem->operation == ATTUNE_BACKWARD ? ATTUNE_OPERATION_BACKWARD : ATTUNE_OPERATION_FORWARD;
}

attune_kernel_operation attune_config_operation(const attune_config *config) {
  const attune_family_row *row = attune_family_find(config->family);
  return row != NULL ? row->operation : ATTUNE_OPERATION_COUNT;
}
