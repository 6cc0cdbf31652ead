/* From a config and a problem to the kernels that are launched: arguments, bindings, workspace. */
#include <math.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/config/config.h"
#include "generator/families/family.h"

static void bind(attune_step *step, attune_tensor_id tensor, attune_access access) {
  step->bindings[step->binding_count++] = (attune_binding){.tensor = tensor, .access = access};
}

static void bind_segment(attune_step *step, attune_tensor_id tensor, attune_access access, int64_t elements) {
  step->bindings[step->binding_count++] = (attune_binding){.tensor = tensor, .access = access, .elements = elements};
}

/* Words of four bytes. */
static void add_segment(attune_steps *steps, attune_tensor_id tensor, int64_t elements, bool cleared) {
  const int64_t bytes = elements * 4;
  const int64_t offset =
      (steps->workspace_bytes + ATTUNE_SEGMENT_ALIGNMENT - 1) / ATTUNE_SEGMENT_ALIGNMENT * ATTUNE_SEGMENT_ALIGNMENT;
  steps->segments[steps->segment_count++] =
      (attune_segment){.tensor = tensor, .offset = offset, .bytes = bytes, .cleared = cleared};
  steps->workspace_bytes = offset + bytes;
}

/* All tensors of the role that the problem knows, as the table has them. */
static void bind_role(attune_step *step, const attune_problem *problem, attune_tensor_role role) {
  for (attune_tensor_id tensor = 0; tensor < ATTUNE_TENSOR_COUNT; tensor++) {
    if (attune_tensor_role_of(tensor, problem) != role) continue;
    if (attune_tensor_table[tensor].need(problem) == ATTUNE_NEED_NO) continue;
    bind(step, tensor, role == ATTUNE_TENSOR_OUTPUT ? ATTUNE_ACCESS_WRITE : ATTUNE_ACCESS_READ);
  }
}

/* A step that goes through tiles, and reads all inputs. */
static attune_status tile_step(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  attune_step *step = &out->steps[out->count++];
  const attune_status status = attune_launch_of(&step->launch, config, problem);
  if (status != ATTUNE_OK) return status;
  step->config = *config;
  attune_arguments_of_problem(&step->arguments.problem, problem);
  attune_arguments_of_tiles(&step->arguments.problem, config, problem, &step->launch);
  bind_role(step, problem, ATTUNE_TENSOR_INPUT);
  return ATTUNE_OK;
}

/* ---- forward ---- */

static attune_status attention_step(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  const attune_status status = tile_step(out, config, problem);
  if (status != ATTUNE_OK) return status;
  attune_step *step = &out->steps[out->count - 1];
  if (config->persistent == ATTUNE_PERSISTENT_DYNAMIC) {
    add_segment(out, ATTUNE_TENSOR_TILE_COUNTER, 1, true);
    bind_segment(step, ATTUNE_TENSOR_TILE_COUNTER, ATTUNE_ACCESS_COUNT, 1);
  }
  if (attune_family_find(config->family)->tensor_maps)
    step->map_count = attune_tensor_map_boxes(step->maps, config, problem);
  return ATTUNE_OK;
}

void attune_config_combine(attune_config *out, const attune_config *config) {
  attune_config combine;
  attune_config_beside(&combine, ATTUNE_FAMILY_COMBINE, config);
  combine.splits = config->splits;
  *out = combine;
}

/* A warp adds up the splits of a row. */
static attune_status combine_step(attune_steps *out, const attune_config *config, const attune_problem *problem,
                                  int64_t rows) {
  attune_step *step = &out->steps[out->count++];
  attune_config_combine(&step->config, config);
  const int64_t grid = (rows + step->config.warps - 1) / step->config.warps;
  if (grid > INT32_MAX)
    return attune_fail(ATTUNE_BAD_SIZE, "%lld rows to combine; a grid takes %d blocks of %d: use splits 1",
                       (long long)rows, INT32_MAX, step->config.warps);
  step->launch = (attune_launch){.grid = (int32_t)grid,
                                 .threads = step->config.warps * 32,
                                 .tiles_m = 1,
                                 .splits = 1,
                                 .cluster = 1,
                                 .programmatic = true};
  attune_arguments_of_problem(&step->arguments.problem, problem);
  bind(step, ATTUNE_TENSOR_SEQLENS_Q, ATTUNE_ACCESS_READ);
  if (problem->want_sinks) bind(step, ATTUNE_TENSOR_SINKS, ATTUNE_ACCESS_READ);
  bind_role(step, problem, ATTUNE_TENSOR_OUTPUT);
  return ATTUNE_OK;
}

