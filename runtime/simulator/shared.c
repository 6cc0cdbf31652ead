#include "runtime/simulator/shared.h"

#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"

enum { UNWRITTEN, STORED, FLYING, LANDED, TILE_FLYING, TILE_LANDED, MBARRIER };
enum {
  READERS = 15, /* the warps of the widest block, but for one that writes */
  A_GROUP = ATTUNE_SIMULATOR_WARPS_MAX,
  A_STORE = A_GROUP + ATTUNE_SIMULATOR_WARPS_MAX
};
static const uint32_t under_way = UINT32_MAX; /* the time of a read that has not ended */

/* Lanes of one warp, products of one warpgroup (who: A_GROUP + group), or tiles' stores of one warp's lanes (A_STORE +
 * warp). */
typedef struct {
  uint32_t time;  /* of their first read, or of a lone reader's last */
  uint32_t lanes; /* 0: free; of a warpgroup: the number of the last product */
  int32_t line;   /* of the last read */
  uint32_t who;
} reader;

/* Four bytes. One writer and the readers since are enough: an access that conflicts with anything older also conflicts
 * with these, or was ordered after it. */
struct attune_simulator_granule {
  uint32_t epoch; /* of the block that this is about; of an older one: nothing was written yet */
  uint32_t write_time;
  int32_t write_line;
  uint16_t writer; /* the thread that stored it or issued the copy */
  uint8_t state, mbarrier;
  uint32_t other_warps, other_time; /* readers that found no place below */
  uint32_t count;                   /* of the places below, those that were taken since the write */
  reader readers[READERS];
};

static bool grow(attune_simulator_shared *shared, uint32_t bytes) {
  if (bytes <= shared->capacity) return true;
  attune_simulator_shared_release(shared);
  uint32_t capacity = (bytes + 255) / 256 * 256;
  shared->bytes = aligned_alloc(256, capacity);
  shared->granules = calloc(capacity / 4, sizeof *shared->granules);
  if (shared->bytes && shared->granules) {
    shared->capacity = capacity;
    return true;
  }
  attune_simulator_shared_release(shared);
  return false;
}

attune_status attune_simulator_shared_reset(attune_simulator_shared *shared, uint32_t size, int pieces, int threads) {
  uint32_t pitch = 1024; /* the swizzle's pattern repeats with it */
  while (pitch < size)
    pitch *= 2;
  if (!grow(shared, (uint32_t)(pieces - 1) * pitch + size))
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory: a block needs %u bytes of shared memory", size);
  shared->size = size;
  shared->pitch = pitch;
  for (uint32_t i = 0; i < (uint32_t)pieces && size > 0; i++)
    memset(shared->bytes + i * pitch, 0xff, size);
  if (++shared->epoch == 0) { /* it came round: none may be taken for its own */
    memset(shared->granules, 0, shared->capacity / 4 * sizeof *shared->granules);
    shared->epoch = 1;
  }
  attune_simulator_order_reset(&shared->order, threads);
  return ATTUNE_OK;
}

void attune_simulator_shared_release(attune_simulator_shared *shared) {
  free(shared->bytes);
  free(shared->granules);
  attune_simulator_order_release(&shared->order);
  shared->bytes = NULL;
  shared->granules = NULL;
  shared->size = shared->capacity = 0;
}

/* Without readers. The places behind count are never looked at, and are most of a granule. */
static void clear(attune_simulator_granule *g, uint32_t epoch) {
  g->epoch = epoch;
  g->write_time = 0;
  g->write_line = 0;
  g->writer = 0;
  g->state = UNWRITTEN;
  g->mbarrier = 0;
  g->other_warps = g->other_time = 0;
  g->count = 0;
}

/* Clearing a granule when it is met is cheaper than clearing all of them for every block. */
static attune_simulator_granule *granule_at(const attune_simulator_shared *shared, uint32_t offset) {
  attune_simulator_granule *g = &shared->granules[offset / 4];
  if (g->epoch != shared->epoch) clear(g, shared->epoch);
  return g;
}

static bool found(attune_simulator_conflict *conflict, attune_simulator_conflict_kind kind, uint32_t offset, int thread,
                  int line) {
  *conflict = (attune_simulator_conflict){.kind = kind, .offset = offset, .thread = thread, .line = line};
  return false;
}

