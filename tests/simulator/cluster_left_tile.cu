// A block leaves while its neighbour may still send it a tile.
// launch: 2 128 9216 2
// expect: nobody there has waited for it
// where: block 0, thread 0
ATTUNE_KERNEL(128, 1) ATTUNE_CLUSTER(2) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread_index() == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
    mbarrier_arrive_expect_tx(full, 8192);
  }
  cluster_barrier();
  if (block_index() == 0 && thread_index() == 0) tma_load_multicast(tile, maps.k, 0, 0, 0, 0, full, 3, 0); // fault
#if BROKEN
  if (block_index() == 1) return;
#endif
  mbarrier_wait(full, 0);
}
