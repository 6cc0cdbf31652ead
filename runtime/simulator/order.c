#include "runtime/simulator/order.h"

#include <stdlib.h>
#include <string.h>

typedef int32_t vector __attribute__((vector_size(32)));

enum {
  ALL_OF_ITSELF = INT32_MAX, /* what a thread knows of its own accesses */
  NAMED_ROWS = ATTUNE_SIMULATOR_PARTS_MAX * ATTUNE_SIMULATOR_NAMED_MAX
};

void attune_simulator_order_reset(attune_simulator_order *order, int threads) {
  order->time = 0;
  order->live = false;
  order->threads = threads;
  memset(order->fences, 0, sizeof order->fences);
  attune_simulator_order_block_barrier(order); /* a stamp of 0 is before every barrier */
}

void attune_simulator_order_release(attune_simulator_order *order) {
  free(order->rows);
  order->rows = NULL;
  order->capacity = 0;
}

/* Rows: the threads', the mbarriers' (two each), the named barriers', the groups'. */
static int32_t *row(const attune_simulator_order *order, int index) {
  return order->rows + (size_t)index * (size_t)order->width;
}

int32_t *attune_simulator_order_open(const attune_simulator_order *order, int mbarrier) {
  return row(order, order->threads + 2 * mbarrier);
}

int32_t *attune_simulator_order_done(const attune_simulator_order *order, int mbarrier) {
  return row(order, order->threads + 2 * mbarrier + 1);
}

int32_t *attune_simulator_order_named(const attune_simulator_order *order, int part, int id) {
  return row(order, order->threads + 2 * ATTUNE_SIMULATOR_MBARRIERS_MAX + part * ATTUNE_SIMULATOR_NAMED_MAX + id);
}

static int32_t *row_of_group(const attune_simulator_order *order, int group) {
  return row(order, order->threads + 2 * ATTUNE_SIMULATOR_MBARRIERS_MAX + NAMED_ROWS + group);
}

static int32_t earlier(uint32_t stamp) {
  return (int32_t)stamp - 1;
}

/* Of the past only what warp barriers ordered has to be recorded: block barriers order everything. */
bool attune_simulator_order_start(attune_simulator_order *order) {
  if (order->live) return true;
  order->width = (ATTUNE_SIMULATOR_OF_THREAD + order->threads + 7) / 8 * 8;
  int rows = order->threads + 2 * ATTUNE_SIMULATOR_MBARRIERS_MAX + NAMED_ROWS + ATTUNE_SIMULATOR_GROUPS_MAX;
  size_t size = (size_t)rows * (size_t)order->width * sizeof *order->rows;
  if (size > order->capacity) {
    attune_simulator_order_release(order);
    order->rows = aligned_alloc(32, size);
    if (!order->rows) return false;
    order->capacity = size;
  }
  memset(order->rows, 0, size);
  for (int t = 0; t < order->threads; t++) {
    int32_t *warp = row(order, t) + ATTUNE_SIMULATOR_OF_THREAD + t / 32 * 32;
    for (int i = 0; i < 32; i++)
      warp[i] = i == t % 32 ? ALL_OF_ITSELF : earlier(order->warp_time[t / 32]);
  }
  memset(order->stale, 1, sizeof order->stale);
  order->live = true;
  return true;
}

void attune_simulator_order_join(const attune_simulator_order *order, int32_t *to, const int32_t *from) {
  vector *a = (vector *)(void *)to;
  const vector *b = (const vector *)(const void *)from;
  for (int i = 0; i < order->width / 8; i++) {
    vector larger = a[i] > b[i];
    a[i] = (a[i] & larger) | (b[i] & ~larger);
  }
}

static void meet(const attune_simulator_order *order, int32_t *to, const int32_t *from) {
  vector *a = (vector *)(void *)to;
  const vector *b = (const vector *)(const void *)from;
  for (int i = 0; i < order->width / 8; i++) {
    vector larger = a[i] > b[i];
    a[i] = (b[i] & larger) | (a[i] & ~larger);
  }
}

void attune_simulator_order_forget(const attune_simulator_order *order, int32_t *to) {
  memset(to, 0, (size_t)order->width * sizeof *to);
}

