/* The last step of the backward pass in family wgmma: dQ from the sums of floats that blocks of keys have made. A block
 * of 128 threads takes a part of a tile of queries, as the warpgroup did that added to it. */
#include "../parts/gradients.h"
#include "dq_partial.h"

constexpr int threads = warps * 32;
constexpr int pitch = dq_columns * 2 + 16; // bytes of a staged row

ATTUNE_KERNEL(threads, 1) KERNEL_NAME(const attune_backward_arguments a) {
  const attune_arguments &problem = a.problem;
  const attune_gradients &g = a.gradients;
  const int part = block_index() % dq_parts, tile = block_index() / dq_parts % problem.tiles_m;
  const int flat_head = block_index() / dq_parts / problem.tiles_m;
  const int batch = flat_head / problem.heads_q, head = flat_head % problem.heads_q;
  const int seqlen_q = problem.seqlens_q ? load_length(problem.seqlens_q + batch, problem.seqlen_q) : problem.seqlen_q;
  const int first_row = tile * tile_m + (dq_by_rows ? part * 64 : 0), first_column = dq_by_rows ? 0 : part * dq_columns;
  if (first_row >= seqlen_q) return;

  const int lane = thread_index() % 32, row = thread_index() / 32 * 16 + lane / 4;
  const shared_address staged = shared_memory() + staged_offset;
  const float *from = dq_part(a, block_index() / dq_parts, part, thread_index());
#pragma unroll
  for (int n = 0; n < dq_columns / 8; n++) {
    const vec128 sums = load_global_128(from + n * 512);
#pragma unroll
    for (int half = 0; half < 2; half++)
      store_shared_32(staged + (row + half * 8) * pitch + n * 16 + lane % 4 * 4,
                      pack(float_of_bits(sums.x[2 * half]) * g.scale, float_of_bits(sums.x[2 * half + 1]) * g.scale));
  }
  barrier();
  constexpr int chunks = dq_columns / 8;
  char *to = (char *)g.dq + 2 * (batch * g.dq_batch + head * g.dq_heads + first_row * g.dq_seqlen + first_column);
#pragma unroll 4
  for (int i = thread_index(); i < 64 * chunks; i += threads) {
    const int r = i / chunks, chunk = i % chunks;
    if (first_row + r < seqlen_q && first_column + chunk * 8 < head_dim)
      store_eight(to + 2 * r * g.dq_seqlen + chunk * 16, load_shared_128(staged + r * pitch + chunk * 16));
  }
}
