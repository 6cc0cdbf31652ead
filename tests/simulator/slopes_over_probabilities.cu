// dS^T is packed into the registers of P^T, which the product dV += P^T dO still reads.
// launch: 1 128 17408
// expect: the registers of A are written while this product, in flight, reads them
// where: block 0, thread 0
ATTUNE_KERNEL(128, 1) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), q = full + 1024, d_o = q + 8192;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, 16384);
    tma_load(q, maps.q, 0, 0, 0, 0, full, 0);
    tma_load(d_o, maps.v, 0, 0, 0, 0, full, 0);
  }
  mbarrier_wait(full, 0);
  float dk[8] = {}, dv[8] = {};
  unsigned operand[4][4], other[4][4];
#if BROKEN
  unsigned(&slopes)[4][4] = operand;
#else
  unsigned(&slopes)[4][4] = other;
#endif
  for (int n = 0; n < 4; n++)
    for (int e = 0; e < 4; e++)
      operand[n][e] = pack(0.5f, 0.25f);
  fence_registers(dv);
  fence_registers(operand);
  wgmma_fence();
  for (int n = 0; n < 4; n++)
    wgmma_rs(dv, operand[n], descriptor_n_major(d_o, 8192) + n * 128, true); // fault
  wgmma_commit();
  for (int n = 0; n < 4; n++)
    for (int e = 0; e < 4; e++)
      slopes[n][e] = pack(-2.0f, 3.0f);
  fence_registers(dk);
  fence_registers(slopes);
  wgmma_fence();
  for (int n = 0; n < 4; n++)
    wgmma_rs(dk, slopes[n], descriptor_n_major(q, 8192) + n * 128, true);
  wgmma_commit();
  wgmma_wait<0>();
  fence_registers(dk);
  fence_registers(dv);
  if (thread < 64) store_global_float(a.problem.lse + thread, dk[0] + dv[0]);
}
