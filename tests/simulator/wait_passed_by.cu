// One warp speaks for two: the slot is filled twice, and a warp that is late never sees the phase it waits for.
// launch: 1 96 1024
// expect: may wait for ever
ATTUNE_KERNEL(96, 1) KERNEL_NAME(const attune_arguments problem) {
  const shared_address full = shared_memory(), empty = full + 8;
  const int warp = thread_index() / 32, lane = thread_index() % 32;
  if (thread_index() == 0) {
    mbarrier_init(full, 1);
    mbarrier_init(empty, BROKEN ? 1 : 2);
    mbarrier_init_fence();
  }
  barrier();
  for (int i = 0; i < 4; i++) {
    if (warp == 0) {
      mbarrier_wait(empty, i % 2 ^ 1);
      warp_barrier();
      if (lane == 0) mbarrier_arrive(full);
    } else {
      mbarrier_wait(full, i % 2);            // fault
      if (i == 0) named_barrier_sync(1, 64); // both have begun
      warp_barrier();
      if (lane == 0 && (warp == 1 || !BROKEN)) mbarrier_arrive(empty);
    }
  }
}
