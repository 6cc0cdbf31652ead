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
  attune_kept_message before;
  attune_message_keep(&before);
  attune_block_mask_builder *builder = calloc(1, sizeof *builder);
  if (!builder) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a builder of block masks");
  builder->context = attune_context_retain(context);
  attune_problem own, mask;
  attune_steps steps;
  const attune_block_mask one = {.batch = 1, .heads = 1};
  attune_status status = attune_problem_read(&own, problem);
  if (status == ATTUNE_OK) status = attune_config_block_mask(&builder->config, &mask, &own);
  if (status == ATTUNE_OK) status = attune_block_mask_check_steps(&steps, &builder->config, &mask, &one);
  const attune_program_source from = {
      .backend = context->machine, .store = context->store, .problem = &mask, .frozen = context->frozen};
  if (status == ATTUNE_OK) status = attune_program_load(&builder->program, &from, &steps);
  if (status == ATTUNE_OK) {
    attune_message_restore(&before);
    *out = builder;
  } else {
    attune_block_mask_builder_destroy(builder);
  }
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
  return attune_block_mask_check_sizes(block_mask, p->batch, p->heads_q);
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
  status = attune_block_mask_build_steps(&steps, &builder->config, &builder->program->problem, block_mask);
  if (status != ATTUNE_OK) return status;
  const attune_program program = with_steps(builder, &steps);
  attune_run_inputs run = {.source = *source, .built = *block_mask};
  memcpy(run.tensors.values, source->values, sizeof run.tensors.values);
  return attune_enqueue(&program, &run, workspace, workspace_size, stream);
}

/* ---- checking ---- */

/* Of rows, or of columns: `count` of them in a mask. */
static attune_status report_fault(const char *what, int64_t count, int64_t heads, int64_t at, int fault) {
  static const char *const reasons[] = {
      [ATTUNE_BLOCK_MASK_BAD_ROW] = "its begin and end in rows are not in order, or beyond capacity",
      [ATTUNE_BLOCK_MASK_BAD_COLUMN] = "it has a column that the keys do not have",
      [ATTUNE_BLOCK_MASK_UNSORTED] = "its columns do not ascend, or one is there twice",
      [ATTUNE_BLOCK_MASK_BAD_ORDER] = "order does not name it exactly once",
      [ATTUNE_BLOCK_MASK_NOT_TRANSPOSED] =
          "column_offsets and row_indices do not have the rows, ascending, that have it in indices",
  };
  const bool known = fault > 0 && fault < (int)(sizeof reasons / sizeof *reasons);
  return attune_fail(ATTUNE_BAD_BLOCK_MASK, "%s %lld of blocks (batch %lld, head %lld): %s", what,
                     (long long)(at % count), (long long)(at / count / heads), (long long)(at / count % heads),
                     known ? reasons[fault] : "unknown fault");
}

/* Of all rows, then of all columns, if they were checked. */
static attune_status read_faults(const attune_block_mask_builder *builder, const attune_block_mask *block_mask,
                                 const void *device, size_t size) {
  const attune_problem *p = &builder->program->problem;
  const int64_t rows = attune_blocks_of(p->seqlen_q, p->block_size), heads = block_mask->heads,
                all_rows = rows * heads * block_mask->batch, all = (int64_t)(size / sizeof(int32_t));
  int32_t *faults = malloc(size);
  if (!faults) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for what is said of %lld rows", (long long)all);
  attune_backend *machine = builder->context->machine;
  attune_status status = attune_backend_synchronize(machine);
  if (status == ATTUNE_OK) status = attune_memory_read(machine, faults, device, size);
  for (int64_t i = 0; i < all && status == ATTUNE_OK; i++)
    if (faults[i] != ATTUNE_BLOCK_MASK_SOUND)
      status = i < all_rows ? report_fault("row", rows, heads, i, faults[i])
                            : report_fault("column", attune_blocks_of(p->seqlen_k, p->block_size), heads, i - all_rows,
                                           faults[i]);
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
  status = attune_block_mask_check_steps(&steps, &builder->config, &builder->program->problem, block_mask);
  if (status != ATTUNE_OK) return status;
  void *faults = NULL;
  status = attune_memory_allocate(&faults, builder->context->machine, (size_t)steps.workspace_bytes);
  if (status != ATTUNE_OK) return status;
  const attune_program program = with_steps(builder, &steps);
  const attune_run_inputs run = {.tensors = {.block_mask = *block_mask}};
  status = attune_enqueue(&program, &run, faults, (size_t)steps.workspace_bytes, NULL);
  if (status == ATTUNE_OK) status = read_faults(builder, block_mask, faults, (size_t)steps.workspace_bytes);
  attune_memory_free(builder->context->machine, faults);
  return status;
}
