// A tile's last row is not filled.
// launch: 1 32 512
// expect: a shared load reads shared memory that was never written, at offset 508
// where: block 0, thread 31
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  for (int i = lane; i < 128 - BROKEN; i += 32)
    store_shared_float(shared_memory() + i * 4, 1.0f);
  barrier();
  float sum = 0.0f;
  for (int i = lane; i < 128; i += 32)
    sum += load_shared_float(shared_memory() + i * 4); // fault
  store_global_float(problem.lse + lane, sum);
}
