// A lane reads what its neighbour stored, and a shuffle between does not order memory.
// launch: 1 32 128
// expect: a warp barrier or a block barrier is missing
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  store_shared_float(shared_memory() + lane * 4, (float)lane);
  shuffle_xor(0.0f, 1);
#if !BROKEN
  warp_barrier();
#endif
  store_global_float(problem.lse + lane, load_shared_float(shared_memory() + (lane ^ 1) * 4)); // fault
}
