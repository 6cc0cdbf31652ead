/* What the kernels of the backward pass share: the terms of a query row, and from a score to its gradient. */
#pragma once
#include "../primitives/cuda.h"
#include "arguments.h"
#include "parameters.h"

/* Two floats: LSE in base 2, and delta. */
ATTUNE_DEVICE const float *terms_of_row(const attune_backward_arguments &a, int batch, int head, int row) {
  return a.gradients.row_terms + 2 * (((long long)batch * a.problem.heads_q + head) * a.gradients.rows_padded + row);
}

/* The probability of a score q.k; lse: of the query. Without softcap. */
ATTUNE_DEVICE float probability_of(float score, const attune_arguments &problem, float lse) {
#if SCORE_NEGATED
  score = -score;
#endif
  return exp2_approximate(multiply_add(score, problem.log2_scale, -lse));
}

/* Recomputation (FlashAttention, arXiv 2205.14135, appendix B.4): score is q.k and becomes the probability P; slope is
 * dO.v and becomes the derivative by scale * q.k, which is P (dO.v - delta). lse and delta: of the query. */
ATTUNE_DEVICE void differentiate(float &score, float &slope, const attune_arguments &problem, float lse, float delta) {
  float exponent = score;
#if SCORE_NEGATED
  exponent = -exponent;
#endif
#if SCORE_SOFTCAP
  // tanh(x) = 1 - 2 / (1 + 2^(2 x log2(e))), whose derivative is 1 - tanh(x)^2
  exponent = 1.0f - 2.0f * reciprocal(1.0f + exp2_approximate(2.8853900817779268f * problem.cap_scale * exponent));
  const float through_cap = multiply_add(-exponent, exponent, 1.0f);
#else
  constexpr float through_cap = 1.0f;
#endif
  score = exp2_approximate(multiply_add(exponent, problem.log2_scale, -lse));
  slope = score * (slope - delta) * through_cap;
}
