/* Block lists, built and checked by a kernel of their own (templates/lists.cu). */
#include <stdlib.h>

#include "runtime/plan.h"

_Static_assert((int)ATTUNE_BLOCK_MASK_OF_EXPRESSION == (int)ATTUNE_LIST_OF_EXPRESSION &&
                   (int)ATTUNE_BLOCK_MASK_OF_BYTES == (int)ATTUNE_LIST_OF_MASK &&
                   (int)ATTUNE_BLOCK_MASK_OF_BLOCKS == (int)ATTUNE_LIST_OF_BLOCKS,
               "the kernel knows sources by the same numbers");

struct attune_block_mask_builder {
  attune_context *context;
  attune_loaded *loaded;
  attune_config config;
  attune_problem mask;
  attune_arguments arguments; /* all but pointers */
};

attune_status attune_block_mask_builder_create(attune_block_mask_builder **out, attune_context *context,
                                               const attune_problem *problem) {
  const attune_tensors none = {0};
  attune_kernel *kernel = NULL;
  if (!out) return attune_fail(ATTUNE_BAD_ARGUMENT, "out is NULL; pass the address of an attune_block_mask_builder *");
  *out = NULL;
  if (!context || !problem) return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", context ? "problem" : "context");
  attune_block_mask_builder *lister = calloc(1, sizeof *lister);
  if (!lister) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a lister");
  lister->context = context;
  attune_status status = attune_config_block_mask(&lister->config, &lister->mask, problem);
  if (status == ATTUNE_OK) status = attune_arguments_of(&lister->arguments, &lister->config, &lister->mask, &none);
  if (status == ATTUNE_OK)
    status = attune_kernel_get(&kernel, NULL, context->store, &lister->config, &lister->mask,
                               attune_backend_arch(context->machine), context->frozen);
  if (status == ATTUNE_OK) status = attune_load(&lister->loaded, context->machine, kernel, &lister->config);
  free(kernel);
  if (status == ATTUNE_OK)
    *out = lister;
  else
    attune_block_mask_builder_destroy(lister);
  return status;
}

void attune_block_mask_builder_destroy(attune_block_mask_builder *lister) {
  if (!lister) return;
  if (lister->loaded) attune_unload(lister->loaded);
  free(lister);
}

static int64_t rows_of(const attune_block_mask_builder *lister, int32_t batch, int32_t heads) {
  return (int64_t)batch * heads * attune_blocks_of(lister->mask.seqlen_q, lister->mask.block_size);
}

size_t attune_block_mask_builder_workspace(const attune_block_mask_builder *lister, int32_t batch, int32_t heads) {
  if (!lister || batch < 1 || heads < 1) return 0;
  return (size_t)rows_of(lister, batch, heads) * sizeof(int32_t);
}

static attune_status check_sizes(const attune_block_mask_builder *lister, const attune_block_mask *lists) {
  const attune_problem *p = &lister->mask;
  const attune_status status = attune_block_mask_check_sizes(lists, p->batch, p->heads_q);
  if (status != ATTUNE_OK) return status;
  if (rows_of(lister, lists->batch, lists->heads) >= INT32_MAX)
    return attune_fail(ATTUNE_BAD_SIZE, "%lld rows of blocks; lists take 2^31 - 2",
                       (long long)rows_of(lister, lists->batch, lists->heads));
  return ATTUNE_OK;
}

static attune_status check_source(const attune_block_mask_source *source) {
  if (source->kind == ATTUNE_BLOCK_MASK_OF_EXPRESSION) return ATTUNE_OK;
  if (source->kind == ATTUNE_BLOCK_MASK_OF_BYTES) return attune_check_pointer("source.data", source->data, 1);
  if (source->kind != ATTUNE_BLOCK_MASK_OF_BLOCKS)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "source.kind is %d; there are %d to %d", (int)source->kind,
                       ATTUNE_BLOCK_MASK_OF_EXPRESSION, ATTUNE_BLOCK_MASK_OF_BLOCKS);
  if (source->count < 0)
    return attune_fail(ATTUNE_BAD_SIZE, "source.count is %lld; it must not be negative", (long long)source->count);
  return source->count == 0 ? ATTUNE_OK : attune_check_pointer("source.data", source->data, sizeof(int32_t));
}

static attune_status launch(const attune_block_mask_builder *lister, attune_arguments *arguments, int step,
                            attune_stream stream) {
  const int64_t rows = rows_of(lister, arguments->list_batch, arguments->list_heads);
  const attune_launch grid = {.grid = (int32_t)((rows + lister->config.warps - 1) / lister->config.warps),
                              .threads = lister->config.warps * 32,
                              .cluster = lister->config.cluster};
  arguments->list_work.step = step;
  return attune_launch_kernel(lister->loaded, &grid, arguments, stream);
}

