// A buffer is filled again while other threads may still read it.
// launch: 1 32 512
// expect: write-after-read race: an asynchronous copy overwrites
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  const char *k = (const char *)problem.k;
  cp_async(shared_memory() + lane * 16, k + lane * 16, true);
  cp_async_commit();
  cp_async_wait<0>();
  barrier();
  const vec128 chunk = load_shared_128(shared_memory() + (31 - lane) * 16);
  shuffle_xor(0.0f, 1); // all have read, yet nothing says so to the memory
#if !BROKEN
  barrier();
#endif
  cp_async(shared_memory() + lane * 16, k + 1024 + lane * 16, true); // fault
  cp_async_commit();
  store_global_128((char *)problem.o + lane * 2 * problem.o_seqlen, chunk);
}
