/* The hot path: no allocation, no lock, no store. */
#include <string.h>

#include "runtime/plan.h"

attune_status attune_check_pointer(const char *name, const void *pointer, uintptr_t alignment) {
  if (!pointer) return attune_fail(ATTUNE_BAD_POINTER, "%s is NULL; run needs it", name);
  if ((uintptr_t)pointer % alignment)
    return attune_fail(ATTUNE_BAD_POINTER, "%s is %p, %u bytes past a multiple of %u; align it to %u bytes", name,
                       pointer, (unsigned)((uintptr_t)pointer % alignment), (unsigned)alignment, (unsigned)alignment);
  return ATTUNE_OK;
}

static attune_status check_tensor(const attune_tensor_row *tensor, const attune_problem *problem, const void *pointer) {
  const attune_need need = tensor->need(problem);
  const char *name = tensor->member ? tensor->member : tensor->name;
  if (need == ATTUNE_NEED_YES || (pointer && need == ATTUNE_NEED_OPTIONAL))
    return attune_check_pointer(name, pointer, (uintptr_t)tensor->alignment);
  if (!pointer || !tensor->option) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_POINTER,
                     "%s is given, but the plan was made without it; set %s in the problem, or %s to NULL", name,
                     tensor->option, name);
}

/* The caller may have another problem in mind. */
static attune_status check_surplus(const attune_problem *problem, const attune_tensors *tensors) {
  static const attune_value unset;
  for (int i = problem->param_count; i < ATTUNE_PARAMS_MAX; i++)
    if (memcmp(&tensors->values[i], &unset, sizeof unset) != 0)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "values[%d] is set, but the problem has %d params: leave it zero", i,
                         problem->param_count);
  const attune_block_mask *mask = &tensors->block_mask;
  if (problem->block_size == 0 && (mask->batch != 0 || mask->heads != 0 || mask->capacity != 0))
    return attune_fail(ATTUNE_BAD_ARGUMENT,
                       "block_mask is given, but the plan was made without it; set block_size in the problem, or leave "
                       "block_mask zero");
  return ATTUNE_OK;
}

/* An array without elements needs no memory: it is 0 everywhere. */
static attune_status check_values(const attune_problem *problem, const attune_tensors *tensors) {
  for (int i = 0; i < problem->param_count; i++) {
    const attune_param *param = &problem->params[i];
    const attune_value *value = &tensors->values[i];
    if (value->reserved)
      return attune_fail(ATTUNE_UNSUPPORTED, "values[%d].reserved is %lld; this library knows only 0", i,
                         (long long)value->reserved);
    if (param->type != ATTUNE_PARAM_INT_ARRAY && param->type != ATTUNE_PARAM_FLOAT_ARRAY) continue;
    if (value->count < 0)
      return attune_fail(ATTUNE_BAD_SIZE, "values[%d] (%s) has a count of %lld; it must not be negative", i,
                         param->name, (long long)value->count);
    if (value->count == 0) continue;
    const attune_status status = attune_check_pointer(param->name, value->array, sizeof(int32_t));
    if (status) return status;
  }
  return ATTUNE_OK;
}

attune_status attune_block_mask_check_sizes(const attune_block_mask *block_mask, int32_t batch, int32_t heads) {
  if ((block_mask->batch != 1 && block_mask->batch != batch) || (block_mask->heads != 1 && block_mask->heads != heads))
    return attune_fail(ATTUNE_BAD_SIZE,
                       "block_mask is for batch %d and heads %d; each must be 1 or the problem's %d and %d",
                       block_mask->batch, block_mask->heads, batch, heads);
  for (size_t i = 0; i < sizeof block_mask->reserved / sizeof *block_mask->reserved; i++)
    if (block_mask->reserved[i])
      return attune_fail(ATTUNE_UNSUPPORTED, "block_mask.reserved[%zu] is %lld; this library knows only 0", i,
                         (long long)block_mask->reserved[i]);
  if (block_mask->capacity < 0)
    return attune_fail(ATTUNE_BAD_SIZE, "block_mask.capacity is %lld; it must not be negative",
                       (long long)block_mask->capacity);
  return ATTUNE_OK;
}

static attune_status check_columns(const attune_block_mask *block_mask) {
  if (!block_mask->column_offsets && block_mask->row_indices)
    return attune_fail(ATTUNE_BAD_POINTER,
                       "block_mask.row_indices is given, but column_offsets is NULL; give both, or neither");
  if (!block_mask->column_offsets) return ATTUNE_OK;
  const attune_status status =
      attune_check_pointer("block_mask.column_offsets", block_mask->column_offsets, sizeof(int32_t));
  if (status != ATTUNE_OK || block_mask->capacity == 0) return status;
  return attune_check_pointer("block_mask.row_indices", block_mask->row_indices, sizeof(int32_t));
}

