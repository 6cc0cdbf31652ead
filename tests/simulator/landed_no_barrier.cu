// Each thread waits for its own copies; others may read them only after a barrier. A shuffle brings the lanes together
// and orders no memory.
// launch: 1 32 512
// expect: it was waited for but no barrier since
// where: block 0, thread 31
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  cp_async(shared_memory() + lane * 16, (const char *)problem.k + lane * 16, true);
  cp_async_commit();
  barrier(); // too early: the copies are still in flight
  cp_async_wait<0>();
  shuffle_xor(0.0f, 1);
#if !BROKEN
  barrier();
#endif
  if (lane == 31) store_global_128(problem.o, load_shared_128(shared_memory())); // fault
}
