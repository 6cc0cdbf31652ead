// The launch has 256 bytes of shared memory and the last lane stores behind them.
// launch: 1 64 256
// expect: a shared store is out of bounds: 4 bytes at shared offset 256, and the block has 256 bytes
// where: block 0, thread 63
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem) {
  store_shared_float(shared_memory() + (thread_index() + BROKEN) * 4, 0.0f); // fault
  barrier();
  store_global_float(problem.lse + thread_index(), load_shared_float(shared_memory() + (thread_index() ^ 1) * 4));
}