/* A conflict with the granule's last write. */
static bool found_write(attune_simulator_conflict *conflict, attune_simulator_conflict_kind kind, uint32_t offset,
                        const attune_simulator_granule *g) {
  *conflict = (attune_simulator_conflict){.kind = kind,
                                          .offset = offset,
                                          .thread = g->writer,
                                          .line = g->write_line,
                                          .mbarrier = g->mbarrier,
                                          .under_way = g->state == TILE_FLYING};
  return false;
}

static bool inside(const attune_simulator_shared *shared, attune_simulator_conflict *conflict, uint32_t offset,
                   uint32_t size) {
  const uint32_t inner = offset & (shared->pitch - 1);
  if (inner > shared->size || size > shared->size - inner)
    return found(conflict, ATTUNE_SIMULATOR_OUT_OF_BOUNDS, offset, -1, 0);
  return true;
}

static bool place(const attune_simulator_shared *shared, attune_simulator_conflict *conflict, uint32_t offset,
                  uint32_t size) {
  if (!inside(shared, conflict, offset, size)) return false;
  if (offset % size != 0) return found(conflict, ATTUNE_SIMULATOR_MISALIGNED, offset, -1, 0);
  return true;
}

/* Up to which stamp the viewer knows of the writer's accesses. */
static uint32_t bound_of_writer(const attune_simulator_order *order, const attune_simulator_granule *g,
                                const attune_simulator_viewer *viewer) {
  int component =
      g->state == TILE_LANDED ? ATTUNE_SIMULATOR_OF_MBARRIER + g->mbarrier : ATTUNE_SIMULATOR_OF_THREAD + g->writer;
  return attune_simulator_order_bound(order, viewer, component);
}

static bool after_write(const attune_simulator_order *order, const attune_simulator_granule *g,
                        const attune_simulator_viewer *viewer) {
  return g->write_time < order->block_time || g->write_time <= bound_of_writer(order, g, viewer);
}

/* Whether what a thread stored may be accessed asynchronously; asked after after_write. */
static bool fenced(const attune_simulator_order *order, const attune_simulator_granule *g,
                   const attune_simulator_viewer *viewer) {
  if (g->state != STORED && g->state != LANDED) return true;
  return attune_simulator_order_fenced(order, g->writer, g->write_time, bound_of_writer(order, g, viewer));
}

/* ---- reads ---- */

/* A thread among the readers that is not ordered before the viewer, or -1. */
static int unordered(const attune_simulator_order *order, const reader *r, const attune_simulator_viewer *viewer) {
  if (r->lanes == 0 || r->time < order->block_time) return -1;
  if (r->who >= A_STORE && r->time == under_way) return (int)(r->who - A_STORE) * 32 + __builtin_ctz(r->lanes);
  if (r->who >= A_GROUP && r->who < A_STORE) {
    int group = (int)r->who - A_GROUP;
    bool ordered = r->time != under_way &&
                   r->time <= attune_simulator_order_bound(order, viewer, ATTUNE_SIMULATOR_OF_GROUP + group);
    return ordered ? -1 : group * 128;
  }
  for (uint32_t lanes = r->lanes; lanes != 0; lanes &= lanes - 1) {
    int thread = (int)(r->who >= A_STORE ? r->who - A_STORE : r->who) * 32 + __builtin_ctz(lanes);
    if (r->time > attune_simulator_order_bound(order, viewer, ATTUNE_SIMULATOR_OF_THREAD + thread)) return thread;
  }
  return -1;
}

/* Readers that are ordered before this one need no record any more: who is ordered after it is ordered after them. */
static bool superseded(const attune_simulator_order *order, const reader *r, const attune_simulator_viewer *viewer) {
  if (r->lanes == 0 || r->time < order->block_time) return true;
  if (r->who < A_GROUP && (int)r->who == viewer->warp && r->time < order->warp_time[r->who]) return true;
  return order->live && unordered(order, r, viewer) < 0;
}

