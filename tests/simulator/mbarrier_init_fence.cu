// The tensor copy engine may not see the mbarrier that a thread initialised.
// launch: 1 32 9216
// expect: mbarrier_init_fence is missing
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
#if !BROKEN
    mbarrier_init_fence();
#endif
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, 8192); // fault
    tma_load(tile, maps.k, 0, 0, 0, 0, full, 0);
    mbarrier_wait(full, 0);
  }
}
