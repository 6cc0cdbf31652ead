// A warpgroup leaves while its product runs: it was never committed, so that the wait does not concern it.
// launch: 1 128 9216
// expect: leaves the kernel with a product in flight
ATTUNE_KERNEL(128, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
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
  warpgroup_multiply(c, matrix_k_major(tile), matrix_k_major(tile), false); // fault
#if !BROKEN
  warpgroup_commit();
#endif
  warpgroup_wait<0>();
}