attune_status attune_block_mask_builder_build(const attune_block_mask_builder *lister,
                                              const attune_block_mask_source *source, const attune_block_mask *lists,
                                              void *workspace, size_t workspace_size, attune_stream stream) {
  if (!lister || !source || !lists)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", !lister ? "lister" : source ? "lists" : "source");
  attune_status status = check_sizes(lister, lists);
  if (status == ATTUNE_OK) status = attune_block_mask_check_pointers(lists);
  if (status == ATTUNE_OK) status = check_source(source);
  if (status != ATTUNE_OK) return status;
  const size_t needs = attune_block_mask_builder_workspace(lister, lists->batch, lists->heads);
  if (workspace_size < needs)
    return attune_fail(ATTUNE_WORKSPACE_TOO_SMALL,
                       "building needs %zu bytes of workspace, has %zu; ask attune_block_mask_builder_workspace", needs,
                       workspace_size);
  if ((status = attune_check_pointer("workspace", workspace, sizeof(int32_t)))) return status;
  attune_arguments arguments = lister->arguments;
  attune_tensors tensors = {0};
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    tensors.values[i] = source->values[i];
  attune_arguments_values(&arguments, &tensors);
  attune_arguments_block_mask(&arguments, lists);
  arguments.list_rows = arguments.list_blocks = arguments.list_order = NULL;
  arguments.list_work = (struct attune_list_work){.kind = (int)source->kind,
                                                  .source = source->data,
                                                  .count = source->count,
                                                  .counts = workspace,
                                                  .rows = lists->row_offsets,
                                                  .blocks = lists->indices,
                                                  .order = lists->row_order};
  status = launch(lister, &arguments, ATTUNE_LIST_COUNT, stream);
  return status == ATTUNE_OK ? launch(lister, &arguments, ATTUNE_LIST_FILL, stream) : status;
}

/* ---- checking ---- */

static attune_status blame(const attune_block_mask_builder *lister, const attune_block_mask *lists, int64_t row,
                           int fault) {
  static const char *const reasons[] = {
      [ATTUNE_LIST_BAD_ROW] = "its begin and end in rows are not in order, or beyond capacity",
      [ATTUNE_LIST_BAD_COLUMN] = "it lists a column that the keys do not have",
      [ATTUNE_LIST_UNSORTED] = "its columns do not ascend, or one is there twice",
      [ATTUNE_LIST_BAD_ORDER] = "order does not name it exactly once",
  };
  const int64_t rows = attune_blocks_of(lister->mask.seqlen_q, lister->mask.block_size);
  const bool known = fault > 0 && fault < (int)(sizeof reasons / sizeof *reasons);
  return attune_fail(ATTUNE_BAD_BLOCK_MASK, "row %lld of blocks (batch %lld, head %lld): %s", (long long)(row % rows),
                     (long long)(row / rows / lists->heads), (long long)(row / rows % lists->heads),
                     known ? reasons[fault] : "unknown fault");
}

static attune_status read_faults(const attune_block_mask_builder *lister, const attune_block_mask *lists,
                                 const void *device, int64_t rows) {
  int32_t *faults = malloc((size_t)rows * sizeof *faults);
  if (!faults) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %lld rows of blocks", (long long)rows);
  attune_backend *machine = lister->context->machine;
  attune_status status = attune_backend_synchronize(machine);
  if (status == ATTUNE_OK) status = attune_memory_read(machine, faults, device, (size_t)rows * sizeof *faults);
  for (int64_t row = 0; row < rows && status == ATTUNE_OK; row++)
    if (faults[row] != ATTUNE_LIST_SOUND) status = blame(lister, lists, row, faults[row]);
  free(faults);
  return status;
}

attune_status attune_block_mask_builder_check(const attune_block_mask_builder *lister, const attune_block_mask *lists) {
  if (!lister || !lists) return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is NULL", lister ? "lists" : "lister");
  attune_status status = check_sizes(lister, lists);
  if (status == ATTUNE_OK) status = attune_block_mask_check_pointers(lists);
  if (status != ATTUNE_OK) return status;
  const int64_t rows = rows_of(lister, lists->batch, lists->heads);
  void *faults = NULL;
  status = attune_memory_allocate(&faults, lister->context->machine, (size_t)rows * sizeof(int32_t));
  if (status != ATTUNE_OK) return status;
  attune_arguments arguments = lister->arguments;
  attune_arguments_block_mask(&arguments, lists);
  arguments.list_work = (struct attune_list_work){.counts = faults};
  status = launch(lister, &arguments, ATTUNE_LIST_CHECK, NULL);
  if (status == ATTUNE_OK) status = read_faults(lister, lists, faults, rows);
  attune_memory_free(lister->context->machine, faults);
  return status;
}
