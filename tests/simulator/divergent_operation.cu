// One lane votes while the others shuffle, on one line.
// launch: 1 32 0
// expect: all 32 lanes must meet at one place
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  float x = (float)thread_index();
  const bool vote = BROKEN && thread_index() == 7;
  x = vote ? (float)warp_any(true) : shuffle_xor(x, 1); // fault
  store_global_float(problem.lse + thread_index(), x);
}
