// The bound that a kernel is given for a sequence's length is less than the length.
// launch: 1 32 0
// expect: a sequence's length in device memory is 63; it must be from 0 to the problem's bound, 62
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  const int bound = problem.seqlen_k - 2;
#else
  const int bound = problem.seqlen_k;
#endif
  const int length = load_length(problem.seqlens_k, bound); // fault
  store_global_float(problem.lse + thread_index(), (float)length);
}
