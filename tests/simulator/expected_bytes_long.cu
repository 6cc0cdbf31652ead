// The phase waits for bytes that nobody brings.
// launch: 1 32 9216
// expect: deadlock: the mbarrier at offset 0 waits in phase 0 for 16384 bytes, and tiles of 8192 bytes
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, BROKEN ? 16384 : 8192);
    tma_load(tile, maps.k, 0, 0, 0, 0, full, 0);
  }
  barrier();
  mbarrier_wait(full, 0); // fault
  store_global_float(problem.lse + thread, load_shared_float(tile + thread * 4));
}