static attune_status forward_steps(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  attune_status status = attention_step(out, config, problem);
  if (status != ATTUNE_OK) return status;
  if (config->splits == 1) {
    bind_role(&out->steps[0], problem, ATTUNE_TENSOR_OUTPUT);
    return ATTUNE_OK;
  }
  const int64_t rows = (int64_t)problem->batch * problem->heads_q * problem->seqlen_q;
  const int64_t parts = rows * config->splits, softmax = 2 * parts, o = parts * config->head_dim_v;
  add_segment(out, ATTUNE_TENSOR_O_PARTIAL, o, false);
  add_segment(out, ATTUNE_TENSOR_SOFTMAX_PARTIAL, softmax, false);
  if ((status = combine_step(out, config, problem, rows)) != ATTUNE_OK) return status;
  for (int i = 0; i < 2; i++) {
    const attune_access access = i == 0 ? ATTUNE_ACCESS_WRITE : ATTUNE_ACCESS_READ;
    bind_segment(&out->steps[i], ATTUNE_TENSOR_O_PARTIAL, access, o);
    bind_segment(&out->steps[i], ATTUNE_TENSOR_SOFTMAX_PARTIAL, access, softmax);
  }
  return ATTUNE_OK;
}

/* ---- backward ---- */

/* Of a kernel that reads or writes row terms, and does not know how scores become exponents. */
static void beside_row_terms(attune_config *out, int32_t family, const attune_config *config) {
  attune_config beside;
  attune_config_beside(&beside, family, config);
  attune_config_set(&beside, attune_config_field_named(family, "natural_lse"),
                    config->score == ATTUNE_SCORE_EXPRESSION);
  *out = beside;
}

void attune_config_delta(attune_config *out, const attune_config *config) {
  beside_row_terms(out, ATTUNE_FAMILY_DELTA, config);
}

void attune_config_dsinks(attune_config *out, const attune_config *config) {
  beside_row_terms(out, ATTUNE_FAMILY_DSINKS, config);
}

void attune_config_dbias(attune_config *out, const attune_config *config) {
  const bool reference = attune_family_is_reference(config->family);
  attune_config dbias;
  attune_config_beside(&dbias, reference ? ATTUNE_FAMILY_DBIAS_REFERENCE : ATTUNE_FAMILY_DBIAS_MMA, config);
  if (!reference) dbias.tile_n = attune_dbias_tile_n(&dbias);
  *out = dbias;
}

static void bind_gradient(attune_step *step, const attune_config *config, attune_tensor_id tensor) {
  bind(step, tensor, ATTUNE_ACCESS_WRITE);
  if (config->accumulate) bind(step, tensor, ATTUNE_ACCESS_READ);
}

static void bind_dparams(attune_step *step, const attune_config *config, attune_access access) {
  for (int i = 0; i < ATTUNE_PARAMS_MAX && config->dparams; i++)
    bind(step, (attune_tensor_id)(ATTUNE_TENSOR_DPARAM + i), access);
}

/* Also of rows that only pad. */
static attune_status delta_step(attune_steps *out, const attune_config *config, const attune_problem *problem,
                                int64_t rows) {
  attune_step *step = &out->steps[out->count++];
  attune_config_delta(&step->config, config);
  const int of_block = step->config.warps * ATTUNE_DELTA_ROWS_OF_WARP;
  const int64_t grid = (rows + of_block - 1) / of_block;
  if (grid > INT32_MAX)
    return attune_fail(ATTUNE_UNSUPPORTED, "%lld query rows; a grid takes %d blocks of %d: split the batch",
                       (long long)rows, INT32_MAX, of_block);
  step->launch = (attune_launch){
      .grid = (int32_t)grid, .threads = step->config.warps * 32, .tiles_m = 1, .splits = 1, .cluster = 1};
  attune_arguments_of_problem(&step->arguments.problem, problem);
  attune_arguments_of_gradients(&step->arguments.backward.gradients, &step->config, problem);
  bind_role(step, problem, ATTUNE_TENSOR_INPUT);
  if (!config->accumulate) bind_dparams(step, config, ATTUNE_ACCESS_WRITE); /* to 0 */
  return ATTUNE_OK;
}

