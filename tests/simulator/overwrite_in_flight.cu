// A plain store to bytes that a copy is about to fill.
// launch: 1 32 512
// expect: is still under way
// where: block 0, thread 2
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  cp_async(shared_memory() + lane * 16, (const char *)problem.q + lane * 16, true);
  cp_async_commit();
#if !BROKEN
  cp_async_wait<0>();
#endif
  if (lane == 2) store_shared_32(shared_memory() + 36, 0u); // fault
}
