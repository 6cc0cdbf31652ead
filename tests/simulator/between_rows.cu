// V has padded rows; a load that takes them for contiguous reads memory that is not V's.
// launch: 1 32 0
// expect: between its rows
// where: block 0, thread 1
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  const long long pitch = 32;
#else
  const long long pitch = 2 * problem.v_seqlen;
#endif
  if (thread_index() < 2) load_global_128((const char *)problem.v + thread_index() * pitch); // fault
}
