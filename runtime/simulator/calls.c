/* What kernels call, checked one lane at a time. */
#include <stdlib.h>
#include <string.h>

#include "runtime/simulator/matrix.h"
#include "runtime/simulator/state.h"

static int block_index(void) {
  return attune_simulator_current->index + attune_simulator_current->running->part;
}

static int grid_size(void) {
  return attune_simulator_current->grid->blocks;
}

static int thread_index(void) {
  return attune_simulator_current->running->thread;
}

/* ---- collectives ---- */

static void load_matrix(attune_simulator_block *block, int warp, bool transposed) {
  uint32_t *out[32];
  const unsigned char *rows[32];
  for (int i = 0; i < 32; i++) {
    attune_simulator_lane *lane = &block->lanes[warp * 32 + i];
    attune_simulator_conflict conflict;
    uint32_t offset = attune_simulator_offset(block, lane->part, lane->in[0]);
    if (!attune_simulator_shared_read(&block->shared, &conflict, offset, 16, warp, ~0u, lane->line)) {
      block->running = lane; /* whoever came last, the address is this lane's */
      attune_simulator_fault_conflict(block, &conflict, lane->line, "a matrix load", lane->in[0], 16);
    }
    rows[i] = block->shared.bytes + offset;
    out[i] = lane->out;
  }
  attune_simulator_load_matrix(out, rows, transposed);
}

static void multiply(attune_simulator_block *block, int warp, bool bf16) {
  uint32_t *out[32];
  const uint32_t *in[32];
  for (int i = 0; i < 32; i++) {
    in[i] = block->lanes[warp * 32 + i].in;
    out[i] = block->lanes[warp * 32 + i].out;
  }
  attune_simulator_multiply(out, in, bf16);
}

static void shuffle(attune_simulator_block *block, int warp, bool exclusive_or) {
  uint32_t words[32];
  attune_simulator_lane *lanes = &block->lanes[warp * 32];
  for (int i = 0; i < 32; i++)
    words[i] = lanes[i].in[0];
  for (unsigned i = 0; i < 32; i++) {
    unsigned argument = lanes[i].in[1];
    if (argument > 31)
      attune_simulator_fault(block, lanes[i].index, lanes[i].line, "a shuffle's %s is %d, outside 0..31",
                             exclusive_or ? "mask" : "source lane", (int)argument);
    lanes[i].out[0] = words[exclusive_or ? i ^ argument : argument];
  }
}

static void vote(attune_simulator_block *block, int warp, bool any_alone) {
  attune_simulator_lane *lanes = &block->lanes[warp * 32];
  uint32_t bits = 0;
  for (int i = 0; i < 32; i++)
    bits |= (uint32_t)(lanes[i].in[0] != 0) << i;
  for (int i = 0; i < 32; i++)
    lanes[i].out[0] = any_alone ? bits != 0 : bits;
}

static void match_any(attune_simulator_block *block, int warp) {
  attune_simulator_lane *lanes = &block->lanes[warp * 32];
  for (int i = 0; i < 32; i++) {
    uint32_t bits = 0;
    for (int j = 0; j < 32; j++)
      bits |= (uint32_t)(lanes[j].in[0] == lanes[i].in[0]) << j;
    lanes[i].out[0] = bits;
  }
}

static void warp_uniform(attune_simulator_block *block, int warp) {
  attune_simulator_lane *lanes = &block->lanes[warp * 32];
  uint32_t first = lanes[0].in[0];
  for (int i = 0; i < 32; i++)
    lanes[i].out[0] = first;
}

/* false: the warp waits on, for others. */
static bool perform(attune_simulator_block *block, int warp) {
  switch (block->warps[warp].operation) {
  case ATTUNE_SIMULATOR_LOAD_MATRIX:
    load_matrix(block, warp, false);
    break;
  case ATTUNE_SIMULATOR_LOAD_MATRIX_TRANSPOSED:
    load_matrix(block, warp, true);
    break;
  case ATTUNE_SIMULATOR_MULTIPLY_BF16:
    multiply(block, warp, true);
    break;
  case ATTUNE_SIMULATOR_MULTIPLY_FP16:
    multiply(block, warp, false);
    break;
  case ATTUNE_SIMULATOR_SHUFFLE_XOR:
    shuffle(block, warp, true);
    break;
  case ATTUNE_SIMULATOR_SHUFFLE:
    shuffle(block, warp, false);
    break;
  case ATTUNE_SIMULATOR_ANY_LANE:
    vote(block, warp, true);
    break;
  case ATTUNE_SIMULATOR_LANES_WHERE:
    vote(block, warp, false);
    break;
  case ATTUNE_SIMULATOR_MATCH_ANY:
    match_any(block, warp);
    break;
  case ATTUNE_SIMULATOR_WARP_BARRIER:
    attune_simulator_order_warp_barrier(&block->shared.order, warp);
    break;
  case ATTUNE_SIMULATOR_WARP_UNIFORM:
    warp_uniform(block, warp);
    break;
  case ATTUNE_SIMULATOR_NAMED_BARRIER:
    return attune_simulator_named_arrive(block, warp);
  default:
    return attune_simulator_group_arrive(block, warp);
  }
  return true;
}

