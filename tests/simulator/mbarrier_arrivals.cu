// One warp of two arrives, and the phase waits for both.
// launch: 1 96 256
// expect: deadlock: the mbarrier at offset 0 waits in phase 0 for 1 more of 2 arrivals
ATTUNE_KERNEL(96, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address empty = shared_memory();
  if (thread == 0) {
    mbarrier_init(empty, 2);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0 || (!BROKEN && thread == 32)) mbarrier_arrive(empty);
  if (thread >= 64) mbarrier_wait(empty, 0); // fault
}
