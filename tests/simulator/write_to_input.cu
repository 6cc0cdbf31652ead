// O and Q are mixed up.
// launch: 1 32 0
// expect: of q, which kernels may only read
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const vec128 zero = {};
#if BROKEN
  void *const out = (void *)problem.q;
#else
  void *const out = problem.o;
#endif
  if (thread_index() == 0) store_global_128(out, zero); // fault
}
