// One thread waits for the store, another overwrites the tile without a barrier since.
// launch: 1 64 8192
// expect: race:
ATTUNE_KERNEL(64, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const shared_address tile = shared_memory();
  for (int at = thread_index() * 4; at < 8192; at += 256)
    store_shared_32(tile + at, 0);
  fence_proxy_async();
  barrier();
  if (thread_index() == 0) {
    tma_store(maps.o, 0, 0, 0, 0, tile, 0); // fault
    tma_store_wait_read();
  }
#if BROKEN
  // a rendezvous of each warp orders nothing between them
  if (thread_index() < 32) warp_barrier();
#else
  barrier();
#endif
  if (thread_index() == 33) store_shared_32(tile + 16, 1); // fault
}
