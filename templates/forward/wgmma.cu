/* Forward attention on Hopper (sm_90a): wgmma, tiles by TMA, one warpgroup that loads for one to three that compute.
 *
 * Warp roles. The first warpgroup gives its registers away; its first warp loads K and V; its second one, the mask
 * warp, with a mask expression or a block mask finds the tiles that are not empty; its third one loads Q and stores O;
 * its fourth one, the scheduler warp, takes the block's tiles of queries from a counter that all blocks share, where
 * they do not come in fixed rounds. Every other warpgroup is a consumer: it owns 64 of the tile's rows and sees every
 * key, in tiles of tile_n from the last visible one to the first, so that the ragged and the diagonal tiles come first.
 *
 * Q, K and V pass through slots of shared memory (pipeline.h). Q's slot has no empty barrier: consumers write O into it
 * and arrive on o_full, the store warp sends O and reloads Q; or O has a slot of its own; or it leaves through the slot
 * of the last V.
 *
 * Clusters. Two blocks take neighbouring tiles of queries, which see the same keys: each loads half of the rows of
 * every tile of K and V, for both. A slot is filled again when the consumers of both have released it; its full
 * barriers count the bytes of both halves. No block starts before its neighbour's barriers are there, nor leaves before
 * its neighbour is done with its own.
 *
 * Packed heads (pack_gqa). The query heads on one key head see the same keys: rows of so many of them, query by query,
 * make one tile, so that a few queries fill it. */
#include "wgmma_consumer.h"

/* One thread. */
ATTUNE_DEVICE void init_pipelines(const smem_map &smem) {
  for (int i = 0; i < q_stages; i++) {
    mbarrier_init(smem.q_full + 8 * i, 1);
#if O_STAGING_Q
    mbarrier_init(smem.o_full + 8 * i, 4 * consumers); // every warp
#else
    mbarrier_init(smem.q_empty + 8 * i, 4 * consumers); // every warp
#endif
  }
#if !O_STAGING_Q
  mbarrier_init(smem.o_full, 4 * consumers);
  mbarrier_init(smem.o_empty, 1);
#endif
  for (int i = 0; i < stages; i++) {
    mbarrier_init(smem.k_full + 8 * i, 1);
    mbarrier_init(smem.v_full + 8 * i, 1);
    mbarrier_init(smem.v_landed + 8 * i, 1);
    mbarrier_init(smem.k_empty + 8 * i, warpgroup_arrivals * consumers * cluster);
    mbarrier_init(smem.v_empty + 8 * i, warpgroup_arrivals * consumers * cluster);
  }
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
  for (int i = 0; i < queue_slots; i++) {
    mbarrier_init(smem.queue_full + 8 * i, 1);
    mbarrier_init(smem.queue_empty + 8 * i, 1);
  }
#endif
#if PERSISTENT_DYNAMIC
  mbarrier_init(smem.work_requested, 1);
  for (int i = 0; i < work_slots; i++) {
    mbarrier_init(smem.work_full + 8 * i, 1);
    mbarrier_init(smem.work_empty + 8 * i, work_readers);
  }
#endif
  mbarrier_init_fence();
}

ATTUNE_KERNEL(threads, min_blocks_per_sm)
#if CLUSTER > 1
ATTUNE_CLUSTER(cluster)
#endif
KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const shared_address shared = shared_memory();
  const smem_map smem = map_smem(shared);
#if SPLITS > 1
  launch_dependent_grid(); // the splits' combination
#endif
  if (thread_index() == 0) init_pipelines(smem);
#if CLUSTER > 1
  cluster_barrier();
#else
  barrier();
#endif
  const int group = warp_uniform(thread_index() / 128) - 1;
  if (group < 0) {
#if TILE_M > 64 || MIN_BLOCKS_PER_SM > 1
    setmaxnreg_dec<producer_registers>();
#endif
    const int warp = warp_uniform(thread_index() / 32);
    if (warp == 0) run_load_kv_warp(problem, maps, shared, smem);
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
    if (warp == 1) run_mask_warp(problem, smem);
#endif
    if (warp == 2) run_load_q_store_o_warp(problem, maps, shared, smem);
#if PERSISTENT_DYNAMIC
    if (warp == 3 && thread_index() % 32 == 0) schedule_tiles(problem, smem);
#endif
  } else {
#if TILE_M > 64 || MIN_BLOCKS_PER_SM > 1
    setmaxnreg_inc<consumer_registers>();
#endif
    run_consumer(problem, shared, smem, group);
  }
}