/* For the gradients of keys and values, or of queries. */
static attune_status gradient_step(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  const attune_status status = tile_step(out, config, problem);
  if (status != ATTUNE_OK) return status;
  attune_step *step = &out->steps[out->count - 1];
  attune_arguments_of_gradients(&step->arguments.backward.gradients, config, problem);
  if (attune_family_find(config->family)->tensor_maps)
    step->map_count = attune_gradient_map_boxes(step->maps, config, problem);
  return ATTUNE_OK;
}

/* The arguments of a step that is launched on its own grid. */
static attune_status other_gradient_step(attune_steps *out, const attune_problem *problem, int64_t grid) {
  attune_step *step = &out->steps[out->count++];
  if (grid > INT32_MAX)
    return attune_fail(ATTUNE_UNSUPPORTED,
                       "operation %s needs %lld blocks; a grid takes %d: use shorter sequences, or fewer heads",
                       attune_operation_name(attune_config_operation(&step->config)), (long long)grid, INT32_MAX);
  step->launch = (attune_launch){.grid = (int32_t)grid,
                                 .threads = step->config.warps * 32,
                                 .shared_bytes = (int32_t)attune_shared_bytes(&step->config),
                                 .tiles_m = 1,
                                 .splits = 1,
                                 .cluster = 1};
  attune_arguments_of_problem(&step->arguments.problem, problem);
  attune_arguments_of_gradients(&step->arguments.backward.gradients, &step->config, problem);
  bind_role(step, problem, ATTUNE_TENSOR_INPUT);
  return ATTUNE_OK;
}

/* A block for each tile of the bias; where only arrays are wanted, of all pairs of queries and keys. */
static attune_status dbias_step(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  attune_step *step = &out->steps[out->count];
  struct attune_gradients sizes;
  attune_config_dbias(&step->config, config);
  attune_arguments_of_gradients(&sizes, &step->config, problem);
  int64_t grid = attune_blocks_of(sizes.dbias_rows, step->config.tile_m) * sizes.tiles_n;
  if (__builtin_mul_overflow(grid, (int64_t)sizes.dbias_batch, &grid) ||
      __builtin_mul_overflow(grid, (int64_t)sizes.dbias_heads, &grid))
    grid = INT64_MAX;
  const attune_status status = other_gradient_step(out, problem, grid);
  if (status != ATTUNE_OK) return status;
  if (config->dbias) bind_gradient(step, config, ATTUNE_TENSOR_DBIAS);
  bind_dparams(step, config, ATTUNE_ACCESS_ADD);
  return ATTUNE_OK;
}

/* A block for each head. */
static attune_status dsinks_step(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  attune_step *step = &out->steps[out->count];
  attune_config_dsinks(&step->config, config);
  const attune_status status = other_gradient_step(out, problem, problem->heads_q);
  bind_gradient(step, config, ATTUNE_TENSOR_DSINKS);
  return status;
}

static attune_status backward_steps(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  const int64_t rows = (int64_t)problem->batch * problem->heads_q * attune_rows_padded(problem), terms = 2 * rows;
  attune_config dq;
  attune_config_dq(&dq, config);
  add_segment(out, ATTUNE_TENSOR_ROW_TERMS, terms, false);
  attune_status status = delta_step(out, config, problem, rows);
  if (status == ATTUNE_OK) status = gradient_step(out, config, problem);
  if (status == ATTUNE_OK) status = gradient_step(out, &dq, problem);
  if (status == ATTUNE_OK && (config->dbias || config->dparams)) status = dbias_step(out, config, problem);
  if (status == ATTUNE_OK && config->dsinks) status = dsinks_step(out, config, problem);
  if (status != ATTUNE_OK) return status;
  bind_gradient(&out->steps[1], config, ATTUNE_TENSOR_DK);
  bind_gradient(&out->steps[1], config, ATTUNE_TENSOR_DV);
  bind_gradient(&out->steps[2], config, ATTUNE_TENSOR_DQ);
  for (int i = 0; i < out->count; i++)
    bind_segment(&out->steps[i], ATTUNE_TENSOR_ROW_TERMS, i == 0 ? ATTUNE_ACCESS_WRITE : ATTUNE_ACCESS_READ, terms);
  if (dq.family != ATTUNE_FAMILY_DQ_CONVERT) return ATTUNE_OK;
  const int64_t sums =
      (int64_t)problem->batch * problem->heads_q * out->steps[1].launch.tiles_m * attune_dq_partial_floats(config);
  add_segment(out, ATTUNE_TENSOR_DQ_PARTIAL, sums, true);
  bind_segment(&out->steps[1], ATTUNE_TENSOR_DQ_PARTIAL, ATTUNE_ACCESS_ADD, sums);
  bind_segment(&out->steps[2], ATTUNE_TENSOR_DQ_PARTIAL, ATTUNE_ACCESS_READ, sums);
  return ATTUNE_OK;
}

