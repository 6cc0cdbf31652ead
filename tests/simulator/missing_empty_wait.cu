// The producer fills a stage again without waiting until the consumers have read it.
// launch: 1 256 9216
// expect: write-after-read race: a tile's load overwrites shared offset 1024, which a product of warpgroup 0
// where: block 0, thread 128
ATTUNE_KERNEL(256, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), empty = full + 8, tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init(empty, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread / 128 == 0) {
    float c[32];
    for (int i = 0; i < 2; i++) {
      mbarrier_wait(full, i);
      wgmma_fence();
      wgmma_ss(c, descriptor_k_major(tile), descriptor_k_major(tile), false);
      wgmma_commit();
      if (i == 0) named_barrier_arrive(1, 160); // the product is under way
      wgmma_wait<0>();
      if (thread == 0) mbarrier_arrive(empty);
    }
  } else if (thread / 32 == 4) {
    for (int i = 0; i < 2; i++) {
      if (i == 1) named_barrier_sync(1, 160);
      if (thread != 128) continue;
#if BROKEN
      if (i == 1) mbarrier_wait(full, 0); // that the tile has come is not that it has been read
#else
      mbarrier_wait(empty, 1 - i);
#endif
      mbarrier_arrive_expect_tx(full, 8192);
      tma_load(tile, maps.q, 0, 0, 0, 0, full, 0); // fault
    }
  }
}
