/* What happens before what in a running block, exactly: every synchronisation takes a stamp from one clock, and each
 * thread knows up to which stamp the accesses of every other come before what it does next.
 *
 * A block barrier orders everything where no cluster is, a warp barrier the lanes of one warp. Where a kernel
 * uses nothing else that is all there is to keep. Named barriers and mbarriers hand knowledge from thread to thread;
 * from the first one on, every thread has a row of stamps, one a component: each thread, and each agent that reads or
 * writes by itself. */
#ifndef ATTUNE_SIMULATOR_ORDER_H
#define ATTUNE_SIMULATOR_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  ATTUNE_SIMULATOR_WARPS_MAX = 32,
  ATTUNE_SIMULATOR_GROUPS_MAX = 8, /* warpgroups: four warps each */
  ATTUNE_SIMULATOR_MBARRIERS_MAX = 64,
  ATTUNE_SIMULATOR_NAMED_MAX = 16,
  ATTUNE_SIMULATOR_PARTS_MAX = 2, /* blocks of a cluster */
  ATTUNE_SIMULATOR_FENCES = 4,
  /* Components: the products of a warpgroup, the tiles that land on an mbarrier, a thread. */
  ATTUNE_SIMULATOR_OF_GROUP = 0,
  ATTUNE_SIMULATOR_OF_MBARRIER = ATTUNE_SIMULATOR_OF_GROUP + ATTUNE_SIMULATOR_GROUPS_MAX,
  ATTUNE_SIMULATOR_OF_THREAD = ATTUNE_SIMULATOR_OF_MBARRIER + ATTUNE_SIMULATOR_MBARRIERS_MAX
};

typedef struct {
  uint32_t time;                                  /* accesses are stamped with it */
  uint32_t block_time;                            /* of the last block barrier */
  uint32_t warp_time[ATTUNE_SIMULATOR_WARPS_MAX]; /* of the last barrier that ordered this warp's lanes */
  bool live;                                      /* rows are kept */
  int threads, width;
  int32_t *rows;
  size_t capacity;
  bool stale[ATTUNE_SIMULATOR_GROUPS_MAX]; /* the group's row is older than its threads' */
  uint32_t fences[32 * ATTUNE_SIMULATOR_WARPS_MAX]
                 [ATTUNE_SIMULATOR_FENCES]; /* the last proxy fences of a thread, oldest first */
} attune_simulator_order;

/* Whose view an access is checked against: lanes of a warp, or, group >= 0, all threads of a warpgroup. */
typedef struct {
  int warp;
  uint32_t lanes;
  int group;
} attune_simulator_viewer;

static inline attune_simulator_viewer attune_simulator_view_of(int thread) {
  return (attune_simulator_viewer){.warp = thread / 32, .lanes = 1u << thread % 32, .group = -1};
}

void attune_simulator_order_reset(attune_simulator_order *order, int threads);
void attune_simulator_order_release(attune_simulator_order *order);
/* From here on rows are kept; false: no memory. */
bool attune_simulator_order_start(attune_simulator_order *order);

void attune_simulator_order_block_barrier(attune_simulator_order *order);
void attune_simulator_order_warp_barrier(attune_simulator_order *order, int warp);

/* Rows of what threads meet at: an mbarrier's phase under way and its completed ones, a part's named barrier; 0 is its
 * block barrier. */
int32_t *attune_simulator_order_open(const attune_simulator_order *order, int mbarrier);
int32_t *attune_simulator_order_done(const attune_simulator_order *order, int mbarrier);
int32_t *attune_simulator_order_named(const attune_simulator_order *order, int part, int id);
void attune_simulator_order_forget(const attune_simulator_order *order, int32_t *row);
void attune_simulator_order_join(const attune_simulator_order *order, int32_t *to, const int32_t *from);
/* What the lanes know and have done enters the row; and what is in the row becomes known to them. */
void attune_simulator_order_give(attune_simulator_order *order, int32_t *row, int warp, uint32_t lanes);
void attune_simulator_order_take(attune_simulator_order *order, const int32_t *row, int warp, uint32_t lanes);
/* All threads of the warpgroup have waited for its products up to now. */
void attune_simulator_order_products_done(attune_simulator_order *order, int group);
/* Brings the group's row up to date, against which its products are checked. */
void attune_simulator_order_view(attune_simulator_order *order, int group);

/* Accesses of the component with this stamp or an older one are ordered before the viewer's next. */
uint32_t attune_simulator_order_bound(const attune_simulator_order *order, const attune_simulator_viewer *viewer,
                                      int component);
/* The thread's accesses until now are fenced from asynchronous ones that come to know of the fence. */
void attune_simulator_order_fence(attune_simulator_order *order, int thread);
/* Whether the thread has fenced since the stamp, and no later than the bound. */
bool attune_simulator_order_fenced(const attune_simulator_order *order, int thread, uint32_t stamp, uint32_t bound);

#endif
