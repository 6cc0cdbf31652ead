/* The table of tensors: what a run brings, what kernels call it, and where its elements lie. It drives the checks of a
 * run, the bounds that the simulator enforces, and the verifier. */
#include <string.h>

#include "generator/generator.h"

/* ---- need ---- */

static attune_need always(const attune_problem *p) {
  (void)p;
  return ATTUNE_NEED_YES;
}
static attune_need optional(const attune_problem *p) {
  (void)p;
  return ATTUNE_NEED_OPTIONAL;
}
static attune_need never(const attune_problem *p) {
  (void)p;
  return ATTUNE_NEED_NO;
}
static attune_need with_lse(const attune_problem *p) {
  return p->want_lse || p->operation == ATTUNE_BACKWARD ? ATTUNE_NEED_YES : ATTUNE_NEED_NO;
}
static attune_need with_gradients(const attune_problem *p) {
  return p->operation == ATTUNE_BACKWARD ? ATTUNE_NEED_YES : ATTUNE_NEED_NO;
}
static attune_need with_gradients_optional(const attune_problem *p) {
  return p->operation == ATTUNE_BACKWARD ? ATTUNE_NEED_OPTIONAL : ATTUNE_NEED_NO;
}
static attune_need with_bias(const attune_problem *p) {
  return p->want_bias ? ATTUNE_NEED_YES : ATTUNE_NEED_NO;
}
static attune_need with_sinks(const attune_problem *p) {
  return p->want_sinks ? ATTUNE_NEED_YES : ATTUNE_NEED_NO;
}
static attune_need needed_backward(const attune_problem *p, int32_t wanted) {
  return p->operation == ATTUNE_BACKWARD && wanted ? ATTUNE_NEED_YES : ATTUNE_NEED_NO;
}
static attune_need with_dbias(const attune_problem *p) {
  return needed_backward(p, p->want_dbias);
}
static attune_need with_dsinks(const attune_problem *p) {
  return needed_backward(p, p->want_dsinks);
}
/* Of a param that is no array of floats the run refuses it. */
static attune_need with_dparams(const attune_problem *p) {
  return needed_backward(p, p->want_dparams) ? ATTUNE_NEED_OPTIONAL : ATTUNE_NEED_NO;
}
static attune_need with_block_mask(const attune_problem *p) {
  return p->block_size > 0 ? ATTUNE_NEED_YES : ATTUNE_NEED_NO;
}
/* The transposed lists: forward leaves them alone. */
static attune_need with_columns(const attune_problem *p) {
  return p->operation == ATTUNE_BACKWARD ? with_block_mask(p) : ATTUNE_NEED_NO;
}
static attune_need with_columns_optional(const attune_problem *p) {
  return p->operation == ATTUNE_BACKWARD && p->block_size > 0 ? ATTUNE_NEED_OPTIONAL : ATTUNE_NEED_NO;
}
static attune_need with_block_mask_optional(const attune_problem *p) {
  return p->block_size > 0 ? ATTUNE_NEED_OPTIONAL : ATTUNE_NEED_NO;
}

/* ---- shape ---- */

static void rows_of(attune_shape *out, const attune_problem *p, const attune_strides *strides, int64_t row,
                    int32_t seqlen, int32_t heads) {
  *out = (attune_shape){
      .row = row, .sizes = {p->batch, seqlen, heads}, .strides = {strides->batch, strides->seqlen, strides->heads}};
}

static void shape_q(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->q, p->head_dim, p->seqlen_q, p->heads_q);
}
static void shape_k(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->k, p->head_dim, p->seqlen_k, p->heads_kv);
}
static void shape_v(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->v, p->head_dim_v, p->seqlen_k, p->heads_kv);
}
static void shape_o(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->o, p->head_dim_v, p->seqlen_q, p->heads_q);
}
static void shape_bias(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->bias, p->seqlen_k, p->seqlen_q, p->heads_q);
}

static void shape_do(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->d_o, p->head_dim_v, p->seqlen_q, p->heads_q);
}
static void shape_dq(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->dq, p->head_dim, p->seqlen_q, p->heads_q);
}
static void shape_dk(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->dk, p->head_dim, p->seqlen_k, p->heads_kv);
}
static void shape_dv(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->dv, p->head_dim_v, p->seqlen_k, p->heads_kv);
}

