/* Block masks, built and checked by a kernel of their own (templates/block_mask/builder.cu). */
#include <stdlib.h>
#include <string.h>

#include "runtime/plan.h"

/* Building and checking use the same kernel, which is loaded once. The grid depends on the batch and heads of a call's
 * block mask, so each call makes its steps on the stack. */
struct attune_block_mask_builder {
  attune_context *context;
  attune_config config;
  attune_program *program;
};

attune_status attune_block_mask_builder_create(attune_block_mask_builder **out, attune_context *context,
                                               const attune_problem *problem) {
  if (!out) return attune_fail(ATTUNE_BAD_ARGUMENT, "out is NULL; pass the address of an attune_block_mask_builder *");
  *out = NULL;
  if (!context || !problem) return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", context ? "problem" : "context");
  attune_block_mask_builder *builder = calloc(1, sizeof *builder);
  if (!builder) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a builder of block masks");
  builder->context = attune_context_retain(context);
  attune_problem own, mask;
  attune_steps steps;
  attune_status status = attune_problem_read(&own, problem);
  if (status == ATTUNE_OK) status = attune_config_block_mask(&builder->config, &mask, &own);
  if (status == ATTUNE_OK) status = attune_block_mask_check_steps(&steps, &builder->config, &mask, 1, 1);
  const attune_program_source from = {
      .backend = context->machine, .store = context->store, .problem = &mask, .frozen = context->frozen};
  if (status == ATTUNE_OK) status = attune_program_load(&builder->program, &from, &steps);
  if (status == ATTUNE_OK)
    *out = builder;
  else
    attune_block_mask_builder_destroy(builder);
  return status;
}

void attune_block_mask_builder_destroy(attune_block_mask_builder *builder) {
  if (!builder) return;
  attune_context *context = builder->context;
  attune_program_destroy(builder->program);
  free(builder);
  attune_context_destroy(context);
}

/* The builder's kernel with the steps of one call. */
static attune_program with_steps(const attune_block_mask_builder *builder, const attune_steps *steps) {
  attune_program program = *builder->program;
  program.steps = *steps;
  for (int i = 0; i < steps->count; i++)
    program.loaded[i] = builder->program->loaded[0];
  return program;
}

static int64_t rows_of(const attune_block_mask_builder *builder, int32_t batch, int32_t heads) {
  return (int64_t)batch * heads *
         attune_blocks_of(builder->program->problem.seqlen_q, builder->program->problem.block_size);
}

size_t attune_block_mask_builder_workspace(const attune_block_mask_builder *builder, int32_t batch, int32_t heads) {
  if (!builder) return 0;
  const attune_problem *p = &builder->program->problem;
  if ((batch != 1 && batch != p->batch) || (heads != 1 && heads != p->heads_q)) return 0;
  return (size_t)rows_of(builder, batch, heads) * sizeof(int32_t);
}

static attune_status check_sizes(const attune_block_mask_builder *builder, const attune_block_mask *block_mask) {
  const attune_problem *p = &builder->program->problem;
  const attune_status status = attune_block_mask_check_sizes(block_mask, p->batch, p->heads_q);
  if (status != ATTUNE_OK) return status;
  if (rows_of(builder, block_mask->batch, block_mask->heads) >= INT32_MAX)
    return attune_fail(ATTUNE_UNSUPPORTED, "%lld rows of blocks; block masks take 2^31 - 2",
                       (long long)rows_of(builder, block_mask->batch, block_mask->heads));
  return ATTUNE_OK;
}

static attune_status check_source(const attune_block_mask_source *source) {
  for (size_t i = 0; i < sizeof source->reserved / sizeof *source->reserved; i++)
    if (source->reserved[i])
      return attune_fail(ATTUNE_UNSUPPORTED, "source.reserved[%zu] is %lld; this library knows only 0", i,
                         (long long)source->reserved[i]);
  if (source->kind == ATTUNE_BLOCK_MASK_OF_EXPRESSION) return ATTUNE_OK;
  if (source->kind == ATTUNE_BLOCK_MASK_OF_BYTES) return attune_check_pointer("source.data", source->data, 1);
  if (source->kind != ATTUNE_BLOCK_MASK_OF_BLOCKS)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "source.kind is %d; there are %d to %d", (int)source->kind,
                       ATTUNE_BLOCK_MASK_OF_EXPRESSION, ATTUNE_BLOCK_MASK_OF_BLOCKS);
  if (source->count < 0)
    return attune_fail(ATTUNE_BAD_SIZE, "source.count is %lld; it must not be negative", (long long)source->count);
  return source->count == 0 ? ATTUNE_OK : attune_check_pointer("source.data", source->data, sizeof(int32_t));
}

