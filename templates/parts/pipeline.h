/* A ring of slots in shared memory between one that fills them and those who read them, as one thread goes through it.
 *
 * Each slot has two mbarriers. full: its bytes are there; empty: its readers have left it. `parity` flips when the ring
 * wraps, so that a wait names the pass it means. A wait tests the parity only: a thread must observe a phase before the
 * one after the next could complete, or it waits for ever. So a warp whose lanes do not all wait meets behind the wait
 * of one (wait_warp), and nobody releases a slot for lanes that may not have seen it filled. */
#pragma once
#include "../primitives/cuda.h"

template <int slots> struct pipeline {
  shared_address full, empty; // of the first slot; 8 bytes each
  int slot = 0, parity = 0;

  ATTUNE_MEMBER void advance() {
    if (++slot == slots) {
      slot = 0;
      parity ^= 1;
    }
  }
  ATTUNE_MEMBER shared_address full_barrier() const {
    return full + 8 * slot;
  }
  ATTUNE_MEMBER shared_address empty_barrier() const {
    return empty + 8 * slot;
  }

  /* ---- the one that fills ---- */

  ATTUNE_MEMBER void acquire() const { // passes at once in the first round
    mbarrier_wait(empty_barrier(), parity ^ 1);
  }
  ATTUNE_MEMBER void expect(int bytes) const {
    mbarrier_arrive_expect_tx(full_barrier(), bytes);
  }
  ATTUNE_MEMBER void commit() const {
    mbarrier_arrive(full_barrier());
  }

  /* ---- those who read ---- */

  ATTUNE_MEMBER void wait() const {
    mbarrier_wait(full_barrier(), parity);
  }
  ATTUNE_MEMBER void wait_warp() const { // all lanes; the first one waits
    if (thread_index() % 32 == 0) wait();
    warp_barrier();
  }
  ATTUNE_MEMBER void release() const {
    mbarrier_arrive(empty_barrier());
  }
};

/* One thread, before the barrier that all threads pass: how many arrivals complete a phase of each. */
ATTUNE_DEVICE void init_barriers(shared_address first, int count, int arrivals) {
  for (int i = 0; i < count; i++)
    mbarrier_init(first + 8 * i, arrivals);
}