void attune_simulator_order_give(attune_simulator_order *order, int32_t *to, int warp, uint32_t lanes) {
  for (int i = 0; i < 32; i++)
    if (lanes >> i & 1) attune_simulator_order_join(order, to, row(order, warp * 32 + i));
  for (int i = 0; i < 32; i++)
    if (lanes >> i & 1) to[ATTUNE_SIMULATOR_OF_THREAD + warp * 32 + i] = (int32_t)order->time;
  order->time++;
}

void attune_simulator_order_take(attune_simulator_order *order, const int32_t *from, int warp, uint32_t lanes) {
  for (int i = 0; i < 32; i++)
    if (lanes >> i & 1) attune_simulator_order_join(order, row(order, warp * 32 + i), from);
  order->stale[warp / 4] = true;
}

void attune_simulator_order_block_barrier(attune_simulator_order *order) {
  order->block_time = ++order->time;
  for (int w = 0; w < ATTUNE_SIMULATOR_WARPS_MAX; w++)
    order->warp_time[w] = order->time;
}

void attune_simulator_order_warp_barrier(attune_simulator_order *order, int warp) {
  if (order->live) {
    int32_t *all = row(order, warp * 32); /* the first lane's row collects, and gets its own entry back */
    int32_t *own = all + ATTUNE_SIMULATOR_OF_THREAD + warp * 32;
    for (int i = 1; i < 32; i++)
      attune_simulator_order_join(order, all, row(order, warp * 32 + i));
    for (int i = 0; i < 32; i++)
      own[i] = (int32_t)order->time;
    for (int i = 1; i < 32; i++) {
      attune_simulator_order_join(order, row(order, warp * 32 + i), all);
      row(order, warp * 32 + i)[ATTUNE_SIMULATOR_OF_THREAD + warp * 32 + i] = ALL_OF_ITSELF;
    }
    own[0] = ALL_OF_ITSELF;
    order->stale[warp / 4] = true;
  }
  order->warp_time[warp] = ++order->time;
}

void attune_simulator_order_products_done(attune_simulator_order *order, int group) {
  for (int t = group * 128; t < group * 128 + 128; t++)
    row(order, t)[ATTUNE_SIMULATOR_OF_GROUP + group] = (int32_t)order->time;
  order->time++;
  order->stale[group] = true;
}

void attune_simulator_order_view(attune_simulator_order *order, int group) {
  if (!order->stale[group]) return;
  order->stale[group] = false;
  int32_t *view = row_of_group(order, group);
  memcpy(view, row(order, group * 128), (size_t)order->width * sizeof *view);
  for (int t = group * 128 + 1; t < group * 128 + 128; t++)
    meet(order, view, row(order, t));
}

static uint32_t larger(uint32_t a, uint32_t b) {
  return a > b ? a : b;
}

uint32_t attune_simulator_order_bound(const attune_simulator_order *order, const attune_simulator_viewer *viewer,
                                      int component) {
  uint32_t bound = order->block_time - 1;
  int thread = component - ATTUNE_SIMULATOR_OF_THREAD;
  if (viewer->group >= 0) return larger(bound, (uint32_t)row_of_group(order, viewer->group)[component]);
  if (thread >= 0 && thread / 32 == viewer->warp) {
    if (viewer->lanes == 1u << thread % 32) return UINT32_MAX;
    bound = larger(bound, order->warp_time[viewer->warp] - 1);
  }
  if (!order->live) return bound;
  uint32_t least = UINT32_MAX;
  for (uint32_t lanes = viewer->lanes; lanes != 0; lanes &= lanes - 1) {
    uint32_t known = (uint32_t)row(order, viewer->warp * 32 + __builtin_ctz(lanes))[component];
    if (known < least) least = known;
  }
  return larger(bound, least);
}

void attune_simulator_order_fence(attune_simulator_order *order, int thread) {
  uint32_t *fences = order->fences[thread];
  memmove(fences, fences + 1, (ATTUNE_SIMULATOR_FENCES - 1) * sizeof *fences);
  fences[ATTUNE_SIMULATOR_FENCES - 1] = ++order->time;
}

/* A write that is older than all fences that are kept may have had its own: it is not held against the thread. */
bool attune_simulator_order_fenced(const attune_simulator_order *order, int thread, uint32_t stamp, uint32_t bound) {
  const uint32_t *fences = order->fences[thread];
  if (fences[0] > stamp) return true;
  for (int i = 0; i < ATTUNE_SIMULATOR_FENCES; i++)
    if (fences[i] > stamp) return fences[i] <= bound;
  return false;
}
