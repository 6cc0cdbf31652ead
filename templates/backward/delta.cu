/* The first step of the backward pass: what the others need of each query row. delta is the product of a row of O and
 * its gradient, which is the sum of P dP over the row's keys (FlashAttention, arXiv 2205.14135, appendix B.4, equation
 * 4), less the gradient that flows into LSE. Eight lanes work on a row. Rows that only pad get terms that make of every
 * score the probability 0. */
#include "../parts/arguments.h"
#include "../parts/gradients.h"
#include "../parts/layout.h"

constexpr int threads = warps * 32;
constexpr int lanes = 32 / rows_of_warp; // of a row
constexpr float least_lse = -1e30f;

ATTUNE_DEVICE float product_of(vec128 a, vec128 b) {
  float sum = 0.0f;
#pragma unroll
  for (int e = 0; e < 4; e++) {
    sum = multiply_add(unpack_low(a.x[e]), unpack_low(b.x[e]), sum);
    sum = multiply_add(unpack_high(a.x[e]), unpack_high(b.x[e]), sum);
  }
  return sum;
}

#if DPARAMS && !ACCUMULATE
/* The kernel of operation dbias adds to them. */
ATTUNE_DEVICE void clear_dparams(const attune_backward_arguments &a) {
  for (int i = 0; i < 8; i++)
    for (long long at = (long long)block_index() * threads + thread_index();
         a.gradients.dparams[i] && at < a.problem.values[i].count; at += (long long)grid_size() * threads)
      store_global_float(a.gradients.dparams[i] + at, 0.0f);
}
#endif

ATTUNE_KERNEL(threads, 1) KERNEL_NAME(const attune_backward_arguments a) {
  const attune_arguments &problem = a.problem;
#if DPARAMS && !ACCUMULATE
  clear_dparams(a);
#endif
  const int lane = thread_index() % lanes;
  const long long number = (long long)block_index() * (threads / lanes) + thread_index() / lanes;
  const int place = (int)(number / a.gradients.rows_padded), row = (int)(number % a.gradients.rows_padded);
  const int batch = place / problem.heads_q, head = place % problem.heads_q;
  const bool exists = batch < problem.batch;
  int seqlen_q = problem.seqlen_q;
  if (exists && problem.seqlens_q) seqlen_q = load_length(problem.seqlens_q + batch, problem.seqlen_q);
  const bool in_use = exists && row < seqlen_q;

  float delta = 0.0f;
  if (in_use) {
    const char *o =
        (const char *)problem.o + 2 * (batch * problem.o_batch + head * problem.o_heads + row * problem.o_seqlen);
    const char *d_o = (const char *)a.gradients.d_o +
                      2 * (batch * a.gradients.do_batch + head * a.gradients.do_heads + row * a.gradients.do_seqlen);
    for (int chunk = lane; chunk < head_dim_v / 8; chunk += lanes)
      delta += product_of(load_global_128(o + chunk * 16), load_global_128(d_o + chunk * 16));
  }
#pragma unroll
  for (int mask = lanes / 2; mask >= 1; mask /= 2)
    delta += shuffle_xor(delta, mask);
  if (!exists || lane != 0) return;
  float lse = infinity();
  if (in_use) {
#if NATURAL_LSE
    constexpr float units = 1.0f;
#else
    constexpr float units = 1.4426950408889634f; // log2(e)
#endif
    const long long at = ((long long)batch * problem.heads_q + head) * problem.seqlen_q + row;
    const float natural = load_constant_float(problem.lse + at);
    // Below it, a finite "minus infinity" has hidden all keys of the row, which then counts as one that sees none.
    if (!(natural < least_lse)) lse = natural * units;
    if (a.gradients.dlse) delta -= load_constant_float(a.gradients.dlse + at);
  }
  float *terms = a.gradients.row_terms + 2 * number;
  store_global_float(terms, lse);
  store_global_float(terms + 1, delta);
}
