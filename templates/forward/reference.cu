/* Forward attention as plainly as possible: a warp a query row, 32 keys at a time, one key a lane; float arithmetic
 * throughout, no rounding of P. Always legal, the last rung of the ladder, and the judge of problems that are too large
 * for the CPU. */
#include "../parts/epilogue.h"
#include "../parts/layout.h"
#include "../parts/mask_expression.h"

constexpr int threads = warps * 32;
constexpr int columns = (head_dim_v + 31) / 32; // output columns of a lane: lane, lane + 32, ...
constexpr int row_offset = 4 * 32;              // of a warp's shared memory: P of 32 keys, then the query row

/* Column `d` of the row that starts at `from`. */
ATTUNE_DEVICE float element(const char *from, int d) {
  const vec128 chunk = load_global_128(from + d / 8 * 16);
  float value = 0.0f;
#pragma unroll
  for (int e = 0; e < 4; e++) {
    if (d % 8 == 2 * e) value = unpack_low(chunk.x[e]);
    if (d % 8 == 2 * e + 1) value = unpack_high(chunk.x[e]);
  }
  return value;
}

ATTUNE_KERNEL(threads, min_blocks_per_sm) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index() % 32;
  const int warp = thread_index() / 32;
  const int flat_head = block_index() / problem.tiles_m;
  const int row = block_index() % problem.tiles_m * tile_m + warp;
  query_tile at;
  at.head = flat_head % problem.heads_q;
  at.batch = flat_head / problem.heads_q;
  if (!find_keys(at, problem, block_index() % problem.tiles_m) || row >= at.seqlen_q) return;
  const int head = at.head, batch = at.batch;
  const visible_keys keys = keys_of_rows(problem, row, row, at.shift, at.seqlen_k);

  const char *q =
      (const char *)problem.q + 2 * (batch * problem.q_batch + head * problem.q_heads + row * problem.q_seqlen);
  const char *k = (const char *)problem.k + 2 * (batch * problem.k_batch + head / problem.group * problem.k_heads);
  const char *v = (const char *)problem.v + 2 * (batch * problem.v_batch + head / problem.group * problem.v_heads);
  const shared_address p_shared = shared_memory() + warp_offset + warp * warp_slot_bytes;
  const shared_address q_shared = p_shared + row_offset;
  for (int d = lane; d < head_dim; d += 32)
    store_shared_float(q_shared + 4 * d, element(q, d));
  warp_barrier();

  float high = -infinity(), sum = 0.0f; // sum: of this lane's keys only, until the end
  float o[columns];
#pragma unroll
  for (int c = 0; c < columns; c++)
    o[c] = 0.0f;

  auto attend = [&](int first, int end, bool full) {
#if HAS_MASK_EXPR
    if (!full &&
        !classify_tile(problem, batch, head, row, row, first, minimum(first + 32, end) - 1, at.seqlen_q, at.seqlen_k)
             .maybe)
      return;
#endif
    float score = -infinity();
    if (first + lane < end) {
      score = 0.0f;
      const char *key = k + 2 * ((first + lane) * problem.k_seqlen);
      for (int d = 0; d < head_dim; d += 8) {
        const vec128 chunk = load_global_128(key + 2 * d);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          score = multiply_add(load_shared_float(q_shared + 4 * (d + 2 * e)), unpack_low(chunk.x[e]), score);
          score = multiply_add(load_shared_float(q_shared + 4 * (d + 2 * e + 1)), unpack_high(chunk.x[e]), score);
        }
      }
#if SCORE_NEGATED
      score = -score;
#endif
#if SCORE_SOFTCAP
      // tanh(x) = 1 - 2 / (1 + 2^(2 x log2(e)))
      score = 1.0f - 2.0f * reciprocal(1.0f + exp2_approximate(2.8853900817779268f * problem.cap_scale * score));
#endif
#if SCORE_EXPRESSION
      float bias = 0.0f;
      if (uses_bias) bias = unpack_low(load_constant_16(bias_of_row(problem, batch, head, row) + 2 * (first + lane)));
      score = changed_score(problem, at.constants, score * problem.cap_scale, bias, batch, head, row, first + lane,
                            at.seqlen_q, at.seqlen_k);
#endif
#if HAS_MASK_EXPR
      if (!full && !is_seen<integer, float>(problem, batch, head, row, first + lane, at.seqlen_q, at.seqlen_k))
        score = -infinity();
#endif
    }
    float next = maximum(high, score);
#pragma unroll
    for (int mask = 16; mask >= 1; mask /= 2)
      next = maximum(next, shuffle_xor(next, mask));
    if (next == -infinity()) return; // nothing is seen yet, and -inf - -inf is not a number
    const float factor = exp2_approximate((high - next) * problem.log2_scale);
    const float p = exp2_approximate((score - next) * problem.log2_scale);
    high = next;
    sum = multiply_add(sum, factor, p);
    store_shared_float(p_shared + 4 * lane, p);
    warp_barrier();
    const int count = minimum(32, end - first);
#pragma unroll
    for (int c = 0; c < columns; c++)
      o[c] *= factor;
    for (int j = 0; j < count; j++) {
      const float weight = load_shared_float(p_shared + 4 * j);
      const char *value = v + 2 * ((first + j) * problem.v_seqlen);
#pragma unroll
      for (int c = 0; c < columns; c++)
        if (lane + 32 * c < head_dim_v) o[c] = multiply_add(weight, element(value, lane + 32 * c), o[c]);
    }
    warp_barrier(); // P is read before the next keys overwrite it
  };
#if SPARSE_BLOCK_SIZE
  const sparse_list blocks_of_row = sparse_list_of(problem, at);
  for (int i = 0; i < blocks_of_row.count; i++) {
    const sparse_block block = sparse_block_at(problem, at, blocks_of_row, i);
    if (block.index < 0) continue;
    const int begin = block.index * sparse_block_size, end = minimum(keys.end, begin + sparse_block_size);
    for (int first = maximum(keys.begin, begin); first < end; first += 32)
      attend(first, end, block.full);
  }
#else
  for (int first = keys.begin; first < keys.end; first += 32)
    attend(first, keys.end, false);
#endif

#pragma unroll
  for (int mask = 16; mask >= 1; mask /= 2)
    sum += shuffle_xor(sum, mask);
  const row_result result = finish_row(problem, head, high, sum);
  // Rows go out 16 bytes at a time, by way of the query's place in shared memory, which all lanes have left.
  warp_barrier();
#pragma unroll
  for (int c = 0; c < columns; c++)
    if (lane + 32 * c < head_dim_v) store_shared_float(q_shared + 4 * (lane + 32 * c), o[c] * result.factor);
  warp_barrier();
  if (lane < head_dim_v / 8) {
    vec128 chunk;
#pragma unroll
    for (int e = 0; e < 4; e++)
      chunk.x[e] = pack(load_shared_float(q_shared + 4 * (lane * 8 + 2 * e)),
                        load_shared_float(q_shared + 4 * (lane * 8 + 2 * e + 1)));
    store_global_128((char *)problem.o +
                         2 * (batch * problem.o_batch + head * problem.o_heads + row * problem.o_seqlen + lane * 8),
                     chunk);
  }
#if LSE
  if (lane == 0) store_global_float(problem.lse + (long long)flat_head * problem.seqlen_q + row, result.lse);
#endif
}
