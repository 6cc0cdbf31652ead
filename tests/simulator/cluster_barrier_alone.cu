// One block of the cluster leaves without reaching its barrier.
// launch: 4 128 0 2
// expect: deadlock: 128 of 256 threads wait at the cluster barrier, and thread 0 of block 1 has left the kernel
// where: block 0, thread 0
ATTUNE_KERNEL(128, 1) ATTUNE_CLUSTER(2) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  if (block_index() % 2 == 1) return;
#endif
  cluster_barrier(); // fault
}
