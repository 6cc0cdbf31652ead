/* The gradient of the sinks. A sink is one more key of its head, of score `sink`, without a value: its probability is
 * exp(sink - lse), dP is 0, so that each row gives -P delta. A block adds up all rows of one head, in an order that is
 * always the same. */
#include "../parts/arguments.h"
#include "../parts/gradients.h"
#include "../parts/layout.h"

constexpr int threads = warps * 32;
#if NATURAL_LSE
constexpr float units = 1.0f;
constexpr float to_base_2 = 1.4426950408889634f; // log2(e)
#else
constexpr float units = 1.4426950408889634f; // log2(e)
constexpr float to_base_2 = 1.0f;
#endif

ATTUNE_KERNEL(threads, 1) KERNEL_NAME(const attune_backward_arguments a) {
  const attune_arguments &problem = a.problem;
  const int head = block_index();
  const float sink = load_constant_float(problem.sinks + head) * units;
  const shared_address sums = shared_memory() + sums_offset;
  float sum = 0.0f;
  for (int batch = 0; batch < problem.batch; batch++) {
    float of_sequence = 0.0f;
    for (int row = thread_index(); row < problem.seqlen_q; row += threads) { // rows past a sequence's end have lse inf
      const float *terms = terms_of_row(a, batch, head, row);
      const float p = exp2_approximate((sink - load_constant_float(terms)) * to_base_2);
      if (p != 0.0f) of_sequence = multiply_add(-p, load_constant_float(terms + 1), of_sequence);
    }
    sum += of_sequence;
  }
#pragma unroll
  for (int mask = 16; mask >= 1; mask /= 2)
    sum += shuffle_xor(sum, mask);
  if (thread_index() % 32 == 0) store_shared_float(sums + 4 * (thread_index() / 32), sum);
  barrier();
  if (thread_index() != 0) return;
  sum = 0.0f;
  for (int warp = 0; warp < warps; warp++)
    sum += load_shared_float(sums + 4 * warp);
#if ACCUMULATE
  sum += load_global_float(a.gradients.dsinks + head);
#endif
  store_global_float(a.gradients.dsinks + head, sum);
}
