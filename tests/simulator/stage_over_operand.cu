// A warpgroup stages its result over an operand that the other warpgroup's product may still read.
// launch: 1 256 9216
// expect: which a product of warpgroup
ATTUNE_KERNEL(256, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect(full, 8192);
    load_tile(tile, maps.q, 0, 0, 0, 0, full, 0);
  }
  mbarrier_wait(full, 0);
  float c[32];
  warpgroup_fence();
  warpgroup_multiply(c, matrix_k_major(tile), matrix_k_major(tile), false);
  warpgroup_commit();
  named_barrier(1, 256); // both have started; no wait has been
  warpgroup_wait<0>();
#if !BROKEN
  named_barrier(2, 256);
#endif
  store_shared_float(tile + thread * 4, c[0]); // fault
}
