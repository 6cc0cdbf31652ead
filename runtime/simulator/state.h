/* Private to runtime/simulator/: the state of one running block, or of the blocks of one cluster, which are its parts.
 * Threads, warps and mbarriers are numbered across the cluster; each part has its own piece of the shared memory. */
#ifndef ATTUNE_SIMULATOR_STATE_H
#define ATTUNE_SIMULATOR_STATE_H

#include <stdarg.h>

#include "runtime/simulator/block.h"
#include "runtime/simulator/fiber.h"
#include "runtime/simulator/registers.h"
#include "runtime/simulator/shared.h"

enum { ATTUNE_SIMULATOR_STORES_MAX = 64 };

typedef struct {
  uint32_t to; /* offset in shared memory */
  int valid, line;
  uint64_t group; /* how many groups its thread had closed before */
  const void *from;
  bool landed; /* its bytes have arrived; its thread need not know */
} attune_simulator_copy;

typedef enum {
  ATTUNE_SIMULATOR_READY,
  ATTUNE_SIMULATOR_AT_COLLECTIVE,
  ATTUNE_SIMULATOR_AT_BARRIER,
  ATTUNE_SIMULATOR_AT_CLUSTER_BARRIER,
  ATTUNE_SIMULATOR_AT_MBARRIER,
  ATTUNE_SIMULATOR_EXITED
} attune_simulator_lane_state;

typedef struct {
  attune_fiber fiber;
  attune_simulator_block *block;
  int index;        /* among all that run together */
  int part, thread; /* which block of the cluster; in that block */
  attune_simulator_lane_state state;
  int line; /* where it waits */
  const unsigned *in;
  unsigned *out;
  attune_simulator_copy *copies; /* those not waited for are first .. count - 1, in order of issue */
  int first, count, capacity;
  uint64_t groups;                         /* closed so far */
  int mbarrier;                            /* that it waits for */
  struct attune_simulator_product product; /* the one it arrived with */
  attune_simulator_holds *holds;           /* NULL: none yet */
} attune_simulator_lane;

typedef struct {
  uint32_t ready; /* lanes that can run, as bits */
  uint32_t arrived;
  int operation, line; /* of the collective that lanes have arrived at */
} attune_simulator_warp;

/* A thread's last wait for an mbarrier. */
typedef struct {
  uint32_t time; /* 0: it never waited */
  int32_t phase;
  int32_t line;
} attune_simulator_waited;

/* A thread's last arrival at another part's mbarrier. */
typedef struct {
  uint32_t time; /* 0: there was none */
  int32_t line;
} attune_simulator_sent;

typedef struct {
  uint32_t offset;
  int arrivals, pending; /* of a phase; of the current one, still to come */
  uint32_t phase;        /* completed ones */
  int64_t expected;      /* bytes of the current phase */
  uint32_t init_time;
  int init_thread, init_line;
  bool fenced, published; /* by its thread; to the whole cluster */
} attune_simulator_mbarrier;

/* A tile that load_tile has issued and whose phase has not completed. */
typedef struct {
  uint32_t to, bytes;
  int mbarrier, line, thread;
  int at[4];
  const struct attune_tensor_map *map;
  bool arrived; /* its bytes are there; nobody need know */
} attune_simulator_tile;

/* A tile that store_tile has issued and that its thread has not waited for. */
typedef struct {
  uint32_t from, bytes;
  int line, thread;
} attune_simulator_stored_tile;

/* A barrier of the block or of the cluster. */
typedef struct {
  int arrived, line;
} attune_simulator_meeting;

typedef struct {
  int threads, arrived, line; /* arrived 0: nobody is there */
  uint32_t warps, waiting;    /* as bits */
} attune_simulator_named;

typedef struct attune_simulator_queue attune_simulator_queue; /* products in flight: warpgroup.c */

typedef struct {
  int arrived, operation, line; /* warps at a collective of the warpgroup */
  int registers;                /* of a thread */
  int claim;                    /* waits for so many; or 0 */
  bool fenced;
  attune_simulator_queue *queue;
} attune_simulator_group;

struct attune_simulator_block {
  const attune_simulator_grid *grid;
  int index;        /* in the grid; of the first part */
  int parts;        /* blocks of the cluster */
  int part_threads; /* of each */
  int threads;      /* of all */
  int capacity;
  uint64_t random; /* 0: everything in order */
  attune_simulator_lane *lanes;
  attune_simulator_warp warps[ATTUNE_SIMULATOR_WARPS_MAX];
  attune_simulator_mbarrier mbarriers[ATTUNE_SIMULATOR_MBARRIERS_MAX];
  int mbarrier_count;
  attune_simulator_waited *waited; /* (mbarriers, threads) */
  attune_simulator_sent *sent;     /* of each thread */
  attune_simulator_tile *tiles;    /* in flight */
  int tile_count, tile_capacity;
  attune_simulator_stored_tile stores[ATTUNE_SIMULATOR_STORES_MAX]; /* whose source is still being read */
  int store_count;
  attune_simulator_named named[ATTUNE_SIMULATOR_PARTS_MAX][ATTUNE_SIMULATOR_NAMED_MAX];
  attune_simulator_group groups[ATTUNE_SIMULATOR_GROUPS_MAX];
  int free_registers[ATTUNE_SIMULATOR_PARTS_MAX];
  uint32_t products;    /* issued so far */
  uint32_t ready_warps; /* those that have a lane that can run */
  attune_simulator_meeting barriers[ATTUNE_SIMULATOR_PARTS_MAX], cluster_barrier;
  int exited[ATTUNE_SIMULATOR_PARTS_MAX];
  attune_simulator_lane *running;
  attune_fiber home; /* the operating-system thread */
  attune_simulator_shared shared;
  unsigned char *stacks;
  size_t stacks_size;
  attune_status status;
  char *message;
};

