// Two warps meet at two barriers that are not the same.
// launch: 1 64 0
// expect: divergence: arrives at a block barrier while
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  if (thread_index() < 32)
    barrier(); // fault
  else
    barrier(); // fault
#else
  barrier();
#endif
}
