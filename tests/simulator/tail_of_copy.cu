// The guard of a tile's last rows is missing, so that an asynchronous copy reads past the tensor.
// launch: 1 32 4096
// expect: behind k
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  for (int row = lane / 2; row < 96; row += 16) {
#if BROKEN
    const bool valid = row < problem.seqlen_k || lane == 0;
#else
    const bool valid = row < problem.seqlen_k;
#endif
    cp_async(shared_memory() + row * 32 + lane % 2 * 16, // fault
             (const char *)problem.k + row * 2 * problem.k_seqlen + lane % 2 * 16, valid);
  }
  cp_async_commit();
  cp_async_wait<0>();
}
