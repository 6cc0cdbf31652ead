/* What the files of families share: words of fields, registers of a thread, how many splits are worth trying. */
#include "generator/base/status.h"
#include "generator/families/family.h"

const char *const attune_persistent_words[] = {"none", "static", "dynamic", NULL};
const char *const attune_order_words[] = {"linear", "reversed", "heads", "lpt", "l2_sections", NULL};

int attune_register_cap(const attune_config *config, const attune_device *device) {
  const int threads = config->warps * 32 * (config->min_blocks_per_sm > 0 ? config->min_blocks_per_sm : 1);
  const int cap = device->registers_per_sm / threads / 8 * 8;
  return cap < ATTUNE_REGISTERS_MAX ? cap : ATTUNE_REGISTERS_MAX;
}

attune_status attune_tensor_map_takes(const char *name, const attune_strides *strides, int32_t seqlen, int32_t heads,
                                      int32_t batch) {
  static const int64_t stride_limit = (int64_t)1 << 40;
  const struct {
    int64_t stride, count;
  } axes[3] = {{strides->seqlen, seqlen}, {strides->heads, heads}, {strides->batch, batch}};
  if (axes[0].stride == 0 && axes[1].stride == 0 && axes[2].stride == 0) return ATTUNE_OK; /* contiguous */
  for (int a = 0; a < 3; a++) {
    if (axes[a].count > 1 && (axes[a].stride < 8 || axes[a].stride % 8 != 0 || 2 * axes[a].stride >= stride_limit)) {
      return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                         "a stride of %s is %lld elements; family wgmma takes multiples of 8 from 8 to below 2^39",
                         name, (long long)axes[a].stride);
    }
  }
  return ATTUNE_OK;
}

/* ---- splits ---- */

/* Blocks that one split has. */
static int64_t blocks_of(const attune_config *config, const attune_problem *p) {
  const int64_t rows = (int64_t)p->seqlen_q * config->pack_gqa;
  return (rows + config->tile_m - 1) / config->tile_m * (p->heads_q / config->pack_gqa) * p->batch;
}

/* As long as there are fewer blocks than the largest GPU holds, and each has some tiles of keys. */
void attune_splits_axis(attune_axis *out, const attune_config *config, const attune_problem *problem) {
  enum { MOST_BLOCKS = 512, FEWEST_TILES = 2 };
  *out = (attune_axis){.values = {1}, .count = 1};
  if (problem == NULL || config->has_mask_expr || config->sparse_block_size > 0 || config->pack_gqa < 1) return;
  for (int32_t splits = 2; splits <= ATTUNE_SPLITS_MAX; splits *= 2) {
    if (blocks_of(config, problem) * splits > MOST_BLOCKS) break;
    if (problem->seqlen_k < splits * FEWEST_TILES * config->tile_n) break;
    out->values[out->count++] = splits;
  }
}

/* Halves and doubles, and what lies between: 132 multiprocessors are no power of two. */
void attune_splits_refine(attune_axis *out, const attune_config *config) {
  static const int32_t values[] = {2, 3, 4, 6, 8, 11, 16, 22, 32, 44, 64, 96, 128};
  *out = (attune_axis){.count = 0};
  if (config->has_mask_expr || config->sparse_block_size > 0) return;
  for (size_t i = 0; i < sizeof values / sizeof *values; i++)
    if (2 * values[i] >= config->splits && values[i] <= 2 * config->splits && config->splits > 1)
      out->values[out->count++] = values[i];
}
