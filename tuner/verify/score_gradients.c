/* The gradients of the bias, of the sinks and of arrays that a score expression reads, in double precision and as the
 * unfused computation gives them: dS, rounded to the dtype, times what the expression makes of it, rounded again, and
 * summed up over what shares an element. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/random.h"
#include "generator/base/status.h"
#include "tuner/verify/gradients.h"
#include "tuner/verify/parallel.h"
#include "tuner/verify/verifier.h"

typedef struct {
  const attune_problem *problem;
  const attune_inputs *inputs;
  const attune_row_statistics *statistics;
  attune_rows *sets;
  double *errors; /* of rows of dbias */
  attune_value values[ATTUNE_PARAMS_MAX];
  int64_t first[ATTUNE_PARAMS_MAX + 1]; /* where each param's elements begin among those of all */
  attune_slope *elements;               /* of all params */
  pthread_mutex_t lock;
  _Atomic bool failed; /* for want of memory */
} computation;

static int32_t queries_of(const computation *self, int batch) {
  const int32_t *lengths = attune_inputs_seqlens(self->inputs, ATTUNE_QUERIES);
  return lengths != NULL ? lengths[batch] : self->problem->seqlen_q;
}

static const attune_row_statistics *statistics_of(const computation *self, int batch, int head, int row) {
  const attune_problem *p = self->problem;
  return &self->statistics[((int64_t)batch * p->heads_q + head) * p->seqlen_q + row];
}

static void add(attune_slope *sum, attune_slope one) {
  sum->exact += one.exact;
  sum->saved += one.saved;
  sum->unfused += one.unfused;
}

/* Of the unfused computation, or of the delta that is saved if that is farther off. */
static double error_of(const attune_slope *sum) {
  return fmax(fabs(sum->unfused - sum->exact), fabs(sum->saved - sum->exact));
}

/* ---- the bias ---- */

int attune_bucket_of_dbias(const attune_problem *problem, int row) {
  if (problem->bias.seqlen == 0 || problem->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT) return 1;
  return attune_bucket(problem, ATTUNE_QUERIES, problem->seqlen_q, problem->seqlen_k, row);
}

static const attune_derivative *by_bias(const attune_gradient_row *row) {
  for (int i = 0; row->derivatives != NULL && i < row->derivatives->count; i++)
    if (row->derivatives->of[i].by == ATTUNE_BY_BIAS) return &row->derivatives->of[i];
  return NULL;
}

/* What one query gives to keys from `column` on. */
static void add_query(attune_slope *sums, const computation *self, int batch, int head, int index, int64_t column) {
  attune_gradient_row row;
  attune_gradient_row_open(&row, self->problem, self->inputs, batch, head, index);
  const int64_t end = column + self->sets[ATTUNE_ROWS_OF_DBIAS].width;
  const attune_derivative *of = by_bias(&row);
  for (int64_t key = row.row.first > column ? row.row.first : column; key < row.row.last && key < end; key++)
    if (attune_row_sees(&row.row, key))
      add(&sums[key - column], attune_slope_of(&row, statistics_of(self, batch, head, index), key, of));
  attune_gradient_row_close(&row);
}

static void compute_row(const computation *self, int64_t number, attune_slope *sums) {
  attune_rows *set = &self->sets[ATTUNE_ROWS_OF_DBIAS];
  const attune_problem *p = self->problem;
  const attune_row *row = &set->rows[number];
  const attune_strides *strides = &p->bias;
  memset(sums, 0, (size_t)set->width * sizeof *sums);
  for (int batch = row->batch; batch < (strides->batch != 0 ? row->batch + 1 : p->batch); batch++)
    for (int head = row->head; head < (strides->heads != 0 ? row->head + 1 : p->heads_q); head++)
      for (int index = row->row; index < (strides->seqlen != 0 ? row->row + 1 : p->seqlen_q); index++)
        if (index < queries_of(self, batch)) add_query(sums, self, batch, head, index, row->column);
  for (int64_t i = 0; i < set->width; i++) {
    sums[i].unfused = (double)attune_round_to_element(p->dtype, (float)sums[i].unfused);
    set->exact[ATTUNE_TENSOR_DBIAS][number * set->width + i] = sums[i].exact;
    self->errors[number] = fmax(self->errors[number], error_of(&sums[i]));
  }
}

static void compute_rows(void *user, int64_t begin, int64_t end) {
  computation *self = user;
  attune_slope *sums = malloc((size_t)self->sets[ATTUNE_ROWS_OF_DBIAS].width * sizeof *sums);
  if (sums == NULL) self->failed = true;
  for (int64_t i = begin; i < end && sums != NULL; i++)
    compute_row(self, i, sums);
  free(sums);
}

