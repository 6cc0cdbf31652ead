// A wait counts groups, and this copy is in none.
// launch: 1 32 512
// expect: its group was never committed
// where: block 0, thread 3
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int thread = thread_index();
  cp_async(shared_memory() + thread * 16, (const char *)problem.k + thread * 16, true);
#if !BROKEN
  cp_async_commit();
#endif
  cp_async_wait<0>();
  barrier();
  if (thread == 3) store_global_128(problem.o, load_shared_128(shared_memory() + 48)); // fault
}