attune_status attune_block_mask_builder_build(const attune_block_mask_builder *builder,
                                              const attune_block_mask_source *source,
                                              const attune_block_mask *block_mask, void *workspace,
                                              size_t workspace_size, attune_stream stream) {
  if (!builder || !source || !block_mask)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", !builder ? "builder" : source ? "mask" : "source");
  attune_status status = check_sizes(builder, block_mask);
  if (status == ATTUNE_OK) status = attune_block_mask_check_pointers(block_mask);
  if (status == ATTUNE_OK) status = check_source(source);
  if (status != ATTUNE_OK) return status;
  attune_steps steps;
  status = attune_block_mask_build_steps(&steps, &builder->config, &builder->program->problem, block_mask->batch,
                                         block_mask->heads);
  if (status != ATTUNE_OK) return status;
  const attune_program program = with_steps(builder, &steps);
  attune_run_inputs run = {.source = *source, .built = *block_mask};
  memcpy(run.tensors.values, source->values, sizeof run.tensors.values);
  return attune_enqueue(&program, &run, workspace, workspace_size, stream);
}

/* ---- checking ---- */

static attune_status report_fault(const attune_block_mask_builder *builder, const attune_block_mask *block_mask,
                                  int64_t row, int fault) {
  static const char *const reasons[] = {
      [ATTUNE_BLOCK_MASK_BAD_ROW] = "its begin and end in rows are not in order, or beyond capacity",
      [ATTUNE_BLOCK_MASK_BAD_COLUMN] = "it has a column that the keys do not have",
      [ATTUNE_BLOCK_MASK_UNSORTED] = "its columns do not ascend, or one is there twice",
      [ATTUNE_BLOCK_MASK_BAD_ORDER] = "order does not name it exactly once",
  };
  const int64_t rows = attune_blocks_of(builder->program->problem.seqlen_q, builder->program->problem.block_size);
  const bool known = fault > 0 && fault < (int)(sizeof reasons / sizeof *reasons);
  return attune_fail(ATTUNE_BAD_BLOCK_MASK, "row %lld of blocks (batch %lld, head %lld): %s", (long long)(row % rows),
                     (long long)(row / rows / block_mask->heads), (long long)(row / rows % block_mask->heads),
                     known ? reasons[fault] : "unknown fault");
}

static attune_status read_faults(const attune_block_mask_builder *builder, const attune_block_mask *block_mask,
                                 const void *device, int64_t rows) {
  int32_t *faults = malloc((size_t)rows * sizeof *faults);
  if (!faults) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %lld rows of blocks", (long long)rows);
  attune_backend *machine = builder->context->machine;
  attune_status status = attune_backend_synchronize(machine);
  if (status == ATTUNE_OK) status = attune_memory_read(machine, faults, device, (size_t)rows * sizeof *faults);
  for (int64_t row = 0; row < rows && status == ATTUNE_OK; row++)
    if (faults[row] != ATTUNE_BLOCK_MASK_SOUND) status = report_fault(builder, block_mask, row, faults[row]);
  free(faults);
  return status;
}

attune_status attune_block_mask_builder_check(const attune_block_mask_builder *builder,
                                              const attune_block_mask *block_mask) {
  if (!builder || !block_mask) return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", builder ? "mask" : "builder");
  attune_status status = check_sizes(builder, block_mask);
  if (status == ATTUNE_OK) status = attune_block_mask_check_pointers(block_mask);
  if (status != ATTUNE_OK) return status;
  attune_steps steps;
  status = attune_block_mask_check_steps(&steps, &builder->config, &builder->program->problem, block_mask->batch,
                                         block_mask->heads);
  if (status != ATTUNE_OK) return status;
  void *faults = NULL;
  status = attune_memory_allocate(&faults, builder->context->machine, (size_t)steps.workspace_bytes);
  if (status != ATTUNE_OK) return status;
  const attune_program program = with_steps(builder, &steps);
  const attune_run_inputs run = {.tensors = {.block_mask = *block_mask}};
  status = attune_enqueue(&program, &run, faults, (size_t)steps.workspace_bytes, NULL);
  if (status == ATTUNE_OK)
    status = read_faults(builder, block_mask, faults, rows_of(builder, block_mask->batch, block_mask->heads));
  attune_memory_free(builder->context->machine, faults);
  return status;
}
