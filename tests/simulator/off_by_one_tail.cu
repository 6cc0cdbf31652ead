// The loop over the keys goes one row too far: past the end of the tensor.
// launch: 1 32 64
// expect: behind v
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  float sum = 0.0f;
#if BROKEN
  const int end = problem.seqlen_k;
#else
  const int end = problem.seqlen_k - 1;
#endif
  for (int j = 0; j <= end; j++)
    if (lane == 0) sum += unpack_low(load_global_128((const char *)problem.v + j * 2 * problem.v_seqlen).x[0]); // fault
  if (lane == 0) store_global_float(problem.lse, sum);
}
