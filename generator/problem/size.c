/* Counts: blocks, visible pairs of query and key, operations, bytes. */
#include <math.h>

#include "generator/problem/rules.h"

enum { ELEMENT_BYTES = 2 };

int64_t attune_blocks_of(int32_t seqlen, int32_t block) {
  return ((int64_t)seqlen + block - 1) / block;
}

attune_range attune_block_range(int64_t index, int32_t block, int32_t seqlen) {
  const int64_t end = (index + 1) * block;
  return (attune_range){(int32_t)(index * block), (int32_t)(end < seqlen ? end : seqlen) - 1};
}

int32_t attune_problem_density_denominator(const attune_problem *problem) {
  enum { MOST = 1 << 16 };
  if (problem->block_size == 0 || !(problem->block_density > 0)) return 0;
  const double denominator = exp2(round(-log2((double)problem->block_density)));
  return denominator < MOST ? (int32_t)denominator : MOST;
}

/* Sum over i in [0, rows) of i + first, clamped to [0, limit]. */
static double clamped_sum(int64_t rows, int64_t first, int64_t limit) {
  const int64_t begin = first >= 0 ? 0 : -first < rows ? -first : rows; /* first row above 0 */
  int64_t end = limit - first;                                          /* first row at the limit */
  if (end < begin) end = begin;
  if (end > rows) end = rows;
  const double ramp = (double)(end - begin) * ((double)(begin + first) + (double)(end - 1 + first)) / 2;
  return ramp + (double)(rows - end) * (double)limit;
}

static double visible_pairs(const attune_problem *problem) {
  attune_problem p = *problem;
  attune_canonical_mask(&p);
  const int64_t shift = p.mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? (int64_t)p.seqlen_k - p.seqlen_q : 0;
  const double below_right = p.window_right == ATTUNE_UNBOUNDED
                                 ? (double)p.seqlen_q * (double)p.seqlen_k
                                 : clamped_sum(p.seqlen_q, shift + p.window_right + 1, p.seqlen_k);
  const double below_left =
      p.window_left == ATTUNE_UNBOUNDED ? 0 : clamped_sum(p.seqlen_q, shift - p.window_left, p.seqlen_k);
  return below_right - below_left;
}

double attune_problem_flops(const attune_problem *problem) {
  const double forward = problem->head_dim + problem->head_dim_v; /* S, O; backward: S, dK, dQ and dP, dV */
  const double width =
      problem->operation == ATTUNE_BACKWARD ? 3.0 * problem->head_dim + 2.0 * problem->head_dim_v : forward;
  return 2.0 * width * visible_pairs(problem) * problem->batch * problem->heads_q;
}

double attune_problem_bytes(const attune_problem *problem) {
  const double rows_q = (double)problem->batch * problem->heads_q * problem->seqlen_q;
  const double rows_k = (double)problem->batch * problem->heads_kv * problem->seqlen_k;
  const double row = ELEMENT_BYTES * (double)(problem->head_dim + problem->head_dim_v);
  const double lse = 4 * rows_q;
  if (problem->operation == ATTUNE_FORWARD) return (rows_q + rows_k) * row + (problem->want_lse ? lse : 0);
  return 2 * (rows_q + rows_k) * row + lse; /* each with its gradient */
}
