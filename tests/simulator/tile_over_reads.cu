// A tile is loaded over one that was read with ordinary loads, which were never fenced.
// launch: 1 32 9216
// expect: read at line 19 with ordinary loads: fence_proxy_async is missing
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
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
    const float x = load_shared_float(tile + thread * 4);
#if !BROKEN
    fence_proxy_async();
#endif
    barrier();
    store_global_float(problem.lse + thread, x);
  }
}
