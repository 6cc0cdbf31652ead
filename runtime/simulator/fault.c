#include <stdio.h>

#include "runtime/simulator/state.h"

static const char *const operations[] = {
    [ATTUNE_SIMULATOR_LOAD_MATRIX] = "a matrix load",
    [ATTUNE_SIMULATOR_LOAD_MATRIX_TRANSPOSED] = "a transposed matrix load",
    [ATTUNE_SIMULATOR_MULTIPLY_BF16] = "a multiply-accumulate",
    [ATTUNE_SIMULATOR_MULTIPLY_FP16] = "a multiply-accumulate",
    [ATTUNE_SIMULATOR_SHUFFLE_XOR] = "an exclusive-or shuffle",
    [ATTUNE_SIMULATOR_SHUFFLE] = "a shuffle",
    [ATTUNE_SIMULATOR_ANY_LANE] = "a vote",
    [ATTUNE_SIMULATOR_LANES_WHERE] = "a ballot",
    [ATTUNE_SIMULATOR_MATCH_ANY] = "a match",
    [ATTUNE_SIMULATOR_WARP_BARRIER] = "a warp barrier",
    [ATTUNE_SIMULATOR_WARP_UNIFORM] = "a broadcast",
    [ATTUNE_SIMULATOR_NAMED_BARRIER] = "a named barrier",
    [ATTUNE_SIMULATOR_PRODUCT] = "a warpgroup's product",
    [ATTUNE_SIMULATOR_PRODUCT_FENCE] = "wgmma_fence",
    [ATTUNE_SIMULATOR_PRODUCT_COMMIT] = "wgmma_commit",
    [ATTUNE_SIMULATOR_PRODUCT_WAIT] = "wgmma_wait",
    [ATTUNE_SIMULATOR_RELEASE_REGISTERS] = "setmaxnreg_dec",
    [ATTUNE_SIMULATOR_CLAIM_REGISTERS] = "setmaxnreg_inc",
};

const char *attune_simulator_operation_name(int operation) {
  return operations[operation];
}

attune_simulator_words attune_simulator_thread(const attune_simulator_block *block, int thread) {
  attune_simulator_words words;
  if (block->parts == 1)
    snprintf(words.text, sizeof words.text, "thread %d", thread);
  else
    snprintf(words.text, sizeof words.text, "thread %d of block %d", thread % block->part_threads,
             block->index + thread / block->part_threads);
  return words;
}

attune_simulator_words attune_simulator_place(const attune_simulator_block *block, uint32_t offset) {
  attune_simulator_words words;
  const uint32_t inner = offset % block->shared.pitch;
  if (block->parts == 1)
    snprintf(words.text, sizeof words.text, "offset %u", inner);
  else
    snprintf(words.text, sizeof words.text, "offset %u of block %d", inner,
             block->index + (int)(offset / block->shared.pitch));
  return words;
}

