/* The end of a row's softmax: what its O is multiplied with, and its LSE. */
#pragma once
#include "../primitives/cuda.h"
#include "arguments.h"
#include "parameters.h"

struct row_result {
  float factor; // what O is to be multiplied with
  float lse;    // natural
};

/* max: the largest score that was seen, in the units that log2_scale scales, -inf if no key was; sum: of
 * 2^(log2_scale * (score - max)). Natural logarithms, since a score times log2_scale may overflow where the score, as
 * its natural exponent, does not. */
ATTUNE_DEVICE row_result finish_row(const attune_arguments &problem, int head, float max, float sum) {
  float factor = 1.0f;
#if SINKS || LSE
  constexpr float ln_2 = 0.6931471805599453f;
  float top = max * (ln_2 * problem.log2_scale);
#endif
#if SINKS
  // One more key, without a value.
  constexpr float log2_e = 1.4426950408889634f;
  const float sink = load_constant_float(problem.sinks + head), high = top;
  top = maximum(high, sink);
  factor = sum == 0.0f ? 0.0f : exp2_approximate(log2_e * (high - top));
  sum = sum * factor + (sink == -infinity() ? 0.0f : exp2_approximate(log2_e * (sink - top)));
#endif
  row_result result;
  result.factor = sum == 0.0f ? 0.0f : factor * reciprocal(sum); // no visible key: O = 0, LSE = -inf
#if LSE
  result.lse = sum == 0.0f ? -infinity() : multiply_add(ln_2, log2_approximate(sum), top);
#endif
  return result;
}
