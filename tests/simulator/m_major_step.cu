// 16 keys further an M-major operand is 16 rows further; 32 bytes is the step of a K-major one.
// launch: 1 128 17408
// expect: a product's descriptor of A: its start is not a multiple of 1024
// where: block 0, thread 0
ATTUNE_KERNEL(128, 1) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), keys = full + 1024, slopes = keys + 8192;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, 16384);
    tma_load(keys, maps.k, 0, 0, 0, 0, full, 0);
    tma_load(slopes, maps.q, 0, 0, 0, 0, full, 0);
  }
  mbarrier_wait(full, 0);
  float *const sums = a.gradients.dq_partial + thread * 4;
  float dq[8];
  wgmma_fence();
  for (int n = 0; n < 4; n++) {
    const unsigned long long turned = descriptor_n_major(slopes, 8192) + n * (BROKEN ? 2 : 128);
    wgmma_ss_m_major(dq, turned, descriptor_n_major(keys, 8192) + n * 128, n > 0); // fault
  }
  wgmma_commit();
  wgmma_wait<0>();
  for (int n = 0; n < 2; n++)
    reduce_add_128(sums + n * 512, dq[4 * n], dq[4 * n + 1], dq[4 * n + 2], dq[4 * n + 3]);
}
