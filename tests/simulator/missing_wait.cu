// An asynchronous copy is read after a barrier, but its thread never waited for it.
// launch: 1 64 1024
// expect: asynchronous copy not waited for
// where: block 0, thread 32
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem) {
  const int thread = thread_index();
  const shared_address shared = shared_memory();
  cp_async(shared + thread * 16, (const char *)problem.q + thread * 16, true);
  cp_async_commit();
#if !BROKEN
  cp_async_wait<0>();
#endif
  barrier();
  if (thread == 32) store_global_128(problem.o, load_shared_128(shared)); // fault
}
