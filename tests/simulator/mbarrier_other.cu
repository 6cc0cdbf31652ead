// Two tiles land on two mbarriers, and the second is read after a wait for the first.
// launch: 1 32 17408
// expect: mbarrier_wait is missing or its parity is wrong
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init(full + 8, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0)
    for (int i = 0; i < 2; i++) {
      mbarrier_arrive_expect_tx(full + i * 8, 8192);
      tma_load(tile + i * 8192, maps.k, 0, 0, 0, 0, full + i * 8, 0);
    }
  barrier();
  mbarrier_wait(full, 0);
#if BROKEN
  if (thread == 7) mbarrier_wait(full + 8, 0); // it alone knows of the second
  shuffle_xor(0.0f, 1);
#else
  mbarrier_wait(full + 8, 0);
#endif
  if (thread != 7) store_global_float(problem.lse + thread, load_shared_float(tile + 8192 + thread * 4)); // fault
}
