// Two floats a thread, added sixteen bytes at a time.
// launch: 1 128 0
// expect: which is not aligned to 16
ATTUNE_KERNEL(128, 1) KERNEL_NAME(const attune_backward_arguments a) {
  reduce_add_128(a.gradients.dq_partial + thread_index() * (BROKEN ? 2 : 4), 0.0f, 1.0f, 2.0f, 3.0f); // fault
}
