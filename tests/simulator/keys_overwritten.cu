// A warpgroup stages dK over its rows of K, which the other one's last product dQ = dS K still reads.
// launch: 1 256 33792
// expect: write-after-read race: a shared store overwrites shared offset
ATTUNE_KERNEL(256, 1) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const int thread = thread_index(), group = thread / 128, key = thread / 2;
  const shared_address full = shared_memory(), keys = full + 1024, slopes = keys + 16384;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, 32768);
    for (int i = 0; i < 2; i++) {
      tma_load(keys + i * 8192, maps.k, 0, i * 64, 0, 0, full, 0);
      tma_load(slopes + i * 8192, maps.q, 0, i * 64, 0, 0, full, 0);
    }
  }
  mbarrier_wait(full, 0);
  float *const sums = a.gradients.dq_partial + group * 1024 + thread % 128 * 4;
  float dq[8];
  const unsigned long long turned = descriptor_n_major(slopes, 16384), keys_turned = descriptor_n_major(keys, 16384);
  wgmma_fence();
  for (int n = 0; n < 8; n++)
    wgmma_ss_m_major(dq, turned + n * 128, keys_turned + n * 128, n > 0);
  wgmma_commit();
  named_barrier_sync(1, 256); // both products are under way
  wgmma_wait<0>();
  for (int n = 0; n < 2; n++)
    reduce_add_128(sums + n * 512, dq[4 * n], dq[4 * n + 1], dq[4 * n + 2], dq[4 * n + 3]);
#if !BROKEN
  named_barrier_sync(1, 256);
#endif
  const shared_address staged = keys + key * 128 + (thread % 2 ^ key % 8) * 16;
  store_shared_128(staged, vec128{}); // fault
  if (key < 64) store_global_128((char *)a.problem.o + key * 32 + thread % 2 * 16, load_shared_128(staged));
}
