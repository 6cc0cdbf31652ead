// 16 bytes from an address that is a multiple of 8 only.
// launch: 1 32 0
// expect: which is not aligned to 16
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const vec128 chunk = load_global_128((const char *)problem.q + 8 * BROKEN); // fault
  store_global_float(problem.lse + thread_index(), unpack_low(chunk.x[0]));
}
