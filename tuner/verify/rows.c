/* The rows that are computed in double precision: all of a small problem, and all on the simulator, where running the
 * kernel costs more than they do; else those where kernels go wrong first (the ends, the edges of tiles, the row where
 * the mask begins to show keys), random ones, and some of every bucket of visible keys. Rows past a sequence's length
 * do not exist. */
#include <math.h>
#include <stdlib.h>

#include "generator/base/random.h"
#include "generator/base/status.h"
#include "tuner/verify/gradients.h"
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

/* The rows of one side of a problem. */
typedef struct {
  const attune_problem *problem;
  const attune_inputs *inputs;
  attune_side side;
  int32_t heads, seqlen; /* of the side */
} side_rows;

typedef struct {
  side_rows of;
  attune_rows *rows;
  double *errors[ATTUNE_VERIFIED_TENSORS]; /* of outputs: of the unfused computation, one a row */
  attune_row_statistics *statistics;       /* of all query rows, for the gradients of keys */
  int64_t *chunks;                         /* where rows of one sequence and head begin, for the same */
  _Atomic bool failed;                     /* for want of memory */
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

/* The queries that see a key, of all heads that share it. */
static int64_t visible_queries(const attune_problem *problem, int64_t seqlen_q, int64_t seqlen_k, int64_t key) {
  const int64_t shift = problem->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? seqlen_k - seqlen_q : 0;
  int64_t first = 0, last = seqlen_q - 1;
  if (problem->mask != ATTUNE_MASK_NONE && key - shift > first) first = key - shift;
  if (problem->window_right < ATTUNE_UNBOUNDED && key - shift - problem->window_right > first)
    first = key - shift - problem->window_right;
  if (problem->window_left < ATTUNE_UNBOUNDED && key - shift + problem->window_left < last)
    last = key - shift + problem->window_left;
  return last < first ? 0 : (last - first + 1) * (problem->heads_q / problem->heads_kv);
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

int attune_bucket(const attune_problem *problem, attune_side side, int32_t seqlen_q, int32_t seqlen_k, int row) {
  return bucket_of_keys(side == ATTUNE_QUERIES ? visible_keys(problem, seqlen_q, seqlen_k, row)
                                               : visible_queries(problem, seqlen_q, seqlen_k, row));
}

attune_side attune_side_of(attune_tensor_id id) {
  return attune_tensor_table[id].rows == ATTUNE_EXTENT_KEYS ? ATTUNE_KEYS : ATTUNE_QUERIES;
}

attune_rows_of attune_rows_of_output(attune_tensor_id id) {
  if (id == ATTUNE_TENSOR_DBIAS) return ATTUNE_ROWS_OF_DBIAS;
  if (id == ATTUNE_TENSOR_DSINKS) return ATTUNE_ROWS_OF_DSINKS;
  if (attune_param_of(id) >= 0) return (attune_rows_of)(ATTUNE_ROWS_OF_DPARAMS + attune_param_of(id));
  return (attune_rows_of)attune_side_of(id);
}

static int64_t affordable_rows(const attune_problem *problem) {
  const bool evaluates = attune_problem_is_sparse(problem) || attune_problem_score(problem) == ATTUNE_SCORE_EXPRESSION;
  const int64_t of_scores = problem->want_dbias + problem->want_dparams; /* gradients: each goes through all pairs */
  const int64_t passes = problem->operation == ATTUNE_BACKWARD ? 12 * (1 + of_scores) : 3;
  const int64_t products = passes * (problem->head_dim + problem->head_dim_v) + PRODUCTS_PER_SCORE +
                           (evaluates ? PRODUCTS_PER_EXPRESSION * (1 + of_scores) : 0);
  const int64_t rows = (int64_t)PRODUCTS_PER_SECOND * attune_cores() / (products * most_visible_keys(problem));
  return rows > ROWS_MIN ? rows : ROWS_MIN;
}

bool attune_rows_affordable(const attune_problem *problem) {
  const int64_t queries = (int64_t)problem->batch * problem->heads_q * problem->seqlen_q,
                keys = (int64_t)problem->batch * problem->heads_kv * problem->seqlen_k;
  return (queries > keys ? queries : keys) <= affordable_rows(problem);
}

/* Rows of a sequence at the edges of tiles of any family, from the start and from the end, and where masks begin and
 * end to show keys. */
static int edge_rows(int64_t *out, const attune_problem *problem, attune_side side, int64_t seqlen_q,
                     int64_t seqlen_k) {
  static const int tiles[] = {1, 8, 16, 32, 64, 96, 128, 192, 256};
  const int64_t last = (side == ATTUNE_QUERIES ? seqlen_q : seqlen_k) - 1;
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

/* The rows of each bucket, of all sequences: those of bucket i are order[start[i]] to order[start[i + 1] - 1], each as
 * batch * seqlen + row. Every head has them. */
typedef struct {
  int64_t *order;
  int64_t start[ATTUNE_BUCKETS + 1];
} bucket_rows;

static attune_row row_of(const side_rows *of, int64_t place, int64_t head) {
  return (attune_row){.batch = (int)(place / of->seqlen), .head = (int)head, .row = (int)(place % of->seqlen)};
}

static int bucket_of_place(const side_rows *of, int64_t place) {
  const attune_row row = row_of(of, place, 0);
  return attune_bucket(of->problem, of->side, length_of(of->problem, of->inputs, ATTUNE_QUERIES, row.batch),
                       length_of(of->problem, of->inputs, ATTUNE_KEYS, row.batch), row.row);
}

static bool exists(const side_rows *of, int64_t place) {
  return place % of->seqlen < length_of(of->problem, of->inputs, of->side, place / of->seqlen);
}

static bool sort_rows(bucket_rows *out, const side_rows *of) {
  int64_t next[ATTUNE_BUCKETS];
  const int64_t places = (int64_t)of->problem->batch * of->seqlen;
  *out = (bucket_rows){.order = malloc((size_t)places * sizeof *out->order)};
  if (out->order == NULL) return false;
  for (int64_t place = 0; place < places; place++)
    if (exists(of, place)) out->start[bucket_of_place(of, place) + 1]++;
  for (int i = 0; i < ATTUNE_BUCKETS; i++) {
    out->start[i + 1] += out->start[i];
    next[i] = out->start[i];
  }
  for (int64_t place = 0; place < places; place++)
    if (exists(of, place)) out->order[next[bucket_of_place(of, place)]++] = place;
  return true;
}

/* Rows of the bucket in all heads. */
static int64_t population(const bucket_rows *buckets, const side_rows *of, int bucket) {
  return (buckets->start[bucket + 1] - buckets->start[bucket]) * of->heads;
}

static int64_t bucket_share(const bucket_rows *buckets, const side_rows *of, int bucket) {
  const int64_t rows = population(buckets, of, bucket);
  return rows < BUCKET_ROWS ? rows : BUCKET_ROWS;
}

static void choose_all(attune_rows *out, const bucket_rows *buckets, const side_rows *of) {
  const int64_t rows = buckets->start[ATTUNE_BUCKETS];
  for (int64_t i = 0; i < out->count; i++)
    out->rows[i] = row_of(of, buckets->order[i % rows], i / rows);
}

/* One random row of each of as many equal parts of the bucket, which are spread over the heads. */
static attune_row *choose_of_bucket(attune_row *out, const bucket_rows *buckets, const side_rows *of, int bucket,
                                    uint64_t *seed) {
  const int64_t rows = buckets->start[bucket + 1] - buckets->start[bucket];
  const int64_t share = bucket_share(buckets, of, bucket);
  for (int64_t i = 0; i < share; i++) {
    const int64_t part = population(buckets, of, bucket) / share;
    const int64_t place = i * part + (int64_t)(attune_random_next(seed) % (uint64_t)part);
    *out++ = row_of(of, buckets->order[buckets->start[bucket] + place % rows], place / rows);
  }
  return out;
}

/* Edges of random sequences and random rows take turns, with the latter heads go round; then some of every bucket. */
static void choose_some(attune_rows *out, const bucket_rows *buckets, const side_rows *of, uint64_t seed) {
  const uint64_t rows = (uint64_t)buckets->start[ATTUNE_BUCKETS];
  int64_t general = out->count;
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    general -= bucket_share(buckets, of, i);
  for (int64_t i = 0; i < general; i++) {
    attune_row *row = &out->rows[i];
    *row = row_of(of, buckets->order[attune_random_next(&seed) % rows], i / 2 % of->heads);
    if (i % 2 != 0) continue;
    int64_t edges[64];
    const int edge_count =
        edge_rows(edges, of->problem, of->side, length_of(of->problem, of->inputs, ATTUNE_QUERIES, row->batch),
                  length_of(of->problem, of->inputs, ATTUNE_KEYS, row->batch));
    row->row = (int)edges[i / 2 % edge_count];
    row->head = (int)(attune_random_next(&seed) % (uint64_t)of->heads);
  }
  attune_row *next = out->rows + general;
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    next = choose_of_bucket(next, buckets, of, i, &seed);
}

/* ---- what is written of the rows ---- */

static int bucket_of_row(const side_rows *of, const attune_row *row, int64_t seen) {
  return attune_problem_is_sparse(of->problem) ? bucket_of_keys(seen)
                                               : bucket_of_place(of, (int64_t)row->batch * of->seqlen + row->row);
}

static int64_t keys_seen(const side_rows *of, const attune_row *row) {
  if (!attune_problem_is_sparse(of->problem)) return 0; /* its bucket follows from the bounds */
  return attune_reference_keys(of->problem, of->inputs, row->batch, row->head, row->row);
}

static double largest_apart(const double *a, const double *b, int count) {
  double largest = 0.0;
  for (int d = 0; d < count; d++)
    largest = fmax(largest, fabs(a[d] - b[d])); /* fmax passes over NaN */
  return largest;
}

static void compute_forward(void *user, int64_t begin, int64_t end) {
  const computation *self = user;
  const attune_problem *problem = self->of.problem;
  double unfused[256], lse;
  for (int64_t i = begin; i < end; i++) {
    attune_row *row = &self->rows->rows[i];
    row->bucket = bucket_of_row(&self->of, row, keys_seen(&self->of, row));
    double *exact = &self->rows->exact[ATTUNE_TENSOR_O][i * problem->head_dim_v];
    attune_reference_row(exact, &lse, problem, self->of.inputs, row->batch, row->head, row->row);
    self->rows->exact[ATTUNE_TENSOR_LSE][i] = lse;
    attune_unfused_row(unfused, problem, self->of.inputs, row->batch, row->head, row->row);
    self->errors[ATTUNE_TENSOR_O][i] = largest_apart(unfused, exact, problem->head_dim_v);
  }
}

static void compute_dq(void *user, int64_t begin, int64_t end) {
  const computation *self = user;
  const attune_problem *problem = self->of.problem;
  double unfused[256];
  for (int64_t i = begin; i < end; i++) {
    attune_row *row = &self->rows->rows[i];
    attune_row_statistics statistics;
    row->bucket = bucket_of_row(&self->of, row, keys_seen(&self->of, row));
    attune_statistics_of_row(&statistics, problem, self->of.inputs, row->batch, row->head, row->row);
    double *exact = &self->rows->exact[ATTUNE_TENSOR_DQ][i * problem->head_dim];
    attune_reference_dq(exact, unfused, problem, self->of.inputs, &statistics, row->batch, row->head, row->row);
    self->errors[ATTUNE_TENSOR_DQ][i] = largest_apart(unfused, exact, problem->head_dim);
  }
}

/* Keys of one sequence and head at a time, since each query row is opened for all of them. */
enum { CHUNK = 32 };

static bool compute_chunk(const computation *self, int64_t begin, int count) {
  const attune_problem *problem = self->of.problem;
  attune_row *rows = &self->rows->rows[begin];
  const int64_t k = problem->head_dim, v = problem->head_dim_v;
  int keys[CHUNK];
  int64_t seen[CHUNK] = {0};
  double *unfused = malloc((size_t)(count * (k + v)) * sizeof *unfused);
  if (unfused == NULL) return false;
  double *dk = &self->rows->exact[ATTUNE_TENSOR_DK][begin * k], *dv = &self->rows->exact[ATTUNE_TENSOR_DV][begin * v];
  double *unfused_dk = unfused, *unfused_dv = unfused + count * k;
  for (int i = 0; i < count; i++)
    keys[i] = rows[i].row;
  if (attune_problem_is_sparse(problem))
    attune_reference_queries(seen, problem, self->of.inputs, rows->batch, rows->head, keys, count);
  const bool done = attune_reference_dkv(dk, dv, unfused_dk, unfused_dv, problem, self->of.inputs, self->statistics,
                                         rows->batch, rows->head, keys, count);
  for (int i = 0; i < count && done; i++) {
    rows[i].bucket = bucket_of_row(&self->of, &rows[i], seen[i]);
    self->errors[ATTUNE_TENSOR_DK][begin + i] = largest_apart(unfused_dk + i * k, dk + i * k, (int)k);
    self->errors[ATTUNE_TENSOR_DV][begin + i] = largest_apart(unfused_dv + i * v, dv + i * v, (int)v);
  }
  free(unfused);
  return done;
}

static void compute_dkv(void *user, int64_t begin, int64_t end) {
  computation *self = user;
  for (int64_t i = begin; i < end; i++)
    if (!compute_chunk(self, self->chunks[i], (int)(self->chunks[i + 1] - self->chunks[i]))) self->failed = true;
}

typedef struct {
  const attune_problem *problem;
  const attune_inputs *inputs;
  bool all;
  attune_row_statistics *out;
} statistics_work;

static void compute_statistics(void *user, int64_t begin, int64_t end) {
  const statistics_work *self = user;
  const attune_problem *p = self->problem;
  for (int64_t i = begin; i < end; i++) {
    const int batch = (int)(i / p->seqlen_q / p->heads_q), head = (int)(i / p->seqlen_q % p->heads_q),
              row = (int)(i % p->seqlen_q);
    if (row >= length_of(p, self->inputs, ATTUNE_QUERIES, batch)) continue;
    if (self->all)
      attune_statistics_of_row(&self->out[i], p, self->inputs, batch, head, row);
    else
      attune_statistics_given(&self->out[i], p, self->inputs, batch, head, row);
  }
}

attune_row_statistics *attune_statistics_of_rows(const attune_problem *problem, const attune_inputs *inputs, bool all) {
  const int64_t queries = (int64_t)problem->batch * problem->heads_q * problem->seqlen_q;
  const statistics_work work = {problem, inputs, all, calloc((size_t)queries, sizeof *work.out)};
  if (work.out != NULL) attune_parallel(queries, 1, compute_statistics, (void *)&work);
  return work.out;
}

static int by_place(const void *a, const void *b) {
  const attune_row *x = a, *y = b;
  if (x->batch != y->batch) return x->batch - y->batch;
  return x->head != y->head ? x->head - y->head : x->row - y->row;
}

/* Returns the number of chunks. */
static int64_t cut_into_chunks(computation *self) {
  const attune_row *rows = self->rows->rows;
  int64_t chunks = 0;
  for (int64_t i = 0; i < self->rows->count; i++) {
    const bool same = chunks > 0 && rows[i].batch == rows[i - 1].batch && rows[i].head == rows[i - 1].head &&
                      i - self->chunks[chunks - 1] < CHUNK;
    if (!same) self->chunks[chunks++] = i;
  }
  self->chunks[chunks] = self->rows->count;
  return chunks;
}

static attune_status compute_keys(computation *self) {
  self->statistics = attune_statistics_of_rows(self->of.problem, self->of.inputs, self->rows->all);
  self->chunks = malloc((size_t)(self->rows->count + 1) * sizeof *self->chunks);
  if (self->statistics == NULL || self->chunks == NULL)
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the query rows of %lld keys", (long long)self->rows->count);
  qsort(self->rows->rows, (size_t)self->rows->count, sizeof *self->rows->rows, by_place);
  attune_parallel(cut_into_chunks(self), 1, compute_dkv, self);
  return self->failed ? attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the gradients of %d keys", CHUNK) : ATTUNE_OK;
}

static attune_status compute(computation *self) {
  if (self->of.side == ATTUNE_KEYS) return compute_keys(self);
  const bool forward = self->of.problem->operation == ATTUNE_FORWARD;
  attune_parallel(self->rows->count, 1, forward ? compute_forward : compute_dq, self);
  return ATTUNE_OK;
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

void attune_pool_errors(double out[ATTUNE_BUCKETS], const double largest[ATTUNE_BUCKETS],
                        const int64_t population[ATTUNE_BUCKETS]) {
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    out[i] = pooled_error(largest, population, i);
}

static void summarize(attune_rows *out, attune_tensor_id id, const double *errors, const bucket_rows *buckets,
                      const side_rows *of) {
  double largest[ATTUNE_BUCKETS] = {0};
  int64_t checked[ATTUNE_BUCKETS] = {0}, rows[ATTUNE_BUCKETS];
  for (int64_t i = 0; i < out->count; i++) {
    double *of_bucket = &largest[out->rows[i].bucket];
    *of_bucket = fmax(*of_bucket, errors[i]);
    checked[out->rows[i].bucket]++;
  }
  /* Of a pattern's buckets nothing is known but the rows that were checked. */
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    rows[i] = !attune_problem_is_sparse(of->problem) ? population(buckets, of, i) : checked[i];
  attune_pool_errors(out->unfused_errors[id], largest, rows);
}

/* Whether the side's rows have the output; forward's LSE is one also where it is not wanted. */
static bool is_output(const side_rows *of, attune_tensor_id id) {
  if (attune_rows_of_output(id) != (attune_rows_of)of->side) return false;
  if (of->problem->operation == ATTUNE_FORWARD) return id == ATTUNE_TENSOR_O || id == ATTUNE_TENSOR_LSE;
  return attune_tensor_role_of(id, of->problem) == ATTUNE_TENSOR_OUTPUT;
}

static bool allocate(computation *self) {
  const size_t count = self->rows->count > 0 ? (size_t)self->rows->count : 1;
  self->rows->rows = malloc(count * sizeof *self->rows->rows);
  bool fits = self->rows->rows != NULL;
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++) {
    if (!is_output(&self->of, id)) continue;
    attune_shape shape;
    attune_tensor_table[id].shape(&shape, self->of.problem, NULL);
    self->rows->exact[id] = malloc(count * (size_t)shape.row * sizeof(double));
    self->errors[id] = calloc(count, sizeof *self->errors[id]);
    fits = fits && self->rows->exact[id] != NULL && self->errors[id] != NULL;
  }
  return fits;
}

attune_status attune_rows_create(attune_rows *out, const attune_problem *problem, attune_side side,
                                 const attune_inputs *inputs, uint64_t seed, bool all) {
  const bool queries = side == ATTUNE_QUERIES;
  computation self = {.of = {.problem = problem,
                             .inputs = inputs,
                             .side = side,
                             .heads = queries ? problem->heads_q : problem->heads_kv,
                             .seqlen = queries ? problem->seqlen_q : problem->seqlen_k},
                      .rows = out};
  attune_status status = ATTUNE_OK;
  bucket_rows buckets;
  *out = (attune_rows){0};
  if (!sort_rows(&buckets, &self.of))
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to sort %lld rows", (long long)problem->batch * self.of.seqlen);
  const int64_t total = buckets.start[ATTUNE_BUCKETS] * self.of.heads;
  out->count = affordable_rows(problem);
  for (int i = 0; i < ATTUNE_BUCKETS; i++)
    out->count += bucket_share(&buckets, &self.of, i);
  out->all = all || (problem->operation == ATTUNE_FORWARD && total <= out->count);
  if (out->all || total < out->count) out->count = total;
  if (!allocate(&self)) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %lld reference rows", (long long)out->count);
  } else {
    if (out->count == total)
      choose_all(out, &buckets, &self.of);
    else
      choose_some(out, &buckets, &self.of, seed);
    status = compute(&self);
  }
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++) {
    if (status == ATTUNE_OK && self.errors[id] != NULL) summarize(out, id, self.errors[id], &buckets, &self.of);
    free(self.errors[id]);
  }
  if (status != ATTUNE_OK) attune_rows_free(out);
  free(self.statistics);
  free(self.chunks);
  free(buckets.order);
  return status;
}

void attune_rows_free(attune_rows *rows) {
  free(rows->rows);
  for (int i = 0; i < ATTUNE_VERIFIED_TENSORS; i++)
    free(rows->exact[i]);
  *rows = (attune_rows){0};
}
