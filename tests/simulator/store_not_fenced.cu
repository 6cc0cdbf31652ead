// A tile that was written with ordinary stores is sent off without a fence between.
// launch: 1 32 8192
// expect: fence_proxy_async is missing
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const shared_address tile = shared_memory();
  for (int at = thread_index() * 4; at < 8192; at += 128)
    store_shared_32(tile + at, 0);
#if !BROKEN
  fence_proxy_async();
#endif
  barrier();
  if (thread_index() != 0) return;
  tma_store(maps.o, 0, 0, 0, 0, tile, 0); // fault
  tma_store_wait_read();
}
