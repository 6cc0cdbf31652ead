// The same with elements, and a wait that lets the last batch run on.
// launch: 1 128 9216
// expect: stores a value of a product that was not waited for
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
  float c[32], d[32];
  wgmma_fence();
  wgmma_ss(c, descriptor_k_major(tile), descriptor_k_major(tile), false);
  wgmma_commit();
  wgmma_ss(d, descriptor_k_major(tile), descriptor_k_major(tile), false);
  wgmma_commit();
#if BROKEN
  wgmma_wait<1>();
#else
  wgmma_wait<0>();
#endif
  const vec128 out = {pack(c[0], c[1]), pack(c[2], c[3]), pack(d[0], d[1]), pack(d[2], d[3])};
  store_global_128((char *)problem.o + thread * 16, out); // fault
  wgmma_wait<0>();
}
