// A tile is written anew while its store may still read it.
// launch: 1 32 8192
// expect: still reads
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const shared_address tile = shared_memory();
  for (int at = thread_index() * 4; at < 8192; at += 128)
    store_shared_32(tile + at, 0);
  fence_proxy_async();
  barrier();
  if (thread_index() != 0) return;
  tma_store(maps.o, 0, 0, 0, 0, tile, 0);
#if !BROKEN
  tma_store_wait_read();
#endif
  store_shared_32(tile + 16, 1); // fault
  tma_store_wait_read();
}
