/* Which lane runs next: lanes that can run are bits, and one that waits hands over to another. */
#include "runtime/simulator/state.h"

_Thread_local attune_simulator_block *attune_simulator_current;

uint64_t attune_simulator_draw(attune_simulator_block *block) { /* xorshift64* */
  uint64_t x = block->random;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  block->random = x;
  return (x * 0x2545f4914f6cdd1du) >> 32;
}

/* A lane of the warp that can run: the next one in order, or any. */
static int pick_lane(attune_simulator_block *block, int warp, int after) {
  uint32_t ready = block->warps[warp].ready;
  int from = block->random ? (int)(attune_simulator_draw(block) & 31) : (after + 1) & 31;
  uint32_t turned = from == 0 ? ready : ready >> from | ready << (32 - from);
  return (__builtin_ctz(turned) + from) & 31;
}

static int pick_warp(attune_simulator_block *block, int after) {
  int from = block->random ? (int)(attune_simulator_draw(block) & 31) : after;
  uint32_t turned = from == 0 ? block->ready_warps : block->ready_warps >> from | block->ready_warps << (32 - from);
  return (__builtin_ctz(turned) + from) & 31;
}

attune_simulator_lane *attune_simulator_next_lane(attune_simulator_block *block) {
  int index = block->running ? block->running->index : -1;
  int warp = index < 0 ? 0 : index / 32, lane = index < 0 ? 31 : index % 32;
  if (!(block->ready_warps >> warp & 1) || (block->random && attune_simulator_draw(block) % 64 == 0)) {
    warp = pick_warp(block, warp);
    lane = 31;
  }
  return &block->lanes[warp * 32 + pick_lane(block, warp, lane)];
}

static void mark_waiting(attune_simulator_block *block, int thread) {
  attune_simulator_warp *warp = &block->warps[thread / 32];
  warp->ready &= ~(1u << thread % 32);
  if (warp->ready == 0) block->ready_warps &= ~(1u << thread / 32);
}

static bool all_exited(const attune_simulator_block *block) {
  int exited = 0;
  for (int part = 0; part < block->parts; part++)
    exited += block->exited[part];
  return exited == block->threads;
}

void attune_simulator_suspend(attune_simulator_block *block) {
  attune_simulator_lane *from = block->running;
  mark_waiting(block, from->index);
  if (block->ready_warps == 0) {
    if (!all_exited(block)) attune_simulator_fault_stuck(block);
    attune_fiber_switch(&from->fiber, &block->home);
    return;
  }
  attune_simulator_lane *to = attune_simulator_next_lane(block);
  block->running = to;
  attune_fiber_switch(&from->fiber, &to->fiber);
}

void attune_simulator_release_warp(attune_simulator_block *block, int warp) {
  block->warps[warp].ready = ~0u;
  block->ready_warps |= 1u << warp;
  for (int i = 0; i < 32; i++)
    block->lanes[warp * 32 + i].state = ATTUNE_SIMULATOR_READY;
}

void attune_simulator_wake(attune_simulator_block *block, int thread) {
  block->warps[thread / 32].ready |= 1u << thread % 32;
  block->ready_warps |= 1u << thread / 32;
  block->lanes[thread].state = ATTUNE_SIMULATOR_READY;
}

void attune_simulator_release_part(attune_simulator_block *block, int part) {
  const int warps = block->part_threads / 32;
  for (int w = part * warps; w < (part + 1) * warps; w++)
    attune_simulator_release_warp(block, w);
}
