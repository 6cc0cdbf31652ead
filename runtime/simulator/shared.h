/* A block's shared memory as the simulator sees it, or, in pieces, that of the blocks of a cluster: bytes that start
 * poisoned, and beside every four of them what is needed to check the next access: who wrote, who has read since, and
 * whether an asynchronous copy is under way.
 *
 * The order between accesses is exact, not sampled (host_order.h). A race is therefore found whichever way the schedule
 * happened to run. */
#ifndef ATTUNE_SIMULATOR_SHARED_H
#define ATTUNE_SIMULATOR_SHARED_H

#include "runtime/attune.h"
#include "runtime/simulator/order.h"

typedef enum {
  ATTUNE_SIMULATOR_NO_CONFLICT,
  ATTUNE_SIMULATOR_OUT_OF_BOUNDS,
  ATTUNE_SIMULATOR_MISALIGNED,
  ATTUNE_SIMULATOR_UNWRITTEN,       /* a read of bytes that nobody wrote */
  ATTUNE_SIMULATOR_READ_OF_WRITTEN, /* a read of what another thread wrote, no barrier between */
  ATTUNE_SIMULATOR_READ_OF_LANDED,  /* the same of an asynchronous copy that its thread has waited for */
  ATTUNE_SIMULATOR_READ_OF_FLYING,  /* a read of an asynchronous copy that nobody has waited for */
  ATTUNE_SIMULATOR_READ_OF_TILE,    /* a read of a tile whose mbarrier the reader has not waited for */
  ATTUNE_SIMULATOR_WRITE_OF_WRITTEN,
  ATTUNE_SIMULATOR_WRITE_OF_LANDED,
  ATTUNE_SIMULATOR_WRITE_OF_FLYING,
  ATTUNE_SIMULATOR_WRITE_OF_TILE,
  ATTUNE_SIMULATOR_WRITE_OF_READ,    /* a write of what another thread has read, no barrier between */
  ATTUNE_SIMULATOR_WRITE_OF_OPERAND, /* a write of what a product reads, or has read with no barrier since its wait */
  ATTUNE_SIMULATOR_WRITE_OF_STORED,  /* a write of what a tile's store reads, or has read with no barrier since */
  ATTUNE_SIMULATOR_UNFENCED,         /* an asynchronous access to what a thread stored, no proxy fence between */
  ATTUNE_SIMULATOR_UNFENCED_READ,    /* a tile over what a thread read plainly, no proxy fence between */
  ATTUNE_SIMULATOR_ON_MBARRIER       /* a plain access to an mbarrier's bytes */
} attune_simulator_conflict_kind;

typedef struct {
  attune_simulator_conflict_kind kind;
  uint32_t offset;  /* of the four bytes concerned */
  int thread, line; /* of the other access; line 0: not known */
  int mbarrier;     /* that the tile lands on */
  bool under_way;   /* the tile, or the product or store that reads */
} attune_simulator_conflict;

typedef struct attune_simulator_granule attune_simulator_granule;

typedef struct {
  unsigned char *bytes;
  attune_simulator_granule *granules;
  uint32_t epoch; /* counts blocks */
  uint32_t size;  /* of a piece */
  uint32_t pitch; /* from a piece to the next; a power of two, so that an offset tells its place in its piece */
  uint32_t capacity;
  attune_simulator_order order;
} attune_simulator_shared;

/* Poisoned and forgotten, so many pieces of size bytes, for that many threads. */
attune_status attune_simulator_shared_reset(attune_simulator_shared *shared, uint32_t size, int pieces, int threads);
void attune_simulator_shared_release(attune_simulator_shared *shared);

/* Each checks one access of size bytes (a power of two, 4..16) and records it; false: *conflict says what is wrong.
 * Bytes are the caller's to move. lanes: which lanes of the warp read, as bits; a matrix load reads for all of them. */
bool attune_simulator_shared_read(attune_simulator_shared *shared, attune_simulator_conflict *conflict, uint32_t offset,
                                  uint32_t size, int warp, uint32_t lanes, int line);
bool attune_simulator_shared_write(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                   uint32_t offset, uint32_t size, int thread, int line);
/* An asynchronous write of 16 bytes begins; and ends, as its thread's wait returns. */
bool attune_simulator_shared_depart(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                    uint32_t offset, int thread, int line);
void attune_simulator_shared_land(attune_simulator_shared *shared, uint32_t offset);

/* The eight bytes become an mbarrier; and which one is there, or -1. */
bool attune_simulator_shared_set_mbarrier(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                          uint32_t offset, int thread, int mbarrier, int line);
int attune_simulator_shared_mbarrier(const attune_simulator_shared *shared, uint32_t offset);

/* A tile departs for `size` bytes, and lands as its mbarrier's phase completes. */
bool attune_simulator_shared_depart_tile(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                         uint32_t offset, uint32_t size, int thread, int mbarrier, int line);
void attune_simulator_shared_land_tile(attune_simulator_shared *shared, uint32_t offset, uint32_t size);

/* A thread's store of a tile starts to read `size` bytes; and has read them, as it is waited for. */
bool attune_simulator_shared_start_store(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                         uint32_t offset, uint32_t size, int thread, int line);
void attune_simulator_shared_end_store(attune_simulator_shared *shared, uint32_t offset, uint32_t size, int thread);

/* A product of the warpgroup starts to read 16 bytes at each of the offsets; and has read them, as it is waited for.
 * number: of the product, counted up from 1 in the block. */
bool attune_simulator_shared_start_product(attune_simulator_shared *shared, attune_simulator_conflict *conflict,
                                           const uint32_t *offsets, int count, int group, uint32_t number, int line);
void attune_simulator_shared_end_product(attune_simulator_shared *shared, const uint32_t *offsets, int count, int group,
                                         uint32_t number);

#endif