/* The last lane to arrive computes for all. */
static void collective(int operation, const unsigned *in, unsigned *out, int line) {
  attune_simulator_block *block = attune_simulator_current;
  attune_simulator_lane *lane = block->running;
  int index = lane->index / 32;
  attune_simulator_warp *warp = &block->warps[index];
  if (operation < 0 || operation > ATTUNE_SIMULATOR_CLAIM_REGISTERS)
    attune_simulator_fault(block, lane->index, line, "collective %d, which the simulator cannot model", operation);
  if (warp->arrived == 0) {
    warp->operation = operation;
    warp->line = line;
  } else if (warp->operation != operation || warp->line != line) {
    attune_simulator_fault(
        block, lane->index, line,
        "divergence: arrives at %s while %u lanes of its warp wait at %s of line %d; all 32 lanes must meet at"
        " one place",
        attune_simulator_operation_name(operation), warp->arrived, attune_simulator_operation_name(warp->operation),
        warp->line);
  }
  lane->in = in;
  lane->out = out;
  lane->line = line;
  if (++warp->arrived < 32 || !perform(block, index)) {
    lane->state = ATTUNE_SIMULATOR_AT_COLLECTIVE;
    attune_simulator_suspend(block);
    return;
  }
  warp->arrived = 0;
  attune_simulator_release_warp(block, index);
}

static void warpgroup_multiply(const struct attune_simulator_product *product, int line) {
  attune_simulator_current->running->product = *product;
  collective(ATTUNE_SIMULATOR_PRODUCT, NULL, NULL, line);
}

/* The running lane comes; true: it is the last of so many. The others wait in the given state until they are released.
 */
static bool meet(attune_simulator_block *block, attune_simulator_meeting *meeting, int threads,
                 attune_simulator_lane_state state, const char *what, int line) {
  attune_simulator_lane *lane = block->running;
  if (meeting->arrived == 0) meeting->line = line;
  if (meeting->line != line)
    attune_simulator_fault(
        block, lane->index, line,
        "divergence: arrives at a %s barrier while %d threads wait at that of line %d; all threads must meet"
        " at one place",
        what, meeting->arrived, meeting->line);
  lane->line = line;
  if (++meeting->arrived == threads) {
    meeting->arrived = 0;
    return true;
  }
  lane->state = state;
  attune_simulator_suspend(block);
  return false;
}

/* Of a cluster's blocks each barrier is one among others, so that it needs rows. */
static void order_part(attune_simulator_block *block, int part, int line) {
  attune_simulator_order *order = &block->shared.order;
  const int warps = block->part_threads / 32, first = part * warps;
  attune_simulator_start_order(block, line);
  int32_t *row = attune_simulator_order_named(order, part, 0);
  attune_simulator_order_forget(order, row);
  for (int w = first; w < first + warps; w++)
    attune_simulator_order_give(order, row, w, ~0u);
  for (int w = first; w < first + warps; w++)
    attune_simulator_order_take(order, row, w, ~0u);
}

static void barrier(int line) {
  attune_simulator_block *block = attune_simulator_current;
  const int part = block->running->part;
  if (!meet(block, &block->barriers[part], block->part_threads, ATTUNE_SIMULATOR_AT_BARRIER, "block", line)) return;
  if (block->parts > 1)
    order_part(block, part, line);
  else
    attune_simulator_order_block_barrier(&block->shared.order);
  attune_simulator_release_part(block, part);
}

/* It orders no accesses. */
static void cluster_barrier(int line) {
  attune_simulator_block *block = attune_simulator_current;
  if (!meet(block, &block->cluster_barrier, block->threads, ATTUNE_SIMULATOR_AT_CLUSTER_BARRIER, "cluster", line))
    return;
  attune_simulator_publish_mbarriers(block);
  for (int part = 0; part < block->parts; part++)
    attune_simulator_release_part(block, part);
}

/* ---- plain accesses ---- */

static void check_size(attune_simulator_block *block, const char *what, int size, int least, int line) {
  if ((size & (size - 1)) != 0 || size < least || size > 16)
    attune_simulator_fault(block, block->running->index, line,
                           "%s of %d bytes, which the simulator cannot model: it takes powers of two from %d to 16",
                           what, size, least);
}

/* A size that the compiler knows is a move, not a call. */
static void move(void *to, const void *from, int size) {
  if (size == 16)
    memcpy(to, from, 16);
  else if (size == 8)
    memcpy(to, from, 8);
  else if (size == 4)
    memcpy(to, from, 4);
  else if (size == 2)
    memcpy(to, from, 2);
  else
    memcpy(to, from, 1);
}

