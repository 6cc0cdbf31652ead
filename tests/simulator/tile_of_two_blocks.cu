// Two blocks store the same tile by TMA: the grid has one block more than there are tiles.
// launch: 2 32 9216
// expect: race: writes byte 0 of o, which thread 0 of block 0 writes
// where: block 1, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  const shared_address tile = shared_memory();
  for (int i = thread; i < 64 * 32; i += 32)
    store_shared_float(tile + i * 4, 0.0f);
  fence_proxy_async();
  barrier();
#if !BROKEN
  if (block_index() > 0) return;
#endif
  if (thread != 0) return;
  tma_store(maps.o, 0, 0, 0, 0, tile, 0); // fault
  tma_store_wait_read();
}
