#include "runtime/simulator/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "generator/base/random.h"
#include "generator/base/status.h"
#include "runtime/simulator/state.h"

enum { STACK_BYTES = 256 * 1024 }; /* touched pages only are real */

/* A fiber outlives its block and serves the same thread of the next one. */
static void live(void *argument) {
  attune_simulator_lane *lane = argument;
  for (;;) {
    const attune_simulator_grid *grid = lane->block->grid;
    if (grid->maps && grid->gradients)
      grid->kernel_of_gradients_with_maps(*grid->gradients, grid->maps);
    else if (grid->maps)
      grid->kernel_with_maps(*grid->arguments, grid->maps);
    else if (grid->block_mask)
      grid->kernel_of_block_masks(*grid->block_mask);
    else if (grid->gradients)
      grid->kernel_of_gradients(*grid->gradients);
    else
      grid->kernel(*grid->arguments);
    attune_simulator_check_exit(lane->block);
    lane->state = ATTUNE_SIMULATOR_EXITED;
    lane->block->exited[lane->part]++;
    attune_simulator_suspend(lane->block);
  }
}

static void prepare(attune_simulator_block *block, int thread) {
  attune_simulator_lane *lane = &block->lanes[thread];
  size_t page = (size_t)sysconf(_SC_PAGESIZE), pitch = STACK_BYTES + page;
  attune_fiber_prepare(&lane->fiber, live, lane, block->stacks + (size_t)thread * pitch + page, STACK_BYTES);
}

attune_status attune_simulator_block_create(attune_simulator_block **out, int threads) {
  *out = NULL;
  attune_status status = ATTUNE_OUT_OF_MEMORY;
  attune_simulator_block *block = calloc(1, sizeof *block);
  size_t page = (size_t)sysconf(_SC_PAGESIZE), pitch = STACK_BYTES + page;
  if (!block) goto out;
  block->lanes = calloc((size_t)threads, sizeof *block->lanes);
  block->waited = calloc((size_t)threads * ATTUNE_SIMULATOR_MBARRIERS_MAX, sizeof *block->waited);
  block->sent = calloc((size_t)threads, sizeof *block->sent);
  if (!block->lanes || !block->waited || !block->sent) goto out;
  block->stacks_size = (size_t)threads * pitch;
  void *stacks = mmap(NULL, block->stacks_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stacks == MAP_FAILED) goto out;
  block->stacks = stacks;
  for (int i = 0; i < threads; i++) {
    if (mprotect(block->stacks + (size_t)i * pitch, page, PROT_NONE) != 0) goto out; /* an overflow hits this */
    block->lanes[i].block = block;
    block->lanes[i].index = i;
    prepare(block, i);
    block->capacity = i + 1;
  }
  *out = block;
  block = NULL;
  status = ATTUNE_OK;
out:
  attune_simulator_block_destroy(block);
  if (status == ATTUNE_OK) return ATTUNE_OK;
  return attune_fail(status, "the simulator has no memory for the stacks of %d threads (%zu bytes)", threads,
                     (size_t)threads * pitch);
}

void attune_simulator_block_destroy(attune_simulator_block *block) {
  if (!block) return;
  for (int i = 0; i < block->capacity; i++) {
    attune_fiber_discard(&block->lanes[i].fiber);
    free(block->lanes[i].copies);
    attune_simulator_holds_release(block->lanes[i].holds);
  }
  if (block->stacks) munmap(block->stacks, block->stacks_size);
  attune_simulator_shared_release(&block->shared);
  attune_simulator_groups_release(block);
  free(block->tiles);
  free(block->waited);
  free(block->sent);
  free(block->lanes);
  free(block);
}

int attune_simulator_block_threads(const attune_simulator_block *block) {
  return block->capacity;
}

static uint64_t mix(uint64_t x) {
  return attune_random_next(&x);
}

static void reset_threads(attune_simulator_block *block) {
  block->ready_warps = 0;
  for (int w = 0; w < block->threads / 32; w++) {
    block->warps[w] = (attune_simulator_warp){.arrived = 0};
    attune_simulator_release_warp(block, w);
  }
  for (int i = 0; i < block->threads; i++) {
    attune_simulator_lane *lane = &block->lanes[i];
    lane->part = i / block->part_threads;
    lane->thread = i % block->part_threads;
    lane->first = lane->count = 0;
    lane->groups = 0;
    if (lane->holds) attune_simulator_holds_reset(lane->holds);
  }
  memset(block->sent, 0, (size_t)block->threads * sizeof *block->sent);
  memset(block->barriers, 0, sizeof block->barriers);
  block->cluster_barrier = (attune_simulator_meeting){0};
  memset(block->exited, 0, sizeof block->exited);
}

attune_status attune_simulator_block_run(attune_simulator_block *block, char *message,
                                         const attune_simulator_grid *grid, int index) {
  block->grid = grid;
  block->parts = grid->cluster > 1 ? grid->cluster : 1;
  block->index = index * block->parts;
  block->part_threads = grid->threads;
  block->threads = block->parts * grid->threads;
  block->random = grid->seed == 0 ? 0 : mix(mix(grid->seed) + (uint64_t)index) | 1;
  block->running = NULL;
  block->status = ATTUNE_OK;
  block->message = message;
  attune_status status =
      attune_simulator_shared_reset(&block->shared, (uint32_t)grid->shared_bytes, block->parts, block->threads);
  if (status != ATTUNE_OK) {
    snprintf(message, 1024, "%s", attune_message());
    return status;
  }
  reset_threads(block);
  attune_simulator_groups_reset(block);
  attune_simulator_current = block;
  attune_fiber_adopt(&block->home);
  block->running = attune_simulator_next_lane(block);
  attune_fiber_switch(&block->home, &block->running->fiber);
  attune_simulator_current = NULL;
  if (block->status != ATTUNE_OK) /* its fibers stand wherever they stood */
    for (int i = 0; i < block->capacity; i++)
      prepare(block, i);
  return block->status;
}