int attune_config_kernels(attune_config out[ATTUNE_STEPS_MAX], const attune_config *config) {
  if (attune_config_operation(config) == ATTUNE_OPERATION_BACKWARD) {
    attune_config_delta(&out[0], config);
    out[1] = *config;
    attune_config_dq(&out[2], config);
    int count = 3;
    if (config->dbias || config->dparams) attune_config_dbias(&out[count++], config);
    if (config->dsinks) attune_config_dsinks(&out[count++], config);
    return count;
  }
  out[0] = *config;
  if (config->splits > 1 && attune_config_operation(config) == ATTUNE_OPERATION_FORWARD) {
    attune_config_combine(&out[1], config);
    return 2;
  }
  return 1;
}

attune_status attune_steps_of(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  if (out == NULL || config == NULL || problem == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "steps: null pointer");
  memset(out, 0, sizeof *out);
  const attune_kernel_operation operation = attune_config_operation(config), wanted = attune_problem_operation(problem);
  if (operation != wanted)
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "the config is of operation %s, the problem of %s; name one of it",
                       attune_operation_name(operation), attune_operation_name(wanted));
  return operation == ATTUNE_OPERATION_FORWARD ? forward_steps(out, config, problem)
                                               : backward_steps(out, config, problem);
}

/* ---- block masks ---- */

attune_status attune_config_block_mask(attune_config *out, attune_problem *mask, const attune_problem *problem) {
  if (out == NULL || mask == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "config of a block mask: null pointer");
  const attune_status status = attune_problem_check(problem);
  if (status) return status;
  if (problem->block_size == 0)
    return attune_fail(ATTUNE_BAD_SIZE, "the problem has no block_size: set it for a block mask");
  attune_problem p = *problem;
  attune_problem_drop_strides(&p);
  p.bias = (attune_strides){0};
  p.operation = ATTUNE_FORWARD;
  p.score_expr = NULL;
  p.want_bias = 0;
  attune_config_of_problem(out, ATTUNE_FAMILY_BLOCK_MASK, &p);
  attune_config_beside(out, out->family, out);
  return attune_problem_resolve(mask, &p);
}

/* A warp works on each of so many rows or columns of blocks. */
static attune_step *block_mask_step(attune_steps *out, const attune_config *config, const attune_problem *problem,
                                    int64_t warps, int work) {
  attune_step *step = &out->steps[out->count++];
  step->config = *config;
  step->launch = (attune_launch){.grid = (int32_t)((warps + config->warps - 1) / config->warps),
                                 .threads = config->warps * 32,
                                 .splits = 1,
                                 .cluster = 1};
  attune_arguments_of_problem(&step->arguments.problem, problem);
  step->arguments.block_mask.work.step = work;
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    bind(step, (attune_tensor_id)(ATTUNE_TENSOR_PARAM + i), ATTUNE_ACCESS_READ);
  return step;
}

/* Rows and columns of all masks together. */
typedef struct {
  int64_t rows, columns;
} block_counts;

static attune_status count_blocks(block_counts *out, const attune_problem *problem, const attune_block_mask *mask) {
  const int64_t masks = (int64_t)mask->batch * mask->heads;
  out->rows = masks * attune_blocks_of(problem->seqlen_q, problem->block_size);
  out->columns = mask->column_offsets != NULL ? masks * attune_blocks_of(problem->seqlen_k, problem->block_size) : 0;
  const bool of_rows = out->rows >= out->columns;
  const int64_t most = of_rows ? out->rows : out->columns;
  if (most < INT32_MAX) return ATTUNE_OK;
  return attune_fail(ATTUNE_UNSUPPORTED, "%lld %s of blocks; a block mask takes 2^31 - 2", (long long)most,
                     of_rows ? "rows" : "columns");
}

