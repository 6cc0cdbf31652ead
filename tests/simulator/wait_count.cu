// Two groups are in flight and the second is read while one may still be pending.
// launch: 1 32 1024
// expect: it is in the thread's group 2 of 2, and no wait has required that one yet
// where: block 0, thread 5
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int thread = thread_index();
  const shared_address shared = shared_memory();
  cp_async(shared + thread * 16, (const char *)problem.k + thread * 16, true);
  cp_async_commit();
  cp_async(shared + 512 + thread * 16, (const char *)problem.k + 512 + thread * 16, true);
  cp_async_commit();
#if BROKEN
  cp_async_wait<1>();
#else
  cp_async_wait<0>();
#endif
  barrier();
  const vec128 key = load_shared_128(shared + thread * 16);
  store_global_128((char *)problem.o + thread * 16, key);
  if (thread == 5) store_global_128(problem.o, load_shared_128(shared + 512)); // fault
}
