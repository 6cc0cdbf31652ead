#include "runtime/host_shared.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/fail.h"

enum { UNWRITTEN, STORED, FLYING, LANDED };

/* Four bytes. One writer and a summary of the readers since are enough: an access that conflicts with anything older
 * also conflicts with these, or was ordered after it. */
struct attune_host_granule {
  uint32_t write_time;
  int32_t write_line;
  uint32_t read_time; /* of the last read */
  int32_t read_line;
  uint32_t read_warps; /* that read since block_time; of no meaning if read_time is older */
  uint32_t read_lanes; /* of read_warp, since its warp_time; likewise */
  uint16_t writer;
  uint8_t read_warp; /* of the last read */
  uint8_t state;
};

attune_status attune_host_shared_reset(attune_host_shared *shared, uint32_t size) {
  if (size > shared->capacity) {
    attune_host_shared_release(shared);
    uint32_t capacity = (size + 255) / 256 * 256;
    shared->bytes = aligned_alloc(256, capacity);
    shared->granules = calloc(capacity / 4, sizeof *shared->granules);
    if (!shared->bytes || !shared->granules) {
      attune_host_shared_release(shared);
      return attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory: a block needs %u bytes of shared memory", size);
    }
    shared->capacity = capacity;
  }
  shared->size = size;
  if (size > 0) {
    memset(shared->bytes, 0xff, size);
    memset(shared->granules, 0, (size + 3) / 4 * sizeof *shared->granules);
  }
  shared->time = 0;
  attune_host_shared_block_barrier(shared); /* a stamp of 0 is before every barrier */
  return ATTUNE_OK;
}

void attune_host_shared_release(attune_host_shared *shared) {
  free(shared->bytes);
  free(shared->granules);
  *shared = (attune_host_shared){0};
}

void attune_host_shared_block_barrier(attune_host_shared *shared) {
  shared->block_time = ++shared->time;
  for (int w = 0; w < ATTUNE_HOST_WARPS_MAX; w++)
    shared->warp_time[w] = shared->time;
}

void attune_host_shared_warp_barrier(attune_host_shared *shared, int warp) {
  shared->warp_time[warp] = ++shared->time;
}

static bool found(attune_host_conflict *conflict, attune_host_conflict_kind kind, uint32_t offset, int thread,
                  int line) {
  *conflict = (attune_host_conflict){.kind = kind, .offset = offset, .thread = thread, .line = line};
  return false;
}

static bool place(const attune_host_shared *shared, attune_host_conflict *conflict, uint32_t offset, uint32_t size) {
  if (offset > shared->size || size > shared->size - offset)
    return found(conflict, ATTUNE_HOST_OUT_OF_BOUNDS, offset, -1, 0);
  if (offset % size != 0) return found(conflict, ATTUNE_HOST_MISALIGNED, offset, -1, 0);
  return true;
}

/* Whether a barrier has ordered the granule's last write before an access by these lanes. */
static bool after_write(const attune_host_shared *shared, const attune_host_granule *g, int warp, uint32_t lanes) {
  if (g->write_time < shared->block_time) return true;
  if (g->writer / 32 != warp) return false;
  return g->write_time < shared->warp_time[warp] || lanes == 1u << g->writer % 32;
}

bool attune_host_shared_read(attune_host_shared *shared, attune_host_conflict *conflict, uint32_t offset, uint32_t size,
                             int warp, uint32_t lanes, int line) {
  if (!place(shared, conflict, offset, size)) return false;
  for (uint32_t at = offset; at < offset + size; at += 4) {
    attune_host_granule *g = &shared->granules[at / 4];
    if (g->state == UNWRITTEN) return found(conflict, ATTUNE_HOST_UNWRITTEN, at, -1, 0);
    if (g->state == FLYING) return found(conflict, ATTUNE_HOST_READ_OF_FLYING, at, g->writer, g->write_line);
    if (!after_write(shared, g, warp, lanes))
      return found(conflict, g->state == LANDED ? ATTUNE_HOST_READ_OF_LANDED : ATTUNE_HOST_READ_OF_WRITTEN, at,
                   g->writer, g->write_line);
    if (g->read_time < shared->block_time) g->read_warps = 0;
    if (g->read_time < shared->warp_time[warp] || g->read_warp != warp) g->read_lanes = 0;
    g->read_warps |= 1u << warp;
    g->read_lanes |= lanes;
    g->read_warp = (uint8_t)warp;
    g->read_time = shared->time;
    g->read_line = line;
  }
  return true;
}

/* A thread, other than this one, that has read the granule and is not ordered before it by a barrier; or -1. */
static int other_reader(const attune_host_shared *shared, const attune_host_granule *g, int thread) {
  int warp = thread / 32;
  uint32_t warps = g->read_time < shared->block_time ? 0 : g->read_warps & ~(1u << warp);
  uint32_t lanes =
      g->read_warp != warp || g->read_time < shared->warp_time[warp] ? 0 : g->read_lanes & ~(1u << thread % 32);
  if (lanes) return warp * 32 + __builtin_ctz(lanes);
  if (!warps) return -1;
  return warps >> g->read_warp & 1 ? g->read_warp * 32 + __builtin_ctz(g->read_lanes) : __builtin_ctz(warps) * 32;
}

static bool overwrite(attune_host_shared *shared, attune_host_conflict *conflict, uint32_t at, int thread, int line,
                      uint8_t state) {
  attune_host_granule *g = &shared->granules[at / 4];
  if (g->state == FLYING) return found(conflict, ATTUNE_HOST_WRITE_OF_FLYING, at, g->writer, g->write_line);
  if (!after_write(shared, g, thread / 32, 1u << thread % 32))
    return found(conflict, g->state == LANDED ? ATTUNE_HOST_WRITE_OF_LANDED : ATTUNE_HOST_WRITE_OF_WRITTEN, at,
                 g->writer, g->write_line);
  int reader = other_reader(shared, g, thread);
  if (reader >= 0)
    return found(conflict, ATTUNE_HOST_WRITE_OF_READ, at, reader, reader / 32 == g->read_warp ? g->read_line : 0);
  *g =
      (attune_host_granule){.write_time = shared->time, .write_line = line, .writer = (uint16_t)thread, .state = state};
  return true;
}

bool attune_host_shared_write(attune_host_shared *shared, attune_host_conflict *conflict, uint32_t offset,
                              uint32_t size, int thread, int line) {
  if (!place(shared, conflict, offset, size)) return false;
  for (uint32_t at = offset; at < offset + size; at += 4)
    if (!overwrite(shared, conflict, at, thread, line, STORED)) return false;
  return true;
}

bool attune_host_shared_depart(attune_host_shared *shared, attune_host_conflict *conflict, uint32_t offset, int thread,
                               int line) {
  if (!place(shared, conflict, offset, 16)) return false;
  for (uint32_t at = offset; at < offset + 16; at += 4)
    if (!overwrite(shared, conflict, at, thread, line, FLYING)) return false;
  return true;
}

void attune_host_shared_land(attune_host_shared *shared, uint32_t offset) {
  for (uint32_t at = offset; at < offset + 16; at += 4) {
    attune_host_granule *g = &shared->granules[at / 4];
    g->state = LANDED;
    g->write_time = shared->time;
  }
}
