/* From a config and a problem to the kernels that are launched: arguments, bindings, workspace. */
#include <string.h>

#include "generator/base/status.h"
#include "generator/families/family.h"

static void bind(attune_step *step, attune_tensor_id tensor, attune_access access) {
  step->bindings[step->binding_count++] = (attune_binding){tensor, access};
}

static void add_segment(attune_steps *steps, attune_tensor_id tensor, int64_t bytes, bool cleared) {
  const int64_t offset =
      (steps->workspace_bytes + ATTUNE_SEGMENT_ALIGNMENT - 1) / ATTUNE_SEGMENT_ALIGNMENT * ATTUNE_SEGMENT_ALIGNMENT;
  steps->segments[steps->segment_count++] =
      (attune_segment){.tensor = tensor, .offset = offset, .bytes = bytes, .cleared = cleared};
  steps->workspace_bytes = offset + bytes;
}

/* ---- forward ---- */

/* All tensors that the problem knows, as the table has them. */
static void bind_forward(attune_step *step, const attune_problem *problem) {
  for (attune_tensor_id tensor = 0; tensor < ATTUNE_TENSOR_COUNT; tensor++) {
    const attune_tensor_row *row = &attune_tensor_table[tensor];
    if (row->need(problem) == ATTUNE_NEED_NO) continue;
    bind(step, tensor, row->role == ATTUNE_TENSOR_OUTPUT ? ATTUNE_ACCESS_WRITE : ATTUNE_ACCESS_READ);
  }
}

attune_status attune_steps_of(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  if (out == NULL || config == NULL || problem == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "steps: null pointer");
  memset(out, 0, sizeof *out);
  attune_step *step = &out->steps[0];
  const attune_status status = attune_launch_of(&step->launch, config, problem);
  if (status != ATTUNE_OK) return status;
  const attune_family_row *family = attune_family_find(config->family);
  out->count = 1;
  step->config = *config;
  attune_arguments_fill(&step->arguments, config, problem, &step->launch);
  bind_forward(step, problem);
  if (config->persistent == ATTUNE_PERSISTENT_DYNAMIC) {
    add_segment(out, ATTUNE_TENSOR_TILE_COUNTER, sizeof(uint32_t), true);
    bind(step, ATTUNE_TENSOR_TILE_COUNTER, ATTUNE_ACCESS_COUNT);
  }
  if (family->tensor_maps) step->map_count = attune_tensor_map_boxes(step->maps, config, problem);
  return ATTUNE_OK;
}

/* ---- block masks ---- */

/* A warp works on each row of blocks. */
static attune_status block_mask_step(attune_step *step, const attune_config *config, const attune_problem *problem,
                                     int64_t rows, int work) {
  attune_launch launch;
  const attune_status status = attune_launch_of(&launch, config, problem);
  if (status != ATTUNE_OK) return status;
  step->config = *config;
  step->launch = (attune_launch){
      .grid = (int32_t)((rows + config->warps - 1) / config->warps), .threads = config->warps * 32, .cluster = 1};
  attune_arguments_fill(&step->arguments, config, problem, &launch);
  step->arguments.list_work.step = work;
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    bind(step, (attune_tensor_id)(ATTUNE_TENSOR_PARAM + i), ATTUNE_ACCESS_READ);
  return ATTUNE_OK;
}

static attune_status check_rows(int64_t *rows, const attune_problem *problem, int32_t batch, int32_t heads) {
  *rows = (int64_t)batch * heads * attune_blocks_of(problem->seqlen_q, problem->block_size);
  if (*rows < INT32_MAX) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_SIZE, "%lld rows of blocks; a block mask takes 2^31 - 2", (long long)*rows);
}

attune_status attune_block_mask_build_steps(attune_steps *out, const attune_config *config,
                                            const attune_problem *problem, int32_t batch, int32_t heads) {
  static const int work[] = {ATTUNE_LIST_COUNT, ATTUNE_LIST_FILL};
  int64_t rows;
  memset(out, 0, sizeof *out);
  attune_status status = check_rows(&rows, problem, batch, heads);
  add_segment(out, ATTUNE_TENSOR_ROW_COUNTS, rows * (int64_t)sizeof(int32_t), false);
  for (int i = 0; i < 2 && status == ATTUNE_OK; i++) {
    attune_step *step = &out->steps[out->count++];
    status = block_mask_step(step, config, problem, rows, work[i]);
    bind(step, ATTUNE_TENSOR_MASK_SOURCE, ATTUNE_ACCESS_READ);
    bind(step, ATTUNE_TENSOR_ROW_COUNTS, i == 0 ? ATTUNE_ACCESS_WRITE : ATTUNE_ACCESS_READ);
  }
  bind(&out->steps[1], ATTUNE_TENSOR_BUILT_OFFSETS, ATTUNE_ACCESS_WRITE);
  bind(&out->steps[1], ATTUNE_TENSOR_BUILT_INDICES, ATTUNE_ACCESS_WRITE);
  bind(&out->steps[1], ATTUNE_TENSOR_BUILT_ORDER, ATTUNE_ACCESS_WRITE);
  return status;
}

attune_status attune_block_mask_check_steps(attune_steps *out, const attune_config *config,
                                            const attune_problem *problem, int32_t batch, int32_t heads) {
  int64_t rows;
  memset(out, 0, sizeof *out);
  attune_step *step = &out->steps[out->count++];
  attune_status status = check_rows(&rows, problem, batch, heads);
  add_segment(out, ATTUNE_TENSOR_ROW_COUNTS, rows * (int64_t)sizeof(int32_t), false);
  if (status == ATTUNE_OK) status = block_mask_step(step, config, problem, rows, ATTUNE_LIST_CHECK);
  bind(step, ATTUNE_TENSOR_ROW_OFFSETS, ATTUNE_ACCESS_READ);
  bind(step, ATTUNE_TENSOR_INDICES, ATTUNE_ACCESS_READ);
  bind(step, ATTUNE_TENSOR_ROW_ORDER, ATTUNE_ACCESS_READ);
  bind(step, ATTUNE_TENSOR_ROW_COUNTS, ATTUNE_ACCESS_WRITE);
  return status;
}
