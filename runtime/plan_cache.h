/* Private to runtime/: the plans that a context remembers, by their problems. */
#ifndef ATTUNE_PLAN_CACHE_H
#define ATTUNE_PLAN_CACHE_H

#include "generator/base/buffer.h"
#include "runtime/runtime.h"

typedef struct attune_plan_cache attune_plan_cache;

/* NULL: no memory. */
attune_plan_cache *attune_plan_cache_create(void);
/* Frees the plans too; none of them has a user. NULL is ignored. */
void attune_plan_cache_destroy(attune_plan_cache *cache);

/* The plan that was inserted with an equal key, with one user more; NULL: none. */
attune_plan *attune_plan_cache_find(attune_plan_cache *cache, const attune_buffer *key);
/* Remembers a plan that has one user, and forgets the one that was not used for longest if there are too many. Returns
 * the plan; where another thread has inserted one for the key since, that one with one user more, and the caller keeps
 * its own. Without memory the plan is not remembered. */
attune_plan *attune_plan_cache_insert(attune_plan_cache *cache, const attune_buffer *key, attune_plan *plan);
/* One user less, also of a plan that is not remembered; frees the plan if nobody has it any more. */
void attune_plan_cache_release(attune_plan_cache *cache, attune_plan *plan);

#endif
