/* The rows that are computed in double precision: all of a small problem, and all on the simulator, where running the
 * kernel costs more than they do; else those where kernels go wrong first (the ends, the edges of tiles, the row where
 * the mask begins to show keys), random ones, and some of every bucket of visible keys. Rows past a sequence's length
 * do not exist. */
#include <math.h>
#include <stdlib.h>

#include "generator/base/random.h"
#include "generator/base/status.h"
#include "tuner/verify/parallel.h"
#include "tuner/verify/verifier.h"

/* Multiply-adds that a core does in a second here, by measurement; a score costs as much as so many of them. */
enum {
  PRODUCTS_PER_SECOND = 1000 * 1000 * 1000,
  PRODUCTS_PER_SCORE = 100,
  PRODUCTS_PER_EXPRESSION = 500,
  ROWS_MIN = 48,
  BUCKET_ROWS = 16,    /* of each bucket, besides the others */
  FEWEST_OF_BUCKET = 8 /* whose largest error says something */
};

typedef struct {
  const attune_problem *problem;
  const attune_inputs *inputs;
  attune_rows *rows;
  double *errors; /* of the unfused computation, one a row */
} computation;

static int32_t length_of(const attune_problem *problem, const attune_inputs *inputs, attune_side side, int64_t batch) {
  const int32_t *lengths = attune_inputs_seqlens(inputs, side);
  if (lengths != NULL) return lengths[batch];
  return side == ATTUNE_QUERIES ? problem->seqlen_q : problem->seqlen_k;
}

/* Keys that any row sees at most. */
static int64_t most_visible_keys(const attune_problem *problem) {
  const bool bounded = problem->window_left < ATTUNE_UNBOUNDED && problem->window_right < ATTUNE_UNBOUNDED;
  const int64_t width = (int64_t)problem->window_left + problem->window_right + 1;
  return bounded && width < problem->seqlen_k ? width : problem->seqlen_k;
}

static int64_t visible_keys(const attune_problem *problem, int64_t seqlen_q, int64_t seqlen_k, int64_t row) {
  const int64_t shift = problem->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? seqlen_k - seqlen_q : 0;
  int64_t first = 0, last = seqlen_k - 1;
  if (problem->mask != ATTUNE_MASK_NONE && row + shift < last) last = row + shift;
  if (problem->window_left < ATTUNE_UNBOUNDED && row + shift - problem->window_left > first)
    first = row + shift - problem->window_left;
  if (problem->window_right < ATTUNE_UNBOUNDED && row + shift + problem->window_right < last)
    last = row + shift + problem->window_right;
  return last < first ? 0 : last - first + 1;
}

/* A lone key has weight one: there the unfused computation is exact, and no measure of what may be off. So it goes with
 * two and three. */
static int bucket_of_keys(int64_t keys) {
  int bucket = keys > 0;
  while (keys >= 4) {
    keys /= 2;
    bucket++;
  }
  return bucket;
}

int attune_bucket(const attune_problem *problem, int32_t seqlen_q, int32_t seqlen_k, int row) {
  return bucket_of_keys(visible_keys(problem, seqlen_q, seqlen_k, row));
}

static int64_t affordable_rows(const attune_problem *problem) {
  const bool evaluates = attune_problem_is_sparse(problem) || attune_problem_score(problem) == ATTUNE_SCORE_EXPRESSION;
  const int64_t products = 3 * (int64_t)(problem->head_dim + problem->head_dim_v) + PRODUCTS_PER_SCORE +
                           (evaluates ? PRODUCTS_PER_EXPRESSION : 0);
  const int64_t rows = (int64_t)PRODUCTS_PER_SECOND * attune_cores() / (products * most_visible_keys(problem));
  return rows > ROWS_MIN ? rows : ROWS_MIN;
}

/* Rows of a sequence at the edges of tiles of any family, from the start and from the end, and where masks begin and
 * end to show keys. */
static int edge_rows(int64_t *out, const attune_problem *problem, int64_t seqlen_q, int64_t seqlen_k) {
  static const int tiles[] = {1, 8, 16, 32, 64, 96, 128, 192, 256};
  const int64_t last = seqlen_q - 1;
  const int64_t shift = problem->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? seqlen_k - seqlen_q : 0;
  const int64_t left = problem->window_left < ATTUNE_UNBOUNDED ? problem->window_left : 0;
  const int64_t ends[] = {-shift, seqlen_k - shift, left - shift, seqlen_k + left - shift};
  int count = 0;
  for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
    out[count++] = tiles[i] - 1;
    out[count++] = tiles[i];
    out[count++] = last / tiles[i] * tiles[i];
    out[count++] = last / tiles[i] * tiles[i] - 1;
  }
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    out[count++] = ends[i] - 1;
    out[count++] = ends[i];
  }
  out[count++] = 0;
  int kept = 0;
  for (int i = 0; i < count; i++)
    if (out[i] >= 0 && out[i] <= last) out[kept++] = out[i];
  return kept;
}

