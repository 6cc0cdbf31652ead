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

/* The threshold in scores, for may_exceed_threshold: a little less, since a huge maximum plus it is rounded, to at most
 * twice as much. */
ATTUNE_DEVICE float score_slack(float log2_scale) {
  return (rescale_threshold - 1.0f) / log2_scale;
}

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

/* The exponent of a score is score * log2_scale - shift, in one instruction that does not round the product. So the
 * maximum's own exponent is not 0 but what rounded this shift: a factor that is common to the row's weights and its
 * sum. It stays common from one maximum to the next, since take_max goes from shift to shift. */
ATTUNE_DEVICE float shift_of(float max, float log2_scale) {
  return rounded_product(max, log2_scale);
}

/* Takes a row's new maximum; gives what O is to be multiplied with. may_mask: scores may be -inf. */
template <bool may_mask> ATTUNE_DEVICE float take_max(softmax_rows &rows, int half, float high, float log2_scale) {
#if SCORE_UNBOUNDED
  const float growth = (rows.max[half] - high) * log2_scale; // as find_shifts may subtract maxima, it does not overflow
#else
  const float growth = rounded_difference(shift_of(rows.max[half], log2_scale), shift_of(high, log2_scale));
#endif
  // A row that has seen no key yet has maximum -inf, and -inf - -inf is not a number.
  const float factor = may_mask && high == -infinity() ? 1.0f : exp2_approximate(growth);
  rows.max[half] = high;
  rows.sum[half] *= factor;
  return factor;
}

/* Whether a maximum might grow past the threshold, without the other lanes and with the bits of floats, which are in
 * order where the larger one is positive: three of them in an instruction. slack: score_slack. */
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

#if EXP2_EMULATION
/* exp2(x) of x up to 127 on the FMA units: 2^i by the exponent's bits, 2^f for f from -1/2 to 1/2 by the polynomial of
 * degree 4 with the least relative error, 2.7e-6. 0 below 2^-127, and a NaN stays one. */
ATTUNE_DEVICE float exp2_polynomial(float x) {
  constexpr float to_integer = 12582912.0f; // 1.5 x 2^23: adding it rounds to an integer, in the lowest bits
  x = max_nan(-127.0f, x);
  const float shifted = x + to_integer, f = x - (shifted - to_integer);
  const float power = float_of_bits(((unsigned)float_bits(shifted) << 23) + 0x3f800000u);
  float sum = multiply_add(0.00957010221f, f, 0.0559178591f);
  sum = multiply_add(sum, f, 0.240247443f);
  sum = multiply_add(sum, f, 0.693121791f);
  return power * multiply_add(sum, f, 0.999999285f);
}
#endif

/* exp2 of a thread's i-th score. */
ATTUNE_DEVICE float exp2_of_score(float x, int i) {
#if EXP2_EMULATION
  if (i % exp2_emulation == exp2_emulation - 1) return exp2_polynomial(x);
#endif
  return exp2_approximate(x);
}

#if SCORE_UNBOUNDED
/* Up to this shift, its rounding is at most 2^-11. */
constexpr float largest_shift = 8192.0f;

/* The shifts of this tile. Expressions give scores of any size: beyond largest_shift the maximum is subtracted from the
 * scores themselves, which is exact near it and does not overflow. So it is in rows of which a finite "minus infinity"
 * has hidden all keys so far. It is one test a tile. A row that has seen no key has scores of -inf, and shift 0. */
template <bool may_mask, class fragment>
ATTUNE_DEVICE void find_shifts(float (&shift)[2], const softmax_rows &rows, fragment &s, float log2_scale) {
#pragma unroll
  for (int half = 0; half < 2; half++)
    shift[half] = rows.max[half] * log2_scale;
  if (maximum(absolute(shift[0]), absolute(shift[1])) <= largest_shift) return;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float high = rows.max[half];
    if (absolute(shift[half]) <= largest_shift) continue;
    shift[half] = 0.0f;
    if (high == -infinity()) continue;
#pragma unroll
    for (int n = 0; n < eights(s); n++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        score_at(s, n, half, e) -= high;
  }
}
#else
/* The shifts of this tile; a row that has seen no key has scores of -inf, and shift 0. Right while P, which the shift's
 * rounding multiplies by up to 2^(|shift| / 2^24), does not overflow: in fp16, and with a maximum that has grown by
 * 2^rescale_threshold, to |shift| of 2^27. */
template <bool may_mask, class fragment>
ATTUNE_DEVICE void find_shifts(float (&shift)[2], const softmax_rows &rows, fragment &, float log2_scale) {
#pragma unroll
  for (int half = 0; half < 2; half++)
    shift[half] = may_mask && rows.max[half] == -infinity() ? 0.0f : shift_of(rows.max[half], log2_scale);
}
#endif

/* From scores to probabilities, in place: columns 8 first to 8 end - 1. */
template <int first, int end, class fragment>
ATTUNE_DEVICE void exponentiate(softmax_rows &rows, fragment &s, const float (&shift)[2], float log2_scale) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float sum = rows.sum[half];
#pragma unroll
    for (int n = first; n < end; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const float p = exp2_of_score(multiply_add(score_at(s, n, half, e), log2_scale, -shift[half]), 2 * n + e);
        score_at(s, n, half, e) = p;
        sum += p;
      }
    rows.sum[half] = sum;
  }
}