/* One row, head or sequence for all that share it. */
static void shape_dbias(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  rows_of(out, p, &p->bias, p->seqlen_k, p->seqlen_q, p->heads_q);
  for (int i = 0; i < 3; i++)
    if (out->strides[i] == 0) out->sizes[i] = 1;
}

static void flat(attune_shape *out, int64_t count) {
  *out = (attune_shape){.row = count, .sizes = {1, 1, 1}};
}

static void shape_lse(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  /* (batch, heads_q, seqlen_q) */
  const attune_strides strides = {.batch = (int64_t)p->heads_q * p->seqlen_q, .seqlen = 1, .heads = p->seqlen_q};
  rows_of(out, p, &strides, 1, p->seqlen_q, p->heads_q);
}
static void shape_batch(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  flat(out, p->batch);
}
static void shape_sinks(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)run;
  flat(out, p->heads_q);
}

static int64_t mask_rows(const attune_problem *p, const attune_block_mask *mask) {
  return (int64_t)mask->batch * mask->heads * attune_blocks_of(p->seqlen_q, p->block_size);
}
static int64_t mask_columns(const attune_problem *p, const attune_block_mask *mask) {
  return (int64_t)mask->batch * mask->heads * attune_blocks_of(p->seqlen_k, p->block_size);
}

static void shape_offsets(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  flat(out, mask_rows(p, &run->tensors.block_mask) + 1);
}
static void shape_indices(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)p;
  flat(out, run->tensors.block_mask.capacity);
}
static void shape_order(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  flat(out, mask_rows(p, &run->tensors.block_mask));
}
static void shape_column_offsets(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  flat(out, mask_columns(p, &run->tensors.block_mask) + 1);
}
static void shape_built_offsets(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  flat(out, mask_rows(p, &run->built) + 1);
}
static void shape_built_indices(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  (void)p;
  flat(out, run->built.capacity);
}
static void shape_built_order(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  flat(out, mask_rows(p, &run->built));
}
static void shape_built_column_offsets(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  flat(out, mask_columns(p, &run->built) + 1);
}
static void shape_mask_source(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {
  enum { BLOCK_BYTES = 4 * sizeof(int32_t) };
  if (run->source.kind == ATTUNE_BLOCK_MASK_OF_BYTES)
    flat(out, mask_rows(p, &run->built) * attune_blocks_of(p->seqlen_k, p->block_size));
  else
    flat(out, run->source.kind == ATTUNE_BLOCK_MASK_OF_BLOCKS ? BLOCK_BYTES * run->source.count : 0);
}
/* run: NULL: of none, which only a run knows. */
#define PARAM_SHAPE(i)                                                                                                 \
  static void shape_param_##i(attune_shape *out, const attune_problem *p, const attune_run_inputs *run) {              \
    (void)p;                                                                                                           \
    flat(out, run != NULL ? run->tensors.values[i].count : 0);                                                         \
  }
PARAM_SHAPE(0)
PARAM_SHAPE(1)
PARAM_SHAPE(2)
PARAM_SHAPE(3)
PARAM_SHAPE(4)
PARAM_SHAPE(5)
PARAM_SHAPE(6)
PARAM_SHAPE(7)
_Static_assert(ATTUNE_PARAMS_MAX == 8, "a shape and a row for each param");

/* ---- the table ---- */

