/* Combines what splits of the keys gave: a warp a row of O. Each split has left its O, normalised, the row's largest
 * score and its sum; the weight of a split is its sum, brought to the largest score of all. A split that saw no key has
 * -inf and its O was not written, so that it is not read. */
#include "../parts/row_result.h"

constexpr int threads = warps * 32;
constexpr int columns = (head_dim_v + 127) / 128; // of a lane, in fours: 4 lane + 128 c
constexpr int chunks = (splits + 31) / 32;        // of the splits: a lane has the weights of lane, lane + 32, ...

ATTUNE_KERNEL(threads, 1) KERNEL_NAME(const attune_arguments problem) {
  wait_for_prior_grid(); // each thread: what follows this kernel relies on the splits' end
  const int lane = thread_index() % 32;
  const long long row = (long long)block_index() * warps + warp_uniform(thread_index() / 32);
  const long long rows = (long long)problem.batch * problem.heads_q * problem.seqlen_q;
  if (row >= rows) return;
  const int place = (int)(row / problem.seqlen_q), query = (int)(row % problem.seqlen_q);
  const int batch = place / problem.heads_q, head = place % problem.heads_q;
  if (problem.seqlens_q && query >= load_length(problem.seqlens_q + batch, problem.seqlen_q)) return;

  float max[chunks], weight[chunks], top = -infinity(), sum = 0.0f;
#pragma unroll
  for (int c = 0; c < chunks; c++) {
    const int split = c * 32 + lane;
    const int *of_row = (const int *)problem.softmax_partial + 2 * (split * rows + row);
    max[c] = split < splits ? float_of_bits(load_global_int(of_row)) : -infinity();
    weight[c] = split < splits ? float_of_bits(load_global_int(of_row + 1)) : 0.0f;
    top = maximum(top, max[c]);
  }
#pragma unroll
  for (int mask = 16; mask >= 1; mask /= 2)
    top = maximum(top, shuffle_xor(top, mask));
#pragma unroll
  for (int c = 0; c < chunks; c++) {
    weight[c] = max[c] == -infinity() ? 0.0f : weight[c] * exp2_approximate((max[c] - top) * problem.log2_scale);
    sum += weight[c];
  }
#pragma unroll
  for (int mask = 16; mask >= 1; mask /= 2)
    sum += shuffle_xor(sum, mask);
  const row_result result = finish_row(problem, head, top, sum);

  float o[columns][4] = {};
#pragma unroll 8
  for (int split = 0; split < splits; split++) {
    float own = weight[0];
#pragma unroll
    for (int c = 1; c < chunks; c++)
      own = split / 32 == c ? weight[c] : own;
    const float share = shuffle(own, split % 32);
    if (share == 0.0f) continue; // of all lanes: it saw no key, or weighs nothing
#pragma unroll
    for (int c = 0; c < columns; c++) {
      const int column = c * 128 + lane * 4;
      if (column >= head_dim_v) continue;
      const vec128 part = load_global_128(problem.o_partial + (split * rows + row) * head_dim_v + column);
#pragma unroll
      for (int e = 0; e < 4; e++)
        o[c][e] = multiply_add(share, float_of_bits(part.x[e]), o[c][e]);
    }
  }
  int *to =
      (int *)((char *)problem.o + 2 * (batch * problem.o_batch + head * problem.o_heads + query * problem.o_seqlen));
#pragma unroll
  for (int c = 0; c < columns; c++) {
    const int column = c * 128 + lane * 4;
    if (column >= head_dim_v) continue;
    store_global_int(to + column / 2, (int)pack(o[c][0] * result.factor, o[c][1] * result.factor));
    store_global_int(to + column / 2 + 1, (int)pack(o[c][2] * result.factor, o[c][3] * result.factor));
  }
#if LSE
  if (lane == 0) store_global_float(problem.lse + row, result.lse);
#endif
}
