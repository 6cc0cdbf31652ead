/* Whether outputs are what they should be: every element of a row in use is written and right, and nothing else is
 * touched. */
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tuner/verify/parallel.h"
#include "tuner/verify/verifier.h"

static const uint16_t poison_of_2_bytes = 0xffff;
static const uint32_t poison_of_4_bytes = 0xffffffff;

/* The first mismatch found is the one that is reported; later ones only fail. */
__attribute__((format(printf, 2, 3))) static void report_mismatch(attune_verdict *verdict, const char *format, ...) {
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

double attune_bound_of_bucket(const attune_verifier *v, attune_tensor_id id, int bucket) {
  const double times = v->problem.operation == ATTUNE_BACKWARD ? 3.0 : 2.0;
  return times * v->rows[attune_rows_of_output(id)].unfused_errors[id][bucket] + 1e-5 + v->weight_rounding;
}

const char *attune_output_elements(const attune_verifier *v, attune_tensor_id id) {
  return v->tensors[id].host + v->guard;
}

/* ---- one output ---- */

typedef struct {
  const attune_verifier *v;
  attune_tensor_id id;
  const attune_verified_tensor *tensor;
  const attune_tensor_row *row;
  const attune_rows *rows;
  const char *elements, *reference, *before; /* NULL: none */
  int64_t width;                             /* columns of the rows that are known */
  double unit;                               /* of the last place of an element, as a share of it */
} output;

static output output_of(const attune_verifier *v, attune_tensor_id id) {
  const attune_verified_tensor *tensor = &v->tensors[id];
  const attune_rows *rows = &v->rows[attune_rows_of_output(id)];
  const bool floats = attune_tensor_table[id].element == ATTUNE_ELEMENT_FLOAT;
  return (output){.v = v,
                  .id = id,
                  .tensor = tensor,
                  .row = &attune_tensor_table[id],
                  .rows = rows,
                  .elements = attune_output_elements(v, id),
                  .reference = tensor->reference != NULL ? tensor->reference + v->guard : NULL,
                  .before = tensor->before,
                  .width = rows->width > 0 ? rows->width : tensor->layout.width,
                  .unit = floats                            ? 0x1p-23
                          : v->problem.dtype == ATTUNE_FP16 ? 0x1p-10
                                                            : 0x1p-7};
}

static bool is_poison(const output *out, const char *elements, int64_t index) {
  return memcmp(elements + (size_t)index * out->tensor->element, &poison_of_4_bytes, out->tensor->element) == 0;
}

static double value_at(const output *out, const char *elements, int64_t index) {
  if (out->row->element == ATTUNE_ELEMENT_DTYPE)
    return (double)out->v->values[((const uint16_t *)(const void *)elements)[index]];
  return (double)((const float *)(const void *)elements)[index];
}

/* Rows in the order batch, seqlen, heads. */
static attune_row row_of(const output *out, int64_t number) {
  const attune_layout *layout = &out->tensor->layout;
  return (attune_row){.batch = (int)(number / layout->heads / layout->seqlen),
                      .head = (int)(number % layout->heads),
                      .row = (int)(number / layout->heads % layout->seqlen)};
}

static int64_t offset_of(const output *out, const attune_row *row) {
  return attune_layout_offset(&out->tensor->layout, row->batch, row->row, row->head);
}

/* Past its sequence's length, where nothing is written. */
static bool is_unused(const output *out, const attune_row *row) {
  const attune_lengths lengths = {{out->v->lengths[ATTUNE_QUERIES], out->v->lengths[ATTUNE_KEYS]}};
  return row->row >= attune_rows_in_use(out->row, &out->tensor->layout, &lengths, row->batch);
}

/* Whether the element of O may be NaN though it should not: a value that is not finite may have reached it. */
static bool may_be_nan(const output *out, const attune_row *row, int64_t column) {
  const attune_problem *p = &out->v->problem;
  if (out->v->spoiled == NULL || out->id != ATTUNE_TENSOR_O) return false;
  const int64_t head_kv = row->head / (p->heads_q / p->heads_kv);
  return out->v->spoiled[((int64_t)row->batch * p->heads_kv + head_kv) * p->head_dim_v + column];
}

typedef char place[96];
static const char *print_place(place to, const output *out, const attune_row *row, int64_t column) {
  if (attune_rows_of_output(out->id) > ATTUNE_ROWS_OF_DBIAS) { /* one row */
    snprintf(to, sizeof(place), "[%d]", (int)column);
    return to;
  }
  int length = snprintf(to, sizeof(place), "[batch %d, row %d, head %d", row->batch, row->row, row->head);
  if (out->tensor->layout.width > 1)
    length += snprintf(to + length, sizeof(place) - (size_t)length, ", %d", (int)column);
  snprintf(to + length, sizeof(place) - (size_t)length, "]");
  return to;
}

/* ---- the rows that are known in double precision ---- */

/* Float sums and an approximate exponent over scores that are as large as LSE, or larger terms that cancel in q.k. */
static double lse_bound(const attune_verifier *v, double lse) {
  return 1e-4 + (isfinite(lse) ? 1e-5 * fabs(lse) : 0.0) + v->score_rounding;
}

/* What is added to what there was is rounded once more. */
static double bound_of(const output *out, int bucket, double exact) {
  if (out->id == ATTUNE_TENSOR_LSE) return lse_bound(out->v, exact);
  return attune_bound_of_bucket(out->v, out->id, bucket) + (out->before != NULL ? fabs(exact) * out->unit : 0.0);
}

/* Of the i-th row that is known, and of its columns that are. */
static int64_t index_of(const output *out, int64_t i, int64_t column) {
  const attune_row *row = &out->rows->rows[i];
  return offset_of(out, row) + row->column + column;
}

static double exact_at(const output *out, int64_t i, int64_t column) {
  const double exact = out->rows->exact[out->id][i * out->width + column];
  return out->before != NULL ? exact + value_at(out, out->before, index_of(out, i, column)) : exact;
}

/* The element of the rows that is worst by its bound, and the largest error. */
typedef struct {
  const output *out;
  pthread_mutex_t lock;
  double share; /* of its bound */
  int64_t at;   /* in the exact values */
  double error; /* the largest of all */
} worst;

static double error_at(const output *out, int64_t i, int64_t column) {
  const double found = value_at(out, out->elements, index_of(out, i, column));
  if (isnan(found) && may_be_nan(out, &out->rows->rows[i], column)) return 0.0;
  return distance(found, exact_at(out, i, column));
}

static void find_worst(void *user, int64_t begin, int64_t end) {
  worst *self = user;
  const output *out = self->out;
  const int64_t width = out->width;
  double most = -1.0, error = 0.0;
  int64_t at = 0;
  for (int64_t i = begin; i < end; i++)
    for (int64_t d = 0; d < width; d++) {
      const double bound = bound_of(out, out->rows->rows[i].bucket, exact_at(out, i, d));
      const double one = error_at(out, i, d);
      error = fmax(error, one);
      if (!(one / bound > most)) continue;
      most = one / bound;
      at = i * width + d;
    }
  pthread_mutex_lock(&self->lock);
  self->error = fmax(self->error, error);
  if (most > self->share || (most == self->share && at < self->at)) {
    self->share = most;
    self->at = at;
  }
  pthread_mutex_unlock(&self->lock);
}

static void compare_rows(const output *out, attune_verdict *verdict) {
  enum { GRAIN = 64 };
  const int64_t width = out->width;
  worst all = {.out = out, .lock = PTHREAD_MUTEX_INITIALIZER, .share = -1.0};
  if (out->rows->count == 0) return;
  attune_parallel(out->rows->count, GRAIN, find_worst, &all);
  pthread_mutex_destroy(&all.lock);
  const int64_t number = all.at / width, column = all.at % width;
  const attune_row *row = &out->rows->rows[number];
  const double exact = exact_at(out, number, column), error = error_at(out, number, column),
               bound = bound_of(out, row->bucket, exact);
  if (out->id == ATTUNE_TENSOR_LSE) {
    verdict->lse_error = all.error;
  } else if (verdict->error_bound == 0.0 || error * verdict->error_bound > verdict->error * bound) {
    verdict->error = error;
    verdict->error_bound = bound;
    verdict->unfused_error = out->rows->unfused_errors[out->id][row->bucket];
  }
  if (error <= bound) return;
  place where;
  report_mismatch(verdict, "%s%s is %.9g, exact %.9g: off by %.3g, allowed %.3g", out->row->name,
                  print_place(where, out, row, row->column + column),
                  value_at(out, out->elements, index_of(out, number, column)), exact, error, bound);
}

/* ---- all elements ---- */

/* What one pass over all rows in use finds: the first unwritten element, and the first too far from the reference
 * family's, as row number * width + column. */
typedef struct {
  const output *out;
  pthread_mutex_t lock;
  int64_t unwritten, unwritten_at, differ, differ_at;
  int64_t written;
} sweep;

static void add_to_sweep(sweep *self, const sweep *part) {
  pthread_mutex_lock(&self->lock);
  if (part->unwritten > 0 && (self->unwritten == 0 || part->unwritten_at < self->unwritten_at))
    self->unwritten_at = part->unwritten_at;
  if (part->differ > 0 && (self->differ == 0 || part->differ_at < self->differ_at)) self->differ_at = part->differ_at;
  self->unwritten += part->unwritten;
  self->differ += part->differ;
  self->written += part->written;
  pthread_mutex_unlock(&self->lock);
}

/* With a pattern it is not known how many keys a row sees: then the widest that any bucket allows. */
static double apart_of(const output *out, const attune_row *row) {
  const attune_verifier *v = out->v;
  const double *apart = v->reference_apart[out->id];
  const attune_rows_of rows = attune_rows_of_output(out->id);
  double widest = 0.0;
  if (rows > ATTUNE_ROWS_OF_DBIAS) return apart[1];
  if (rows == ATTUNE_ROWS_OF_DBIAS) return apart[attune_bucket_of_dbias(&v->problem, row->row)];
  if (!attune_problem_is_sparse(&v->problem))
    return apart[attune_bucket(&v->problem, attune_side_of(out->id), v->lengths[ATTUNE_QUERIES][row->batch],
                               v->lengths[ATTUNE_KEYS][row->batch], row->row)];
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    widest = fmax(widest, apart[i]);
  return widest;
}

/* Whether all of a row of O is written and near enough, without a branch: nearly every row of every candidate is. */
static bool is_plainly_right(const float *values, const uint16_t *o, const uint16_t *reference, int64_t width,
                             float apart, float unit) {
  bool right = true;
  for (int64_t d = 0; d < width; d++)
    right &= fabsf(values[o[d]] - values[reference[d]]) <
             apart + fabsf(values[reference[d]]) * unit; /* not of NaN, nor of inf */
  return right;
}

/* Two elements of O may differ by a unit in the last place more, for the rounding of both. */
static bool is_near_reference(const output *out, double apart, double unit, int64_t index) {
  if (out->reference == NULL) return true;
  const double value = value_at(out, out->elements, index), other = value_at(out, out->reference, index);
  if (out->id == ATTUNE_TENSOR_LSE) return distance(value, other) <= 2.0 * lse_bound(out->v, other);
  return distance(value, other) < apart + fabs(other) * unit;
}

static void sweep_rows(void *user, int64_t begin, int64_t end) {
  sweep *self = user;
  const output *out = self->out;
  const int64_t width = out->tensor->layout.width;
  const bool of_o = out->row->element == ATTUNE_ELEMENT_DTYPE;
  const double unit = out->unit;
  const char *reference = out->reference != NULL ? out->reference : out->elements;
  sweep part = {0};
  for (int64_t number = begin; number < end; number++) {
    const attune_row row = row_of(out, number);
    const int64_t offset = offset_of(out, &row);
    if (is_unused(out, &row)) continue;
    const double apart = out->id != ATTUNE_TENSOR_LSE ? apart_of(out, &row) : 0.0;
    part.written += width;
    if (of_o && is_plainly_right(out->v->values, (const uint16_t *)(const void *)out->elements + offset,
                                 (const uint16_t *)(const void *)reference + offset, width, (float)apart, (float)unit))
      continue;
    for (int64_t d = 0; d < width; d++) {
      if (isnan(value_at(out, out->elements, offset + d)) && may_be_nan(out, &row, d)) {
        part.written -= is_poison(out, out->elements, offset + d);
      } else if (is_poison(out, out->elements, offset + d)) {
        if (part.unwritten++ == 0) part.unwritten_at = number * width + d;
      } else if (!is_near_reference(out, apart, unit, offset + d)) {
        if (part.differ++ == 0) part.differ_at = number * width + d;
      }
    }
  }
  part.written -= part.unwritten;
  add_to_sweep(self, &part);
}

/* Returns how many elements of rows in use are written. */
static int64_t compare_elements(const output *out, attune_verdict *verdict) {
  enum { GRAIN = 1 << 10 };
  const attune_layout *layout = &out->tensor->layout;
  place where;
  sweep all = {.out = out, .lock = PTHREAD_MUTEX_INITIALIZER};
  attune_parallel(layout->batch * layout->seqlen * layout->heads, GRAIN, sweep_rows, &all);
  pthread_mutex_destroy(&all.lock);
  if (all.unwritten > 0) {
    const attune_row row = row_of(out, all.unwritten_at / layout->width);
    report_mismatch(verdict, "%lld elements of %s are unwritten or NaN, the first at %s", (long long)all.unwritten,
                    out->row->name, print_place(where, out, &row, all.unwritten_at % layout->width));
  }
  if (all.differ > 0) {
    const attune_row row = row_of(out, all.differ_at / layout->width);
    const int64_t index = offset_of(out, &row) + all.differ_at % layout->width;
    report_mismatch(verdict, "%lld elements of %s differ from the reference family's, the first at %s: %.6g, %.6g",
                    (long long)all.differ, out->row->name, print_place(where, out, &row, all.differ_at % layout->width),
                    value_at(out, out->elements, index), value_at(out, out->reference, index));
  }
  return all.written;
}

/* ---- what is nobody's ---- */

typedef struct {
  const output *out;
  pthread_mutex_t lock;
  int64_t count; /* of elements that are not poison */
} written;

static void count_written(void *user, int64_t begin, int64_t end) {
  written *self = user;
  int64_t count = 0;
  if (self->out->tensor->element == sizeof poison_of_2_bytes) {
    const uint16_t *host = (const uint16_t *)(const void *)self->out->tensor->host;
    for (int64_t i = begin; i < end; i++)
      count += host[i] != poison_of_2_bytes;
  } else {
    const uint32_t *host = (const uint32_t *)(const void *)self->out->tensor->host;
    for (int64_t i = begin; i < end; i++)
      count += host[i] != poison_of_4_bytes;
  }
  pthread_mutex_lock(&self->lock);
  self->count += count;
  pthread_mutex_unlock(&self->lock);
}

/* Finds what was written where no row in use is. Poisons the rows in use in host memory on its way. */
static void report_stray(const output *out, attune_verdict *verdict) {
  const attune_layout *layout = &out->tensor->layout;
  const int64_t rows = layout->batch * layout->seqlen * layout->heads,
                guard = (int64_t)(out->v->guard / out->tensor->element);
  place where;
  for (int64_t number = 0; number < rows; number++) {
    const attune_row row = row_of(out, number);
    const int64_t offset = offset_of(out, &row);
    for (int64_t d = 0; d < layout->width && is_unused(out, &row); d++)
      if (!is_poison(out, out->elements, offset + d)) {
        const attune_side side = attune_side_of(out->id);
        report_mismatch(verdict, "%s%s was written, past the %d %s of its sequence", out->row->name,
                        print_place(where, out, &row, d), out->v->lengths[side][row.batch],
                        side == ATTUNE_QUERIES ? "queries" : "keys");
        return;
      }
    memset(out->tensor->host + out->v->guard + (size_t)offset * out->tensor->element, ATTUNE_POISON,
           (size_t)layout->width * out->tensor->element);
  }
  for (int64_t i = 0; i < out->tensor->extent + 2 * guard; i++)
    if (!is_poison(out, out->tensor->host, i)) {
      report_mismatch(verdict, "something was written outside of the rows of %s, %lld elements after its start",
                      out->row->name, (long long)(i - guard));
      return;
    }
}

static void compare_output(const attune_verifier *v, attune_tensor_id id, attune_verdict *verdict) {
  enum { GRAIN = 1 << 18 };
  const output out = output_of(v, id);
  written all = {.out = &out, .lock = PTHREAD_MUTEX_INITIALIZER};
  /* Unwritten elements are NaN, and so also the largest errors: they are named for what they are. */
  const int64_t in_rows = compare_elements(&out, verdict);
  compare_rows(&out, verdict);
  attune_parallel(out.tensor->extent + 2 * (int64_t)(v->guard / out.tensor->element), GRAIN, count_written, &all);
  pthread_mutex_destroy(&all.lock);
  if (all.count != in_rows) report_stray(&out, verdict);
}

void attune_compare_outputs(attune_verifier *v, attune_verdict *verdict) {
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++)
    if (v->tensors[id].host != NULL) compare_output(v, id, verdict);
}

attune_status attune_compare_workspace(attune_verifier *v, attune_verdict *verdict) {
  unsigned char guard[ATTUNE_GUARD];
  if (v->workspace == NULL || v->guard == 0) return ATTUNE_OK;
  const size_t places[] = {0, v->guard + v->workspace_size};
  for (size_t i = 0; i < 2; i++) {
    const attune_status status = attune_memory_read(v->backend, guard, v->workspace + places[i], v->guard);
    if (status != ATTUNE_OK) return status;
    for (size_t at = 0; at < v->guard; at++)
      if (guard[at] != ATTUNE_POISON) {
        report_mismatch(verdict,
                        "something was written outside of the workspace of %zu bytes, %lld bytes after its start",
                        v->workspace_size, (long long)(places[i] + at) - (long long)v->guard);
        break;
      }
  }
  return ATTUNE_OK;
}
