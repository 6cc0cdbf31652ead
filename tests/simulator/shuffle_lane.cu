// There is no lane 32.
// launch: 1 32 0
// expect: a shuffle's source lane is 32, outside 0..31
// where: block 0, thread 31
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  const int source = thread_index() + 1;
#else
  const int source = (thread_index() + 1) % 32;
#endif
  store_global_float(problem.lse + thread_index(), shuffle(1.0f, source)); // fault
}
