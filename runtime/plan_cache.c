/* Plans by the bytes of their problems' keys. A plan has users, the references that callers hold, each with a reference
 * to the context (plan.c): a context outlives the plans in use, and those that are only remembered end with it. Users
 * and the table change under one lock. */
#include "runtime/plan_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/random.h"
#include "runtime/plan.h"

/* Each has its kernels loaded on the device. */
enum { PLANS_MAX = 256 };

typedef struct {
  uint64_t hash;
  char *key;
  size_t key_size;
  attune_plan *plan;
  uint64_t used; /* when, on the cache's clock */
} entry;

struct attune_plan_cache {
  pthread_mutex_t lock;
  uint64_t clock;
  int count;
  entry entries[PLANS_MAX];
};

attune_plan_cache *attune_plan_cache_create(void) {
  attune_plan_cache *cache = calloc(1, sizeof *cache);
  if (!cache) return NULL;
  if (pthread_mutex_init(&cache->lock, NULL) != 0) {
    free(cache);
    return NULL;
  }
  return cache;
}

static void free_plan(attune_plan *plan) {
  if (!plan) return;
  attune_program_destroy(plan->program);
  free(plan->explanation);
  free(plan);
}

void attune_plan_cache_destroy(attune_plan_cache *cache) {
  if (!cache) return;
  for (int i = 0; i < cache->count; i++) {
    free_plan(cache->entries[i].plan);
    free(cache->entries[i].key);
  }
  pthread_mutex_destroy(&cache->lock);
  free(cache);
}

static uint64_t hash_of(const attune_buffer *key) {
  uint64_t hash = key->length;
  for (size_t i = 0; i < key->length; i += sizeof(uint64_t)) {
    uint64_t word = 0;
    memcpy(&word, key->text + i, key->length - i < sizeof word ? key->length - i : sizeof word);
    hash = attune_random_mix(hash ^ word) + ATTUNE_RANDOM_STEP;
  }
  return hash;
}

static entry *lookup(attune_plan_cache *cache, const attune_buffer *key, uint64_t hash) {
  for (int i = 0; i < cache->count; i++) {
    entry *e = &cache->entries[i];
    if (e->hash == hash && e->key_size == key->length && memcmp(e->key, key->text, key->length) == 0) return e;
  }
  return NULL;
}

/* The plan of an entry, for one user more. */
static attune_plan *use(attune_plan_cache *cache, entry *e) {
  e->used = ++cache->clock;
  e->plan->users++;
  return e->plan;
}

attune_plan *attune_plan_cache_find(attune_plan_cache *cache, const attune_buffer *key) {
  const uint64_t hash = hash_of(key);
  pthread_mutex_lock(&cache->lock);
  entry *e = lookup(cache, key, hash);
  attune_plan *plan = e ? use(cache, e) : NULL;
  pthread_mutex_unlock(&cache->lock);
  return plan;
}

/* The place for one entry more; *forgotten is a plan that nobody has any more, to be freed without the lock. */
static entry *make_room(attune_plan_cache *cache, attune_plan **forgotten) {
  *forgotten = NULL;
  if (cache->count < PLANS_MAX) return &cache->entries[cache->count++];
  entry *oldest = &cache->entries[0];
  for (int i = 1; i < PLANS_MAX; i++)
    if (cache->entries[i].used < oldest->used) oldest = &cache->entries[i];
  oldest->plan->remembered = false;
  if (oldest->plan->users == 0) *forgotten = oldest->plan;
  free(oldest->key);
  return oldest;
}

attune_plan *attune_plan_cache_insert(attune_plan_cache *cache, const attune_buffer *key, attune_plan *plan) {
  const uint64_t hash = hash_of(key);
  attune_plan *forgotten = NULL;
  char *copy = malloc(key->length);
  if (!copy) return plan;
  memcpy(copy, key->text, key->length);
  pthread_mutex_lock(&cache->lock);
  entry *e = lookup(cache, key, hash);
  if (e) {
    plan = use(cache, e);
  } else {
    plan->remembered = true;
    *make_room(cache, &forgotten) = (entry){hash, copy, key->length, plan, ++cache->clock};
    copy = NULL;
  }
  pthread_mutex_unlock(&cache->lock);
  free(copy);
  free_plan(forgotten);
  return plan;
}

void attune_plan_cache_release(attune_plan_cache *cache, attune_plan *plan) {
  pthread_mutex_lock(&cache->lock);
  const bool gone = --plan->users == 0 && !plan->remembered;
  pthread_mutex_unlock(&cache->lock);
  if (gone) free_plan(plan);
}
