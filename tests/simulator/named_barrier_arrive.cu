// Who only arrives learns nothing of the others.
// launch: 1 64 256
// expect: race: a shared load reads
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address shared = shared_memory();
  store_shared_float(shared + thread * 4, 1.0f);
  if (thread < 32 || !BROKEN)
    named_barrier_sync(1, 64);
  else
    named_barrier_arrive(1, 64);
  store_global_float(problem.lse + thread, load_shared_float(shared + (thread ^ 32) * 4)); // fault
}
