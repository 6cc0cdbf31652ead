/* The gradients of K and V, and sums for that of Q, on Hopper (sm_90a): wgmma, tiles by TMA.
 *
 * A block owns a tile of keys and goes through the rows of Q and dO of all heads that share them. The first warpgroup
 * gives its registers away; its first warp loads: K and V once, then a tile of Q and dO with the terms of its rows into
 * each slot. Every other warpgroup is a consumer: it owns 64 of the keys, as rows of S^T = K Q^T and dP^T = V dO^T, so
 * that P^T and dS^T are, packed, operands of dV += P^T dO and dK += dS^T Q. For dQ = dS K the consumers leave dS^T in
 * shared memory, which all of them then read: each computes its part of the tile's dQ (dq_partial.h) and adds it to
 * sums in device memory, in whichever order blocks come. Above head_dim 128 two consumers share 64 keys (wgmma_wide.h).
 *
 * dS^T has two slots. */
#include "wgmma_rows.h"
#if HEAD_DIM > 128 || HEAD_DIM_V > 128
#include "wgmma_wide.h"
#else
#include "wgmma_narrow.h"
#endif

ATTUNE_KERNEL(threads, min_blocks_per_sm) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const shared_address shared = shared_memory();
  const smem_map smem = map_smem(shared);
  position start;
  if (!find_position(start, a, block_index())) return;
  if (thread_index() == 0) {
    init_barriers(smem.kv_full, 1, 1);
    init_barriers(smem.kv_landed, 1, 1);
    init_barriers(smem.step_full, stages, full_arrivals);
    init_barriers(smem.step_empty, stages, empty_arrivals);
    init_barriers(smem.step_landed, stages, 1);
#if HEAD_DIM <= 128 && HEAD_DIM_V <= 128
    init_barriers(smem.ds_full, ds_slots, 4 * consumers); // from each warp
    init_barriers(smem.ds_empty, ds_slots, 4 * consumers);
#endif
    mbarrier_init_fence();
  }
  barrier();
  const int group = warp_uniform(thread_index() / 128) - 1;
  if (group < 0) {
#if WARPS > 8 || MIN_BLOCKS_PER_SM > 1
    setmaxnreg_dec<producer_registers>();
#endif
    if (warp_uniform(thread_index() / 32) == 0 && start.at.tiles > 0) run_load_warp(a, maps, shared, smem, start);
  } else {
#if WARPS > 8 || MIN_BLOCKS_PER_SM > 1
    setmaxnreg_inc<consumer_registers>();
#endif
    run_consumer(a, shared, smem, start, group);
  }
}
