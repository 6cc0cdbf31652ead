// O holds nothing yet that could be read.
// launch: 1 32 0
// expect: of o, which kernels may only write
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  const void *const in = problem.o;
#else
  const void *const in = problem.q;
#endif
  if (thread_index() == 0) load_global_128(in); // fault
}
