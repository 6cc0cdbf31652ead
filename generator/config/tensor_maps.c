/* What the tensor maps of a kernel say, as numbers; a backend encodes them for TMA. */
#include "generator/config/config.h"

enum { ELEMENT_BYTES = 2, STRIDE_UNIT = 16 };

/* Boxes are panels of 64 columns, as wide as the swizzle that wgmma's operands have (templates/parts/smem_tiles.h). */
enum { PANEL_COLUMNS = 128 / ELEMENT_BYTES };
static const attune_tensor_map_format format = {ATTUNE_TMA_UINT16, ATTUNE_TMA_INTERLEAVE_NONE, ATTUNE_TMA_SWIZZLE_128B,
                                                ATTUNE_TMA_PROMOTION_256B, ATTUNE_TMA_FILL_ZEROS};

/* TMA wants every stride to be a positive multiple of 16 bytes, also where there is one of a thing only. */
static int64_t stride_bytes(int64_t elements, int64_t count) {
  return count > 1 ? ELEMENT_BYTES * elements : STRIDE_UNIT;
}

static attune_tensor_map_box box_of(attune_tensor_id tensor, int32_t columns, int32_t seqlen, int32_t heads,
                                    int32_t batch, const attune_strides *strides, int32_t rows) {
  return (attune_tensor_map_box){
      .tensor = tensor,
      .format = format,
      .size = {columns, seqlen, heads, batch},
      .stride = {stride_bytes(strides->seqlen, seqlen), stride_bytes(strides->heads, heads),
                 stride_bytes(strides->batch, batch)},
      .columns = PANEL_COLUMNS,
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

int attune_gradient_map_boxes(attune_tensor_map_box out[ATTUNE_TENSOR_MAPS], const attune_config *config,
                              const attune_problem *p) {
  out[0] = box_of(ATTUNE_TENSOR_Q, config->head_dim, p->seqlen_q, p->heads_q, p->batch, &p->q, config->tile_m);
  out[1] = box_of(ATTUNE_TENSOR_K, config->head_dim, p->seqlen_k, p->heads_kv, p->batch, &p->k, config->tile_n);
  out[2] = box_of(ATTUNE_TENSOR_V, config->head_dim_v, p->seqlen_k, p->heads_kv, p->batch, &p->v, config->tile_n);
  out[3] = box_of(ATTUNE_TENSOR_DO, config->head_dim_v, p->seqlen_q, p->heads_q, p->batch, &p->d_o, config->tile_m);
  return ATTUNE_TENSOR_MAPS;
}

int attune_tensor_map_boxes(attune_tensor_map_box out[ATTUNE_TENSOR_MAPS], const attune_config *config,
                            const attune_problem *p) {
  const int32_t rows_kv = config->tile_n / config->cluster; /* what each block of a cluster loads for all */
  out[0] = packed(box_of(ATTUNE_TENSOR_Q, config->head_dim, p->seqlen_q, p->heads_q, p->batch, &p->q, config->tile_m),
                  config->pack_gqa);
  out[1] = box_of(ATTUNE_TENSOR_K, config->head_dim, p->seqlen_k, p->heads_kv, p->batch, &p->k, rows_kv);
  out[2] = box_of(ATTUNE_TENSOR_V, config->head_dim_v, p->seqlen_k, p->heads_kv, p->batch, &p->v, rows_kv);
  out[3] = packed(box_of(ATTUNE_TENSOR_O, config->head_dim_v, p->seqlen_q, p->heads_q, p->batch, &p->o, config->tile_m),
                  config->pack_gqa);
  return config->splits > 1 ? ATTUNE_TENSOR_MAPS - 1 : ATTUNE_TENSOR_MAPS; /* a split leaves its part of O by itself */
}
