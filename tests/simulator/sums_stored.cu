// dQ is stored where other blocks add theirs.
// launch: 1 32 0
// expect: writes 16 bytes of the sums for dQ, which kernels may only add to
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_backward_arguments a) {
  const vec128 zero = {};
  if (thread_index() > 0) return;
#if BROKEN
  store_global_128(a.gradients.dq_partial, zero); // fault
#else
  reduce_add_128(a.gradients.dq_partial, 0.0f, 0.0f, 0.0f, 0.0f);
  store_global_128(a.problem.o, zero);
#endif
}
