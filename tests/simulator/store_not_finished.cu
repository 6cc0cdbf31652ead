// The kernel ends before its tile's store has read shared memory.
// launch: 1 32 8192
// expect: tma_store_wait_read is missing
// where: block 0, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const shared_address tile = shared_memory();
  for (int at = thread_index() * 4; at < 8192; at += 128)
    store_shared_32(tile + at, 0);
  fence_proxy_async();
  barrier();
  if (thread_index() != 0) return;
  tma_store(maps.o, 0, 0, 0, 0, tile, 0); // fault
#if !BROKEN
  tma_store_wait_read();
#endif
}