/* Rows, and how many of their elements. */
static void choose_size(attune_rows *set, const attune_problem *p, const attune_layout *layout, bool all) {
  enum { FEWEST = 8, COLUMNS = 16, PAIRS_PER_SECOND = 1000 * 1000 };
  const int64_t rows = layout->batch * layout->seqlen * layout->heads;
  const int64_t sharing = (int64_t)p->batch * p->heads_q * p->seqlen_q / rows; /* scores of an element */
  const int64_t affordable = (int64_t)PAIRS_PER_SECOND * attune_cores() / (sharing * COLUMNS);
  set->all = all;
  set->width = all || layout->width < COLUMNS ? layout->width : COLUMNS;
  set->count = affordable > FEWEST ? affordable : FEWEST;
  if (all || set->count > rows) set->count = rows;
}

static void choose_rows(attune_rows *set, const attune_problem *p, const attune_layout *layout, uint64_t seed) {
  const int64_t rows = layout->batch * layout->seqlen * layout->heads;
  for (int64_t i = 0; i < set->count; i++) {
    const int64_t number = set->count == rows ? i : (int64_t)(attune_random_next(&seed) % (uint64_t)rows);
    const uint64_t columns = (uint64_t)(layout->width - set->width + 1);
    set->rows[i] = (attune_row){.batch = (int)(number / layout->heads / layout->seqlen),
                                .head = (int)(number % layout->heads),
                                .row = (int)(number / layout->heads % layout->seqlen),
                                .column = (int)(attune_random_next(&seed) % columns)};
    set->rows[i].bucket = attune_bucket_of_dbias(p, set->rows[i].row);
  }
}

static void summarize(attune_rows *set, attune_tensor_id id, const double *errors) {
  double largest[ATTUNE_BUCKETS] = {0};
  int64_t population[ATTUNE_BUCKETS] = {0};
  for (int64_t i = 0; i < set->count; i++) {
    double *of_bucket = &largest[set->rows[i].bucket];
    *of_bucket = fmax(*of_bucket, errors[i]);
    population[set->rows[i].bucket]++;
  }
  if (!set->all) /* what was not drawn exists, and has the errors of its neighbours */
    for (int i = 1; i < ATTUNE_BUCKETS; i++)
      population[i] += population[i] == 0;
  attune_pool_errors(set->unfused_errors[id], largest, population);
}

static attune_status allocate(attune_rows *set, attune_tensor_id id) {
  set->rows = calloc((size_t)set->count, sizeof *set->rows);
  set->exact[id] = calloc((size_t)(set->count * set->width), sizeof(double));
  if (set->rows != NULL && set->exact[id] != NULL) return ATTUNE_OK;
  return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %lld elements of %s", (long long)(set->count * set->width),
                     attune_tensor_table[id].name);
}

static attune_status compute_dbias(computation *self, uint64_t seed, bool all) {
  attune_rows *set = &self->sets[ATTUNE_ROWS_OF_DBIAS];
  const attune_layout layout = attune_layout_of(self->problem, ATTUNE_TENSOR_DBIAS);
  choose_size(set, self->problem, &layout, all);
  attune_status status = allocate(set, ATTUNE_TENSOR_DBIAS);
  self->errors = calloc((size_t)set->count, sizeof *self->errors);
  if (status != ATTUNE_OK || self->errors == NULL) return ATTUNE_OUT_OF_MEMORY;
  choose_rows(set, self->problem, &layout, seed);
  attune_parallel(set->count, 1, compute_rows, self);
  summarize(set, ATTUNE_TENSOR_DBIAS, self->errors);
  return self->failed ? attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a row of dbias") : ATTUNE_OK;
}

/* ---- the sinks, and arrays: one row each ---- */

static attune_status open_set(attune_rows *set, attune_tensor_id id, int64_t width) {
  *set = (attune_rows){.count = 1, .width = width, .all = true};
  const attune_status status = allocate(set, id);
  if (status == ATTUNE_OK) set->rows[0].bucket = 1;
  return status;
}

static void close_set(attune_rows *set, attune_tensor_id id, const attune_slope *elements) {
  double error = 0.0;
  for (int64_t i = 0; i < set->width; i++) {
    set->exact[id][i] = elements[i].exact;
    error = fmax(error, error_of(&elements[i]));
  }
  summarize(set, id, &error);
}

/* The sink's own probability times 0 - delta. */
static attune_slope slope_of_sink(const computation *self, int batch, int head, int row) {
  const attune_row_statistics *s = statistics_of(self, batch, head, row);
  const attune_dtype dtype = self->problem->dtype;
  const float sink = self->inputs->sinks[head];
  if (!(s->lse > -INFINITY)) return (attune_slope){0};
  const double p = exp((double)sink - s->lse);
  const float unfused = attune_round_to_element(dtype, expf(sink - s->maximum) / s->sum);
  return (attune_slope){-p * s->delta, -p * s->saved_delta,
                        (double)attune_round_to_element(dtype, -unfused * s->unfused_delta)};
}

