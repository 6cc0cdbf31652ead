/* Private to runtime/: what contexts and plans are made of. */
#ifndef ATTUNE_PLAN_H
#define ATTUNE_PLAN_H

#include "runtime/runtime.h"

struct attune_context {
  attune_backend *machine;
  attune_store *store;
  bool frozen;
  char description[256];
};

/* Everything that run needs is worked out when the plan is made, and constant from then on. */
struct attune_plan {
  attune_context *context;
  attune_program *program;
  const char *rung;
  char *explanation;
  char config[ATTUNE_TEXT_MAX];
};

/* run.c: what is checked before a launch. */
attune_status attune_check_pointer(const char *name, const void *pointer, uintptr_t alignment);
attune_status attune_block_mask_check_sizes(const attune_block_mask *lists, int32_t batch, int32_t heads);
attune_status attune_block_mask_check_pointers(const attune_block_mask *lists);

#endif
