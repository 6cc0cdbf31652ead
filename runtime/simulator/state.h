/* Private to runtime/simulator/: the state of one running block, or of the blocks of one cluster, which are its parts.
 * Threads, warps and mbarriers are numbered across the cluster; each part has its own piece of the shared memory. */
#ifndef ATTUNE_HOST_STATE_H
#define ATTUNE_HOST_STATE_H

#include <stdarg.h>

#include "runtime/simulator/block.h"
#include "runtime/simulator/fiber.h"
#include "runtime/simulator/registers.h"
#include "runtime/simulator/shared.h"

enum { ATTUNE_HOST_STORES_MAX = 64 };

typedef struct {
  uint32_t to; /* offset in shared memory */
  int valid, line;
  uint64_t group; /* how many groups its thread had closed before */
  const void *from;
  bool landed; /* its bytes have arrived; its thread need not know */
} attune_host_copy;

typedef enum {
  ATTUNE_HOST_READY,
  ATTUNE_HOST_AT_COLLECTIVE,
  ATTUNE_HOST_AT_BARRIER,
  ATTUNE_HOST_AT_CLUSTER_BARRIER,
  ATTUNE_HOST_AT_MBARRIER,
  ATTUNE_HOST_EXITED
} attune_host_lane_state;

typedef struct {
  attune_fiber fiber;
  attune_host_block *block;
  int index;        /* among all that run together */
  int part, thread; /* which block of the cluster; in that block */
  attune_host_lane_state state;
  int line; /* where it waits */
  const unsigned *in;
  unsigned *out;
  attune_host_copy *copies; /* those not waited for are first .. count - 1, in order of issue */
  int first, count, capacity;
  uint64_t groups;                    /* closed so far */
  int mbarrier;                       /* that it waits for */
  struct attune_host_product product; /* the one it arrived with */
  attune_host_holds *holds;           /* NULL: none yet */
} attune_host_lane;

typedef struct {
  uint32_t ready; /* lanes that can run, as bits */
  uint32_t arrived;
  int operation, line; /* of the collective that lanes have arrived at */
} attune_host_warp;

/* A thread's last wait for an mbarrier. */
typedef struct {
  uint32_t time; /* 0: it never waited */
  int32_t phase;
  int32_t line;
} attune_host_waited;

/* A thread's last arrival at another part's mbarrier. */
typedef struct {
  uint32_t time; /* 0: there was none */
  int32_t line;
} attune_host_sent;

typedef struct {
  uint32_t offset;
  int arrivals, pending; /* of a phase; of the current one, still to come */
  uint32_t phase;        /* completed ones */
  int64_t expected;      /* bytes of the current phase */
  uint32_t init_time;
  int init_thread, init_line;
  bool fenced, published; /* by its thread; to the whole cluster */
} attune_host_mbarrier;

/* A tile that load_tile has issued and whose phase has not completed. */
typedef struct {
  uint32_t to, bytes;
  int mbarrier, line, thread;
  int at[4];
  const struct attune_tensor_map *map;
  bool arrived; /* its bytes are there; nobody need know */
} attune_host_tile;

/* A tile that store_tile has issued and that its thread has not waited for. */
typedef struct {
  uint32_t from, bytes;
  int line, thread;
} attune_host_stored_tile;

/* A barrier of the block or of the cluster. */
typedef struct {
  int arrived, line;
} attune_host_meeting;

typedef struct {
  int threads, arrived, line; /* arrived 0: nobody is there */
  uint32_t warps, waiting;    /* as bits */
} attune_host_named;

typedef struct attune_host_queue attune_host_queue; /* products in flight: warpgroup.c */

typedef struct {
  int arrived, operation, line; /* warps at a collective of the warpgroup */
  int registers;                /* of a thread */
  int claim;                    /* waits for so many; or 0 */
  bool fenced;
  attune_host_queue *queue;
} attune_host_group;

struct attune_host_block {
  const attune_host_grid *grid;
  int index;        /* in the grid; of the first part */
  int parts;        /* blocks of the cluster */
  int part_threads; /* of each */
  int threads;      /* of all */
  int capacity;
  uint64_t random; /* 0: everything in order */
  attune_host_lane *lanes;
  attune_host_warp warps[ATTUNE_HOST_WARPS_MAX];
  attune_host_mbarrier mbarriers[ATTUNE_HOST_MBARRIERS_MAX];
  int mbarrier_count;
  attune_host_waited *waited; /* (mbarriers, threads) */
  attune_host_sent *sent;     /* of each thread */
  attune_host_tile *tiles;    /* in flight */
  int tile_count, tile_capacity;
  attune_host_stored_tile stores[ATTUNE_HOST_STORES_MAX]; /* whose source is still being read */
  int store_count;
  attune_host_named named[ATTUNE_HOST_PARTS_MAX][ATTUNE_HOST_NAMED_MAX];
  attune_host_group groups[ATTUNE_HOST_GROUPS_MAX];
  int free_registers[ATTUNE_HOST_PARTS_MAX];
  uint32_t products;    /* issued so far */
  uint32_t ready_warps; /* those that have a lane that can run */
  attune_host_meeting barriers[ATTUNE_HOST_PARTS_MAX], cluster_barrier;
  int exited[ATTUNE_HOST_PARTS_MAX];
  attune_host_lane *running;
  attune_fiber home; /* the operating-system thread */
  attune_host_shared shared;
  unsigned char *stacks;
  size_t stacks_size;
  attune_status status;
  char *message;
};

