// A step is full when its tile has come and its terms are stored; here the terms have no arrival of their own.
// launch: 1 64 9728
// expect: a shared load reads shared
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const int thread = thread_index(), lane = thread % 32;
  const shared_address full = shared_memory(), q = full + 1024, terms = q + 8192;
  if (thread == 0) {
    mbarrier_init(full, BROKEN ? 1 : 2);
    mbarrier_init_fence();
  }
  barrier();
  if (thread / 32 == 0) {
    if (lane == 0) {
      mbarrier_arrive_expect_tx(full, 8192);
      tma_load(q, maps.q, 0, 0, 0, 0, full, 0);
    }
    warp_barrier();
    store_shared_128(terms + lane * 16, load_global_128(a.gradients.row_terms + lane * 4));
    warp_barrier();
    if (lane == 0 && !BROKEN) mbarrier_arrive(full);
  } else {
    mbarrier_wait(full, 0);
    const vec128 t = load_shared_128(terms + lane * 16); // fault
    store_global_float(a.problem.lse + lane, float_of_bits(t.x[0]) + load_shared_float(q + lane * 4));
  }
}
