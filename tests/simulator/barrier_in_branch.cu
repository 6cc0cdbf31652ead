// Some lanes wait at a block barrier that the rest of their warp would reach only after a shuffle.
// launch: 1 64 0
// expect: waits at the block barrier of line
// where: block 0, thread 48
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem) {
  float x = 1.0f;
#if BROKEN
  if (thread_index() < 48) barrier();
  if (thread_index() >= 48) x = shuffle_xor(x, 1); // fault
#else
  barrier();
  x = shuffle_xor(x, 1);
#endif
  store_global_float(problem.lse + thread_index(), x);
}
