// The fence comes after the barrier: it orders nothing for those who came to the barrier before it.
// launch: 1 128 8192
// expect: fence_proxy_async is missing
// where: block 0, thread 0
ATTUNE_KERNEL(128, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index(), row = thread / 2, chunk = thread % 2;
  const shared_address tile = shared_memory();
  for (int i = 0; i < 4; i++)
    store_shared_32(tile + row * 128 + (chunk ^ row % 8) * 16 + i * 4, pack(1.0f, 2.0f));
#if !BROKEN
  fence_proxy_async();
#endif
  barrier();
#if BROKEN
  fence_proxy_async();
#endif
  float c[32];
  wgmma_fence();
  wgmma_ss(c, descriptor_k_major(tile), descriptor_k_major(tile), false); // fault
  wgmma_commit();
  wgmma_wait<0>();
  if (thread < 64) store_global_float(problem.lse + thread, c[0]);
}
