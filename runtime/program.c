/* The loaded steps of a config, and the one way in which they are put on a stream: run, tuner, verifier, bench and the
 * builder of block masks use it, so that what is measured is what runs. */
#include <stdlib.h>
#include <string.h>

#include "runtime/backend.h"

/* ---- loading ---- */

/* Compiled now, which replaces the stored one if there is a store. */
static attune_status load_fresh(attune_loaded **out, const attune_program_source *from, const attune_config *config) {
  attune_kernel *kernel = NULL;
  attune_status status = attune_kernel_compile(&kernel, config, from->problem, attune_backend_arch(from->backend));
  if (status == ATTUNE_OK && from->store) status = attune_store_put_kernel(from->store, kernel);
  if (status == ATTUNE_OK) status = attune_load(out, from->backend, kernel, config);
  free(kernel);
  return status;
}

/* kernel: the caller's, or NULL. */
static attune_status load(attune_loaded **out, const attune_program_source *from, const attune_config *config,
                          const attune_kernel *kernel) {
  attune_kernel *own = NULL;
  bool stored = true;
  if (!kernel && !from->store) return load_fresh(out, from, config);
  if (!kernel) {
    const attune_status status = attune_kernel_get(&own, &stored, from->store, config, from->problem,
                                                   attune_backend_arch(from->backend), from->frozen);
    if (status != ATTUNE_OK) return status;
  }
  attune_status status = attune_load(out, from->backend, kernel ? kernel : own, config);
  if (status == ATTUNE_DRIVER_FAILED && stored && !from->frozen) status = load_fresh(out, from, config);
  free(own);
  return status;
}

/* The step before i that has the same kernel; i: none has. */
static int first_with_kernel(const attune_steps *steps, int i) {
  int first = 0;
  while (attune_config_compare(&steps->steps[first].config, &steps->steps[i].config) != 0)
    first++;
  return first;
}

attune_status attune_program_load(attune_program **out, const attune_program_source *from, const attune_steps *steps) {
  *out = NULL;
  attune_program *program = calloc(1, sizeof *program);
  if (!program) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a program");
  attune_status status = attune_problem_copy(&program->problem, &program->texts, from->problem);
  program->backend = from->backend;
  program->steps = *steps;
  for (int i = 0; i < steps->count && status == ATTUNE_OK; i++) {
    const int first = first_with_kernel(steps, i);
    if (first < i)
      program->loaded[i] = program->loaded[first];
    else
      status = load(&program->loaded[i], from, &steps->steps[i].config, from->kernels ? from->kernels[i] : NULL);
  }
  if (status == ATTUNE_OK)
    *out = program;
  else
    attune_program_destroy(program);
  return status;
}

attune_status attune_program_create(attune_program **out, const attune_program_source *from,
                                    const attune_config *config) {
  attune_steps steps;
  *out = NULL;
  const attune_status status = attune_steps_of(&steps, config, from->problem);
  return status == ATTUNE_OK ? attune_program_load(out, from, &steps) : status;
}

void attune_program_destroy(attune_program *program) {
  if (!program) return;
  for (int i = 0; i < program->steps.count; i++)
    if (first_with_kernel(&program->steps, i) == i) attune_unload(program->loaded[i]);
  free(program->texts);
  free(program);
}

/* ---- enqueueing ---- */

static attune_status check_workspace(const attune_steps *steps, const void *workspace, size_t size) {
  const size_t needs = (size_t)steps->workspace_bytes;
  if (size < needs)
    return attune_fail(ATTUNE_WORKSPACE_TOO_SMALL,
                       "the run needs %zu bytes of workspace, has %zu; ask for the size before it is allocated", needs,
                       size);
  if (needs == 0) return ATTUNE_OK;
  if (!workspace) return attune_fail(ATTUNE_BAD_POINTER, "workspace is NULL; the run needs %zu bytes of it", needs);
  if ((uintptr_t)workspace % ATTUNE_WORKSPACE_ALIGNMENT == 0) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_POINTER, "workspace is %p; align it to %d bytes", workspace,
                     ATTUNE_WORKSPACE_ALIGNMENT);
}

/* On the stream, so that it is a node of a graph that is captured. */
static attune_status clear_segments(const attune_program *program, char *workspace, attune_stream stream) {
  attune_status status = ATTUNE_OK;
  for (int i = 0; i < program->steps.segment_count && status == ATTUNE_OK; i++) {
    const attune_segment *segment = &program->steps.segments[i];
    if (segment->cleared)
      status = program->backend->operations->fill(program->backend, workspace + segment->offset, 0,
                                                  (size_t)segment->bytes, stream);
  }
  return status;
}

static void bind(union attune_kernel_arguments *out, const attune_program *program, const attune_step *step,
                 const attune_run_inputs *run, char *workspace) {
  *out = step->arguments;
  attune_arguments_of_run(out, step, run);
  for (int i = 0; i < step->binding_count; i++) {
    const attune_tensor_id tensor = step->bindings[i].tensor;
    if (attune_tensor_table[tensor].role != ATTUNE_TENSOR_WORKSPACE)
      attune_tensor_bind(out, tensor, attune_tensor_of_run(run, tensor));
  }
  for (int i = 0; i < program->steps.segment_count; i++)
    attune_tensor_bind(out, program->steps.segments[i].tensor, workspace + program->steps.segments[i].offset);
}

attune_status attune_enqueue(const attune_program *program, const attune_run_inputs *run, void *workspace,
                             size_t workspace_size, attune_stream stream) {
  attune_status status = check_workspace(&program->steps, workspace, workspace_size);
  if (status == ATTUNE_OK) status = clear_segments(program, workspace, stream);
  for (int i = 0; i < program->steps.count && status == ATTUNE_OK; i++) {
    const attune_step *step = &program->steps.steps[i];
    union attune_kernel_arguments arguments;
    bind(&arguments, program, step, run, workspace);
    const attune_call call = {.step = step, .arguments = &arguments, .problem = &program->problem, .run = run};
    status = program->backend->operations->launch(program->loaded[i], &call, stream);
  }
  return status;
}
