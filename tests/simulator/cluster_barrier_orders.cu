// A cluster barrier orders no accesses, not even those of a block.
// launch: 2 128 512 2
// expect: race: a shared load reads shared offset
ATTUNE_KERNEL(128, 1) ATTUNE_CLUSTER(2) KERNEL_NAME(const attune_arguments problem) {
  const int thread = thread_index();
  store_shared_float(shared_memory() + 4 * thread, 1.0f);
#if BROKEN
  cluster_barrier();
#else
  barrier();
#endif
  const float x = load_shared_float(shared_memory() + 4 * (thread ^ 64)); // fault
  store_global_float(problem.lse + block_index() * 32 + thread % 32, x);
}
