// The block ends while its last tile is still under way.
// launch: 1 32 9216
// expect: the block ends with this tile's load under way
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, 8192);
    tma_load(tile, maps.k, 0, 0, 0, 0, full, 0); // fault
#if !BROKEN
    mbarrier_wait(full, 0);
#endif
  }
}
