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
    [ATTUNE_HOST_LANES_WHERE] = "a ballot",
    [ATTUNE_HOST_WARP_BARRIER] = "a warp barrier",
    [ATTUNE_HOST_WARP_UNIFORM] = "a broadcast",
    [ATTUNE_HOST_NAMED_BARRIER] = "a named barrier",
    [ATTUNE_HOST_PRODUCT] = "a warpgroup's product",
    [ATTUNE_HOST_PRODUCT_FENCE] = "warpgroup_fence",
    [ATTUNE_HOST_PRODUCT_COMMIT] = "warpgroup_commit",
    [ATTUNE_HOST_PRODUCT_WAIT] = "warpgroup_wait",
    [ATTUNE_HOST_RELEASE_REGISTERS] = "release_registers",
    [ATTUNE_HOST_CLAIM_REGISTERS] = "claim_registers",
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
  const char *missing = block->shared.order.live                  ? "a barrier that both take part in"
                        : other >= 0 && other / 32 == thread / 32 ? "a warp barrier or a block barrier"
                                                                  : "a block barrier";
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
  case ATTUNE_HOST_READ_OF_TILE:
  case ATTUNE_HOST_WRITE_OF_TILE:
    attune_host_fault(
        block, thread, line,
        "race: %s %s shared offset %u of the tile that thread %d loads%s%s: this thread has not waited for"
        " its phase of the mbarrier at offset %u; mbarrier_wait is missing or its parity is wrong",
        what, conflict->kind == ATTUNE_HOST_READ_OF_TILE ? "reads" : "overwrites", conflict->offset, other, at,
        conflict->under_way ? " and that is still under way" : "", block->mbarriers[conflict->mbarrier].offset);
  case ATTUNE_HOST_WRITE_OF_OPERAND:
    attune_host_fault(block, thread, line,
                      "write-after-read race: %s overwrites shared offset %u, which a product of warpgroup %d%s %s; a"
                      " barrier after its warpgroup_wait is missing",
                      what, conflict->offset, other / 128, at,
                      conflict->under_way ? "still reads" : "has read with no barrier since");
  case ATTUNE_HOST_WRITE_OF_STORED:
    attune_host_fault(block, thread, line,
                      "write-after-read race: %s overwrites shared offset %u, which the tile's store that thread %d"
                      " issued%s %s; a barrier after its finish_stores is missing",
                      what, conflict->offset, other, at,
                      conflict->under_way ? "still reads" : "has read with no barrier since");
  case ATTUNE_HOST_UNFENCED:
    attune_host_fault(block, thread, line,
                      "%s accesses shared offset %u asynchronously, which thread %d wrote%s with ordinary stores:"
                      " fence_async is missing between that and the barrier",
                      what, conflict->offset, other, at);
  case ATTUNE_HOST_ON_MBARRIER:
    attune_host_fault(block, thread, line, "%s touches shared offset %u, which holds an mbarrier", what,
                      conflict->offset);
  }
  attune_host_fault(block, thread, line, "%s: unknown conflict %d", what, (int)conflict->kind);
}
