// One float past the end of LSE.
// launch: 3 32 0
// expect: 0 bytes behind lse
// where: block 1, thread 31
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int row = block_index() * 32 + thread_index() + BROKEN;
  if (block_index() < 2) store_global_float(problem.lse + row, 0.0f); // fault
}
