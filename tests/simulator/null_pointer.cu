// The lengths are optional, and nobody asked whether they are there.
// launch: 1 32 0
// expect: through a null pointer
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
#if BROKEN
  const int seqlen = load_global_int(problem.seqlens_q + block_index()); // fault
#else
  const int seqlen = problem.seqlens_q ? load_global_int(problem.seqlens_q + block_index()) : problem.seqlen_q;
#endif
  store_global_float(problem.lse + thread_index(), (float)seqlen);
}
