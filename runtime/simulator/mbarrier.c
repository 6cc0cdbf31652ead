/* Barriers in shared memory, the tiles that land on them, and the fence between plain and asynchronous accesses.
 *
 * A phase that waits for bytes completes as late as it can: when somebody waits for it. Until then the tile's bytes are
 * under way; a random schedule lets some arrive earlier, which nobody may rely on. */
#include <stdlib.h>
#include <string.h>

#include "runtime/simulator/state.h"

void attune_simulator_start_order(attune_simulator_block *block, int line) {
  if (!attune_simulator_order_start(&block->shared.order))
    attune_simulator_fault(block, block->running->index, line, "out of memory: the order of %d threads",
                           block->threads);
}

void attune_simulator_mbarrier_init(unsigned barrier, int arrivals, int line) {
  attune_simulator_block *block = attune_simulator_current;
  int thread = block->running->index, index = block->mbarrier_count;
  uint32_t offset = attune_simulator_offset(block, block->running->part, barrier);
  attune_simulator_conflict conflict;
  attune_simulator_start_order(block, line);
  if (arrivals < 1) attune_simulator_fault(block, thread, line, "an mbarrier of %d arrivals", arrivals);
  if (attune_simulator_shared_mbarrier(&block->shared, offset) >= 0)
    attune_simulator_fault(block, thread, line, "initialises the mbarrier at %s a second time",
                           attune_simulator_place(block, offset).text);
  if (index == ATTUNE_SIMULATOR_MBARRIERS_MAX)
    attune_simulator_fault(block, thread, line, "more than %d mbarriers, which the simulator cannot model", index);
  if (!attune_simulator_shared_set_mbarrier(&block->shared, &conflict, offset, thread, index, line))
    attune_simulator_fault_conflict(block, &conflict, line, "an mbarrier", barrier, 8);
  memset(block->shared.bytes + offset, 0xff, 8);
  memset(block->waited + (size_t)index * (size_t)block->capacity, 0, (size_t)block->capacity * sizeof *block->waited);
  block->mbarriers[block->mbarrier_count++] = (attune_simulator_mbarrier){.offset = offset,
                                                                          .arrivals = arrivals,
                                                                          .pending = arrivals,
                                                                          .init_time = block->shared.order.time,
                                                                          .init_thread = thread,
                                                                          .init_line = line};
}

void attune_simulator_mbarrier_init_fence(int line) {
  (void)line;
  attune_simulator_block *block = attune_simulator_current;
  for (int i = 0; i < block->mbarrier_count; i++)
    if (block->mbarriers[i].init_thread == block->running->index) block->mbarriers[i].fenced = true;
}

void attune_simulator_publish_mbarriers(attune_simulator_block *block) {
  for (int i = 0; i < block->mbarrier_count; i++)
    block->mbarriers[i].published = block->mbarriers[i].fenced;
}

/* The mbarrier at the part's address, as this thread may know it. */
static int find(attune_simulator_block *block, int part, unsigned barrier, const char *what, int line) {
  int thread = block->running->index;
  uint32_t offset = attune_simulator_offset(block, part, barrier);
  int index = attune_simulator_shared_mbarrier(&block->shared, offset);
  if (index < 0)
    attune_simulator_fault(block, thread, line, "%s: there is no mbarrier at %s", what,
                           attune_simulator_place(block, offset).text);
  const attune_simulator_mbarrier *b = &block->mbarriers[index];
  attune_simulator_viewer viewer = attune_simulator_view_of(thread);
  if (!b->published && b->init_time > attune_simulator_order_bound(&block->shared.order, &viewer,
                                                                   ATTUNE_SIMULATOR_OF_THREAD + b->init_thread))
    attune_simulator_fault(block, thread, line,
                           "race: %s of the mbarrier at %s, which %s initialised at line %d with no barrier since",
                           what, attune_simulator_place(block, offset).text,
                           attune_simulator_thread(block, b->init_thread).text, b->init_line);
  if (!b->fenced)
    attune_simulator_fault(block, thread, line,
                           "%s of the mbarrier at %s, which %s initialised at line %d: mbarrier_init_fence is missing",
                           what, attune_simulator_place(block, offset).text,
                           attune_simulator_thread(block, b->init_thread).text, b->init_line);
  return index;
}

