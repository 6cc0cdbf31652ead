// Rows of the gradient of a bias begin on odd elements, so that two blocks share a word, of which each writes its half.
// Block 0 writes one element more than its own.
// launch: 2 32 0
// expect: race: writes byte 66 of o
ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {
  const int first = block_index() * 33, count = block_index() == 0 ? 33 + BROKEN : 30;
  for (int i = thread_index(); i < count; i += 32)
    store_global_16((char *)problem.o + 2 * (first + i), pack(1.0f, 0.0f)); // fault
}
