// A lane returns before a shuffle of its warp.
// launch: 1 32 0
// expect: divergence: 31 lanes of the warp wait at an exclusive-or shuffle, and thread 9 has left the kernel
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  if (thread_index() == 9) return;
#endif
  const float x = shuffle_xor((float)thread_index(), 1); // fault
  store_global_float(problem.lse + thread_index(), x);
}
