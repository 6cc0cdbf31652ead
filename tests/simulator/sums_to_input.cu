// dQ is added to the terms of the rows.
// launch: 1 32 0
// expect: adds to 16 bytes of the row terms, which kernels may only read
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_backward_arguments a) {
  float *const to = BROKEN ? a.gradients.row_terms : a.gradients.dq_partial;
  if (thread_index() == 0) reduce_add_128(to, 0.0f, 1.0f, 2.0f, 3.0f); // fault
}
