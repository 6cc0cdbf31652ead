// Two warpgroups claim more registers than the third gives back.
// launch: 1 384 256
// expect: deadlock: claims 240 registers a thread
ATTUNE_KERNEL(384, 1) KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const int thread = thread_index();
  if (thread < 128)
    setmaxnreg_dec<(BROKEN ? 40 : 24)>();
  else
    setmaxnreg_inc<240>(); // fault
}
