// dQ = dS K takes the dS^T of all warpgroups, and nothing says that the other one has stored its part.
// launch: 1 256 25600
// expect: a product reads shared
ATTUNE_KERNEL(256, 1) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const int thread = thread_index(), group = thread / 128, key = thread / 2;
  const shared_address full = shared_memory(), keys = full + 1024, slopes = keys + 8192;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, 8192);
    tma_load(keys, maps.k, 0, 0, 0, 0, full, 0);
  }
  mbarrier_wait(full, 0);
  const unsigned pair = pack(1.0f, 1.0f);
  const vec128 chunk = {pair, pair, pair, pair};
  for (int i = 0; i < 4; i++)
    store_shared_128(slopes + key * 128 + ((thread % 2 * 4 + i) ^ key % 8) * 16, chunk);
  fence_proxy_async();
#if BROKEN
  named_barrier_sync(1 + group, 128); // its own part
#else
  named_barrier_sync(1, 256);
#endif
  float *const sums = a.gradients.dq_partial + group * 1024 + thread % 128 * 4;
  float dq[8];
  const unsigned long long turned = descriptor_n_major(slopes, 16384), keys_turned = descriptor_n_major(keys, 8192);
  wgmma_fence();
  for (int n = 0; n < 8; n++)
    wgmma_ss_m_major(dq, turned + n * 128, keys_turned + n % 4 * 128, n > 0); // fault
  wgmma_commit();
  wgmma_wait<0>();
  for (int n = 0; n < 2; n++)
    reduce_add_128(sums + n * 512, dq[4 * n], dq[4 * n + 1], dq[4 * n + 2], dq[4 * n + 3]);
}
