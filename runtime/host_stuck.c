/* Nobody can run and somebody has not exited: who waits for whom. */
#include <stdio.h>

#include "runtime/host_state.h"

/* What the lane waits for, in a report about another. */
static void describe(const attune_host_block *block, const attune_host_lane *lane, char text[128]) {
  const attune_host_warp *warp = &block->warps[lane->index / 32];
  if (lane->state == ATTUNE_HOST_EXITED)
    snprintf(text, 128, "has left the kernel");
  else if (lane->state == ATTUNE_HOST_AT_BARRIER)
    snprintf(text, 128, "waits at the block barrier of line %d", lane->line);
  else if (lane->state == ATTUNE_HOST_AT_MBARRIER)
    snprintf(text, 128, "waits at line %d for the mbarrier at offset %u", lane->line,
             block->mbarriers[lane->mbarrier].offset);
  else
    snprintf(text, 128, "waits at %s of line %d", attune_host_operation_name(warp->operation), warp->line);
}

/* A warp of which not all lanes have come to a collective. */
static void report_warp(attune_host_block *block, int w) {
  const attune_host_warp *warp = &block->warps[w];
  const attune_host_lane *waiting = NULL, *missing = NULL;
  for (int i = 31; i >= 0; i--) {
    const attune_host_lane *lane = &block->lanes[w * 32 + i];
    if (lane->state == ATTUNE_HOST_AT_COLLECTIVE) waiting = lane;
    if (lane->state != ATTUNE_HOST_AT_COLLECTIVE) missing = lane;
  }
  if (!waiting || !missing || missing->state == ATTUNE_HOST_AT_MBARRIER) return;
  char what[128];
  describe(block, missing, what);
  attune_host_fault(block, waiting->index, warp->line,
                    "divergence: %u lanes of the warp wait at %s, and thread %d %s; %s", warp->arrived,
                    attune_host_operation_name(warp->operation), missing->index, what,
                    missing->state == ATTUNE_HOST_EXITED ? "all 32 lanes must arrive" : "deadlock");
}

static void report_group(attune_host_block *block, int group) {
  const attune_host_group *g = &block->groups[group];
  if (g->claim > 0)
    attune_host_fault(block, group * 128, g->line,
                      "deadlock: claims %d registers a thread, which takes %d more, and %d of the block's are free",
                      g->claim, (g->claim - g->registers) * 128, block->free_registers);
  if (g->arrived == 0) return;
  const attune_host_lane *waiting = NULL, *missing = NULL;
  for (int w = group * 4 + 3; w >= group * 4; w--) {
    const attune_host_warp *warp = &block->warps[w];
    const attune_host_lane *lane = &block->lanes[w * 32];
    bool here = warp->arrived == 32 && warp->operation == g->operation;
    if (here) waiting = lane;
    if (!here) missing = lane;
  }
  if (!waiting || !missing || missing->state == ATTUNE_HOST_AT_MBARRIER) return;
  char what[128];
  describe(block, missing, what);
  attune_host_fault(block, waiting->index, g->line,
                    "divergence: %d warps wait at %s, and thread %d of their warpgroup %s", g->arrived,
                    attune_host_operation_name(g->operation), missing->index, what);
}

static void report_named(attune_host_block *block) {
  for (int id = 1; id < ATTUNE_HOST_NAMED_MAX; id++) {
    const attune_host_named *b = &block->named[id];
    if (b->arrived == 0 || b->waiting == 0) continue;
    int warp = __builtin_ctz(b->waiting);
    attune_host_fault(block, warp * 32, block->warps[warp].line,
                      "deadlock: named barrier %d waits for %d threads, and %d have come", id, b->threads, b->arrived);
  }
}

/* A phase that lacks only bytes is why, more than one that lacks arrivals. */
static void report_mbarriers(attune_host_block *block, bool bytes) {
  for (int t = 0; t < block->threads; t++) {
    const attune_host_lane *lane = &block->lanes[t];
    if (lane->state != ATTUNE_HOST_AT_MBARRIER) continue;
    const attune_host_mbarrier *b = &block->mbarriers[lane->mbarrier];
    if (bytes && b->pending == 0)
      attune_host_fault(
          block, t, lane->line,
          "deadlock: the mbarrier at offset %u waits in phase %u for %lld bytes, and tiles of %lld bytes are"
          " under way to it",
          b->offset, b->phase, (long long)b->expected, (long long)attune_host_bytes_under_way(block, lane->mbarrier));
    if (!bytes)
      attune_host_fault(block, t, lane->line,
                        "deadlock: the mbarrier at offset %u waits in phase %u for %d more of %d arrivals", b->offset,
                        b->phase, b->pending, b->arrivals);
  }
}

void attune_host_fault_stuck(attune_host_block *block) {
  for (int w = 0; w < block->threads / 32; w++)
    if (block->warps[w].arrived > 0 && block->warps[w].arrived < 32) report_warp(block, w);
  report_mbarriers(block, true);
  for (int g = 0; g < block->threads / 128; g++)
    report_group(block, g);
  report_named(block);
  report_mbarriers(block, false);
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
