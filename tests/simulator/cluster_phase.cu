// A block sends a second tile while the first may be under way in its neighbour still.
// launch: 2 128 17408 2
// expect: the mbarrier at offset 0 of block 1
ATTUNE_KERNEL(128, 1) ATTUNE_CLUSTER(2) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const bool first = thread_index() == 0;
  const shared_address full = shared_memory(), taken = full + 8, tile = full + 1024;
  if (first) {
    mbarrier_init(full, 1);
    mbarrier_init(taken, 1);
    mbarrier_init_fence();
  }
  cluster_barrier();
  for (int i = 0; i < 2; i++) {
    if (first) {
      mbarrier_arrive_expect_tx(full, 8192);
      if (block_index() == 0) tma_load_multicast(tile + i * 8192, maps.q, 0, 0, 0, 0, full, 3, 0); // fault
    }
    mbarrier_wait(full, i); // fault
    barrier();
#if !BROKEN
    if (first && i == 0 && block_index() == 1) mbarrier_arrive_cluster(taken, 0);
    if (first && i == 0 && block_index() == 0) mbarrier_wait(taken, 0);
#endif
  }
}
