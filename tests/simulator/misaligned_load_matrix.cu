// The rows of a matrix load start at multiples of 16 bytes; a pitch of 24 bytes breaks that from the second row on.
// launch: 1 32 1024
// expect: a matrix load is misaligned: 16 bytes at shared offset 24
// where: block 0, thread 1
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int lane = thread_index();
  for (int i = lane; i < 256; i += 32)
    store_shared_32(shared_memory() + i * 4, 0x3f803f80u);
  warp_barrier();
  unsigned fragment[4];
#if BROKEN
  const int pitch = 24;
#else
  const int pitch = 32;
#endif
  ldmatrix_x4(fragment, shared_memory() + lane * pitch); // fault
  store_global_float(problem.lse + lane, unpack_low(fragment[0]));
}
