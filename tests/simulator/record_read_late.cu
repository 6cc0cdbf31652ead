// A warp reads what stands in a slot once more behind the last barrier before one thread releases the slot.
// launch: 1 160 3072
// expect: write-after-read race: a shared store overwrites shared offset 1024, which thread
// where: block 0, thread 128
ATTUNE_KERNEL(160, 1) KERNEL_NAME(const attune_arguments a) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), empty = full + 8, record = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init(empty, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread >= 128) {
    for (int step = 0; step < 3 && thread == 128; step++) {
      mbarrier_wait(empty, step % 2 ^ 1);
      store_shared_32(record, (unsigned)step); // fault
      mbarrier_arrive(full);
    }
    return;
  }
  int sum = 0;
  for (int step = 0; step < 3; step++) {
    mbarrier_wait(full, step % 2);
    sum += load_shared_int(record);
#if !BROKEN
    const int again = load_shared_int(record);
#endif
    named_barrier_sync(1, 128);
#if BROKEN
    const int again = load_shared_int(record);
#endif
    sum += again;
    if (thread == 0) mbarrier_arrive(empty);
  }
  if (thread < 64) store_global_float(a.lse + thread, (float)sum);
}