#define RUN(member) .run = offsetof(attune_run_inputs, member)
#define ARGUMENT(member) .argument = offsetof(union attune_kernel_arguments, member)
#define DTYPE .element = ATTUNE_ELEMENT_DTYPE
#define FLOATS .element = ATTUNE_ELEMENT_FLOAT, .alignment = 4
#define INTS .element = ATTUNE_ELEMENT_INT, .alignment = 4
/* An array param holds ints or floats. An empty one is never read, so that it needs no pointer. */
#define PARAM(i)                                                                                                       \
  [ATTUNE_TENSOR_PARAM + i] = {.name = "values[" #i "]",                                                               \
                               INTS,                                                                                   \
                               RUN(tensors.values[i].array),                                                           \
                               ARGUMENT(problem.values[i].array),                                                      \
                               .need = optional,                                                                       \
                               .shape = shape_param_##i}
#define OUTPUT .role = ATTUNE_TENSOR_OUTPUT
#define DPARAM(i)                                                                                                      \
  [ATTUNE_TENSOR_DPARAM + i] = {.name = "dparams[" #i "]",                                                             \
                                OUTPUT,                                                                                \
                                FLOATS,                                                                                \
                                RUN(tensors.dparams[i]),                                                               \
                                ARGUMENT(backward.gradients.dparams[i]),                                               \
                                .option = "want_dparams to 1",                                                         \
                                .need = with_dparams,                                                                  \
                                .shape = shape_param_##i}
#define WORKSPACE .role = ATTUNE_TENSOR_WORKSPACE

const attune_tensor_row attune_tensor_table[ATTUNE_TENSOR_COUNT] = {
    [ATTUNE_TENSOR_Q] = {.name = "q",
                         DTYPE,
                         .alignment = 16,
                         RUN(tensors.q),
                         ARGUMENT(problem.q),
                         .need = always,
                         .shape = shape_q,
                         .rows = ATTUNE_EXTENT_QUERIES},
    [ATTUNE_TENSOR_K] = {.name = "k",
                         DTYPE,
                         .alignment = 16,
                         RUN(tensors.k),
                         ARGUMENT(problem.k),
                         .need = always,
                         .shape = shape_k,
                         .rows = ATTUNE_EXTENT_KEYS},
    [ATTUNE_TENSOR_V] = {.name = "v",
                         DTYPE,
                         .alignment = 16,
                         RUN(tensors.v),
                         ARGUMENT(problem.v),
                         .need = always,
                         .shape = shape_v,
                         .rows = ATTUNE_EXTENT_KEYS},
    [ATTUNE_TENSOR_O] = {.name = "o",
                         OUTPUT,
                         DTYPE,
                         .alignment = 16,
                         RUN(tensors.o),
                         ARGUMENT(problem.o),
                         .need = always,
                         .saved = true,
                         .shape = shape_o,
                         .rows = ATTUNE_EXTENT_QUERIES},
    [ATTUNE_TENSOR_LSE] = {.name = "lse",
                           OUTPUT,
                           FLOATS,
                           RUN(tensors.lse),
                           ARGUMENT(problem.lse),
                           .option = "want_lse to 1",
                           .need = with_lse,
                           .saved = true,
                           .shape = shape_lse,
                           .rows = ATTUNE_EXTENT_QUERIES},
    [ATTUNE_TENSOR_SEQLENS_Q] = {.name = "seqlens_q",
                                 INTS,
                                 RUN(tensors.seqlens_q),
                                 ARGUMENT(problem.seqlens_q),
                                 .need = optional,
                                 .shape = shape_batch},
    [ATTUNE_TENSOR_SEQLENS_K] = {.name = "seqlens_k",
                                 INTS,
                                 RUN(tensors.seqlens_k),
                                 ARGUMENT(problem.seqlens_k),
                                 .need = optional,
                                 .shape = shape_batch},
    [ATTUNE_TENSOR_BIAS] = {.name = "bias",
                            DTYPE,
                            .alignment = 2,
                            RUN(tensors.bias),
                            ARGUMENT(problem.bias),
                            .option = "want_bias to 1",
                            .need = with_bias,
                            .shape = shape_bias,
                            .rows = ATTUNE_EXTENT_QUERIES,
                            .columns = ATTUNE_EXTENT_KEYS},
    [ATTUNE_TENSOR_SINKS] = {.name = "sinks",
                             FLOATS,
                             RUN(tensors.sinks),
                             ARGUMENT(problem.sinks),
                             .option = "want_sinks to 1",
                             .need = with_sinks,
                             .shape = shape_sinks},
    [ATTUNE_TENSOR_DO] = {.name = "do",
                          .member = "d_o",
                          DTYPE,
                          .alignment = 16,
                          RUN(tensors.d_o),
                          ARGUMENT(backward.gradients.d_o),
                          .option = "operation to ATTUNE_BACKWARD",
                          .need = with_gradients,
                          .shape = shape_do,
                          .rows = ATTUNE_EXTENT_QUERIES},
    [ATTUNE_TENSOR_DLSE] = {.name = "dlse",
                            FLOATS,
                            RUN(tensors.dlse),
                            ARGUMENT(backward.gradients.dlse),
                            .option = "operation to ATTUNE_BACKWARD",
                            .need = with_gradients_optional,
                            .shape = shape_lse,
                            .rows = ATTUNE_EXTENT_QUERIES},
    [ATTUNE_TENSOR_DQ] = {.name = "dq",
                          OUTPUT,
                          DTYPE,
                          .alignment = 16,
                          RUN(tensors.dq),
                          ARGUMENT(backward.gradients.dq),
                          .option = "operation to ATTUNE_BACKWARD",
                          .need = with_gradients,
                          .shape = shape_dq,
                          .rows = ATTUNE_EXTENT_QUERIES},
    [ATTUNE_TENSOR_DK] = {.name = "dk",
                          OUTPUT,
                          DTYPE,
                          .alignment = 16,
                          RUN(tensors.dk),
                          ARGUMENT(backward.gradients.dk),
                          .option = "operation to ATTUNE_BACKWARD",
                          .need = with_gradients,
                          .shape = shape_dk,
                          .rows = ATTUNE_EXTENT_KEYS},
    [ATTUNE_TENSOR_DV] = {.name = "dv",
                          OUTPUT,
                          DTYPE,
                          .alignment = 16,
                          RUN(tensors.dv),
                          ARGUMENT(backward.gradients.dv),
                          .option = "operation to ATTUNE_BACKWARD",
                          .need = with_gradients,
                          .shape = shape_dv,
                          .rows = ATTUNE_EXTENT_KEYS},
    [ATTUNE_TENSOR_DBIAS] = {.name = "dbias",
                             OUTPUT,
                             DTYPE,
                             .alignment = 2,
                             RUN(tensors.dbias),
                             ARGUMENT(backward.gradients.dbias),
                             .option = "want_dbias to 1",
                             .need = with_dbias,
                             .shape = shape_dbias},
    [ATTUNE_TENSOR_DSINKS] = {.name = "dsinks",
                              OUTPUT,
                              FLOATS,
                              RUN(tensors.dsinks),
                              ARGUMENT(backward.gradients.dsinks),
                              .option = "want_dsinks to 1",
                              .need = with_dsinks,
                              .shape = shape_sinks},
    DPARAM(0),
    DPARAM(1),
    DPARAM(2),
    DPARAM(3),
    DPARAM(4),
    DPARAM(5),
    DPARAM(6),
    DPARAM(7),
    [ATTUNE_TENSOR_ROW_OFFSETS] = {.name = "block_mask.row_offsets",
                                   INTS,
                                   RUN(tensors.block_mask.row_offsets),
                                   ARGUMENT(problem.block_mask_row_offsets),
                                   .option = "a block_size",
                                   .need = with_block_mask,
                                   .shape = shape_offsets},
    [ATTUNE_TENSOR_INDICES] = {.name = "block_mask.indices",
                               INTS,
                               RUN(tensors.block_mask.indices),
                               ARGUMENT(problem.block_mask_indices),
                               .option = "a block_size",
                               .need = with_block_mask_optional,
                               .shape = shape_indices},
    [ATTUNE_TENSOR_ROW_ORDER] = {.name = "block_mask.row_order",
                                 INTS,
                                 RUN(tensors.block_mask.row_order),
                                 ARGUMENT(problem.block_mask_row_order),
                                 .option = "a block_size",
                                 .need = with_block_mask_optional,
                                 .shape = shape_order},
    [ATTUNE_TENSOR_COLUMN_OFFSETS] = {.name = "block_mask.column_offsets",
                                      INTS,
                                      RUN(tensors.block_mask.column_offsets),
                                      ARGUMENT(problem.block_mask_column_offsets),
                                      .need = with_columns,
                                      .shape = shape_column_offsets},
    [ATTUNE_TENSOR_ROW_INDICES] = {.name = "block_mask.row_indices",
                                   INTS,
                                   RUN(tensors.block_mask.row_indices),
                                   ARGUMENT(problem.block_mask_row_indices),
                                   .need = with_columns_optional,
                                   .shape = shape_indices},
    PARAM(0),
    PARAM(1),
    PARAM(2),
    PARAM(3),
    PARAM(4),
    PARAM(5),
    PARAM(6),
    PARAM(7),
    [ATTUNE_TENSOR_MASK_SOURCE] = {.name = "source.data",
                                   .element = ATTUNE_ELEMENT_BYTE,
                                   .alignment = 1,
                                   RUN(source.data),
                                   ARGUMENT(block_mask.work.source),
                                   .need = never,
                                   .shape = shape_mask_source},
    [ATTUNE_TENSOR_BUILT_OFFSETS] = {.name = "built row_offsets",
                                     OUTPUT,
                                     INTS,
                                     RUN(built.row_offsets),
                                     ARGUMENT(block_mask.work.row_offsets),
                                     .need = never,
                                     .shape = shape_built_offsets},
    [ATTUNE_TENSOR_BUILT_INDICES] = {.name = "built indices",
                                     OUTPUT,
                                     INTS,
                                     RUN(built.indices),
                                     ARGUMENT(block_mask.work.indices),
                                     .need = never,
                                     .shape = shape_built_indices},
    [ATTUNE_TENSOR_BUILT_ORDER] = {.name = "built row_order",
                                   OUTPUT,
                                   INTS,
                                   RUN(built.row_order),
                                   ARGUMENT(block_mask.work.row_order),
                                   .need = never,
                                   .shape = shape_built_order},
    [ATTUNE_TENSOR_BUILT_COLUMN_OFFSETS] = {.name = "built column_offsets",
                                            OUTPUT,
                                            INTS,
                                            RUN(built.column_offsets),
                                            ARGUMENT(block_mask.work.column_offsets),
                                            .need = never,
                                            .shape = shape_built_column_offsets},
    [ATTUNE_TENSOR_BUILT_ROW_INDICES] = {.name = "built row_indices",
                                         OUTPUT,
                                         INTS,
                                         RUN(built.row_indices),
                                         ARGUMENT(block_mask.work.row_indices),
                                         .need = never,
                                         .shape = shape_built_indices},
    [ATTUNE_TENSOR_ROW_COUNTS] =
        {.name = "the workspace's row counts", WORKSPACE, INTS, ARGUMENT(block_mask.work.counts), .need = never},
    [ATTUNE_TENSOR_TILE_COUNTER] =
        {.name = "the workspace's tile counter", WORKSPACE, INTS, ARGUMENT(problem.counter), .need = never},
    [ATTUNE_TENSOR_O_PARTIAL] =
        {.name = "the workspace's partial O", WORKSPACE, FLOATS, ARGUMENT(problem.o_partial), .need = never},
    [ATTUNE_TENSOR_SOFTMAX_PARTIAL] = {.name = "the workspace's partial softmax",
                                       WORKSPACE,
                                       FLOATS,
                                       ARGUMENT(problem.softmax_partial),
                                       .need = never},
    [ATTUNE_TENSOR_ROW_TERMS] =
        {.name = "the workspace's row terms", WORKSPACE, FLOATS, ARGUMENT(backward.gradients.row_terms), .need = never},
    [ATTUNE_TENSOR_DQ_PARTIAL] = {.name = "the workspace's sums for dQ",
                                  WORKSPACE,
                                  FLOATS,
                                  ARGUMENT(backward.gradients.dq_partial),
                                  .need = never},
};

attune_tensor_role attune_tensor_role_of(attune_tensor_id tensor, const attune_problem *problem) {
  const attune_tensor_row *row = &attune_tensor_table[tensor];
  return row->saved && problem->operation == ATTUNE_BACKWARD ? ATTUNE_TENSOR_INPUT : row->role;
}

int attune_element_bytes(attune_element element) {
  return element == ATTUNE_ELEMENT_BYTE ? 1 : element == ATTUNE_ELEMENT_DTYPE ? 2 : 4;
}

static void *pointer_at(const void *base, size_t offset) {
  void *pointer;
  memcpy(&pointer, (const char *)base + offset, sizeof pointer);
  return pointer;
}

void *attune_tensor_of_run(const attune_run_inputs *run, attune_tensor_id tensor) {
  return pointer_at(run, attune_tensor_table[tensor].run);
}

void *attune_tensor_of_arguments(const union attune_kernel_arguments *arguments, attune_tensor_id tensor) {
  return pointer_at(arguments, attune_tensor_table[tensor].argument);
}

void attune_tensor_bind(union attune_kernel_arguments *arguments, attune_tensor_id tensor, const void *pointer) {
  memcpy((char *)arguments + attune_tensor_table[tensor].argument, &pointer, sizeof pointer);
}
