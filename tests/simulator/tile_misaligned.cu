// The swizzle takes the row's number from the address: a tile starts at a multiple of 1024.
// launch: 1 32 9216
// expect: a tile's load is misaligned: shared offset 512
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + (BROKEN ? 512 : 1024);
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect_tx(full, 8192);
    tma_load(tile, maps.k, 0, 0, 0, 0, full, 0); // fault
    mbarrier_wait(full, 0);
  }
}
