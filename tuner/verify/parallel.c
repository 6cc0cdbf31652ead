#include "tuner/verify/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

enum { THREADS_MAX = 256 };

int attune_cores(void) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int cores = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  return cores < THREADS_MAX ? cores : THREADS_MAX;
}

typedef struct {
  atomic_llong next;
  int64_t count, grain;
  attune_parallel_body *body;
  void *user;
} loop;

static void *work(void *argument) {
  loop *shared = argument;
  for (;;) {
    const int64_t begin = atomic_fetch_add(&shared->next, shared->grain);
    if (begin >= shared->count) return NULL;
    const int64_t left = shared->count - begin;
    shared->body(shared->user, begin, begin + (left < shared->grain ? left : shared->grain));
  }
}

void attune_parallel(int64_t count, int64_t grain, attune_parallel_body *body, void *user) {
  loop shared = {.count = count, .grain = grain, .body = body, .user = user};
  pthread_t threads[THREADS_MAX];
  int started = 0;
  const int64_t pieces = (count + grain - 1) / grain, cores = attune_cores();
  while (started + 1 < (pieces < cores ? pieces : cores) && pthread_create(&threads[started], NULL, work, &shared) == 0)
    started++;
  work(&shared);
  for (int i = 0; i < started; i++)
    pthread_join(threads[i], NULL);
}
