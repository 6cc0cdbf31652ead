/* Nobody can run and somebody has not exited: who waits for whom. */
#include <stdio.h>

#include "runtime/simulator/state.h"

int64_t attune_simulator_bytes_under_way(const attune_simulator_block *block, int mbarrier) {
  int64_t bytes = 0;
  for (int i = 0; i < block->tile_count; i++)
    if (block->tiles[i].mbarrier == mbarrier) bytes += block->tiles[i].bytes;
  return bytes;
}

/* What the lane waits for, in a report about another. */
static void describe(const attune_simulator_block *block, const attune_simulator_lane *lane, char text[128]) {
  const attune_simulator_warp *warp = &block->warps[lane->index / 32];
  if (lane->state == ATTUNE_SIMULATOR_EXITED)
    snprintf(text, 128, "has left the kernel");
  else if (lane->state == ATTUNE_SIMULATOR_AT_BARRIER)
    snprintf(text, 128, "waits at the block barrier of line %d", lane->line);
  else if (lane->state == ATTUNE_SIMULATOR_AT_CLUSTER_BARRIER)
    snprintf(text, 128, "waits at the cluster barrier of line %d", lane->line);
  else if (lane->state == ATTUNE_SIMULATOR_AT_MBARRIER)
    snprintf(text, 128, "waits at line %d for the mbarrier at %s", lane->line,
             attune_simulator_place(block, block->mbarriers[lane->mbarrier].offset).text);
  else
    snprintf(text, 128, "waits at %s of line %d", attune_simulator_operation_name(warp->operation), warp->line);
}

/* A warp of which not all lanes have come to a collective. */
static void report_warp(attune_simulator_block *block, int w) {
  const attune_simulator_warp *warp = &block->warps[w];
  const attune_simulator_lane *waiting = NULL, *missing = NULL;
  for (int i = 31; i >= 0; i--) {
    const attune_simulator_lane *lane = &block->lanes[w * 32 + i];
    if (lane->state == ATTUNE_SIMULATOR_AT_COLLECTIVE) waiting = lane;
    if (lane->state != ATTUNE_SIMULATOR_AT_COLLECTIVE) missing = lane;
  }
  if (!waiting || !missing || missing->state == ATTUNE_SIMULATOR_AT_MBARRIER) return;
  char what[128];
  describe(block, missing, what);
  attune_simulator_fault(
      block, waiting->index, warp->line, "divergence: %u lanes of the warp wait at %s, and %s %s; %s", warp->arrived,
      attune_simulator_operation_name(warp->operation), attune_simulator_thread(block, missing->index).text, what,
      missing->state == ATTUNE_SIMULATOR_EXITED ? "all 32 lanes must arrive" : "deadlock");
}

static void report_group(attune_simulator_block *block, int group) {
  const attune_simulator_group *g = &block->groups[group];
  if (g->claim > 0)
    attune_simulator_fault(
        block, group * 128, g->line,
        "deadlock: claims %d registers a thread, which takes %d more, and %d of the block's are free", g->claim,
        (g->claim - g->registers) * 128, block->free_registers[block->lanes[group * 128].part]);
  if (g->arrived == 0) return;
  const attune_simulator_lane *waiting = NULL, *missing = NULL;
  for (int w = group * 4 + 3; w >= group * 4; w--) {
    const attune_simulator_warp *warp = &block->warps[w];
    const attune_simulator_lane *lane = &block->lanes[w * 32];
    bool here = warp->arrived == 32 && warp->operation == g->operation;
    if (here) waiting = lane;
    if (!here) missing = lane;
  }
  if (!waiting || !missing || missing->state == ATTUNE_SIMULATOR_AT_MBARRIER) return;
  char what[128];
  describe(block, missing, what);
  attune_simulator_fault(
      block, waiting->index, g->line, "divergence: %d warps wait at %s, and of their warpgroup %s %s", g->arrived,
      attune_simulator_operation_name(g->operation), attune_simulator_thread(block, missing->index).text, what);
}

static void report_named(attune_simulator_block *block, int part) {
  for (int id = 1; id < ATTUNE_SIMULATOR_NAMED_MAX; id++) {
    const attune_simulator_named *b = &block->named[part][id];
    if (b->arrived == 0 || b->waiting == 0) continue;
    int warp = __builtin_ctz(b->waiting);
    attune_simulator_fault(block, warp * 32, block->warps[warp].line,
                           "deadlock: named barrier %d waits for %d threads, and %d have come", id, b->threads,
                           b->arrived);
  }
}

/* A phase that lacks only bytes is why, more than one that lacks arrivals. */
static void report_mbarriers(attune_simulator_block *block, bool bytes) {
  for (int t = 0; t < block->threads; t++) {
    const attune_simulator_lane *lane = &block->lanes[t];
    if (lane->state != ATTUNE_SIMULATOR_AT_MBARRIER) continue;
    const attune_simulator_mbarrier *b = &block->mbarriers[lane->mbarrier];
    if (bytes && b->pending == 0)
      attune_simulator_fault(
          block, t, lane->line,
          "deadlock: the mbarrier at %s waits in phase %u for %lld bytes, and tiles of %lld bytes are"
          " under way to it",
          attune_simulator_place(block, b->offset).text, b->phase, (long long)b->expected,
          (long long)attune_simulator_bytes_under_way(block, lane->mbarrier));
    if (!bytes)
      attune_simulator_fault(block, t, lane->line,
                             "deadlock: the mbarrier at %s waits in phase %u for %d more of %d arrivals",
                             attune_simulator_place(block, b->offset).text, b->phase, b->pending, b->arrivals);
  }
}

/* Some wait at a barrier of the block or the cluster, and who should come has left, or waits at another one. */
static void report_meeting(attune_simulator_block *block, int first, int threads, attune_simulator_lane_state state,
                           const char *what) {
  const attune_simulator_lane *waiting = NULL, *gone = NULL;
  int arrived = 0;
  for (int i = first + threads - 1; i >= first; i--) {
    const attune_simulator_lane *lane = &block->lanes[i];
    arrived += lane->state == state;
    if (lane->state == state) waiting = lane;
    if (lane->state != state &&
        (!gone || gone->state != ATTUNE_SIMULATOR_EXITED || lane->state == ATTUNE_SIMULATOR_EXITED))
      gone = lane;
  }
  if (!waiting || !gone) return;
  char where[128];
  describe(block, gone, where);
  attune_simulator_fault(block, waiting->index, waiting->line,
                         "deadlock: %d of %d threads wait at the %s barrier, and %s %s without reaching it", arrived,
                         threads, what, attune_simulator_thread(block, gone->index).text, where);
}

void attune_simulator_fault_stuck(attune_simulator_block *block) {
  for (int w = 0; w < block->threads / 32; w++)
    if (block->warps[w].arrived > 0 && block->warps[w].arrived < 32) report_warp(block, w);
  report_mbarriers(block, true);
  for (int g = 0; g < block->threads / 128; g++)
    report_group(block, g);
  for (int part = 0; part < block->parts; part++)
    report_named(block, part);
  report_mbarriers(block, false);
  for (int part = 0; part < block->parts; part++)
    report_meeting(block, part * block->part_threads, block->part_threads, ATTUNE_SIMULATOR_AT_BARRIER, "block");
  report_meeting(block, 0, block->threads, ATTUNE_SIMULATOR_AT_CLUSTER_BARRIER, "cluster");
  attune_simulator_fault(block, 0, 0, "deadlock: nobody can run, and not all threads have left the kernel");
}
