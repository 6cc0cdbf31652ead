/* What the kernels of the backward pass share: the terms of a query row, and from a score to its gradient. */
#pragma once
#include "../primitives/cuda.h"
#include "arguments.h"
#include "parameters.h"
#if SCORE_EXPRESSION
#include "expressions.h"
#endif

/* Two floats: LSE, and delta. */
ATTUNE_DEVICE const float *terms_of_row(const attune_backward_arguments &a, int batch, int head, int row) {
  return a.gradients.row_terms + 2 * (((long long)batch * a.problem.heads_q + head) * a.gradients.rows_padded + row);
}

/* Writes eight elements of a gradient, or adds them to those that are there. */
ATTUNE_DEVICE void store_eight(char *to, vec128 eight) {
#if ACCUMULATE
  const vec128 before = load_global_128(to);
#pragma unroll
  for (int e = 0; e < 4; e++)
    eight.x[e] =
        pack(unpack_low(before.x[e]) + unpack_low(eight.x[e]), unpack_high(before.x[e]) + unpack_high(eight.x[e]));
#endif
  store_global_128(to, eight);
}

/* Of which head the scores are. */
struct score_place {
  int batch, head, seqlen_q, seqlen_k;
#if SCORE_EXPRESSION
  item_constants constants;
#endif
};

ATTUNE_DEVICE score_place place_of(const attune_arguments &problem, int batch, int head, int seqlen_q, int seqlen_k) {
  score_place at;
  at.batch = batch;
  at.head = head;
  at.seqlen_q = seqlen_q;
  at.seqlen_k = seqlen_k;
#if SCORE_EXPRESSION
  at.constants = constants_of(problem, batch, head, seqlen_q, seqlen_k);
#endif
  return at;
}

/* The probability of a score q.k; lse: of the query. Without softcap. */
ATTUNE_DEVICE float probability_of(float score, const attune_arguments &problem, float lse) {
#if SCORE_NEGATED
  score = -score;
#endif
  return exp2_approximate(multiply_add(score, problem.log2_scale, -lse));
}

/* A query or key that is so many behind one that a whole step shares. */
#if SCORE_EXPRESSION
ATTUNE_DEVICE integer place_in_step(int first, int offset) {
  return integer(first, offset);
}
#else
ATTUNE_DEVICE int place_in_step(int first, int offset) {
  return first + offset;
}
#endif

#if SCORE_EXPRESSION
/* A pair past the end is hidden: it may have any bias. */
ATTUNE_DEVICE float bias_of_pair(const attune_arguments &problem, const score_place &at, integer query, integer key) {
  if (!uses_bias) return 0.0f;
  const char *row = bias_of_row(problem, at.batch, at.head, minimum(query.value(), problem.seqlen_q - 1));
  return unpack_low(load_constant_16(row + 2 * (long long)minimum(key.value(), problem.seqlen_k - 1)));
}

/* L2 fetches the bias of a tile, by `lanes` neighbouring threads: its elements are read one by one, and each would wait
 * for device memory. */
template <int queries, int keys, int lanes>
ATTUNE_DEVICE void prefetch_bias(const attune_arguments &problem, int batch, int head, int first_query, int first_key) {
  constexpr int line = 64; // elements
  constexpr int lines = keys / line + 1;
  if (!uses_bias) return;
  for (int i = thread_index() % lanes; i < queries * lines; i += lanes) {
    const int query = minimum(first_query + i / lines, problem.seqlen_q - 1),
              key = minimum(first_key + i % lines * line, problem.seqlen_k - 1);
    prefetch_l2(bias_of_row(problem, batch, head, query) + 2 * (long long)key);
  }
}

/* The changed score and its derivatives; score: q.k. */
ATTUNE_DEVICE score_derivatives derivatives_of(const attune_arguments &problem, const score_place &at, float score,
                                               float bias, integer query, integer key) {
  return changed_score_derivatives(problem, at.constants, score * problem.cap_scale, bias, at.batch, at.head, query,
                                   key, at.seqlen_q, at.seqlen_k);
}
#endif

/* Recomputation (FlashAttention, arXiv 2205.14135, appendix B.4): score is q.k and becomes the probability P; slope is
 * dO.v and becomes the derivative by scale * q.k, which is P (dO.v - delta) but for what changes the score. lse and
 * delta: of the query. The pair may lie past the end: it is hidden then, whatever comes out. */
template <class index_q, class index_k>
ATTUNE_DEVICE void differentiate(float &score, float &slope, const attune_arguments &problem,
                                 [[maybe_unused]] const score_place &at, [[maybe_unused]] index_q q,
                                 [[maybe_unused]] index_k k, float lse, float delta) {
#if SCORE_EXPRESSION
  const score_derivatives changed = derivatives_of(problem, at, score, bias_of_pair(problem, at, q, k), q, k);
  score = exp2_approximate((changed.value - lse) * problem.log2_scale);
  slope = score * (slope - delta) * changed.by0;
  if (score == 0.0f) slope = 0.0f; // also where the derivative of a score that hides is not a number
#else
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
#endif
}
