/* What the tensor maps of a kernel say, as numbers; a machine turns them into what its copy engine reads. */
#include "generator/generator.h"
#include "templates/arguments.h"

enum { ELEMENT_BYTES = 2, STRIDE_UNIT = 16 };

/* The copy engine wants every stride to be a positive multiple of 16 bytes, also where there is one of a thing only. */
static int64_t stride_bytes(int64_t elements, int64_t count) {
  return count > 1 ? ELEMENT_BYTES * elements : STRIDE_UNIT;
}

static attune_tensor_map_box box_of(const void *base, int32_t columns, int32_t seqlen, int32_t heads, int32_t batch,
                                    const long long strides[3], int32_t rows) {
  return (attune_tensor_map_box){
      .base = base,
      .size = {columns, seqlen, heads, batch},
      .stride = {stride_bytes(strides[0], seqlen), stride_bytes(strides[1], heads), stride_bytes(strides[2], batch)},
      .rows = rows,
      .inner = rows,
  };
}

/* The rows of so many heads, head by head for each query. */
static attune_tensor_map_box packed(attune_tensor_map_box box, int32_t heads) {
  attune_tensor_map_box out = box;
  if (heads == 1) return box;
  out.size[1] = box.size[2], out.size[2] = box.size[1];
  out.stride[0] = box.stride[1], out.stride[1] = box.stride[0];
  out.inner = heads;
  return out;
}

void attune_tensor_map_boxes(attune_tensor_map_box *out, const attune_config *config,
                             const struct attune_arguments *arguments) {
  const struct attune_arguments *a = arguments;
  const int32_t heads_kv = a->heads_q / a->group;
  const int32_t rows_kv = config->tile_n / config->cluster; /* what each block of a cluster loads for all */
  out[0] = packed(box_of(a->q, config->head_dim, a->seqlen_q, a->heads_q, a->batch,
                         (const long long[]){a->q_seqlen, a->q_heads, a->q_batch}, config->tile_m),
                  config->heads_packed);
  out[1] = box_of(a->k, config->head_dim, a->seqlen_k, heads_kv, a->batch,
                  (const long long[]){a->k_seqlen, a->k_heads, a->k_batch}, rows_kv);
  out[2] = box_of(a->v, config->head_dim_v, a->seqlen_k, heads_kv, a->batch,
                  (const long long[]){a->v_seqlen, a->v_heads, a->v_batch}, rows_kv);
  out[3] = packed(box_of(a->o, config->head_dim_v, a->seqlen_q, a->heads_q, a->batch,
                         (const long long[]){a->o_seqlen, a->o_heads, a->o_batch}, config->tile_m),
                  config->heads_packed);
}
