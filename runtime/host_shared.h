/* A block's shared memory as the host device sees it: bytes that start poisoned, and beside every four of them what is
 * needed to judge the next access: who wrote, who has read since, and whether an asynchronous copy is under way.
 *
 * The order between accesses is exact, not sampled: block barriers order all threads, warp barriers the lanes of one
 * warp, and nothing else orders anything. A race is therefore found whichever way the schedule happened to run. */
#ifndef ATTUNE_HOST_SHARED_H
#define ATTUNE_HOST_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/attune.h"

enum { ATTUNE_HOST_WARPS_MAX = 32 };

typedef enum {
  ATTUNE_HOST_NO_CONFLICT,
  ATTUNE_HOST_OUT_OF_BOUNDS,
  ATTUNE_HOST_MISALIGNED,
  ATTUNE_HOST_UNWRITTEN,       /* a read of bytes that nobody wrote */
  ATTUNE_HOST_READ_OF_WRITTEN, /* a read of what another thread wrote, no barrier between */
  ATTUNE_HOST_READ_OF_LANDED,  /* the same of an asynchronous copy that its thread has waited for */
  ATTUNE_HOST_READ_OF_FLYING,  /* a read of an asynchronous copy that nobody has waited for */
  ATTUNE_HOST_WRITE_OF_WRITTEN,
  ATTUNE_HOST_WRITE_OF_LANDED,
  ATTUNE_HOST_WRITE_OF_FLYING,
  ATTUNE_HOST_WRITE_OF_READ /* a write of what another thread has read, no barrier between */
} attune_host_conflict_kind;

typedef struct {
  attune_host_conflict_kind kind;
  uint32_t offset;  /* of the four bytes concerned */
  int thread, line; /* of the other access; line 0: not known */
} attune_host_conflict;

typedef struct attune_host_granule attune_host_granule;

typedef struct {
  unsigned char *bytes;
  attune_host_granule *granules;
  uint32_t size, capacity;
  uint32_t time;                             /* counts barriers of any kind; accesses are stamped with it */
  uint32_t block_time;                       /* of the last block barrier */
  uint32_t warp_time[ATTUNE_HOST_WARPS_MAX]; /* of the last barrier that ordered this warp's lanes */
} attune_host_shared;

/* Poisoned and forgotten, size bytes large. */
attune_status attune_host_shared_reset(attune_host_shared *shared, uint32_t size);
void attune_host_shared_release(attune_host_shared *shared);

void attune_host_shared_block_barrier(attune_host_shared *shared);
void attune_host_shared_warp_barrier(attune_host_shared *shared, int warp);

/* Each judges one access of size bytes (a power of two, 4..16) and records it; false: *conflict says what is wrong.
 * Bytes are the caller's to move. lanes: which lanes of the warp read, as bits; a matrix load reads for all of them. */
bool attune_host_shared_read(attune_host_shared *shared, attune_host_conflict *conflict, uint32_t offset, uint32_t size,
                             int warp, uint32_t lanes, int line);
bool attune_host_shared_write(attune_host_shared *shared, attune_host_conflict *conflict, uint32_t offset,
                              uint32_t size, int thread, int line);
/* An asynchronous write of 16 bytes begins; and ends, as its thread's wait returns. */
bool attune_host_shared_depart(attune_host_shared *shared, attune_host_conflict *conflict, uint32_t offset, int thread,
                               int line);
void attune_host_shared_land(attune_host_shared *shared, uint32_t offset);

#endif
