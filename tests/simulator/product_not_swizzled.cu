// The descriptor says that its rows are not swizzled, and the tile's are.
// launch: 1 128 9216
// expect: a product's descriptor of B: its swizzle is not that of 128 bytes
// where: block 0, thread 0
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
#if BROKEN
  const unsigned long long b = descriptor_k_major(tile) & ~(3ull << 62);
#else
  const unsigned long long b = descriptor_k_major(tile);
#endif
  wgmma_fence();
  wgmma_ss(c, descriptor_k_major(tile), b, false); // fault
  wgmma_commit();
  wgmma_wait<0>();
  if (thread < 64) store_global_float(problem.lse + thread, c[0]);
}
