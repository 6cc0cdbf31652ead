/* Inputs, outputs and expected results of one problem on one machine.
 *
 * What judges: float64 on rows (bed_rows.c), by the rule that the error is at most twice that of the unfused
 * computation in the same dtype, plus 1e-5. Outputs and errors shrink with the number of keys that a row sees, so that
 * the unfused error is that of rows that see about as many (their bucket). Where the rows are not all, every element is
 * also compared with the reference family's output, which is itself judged on the rows first. */
#include "tuner/verify/verifier.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/verify/parallel.h"
#include "tuner/verify/reference.h"

enum { POISON = 0xff, ELEMENTS = 1 << 16 };
static const uint16_t poisoned = 0xffff;

struct attune_verifier {
  attune_backend *machine;
  attune_problem problem; /* resolved */
  attune_tensors tensors; /* on the machine */
  void *workspace;        /* likewise, as large as the largest asked for */
  size_t workspace_size;
  attune_inputs given; /* in host memory */
  uint16_t *bias;      /* drawn, or NULL */
  float *sinks;
  attune_host_block_mask lists; /* drawn */
  attune_layout layout;         /* of O */
  uint16_t *span;               /* O as it lies in the machine's memory, gaps included */
  bool pinned;                  /* the span is */
  uint16_t *o;                  /* O, contiguous; the same memory as span where that is contiguous */
  float *lse;
  int64_t rows_total; /* batch x seqlen_q x heads_q */
  float *values;      /* of every element, by its bits */
  attune_rows rows;
  double apart[ATTUNE_BUCKETS]; /* how far an element may be from the judge's */
  uint16_t *judge; /* the reference family's O, contiguous; NULL: all rows are judged in double precision */
};

static size_t span_bytes(const attune_verifier *bed) {
  return (size_t)attune_layout_extent(&bed->layout) * sizeof *bed->span;
}

static size_t lse_bytes(const attune_verifier *bed) {
  return (size_t)bed->rows_total * sizeof *bed->lse;
}

static double bound_of(const attune_verifier *bed, int bucket) {
  return 2.0 * bed->rows.unfused_errors[bucket] + 1e-5;
}

/* ---- making ---- */

static attune_status upload(const void **out, attune_backend *machine, const void *from, size_t size) {
  void *memory = NULL;
  attune_status status = attune_memory_allocate(&memory, machine, size);
  if (status != ATTUNE_OK) return status;
  *out = memory;
  return attune_memory_write(machine, memory, from, size);
}

static attune_status upload_rows(const void **out, attune_backend *machine, const attune_layout *layout,
                                 const uint16_t *from) {
  return upload(out, machine, from, (size_t)attune_layout_extent(layout) * sizeof *from);
}

static attune_status make_outputs(attune_verifier *bed) {
  const size_t elements = (size_t)(bed->rows_total * bed->problem.head_dim_v);
  attune_status status = attune_memory_allocate(&bed->tensors.o, bed->machine, span_bytes(bed));
  if (status != ATTUNE_OK) return status;
  bed->span = malloc(span_bytes(bed));
  bed->o = attune_layout_contiguous(&bed->layout) ? bed->span : malloc(elements * sizeof *bed->o);
  bed->values = malloc(ELEMENTS * sizeof *bed->values);
  if (bed->span == NULL || bed->o == NULL || bed->values == NULL)
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an output of %zu elements", elements);
  bed->pinned = attune_memory_pin(bed->machine, bed->span, span_bytes(bed));
  for (int bits = 0; bits < ELEMENTS; bits++)
    bed->values[bits] = (float)attune_from_element(bed->problem.dtype, (uint16_t)bits);
  if (!bed->problem.want_lse) return ATTUNE_OK;
  void *lse = NULL;
  status = attune_memory_allocate(&lse, bed->machine, lse_bytes(bed));
  if (status != ATTUNE_OK) return status;
  bed->tensors.lse = lse;
  bed->lse = malloc(lse_bytes(bed));
  return bed->lse != NULL ? ATTUNE_OK
                          : attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %zu bytes of LSE", lse_bytes(bed));
}

static attune_status make_lists(attune_verifier *bed, uint64_t seed) {
  const attune_problem *p = &bed->problem;
  if (p->block_size == 0) return ATTUNE_OK;
  if (bed->given.lists.row_offsets == NULL) {
    const attune_status status = attune_host_block_mask_draw(&bed->lists, p, seed);
    if (status != ATTUNE_OK) return status;
    bed->given.lists = bed->lists.view;
  }
  return attune_host_block_mask_upload(&bed->tensors.lists, bed->machine, p, &bed->given.lists);
}

