// A tile is loaded over what was stored plainly and read back; the store was never fenced.
// launch: 1 32 9216
// expect: fence_proxy_async is missing
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  store_shared_float(tile + thread * 4, 1.0f);
#if !BROKEN
  fence_proxy_async();
#endif
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, 8192);
    tma_load(tile, maps.k, 0, 0, 0, 0, full, 0); // fault
  }
  mbarrier_wait(full, 0);
  store_global_float(problem.lse + thread, load_shared_float(tile + thread * 4));
}
