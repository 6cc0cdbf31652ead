/* Private: public structs that grow at their end. Each begins with a size_t, the size that its caller was compiled
 * with. */
#ifndef ATTUNE_SIZED_H
#define ATTUNE_SIZED_H

#include <stddef.h>

#include "runtime/attune.h"

/* Writes the defaults of a struct into the caller's, which has `size` bytes: what the caller lacks is left out, what
 * this library lacks is zero. */
void attune_sized_init(void *callers, size_t size, const void *defaults, size_t own_size);
/* Reads the caller's struct into `own`, which has the defaults: what the caller lacks keeps its default.
 * ATTUNE_BAD_ARGUMENT where it is smaller than in the first version, ATTUNE_UNSUPPORTED where a field that this library
 * lacks is not zero. name: "problem", as in attune_problem_init. */
attune_status attune_sized_read(void *own, size_t own_size, size_t first_size, const void *callers, const char *name);

#endif