/* The query rows of each bucket, of all sequences: those of bucket i are order[start[i]] to order[start[i + 1] - 1],
 * each as batch * seqlen_q + row. Every head has them. */
typedef struct {
  int64_t *order;
  int64_t start[ATTUNE_BUCKETS + 1];
} bucket_rows;

static attune_row row_of(const attune_problem *problem, int64_t place, int64_t head) {
  return (attune_row){
      .batch = (int)(place / problem->seqlen_q), .head = (int)head, .row = (int)(place % problem->seqlen_q)};
}

static int bucket_of_place(const attune_problem *problem, const attune_inputs *inputs, int64_t place) {
  const attune_row row = row_of(problem, place, 0);
  return attune_bucket(problem, length_of(problem, inputs, ATTUNE_QUERIES, row.batch),
                       length_of(problem, inputs, ATTUNE_KEYS, row.batch), row.row);
}

static bool sort_rows(bucket_rows *out, const attune_problem *problem, const attune_inputs *inputs) {
  int64_t next[ATTUNE_BUCKETS];
  const int64_t places = (int64_t)problem->batch * problem->seqlen_q;
  *out = (bucket_rows){.order = malloc((size_t)places * sizeof *out->order)};
  if (out->order == NULL) return false;
  for (int64_t place = 0; place < places; place++)
    if (place % problem->seqlen_q < length_of(problem, inputs, ATTUNE_QUERIES, place / problem->seqlen_q))
      out->start[bucket_of_place(problem, inputs, place) + 1]++;
  for (int i = 0; i < ATTUNE_BUCKETS; i++) {
    out->start[i + 1] += out->start[i];
    next[i] = out->start[i];
  }
  for (int64_t place = 0; place < places; place++)
    if (place % problem->seqlen_q < length_of(problem, inputs, ATTUNE_QUERIES, place / problem->seqlen_q))
      out->order[next[bucket_of_place(problem, inputs, place)]++] = place;
  return true;
}

/* Rows of the bucket in all heads. */
static int64_t population(const bucket_rows *buckets, const attune_problem *problem, int bucket) {
  return (buckets->start[bucket + 1] - buckets->start[bucket]) * problem->heads_q;
}

static int64_t bucket_share(const bucket_rows *buckets, const attune_problem *problem, int bucket) {
  const int64_t rows = population(buckets, problem, bucket);
  return rows < BUCKET_ROWS ? rows : BUCKET_ROWS;
}

static void choose_all(attune_rows *out, const bucket_rows *buckets, const attune_problem *problem) {
  const int64_t rows = buckets->start[ATTUNE_BUCKETS];
  for (int64_t i = 0; i < out->count; i++)
    out->rows[i] = row_of(problem, buckets->order[i % rows], i / rows);
}

/* One random row of each of as many equal parts of the bucket, which are spread over the heads. */
static attune_row *choose_of_bucket(attune_row *out, const bucket_rows *buckets, const attune_problem *problem,
                                    int bucket, uint64_t *seed) {
  const int64_t rows = buckets->start[bucket + 1] - buckets->start[bucket];
  const int64_t share = bucket_share(buckets, problem, bucket);
  for (int64_t i = 0; i < share; i++) {
    const int64_t part = population(buckets, problem, bucket) / share;
    const int64_t place = i * part + (int64_t)(attune_random_next(seed) % (uint64_t)part);
    *out++ = row_of(problem, buckets->order[buckets->start[bucket] + place % rows], place / rows);
  }
  return out;
}

/* Edges of random sequences and random rows take turns, with the latter heads go round; then some of every bucket. */
static void choose_some(attune_rows *out, const bucket_rows *buckets, const attune_problem *problem,
                        const attune_inputs *inputs, uint64_t seed) {
  const uint64_t rows = (uint64_t)buckets->start[ATTUNE_BUCKETS];
  int64_t general = out->count;
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    general -= bucket_share(buckets, problem, i);
  for (int64_t i = 0; i < general; i++) {
    attune_row *row = &out->rows[i];
    *row = row_of(problem, buckets->order[attune_random_next(&seed) % rows], i / 2 % problem->heads_q);
    if (i % 2 != 0) continue;
    int64_t edges[64];
    const int edge_count = edge_rows(edges, problem, length_of(problem, inputs, ATTUNE_QUERIES, row->batch),
                                     length_of(problem, inputs, ATTUNE_KEYS, row->batch));
    row->row = (int)edges[i / 2 % edge_count];
    row->head = (int)(attune_random_next(&seed) % (uint64_t)problem->heads_q);
  }
  attune_row *next = out->rows + general;
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    next = choose_of_bucket(next, buckets, problem, i, &seed);
}

