/* Named barriers: warps that come, and warps that come and wait. */
#include "runtime/simulator/state.h"

static void check(attune_simulator_block *block, const attune_simulator_lane *lanes, int line) {
  int id = (int)lanes[0].in[0], threads = (int)lanes[0].in[1], thread = lanes[0].index;
  for (int i = 1; i < 32; i++)
    if (lanes[i].in[0] != lanes[0].in[0] || lanes[i].in[1] != lanes[0].in[1] || lanes[i].in[2] != lanes[0].in[2])
      attune_simulator_fault(block, lanes[i].index, line,
                             "divergence: lanes of a warp come to different named barriers");
  if (id < 1 || id >= ATTUNE_SIMULATOR_NAMED_MAX)
    attune_simulator_fault(block, thread, line, "named barrier %d; there are 1 to %d", id,
                           ATTUNE_SIMULATOR_NAMED_MAX - 1);
  if (threads < 32 || threads % 32 != 0 || threads > block->part_threads)
    attune_simulator_fault(block, thread, line,
                           "named barrier %d of %d threads; it takes whole warps of the block's %d", id, threads,
                           block->part_threads);
}

bool attune_simulator_named_arrive(attune_simulator_block *block, int warp) {
  const attune_simulator_lane *lanes = &block->lanes[warp * 32];
  int line = block->warps[warp].line;
  check(block, lanes, line);
  attune_simulator_start_order(block, line);
  int id = (int)lanes[0].in[0], threads = (int)lanes[0].in[1];
  bool waits = lanes[0].in[2] == 0;
  attune_simulator_named *b = &block->named[lanes[0].part][id];
  attune_simulator_order *order = &block->shared.order;
  int32_t *row = attune_simulator_order_named(order, lanes[0].part, id);
  if (b->arrived == 0) {
    *b = (attune_simulator_named){.threads = threads, .line = line};
    attune_simulator_order_forget(order, row);
  }
  if (b->threads != threads)
    attune_simulator_fault(block, lanes[0].index, line,
                           "comes to named barrier %d as one of %d threads, and others came as of %d at line %d; their"
                           " numbers differ",
                           id, threads, b->threads, b->line);
  if (b->warps >> warp & 1)
    attune_simulator_fault(block, lanes[0].index, line,
                           "comes to named barrier %d a second time, before its %d threads have come once (%d have)",
                           id, threads, b->arrived);
  attune_simulator_order_give(order, row, warp, ~0u);
  b->warps |= 1u << warp;
  if (waits) b->waiting |= 1u << warp;
  b->arrived += 32;
  if (b->arrived < b->threads) return !waits;
  b->arrived = 0;
  for (int w = 0; w < block->threads / 32; w++) {
    if (!(b->waiting >> w & 1)) continue;
    attune_simulator_order_take(order, row, w, ~0u);
    if (w == warp) continue; /* its caller releases it */
    block->warps[w].arrived = 0;
    attune_simulator_release_warp(block, w);
  }
  return true;
}
