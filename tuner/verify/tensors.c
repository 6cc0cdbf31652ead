/* Where the rows of a problem's tensors lie, and how they are drawn: with attune_tensor_table it drives what the
 * verifier draws, uploads, poisons, reads back and compares. */
#include "tuner/verify/verifier.h"

#define HOST(member) .host = offsetof(attune_inputs, member)

const attune_verified_row attune_verified_table[ATTUNE_VERIFIED_TENSORS] = {
    [ATTUNE_TENSOR_Q] = {HOST(q), ATTUNE_MAGNITUDE_QK},
    [ATTUNE_TENSOR_K] = {HOST(k), ATTUNE_MAGNITUDE_QK},
    [ATTUNE_TENSOR_V] = {HOST(v), ATTUNE_MAGNITUDE_V},
    [ATTUNE_TENSOR_BIAS] = {HOST(bias), ATTUNE_MAGNITUDE_ONE},
    [ATTUNE_TENSOR_SINKS] = {HOST(sinks), ATTUNE_MAGNITUDE_ONE},
    [ATTUNE_TENSOR_DO] = {HOST(d_o), ATTUNE_MAGNITUDE_ONE},
    [ATTUNE_TENSOR_DLSE] = {HOST(dlse), ATTUNE_MAGNITUDE_ONE},
};

/* ---- layouts ---- */

attune_layout attune_layout_of(const attune_problem *problem, attune_tensor_id id) {
  return attune_layout_in(problem, id, NULL);
}

int attune_param_of(attune_tensor_id id) {
  return id >= ATTUNE_TENSOR_DPARAM && id <= ATTUNE_TENSOR_DPARAM_LAST ? (int)id - ATTUNE_TENSOR_DPARAM : -1;
}

attune_layout attune_layout_in(const attune_problem *problem, attune_tensor_id id, const attune_run_inputs *run) {
  const attune_tensor_row *tensor = &attune_tensor_table[id];
  attune_shape shape;
  if (tensor->need(problem) == ATTUNE_NEED_NO) return (attune_layout){0};
  const int param = attune_param_of(id);
  if (param >= 0 && (param >= problem->param_count || problem->params[param].type != ATTUNE_PARAM_FLOAT_ARRAY))
    return (attune_layout){0};
  tensor->shape(&shape, problem, run);
  return (attune_layout){{.batch = shape.strides[0], .seqlen = shape.strides[1], .heads = shape.strides[2]},
                         shape.sizes[0],
                         shape.sizes[1],
                         shape.sizes[2],
                         shape.row};
}

int64_t attune_layout_offset(const attune_layout *layout, int64_t batch, int64_t row, int64_t head) {
  return batch * layout->strides.batch + row * layout->strides.seqlen + head * layout->strides.heads;
}

int64_t attune_layout_extent(const attune_layout *layout) {
  if (layout->width == 0) return 0;
  return attune_layout_offset(layout, layout->batch - 1, layout->seqlen - 1, layout->heads - 1) + layout->width;
}

/* ---- lengths ---- */

static int64_t in_use(attune_extent extent, int64_t bound, const attune_layout *layout, const attune_lengths *lengths,
                      int64_t batch) {
  if (extent == ATTUNE_EXTENT_SHAPE || lengths == NULL) return bound;
  const int32_t *of = lengths->of[extent == ATTUNE_EXTENT_QUERIES ? ATTUNE_QUERIES : ATTUNE_KEYS];
  if (layout->strides.batch != 0) return of[batch];
  int32_t longest = 0;
  for (int64_t i = 0; i < layout->batch; i++)
    if (of[i] > longest) longest = of[i];
  return longest;
}

int64_t attune_rows_in_use(const attune_tensor_row *tensor, const attune_layout *layout, const attune_lengths *lengths,
                           int64_t batch) {
  return in_use(tensor->rows, layout->seqlen, layout, lengths, batch);
}

int64_t attune_columns_in_use(const attune_tensor_row *tensor, const attune_layout *layout,
                              const attune_lengths *lengths, int64_t batch) {
  return in_use(tensor->columns, layout->width, layout, lengths, batch);
}
