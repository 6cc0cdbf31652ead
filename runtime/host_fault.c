#include <stdio.h>

#include "runtime/host_state.h"

static const char *const operations[] = {
    [ATTUNE_HOST_LOAD_MATRIX] = "a matrix load",
    [ATTUNE_HOST_LOAD_MATRIX_TRANSPOSED] = "a transposed matrix load",
    [ATTUNE_HOST_MULTIPLY_BF16] = "a multiply-accumulate",
    [ATTUNE_HOST_MULTIPLY_FP16] = "a multiply-accumulate",
    [ATTUNE_HOST_SHUFFLE_XOR] = "an exclusive-or shuffle",
    [ATTUNE_HOST_SHUFFLE] = "a shuffle",
    [ATTUNE_HOST_ANY_LANE] = "a vote",
    [ATTUNE_HOST_WARP_BARRIER] = "a warp barrier",
};

const char *attune_host_operation_name(int operation) {
  return operations[operation];
}

void attune_host_fault(attune_host_block *block, int thread, int line, const char *format, ...) {
  int n = snprintf(block->message, 1024, "%s: line %d, block %d, thread %d (warp %d, lane %d): ", block->grid->name,
                   line, block->index, thread, thread / 32, thread % 32);
  va_list list;
  va_start(list, format);
  if (n >= 0 && n < 1024) vsnprintf(block->message + n, (size_t)(1024 - n), format, list);
  va_end(list);
  block->status = ATTUNE_KERNEL_FAULT;
  attune_fiber_switch(&block->running->fiber, &block->home);
  __builtin_unreachable(); /* the block is over: this fiber is prepared afresh */
}

/* " at line 12", or nothing where the line is not known. */
static const char *where(char text[32], int line) {
  text[0] = '\0';
  if (line > 0) snprintf(text, 32, " at line %d", line);
  return text;
}

/* What became of the copy that covers the offset, as its thread has treated it. */
static void copy_status(const attune_host_lane *owner, uint32_t offset, char text[160]) {
  text[0] = '\0';
  for (int i = owner->first; i < owner->count; i++) {
    const attune_host_copy *copy = &owner->copies[i];
    if (offset < copy->to || offset - copy->to >= 16) continue;
    if (copy->group == owner->groups)
      snprintf(text, 160, "its group was never committed");
    else
      snprintf(text, 160, "it is in the thread's group %llu of %llu, and no wait has required that one yet",
               (unsigned long long)copy->group + 1, (unsigned long long)owner->groups);
  }
}

