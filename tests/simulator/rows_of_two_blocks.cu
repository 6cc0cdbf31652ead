// Tiles overlap by one row, which two blocks write; with equal values nobody would notice.
// launch: 3 32 0
// expect: race: writes byte 480 of o, which thread 30 of block 0 writes at line 12
// where: block 1, thread 0
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int thread = thread_index(), row = thread / 2, chunk = thread % 2;
#if BROKEN
  const int first = block_index() * 15;
#else
  const int first = block_index() * 16;
#endif
  store_global_128((char *)problem.o + ((first + row) * problem.o_seqlen + chunk * 8) * 2, vec128{0, 0, 0, 0}); // fault
}
