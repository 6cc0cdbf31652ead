// A block arrives at its neighbour's mbarrier before it can know that it is there.
// launch: 2 128 16 2
// expect: mbarrier at offset 0 of block
ATTUNE_KERNEL(128, 1) ATTUNE_CLUSTER(2) KERNEL_NAME(const attune_arguments problem) {
  const shared_address empty = shared_memory();
  if (thread_index() == 0) {
    mbarrier_init(empty, 2);
    mbarrier_init_fence();
  }
#if BROKEN
  barrier();
#else
  cluster_barrier();
#endif
  if (thread_index() < 2) mbarrier_arrive_cluster(empty, thread_index()); // fault
  if (thread_index() == 0) mbarrier_wait(empty, 0);
}
