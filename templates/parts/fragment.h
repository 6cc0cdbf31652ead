/* The accumulators of a matrix product, as one thread has them: rows lane / 4 and lane / 4 + 8 of its warp's 16, and of
 * every eight columns two from 2 (lane % 4) on. Family wgmma has them as float[4 n], family mma as float[n][4]. */
#pragma once
#include "../primitives/cuda.h"

/* Row (half ? 8 : 0), column 8 n + 2 (lane % 4) + e. */
template <int count> ATTUNE_DEVICE float &score_at(float (&s)[count], int n, int half, int e) {
  return s[4 * n + 2 * half + e];
}
template <int count> ATTUNE_DEVICE float &score_at(float (&s)[count][4], int n, int half, int e) {
  return s[n][2 * half + e];
}
template <int count> ATTUNE_DEVICE const float &score_at(const float (&s)[count], int n, int half, int e) {
  return s[4 * n + 2 * half + e];
}
template <int count> ATTUNE_DEVICE const float &score_at(const float (&s)[count][4], int n, int half, int e) {
  return s[n][2 * half + e];
}

/* Columns, in eights. */
template <int count> ATTUNE_DEVICE constexpr int eights(const float (&)[count]) {
  return count / 4;
}
template <int count> ATTUNE_DEVICE constexpr int eights(const float (&)[count][4]) {
  return count;
}
