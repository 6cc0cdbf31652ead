// One lane says for its warp that a stage was read, and the other lanes may still read it.
// launch: 1 64 9216
// expect: write-after-read race: a tile's load overwrites
// where: block 0, thread 32
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), empty = full + 8, tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init(empty, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 32) {
    for (int i = 0; i < 2; i++) {
      mbarrier_wait(empty, 1 - i);
      mbarrier_arrive_expect_tx(full, 8192);
      tma_load(tile, maps.q, 0, 0, 0, 0, full, 0); // fault
    }
    mbarrier_wait(full, 1);
  }
  if (thread < 32) {
    mbarrier_wait(full, 0);
    store_global_float(problem.lse + thread, load_shared_float(tile + thread * 4));
    fence_proxy_async();
#if BROKEN
    shuffle_xor(0.0f, 1);
#else
    warp_barrier();
#endif
    if (thread == 0) mbarrier_arrive(empty);
  }
}
