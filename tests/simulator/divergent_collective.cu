// Half of a warp shuffles in one place and half in another.
// launch: 1 32 0
// expect: divergence: arrives at an exclusive-or shuffle
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  float x = (float)thread_index();
#if BROKEN
  if (thread_index() < 16)
    x = shuffle_xor(x, 1); // fault
  else
    x = shuffle_xor(x, 1); // fault
#else
  x = shuffle_xor(x, 1);
#endif
  store_global_float(problem.lse + thread_index(), x);
}
