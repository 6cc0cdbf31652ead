// A's registers are written and nothing holds them before the product: the compiler may write them after its start.
// launch: 1 128 9216
// expect: registers of A that the compiler may write after its start: fence_registers has not held them
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
  unsigned a[1][4] = {{pack(1.0f, 2.0f), pack(3.0f, 4.0f), 0u, (unsigned)thread}};
#if !BROKEN
  fence_registers(a);
#endif
  wgmma_fence();
  wgmma_rs(c, a[0], descriptor_n_major(tile, 1024), false); // fault
  wgmma_commit();
  wgmma_wait<0>();
  if (thread < 64) store_global_float(problem.lse + thread, c[0]);
}
