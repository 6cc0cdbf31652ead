// The counter is set, while other blocks count with it.
// launch: 2 32 0
// expect: of the counter, which kernels may only count up
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  if (thread_index() == 0) {
#if BROKEN
    store_global_int((int *)problem.counter, block_index()); // fault
#else
    atomic_increment(problem.counter);
#endif
  }
}
