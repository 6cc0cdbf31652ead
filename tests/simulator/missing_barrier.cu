// What one warp stores, another loads after a barrier of its own lanes only. The first barrier is there so that the
// bytes are written whatever the schedule.
// launch: 1 64 256
// expect: race
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem) {
  const int thread = thread_index();
  const shared_address shared = shared_memory();
  if (thread < 32) store_shared_float(shared + thread * 4, 1.0f);
  barrier();
  if (thread < 32) store_shared_float(shared + thread * 4, 2.0f); // fault
#if BROKEN
  warp_barrier();
#else
  barrier();
#endif
  if (thread >= 32) store_global_float(problem.lse + thread, load_shared_float(shared + thread % 32 * 4)); // fault
}
