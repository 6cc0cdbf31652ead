/* Private to host_block.c (scheduling), host_calls.c (what kernels call) and host_fault.c (what is said of a fault):
 * the state of one running block. */
#ifndef ATTUNE_HOST_STATE_H
#define ATTUNE_HOST_STATE_H

#include <stdarg.h>

#include "runtime/host_block.h"
#include "runtime/host_fiber.h"
#include "runtime/host_shared.h"

typedef struct {
  uint32_t to; /* offset in shared memory */
  int valid, line;
  uint64_t group; /* how many groups its thread had closed before */
  const void *from;
  bool landed; /* its bytes have arrived; its thread need not know */
} attune_host_copy;

typedef enum {
  ATTUNE_HOST_READY,
  ATTUNE_HOST_AT_COLLECTIVE,
  ATTUNE_HOST_AT_BARRIER,
  ATTUNE_HOST_EXITED
} attune_host_lane_state;

typedef struct {
  attune_fiber fiber;
  attune_host_block *block;
  int index; /* in the block */
  attune_host_lane_state state;
  int line; /* where it waits */
  const unsigned *in;
  unsigned *out;
  attune_host_copy *copies; /* those not waited for are first .. count - 1, in order of issue */
  int first, count, capacity;
  uint64_t groups; /* closed so far */
} attune_host_lane;

typedef struct {
  uint32_t ready; /* lanes that can run, as bits */
  uint32_t arrived;
  int operation, line; /* of the collective that lanes have arrived at */
} attune_host_warp;

struct attune_host_block {
  const attune_host_grid *grid;
  int index, threads; /* threads: of this launch */
  int capacity;
  uint64_t random; /* 0: everything in order */
  attune_host_lane *lanes;
  attune_host_warp warps[ATTUNE_HOST_WARPS_MAX];
  uint32_t ready_warps; /* those that have a lane that can run */
  int at_barrier, barrier_line, exited;
  attune_host_lane *running;
  attune_fiber home; /* the operating-system thread */
  attune_host_shared shared;
  unsigned char *stacks;
  size_t stacks_size;
  attune_status status;
  char *message;
};

extern _Thread_local attune_host_block *attune_host_current;

/* The next number of the block's sequence; never called where random is 0. */
uint64_t attune_host_draw(attune_host_block *block);
/* Lets others run; returns when the running lane is made ready again. */
void attune_host_suspend(attune_host_block *block);
/* Makes every lane of the warp ready that is at a collective. */
void attune_host_release_warp(attune_host_block *block, int warp);
void attune_host_release_block(attune_host_block *block);

/* Ends the block with a report; never returns to the kernel. line 0: not known. */
_Noreturn void attune_host_fault(attune_host_block *block, int thread, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
_Noreturn void attune_host_fault_conflict(attune_host_block *block, const attune_host_conflict *conflict, int line,
                                          const char *what, unsigned address, unsigned size);
/* Nobody can run and somebody has not exited: says who waits for whom. */
_Noreturn void attune_host_fault_stuck(attune_host_block *block);
const char *attune_host_operation_name(int operation);

#endif
