// dQ of a step is computed late in the next one. A warpgroup stores dS^T of a step where the other one's product of the
// step before the last may still read, since it did not wait until that slot was left.
// launch: 1 256 41984
// expect: race: a
ATTUNE_KERNEL(256, 1) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const int thread = thread_index(), group = thread / 128, key = thread / 2;
  const shared_address landed = shared_memory(), full = landed + 8, empty = landed + 24, keys = landed + 1024;
  if (thread == 0) {
    mbarrier_init(landed, 1);
    for (int slot = 0; slot < 2; slot++) {
      mbarrier_init(full + 8 * slot, 256);
      mbarrier_init(empty + 8 * slot, 256);
    }
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(landed, 8192);
    tma_load(keys, maps.k, 0, 0, 0, 0, landed, 0);
  }
  mbarrier_wait(landed, 0);
  for (int step = 0; step < 6; step++) {
    const int slot = step % 2, before = slot ^ 1;
    const shared_address slopes = keys + 8192;
    const unsigned pair = pack(float(step), 1.0f);
    const vec128 chunk = {pair, pair, pair, pair};
    if (!BROKEN && step >= 2) mbarrier_wait(empty + 8 * slot, (step / 2 - 1) % 2);
    for (int i = 0; i < 4; i++)
      store_shared_128(slopes + slot * 16384 + key * 128 + ((thread % 2 * 4 + i) ^ key % 8) * 16, chunk); // fault
    fence_proxy_async();
    mbarrier_arrive(full + 8 * slot);
    if (step == 0) continue;
    mbarrier_wait(full + 8 * before, (step - 1) / 2 % 2);
    float *const sums = a.gradients.dq_partial + group * 1024 + thread % 128 * 4;
    float dq[8];
    const unsigned long long turned = descriptor_n_major(slopes + before * 16384, 16384),
                             keys_turned = descriptor_n_major(keys, 8192);
    wgmma_fence();
    for (int n = 0; n < 8; n++)
      wgmma_ss_m_major(dq, turned + n * 128, keys_turned + n % 4 * 128, n > 0); // fault
    wgmma_commit();
    wgmma_wait<0>();
    mbarrier_arrive(empty + 8 * before);
    for (int n = 0; n < 2; n++)
      reduce_add_128(sums + n * 512, dq[4 * n], dq[4 * n + 1], dq[4 * n + 2], dq[4 * n + 3]);
  }
}
