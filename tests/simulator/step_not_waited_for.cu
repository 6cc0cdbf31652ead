// A ring of three steps by cp.async: of the groups in flight the wait leaves out the one that comes next.
// launch: 1 64 3072
// expect: asynchronous copy not waited for
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_backward_arguments a) {
  const int thread = thread_index(), lane = thread % 32;
  const shared_address shared = shared_memory();
  auto copy_step = [&](int step) {
    if (step < 4) // empty groups past the end
      cp_async(shared + step % 3 * 1024 + thread * 16, (const char *)a.problem.q + step * 512 + thread % 32 * 16, true);
    cp_async_commit();
  };
  copy_step(0);
  copy_step(1);
  float c[4] = {};
  for (int step = 0; step < 4; step++) {
    cp_async_wait<1 + BROKEN>();
    barrier(); // the step's rows are here for all, and all have left the step before
    copy_step(step + 2);
    unsigned b[4];
    ldmatrix_x4_trans(b, shared + step % 3 * 1024 + thread / 32 * 512 + lane * 16); // fault
    mma_m16n8k16(c, b, b[0], b[1]);
  }
  cp_async_wait<0>();
  store_global_float(a.problem.lse + thread, c[0]);
}