/* Where the part's address lies in the shared memory of all; out of bounds, if it is in none. */
static inline uint32_t attune_host_offset(const attune_host_block *block, int part, unsigned address) {
  const uint32_t offset = address - ATTUNE_HOST_SHARED_BASE, pitch = block->shared.pitch;
  return (uint32_t)part * pitch + (offset < pitch ? offset : pitch - 1);
}

/* schedule.c */
extern _Thread_local attune_host_block *attune_host_current; /* what this operating-system thread runs, or NULL */
/* The next number of the block's sequence; never called where random is 0. */
uint64_t attune_host_draw(attune_host_block *block);
/* The lane to run next, of those that can: of the same warp first, now and then of another if the schedule is random.
 */
attune_host_lane *attune_host_next_lane(attune_host_block *block);
/* Lets others run; returns when the running lane is made ready again. */
void attune_host_suspend(attune_host_block *block);
/* Makes every lane of the warp ready that is at a collective. */
void attune_host_release_warp(attune_host_block *block, int warp);
void attune_host_release_part(attune_host_block *block, int part);
void attune_host_wake(attune_host_block *block, int thread);

/* mbarrier.c */
void attune_host_mbarrier_init(unsigned barrier, int arrivals, int line);
void attune_host_mbarrier_init_fence(int line);
/* A cluster barrier has been passed. */
void attune_host_publish_mbarriers(attune_host_block *block);
void attune_host_mbarrier_arrive(unsigned barrier, int bytes, int line);
void attune_host_mbarrier_arrive_at(unsigned barrier, int part, int line);
void attune_host_mbarrier_wait(unsigned barrier, int parity, int line);
void attune_host_load_tile(unsigned to, const struct attune_tensor_map *map, const int at[4], unsigned barrier,
                           int line);
void attune_host_load_tile_multicast(unsigned to, const struct attune_tensor_map *map, const int at[4],
                                     unsigned barrier, unsigned parts, int line);
/* A tile is copied to or from the address: what: "a tile's load", "a tile's store". */
void attune_host_check_box(attune_host_block *block, const struct attune_tensor_map *map, unsigned address,
                           const char *what, int line);
/* store.c */
void attune_host_store_tile(const struct attune_tensor_map *map, const int at[4], unsigned from, int line);
void attune_host_finish_stores(int line);
void attune_host_fence_async(int line);
/* From here on the block keeps rows of what happened before what. */
void attune_host_start_order(attune_host_block *block, int line);

/* named.c, warpgroup.c: all lanes of the warp have arrived; false: they wait on. */
bool attune_host_named_arrive(attune_host_block *block, int warp);
bool attune_host_group_arrive(attune_host_block *block, int warp);
void attune_host_hold_registers(const void *at, int words, int line);
void attune_host_groups_reset(attune_host_block *block);
void attune_host_groups_release(attune_host_block *block);
/* The running lane leaves the kernel: with no product in flight, and a block's last one with no tile and no arrival of
 * another block's that may still come. */
void attune_host_check_exit(attune_host_block *block);

/* Ends the block with a report; never returns to the kernel. line 0: not known. */
_Noreturn void attune_host_fault(attune_host_block *block, int thread, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
_Noreturn void attune_host_fault_conflict(attune_host_block *block, const attune_host_conflict *conflict, int line,
                                          const char *what, unsigned address, unsigned size);
/* A thread and a place in shared memory in words: "thread 3", "offset 64"; with the block where there are several. */
typedef struct {
  char text[48];
} attune_host_words;
attune_host_words attune_host_thread(const attune_host_block *block, int thread);
attune_host_words attune_host_place(const attune_host_block *block, uint32_t offset);
/* stuck.c: bytes of the tiles that are being loaded and will arrive at the mbarrier. */
int64_t attune_host_bytes_under_way(const attune_host_block *block, int mbarrier);
/* Nobody can run and somebody has not exited: says who waits for whom. */
_Noreturn void attune_host_fault_stuck(attune_host_block *block);
const char *attune_host_operation_name(int operation);

#endif