static void load_shared(void *to, unsigned from, int size, int line) {
  attune_simulator_block *block = attune_simulator_current;
  int thread = block->running->index;
  uint32_t offset = attune_simulator_offset(block, block->running->part, from);
  attune_simulator_conflict conflict;
  check_size(block, "a shared load", size, 4, line);
  if (!attune_simulator_shared_read(&block->shared, &conflict, offset, (uint32_t)size, thread / 32, 1u << thread % 32,
                                    line))
    attune_simulator_fault_conflict(block, &conflict, line, "a shared load", from, (unsigned)size);
  move(to, block->shared.bytes + offset, size);
}

static void store_shared(unsigned to, const void *from, int size, int line) {
  attune_simulator_block *block = attune_simulator_current;
  uint32_t offset = attune_simulator_offset(block, block->running->part, to);
  attune_simulator_conflict conflict;
  check_size(block, "a shared store", size, 4, line);
  if (!attune_simulator_shared_write(&block->shared, &conflict, offset, (uint32_t)size, block->running->index, line))
    attune_simulator_fault_conflict(block, &conflict, line, "a shared store", to, (unsigned)size);
  move(block->shared.bytes + offset, from, size);
}

/* Apart from what is asked at every access: a sanitizer watches its text. */
static _Noreturn void fault_global(attune_simulator_block *block, const void *address, int size,
                                   attune_simulator_access access, int line) {
  char reason[256];
  attune_simulator_memory_explain(block->grid->memory, reason, address, size, access);
  attune_simulator_fault(block, block->running->index, line, "%s", reason);
}

static void check_global(attune_simulator_block *block, const void *address, int size, attune_simulator_access access,
                         int line) {
  if (!attune_simulator_memory_allows(block->grid->memory, address, size, access))
    fault_global(block, address, size, access, line);
}

/* Elements are stored sixteen bytes at a time, floats alone. */
static bool poisoned(const void *from, int size) {
  uint32_t words[4];
  move(words, from, size);
  for (int i = 0; i < size / 4; i++) {
    uint32_t magnitude = words[i] & 0x7fffffff;
    if (magnitude == ATTUNE_SIMULATOR_POISON || magnitude == ATTUNE_SIMULATOR_POISON_HALF) return true;
    if (size == 16 &&
        ((magnitude & 0x7fff) == ATTUNE_SIMULATOR_POISON_ELEMENT || magnitude >> 16 == ATTUNE_SIMULATOR_POISON_ELEMENT))
      return true;
  }
  return false;
}

static void load_global(void *to, const void *from, int size, int line) {
  attune_simulator_block *block = attune_simulator_current;
  check_size(block, "a global load", size, 1, line);
  check_global(block, from, size, ATTUNE_SIMULATOR_READ, line);
  move(to, from, size);
}

static void store_global(void *to, const void *from, int size, int line) {
  attune_simulator_block *block = attune_simulator_current;
  check_size(block, "a global store", size, 2, line);
  check_global(block, to, size, ATTUNE_SIMULATOR_WRITE, line);
  if (block->products > 0 && poisoned(from, size))
    attune_simulator_fault(block, block->running->index, line,
                           "stores a value of a product that was not waited for; wgmma_wait is missing before the"
                           " accumulators are read, or its count is too large");
  if (block->grid->outputs)
    attune_simulator_outputs_write(block->grid->outputs, to, size, block->index + block->running->part,
                                   block->running->thread, line);
  move(to, from, size);
}

/* Blocks run on several operating-system threads, so that which of them gets which number is beyond the seed. */
static void length_beyond(int length, int bound, int line) {
  attune_simulator_block *block = attune_simulator_current;
  attune_simulator_fault(block, block->running->index, line,
                         "a sequence's length in device memory is %d; it must be from 0 to the problem's bound, %d",
                         length, bound);
}

