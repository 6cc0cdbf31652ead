/* Private to runtime/: what contexts and plans are made of. */
#ifndef ATTUNE_PLAN_H
#define ATTUNE_PLAN_H

#include <stdatomic.h>

#include "runtime/plan_cache.h"
#include "runtime/runtime.h"

struct attune_context {
  atomic_int references; /* the caller's, and one for each user of a plan and each builder */
  attune_backend *machine;
  attune_store *store;
  attune_plan_cache *plans;
  bool frozen;
  char description[256];
};

/* Everything that run needs is worked out when the plan is made, and constant from then on. */
struct attune_plan {
  attune_context *context;
  int users;       /* plan_cache.c: references that callers hold, each with one to the context */
  bool remembered; /* plan_cache.c: by the context */
  attune_program *program;
  const char *source;
  char *explanation;
  char config[ATTUNE_TEXT_MAX];
};

/* context.c: one more reference, which attune_context_destroy gives up. Returns the context. */
attune_context *attune_context_retain(attune_context *context);

/* versions.c: a caller's struct of any version as this library's. options may be NULL. */
attune_status attune_options_read(attune_options *out, const attune_options *options);
attune_status attune_tensors_read(attune_tensors *out, const attune_tensors *tensors);

/* run.c: what is checked before a launch. */
attune_status attune_check_pointer(const char *name, const void *pointer, uintptr_t alignment);
attune_status attune_block_mask_check_sizes(const attune_block_mask *block_mask, int32_t batch, int32_t heads);
attune_status attune_block_mask_check_pointers(const attune_block_mask *block_mask);

#endif
