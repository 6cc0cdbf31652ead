// Accumulators are scaled between two products and are not held again before the second.
// launch: 1 128 9216
// expect: registers of C that the compiler may write after its start: they were written after fence_registers
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
  for (int i = 0; i < 32; i++)
    c[i] = 1.0f;
  fence_registers(c);
  wgmma_fence();
  wgmma_ss(c, descriptor_k_major(tile), descriptor_k_major(tile), true);
  wgmma_commit();
  wgmma_wait<0>();
  for (int i = 0; i < 32; i++)
    c[i] = c[i] * 0.5f + 1.0f;
#if !BROKEN
  fence_registers(c);
#endif
  wgmma_fence();
  wgmma_ss(c, descriptor_k_major(tile), descriptor_k_major(tile), true); // fault
  wgmma_commit();
  wgmma_wait<0>();
  if (thread < 64) store_global_float(problem.lse + thread, c[0]);
}