/* Draws what was not given, and uploads all of it. */
static attune_status make_given(attune_verifier *bed, uint64_t seed) {
  const attune_problem *p = &bed->problem;
  attune_value values[ATTUNE_PARAMS_MAX];
  attune_status status = ATTUNE_OK;
  if (p->want_bias && bed->given.bias == NULL) {
    const attune_layout flat = {.batch = 1, .seqlen = 1, .heads = 1, .head_dim = attune_bias_extent(p)};
    bed->given.bias = bed->bias = attune_draw(&flat, p->dtype, seed + 101, 1.0);
    if (bed->bias == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a bias");
  }
  if (p->want_sinks && bed->given.sinks == NULL) {
    const attune_layout flat = {.batch = 1, .seqlen = 1, .heads = 1, .head_dim = p->heads_q};
    uint16_t *drawn = attune_draw(&flat, p->dtype, seed + 102, 1.0);
    bed->given.sinks = bed->sinks = malloc((size_t)p->heads_q * sizeof *bed->sinks);
    for (int i = 0; drawn != NULL && bed->sinks != NULL && i < p->heads_q; i++)
      bed->sinks[i] = (float)attune_from_element(p->dtype, drawn[i]);
    const bool short_of_memory = drawn == NULL || bed->sinks == NULL;
    free(drawn);
    if (short_of_memory) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %d sinks", p->heads_q);
  }
  if (p->want_bias)
    status = upload(&bed->tensors.bias, bed->machine, bed->given.bias,
                    (size_t)attune_bias_extent(p) * sizeof *bed->given.bias);
  if (status != ATTUNE_OK) return status;
  const void *sinks = NULL;
  if (p->want_sinks)
    status = upload(&sinks, bed->machine, bed->given.sinks, (size_t)p->heads_q * sizeof *bed->given.sinks);
  bed->tensors.sinks = sinks;
  attune_inputs_values(values, &bed->given);
  for (int i = 0; i < ATTUNE_PARAMS_MAX && status == ATTUNE_OK; i++) {
    bed->tensors.values[i] = values[i];
    bed->tensors.values[i].array = NULL;
    if (values[i].count > 0)
      status = upload(&bed->tensors.values[i].array, bed->machine, values[i].array,
                      (size_t)values[i].count * sizeof(int32_t));
  }
  return status;
}

/* The element that differs from the judge's is one of millions, not one that the bound was taken from: each of the two
 * has its bound, and the bound is that of the bucket, of the one below, and of all above. Where errors shrink from
 * bucket to bucket that is little more, by the root of two; where a few keys have all the weight, errors are rare and
 * do not shrink, and one bucket's sample may have missed them. */
static void set_apart(attune_verifier *bed) {
  double above = 0.0;
  bed->apart[0] = 2.0 * bound_of(bed, 0);
  for (int bucket = ATTUNE_BUCKETS - 1; bucket > 0; bucket--) {
    above = fmax(above, bound_of(bed, bucket));
    bed->apart[bucket] = 2.0 * (bucket > 1 ? fmax(above, bound_of(bed, bucket - 1)) : above);
  }
}

/* Runs the reference family over the whole problem, and judges it on the rows as any other. */
static attune_status make_judge(attune_verifier *bed) {
  attune_config config;
  attune_program *program = NULL;
  attune_verdict verdict;
  const size_t size = (size_t)(bed->rows_total * bed->problem.head_dim_v) * sizeof *bed->judge;
  uint16_t *judge = NULL;
  attune_status status = attune_config_reference(&config, &bed->problem);
  if (status != ATTUNE_OK) goto out;
  const attune_program_source from = {.backend = bed->machine, .problem = &bed->problem};
  if ((status = attune_program_create(&program, &from, &config)) != ATTUNE_OK) goto out;
  if ((status = attune_verifier_check(bed, program, &verdict)) != ATTUNE_OK) goto out;
  if (!verdict.passed) {
    status =
        attune_fail(ATTUNE_WRONG_RESULT, "the reference family itself is wrong on this machine: %s", verdict.worst);
    goto out;
  }
  judge = malloc(size);
  if (judge == NULL) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %zu bytes of reference output", size);
    goto out;
  }
  memcpy(judge, bed->o, size);
  bed->judge = judge;
out:
  attune_program_destroy(program);
  return status;
}