/* A warp has a few columns of one mask. */
static void transpose_step(attune_steps *out, const attune_config *config, const attune_problem *problem,
                           const attune_block_mask *mask) {
  const int64_t columns = attune_blocks_of(problem->seqlen_k, problem->block_size);
  const int64_t strips = (columns + ATTUNE_BLOCK_MASK_STRIP - 1) / ATTUNE_BLOCK_MASK_STRIP;
  attune_step *step =
      block_mask_step(out, config, problem, strips * mask->batch * mask->heads, ATTUNE_BLOCK_MASK_TRANSPOSE);
  bind(step, ATTUNE_TENSOR_BUILT_OFFSETS, ATTUNE_ACCESS_READ);
  bind(step, ATTUNE_TENSOR_BUILT_INDICES, ATTUNE_ACCESS_READ);
  bind(step, ATTUNE_TENSOR_BUILT_COLUMN_OFFSETS, ATTUNE_ACCESS_WRITE);
  bind(step, ATTUNE_TENSOR_BUILT_ROW_INDICES, ATTUNE_ACCESS_WRITE);
}

attune_status attune_block_mask_build_steps(attune_steps *out, const attune_config *config,
                                            const attune_problem *problem, const attune_block_mask *mask) {
  static const int work[] = {ATTUNE_BLOCK_MASK_COUNT, ATTUNE_BLOCK_MASK_FILL};
  block_counts all;
  memset(out, 0, sizeof *out);
  const attune_status status = count_blocks(&all, problem, mask);
  if (status != ATTUNE_OK) return status;
  add_segment(out, ATTUNE_TENSOR_ROW_COUNTS, all.rows, false);
  for (int i = 0; i < 2; i++) {
    attune_step *step = block_mask_step(out, config, problem, all.rows, work[i]);
    bind(step, ATTUNE_TENSOR_MASK_SOURCE, ATTUNE_ACCESS_READ);
    bind_segment(step, ATTUNE_TENSOR_ROW_COUNTS, i == 0 ? ATTUNE_ACCESS_WRITE : ATTUNE_ACCESS_READ, all.rows);
  }
  bind(&out->steps[1], ATTUNE_TENSOR_BUILT_OFFSETS, ATTUNE_ACCESS_WRITE);
  bind(&out->steps[1], ATTUNE_TENSOR_BUILT_INDICES, ATTUNE_ACCESS_WRITE);
  bind(&out->steps[1], ATTUNE_TENSOR_BUILT_ORDER, ATTUNE_ACCESS_WRITE);
  if (mask->column_offsets != NULL) transpose_step(out, config, problem, mask);
  return ATTUNE_OK;
}

attune_status attune_block_mask_check_steps(attune_steps *out, const attune_config *config,
                                            const attune_problem *problem, const attune_block_mask *mask) {
  static const int work[] = {ATTUNE_BLOCK_MASK_CHECK_ROWS, ATTUNE_BLOCK_MASK_CHECK_COLUMNS};
  block_counts all;
  memset(out, 0, sizeof *out);
  const attune_status status = count_blocks(&all, problem, mask);
  if (status != ATTUNE_OK) return status;
  add_segment(out, ATTUNE_TENSOR_ROW_COUNTS, all.rows + all.columns, false);
  for (int i = 0; i < (all.columns > 0 ? 2 : 1); i++) {
    attune_step *step = block_mask_step(out, config, problem, i == 0 ? all.rows : all.columns, work[i]);
    bind(step, ATTUNE_TENSOR_ROW_OFFSETS, ATTUNE_ACCESS_READ);
    bind(step, ATTUNE_TENSOR_INDICES, ATTUNE_ACCESS_READ);
    bind(step, i == 0 ? ATTUNE_TENSOR_ROW_ORDER : ATTUNE_TENSOR_COLUMN_OFFSETS, ATTUNE_ACCESS_READ);
    if (i == 1) bind(step, ATTUNE_TENSOR_ROW_INDICES, ATTUNE_ACCESS_READ);
    bind_segment(step, ATTUNE_TENSOR_ROW_COUNTS, ATTUNE_ACCESS_WRITE, all.rows + all.columns);
  }
  return ATTUNE_OK;
}