/* Whoever sends to another block of the cluster. */
static void check_there(attune_simulator_block *block, int part, const char *what, int line) {
  const int thread = block->running->index;
  if (part < 0 || part >= block->parts)
    attune_simulator_fault(block, thread, line, "%s for block %d of a cluster of %d", what, part, block->parts);
  if (block->exited[part] == block->part_threads)
    attune_simulator_fault(block, thread, line,
                           "%s for block %d, which has left the kernel: nobody there has waited for it", what,
                           block->index + part);
}

static void wake(attune_simulator_block *block, int index) {
  for (int t = 0; t < block->threads; t++)
    if (block->lanes[t].state == ATTUNE_SIMULATOR_AT_MBARRIER && block->lanes[t].mbarrier == index)
      attune_simulator_wake(block, t);
}

/* ---- tiles ---- */

/* Row `row` of the box, 64 elements; zeros outside the tensor. */
static void read_row(unsigned char line[128], const attune_simulator_tensor_map *map, const int at[4], int row) {
  memset(line, 0, 128);
  int64_t place[3], first = at[0], last = first + 64;
  if (!attune_simulator_tensor_map_row(place, map, at, row)) return;
  if (first < 0) first = 0;
  if (last > map->size[0]) last = map->size[0];
  if (first >= last) return;
  const unsigned char *from = (const unsigned char *)map->base + place[2] * map->stride[2] + place[1] * map->stride[1] +
                              place[0] * map->stride[0] + first * 2;
  memcpy(line + (first - at[0]) * 2, from, (size_t)(last - first) * 2);
}

/* A NaN of the tensor is none of those that say that a product is under way. */
static void mark_nan(unsigned char line[128]) {
  uint16_t elements[64];
  memcpy(elements, line, sizeof elements);
  for (int i = 0; i < 64; i++)
    if ((elements[i] & 0x7fff) == ATTUNE_SIMULATOR_POISON_ELEMENT) elements[i] |= 0x7fff;
  memcpy(line, elements, sizeof elements);
}

/* The sixteen-byte chunks of a row are exchanged by its number among eight. */
static void arrive(attune_simulator_block *block, attune_simulator_tile *tile) {
  if (tile->arrived) return;
  tile->arrived = true;
  attune_simulator_tensor_map map = attune_simulator_tensor_map_of(tile->map);
  for (int r = 0; r < map.box_rows; r++) {
    unsigned char line[128], *to = block->shared.bytes + tile->to + r * 128;
    read_row(line, &map, tile->at, r);
    mark_nan(line);
    for (int c = 0; c < 8; c++)
      memcpy(to + (c ^ (r & 7)) * 16, line + c * 16, 16);
  }
}

static void land(attune_simulator_block *block, int mbarrier) {
  int kept = 0;
  for (int i = 0; i < block->tile_count; i++) {
    attune_simulator_tile *tile = &block->tiles[i];
    if (tile->mbarrier != mbarrier) {
      block->tiles[kept++] = *tile;
      continue;
    }
    arrive(block, tile);
    attune_simulator_shared_land_tile(&block->shared, tile->to, tile->bytes);
  }
  block->tile_count = kept;
}

void attune_simulator_check_box(attune_simulator_block *block, const struct attune_tensor_map *map, unsigned address,
                                const char *what, int line) {
  const attune_simulator_tensor_map m = attune_simulator_tensor_map_of(map);
  if (!m.base || m.box_columns != 64 || m.box_rows < 1 || m.box_rows > 256 || m.box_inner < 1 ||
      m.box_rows % m.box_inner != 0)
    attune_simulator_fault(block, block->running->index, line, "%s with a map of boxes of %d rows of %d elements", what,
                           m.box_rows, m.box_columns);
  if (address % 1024 != 0)
    attune_simulator_fault(block, block->running->index, line,
                           "%s is misaligned: shared offset %d is not a multiple of 1024, as the swizzle needs", what,
                           (int)(address - ATTUNE_SIMULATOR_SHARED_BASE));
}

static attune_simulator_tile *add_tile(attune_simulator_block *block, int line) {
  if (block->tile_count == block->tile_capacity) {
    int capacity = block->tile_capacity ? 2 * block->tile_capacity : 64;
    attune_simulator_tile *tiles = realloc(block->tiles, (size_t)capacity * sizeof *tiles);
    if (!tiles)
      attune_simulator_fault(block, block->running->index, line, "out of memory: %d tiles under way",
                             block->tile_count);
    block->tiles = tiles;
    block->tile_capacity = capacity;
  }
  return &block->tiles[block->tile_count++];
}

/* Bytes count for the phase that is under way when they arrive: who sends them to another block knows of its phases
 * only what it was told. */
