// A barrier of one warpgroup counts the threads of two.
// launch: 1 256 256
// expect: deadlock: named barrier 1 waits for 256 threads, and 128 have come
// where: block 0, thread 0
ATTUNE_KERNEL(256, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  if (thread < 128) named_barrier_sync(1, BROKEN ? 256 : 128); // fault
}