static attune_status bed_create(attune_verifier **out, attune_backend *machine, const attune_problem *resolved,
                                const attune_inputs *given, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                                uint64_t seed) {
  attune_status status = ATTUNE_OK;
  *out = NULL;
  attune_verifier *bed = calloc(1, sizeof *bed);
  if (bed == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a test bed");
  bed->machine = machine;
  bed->problem = *resolved;
  if (given != NULL) bed->given = *given;
  bed->layout = attune_layout_o(resolved);
  bed->rows_total = (int64_t)resolved->batch * resolved->seqlen_q * resolved->heads_q;
  bed->tensors.struct_size = sizeof bed->tensors;
  const attune_layout layouts[] = {attune_layout_q(resolved), attune_layout_k(resolved), attune_layout_v(resolved)};
  if ((status = upload_rows(&bed->tensors.q, machine, &layouts[0], q)) != ATTUNE_OK) goto out;
  if ((status = upload_rows(&bed->tensors.k, machine, &layouts[1], k)) != ATTUNE_OK) goto out;
  if ((status = upload_rows(&bed->tensors.v, machine, &layouts[2], v)) != ATTUNE_OK) goto out;
  if ((status = make_given(bed, seed)) != ATTUNE_OK) goto out;
  if ((status = make_lists(bed, seed)) != ATTUNE_OK) goto out;
  if ((status = make_outputs(bed)) != ATTUNE_OK) goto out;
  const bool host = attune_backend_device(machine)->arch == 0;
  if ((status = attune_rows_create(&bed->rows, resolved, &bed->given, q, k, v, seed, host)) != ATTUNE_OK) goto out;
  set_apart(bed);
  if (!bed->rows.all) status = make_judge(bed);
out:
  if (status != ATTUNE_OK) {
    attune_verifier_destroy(bed);
    return status;
  }
  *out = bed;
  return ATTUNE_OK;
}

attune_status attune_verifier_create(attune_verifier **out, attune_backend *machine, const attune_problem *problem,
                                     const attune_inputs *given, uint64_t seed, double magnitude) {
  attune_problem resolved;
  *out = NULL;
  attune_status status = attune_problem_resolve(&resolved, problem);
  if (status != ATTUNE_OK) return status;
  const attune_layout layouts[] = {attune_layout_q(&resolved), attune_layout_k(&resolved), attune_layout_v(&resolved)};
  uint16_t *drawn[3];
  for (size_t i = 0; i < 3; i++) {
    drawn[i] = attune_draw(&layouts[i], resolved.dtype, 3 * seed + i, magnitude);
    if (drawn[i] == NULL) status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for random inputs");
  }
  if (status == ATTUNE_OK) status = bed_create(out, machine, &resolved, given, drawn[0], drawn[1], drawn[2], seed);
  for (size_t i = 0; i < 3; i++)
    free(drawn[i]);
  return status;
}

attune_status attune_verifier_create_with(attune_verifier **out, attune_backend *machine, const attune_problem *problem,
                                          const attune_inputs *given, const uint16_t *q, const uint16_t *k,
                                          const uint16_t *v) {
  attune_problem resolved;
  *out = NULL;
  const attune_status status = attune_problem_resolve(&resolved, problem);
  return status != ATTUNE_OK ? status : bed_create(out, machine, &resolved, given, q, k, v, 0);
}

void attune_verifier_destroy(attune_verifier *bed) {
  if (bed == NULL) return;
  const void *const memory[] = {bed->tensors.q,   bed->tensors.k,    bed->tensors.v,    bed->tensors.o,
                                bed->tensors.lse, bed->tensors.bias, bed->tensors.sinks};
  for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
    if (memory[i] != NULL) attune_memory_free(bed->machine, (void *)(uintptr_t)memory[i]);
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    if (bed->tensors.values[i].array != NULL)
      attune_memory_free(bed->machine, (void *)(uintptr_t)bed->tensors.values[i].array);
  attune_memory_free(bed->machine, bed->workspace);
  attune_rows_free(&bed->rows);
  free(bed->bias);
  free(bed->sinks);
  attune_host_block_mask_release(bed->machine, &bed->tensors.lists);
  attune_host_block_mask_free(&bed->lists);
  if (bed->pinned) attune_memory_unpin(bed->machine, bed->span);
  if (bed->o != bed->span) free(bed->o);
  free(bed->span);
  free(bed->lse);
  free(bed->judge);
  free(bed->values);
  free(bed);
}

/* ---- running ---- */

/* The workspace grows with what programs ask for. */
static attune_status reserve_workspace(attune_verifier *bed, size_t size) {
  if (size <= bed->workspace_size) return ATTUNE_OK;
  attune_memory_free(bed->machine, bed->workspace);
  bed->workspace = NULL;
  bed->workspace_size = 0;
  const attune_status status = attune_memory_allocate(&bed->workspace, bed->machine, size);
  if (status == ATTUNE_OK) bed->workspace_size = size;
  return status;
}

attune_status attune_verifier_launch(attune_verifier *bed, const attune_program *program) {
  const attune_run_inputs run = {.tensors = bed->tensors};
  const attune_status status = reserve_workspace(bed, (size_t)program->steps.workspace_bytes);
  return status == ATTUNE_OK ? attune_enqueue(program, &run, bed->workspace, bed->workspace_size, NULL) : status;
}

static attune_status poison(attune_verifier *bed) {
  attune_status status = attune_memory_fill(bed->machine, bed->tensors.o, POISON, span_bytes(bed));
  if (status == ATTUNE_OK && bed->lse != NULL)
    status = attune_memory_fill(bed->machine, bed->tensors.lse, POISON, lse_bytes(bed));
  return status;
}

/* Offsets of a row in contiguous O, in elements, and in LSE. */
static int64_t o_offset(const attune_verifier *bed, const attune_row *row) {
  const attune_problem *p = &bed->problem;
  return (((int64_t)row->batch * p->seqlen_q + row->row) * p->heads_q + row->head) * p->head_dim_v;
}

static int64_t lse_offset(const attune_verifier *bed, const attune_row *row) {
  const attune_problem *p = &bed->problem;
  return ((int64_t)row->batch * p->heads_q + row->head) * p->seqlen_q + row->row;
}

/* Row of contiguous O by its number. */
static attune_row row_of(const attune_verifier *bed, int64_t number) {
  const attune_problem *p = &bed->problem;
  return (attune_row){.batch = (int)(number / p->heads_q / p->seqlen_q),
                      .head = (int)(number % p->heads_q),
                      .row = (int)(number / p->heads_q % p->seqlen_q)};
}

/* Takes the rows out of the span and leaves poison in their places, so that the span is poison all over if nothing was
 * written between them. */
static void gather(attune_verifier *bed) {
  const size_t width = (size_t)bed->problem.head_dim_v;
  for (int64_t number = 0; number < bed->rows_total; number++) {
    const attune_row row = row_of(bed, number);
    uint16_t *from = bed->span + attune_layout_offset(&bed->layout, row.batch, row.row, row.head);
    memcpy(bed->o + o_offset(bed, &row), from, width * sizeof *from);
    memset(from, POISON, width * sizeof *from);
  }
}

static attune_status fetch(attune_verifier *bed) {
  attune_status status = attune_backend_synchronize(bed->machine);
  if (status == ATTUNE_OK) status = attune_memory_read(bed->machine, bed->span, bed->tensors.o, span_bytes(bed));
  if (status == ATTUNE_OK && bed->lse != NULL)
    status = attune_memory_read(bed->machine, bed->lse, bed->tensors.lse, lse_bytes(bed));
  if (status == ATTUNE_OK && bed->o != bed->span) gather(bed);
  return status;
}

attune_status attune_verifier_outputs(attune_verifier *bed, uint16_t *o, float *lse) {
  const attune_status status = fetch(bed);
  if (status != ATTUNE_OK) return status;
  memcpy(o, bed->o, (size_t)(bed->rows_total * bed->problem.head_dim_v) * sizeof *o);
  if (lse != NULL && bed->lse != NULL) memcpy(lse, bed->lse, lse_bytes(bed));
  return ATTUNE_OK;
}

/* ---- judging ---- */

/* The first fault found is the one that is told; later ones only fail. */
__attribute__((format(printf, 2, 3))) static void blame(attune_verdict *verdict, const char *format, ...) {
  verdict->passed = false;
  if (verdict->worst[0] != '\0') return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(verdict->worst, sizeof verdict->worst, format, arguments);
  va_end(arguments);
}

/* Distance, where NaN is right only if NaN is expected. */
static double distance(double found, double expected) {
  if (isnan(expected)) return isnan(found) ? 0.0 : INFINITY;
  if (found == expected) return 0.0;
  return isfinite(found) && isfinite(expected) ? fabs(found - expected) : INFINITY;
}

/* The element of the judged rows that is worst by the bound of its row. */
typedef struct {
  const attune_verifier *bed;
  pthread_mutex_t lock;
  double share; /* of its bound */
  int64_t at;   /* in the rows' o */
} worst;

static double error_at(const attune_verifier *bed, int64_t i, int d) {
  const int width = bed->problem.head_dim_v;
  return distance(bed->values[bed->o[o_offset(bed, &bed->rows.rows[i]) + d]], bed->rows.o[i * width + d]);
}

static void seek_worst(void *user, int64_t begin, int64_t end) {
  worst *self = user;
  const attune_verifier *bed = self->bed;
  const int width = bed->problem.head_dim_v;
  double most = -1.0;
  int64_t at = 0;
  for (int64_t i = begin; i < end; i++) {
    const double bound = bound_of(bed, bed->rows.rows[i].bucket);
    for (int d = 0; d < width; d++) {
      const double share = error_at(bed, i, d) / bound;
      if (!(share > most)) continue;
      most = share;
      at = i * width + d;
    }
  }
  pthread_mutex_lock(&self->lock);
  if (most > self->share || (most == self->share && at < self->at)) {
    self->share = most;
    self->at = at;
  }
  pthread_mutex_unlock(&self->lock);
}

static void judge_rows(const attune_verifier *bed, attune_verdict *verdict) {
  enum { GRAIN = 64 };
  const int width = bed->problem.head_dim_v;
  worst all = {.bed = bed, .lock = PTHREAD_MUTEX_INITIALIZER, .share = -1.0};
  attune_parallel(bed->rows.count, GRAIN, seek_worst, &all);
  pthread_mutex_destroy(&all.lock);
  const attune_row *row = &bed->rows.rows[all.at / width];
  const int d = (int)(all.at % width);
  verdict->error = error_at(bed, all.at / width, d);
  verdict->bound = bound_of(bed, row->bucket);
  verdict->unfused_error = bed->rows.unfused_errors[row->bucket];
  if (verdict->error > verdict->bound)
    blame(verdict, "o[batch %d, row %d, head %d, %d] is %.6g, exact %.6g: off by %.3g, allowed %.3g", row->batch,
          row->row, row->head, d, (double)bed->values[bed->o[o_offset(bed, row) + d]], bed->rows.o[all.at],
          verdict->error, verdict->bound);
}

/* float sums and an approximate exponent over scores that are as large as LSE. */
static double lse_bound(double lse) {
  return 1e-4 + (isfinite(lse) ? 1e-5 * fabs(lse) : 0.0);
}

static void judge_lse(const attune_verifier *bed, attune_verdict *verdict) {
  for (int64_t i = 0; i < bed->rows.count; i++) {
    const attune_row *row = &bed->rows.rows[i];
    const double value = (double)bed->lse[lse_offset(bed, row)], exact = bed->rows.lse[i];
    const double error = distance(value, exact);
    verdict->lse_error = fmax(verdict->lse_error, error);
    if (error > lse_bound(exact))
      blame(verdict, "lse[batch %d, head %d, row %d] is %.9g, exact %.9g: off by %.3g, allowed %.3g", row->batch,
            row->head, row->row, value, exact, error, lse_bound(exact));
  }
}

/* What one pass over all elements finds: the first unwritten one, and the first too far from the reference family's. */
typedef struct {
  const attune_verifier *bed;
  pthread_mutex_t lock;
  int64_t unwritten, unwritten_at, differ, differ_at;
} sweep;

static void note(sweep *self, int64_t unwritten, int64_t unwritten_at, int64_t differ, int64_t differ_at) {
  pthread_mutex_lock(&self->lock);
  if (unwritten > 0 && (self->unwritten == 0 || unwritten_at < self->unwritten_at)) self->unwritten_at = unwritten_at;
  if (differ > 0 && (self->differ == 0 || differ_at < self->differ_at)) self->differ_at = differ_at;
  self->unwritten += unwritten;
  self->differ += differ;
  pthread_mutex_unlock(&self->lock);
}

/* With a pattern it is not known how many keys a row sees: then the widest that any bucket allows. */
static double apart_of(const attune_verifier *bed, int row) {
  double widest = 0.0;
  if (!attune_problem_is_sparse(&bed->problem)) return bed->apart[attune_bucket(&bed->problem, row)];
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    widest = fmax(widest, bed->apart[i]);
  return widest;
}

/* Whether all of a row is written and near enough, without a branch: nearly every row of every candidate is. */
static bool plainly_right(const float *values, const uint16_t *o, const uint16_t *judge, int width, float apart,
                          float unit) {
  bool right = true;
  for (int d = 0; d < width; d++)
    right &=
        fabsf(values[o[d]] - values[judge[d]]) < apart + fabsf(values[judge[d]]) * unit; /* not of NaN, nor of inf */
  return right;
}

/* Two elements may differ by a unit in the last place more, for the rounding of both. */
static void sweep_rows(void *user, int64_t begin, int64_t end) {
  sweep *self = user;
  const attune_verifier *bed = self->bed;
  const int width = bed->problem.head_dim_v;
  const double unit = bed->problem.dtype == ATTUNE_FP16 ? 0x1p-10 : 0x1p-7;
  int64_t unwritten = 0, unwritten_at = 0, differ = 0, differ_at = 0;
  for (int64_t number = begin; number < end; number++) {
    const uint16_t *const o = bed->o + number * width, *const judge = bed->judge ? bed->judge + number * width : o;
    const double apart = apart_of(bed, row_of(bed, number).row);
    if (plainly_right(bed->values, o, judge, width, (float)apart, (float)unit)) continue;
    for (int d = 0; d < width; d++) {
      const double value = bed->values[o[d]], other = bed->values[judge[d]];
      if (o[d] == poisoned) {
        if (unwritten++ == 0) unwritten_at = number * width + d;
      } else if (o[d] != judge[d] && !(distance(value, other) < apart + fabs(other) * unit)) {
        if (differ++ == 0) differ_at = number * width + d;
      }
    }
  }
  if (unwritten > 0 || differ > 0) note(self, unwritten, unwritten_at, differ, differ_at);
}

static void judge_elements(const attune_verifier *bed, attune_verdict *verdict) {
  enum { GRAIN = 1 << 10 };
  const int width = bed->problem.head_dim_v;
  sweep all = {.bed = bed, .lock = PTHREAD_MUTEX_INITIALIZER};
  attune_parallel(bed->rows_total, GRAIN, sweep_rows, &all);
  pthread_mutex_destroy(&all.lock);
  if (all.unwritten > 0) {
    const attune_row row = row_of(bed, all.unwritten_at / width);
    blame(verdict, "%lld elements of o are unwritten or NaN, the first at [batch %d, row %d, head %d, %d]",
          (long long)all.unwritten, row.batch, row.row, row.head, (int)(all.unwritten_at % width));
  }
  if (all.differ > 0) {
    const attune_row row = row_of(bed, all.differ_at / width);
    blame(verdict,
          "%lld elements differ from the reference family's, the first at [batch %d, row %d, head %d, %d]: %.6g, %.6g",
          (long long)all.differ, row.batch, row.row, row.head, (int)(all.differ_at % width),
          (double)bed->values[bed->o[all.differ_at]], (double)bed->values[bed->judge[all.differ_at]]);
  }
}

static void judge_gaps(const attune_verifier *bed, attune_verdict *verdict) {
  const int64_t extent = attune_layout_extent(&bed->layout);
  for (int64_t i = 0; i < extent; i++) {
    if (bed->span[i] == poisoned) continue;
    blame(verdict, "something was written between the rows of o, %lld elements after its start", (long long)i);
    return;
  }
}

static void judge_lse_written(const attune_verifier *bed, attune_verdict *verdict) {
  for (int64_t i = 0; i < bed->rows_total; i++) {
    uint32_t bits;
    memcpy(&bits, &bed->lse[i], sizeof bits);
    if (bits != UINT32_MAX) continue;
    blame(verdict, "lse is unwritten or NaN %lld elements after its start", (long long)i);
    return;
  }
}

attune_status attune_verifier_check(attune_verifier *bed, const attune_program *program, attune_verdict *out) {
  attune_status status;
  *out = (attune_verdict){.passed = true, .rows_checked = bed->rows.count};
  if ((status = poison(bed)) != ATTUNE_OK) return status;
  if ((status = attune_verifier_launch(bed, program)) != ATTUNE_OK) return status;
  if ((status = fetch(bed)) != ATTUNE_OK) return status;
  /* Unwritten elements are NaN, and so also the largest errors: they are named for what they are. */
  judge_elements(bed, out);
  judge_rows(bed, out);
  if (bed->o != bed->span) judge_gaps(bed, out);
  if (bed->lse != NULL) {
    judge_lse_written(bed, out);
    judge_lse(bed, out);
  }
  return ATTUNE_OK;
}
