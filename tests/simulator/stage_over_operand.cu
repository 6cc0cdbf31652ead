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
    mbarrier_arrive_expect_tx(full, 8192);
    tma_load(tile, maps.q, 0, 0, 0, 0, full, 0);
  }
  mbarrier_wait(full, 0);
  float c[32];
  wgmma_fence();
  wgmma_ss(c, descriptor_k_major(tile), descriptor_k_major(tile), false);
  wgmma_commit();
  named_barrier_sync(1, 256); // both have started; no wait has been
  wgmma_wait<0>();
#if !BROKEN
  named_barrier_sync(2, 256);
#endif
  store_shared_float(tile + thread * 4, c[0]); // fault
}