void attune_host_fault_conflict(attune_host_block *block, const attune_host_conflict *conflict, int line,
                                const char *what, unsigned address, unsigned size) {
  int thread = block->running->index;
  uint32_t offset = address - ATTUNE_HOST_SHARED_BASE;
  int other = conflict->thread;
  char at[32], fate[160];
  where(at, conflict->line);
  const char *missing =
      other >= 0 && other / 32 == thread / 32 ? "a warp barrier or a block barrier" : "a block barrier";
  switch (conflict->kind) {
  case ATTUNE_HOST_NO_CONFLICT:
    break;
  case ATTUNE_HOST_OUT_OF_BOUNDS:
    attune_host_fault(block, thread, line,
                      "%s is out of bounds: %u bytes at shared offset %d, and the block has %u bytes", what, size,
                      (int)offset, block->shared.size);
  case ATTUNE_HOST_MISALIGNED:
    attune_host_fault(block, thread, line,
                      "%s is misaligned: %u bytes at shared offset %u, which is not a multiple of %u", what, size,
                      offset, size);
  case ATTUNE_HOST_UNWRITTEN:
    attune_host_fault(block, thread, line, "%s reads shared memory that was never written, at offset %u", what,
                      conflict->offset);
  case ATTUNE_HOST_READ_OF_WRITTEN:
    attune_host_fault(block, thread, line,
                      "race: %s reads shared offset %u, which thread %d wrote%s with no barrier since; %s is missing",
                      what, conflict->offset, other, at, missing);
  case ATTUNE_HOST_READ_OF_LANDED:
    attune_host_fault(
        block, thread, line,
        "race: %s reads shared offset %u of the asynchronous copy that thread %d issued%s: it was waited for but"
        " no barrier since; %s is missing after copy_async_wait",
        what, conflict->offset, other, at, missing);
  case ATTUNE_HOST_READ_OF_FLYING:
    copy_status(&block->lanes[other], conflict->offset, fate);
    attune_host_fault(
        block, thread, line,
        "race: %s reads shared offset %u of the asynchronous copy that thread %d issued%s: asynchronous copy not"
        " waited for (%s); copy_async_wait is missing or its count is too large",
        what, conflict->offset, other, at, fate);
  case ATTUNE_HOST_WRITE_OF_WRITTEN:
  case ATTUNE_HOST_WRITE_OF_LANDED:
    attune_host_fault(
        block, thread, line,
        "race: %s overwrites shared offset %u, which thread %d wrote%s with no barrier since; %s is missing, or"
        " the address is wrong",
        what, conflict->offset, other, at, missing);
  case ATTUNE_HOST_WRITE_OF_FLYING:
    copy_status(&block->lanes[other], conflict->offset, fate);
    attune_host_fault(
        block, thread, line,
        "race: %s overwrites shared offset %u, to which the asynchronous copy that thread %d issued%s is still"
        " under way (%s)",
        what, conflict->offset, other, at, fate);
  case ATTUNE_HOST_WRITE_OF_READ:
    attune_host_fault(
        block, thread, line,
        "write-after-read race: %s overwrites shared offset %u, which thread %d read%s with no barrier since; %s"
        " is missing",
        what, conflict->offset, other, at, missing);
  }
  attune_host_fault(block, thread, line, "%s: unknown conflict %d", what, (int)conflict->kind);
}

void attune_host_fault_stuck(attune_host_block *block) {
  for (int w = 0; w < block->threads / 32; w++) {
    const attune_host_warp *warp = &block->warps[w];
    if (warp->arrived == 0) continue;
    const attune_host_lane *waiting = NULL, *missing = NULL;
    for (int i = 31; i >= 0; i--) {
      const attune_host_lane *lane = &block->lanes[w * 32 + i];
      if (lane->state == ATTUNE_HOST_AT_COLLECTIVE) waiting = lane;
      if (lane->state != ATTUNE_HOST_AT_COLLECTIVE) missing = lane;
    }
    if (!waiting || !missing) continue;
    if (missing->state == ATTUNE_HOST_EXITED)
      attune_host_fault(
          block, waiting->index, warp->line,
          "divergence: %u lanes of the warp wait at %s, and thread %d has left the kernel; all 32 lanes must"
          " arrive",
          warp->arrived, attune_host_operation_name(warp->operation), missing->index);
    attune_host_fault(
        block, waiting->index, warp->line,
        "divergence: %u lanes of the warp wait at %s, and thread %d waits at the block barrier of line %d;"
        " deadlock",
        warp->arrived, attune_host_operation_name(warp->operation), missing->index, missing->line);
  }
  const attune_host_lane *waiting = NULL, *gone = NULL;
  for (int i = block->threads - 1; i >= 0; i--) {
    if (block->lanes[i].state == ATTUNE_HOST_AT_BARRIER) waiting = &block->lanes[i];
    if (block->lanes[i].state == ATTUNE_HOST_EXITED) gone = &block->lanes[i];
  }
  attune_host_fault(
      block, waiting ? waiting->index : 0, waiting ? waiting->line : 0,
      "deadlock: %d of %d threads wait at the block barrier, and thread %d has left the kernel without reaching"
      " it",
      block->at_barrier, block->threads, gone ? gone->index : -1);
}
