// The one that fills a ring of two slots does not turn the parity when it wraps: it waits until a slot that is free is
// released once more. Were it not free yet, it would be filled while it is read.
// launch: 1 256 17408
// expect: deadlock
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
      if (step == 2) named_barrier_sync(1, 160); // the first slot is free
      if (thread == 128) {
        mbarrier_wait(empty + slot * 8, BROKEN ? 1 : step / 2 ^ 1);
        mbarrier_arrive_expect_tx(full + slot * 8, 8192);
        tma_load(q + slot * 8192, maps.q, 0, 0, 0, 0, full + slot * 8, 0);
      }
    }
    return;
  }
  float dk[8] = {};
  unsigned slopes[4][4] = {};
  for (int step = 0; step < 4; step++) {
    const int slot = step % 2;
    mbarrier_wait(full + slot * 8, step / 2); // fault
    fence_registers(dk);
    fence_registers(slopes);
    wgmma_fence();
    for (int n = 0; n < 4; n++)
      wgmma_rs(dk, slopes[n], descriptor_n_major(q + slot * 8192, 8192) + n * 128, true);
    wgmma_commit();
    wgmma_wait<0>();
    if (thread == 0) mbarrier_arrive(empty + slot * 8);
    if (step == 0) named_barrier_arrive(1, 160);
  }
  if (thread < 64) store_global_float(a.problem.lse + thread, dk[0]);
}
