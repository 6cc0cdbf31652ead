/* The hot path: no allocation, no lock, no store. */
#include "runtime/plan.h"

enum { TENSOR_ALIGNMENT = 16, WORD_ALIGNMENT = 4, ELEMENT_ALIGNMENT = 2 };

attune_status attune_check_pointer(const char *name, const void *pointer, uintptr_t alignment) {
  if (!pointer) return attune_fail(ATTUNE_BAD_POINTER, "%s is NULL; run needs it", name);
  if ((uintptr_t)pointer % alignment)
    return attune_fail(ATTUNE_BAD_POINTER, "%s is %p, %u bytes past a multiple of %u; align it to %u bytes", name,
                       pointer, (unsigned)((uintptr_t)pointer % alignment), (unsigned)alignment, (unsigned)alignment);
  return ATTUNE_OK;
}

static attune_status check_lse(const attune_plan *plan, const attune_tensors *tensors) {
  if (plan->want_lse) return attune_check_pointer("lse", tensors->lse, WORD_ALIGNMENT);
  if (!tensors->lse) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_POINTER,
                     "lse is given, but the plan writes none; set want_lse in the problem, or lse to NULL");
}

/* An array without elements needs no memory: it is 0 everywhere. */
static attune_status check_values(const attune_plan *plan, const attune_tensors *tensors) {
  for (int i = 0; i < ATTUNE_PARAMS_MAX && plan->params[i].type != ATTUNE_PARAM_NONE; i++) {
    const attune_value *value = &tensors->values[i];
    if (plan->params[i].type != ATTUNE_PARAM_INT_ARRAY && plan->params[i].type != ATTUNE_PARAM_FLOAT_ARRAY) continue;
    if (value->count < 0)
      return attune_fail(ATTUNE_BAD_SIZE, "values[%d] (%s) has a count of %lld; it must not be negative", i,
                         plan->params[i].name, (long long)value->count);
    if (value->count == 0) continue;
    const attune_status status = attune_check_pointer(plan->params[i].name, value->array, WORD_ALIGNMENT);
    if (status) return status;
  }
  return ATTUNE_OK;
}

attune_status attune_block_mask_check_sizes(const attune_block_mask *lists, int32_t batch, int32_t heads) {
  if ((lists->batch != 1 && lists->batch != batch) || (lists->heads != 1 && lists->heads != heads))
    return attune_fail(ATTUNE_BAD_SIZE,
                       "lists are for batch %d and heads %d; each must be 1 or the problem's %d and %d", lists->batch,
                       lists->heads, batch, heads);
  if (lists->capacity < 0)
    return attune_fail(ATTUNE_BAD_SIZE, "lists.capacity is %lld; it must not be negative", (long long)lists->capacity);
  return ATTUNE_OK;
}

attune_status attune_block_mask_check_pointers(const attune_block_mask *lists) {
  attune_status status = attune_check_pointer("lists.rows", lists->row_offsets, WORD_ALIGNMENT);
  if (status == ATTUNE_OK && lists->capacity > 0)
    status = attune_check_pointer("lists.blocks", lists->indices, WORD_ALIGNMENT);
  return status != ATTUNE_OK || !lists->row_order
             ? status
             : attune_check_pointer("lists.order", lists->row_order, WORD_ALIGNMENT);
}

static attune_status check_lists(const attune_plan *plan, const attune_block_mask *lists) {
  if (!plan->want_lists && lists->row_offsets)
    return attune_fail(ATTUNE_BAD_POINTER, "lists are given, but the plan knows none: set block_size in the problem");
  if (!plan->want_lists) return ATTUNE_OK;
  const attune_status status = attune_block_mask_check_sizes(lists, plan->arguments.batch, plan->arguments.heads_q);
  return status == ATTUNE_OK ? attune_block_mask_check_pointers(lists) : status;
}

static attune_status check_tensors(const attune_plan *plan, const attune_tensors *tensors) {
  attune_status status;
  if ((status = attune_check_pointer("q", tensors->q, TENSOR_ALIGNMENT))) return status;
  if ((status = attune_check_pointer("k", tensors->k, TENSOR_ALIGNMENT))) return status;
  if ((status = attune_check_pointer("v", tensors->v, TENSOR_ALIGNMENT))) return status;
  if ((status = attune_check_pointer("o", tensors->o, TENSOR_ALIGNMENT))) return status;
  if ((status = check_lse(plan, tensors))) return status;
  if (plan->want_bias && (status = attune_check_pointer("bias", tensors->bias, ELEMENT_ALIGNMENT))) return status;
  if (plan->want_sinks && (status = attune_check_pointer("sinks", tensors->sinks, WORD_ALIGNMENT))) return status;
  if ((status = check_values(plan, tensors))) return status;
  if ((status = check_lists(plan, &tensors->lists))) return status;
  if (tensors->seqlens_q && (status = attune_check_pointer("seqlens_q", tensors->seqlens_q, WORD_ALIGNMENT)))
    return status;
  if (tensors->seqlens_k && (status = attune_check_pointer("seqlens_k", tensors->seqlens_k, WORD_ALIGNMENT)))
    return status;
  return ATTUNE_OK;
}

static attune_status check_workspace(const attune_plan *plan, const void *workspace, size_t size) {
  const size_t needs = attune_plan_workspace(plan);
  if (size < needs)
    return attune_fail(ATTUNE_WORKSPACE_TOO_SMALL,
                       "the plan needs %zu bytes of workspace, has %zu; ask attune_plan_workspace", needs, size);
  return needs ? attune_check_pointer("workspace", workspace, TENSOR_ALIGNMENT) : ATTUNE_OK;
}

attune_status attune_run(const attune_plan *plan, const attune_tensors *tensors, void *workspace, size_t workspace_size,
                         attune_stream stream) {
  if (!plan || !tensors) return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", plan ? "tensors" : "plan");
  if (tensors->struct_size != sizeof *tensors)
    return attune_fail(
        ATTUNE_BAD_ARGUMENT,
        "tensors.struct_size is %zu, this library's is %zu; call attune_tensors_init, and build with the "
        "header of version %s",
        tensors->struct_size, sizeof *tensors, attune_version());
  attune_status status = check_tensors(plan, tensors);
  if (status == ATTUNE_OK) status = check_workspace(plan, workspace, workspace_size);
  if (status != ATTUNE_OK) return status;
  attune_arguments arguments = plan->arguments;
  arguments.q = tensors->q;
  arguments.k = tensors->k;
  arguments.v = tensors->v;
  arguments.o = tensors->o;
  arguments.lse = tensors->lse;
  arguments.seqlens_q = (const int *)tensors->seqlens_q;
  arguments.seqlens_k = (const int *)tensors->seqlens_k;
  arguments.bias = tensors->bias;
  arguments.sinks = tensors->sinks;
  attune_arguments_values(&arguments, tensors);
  attune_arguments_block_mask(&arguments, &tensors->lists);
  arguments.counter = plan->launch.workspace > 0 ? workspace : NULL;
  return attune_launch_kernel(plan->loaded, &plan->launch, &arguments, stream);
}