static void check_phase(attune_simulator_block *block, int index, int line) {
  const attune_simulator_order *order = &block->shared.order;
  const int component = ATTUNE_SIMULATOR_OF_MBARRIER + index, thread = block->running->index;
  const attune_simulator_viewer viewer = attune_simulator_view_of(thread);
  const attune_simulator_mbarrier *b = &block->mbarriers[index];
  if (b->phase == 0) return;
  if ((uint32_t)attune_simulator_order_done(order, index)[component] >
      attune_simulator_order_bound(order, &viewer, component))
    attune_simulator_fault(
        block, thread, line,
        "a tile's load may come too early: this thread does not know that phase %u of the mbarrier at %s"
        " has completed, and its bytes might count for that one",
        b->phase - 1, attune_simulator_place(block, b->offset).text);
}

/* The copy of a tile that lands in one block. */
static void send_tile(attune_simulator_block *block, int part, unsigned to, const struct attune_tensor_map *map,
                      const int at[4], unsigned barrier, int line) {
  const attune_simulator_lane *lane = block->running;
  check_there(block, part, "a tile's load", line);
  const int index = find(block, part, barrier, "a tile's load", line);
  const uint32_t offset = attune_simulator_offset(block, part, to);
  attune_simulator_conflict conflict;
  attune_simulator_check_box(block, map, to, "a tile's load", line);
  const uint32_t bytes = (uint32_t)attune_simulator_tensor_map_of(map).box_rows * 128;
  if (part != lane->part) check_phase(block, index, line);
  if (!attune_simulator_shared_depart_tile(&block->shared, &conflict, offset, bytes, lane->index, index, line))
    attune_simulator_fault_conflict(block, &conflict, line, "a tile's load", to, bytes);
  attune_simulator_tile *tile = add_tile(block, line);
  *tile = (attune_simulator_tile){
      .to = offset, .bytes = bytes, .mbarrier = index, .line = line, .thread = lane->index, .map = map};
  memcpy(tile->at, at, sizeof tile->at);
  if (block->random && attune_simulator_draw(block) % 4 == 0) arrive(block, tile);
  if (block->mbarriers[index].pending == 0) wake(block, index);
}

void attune_simulator_load_tile(unsigned to, const struct attune_tensor_map *map, const int at[4], unsigned barrier,
                                int line) {
  attune_simulator_block *block = attune_simulator_current;
  send_tile(block, block->running->part, to, map, at, barrier, line);
}

void attune_simulator_load_tile_multicast(unsigned to, const struct attune_tensor_map *map, const int at[4],
                                          unsigned barrier, unsigned parts, int line) {
  attune_simulator_block *block = attune_simulator_current;
  for (int part = 0; part < 32; part++)
    if (parts >> part & 1) send_tile(block, part, to, map, at, barrier, line);
}

/* ---- phases ---- */

static attune_simulator_waited *waited_of(const attune_simulator_block *block, int index, int thread) {
  return &block->waited[(size_t)index * (size_t)block->capacity + (size_t)thread];
}

/* A wait names a phase by its parity, so that who waits for one must have seen it before the next one completes: else
 * it waits for ever, if it happens to be late. That it has is known by what those that arrived know, or by a product of
 * its warpgroup that they know of, which all of its threads take part in. */
static void check_late(attune_simulator_block *block, int index) {
  const attune_simulator_mbarrier *b = &block->mbarriers[index];
  const attune_simulator_order *order = &block->shared.order;
  const int32_t *known = attune_simulator_order_open(order, index);
  for (int t = 0; t < block->threads; t++) {
    const attune_simulator_waited *w = waited_of(block, index, t);
    if (w->time == 0 || block->lanes[t].state == ATTUNE_SIMULATOR_EXITED || w->phase >= (int32_t)b->phase) continue;
    const bool seen = w->time < order->block_time || (uint32_t)known[ATTUNE_SIMULATOR_OF_THREAD + t] >= w->time ||
                      (uint32_t)known[ATTUNE_SIMULATOR_OF_GROUP + t / 128] >= w->time;
    if (w->phase == (int32_t)b->phase - 1 && seen) continue;
    attune_simulator_fault(
        block, t, w->line,
        "may wait for ever: phase %u of the mbarrier at %s completes, and nobody who arrived knows"
        " that this thread has seen phase %u, whose parity it waits for: a barrier before the arrival is"
        " missing",
        b->phase, attune_simulator_place(block, b->offset).text, b->phase - 1);
  }
}

