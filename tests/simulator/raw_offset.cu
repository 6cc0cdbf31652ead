// An offset is used as an address without shared_memory().
// launch: 1 32 512
// expect: out of bounds
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  const shared_address at = thread_index() * 4;
#else
  const shared_address at = shared_memory() + thread_index() * 4;
#endif
  store_shared_32(at, 1u); // fault
}
