// A block that gets half of its tile from its neighbour expects the bytes of its own half.
// launch: 2 128 17408 2
// expect: under way to it: the expected byte count is too small
ATTUNE_KERNEL(128, 1) ATTUNE_CLUSTER(2) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread_index() == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  cluster_barrier();
  if (thread_index() == 0) {
#if BROKEN
    mbarrier_arrive_expect_tx(full, 8192);
#else
    mbarrier_arrive_expect_tx(full, 2 * 8192);
#endif
    tma_load_multicast(tile + block_index() * 8192, maps.q, 0, 0, 0, 0, full, 3, 0);
  }
  cluster_barrier();
  mbarrier_wait(full, 0); // fault
}