static void compute_rows(void *user, int64_t begin, int64_t end) {
  const computation *self = user;
  const attune_problem *problem = self->problem;
  double unfused[256], lse;
  for (int64_t i = begin; i < end; i++) {
    attune_row *row = &self->rows->rows[i];
    row->bucket = !attune_problem_is_sparse(problem)
                      ? bucket_of_place(problem, self->inputs, (int64_t)row->batch * problem->seqlen_q + row->row)
                      : bucket_of_keys(attune_reference_keys(problem, self->inputs, row->batch, row->head, row->row));
    double *exact = &self->rows->exact[ATTUNE_TENSOR_O][i * problem->head_dim_v];
    attune_reference_row(exact, &lse, problem, self->inputs, row->batch, row->head, row->row);
    self->rows->exact[ATTUNE_TENSOR_LSE][i] = lse;
    attune_unfused_row(unfused, problem, self->inputs, row->batch, row->head, row->row);
    self->errors[i] = 0.0;
    for (int d = 0; d < problem->head_dim_v; d++)
      self->errors[i] = fmax(self->errors[i], fabs(unfused[d] - exact[d])); /* fmax passes over NaN */
  }
}

/* A bucket of few rows takes in its neighbours, those of fewer keys and larger errors first. */
static double pooled_error(const double *largest, const int64_t *population, int bucket) {
  double error = largest[bucket];
  int64_t rows = population[bucket];
  if (bucket == 0 || rows == 0) return 0.0;
  for (int i = bucket - 1; i > 0 && rows < FEWEST_OF_BUCKET; i--) {
    rows += population[i];
    error = fmax(error, largest[i]);
  }
  for (int i = bucket + 1; i < ATTUNE_BUCKETS && rows < FEWEST_OF_BUCKET; i++) {
    rows += population[i];
    error = fmax(error, largest[i]);
  }
  return error;
}

static void summarize(attune_rows *out, const double *errors, const bucket_rows *buckets,
                      const attune_problem *problem) {
  double largest[ATTUNE_BUCKETS] = {0};
  int64_t checked[ATTUNE_BUCKETS] = {0}, rows[ATTUNE_BUCKETS];
  for (int64_t i = 0; i < out->count; i++) {
    double *of_bucket = &largest[out->rows[i].bucket];
    *of_bucket = fmax(*of_bucket, errors[i]);
    checked[out->rows[i].bucket]++;
  }
  /* Of a pattern's buckets nothing is known but the rows that were checked. */
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    rows[i] = !attune_problem_is_sparse(problem) ? population(buckets, problem, i) : checked[i];
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    out->unfused_errors[i] = pooled_error(largest, rows, i);
}

attune_status attune_rows_create(attune_rows *out, const attune_problem *problem, const attune_inputs *inputs,
                                 uint64_t seed, bool all) {
  attune_status status = ATTUNE_OK;
  bucket_rows buckets;
  double *errors = NULL;
  *out = (attune_rows){0};
  if (!sort_rows(&buckets, problem, inputs))
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to sort %lld rows",
                       (long long)problem->batch * problem->seqlen_q);
  const int64_t total = buckets.start[ATTUNE_BUCKETS] * problem->heads_q;
  out->count = affordable_rows(problem);
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    out->count += bucket_share(&buckets, problem, i);
  out->all = all || total <= out->count;
  if (out->all) out->count = total;
  const size_t count = out->count > 0 ? (size_t)out->count : 1;
  out->rows = malloc(count * sizeof *out->rows);
  out->exact[ATTUNE_TENSOR_O] = malloc(count * (size_t)problem->head_dim_v * sizeof(double));
  out->exact[ATTUNE_TENSOR_LSE] = malloc(count * sizeof(double));
  errors = malloc(count * sizeof *errors);
  if (out->rows == NULL || out->exact[ATTUNE_TENSOR_O] == NULL || out->exact[ATTUNE_TENSOR_LSE] == NULL ||
      errors == NULL) {
    attune_rows_free(out);
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %zu reference rows", count);
    goto done;
  }
  if (out->all)
    choose_all(out, &buckets, problem);
  else
    choose_some(out, &buckets, problem, inputs, seed);
  computation self = {problem, inputs, out, errors};
  attune_parallel(out->count, 1, compute_rows, &self);
  summarize(out, errors, &buckets, problem);
done:
  free(buckets.order);
  free(errors);
  return status;
}

void attune_rows_free(attune_rows *rows) {
  free(rows->rows);
  for (int i = 0; i < ATTUNE_VERIFIED_TENSORS; i++)
    free(rows->exact[i]);
  *rows = (attune_rows){0};
}
