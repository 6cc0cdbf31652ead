#include "runtime/simulator/runner.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "generator/base/status.h"
#include "runtime/simulator/order.h"

/* Every stack is two of a process's mappings, of which Linux allows 65,530. */
enum { WORKERS_MAX = 256, STACKS_MAX = 16384 };

struct attune_simulator_runner {
  pthread_mutex_t mutex;
  attune_simulator_block *idle[WORKERS_MAX];
  int idle_count;
};

typedef struct {
  attune_simulator_runner *runner;
  const attune_simulator_grid *grid;
  atomic_int next; /* cluster to run, which without clusters is a block */
  pthread_mutex_t mutex;
  atomic_int failed; /* lowest one with a fault; INT_MAX: none */
  attune_status status;
  char message[1024];
} launch;

int attune_simulator_cores(void) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (int)cores;
}

attune_status attune_simulator_runner_create(attune_simulator_runner **out) {
  attune_simulator_runner *runner = calloc(1, sizeof *runner);
  *out = runner;
  if (!runner) return attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory for the simulator");
  pthread_mutex_init(&runner->mutex, NULL);
  return ATTUNE_OK;
}

void attune_simulator_runner_destroy(attune_simulator_runner *runner) {
  if (!runner) return;
  for (int i = 0; i < runner->idle_count; i++)
    attune_simulator_block_destroy(runner->idle[i]);
  pthread_mutex_destroy(&runner->mutex);
  free(runner);
}

/* An idle place that is large enough, else a new one. */
static attune_status take(attune_simulator_block **out, attune_simulator_runner *runner, int threads) {
  *out = NULL;
  pthread_mutex_lock(&runner->mutex);
  for (int i = runner->idle_count - 1; i >= 0 && !*out; i--) {
    if (attune_simulator_block_threads(runner->idle[i]) < threads) continue;
    *out = runner->idle[i];
    runner->idle[i] = runner->idle[--runner->idle_count];
  }
  pthread_mutex_unlock(&runner->mutex);
  return *out ? ATTUNE_OK : attune_simulator_block_create(out, threads);
}

static void give(attune_simulator_runner *runner, attune_simulator_block *block) {
  pthread_mutex_lock(&runner->mutex);
  if (runner->idle_count < WORKERS_MAX && runner->idle_count * attune_simulator_block_threads(block) < STACKS_MAX) {
    runner->idle[runner->idle_count++] = block;
    block = NULL;
  }
  pthread_mutex_unlock(&runner->mutex);
  attune_simulator_block_destroy(block);
}

static void report(launch *l, int index, attune_status status, const char *message) {
  pthread_mutex_lock(&l->mutex);
  if (index < atomic_load(&l->failed)) {
    atomic_store(&l->failed, index);
    l->status = status;
    snprintf(l->message, sizeof l->message, "%s", message);
  }
  pthread_mutex_unlock(&l->mutex);
}

static int cluster_of(const attune_simulator_grid *grid) {
  return grid->cluster > 1 ? grid->cluster : 1;
}

/* They are handed out in order, so that when one fails all lower ones are done or under way. */
static void *work(void *argument) {
  launch *l = argument;
  attune_simulator_block *block;
  const int clusters = l->grid->blocks / cluster_of(l->grid);
  attune_status status = take(&block, l->runner, l->grid->threads * cluster_of(l->grid));
  if (status != ATTUNE_OK) {
    int index = atomic_fetch_add(&l->next, 1);
    if (index < clusters) report(l, index, status, attune_message());
    return NULL;
  }
  for (;;) {
    int index = atomic_fetch_add(&l->next, 1);
    if (index >= clusters || index > atomic_load(&l->failed)) break;
    char message[1024];
    status = attune_simulator_block_run(block, message, l->grid, index);
    if (status != ATTUNE_OK) report(l, index, status, message);
  }
  give(l->runner, block);
  return NULL;
}

/* The caller is one of the workers, and enough if no other could be started. */
static void run_all(launch *l, int threads_together) {
  pthread_t threads[WORKERS_MAX];
  int workers = attune_simulator_cores(), started = 0;
  const int clusters = l->grid->blocks / cluster_of(l->grid);
  pthread_mutex_init(&l->mutex, NULL);
  if (workers > STACKS_MAX / threads_together) workers = STACKS_MAX / threads_together;
  if (workers > clusters) workers = clusters;
  while (started < workers - 1 && pthread_create(&threads[started], NULL, work, l) == 0)
    started++;
  work(l);
  for (int i = 0; i < started; i++)
    pthread_join(threads[i], NULL);
  pthread_mutex_destroy(&l->mutex);
}

attune_status attune_simulator_run(attune_simulator_runner *runner, const attune_simulator_grid *grid) {
  if (grid->blocks < 1 || grid->threads < 32 || grid->threads > 1024 || grid->threads % 32 != 0)
    return attune_fail(ATTUNE_KERNEL_FAULT,
                       "%s: %d blocks of %d threads; the simulator runs whole warps, 32 to 1024 threads", grid->name,
                       grid->blocks, grid->threads);
  const int cluster = cluster_of(grid), threads_together = grid->threads * cluster;
  if (cluster > 1 && (cluster > ATTUNE_SIMULATOR_PARTS_MAX || grid->blocks % cluster != 0 || grid->threads % 128 != 0 ||
                      threads_together > 1024))
    return attune_fail(ATTUNE_KERNEL_FAULT,
                       "%s: %d blocks of %d threads in clusters of %d; the simulator runs whole clusters of up to %d"
                       " blocks, of whole warpgroups and up to 1024 threads together",
                       grid->name, grid->blocks, grid->threads, cluster, ATTUNE_SIMULATOR_PARTS_MAX);
  if (grid->shared_bytes < 0 || grid->shared_bytes > 1 << 20)
    return attune_fail(ATTUNE_KERNEL_FAULT, "%s: %d bytes of shared memory; the simulator has 0 to 1,048,576",
                       grid->name, grid->shared_bytes);
  attune_simulator_grid watched = *grid;
  watched.outputs = NULL;
  if (grid->blocks > 1) {
    const attune_status status = attune_simulator_outputs_create(&watched.outputs, grid->memory);
    if (status != ATTUNE_OK) return status;
  }
  launch l = {.runner = runner, .grid = &watched, .failed = INT_MAX, .status = ATTUNE_OK};
  run_all(&l, threads_together);
  /* A fault ends the launch, so that the blocks that came to write depend on the moment: it goes first. */
  if (l.status == ATTUNE_OK && watched.outputs &&
      !attune_simulator_outputs_apart(watched.outputs, l.message, grid->name))
    l.status = ATTUNE_KERNEL_FAULT;
  attune_simulator_outputs_destroy(watched.outputs);
  if (l.status == ATTUNE_OK) return ATTUNE_OK;
  return attune_fail(l.status, "%s", l.message);
}
