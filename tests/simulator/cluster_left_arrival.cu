// A block leaves while its neighbour may still arrive at its mbarrier.
// launch: 2 128 16 2
// expect: nobody there has waited for it
// where: block 1, thread 0
ATTUNE_KERNEL(128, 1) ATTUNE_CLUSTER(2) KERNEL_NAME(const attune_arguments problem) {
  const shared_address empty = shared_memory();
  if (thread_index() == 0) {
    mbarrier_init(empty, 1);
    mbarrier_init_fence();
  }
  cluster_barrier();
  if (block_index() == 1 && thread_index() == 0) mbarrier_arrive_cluster(empty, 0); // fault
#if !BROKEN
  if (block_index() == 0) mbarrier_wait(empty, 0);
#endif
}