/* Where the part's address lies in the shared memory of all; out of bounds, if it is in none. */
static inline uint32_t attune_simulator_offset(const attune_simulator_block *block, int part, unsigned address) {
  const uint32_t offset = address - ATTUNE_SIMULATOR_SHARED_BASE, pitch = block->shared.pitch;
  return (uint32_t)part * pitch + (offset < pitch ? offset : pitch - 1);
}

/* schedule.c */
extern _Thread_local attune_simulator_block
    *attune_simulator_current; /* what this operating-system thread runs, or NULL */
/* The next number of the block's sequence; never called where random is 0. */
uint64_t attune_simulator_draw(attune_simulator_block *block);
/* The lane to run next, of those that can: of the same warp first, now and then of another if the schedule is random.
 */
attune_simulator_lane *attune_simulator_next_lane(attune_simulator_block *block);
/* Lets others run; returns when the running lane is made ready again. */
void attune_simulator_suspend(attune_simulator_block *block);
/* Makes every lane of the warp ready that is at a collective. */
void attune_simulator_release_warp(attune_simulator_block *block, int warp);
void attune_simulator_release_part(attune_simulator_block *block, int part);
void attune_simulator_wake(attune_simulator_block *block, int thread);

/* mbarrier.c */
void attune_simulator_mbarrier_init(unsigned barrier, int arrivals, int line);
void attune_simulator_mbarrier_init_fence(int line);
/* A cluster barrier has been passed. */
void attune_simulator_publish_mbarriers(attune_simulator_block *block);
void attune_simulator_mbarrier_arrive(unsigned barrier, int bytes, int line);
void attune_simulator_mbarrier_arrive_at(unsigned barrier, int part, int line);
void attune_simulator_mbarrier_wait(unsigned barrier, int parity, int line);
void attune_simulator_load_tile(unsigned to, const struct attune_tensor_map *map, const int at[4], unsigned barrier,
                                int line);
void attune_simulator_load_tile_multicast(unsigned to, const struct attune_tensor_map *map, const int at[4],
                                          unsigned barrier, unsigned parts, int line);
/* A tile is copied to or from the address: what: "a tile's load", "a tile's store". */
void attune_simulator_check_box(attune_simulator_block *block, const struct attune_tensor_map *map, unsigned address,
                                const char *what, int line);
/* store.c */
void attune_simulator_store_tile(const struct attune_tensor_map *map, const int at[4], unsigned from, int line);
void attune_simulator_finish_stores(int line);
void attune_simulator_fence_async(int line);
/* From here on the block keeps rows of what happened before what. */
void attune_simulator_start_order(attune_simulator_block *block, int line);

/* named.c, warpgroup.c: all lanes of the warp have arrived; false: they wait on. */
bool attune_simulator_named_arrive(attune_simulator_block *block, int warp);
bool attune_simulator_group_arrive(attune_simulator_block *block, int warp);
void attune_simulator_hold_registers(const void *at, int words, int line);
void attune_simulator_groups_reset(attune_simulator_block *block);
void attune_simulator_groups_release(attune_simulator_block *block);
/* The running lane leaves the kernel: with no product in flight, and a block's last one with no tile and no arrival of
 * another block's that may still come. */
void attune_simulator_check_exit(attune_simulator_block *block);

/* Ends the block with a report; never returns to the kernel. line 0: not known. */
_Noreturn void attune_simulator_fault(attune_simulator_block *block, int thread, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
_Noreturn void attune_simulator_fault_conflict(attune_simulator_block *block, const attune_simulator_conflict *conflict,
                                               int line, const char *what, unsigned address, unsigned size);
/* A thread and a place in shared memory in words: "thread 3", "offset 64"; with the block where there are several. */
typedef struct {
  char text[48];
} attune_simulator_words;
attune_simulator_words attune_simulator_thread(const attune_simulator_block *block, int thread);
attune_simulator_words attune_simulator_place(const attune_simulator_block *block, uint32_t offset);
/* stuck.c: bytes of the tiles that are being loaded and will arrive at the mbarrier. */
int64_t attune_simulator_bytes_under_way(const attune_simulator_block *block, int mbarrier);
/* Nobody can run and somebody has not exited: says who waits for whom. */
_Noreturn void attune_simulator_fault_stuck(attune_simulator_block *block);
const char *attune_simulator_operation_name(int operation);

#endif
