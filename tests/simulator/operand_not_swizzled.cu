// A product's operand is stored row by row as if there were no swizzle; the product looks elsewhere.
// launch: 1 128 8192
// expect: a product reads shared memory that was never written
// where: block 0, thread 0
ATTUNE_KERNEL(128, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index(), row = thread / 2, chunk = thread % 2;
  const shared_address tile = shared_memory();
#if BROKEN
  const shared_address to = tile + row * 128 + chunk * 16;
#else
  const shared_address to = tile + row * 128 + (chunk ^ row % 8) * 16;
#endif
  for (int i = 0; i < 4; i++)
    store_shared_32(to + i * 4, pack(1.0f, 2.0f));
  fence_proxy_async();
  barrier();
  float c[32];
  wgmma_fence();
  wgmma_ss(c, descriptor_k_major(tile), descriptor_k_major(tile), false); // fault
  wgmma_commit();
  wgmma_wait<0>();
  if (thread < 64) store_global_float(problem.lse + thread, c[0]);
}
