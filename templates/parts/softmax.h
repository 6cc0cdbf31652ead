/* The softmax of a tile's scores, for the two rows of a thread's fragment (fragment.h): a running maximum and sum, as
 * in FlashAttention-2 (arXiv 2307.08691, section 3); O stays unnormalised until the end. */
#pragma once
#include "arguments.h"
#include "fragment.h"
#include "parameters.h"

/* With LAZY_RESCALE, O and the sum are rescaled only when some row's maximum has grown by more than a factor of
 * 2^rescale_threshold: until then P may exceed 1, which costs no accuracy in floating point, and the sum is taken
 * against the same maximum. */
constexpr float rescale_threshold = 8.0f;

struct softmax_rows {
  float max[2]; // in units of q.k
  float sum[2]; // of this thread's columns only, until the end
};

ATTUNE_DEVICE void clear(softmax_rows &rows) {
  rows.max[0] = rows.max[1] = -infinity();
  rows.sum[0] = rows.sum[1] = 0.0f;
}

/* The maxima with the scores of this tile. */
template <class fragment>
ATTUNE_DEVICE void find_maxima(float (&high)[2], const softmax_rows &rows, const fragment &s) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float h = rows.max[half];
#pragma unroll
    for (int n = 0; n < eights(s); n++)
      h = maximum(h, maximum(score_at(s, n, half, 0), score_at(s, n, half, 1)));
    h = maximum(h, shuffle_xor(h, 1)); // the four lanes of a row
    high[half] = maximum(h, shuffle_xor(h, 2));
  }
}

ATTUNE_DEVICE bool exceeds_threshold(const softmax_rows &rows, const float (&high)[2], float log2_scale) {
  return (high[0] - rows.max[0]) * log2_scale > rescale_threshold ||
         (high[1] - rows.max[1]) * log2_scale > rescale_threshold;
}

/* Takes a row's new maximum; gives what O is to be multiplied with. may_mask: scores may be -inf. */
template <bool may_mask> ATTUNE_DEVICE float take_max(softmax_rows &rows, int half, float high, float log2_scale) {
  // A row that has seen no key yet has maximum -inf, and -inf - -inf is not a number.
  const float factor = may_mask && high == -infinity() ? 1.0f : exp2_approximate((rows.max[half] - high) * log2_scale);
  rows.max[half] = high;
  rows.sum[half] *= factor;
  return factor;
}

/* Whether a maximum might grow past the threshold, without the other lanes and with the bits of floats, which are in
 * order where the larger one is positive: three of them in an instruction. slack: rescale_threshold / log2_scale. */
template <class fragment>
ATTUNE_DEVICE bool may_exceed_threshold(const softmax_rows &rows, const fragment &s, float slack) {
  bool grown = false;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float limit = rows.max[half] + slack;
    int top = 0;
#pragma unroll
    for (int n = 0; n < eights(s); n++)
      top = maximum(top, maximum(float_bits(score_at(s, n, half, 0)), float_bits(score_at(s, n, half, 1))));
    grown = grown || !(limit > 0) || top > float_bits(limit);
  }
  return grown;
}

#if POLYNOMIAL
/* exp2(x) of x up to 127 on the FMA units: 2^i by the exponent's bits, 2^f for f from -1/2 to 1/2 by the polynomial of
 * degree 4 with the least relative error, 2.7e-6. 0 below 2^-127, and a NaN stays one. */
ATTUNE_DEVICE float exp2_polynomial(float x) {
  constexpr float to_integer = 12582912.0f; // 1.5 x 2^23: adding it rounds to an integer, in the lowest bits
  x = max_nan(-127.0f, x);
  const float shifted = x + to_integer, f = x - (shifted - to_integer);
  const float power = float_of_bits(((unsigned)float_bits(shifted) << 23) + 0x3f800000u);
  return power * ((((0.00957010221f * f + 0.0559178591f) * f + 0.240247443f) * f + 0.693121791f) * f + 0.999999285f);
}
#endif

/* exp2 of a thread's i-th score. */
ATTUNE_DEVICE float exp2_of_score(float x, int i) {
#if POLYNOMIAL
  if (i % polynomial == polynomial - 1) return exp2_polynomial(x);
#endif
  return exp2_approximate(x);
}

/* From scores to probabilities, in place: columns 8 first to 8 end - 1. */
template <int first, int end, bool may_mask, class fragment>
ATTUNE_DEVICE void exponentiate(softmax_rows &rows, fragment &s, float log2_scale) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float shift = may_mask && rows.max[half] == -infinity() ? 0.0f : rows.max[half] * log2_scale;
    float sum = rows.sum[half];
#pragma unroll
    for (int n = first; n < end; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const float p = exp2_of_score(score_at(s, n, half, e) * log2_scale - shift, 2 * n + e);
        score_at(s, n, half, e) = p;
        sum += p;
      }
    rows.sum[half] = sum;
  }
}

/* ---- a row's end ---- */

/* The sum over the four lanes of a row. */
ATTUNE_DEVICE float sum_of_row(float sum) {
  sum += shuffle_xor(sum, 1);
  sum += shuffle_xor(sum, 2);
  return sum;
}

struct row_result {
  float factor; // what O is to be multiplied with
  float lse;    // natural; of a split to base 2
};

/* highest: the largest exponent of 2 that was seen, -inf if no key was; sum: of 2^(exponent - highest). A sink belongs
 * to the row, so that it is added where splits are combined. */
ATTUNE_DEVICE row_result finish_row(const attune_arguments &problem, int head, float highest, float sum) {
  float factor = 1.0f;
#if SINKS && SPLITS == 1
  // One more key, without a value.
  const float sink = 1.4426950408889634f * load_constant_float(problem.sinks + head);
  const float top = maximum(highest, sink);
  factor = sum == 0.0f ? 0.0f : exp2_approximate(highest - top);
  sum = sum * factor + (sink == -infinity() ? 0.0f : exp2_approximate(sink - top));
  highest = top;
#endif
  row_result result;
  result.factor = sum == 0.0f ? 0.0f : factor * reciprocal(sum); // no visible key: O = 0, LSE = -inf
#if SPLITS > 1
  result.lse = sum == 0.0f ? -infinity() : highest + log2_approximate(sum);
#elif LSE
  result.lse = sum == 0.0f ? -infinity() : 0.6931471805599453f * (highest + log2_approximate(sum));
#endif
  return result;
}
