// The parity is one phase off: the wait returns at once.
// launch: 1 64 9216
// expect: mbarrier_wait is missing or its parity is wrong
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, 8192);
    tma_load(tile, maps.k, 0, 0, 0, 0, full, 0);
  }
  barrier();
  mbarrier_wait(full, BROKEN);
  store_global_float(problem.lse + thread, load_shared_float(tile + thread * 4)); // fault
  mbarrier_wait(full, 0);
}
