// The same with a matrix load, and a fence that only the thread which loads the tile has executed.
// launch: 1 64 9216
// expect: with ordinary loads: fence_proxy_async is missing
// where: block 0, thread 0
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  for (int i = 0; i < 2; i++) {
    if (thread == 0) {
      mbarrier_arrive_expect_tx(full, 8192);
      tma_load(tile, maps.k, 0, 0, 0, 0, full, 0); // fault
    }
    mbarrier_wait(full, i);
    unsigned fragment[4];
    ldmatrix_x4(fragment, tile + thread * 16);
#if BROKEN
    if (thread == 0) fence_proxy_async();
#else
    fence_proxy_async();
#endif
    barrier();
    store_global_float(problem.lse + thread, float_of_bits(fragment[0]));
  }
}
