// A walk ends with a tile of queries past the last one, and dQ is added for it all the same.
// launch: 3 128 0
// expect: bytes behind the sums for dQ
ATTUNE_KERNEL(128, 1) KERNEL_NAME(const attune_backward_arguments a) {
  const int tile = block_index() == 1 ? 64 : 0;
  float *const sums = a.gradients.dq_partial + tile / 64 * 2048 + thread_index() * 4;
  if (BROKEN || tile < a.problem.seqlen_q)
    for (int n = 0; n < 4; n++)
      reduce_add_128(sums + n * 512, 0.0f, 1.0f, 2.0f, 3.0f); // fault
}