void attune_simulator_fault(attune_simulator_block *block, int thread, int line, const char *format, ...) {
  const int inner = thread % block->part_threads, index = block->index + thread / block->part_threads;
  int n = snprintf(block->message, 1024, "%s: line %d, block %d, thread %d (warp %d, lane %d): ", block->grid->name,
                   line, index, inner, inner / 32, inner % 32);
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
static void copy_status(const attune_simulator_lane *owner, uint32_t offset, char text[160]) {
  text[0] = '\0';
  for (int i = owner->first; i < owner->count; i++) {
    const attune_simulator_copy *copy = &owner->copies[i];
    if (offset < copy->to || offset - copy->to >= 16) continue;
    if (copy->group == owner->groups)
      snprintf(text, 160, "its group was never committed");
    else
      snprintf(text, 160, "it is in the thread's group %llu of %llu, and no wait has required that one yet",
               (unsigned long long)copy->group + 1, (unsigned long long)owner->groups);
  }
}

void attune_simulator_fault_conflict(attune_simulator_block *block, const attune_simulator_conflict *conflict, int line,
                                     const char *what, unsigned address, unsigned size) {
  int thread = block->running->index;
  uint32_t offset = address - ATTUNE_SIMULATOR_SHARED_BASE;
  int other = conflict->thread;
  char at[32], fate[160];
  where(at, conflict->line);
  const attune_simulator_words place = attune_simulator_place(block, conflict->offset);
  const attune_simulator_words who = attune_simulator_thread(block, other < 0 ? thread : other);
  const char *missing = block->shared.order.live                  ? "a barrier that both take part in"
                        : other >= 0 && other / 32 == thread / 32 ? "a warp barrier or a block barrier"
                                                                  : "a block barrier";
  switch (conflict->kind) {
  case ATTUNE_SIMULATOR_NO_CONFLICT:
    break;
  case ATTUNE_SIMULATOR_OUT_OF_BOUNDS:
    attune_simulator_fault(block, thread, line,
                           "%s is out of bounds: %u bytes at shared offset %d, and the block has %u bytes", what, size,
                           (int)offset, block->shared.size);
  case ATTUNE_SIMULATOR_MISALIGNED:
    attune_simulator_fault(block, thread, line,
                           "%s is misaligned: %u bytes at shared offset %u, which is not a multiple of %u", what, size,
                           offset, size);
  case ATTUNE_SIMULATOR_UNWRITTEN:
    attune_simulator_fault(block, thread, line, "%s reads shared memory that was never written, at %s", what,
                           place.text);
  case ATTUNE_SIMULATOR_READ_OF_WRITTEN:
    attune_simulator_fault(block, thread, line,
                           "race: %s reads shared %s, which %s wrote%s with no barrier since; %s is missing", what,
                           place.text, who.text, at, missing);
  case ATTUNE_SIMULATOR_READ_OF_LANDED:
    attune_simulator_fault(block, thread, line,
                           "race: %s reads shared %s of the asynchronous copy that %s issued%s: it was waited for but"
                           " no barrier since; %s is missing after cp_async_wait",
                           what, place.text, who.text, at, missing);
  case ATTUNE_SIMULATOR_READ_OF_FLYING:
    copy_status(&block->lanes[other], conflict->offset, fate);
    attune_simulator_fault(block, thread, line,
                           "race: %s reads shared %s of the asynchronous copy that %s issued%s: asynchronous copy not"
                           " waited for (%s); cp_async_wait is missing or its count is too large",
                           what, place.text, who.text, at, fate);
  case ATTUNE_SIMULATOR_WRITE_OF_WRITTEN:
  case ATTUNE_SIMULATOR_WRITE_OF_LANDED:
    attune_simulator_fault(block, thread, line,
                           "race: %s overwrites shared %s, which %s wrote%s with no barrier since; %s is missing, or"
                           " the address is wrong",
                           what, place.text, who.text, at, missing);
  case ATTUNE_SIMULATOR_WRITE_OF_FLYING:
    copy_status(&block->lanes[other], conflict->offset, fate);
    attune_simulator_fault(block, thread, line,
                           "race: %s overwrites shared %s, to which the asynchronous copy that %s issued%s is still"
                           " under way (%s)",
                           what, place.text, who.text, at, fate);
  case ATTUNE_SIMULATOR_WRITE_OF_READ:
    attune_simulator_fault(block, thread, line,
                           "write-after-read race: %s overwrites shared %s, which %s read%s with no barrier since; %s"
                           " is missing",
                           what, place.text, who.text, at, missing);
  case ATTUNE_SIMULATOR_READ_OF_TILE:
  case ATTUNE_SIMULATOR_WRITE_OF_TILE:
    attune_simulator_fault(block, thread, line,
                           "race: %s %s shared %s of the tile that %s loads%s%s: this thread has not waited for"
                           " its phase of the mbarrier at %s; mbarrier_wait is missing or its parity is wrong",
                           what, conflict->kind == ATTUNE_SIMULATOR_READ_OF_TILE ? "reads" : "overwrites", place.text,
                           who.text, at, conflict->under_way ? " and that is still under way" : "",
                           attune_simulator_place(block, block->mbarriers[conflict->mbarrier].offset).text);
  case ATTUNE_SIMULATOR_WRITE_OF_OPERAND:
    attune_simulator_fault(block, thread, line,
                           "write-after-read race: %s overwrites shared %s, which a product of warpgroup %d%s %s; a"
                           " barrier after its wgmma_wait is missing",
                           what, place.text, other % block->part_threads / 128, at,
                           conflict->under_way ? "still reads" : "has read with no barrier since");
  case ATTUNE_SIMULATOR_WRITE_OF_STORED:
    attune_simulator_fault(block, thread, line,
                           "write-after-read race: %s overwrites shared %s, which the tile's store that %s"
                           " issued%s %s; a barrier after its tma_store_wait_read is missing",
                           what, place.text, who.text, at,
                           conflict->under_way ? "still reads" : "has read with no barrier since");
  case ATTUNE_SIMULATOR_UNFENCED:
    attune_simulator_fault(block, thread, line,
                           "%s accesses shared %s asynchronously, which %s wrote%s with ordinary stores:"
                           " fence_proxy_async is missing between that and the barrier",
                           what, place.text, who.text, at);
  case ATTUNE_SIMULATOR_UNFENCED_READ:
    attune_simulator_fault(block, thread, line,
                           "%s overwrites shared %s asynchronously, which %s read%s with ordinary loads:"
                           " fence_proxy_async is missing between that and the barrier",
                           what, place.text, who.text, at);
  case ATTUNE_SIMULATOR_ON_MBARRIER:
    attune_simulator_fault(block, thread, line, "%s touches shared %s, which holds an mbarrier", what, place.text);
  }
  attune_simulator_fault(block, thread, line, "%s: unknown conflict %d", what, (int)conflict->kind);
}
