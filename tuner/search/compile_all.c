/* Compiles many kernels at once on threads, while the caller's thread shows how far they are. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tuner/search/search.h"

enum { MOST_THREADS = 256, TICK_NANOSECONDS = 100 * 1000 * 1000 };

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t moved; /* a job is done */
  attune_compile_job *jobs;
  int count, begun, done, running; /* running: threads */
  bool stop;
  attune_store *store;
  const char *arch;
} pool;

static void compile(pool *pool, attune_compile_job *job) {
  double start = attune_now();
  job->status = attune_kernel_get(&job->kernel, NULL, pool->store, job->config, job->problem, pool->arch, false);
  job->seconds = attune_now() - start;
  if (job->status != ATTUNE_OK) snprintf(job->message, sizeof job->message, "%s", attune_message());
}

static void *work(void *user) {
  pool *pool = user;
  pthread_mutex_lock(&pool->lock);
  while (!pool->stop && pool->begun < pool->count) {
    attune_compile_job *job = &pool->jobs[pool->begun++];
    pthread_mutex_unlock(&pool->lock);
    compile(pool, job);
    pthread_mutex_lock(&pool->lock);
    pool->done++;
    pthread_cond_signal(&pool->moved);
  }
  pool->running--;
  pthread_cond_signal(&pool->moved);
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

static void wait_a_moment(pool *pool) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += TICK_NANOSECONDS;
  if (until.tv_nsec >= 1000 * 1000 * 1000) {
    until.tv_nsec -= 1000 * 1000 * 1000;
    until.tv_sec++;
  }
  pthread_cond_timedwait(&pool->moved, &pool->lock, &until);
}

void attune_compile_all(attune_compile_job *jobs, int count, attune_store *store, const char *arch, int threads,
                        attune_compile_tick *tick, void *user) {
  pool pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
               .moved = PTHREAD_COND_INITIALIZER,
               .jobs = jobs,
               .count = count,
               .store = store,
               .arch = arch};
  pthread_t thread[MOST_THREADS];
  int started = 0;
  for (int i = 0; i < count; i++) {
    jobs[i].kernel = NULL;
    jobs[i].status = ATTUNE_OK;
    jobs[i].seconds = 0;
    jobs[i].message[0] = '\0';
  }
  if (threads > count) threads = count;
  if (threads > MOST_THREADS) threads = MOST_THREADS;

  pthread_mutex_lock(&pool.lock);
  while (started < threads && pthread_create(&thread[started], NULL, work, &pool) == 0)
    started++;
  pool.running = started;
  if (started == 0) { /* no thread to be had: the caller's does the work */
    pool.running = 1;
    pthread_mutex_unlock(&pool.lock);
    work(&pool);
    pthread_mutex_lock(&pool.lock);
  }
  while (pool.running > 0) {
    int done = pool.done;
    pthread_mutex_unlock(&pool.lock);
    bool stop = tick(user, done);
    pthread_mutex_lock(&pool.lock);
    if (stop) pool.stop = true;
    if (pool.running > 0) wait_a_moment(&pool);
  }
  pthread_mutex_unlock(&pool.lock);
  for (int i = 0; i < started; i++)
    pthread_join(thread[i], NULL);
}