static void record(const attune_simulator_order *order, attune_simulator_granule *g, reader now,
                   const attune_simulator_viewer *viewer) {
  reader *free_place = NULL;
  for (reader *r = g->readers; r < g->readers + g->count; r++) {
    if (r->who == now.who && r->lanes == now.lanes && r->lanes != 0) {
      *r = now;
      return;
    }
    if (superseded(order, r, viewer)) {
      r->lanes = 0;
      free_place = r;
    } else if (r->who == now.who && now.who < A_STORE) {
      /* one warpgroup's products end in order: the last one speaks for all */
      r->lanes = now.who >= A_GROUP ? now.lanes : r->lanes | now.lanes;
      r->line = now.line;
      if (now.who >= A_GROUP) r->time = now.time;
      return;
    }
  }
  if (!free_place && g->count < READERS) free_place = &g->readers[g->count++];
  if (free_place) {
    *free_place = now;
    return;
  }
  if (g->other_time < order->block_time) g->other_warps = 0;
  g->other_warps |= now.who < A_GROUP   ? 1u << now.who
                    : now.who < A_STORE ? 15u << (now.who - A_GROUP) * 4
                                        : 1u << (now.who - A_STORE);
  g->other_time = order->time;
}

static bool readable(const attune_simulator_order *order, attune_simulator_conflict *conflict, uint32_t at,
                     const attune_simulator_granule *g, const attune_simulator_viewer *viewer) {
  if (g->state == UNWRITTEN) return found(conflict, ATTUNE_SIMULATOR_UNWRITTEN, at, -1, 0);
  if (g->state == MBARRIER) return found_write(conflict, ATTUNE_SIMULATOR_ON_MBARRIER, at, g);
  if (g->state == FLYING) return found_write(conflict, ATTUNE_SIMULATOR_READ_OF_FLYING, at, g);
  if (g->state == TILE_FLYING) return found_write(conflict, ATTUNE_SIMULATOR_READ_OF_TILE, at, g);
  if (after_write(order, g, viewer)) return true;
  return found_write(conflict,
                     g->state == LANDED        ? ATTUNE_SIMULATOR_READ_OF_LANDED
                     : g->state == TILE_LANDED ? ATTUNE_SIMULATOR_READ_OF_TILE
                                               : ATTUNE_SIMULATOR_READ_OF_WRITTEN,
                     at, g);
}

bool attune_simulator_shared_read(attune_simulator_shared *shared, attune_simulator_conflict *conflict, uint32_t offset,
                                  uint32_t size, int warp, uint32_t lanes, int line) {
  if (!place(shared, conflict, offset, size)) return false;
  const attune_simulator_viewer viewer = {.warp = warp, .lanes = lanes, .group = -1};
  const reader now = {.time = shared->order.time, .lanes = lanes, .line = line, .who = (uint32_t)warp};
  for (uint32_t at = offset; at < offset + size; at += 4) {
    attune_simulator_granule *g = granule_at(shared, at);
    if (!readable(&shared->order, conflict, at, g, &viewer)) return false;
    record(&shared->order, g, now, &viewer);
  }
  return true;
}

bool attune_simulator_shared_start_product(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                           const uint32_t *offsets, int count, int group, uint32_t number, int line) {
  const attune_simulator_viewer viewer = {.warp = -1, .group = group};
  const reader now = {.time = under_way, .lanes = number, .line = line, .who = (uint32_t)(A_GROUP + group)};
  attune_simulator_order_view(&shared->order, group);
  for (int i = 0; i < count; i++) {
    if (!place(shared, conflict, offsets[i], 16)) return false;
    for (uint32_t at = offsets[i]; at < offsets[i] + 16; at += 4) {
      attune_simulator_granule *g = granule_at(shared, at);
      if (!readable(&shared->order, conflict, at, g, &viewer)) return false;
      if (!fenced(&shared->order, g, &viewer)) return found_write(conflict, ATTUNE_SIMULATOR_UNFENCED, at, g);
      record(&shared->order, g, now, &viewer);
    }
  }
  return true;
}

