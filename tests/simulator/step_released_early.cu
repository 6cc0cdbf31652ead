// A step's slot is released when dV += P^T dO has been waited for, and dK += dS^T Q still reads its Q.
// launch: 1 256 17408
// expect: write-after-read race: a tile's load overwrites shared offset 1024, which a product of warpgroup 0
// where: block 0, thread 128
ATTUNE_KERNEL(256, 1) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), empty = full + 8, q = full + 1024, d_o = q + 8192;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init(empty, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread / 128 == 1) {
    for (int step = 0; step < 3 && thread == 128; step++) {
      mbarrier_wait(empty, step % 2 ^ 1);
      mbarrier_arrive_expect_tx(full, 16384);
      tma_load(q, maps.q, 0, 0, 0, 0, full, 0); // fault
      tma_load(d_o, maps.v, 0, 0, 0, 0, full, 0);
    }
    return;
  }
  float dk[8] = {}, dv[8] = {};
  unsigned operand[4][4] = {}, slopes[4][4] = {};
  for (int step = 0; step < 3; step++) {
    mbarrier_wait(full, step % 2);
    fence_registers(dk);
    fence_registers(dv);
    fence_registers(operand);
    fence_registers(slopes);
    wgmma_fence();
    for (int n = 0; n < 4; n++)
      wgmma_rs(dv, operand[n], descriptor_n_major(d_o, 8192) + n * 128, true);
    wgmma_commit();
    for (int n = 0; n < 4; n++)
      wgmma_rs(dk, slopes[n], descriptor_n_major(q, 8192) + n * 128, true);
    wgmma_commit();
    wgmma_wait<BROKEN>();
    if (thread == 0) mbarrier_arrive(empty);
    wgmma_wait<0>();
  }
  if (thread < 64) store_global_float(a.problem.lse + thread, dk[0] + dv[0]);
}
