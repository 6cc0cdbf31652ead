/* Private to tuner/: loops over all cores. */
#ifndef ATTUNE_PARALLEL_H
#define ATTUNE_PARALLEL_H

#include <stdint.h>

/* Cores that this process may use. */
int attune_cores(void);
/* Calls body on [0, count) in pieces of at most grain, each once, from several threads; returns when all are done.
 * Where no thread can be had the caller does it all. */
typedef void attune_parallel_body(void *user, int64_t begin, int64_t end);
void attune_parallel(int64_t count, int64_t grain, attune_parallel_body *body, void *user);

#endif
