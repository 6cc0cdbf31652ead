// A thread tells the other block that a slot is free before its own block has read it.
// launch: 2 128 9216 2
// expect: write-after-read race: a tile's load overwrites
// where: block 0, thread 0
ATTUNE_KERNEL(128, 1) ATTUNE_CLUSTER(2) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), empty = full + 8, tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init(empty, 2);
    mbarrier_init_fence();
  }
  cluster_barrier();
  for (int i = 0; i < 2; i++) {
    if (thread == 0) {
      if (i == 1) mbarrier_wait(empty, 0);
      mbarrier_arrive_expect_tx(full, 8192);
      if (block_index() == 0) tma_load_multicast(tile, maps.q, 0, 0, 0, 0, full, 3, 0); // fault
    }
    mbarrier_wait(full, i);
    barrier();
#if BROKEN
    if (thread / 2 == 16 && i == 0) mbarrier_arrive_cluster(empty, thread % 2);
#endif
    store_global_float(problem.lse + block_index() * 32 + thread % 32, load_shared_float(tile + thread * 4));
    fence_proxy_async();
    barrier();
#if !BROKEN
    if (thread / 2 == 16 && i == 0) mbarrier_arrive_cluster(empty, thread % 2);
#endif
  }
}
