// The same with elements, and a wait that lets the last batch run on.
// launch: 1 128 9216
// expect: stores a value of a product that was not waited for
ATTUNE_KERNEL(128, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address full = shared_memory(), tile = full + 1024;
  if (thread == 0) {
    mbarrier_init(full, 1);
    mbarrier_init_fence();
  }
  barrier();
  if (thread == 0) {
    mbarrier_arrive_expect(full, 8192);
    load_tile(tile, maps.q, 0, 0, 0, 0, full, 0);
  }
  mbarrier_wait(full, 0);
  float c[32], d[32];
  warpgroup_fence();
  warpgroup_multiply(c, matrix_k_major(tile), matrix_k_major(tile), false);
  warpgroup_commit();
  warpgroup_multiply(d, matrix_k_major(tile), matrix_k_major(tile), false);
  warpgroup_commit();
#if BROKEN
  warpgroup_wait<1>();
#else
  warpgroup_wait<0>();
#endif
  const words out = {pack(c[0], c[1]), pack(c[2], c[3]), pack(d[0], d[1]), pack(d[2], d[3])};
  store_global_128((char *)problem.o + thread * 16, out); // fault
  warpgroup_wait<0>();
}