static attune_status compute_dsinks(computation *self) {
  const attune_problem *p = self->problem;
  attune_rows *set = &self->sets[ATTUNE_ROWS_OF_DSINKS];
  attune_slope *sums = calloc((size_t)p->heads_q, sizeof *sums);
  attune_status status = open_set(set, ATTUNE_TENSOR_DSINKS, p->heads_q);
  if (status == ATTUNE_OK && sums == NULL) status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for sinks");
  for (int head = 0; head < p->heads_q && status == ATTUNE_OK; head++)
    for (int batch = 0; batch < p->batch; batch++)
      for (int row = 0; row < queries_of(self, batch); row++)
        add(&sums[head], slope_of_sink(self, batch, head, row));
  if (status == ATTUNE_OK) close_set(set, ATTUNE_TENSOR_DSINKS, sums);
  free(sums);
  return status;
}

static void add_elements(attune_slope *sums, const computation *self, int batch, int head, int index) {
  attune_gradient_row row;
  attune_gradient_row_open(&row, self->problem, self->inputs, batch, head, index);
  const attune_row_statistics *statistics = statistics_of(self, batch, head, index);
  for (int64_t key = row.row.first; key < row.row.last && row.derivatives != NULL; key++) {
    if (!attune_row_sees(&row.row, key)) continue;
    for (int i = 0; i < row.derivatives->count; i++) {
      const attune_derivative *of = &row.derivatives->of[i];
      if (of->by != ATTUNE_BY_ELEMENT) continue;
      attune_row_scope(&row.row, key, attune_row_scaled(&row.row, key));
      const double at = attune_expression_evaluate(of->index, &row.row.scope);
      if (at < 0 || at >= (double)self->values[of->param].count) continue;
      add(&sums[self->first[of->param] + (int64_t)at], attune_slope_of(&row, statistics, key, of));
    }
  }
  attune_gradient_row_close(&row);
}

static void compute_elements(void *user, int64_t begin, int64_t end) {
  computation *self = user;
  const attune_problem *p = self->problem;
  const int64_t count = self->first[ATTUNE_PARAMS_MAX];
  attune_slope *sums = calloc((size_t)count, sizeof *sums);
  if (sums == NULL) self->failed = true;
  for (int64_t i = begin; i < end && sums != NULL; i++) {
    const int batch = (int)(i / p->seqlen_q / p->heads_q), head = (int)(i / p->seqlen_q % p->heads_q),
              row = (int)(i % p->seqlen_q);
    if (row < queries_of(self, batch)) add_elements(sums, self, batch, head, row);
  }
  pthread_mutex_lock(&self->lock);
  for (int64_t i = 0; i < count && sums != NULL; i++)
    add(&self->elements[i], sums[i]);
  pthread_mutex_unlock(&self->lock);
  free(sums);
}

static bool is_array_of_floats(const attune_problem *p, int param) {
  return param < p->param_count && p->params[param].type == ATTUNE_PARAM_FLOAT_ARRAY;
}

static attune_status compute_dparams(computation *self) {
  enum { GRAIN = 16 };
  const attune_problem *p = self->problem;
  attune_status status = ATTUNE_OK;
  attune_inputs_values(self->values, self->inputs);
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    self->first[i + 1] = self->first[i] + (is_array_of_floats(p, i) ? self->values[i].count : 0);
  if (self->first[ATTUNE_PARAMS_MAX] == 0) return ATTUNE_OK;
  self->elements = calloc((size_t)self->first[ATTUNE_PARAMS_MAX], sizeof *self->elements);
  if (self->elements == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the gradients of params");
  attune_parallel((int64_t)p->batch * p->heads_q * p->seqlen_q, GRAIN, compute_elements, self);
  for (int i = 0; i < ATTUNE_PARAMS_MAX && status == ATTUNE_OK; i++) {
    const attune_tensor_id id = (attune_tensor_id)(ATTUNE_TENSOR_DPARAM + i);
    attune_rows *set = &self->sets[ATTUNE_ROWS_OF_DPARAMS + i];
    const int64_t width = self->first[i + 1] - self->first[i];
    if (width == 0) continue;
    status = open_set(set, id, width);
    if (status == ATTUNE_OK) close_set(set, id, self->elements + self->first[i]);
  }
  if (status == ATTUNE_OK && self->failed)
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the gradients of params");
  return status;
}

attune_status attune_score_gradients_create(attune_rows sets[ATTUNE_ROWS_COUNT], const attune_problem *problem,
                                            const attune_inputs *inputs, uint64_t seed, bool all) {
  computation self = {.problem = problem, .inputs = inputs, .sets = sets, .lock = PTHREAD_MUTEX_INITIALIZER};
  attune_status status = ATTUNE_OK;
  if (!problem->want_dbias && !problem->want_dsinks && !problem->want_dparams) return ATTUNE_OK;
  attune_row_statistics *statistics = attune_statistics_of_rows(problem, inputs, all);
  if (statistics == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the query rows of a problem");
  self.statistics = statistics;
  if (problem->want_dbias) status = compute_dbias(&self, seed, all);
  if (status == ATTUNE_OK && problem->want_dsinks) status = compute_dsinks(&self);
  if (status == ATTUNE_OK && problem->want_dparams && all) status = compute_dparams(&self);
  pthread_mutex_destroy(&self.lock);
  free(statistics);
  free(self.errors);
  free(self.elements);
  return status;
}