attune_status attune_block_mask_check_pointers(const attune_block_mask *block_mask) {
  attune_status status = attune_check_pointer("block_mask.row_offsets", block_mask->row_offsets, sizeof(int32_t));
  if (status == ATTUNE_OK && block_mask->capacity > 0)
    status = attune_check_pointer("block_mask.indices", block_mask->indices, sizeof(int32_t));
  if (status == ATTUNE_OK && block_mask->row_order)
    status = attune_check_pointer("block_mask.row_order", block_mask->row_order, sizeof(int32_t));
  return status == ATTUNE_OK ? check_columns(block_mask) : status;
}

/* The table of tensors has checked its pointers, but for the need of indices. */
static attune_status check_block_mask(const attune_problem *problem, const attune_block_mask *block_mask) {
  if (problem->block_size == 0) return ATTUNE_OK;
  const attune_status status = attune_block_mask_check_sizes(block_mask, problem->batch, problem->heads_q);
  if (status != ATTUNE_OK || block_mask->capacity == 0) return status;
  if (problem->operation == ATTUNE_BACKWARD && !block_mask->row_indices)
    return attune_check_pointer("block_mask.row_indices", block_mask->row_indices, sizeof(int32_t));
  return attune_check_pointer("block_mask.indices", block_mask->indices, sizeof(int32_t));
}

/* A gradient in the place of another tensor; those of packed tensors begin apart, as their tensors do. */
static attune_status check_apart(const attune_run_inputs *run) {
  for (attune_tensor_id gradient = ATTUNE_TENSOR_DQ; gradient <= ATTUNE_TENSOR_DPARAM_LAST; gradient++) {
    const void *at = attune_tensor_of_run(run, gradient);
    for (attune_tensor_id other = 0; other <= ATTUNE_TENSOR_PARAM_LAST && at; other++) {
      if (attune_tensor_of_run(run, other) != at || other == gradient) continue;
      const attune_tensor_row *rows[] = {&attune_tensor_table[gradient], &attune_tensor_table[other]};
      const char *names[2];
      for (int i = 0; i < 2; i++)
        names[i] = rows[i]->member ? rows[i]->member : rows[i]->name;
      return attune_fail(ATTUNE_BAD_POINTER, "%s and %s are both %p; give each gradient memory of its own", names[0],
                         names[1], at);
    }
  }
  return ATTUNE_OK;
}

/* Arrays of floats have gradients alone. */
static attune_status check_dparams(const attune_problem *problem, const attune_tensors *tensors) {
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    if (tensors->dparams[i] && (i >= problem->param_count || problem->params[i].type != ATTUNE_PARAM_FLOAT_ARRAY))
      return attune_fail(ATTUNE_BAD_ARGUMENT,
                         "dparams[%d] is given, but the problem's param %d is no array of floats: set it to NULL", i,
                         i);
  return ATTUNE_OK;
}

static attune_status check_inputs(const attune_problem *problem, const attune_run_inputs *run) {
  attune_status status = ATTUNE_OK;
  for (attune_tensor_id tensor = 0; tensor < ATTUNE_TENSOR_PARAM && status == ATTUNE_OK; tensor++)
    status = check_tensor(&attune_tensor_table[tensor], problem, attune_tensor_of_run(run, tensor));
  if (status == ATTUNE_OK) status = check_values(problem, &run->tensors);
  if (status == ATTUNE_OK) status = check_dparams(problem, &run->tensors);
  if (status == ATTUNE_OK && problem->operation == ATTUNE_BACKWARD) status = check_apart(run);
  if (status == ATTUNE_OK) status = check_surplus(problem, &run->tensors);
  return status == ATTUNE_OK ? check_block_mask(problem, &run->tensors.block_mask) : status;
}

attune_status attune_run(const attune_plan *plan, const attune_tensors *tensors, void *workspace, size_t workspace_size,
                         attune_stream stream) {
  if (!plan || !tensors) return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", plan ? "tensors" : "plan");
  attune_run_inputs run;
  attune_status status = ATTUNE_OK;
  memset(&run, 0, sizeof run);
  if (tensors->struct_size == sizeof *tensors)
    run.tensors = *tensors;
  else
    status = attune_tensors_read(&run.tensors, tensors); /* a caller of another version */
  if (status == ATTUNE_OK) status = check_inputs(&plan->program->problem, &run);
  return status == ATTUNE_OK ? attune_enqueue(plan->program, &run, workspace, workspace_size, stream) : status;
}
