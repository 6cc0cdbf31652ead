// The next A is packed into registers that a product in flight still reads.
// launch: 1 128 9216
// expect: the registers of A are written while this product, in flight, reads them
// where: block 0, thread 5
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
  unsigned a[1][4] = {{pack(1.0f, 2.0f), pack(3.0f, 4.0f), 0u, (unsigned)thread}};
  fence_registers(a);
  wgmma_fence();
  wgmma_rs(c, a[0], descriptor_n_major(tile, 1024), false); // fault
  wgmma_commit();
#if !BROKEN
  wgmma_wait<0>();
#endif
  if (thread == 5) a[0][2] = pack(1.0f, 1.0f);
  fence_registers(a);
  wgmma_wait<0>();
  if (thread < 64) store_global_float(problem.lse + thread, c[0]);
}
