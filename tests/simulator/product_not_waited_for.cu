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
    mbarrier_arrive_expect_tx(full, 8192);
    tma_load(tile, maps.q, 0, 0, 0, 0, full, 0);
  }
  mbarrier_wait(full, 0);
  float c[32];
  wgmma_fence();
  wgmma_ss(c, descriptor_k_major(tile), descriptor_k_major(tile), false); // fault
#if !BROKEN
  wgmma_commit();
#endif
  wgmma_wait<0>();
}
