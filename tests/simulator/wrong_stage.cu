// A pipeline of two stages reads the stage that is being filled.
// launch: 1 32 1024
// expect: asynchronous copy not waited for
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  const char *k = (const char *)problem.k;
  cp_async(shared_memory() + lane * 16, k + lane * 16, true);
  cp_async_commit();
  for (int i = 0; i < 4; i++) {
    const int stage = i % 2;
    if (i < 3) cp_async(shared_memory() + (1 - stage) * 512 + lane * 16, k + (i + 1) * 512 + lane * 16, true);
    cp_async_commit();
    cp_async_wait<1>();
    barrier();
#if BROKEN
    const int read = 1 - stage;
#else
    const int read = stage;
#endif
    const vec128 chunk = load_shared_128(shared_memory() + read * 512 + (lane ^ 1) * 16); // fault
    store_global_128((char *)problem.o + (i * 16 + lane / 2) * 2 * problem.o_seqlen + lane % 2 * 16, chunk);
    barrier();
  }
}
