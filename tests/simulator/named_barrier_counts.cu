// Two warps come to a barrier with different ideas of how many take part.
// launch: 1 128 256
// expect: their numbers differ
ATTUNE_KERNEL(128, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  named_barrier_sync(3, BROKEN && thread / 32 % 2 == 1 ? 96 : 128); // fault
}