void attune_simulator_shared_end_product(attune_simulator_shared *shared, const uint32_t *offsets, int count, int group,
                                         uint32_t number) {
  for (int i = 0; i < count; i++)
    for (uint32_t at = offsets[i]; at < offsets[i] + 16; at += 4) {
      attune_simulator_granule *g = granule_at(shared, at);
      for (reader *r = g->readers; r < g->readers + g->count; r++)
        if (r->who == (uint32_t)(A_GROUP + group) && r->lanes == number && r->time == under_way)
          r->time = shared->order.time;
    }
}

bool attune_simulator_shared_start_store(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                         uint32_t offset, uint32_t size, int thread, int line) {
  if (!inside(shared, conflict, offset, size)) return false;
  const attune_simulator_viewer viewer = attune_simulator_view_of(thread);
  const reader now = {
      .time = under_way, .lanes = 1u << thread % 32, .line = line, .who = (uint32_t)(A_STORE + thread / 32)};
  for (uint32_t at = offset; at < offset + size; at += 4) {
    attune_simulator_granule *g = granule_at(shared, at);
    if (!readable(&shared->order, conflict, at, g, &viewer)) return false;
    if (!fenced(&shared->order, g, &viewer)) return found_write(conflict, ATTUNE_SIMULATOR_UNFENCED, at, g);
    record(&shared->order, g, now, &viewer);
  }
  return true;
}

void attune_simulator_shared_end_store(attune_simulator_shared *shared, uint32_t offset, uint32_t size, int thread) {
  for (uint32_t at = offset; at < offset + size; at += 4) {
    attune_simulator_granule *g = granule_at(shared, at);
    for (reader *r = g->readers; r < g->readers + g->count; r++)
      if (r->who == (uint32_t)(A_STORE + thread / 32) && r->lanes == 1u << thread % 32 && r->time == under_way)
        r->time = shared->order.time;
  }
}

/* ---- writes ---- */

static bool after_reads(const attune_simulator_order *order, attune_simulator_conflict *conflict, uint32_t at,
                        const attune_simulator_granule *g, const attune_simulator_viewer *viewer) {
  for (const reader *r = g->readers; r < g->readers + g->count; r++) {
    int thread = unordered(order, r, viewer);
    if (thread < 0) continue;
    found(conflict,
          r->who >= A_STORE   ? ATTUNE_SIMULATOR_WRITE_OF_STORED
          : r->who >= A_GROUP ? ATTUNE_SIMULATOR_WRITE_OF_OPERAND
                              : ATTUNE_SIMULATOR_WRITE_OF_READ,
          at, thread, r->line);
    conflict->under_way = r->time == under_way;
    return false;
  }
  uint32_t warps = g->other_time < order->block_time ? 0 : g->other_warps & ~(1u << viewer->warp);
  return warps == 0 || found(conflict, ATTUNE_SIMULATOR_WRITE_OF_READ, at, __builtin_ctz(warps) * 32, 0);
}

/* Plain reads that a tile must not overtake: each reader has fenced, and whoever loads the tile knows of it. Asked
 * after after_reads, so that they are ordered. Readers that found no place of their own have no time to compare with.
 */
static bool reads_fenced(const attune_simulator_order *order, attune_simulator_conflict *conflict, uint32_t at,
                         const attune_simulator_granule *g, const attune_simulator_viewer *viewer) {
  for (const reader *r = g->readers; r < g->readers + g->count; r++) {
    for (uint32_t lanes = r->who < A_GROUP ? r->lanes : 0; lanes != 0; lanes &= lanes - 1) {
      const int thread = (int)r->who * 32 + __builtin_ctz(lanes);
      const uint32_t bound = attune_simulator_order_bound(order, viewer, ATTUNE_SIMULATOR_OF_THREAD + thread);
      if (!attune_simulator_order_fenced(order, thread, r->time, bound))
        return found(conflict, ATTUNE_SIMULATOR_UNFENCED_READ, at, thread, r->line);
    }
  }
  return true;
}

