// A matrix load hands every row to all lanes, also a row that its own lane stored.
// launch: 1 32 512
// expect: race: a matrix load reads
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  for (int i = 0; i < 4; i++)
    store_shared_32(shared_memory() + lane * 16 + i * 4, 0u);
#if !BROKEN
  warp_barrier();
#endif
  unsigned fragment[4];
  ldmatrix_x4_trans(fragment, shared_memory() + lane * 16); // fault
  store_global_float(problem.lse + lane, unpack_high(fragment[3]));
}
