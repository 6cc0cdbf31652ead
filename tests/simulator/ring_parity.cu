// The parity is not turned when a ring of two slots wraps, so that the third wait returns at once.
// launch: 1 256 17408
// expect: mbarrier_wait is missing or its parity is wrong
// where: block 0, thread 0
ATTUNE_KERNEL(256, 1) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), empty = full + 16, q = full + 1024;
  if (thread == 0) {
    for (int slot = 0; slot < 2; slot++) {
      mbarrier_init(full + slot * 8, 1);
      mbarrier_init(empty + slot * 8, 1);
    }
    mbarrier_init_fence();
  }
  barrier();
  if (thread / 128 == 1) {
    if (thread / 32 > 4) return;
    for (int step = 0; step < 4; step++) {
      const int slot = step % 2;
      if (thread == 128) {
        mbarrier_wait(empty + slot * 8, step / 2 ^ 1);
        mbarrier_arrive_expect_tx(full + slot * 8, 8192);
        tma_load(q + slot * 8192, maps.q, 0, 0, 0, 0, full + slot * 8, 0);
      }
      if (step == 2) named_barrier_sync(1, 160); // the third tile is under way
    }
    return;
  }
  float dk[8] = {};
  unsigned slopes[4][4] = {};
  for (int step = 0; step < 4; step++) {
    const int slot = step % 2;
    if (step == 2) named_barrier_sync(1, 160);
    mbarrier_wait(full + slot * 8, BROKEN ? 0 : step / 2);
    fence_registers(dk);
    fence_registers(slopes);
    wgmma_fence();
    for (int n = 0; n < 4; n++)
      wgmma_rs(dk, slopes[n], descriptor_n_major(q + slot * 8192, 8192) + n * 128, true); // fault
    wgmma_commit();
    wgmma_wait<0>();
    if (thread == 0) mbarrier_arrive(empty + slot * 8);
  }
  if (thread < 64) store_global_float(a.problem.lse + thread, dk[0]);
}
