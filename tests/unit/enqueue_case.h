/* For tests that load a kernel once and run it on many problems. */
#ifndef ATTUNE_TESTS_ENQUEUE_CASE_H
#define ATTUNE_TESTS_ENQUEUE_CASE_H

#include "runtime/backend.h"

/* A config of one kernel, which is loaded already; problem is resolved. The workspace begins with what does not matter.
 */
static inline attune_status enqueue_loaded(attune_loaded *loaded, const attune_config *config,
                                           const attune_problem *problem, const attune_tensors *tensors) {
  enum { STALE = 0x5a };
  attune_program program = {.backend = loaded->machine, .problem = *problem, .loaded = {loaded}};
  const attune_run_inputs run = {.tensors = *tensors};
  void *workspace = NULL;
  attune_status status = attune_steps_of(&program.steps, config, problem);
  const size_t size = (size_t)program.steps.workspace_bytes;
  if (status == ATTUNE_OK) status = attune_memory_allocate(&workspace, program.backend, size);
  if (status == ATTUNE_OK) status = attune_memory_fill(program.backend, workspace, STALE, size);
  if (status == ATTUNE_OK) status = attune_enqueue(&program, &run, workspace, size, NULL);
  attune_memory_free(program.backend, workspace);
  return status;
}

#endif
