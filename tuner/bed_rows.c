/* The rows that are judged in double precision: all of a small problem, and all on the host device, where running the
 * kernel costs more than they do; else those where kernels go wrong first (the ends, the edges of tiles, the row where
 * the mask begins to show keys) and random ones. */
#include <math.h>
#include <stdlib.h>

#include "runtime/fail.h"
#include "tuner/bed.h"
#include "tuner/parallel.h"

/* Multiply-adds that a core does in a second here, by measurement; a score costs as much as so many of them. */
enum { PRODUCTS_PER_SECOND = 1000 * 1000 * 1000, PRODUCTS_PER_SCORE = 100, ROWS_MIN = 48 };

typedef struct {
  const attune_problem *problem;
  const uint16_t *q, *k, *v;
  attune_rows *rows;
  double *errors; /* of the unfused computation, one a row */
} judging;

/* Keys that a row sees at most. */
static int64_t visible_keys(const attune_problem *problem) {
  const bool bounded = problem->window_left < ATTUNE_UNBOUNDED && problem->window_right < ATTUNE_UNBOUNDED;
  const int64_t width = (int64_t)problem->window_left + problem->window_right + 1;
  return bounded && width < problem->seqlen_k ? width : problem->seqlen_k;
}

static int64_t affordable_rows(const attune_problem *problem) {
  const int64_t products = 3 * (int64_t)(problem->head_dim + problem->head_dim_v) + PRODUCTS_PER_SCORE;
  const int64_t rows = (int64_t)PRODUCTS_PER_SECOND * attune_cores() / (products * visible_keys(problem));
  return rows > ROWS_MIN ? rows : ROWS_MIN;
}

/* Rows at the edges of tiles of any family, from the start and from the end, and where masks begin and end to show
 * keys. */
static int edge_rows(int64_t *out, const attune_problem *problem) {
  static const int tiles[] = {1, 8, 16, 32, 64, 96, 128, 192, 256};
  const int64_t last = problem->seqlen_q - 1;
  const int64_t shift =
      problem->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? (int64_t)problem->seqlen_k - problem->seqlen_q : 0;
  const int64_t left = problem->window_left < ATTUNE_UNBOUNDED ? problem->window_left : 0;
  const int64_t ends[] = {-shift, problem->seqlen_k - shift, left - shift, problem->seqlen_k + left - shift};
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

static uint64_t next_random(uint64_t *state) {
  *state += 0x9e3779b97f4a7c15ull;
  uint64_t z = *state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

static void choose_all(attune_rows *out, const attune_problem *problem) {
  for (int64_t i = 0; i < out->count; i++)
    out->rows[i] = (attune_row){.batch = (int)(i / problem->seqlen_q / problem->heads_q),
                                .head = (int)(i / problem->seqlen_q % problem->heads_q),
                                .row = (int)(i % problem->seqlen_q)};
}

/* Edges of random heads and random rows take turns; with the latter heads go round. */
static void choose_some(attune_rows *out, const attune_problem *problem, uint64_t seed) {
  int64_t edges[64];
  const int edge_count = edge_rows(edges, problem);
  const uint64_t heads = (uint64_t)problem->batch * (uint64_t)problem->heads_q;
  for (int64_t i = 0; i < out->count; i++) {
    const bool edge = i % 2 == 0;
    const int64_t head = (int64_t)((edge ? next_random(&seed) : (uint64_t)i / 2) % heads);
    const int64_t row = edge ? edges[i / 2 % edge_count] : (int64_t)(next_random(&seed) % (uint64_t)problem->seqlen_q);
    out->rows[i] =
        (attune_row){.batch = (int)(head / problem->heads_q), .head = (int)(head % problem->heads_q), .row = (int)row};
  }
}

static void judge_rows(void *user, int64_t begin, int64_t end) {
  const judging *self = user;
  const attune_problem *problem = self->problem;
  double unfused[256];
  for (int64_t i = begin; i < end; i++) {
    const attune_row *row = &self->rows->rows[i];
    double *exact = &self->rows->o[i * problem->head_dim_v];
    attune_reference_row(exact, &self->rows->lse[i], problem, self->q, self->k, self->v, row->batch, row->head,
                         row->row);
    attune_unfused_row(unfused, problem, self->q, self->k, self->v, row->batch, row->head, row->row);
    self->errors[i] = 0.0;
    for (int d = 0; d < problem->head_dim_v; d++)
      self->errors[i] = fmax(self->errors[i], fabs(unfused[d] - exact[d])); /* fmax passes over NaN */
  }
}

attune_status attune_rows_create(attune_rows *out, const attune_problem *problem, const uint16_t *q, const uint16_t *k,
                                 const uint16_t *v, uint64_t seed, bool all) {
  attune_status status = ATTUNE_OK;
  const int64_t total = (int64_t)problem->batch * problem->heads_q * problem->seqlen_q;
  const int64_t affordable = affordable_rows(problem);
  *out = (attune_rows){.all = all || total <= affordable};
  out->count = out->all ? total : affordable;
  const size_t count = (size_t)out->count;
  out->rows = malloc(count * sizeof *out->rows);
  out->o = malloc(count * (size_t)problem->head_dim_v * sizeof *out->o);
  out->lse = malloc(count * sizeof *out->lse);
  double *errors = malloc(count * sizeof *errors);
  if (out->rows == NULL || out->o == NULL || out->lse == NULL || errors == NULL) {
    attune_rows_free(out);
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %zu reference rows", count);
    goto done;
  }
  if (out->all)
    choose_all(out, problem);
  else
    choose_some(out, problem, seed);
  judging self = {problem, q, k, v, out, errors};
  attune_parallel(out->count, 1, judge_rows, &self);
  for (size_t i = 0; i < count; i++)
    out->unfused_error = fmax(out->unfused_error, errors[i]);
done:
  free(errors);
  return status;
}

void attune_rows_free(attune_rows *rows) {
  free(rows->rows);
  free(rows->o);
  free(rows->lse);
  *rows = (attune_rows){0};
}