static void complete(attune_simulator_block *block, int index) {
  check_late(block, index);
  attune_simulator_mbarrier *b = &block->mbarriers[index];
  attune_simulator_order *order = &block->shared.order;
  int32_t *done = attune_simulator_order_done(order, index), *open = attune_simulator_order_open(order, index);
  land(block, index);
  attune_simulator_order_join(order, done, open);
  done[ATTUNE_SIMULATOR_OF_MBARRIER + index] = (int32_t)order->time++;
  b->phase++;
  b->pending = b->arrivals;
  b->expected = 0;
  wake(block, index);
}

static void arrive_at(attune_simulator_block *block, int index, int bytes, int line) {
  const attune_simulator_lane *lane = block->running;
  attune_simulator_mbarrier *b = &block->mbarriers[index];
  if (bytes < 0) attune_simulator_fault(block, lane->index, line, "expects %d bytes", bytes);
  if (b->pending == 0)
    attune_simulator_fault(block, lane->index, line,
                           "arrives at the mbarrier at %s, whose phase %u has had its %d arrivals and still waits for"
                           " bytes (%lld expected, %lld under way)",
                           attune_simulator_place(block, b->offset).text, b->phase, b->arrivals, (long long)b->expected,
                           (long long)attune_simulator_bytes_under_way(block, index));
  attune_simulator_order_give(&block->shared.order, attune_simulator_order_open(&block->shared.order, index),
                              lane->index / 32, 1u << lane->index % 32);
  b->expected += bytes;
  if (--b->pending > 0) return;
  if (b->expected == 0 && attune_simulator_bytes_under_way(block, index) == 0)
    complete(block, index);
  else
    wake(block, index);
}

void attune_simulator_mbarrier_arrive(unsigned barrier, int bytes, int line) {
  attune_simulator_block *block = attune_simulator_current;
  arrive_at(block, find(block, block->running->part, barrier, "an arrival", line), bytes, line);
}

void attune_simulator_mbarrier_arrive_at(unsigned barrier, int part, int line) {
  attune_simulator_block *block = attune_simulator_current;
  const attune_simulator_lane *lane = block->running;
  check_there(block, part, "an arrival", line);
  const int index = find(block, part, barrier, "an arrival", line);
  if (part != lane->part)
    block->sent[lane->index] = (attune_simulator_sent){.time = block->shared.order.time, .line = line};
  arrive_at(block, index, 0, line);
}

static bool try_complete(attune_simulator_block *block, int index, int line) {
  const attune_simulator_mbarrier *b = &block->mbarriers[index];
  int64_t bytes = attune_simulator_bytes_under_way(block, index);
  if (b->pending > 0 || bytes < b->expected) return false;
  if (bytes > b->expected)
    attune_simulator_fault(block, block->running->index, line,
                           "the mbarrier at %s expects %lld bytes in phase %u, and tiles of %lld bytes are under way to"
                           " it: the expected byte count is too small",
                           attune_simulator_place(block, b->offset).text, (long long)b->expected, b->phase,
                           (long long)bytes);
  complete(block, index);
  return true;
}

/* A thread that was woken because the phase completed need not look again: the next phase may be under way. */
void attune_simulator_mbarrier_wait(unsigned barrier, int parity, int line) {
  attune_simulator_block *block = attune_simulator_current;
  attune_simulator_lane *lane = block->running;
  int index = find(block, lane->part, barrier, "a wait", line);
  const attune_simulator_mbarrier *b = &block->mbarriers[index];
  if (parity != 0 && parity != 1)
    attune_simulator_fault(block, lane->index, line, "waits for parity %d of an mbarrier; it is 0 or 1", parity);
  uint32_t phase = b->phase;
  while ((phase & 1) == (uint32_t)parity && b->phase == phase && !try_complete(block, index, line)) {
    lane->line = line;
    lane->mbarrier = index;
    lane->state = ATTUNE_SIMULATOR_AT_MBARRIER;
    attune_simulator_suspend(block);
  }
  attune_simulator_order_take(&block->shared.order, attune_simulator_order_done(&block->shared.order, index),
                              lane->index / 32, 1u << lane->index % 32);
  *waited_of(block, index, lane->index) =
      (attune_simulator_waited){.time = block->shared.order.time, .phase = (int32_t)b->phase - 1, .line = line};
}

void attune_simulator_fence_async(int line) {
  (void)line;
  attune_simulator_block *block = attune_simulator_current;
  attune_simulator_order_fence(&block->shared.order, block->running->index);
}