static unsigned count_up(unsigned *counter, int line) {
  check_global(attune_simulator_current, counter, sizeof *counter, ATTUNE_SIMULATOR_COUNT, line);
  return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* Blocks run on several operating-system threads. */
static void add_float(float *to, float value) {
  uint32_t old, wanted;
  __atomic_load((uint32_t *)(void *)to, &old, __ATOMIC_RELAXED);
  do {
    float sum;
    memcpy(&sum, &old, sizeof sum);
    sum += value;
    memcpy(&wanted, &sum, sizeof wanted);
  } while (
      !__atomic_compare_exchange((uint32_t *)(void *)to, &old, &wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

static void add_global(float *to, const float *values, int count, int line) {
  attune_simulator_block *block = attune_simulator_current;
  const int size = count * (int)sizeof *values;
  check_size(block, "a global addition", size, 4, line);
  check_global(block, to, size, ATTUNE_SIMULATOR_ADD, line);
  for (int i = 0; i < count; i++) {
    if (block->products > 0 && poisoned(values + i, sizeof *values))
      attune_simulator_fault(block, block->running->index, line,
                             "adds a value of a product that was not waited for; wgmma_wait is missing before the"
                             " accumulators are read, or its count is too large");
    add_float(to + i, values[i]);
  }
}

/* ---- asynchronous copies ---- */

static void arrive(attune_simulator_block *block, attune_simulator_copy *copy) {
  if (copy->landed) return;
  copy->landed = true;
  if (copy->valid)
    memcpy(block->shared.bytes + copy->to, copy->from, 16);
  else
    memset(block->shared.bytes + copy->to, 0, 16);
}

static void copy_async(unsigned to, const void *from, int valid, int line) {
  attune_simulator_block *block = attune_simulator_current;
  attune_simulator_lane *lane = block->running;
  uint32_t offset = attune_simulator_offset(block, lane->part, to);
  attune_simulator_conflict conflict;
  if (valid) check_global(block, from, 16, ATTUNE_SIMULATOR_READ, line);
  if (!attune_simulator_shared_depart(&block->shared, &conflict, offset, lane->index, line))
    attune_simulator_fault_conflict(block, &conflict, line, "an asynchronous copy", to, 16);
  if (lane->count == lane->capacity && lane->first > 0) {
    lane->count -= lane->first;
    memmove(lane->copies, lane->copies + lane->first, (size_t)lane->count * sizeof *lane->copies);
    lane->first = 0;
  }
  if (lane->count == lane->capacity) {
    int capacity = lane->capacity ? 2 * lane->capacity : 64;
    attune_simulator_copy *copies = realloc(lane->copies, (size_t)capacity * sizeof *copies);
    if (!copies)
      attune_simulator_fault(block, lane->index, line, "out of memory: %d asynchronous copies of one thread",
                             lane->count);
    lane->copies = copies;
    lane->capacity = capacity;
  }
  attune_simulator_copy *copy = &lane->copies[lane->count++];
  *copy = (attune_simulator_copy){.to = offset, .from = from, .valid = valid, .line = line, .group = lane->groups};
  if (block->random && attune_simulator_draw(block) % 4 == 0) arrive(block, copy);
}

/* Any copy may arrive at any time once issued; a random schedule lets some do so here. */
static void copy_async_commit(int line) {
  (void)line;
  attune_simulator_block *block = attune_simulator_current;
  attune_simulator_lane *lane = block->running;
  lane->groups++;
  if (!block->random) return;
  for (int i = lane->first; i < lane->count; i++)
    if (attune_simulator_draw(block) % 4 == 0) arrive(block, &lane->copies[i]);
}

static void copy_async_wait(int pending, int line) {
  attune_simulator_block *block = attune_simulator_current;
  attune_simulator_lane *lane = block->running;
  if (pending < 0)
    attune_simulator_fault(block, lane->index, line, "waits until at most %d groups are in flight", pending);
  for (; lane->first < lane->count; lane->first++) {
    attune_simulator_copy *copy = &lane->copies[lane->first];
    if (copy->group + (uint64_t)pending >= lane->groups) break;
    arrive(block, copy);
    attune_simulator_shared_land(&block->shared, copy->to);
  }
  if (lane->first == lane->count) lane->first = lane->count = 0;
}

const struct attune_simulator_calls attune_simulator_runner_calls = {
    .block_index = block_index,
    .thread_index = thread_index,
    .collective = collective,
    .barrier = barrier,
    .load_shared = load_shared,
    .store_shared = store_shared,
    .load_global = load_global,
    .store_global = store_global,
    .copy_async = copy_async,
    .copy_async_commit = copy_async_commit,
    .copy_async_wait = copy_async_wait,
    .grid_size = grid_size,
    .warpgroup_multiply = warpgroup_multiply,
    .mbarrier_init = attune_simulator_mbarrier_init,
    .mbarrier_init_fence = attune_simulator_mbarrier_init_fence,
    .mbarrier_arrive = attune_simulator_mbarrier_arrive,
    .mbarrier_wait = attune_simulator_mbarrier_wait,
    .load_tile = attune_simulator_load_tile,
    .store_tile = attune_simulator_store_tile,
    .finish_stores = attune_simulator_finish_stores,
    .fence_async = attune_simulator_fence_async,
    .count_up = count_up,
    .add_global = add_global,
    .length_beyond = length_beyond,
    .cluster_barrier = cluster_barrier,
    .mbarrier_arrive_at = attune_simulator_mbarrier_arrive_at,
    .load_tile_multicast = attune_simulator_load_tile_multicast,
    .hold_registers = attune_simulator_hold_registers,
};
