// One warp leaves without reaching the block barrier.
// launch: 2 96 0
// expect: deadlock: 64 of 96 threads wait at the block barrier, and thread 32 has left the kernel
// where: block 0, thread 0
ATTUNE_KERNEL(96, 1) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  if (thread_index() / 32 == 1) return;
#endif
  barrier(); // fault
}
