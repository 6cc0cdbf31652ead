/* What a kernel is called with, from a resolved problem: all but pointers. */
#include <float.h>
#include <math.h>

#include "generator/config/config.h"

_Static_assert((int)ATTUNE_BLOCK_MASK_OF_EXPRESSION == (int)ATTUNE_BLOCK_MASK_FROM_EXPRESSION &&
                   (int)ATTUNE_BLOCK_MASK_OF_BYTES == (int)ATTUNE_BLOCK_MASK_FROM_BYTES &&
                   (int)ATTUNE_BLOCK_MASK_OF_BLOCKS == (int)ATTUNE_BLOCK_MASK_FROM_BLOCKS,
               "the kernel knows sources by the same numbers");

static const double log2_e = 1.4426950408889634;

/* Never 0 and never infinite: a masked score is -inf, and -inf * 0 and 0 * inf are NaN. */
static float positive(double value) {
  return (float)fmin(fmax(value, FLT_MIN), FLT_MAX);
}

static float clamped(double value) {
  return (float)fmin(fmax(value, -FLT_MAX), FLT_MAX);
}

static int bounded(int32_t side) {
  return side < 0 || side > ATTUNE_UNBOUNDED ? ATTUNE_UNBOUNDED : side;
}

static void fill_strides(struct attune_arguments *out, const attune_problem *problem) {
  out->q_batch = problem->q.batch, out->q_seqlen = problem->q.seqlen, out->q_heads = problem->q.heads;
  out->k_batch = problem->k.batch, out->k_seqlen = problem->k.seqlen, out->k_heads = problem->k.heads;
  out->v_batch = problem->v.batch, out->v_seqlen = problem->v.seqlen, out->v_heads = problem->v.heads;
  out->o_batch = problem->o.batch, out->o_seqlen = problem->o.seqlen, out->o_heads = problem->o.heads;
}

/* With a softcap the exponent is softcap * log2(e) * tanh(scale / softcap * q.k); the sign is tanh's. */
static void fill_scales(struct attune_arguments *out, const attune_problem *problem) {
  double scale = problem->scale, softcap = problem->softcap;
  if (attune_problem_score(problem) == ATTUNE_SCORE_EXPRESSION) {
    out->log2_scale = (float)log2_e;
    out->cap_scale = clamped(scale);
    return;
  }
  if (softcap > 0) {
    out->log2_scale = positive(softcap * log2_e);
    out->cap_scale = clamped(scale / softcap);
  } else {
    out->log2_scale = positive(fabs(scale) * log2_e);
  }
}

struct attune_divisor attune_divisor_of(int32_t d) {
  unsigned bits = 0;
  if (d == 1) return (struct attune_divisor){.multiplier = 1, .shift = 0};
  while ((int64_t)1 << bits < d)
    bits++;
  const uint64_t power = (uint64_t)1 << (31 + bits);
  return (struct attune_divisor){.multiplier = (unsigned)((power + (uint64_t)d - 1) / (uint64_t)d), .shift = 31 + bits};
}

void attune_arguments_of_problem(struct attune_arguments *out, const attune_problem *problem) {
  *out = (struct attune_arguments){
      .batch = problem->batch,
      .heads_q = problem->heads_q,
      .group = problem->heads_q / problem->heads_kv,
      .seqlen_q = problem->seqlen_q,
      .seqlen_k = problem->seqlen_k,
      .align_end = problem->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT,
      .window_left = bounded(problem->window_left),
      .window_right = problem->mask == ATTUNE_MASK_NONE ? bounded(problem->window_right) : 0,
  };
  out->bias_batch = problem->bias.batch, out->bias_seqlen = problem->bias.seqlen, out->bias_heads = problem->bias.heads;
  fill_strides(out, problem);
  fill_scales(out, problem);
}

void attune_arguments_of_tiles(struct attune_arguments *out, const attune_config *config, const attune_problem *problem,
                               const attune_launch *launch) {
  const int32_t heads = problem->heads_q / config->pack_gqa;
  out->tiles_m = launch->tiles_m / launch->cluster;
  out->by_tiles_m = attune_divisor_of(out->tiles_m);
  out->by_heads_q = attune_divisor_of(heads);
  out->by_heads = attune_divisor_of(heads * problem->batch);
  out->work_tiles = launch->grid / launch->splits / launch->cluster;
  out->by_work_tiles = attune_divisor_of(out->work_tiles);
}

/* Rows of two floats, in tiles of any size that a family has. */
int32_t attune_rows_padded(const attune_problem *problem) {
  enum { LARGEST_TILE_M = 256 };
  return (problem->seqlen_q + LARGEST_TILE_M - 1) / LARGEST_TILE_M * LARGEST_TILE_M;
}

/* Whether the gradient of the bias is a sum over the dimension. */
static bool summed(const attune_problem *p, int64_t stride) {
  return p->want_dbias && stride == 0;
}

void attune_arguments_of_gradients(struct attune_gradients *out, const attune_config *config,
                                   const attune_problem *problem) {
  const attune_problem *p = problem;
  *out = (struct attune_gradients){
      .rows_padded = attune_rows_padded(p),
      .tiles_n = config->tile_n > 0 ? (int32_t)attune_blocks_of(p->seqlen_k, config->tile_n) : 0,
      .scale = clamped(p->scale),
      .dbias_batch = summed(p, p->bias.batch) ? 1 : p->batch,
      .dbias_heads = summed(p, p->bias.heads) ? 1 : p->heads_q,
      .dbias_rows = summed(p, p->bias.seqlen) ? 1 : p->seqlen_q,
  };
  out->do_batch = p->d_o.batch, out->do_seqlen = p->d_o.seqlen, out->do_heads = p->d_o.heads;
  out->dq_batch = p->dq.batch, out->dq_seqlen = p->dq.seqlen, out->dq_heads = p->dq.heads;
  out->dk_batch = p->dk.batch, out->dk_seqlen = p->dk.seqlen, out->dk_heads = p->dk.heads;
  out->dv_batch = p->dv.batch, out->dv_seqlen = p->dv.seqlen, out->dv_heads = p->dv.heads;
}

void attune_arguments_of_run(union attune_kernel_arguments *out, const attune_step *step,
                             const attune_run_inputs *run) {
  const attune_block_mask *mask = run->built.row_offsets != NULL ? &run->built : &run->tensors.block_mask;
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++) {
    const attune_value *value = &run->tensors.values[i];
    out->problem.values[i] = (struct attune_argument){value->array, value->count, value->integer, value->real};
  }
  out->problem.block_mask_capacity = mask->capacity < INT32_MAX ? (int)mask->capacity : INT32_MAX;
  out->problem.block_mask_batch = mask->batch;
  out->problem.block_mask_heads = mask->heads;
  if (attune_config_operation(&step->config) != ATTUNE_OPERATION_BLOCK_MASK) return;
  out->block_mask.work.kind = (int)run->source.kind;
  out->block_mask.work.count = run->source.count;
}