static bool writable(const attune_simulator_order *order, attune_simulator_conflict *conflict, uint32_t at,
                     const attune_simulator_granule *g, const attune_simulator_viewer *viewer) {
  if (g->state == MBARRIER) return found_write(conflict, ATTUNE_SIMULATOR_ON_MBARRIER, at, g);
  if (g->state == FLYING) return found_write(conflict, ATTUNE_SIMULATOR_WRITE_OF_FLYING, at, g);
  if (g->state == TILE_FLYING) return found_write(conflict, ATTUNE_SIMULATOR_WRITE_OF_TILE, at, g);
  if (!after_write(order, g, viewer))
    return found_write(conflict,
                       g->state == LANDED        ? ATTUNE_SIMULATOR_WRITE_OF_LANDED
                       : g->state == TILE_LANDED ? ATTUNE_SIMULATOR_WRITE_OF_TILE
                                                 : ATTUNE_SIMULATOR_WRITE_OF_WRITTEN,
                       at, g);
  return after_reads(order, conflict, at, g, viewer);
}

static bool overwrite(attune_simulator_shared *shared, attune_simulator_conflict *conflict, uint32_t at, int thread,
                      int line, uint8_t state) {
  attune_simulator_granule *g = granule_at(shared, at);
  const attune_simulator_viewer viewer = attune_simulator_view_of(thread);
  if (!writable(&shared->order, conflict, at, g, &viewer)) return false;
  if (state == TILE_FLYING && !fenced(&shared->order, g, &viewer))
    return found_write(conflict, ATTUNE_SIMULATOR_UNFENCED, at, g);
  if (state == TILE_FLYING && !reads_fenced(&shared->order, conflict, at, g, &viewer)) return false;
  clear(g, shared->epoch);
  g->write_time = shared->order.time;
  g->write_line = line;
  g->writer = (uint16_t)thread;
  g->state = state;
  return true;
}

bool attune_simulator_shared_write(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                   uint32_t offset, uint32_t size, int thread, int line) {
  if (!place(shared, conflict, offset, size)) return false;
  for (uint32_t at = offset; at < offset + size; at += 4)
    if (!overwrite(shared, conflict, at, thread, line, STORED)) return false;
  return true;
}

bool attune_simulator_shared_depart(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                    uint32_t offset, int thread, int line) {
  if (!place(shared, conflict, offset, 16)) return false;
  for (uint32_t at = offset; at < offset + 16; at += 4)
    if (!overwrite(shared, conflict, at, thread, line, FLYING)) return false;
  return true;
}

void attune_simulator_shared_land(attune_simulator_shared *shared, uint32_t offset) {
  for (uint32_t at = offset; at < offset + 16; at += 4) {
    attune_simulator_granule *g = granule_at(shared, at);
    g->state = LANDED;
    g->write_time = shared->order.time;
  }
}

/* ---- mbarriers and tiles ---- */

bool attune_simulator_shared_set_mbarrier(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                          uint32_t offset, int thread, int mbarrier, int line) {
  if (!place(shared, conflict, offset, 8)) return false;
  for (uint32_t at = offset; at < offset + 8; at += 4) {
    if (!overwrite(shared, conflict, at, thread, line, MBARRIER)) return false;
    granule_at(shared, at)->mbarrier = (uint8_t)mbarrier;
  }
  return true;
}

int attune_simulator_shared_mbarrier(const attune_simulator_shared *shared, uint32_t offset) {
  const uint32_t inner = offset & (shared->pitch - 1);
  if (offset % 8 != 0 || shared->size < 8 || inner > shared->size - 8) return -1;
  const attune_simulator_granule *g = granule_at(shared, offset);
  return g->state == MBARRIER ? g->mbarrier : -1;
}

bool attune_simulator_shared_depart_tile(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                         uint32_t offset, uint32_t size, int thread, int mbarrier, int line) {
  if (!inside(shared, conflict, offset, size)) return false;
  for (uint32_t at = offset; at < offset + size; at += 4) {
    if (!overwrite(shared, conflict, at, thread, line, TILE_FLYING)) return false;
    granule_at(shared, at)->mbarrier = (uint8_t)mbarrier;
  }
  return true;
}

void attune_simulator_shared_land_tile(attune_simulator_shared *shared, uint32_t offset, uint32_t size) {
  for (uint32_t at = offset; at < offset + size; at += 4) {
    attune_simulator_granule *g = granule_at(shared, at);
    g->state = TILE_LANDED;
    g->write_time = shared->order.time;
  }
}
