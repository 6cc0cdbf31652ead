/* The gradients of one row in double precision, and as the unfused computation gives them in the problem's dtype: what
 * autograd makes of S = Q K^T, P = softmax(S), O = P V, each of which is kept in the dtype. The sum of P dP is taken to
 * be O.dO with the O that was kept: kernels read no other, and where a row sees few keys its rounding is what counts.
 */
#include "tuner/verify/gradients.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef attune_gradient_row gradient_row;

void attune_gradient_row_open(gradient_row *out, const attune_problem *p, const attune_inputs *inputs, int batch,
                              int head, int index) {
  attune_row_open(&out->row, p, inputs, batch, head, index);
  attune_elements_to_floats(out->d_o, p->dtype,
                            inputs->d_o + batch * p->d_o.batch + index * p->d_o.seqlen + head * p->d_o.heads,
                            p->head_dim_v);
  out->derivatives = NULL; /* the problem was checked: unless memory is short there are some */
  if (out->row.score != NULL) (void)attune_expression_derivative(&out->derivatives, out->row.score);
  out->dlse = inputs->dlse != NULL ? inputs->dlse[((int64_t)batch * p->heads_q + head) * p->seqlen_q + index] : 0.0f;
}

void attune_gradient_row_close(gradient_row *self) {
  free(self->derivatives);
  attune_row_close(&self->row);
}

/* ---- one pair of query and key ---- */

/* What a score expression multiplies the slope of the scaled score with. */
static double through_expression(gradient_row *self, int64_t key, double scaled) {
  if (self->derivatives == NULL) return 1.0;
  attune_row_scope(&self->row, key, scaled);
  return attune_expression_evaluate(self->derivatives->of[0].value, &self->row.scope);
}

static void load_v(float *out, const gradient_row *self, int64_t key) {
  const attune_problem *p = self->row.problem;
  attune_elements_to_floats(out, p->dtype, self->row.v + key * p->v.seqlen, p->head_dim_v);
}

static void load_k(float *out, const gradient_row *self, int64_t key) {
  const attune_problem *p = self->row.problem;
  attune_elements_to_floats(out, p->dtype, self->row.k + key * p->k.seqlen, p->head_dim);
}

/* dO.V */
static double exact_slope(const gradient_row *self, int64_t key) {
  float v[ATTUNE_HEAD_DIM_MAX];
  load_v(v, self, key);
  return attune_exact_dot(self->d_o, v, self->row.problem->head_dim_v);
}

static float unfused_slope(const gradient_row *self, int64_t key) {
  float v[ATTUNE_HEAD_DIM_MAX];
  load_v(v, self, key);
  return attune_round_to_element(self->row.problem->dtype,
                                 attune_float_dot(self->d_o, v, self->row.problem->head_dim_v));
}

typedef struct {
  double p, ds, saved_ds; /* ds: the derivative by q.k; from the delta that is saved */
} exact_pair;
typedef struct {
  float p, ds;
} unfused_pair;

static exact_pair exact_pair_of(gradient_row *self, const attune_row_statistics *statistics, int64_t key) {
  const double scale = (double)self->row.problem->scale, cap = (double)self->row.problem->softcap;
  const double score = attune_row_score(&self->row, key);
  const double p = statistics->lse > -INFINITY ? exp(score - statistics->lse) : 0.0;
  const double through_cap = cap > 0.0 ? 1.0 - score / cap * (score / cap) : 1.0;
  const double through = p > 0.0 ? through_expression(self, key, attune_row_scaled(&self->row, key)) : 0.0;
  const double slope = exact_slope(self, key), factor = p * through_cap * through * scale;
  return (exact_pair){p, factor * (slope - statistics->delta), factor * (slope - statistics->saved_delta)};
}

static float unfused_p(gradient_row *self, const attune_row_statistics *s, int64_t key) {
  const float score = attune_row_unfused_score(&self->row, key, s->wide);
  if (!(s->sum > 0.0f)) return 0.0f;
  return attune_round_to_element(self->row.problem->dtype, expf(score - s->maximum) / s->sum);
}

static unfused_pair unfused_pair_of(gradient_row *self, const attune_row_statistics *statistics, int64_t key) {
  const attune_problem *problem = self->row.problem;
  const attune_dtype dtype = problem->dtype;
  const float p = unfused_p(self, statistics, key);
  float ds = attune_round_to_element(dtype, p * (unfused_slope(self, key) - statistics->unfused_delta));
  if (problem->softcap > 0.0f) {
    const float capped = attune_row_unfused_score(&self->row, key, statistics->wide) / problem->softcap;
    ds = attune_round_to_element(dtype, ds * (1.0f - capped * capped));
  }
  if (self->derivatives != NULL && p > 0.0f) {
    const double scaled = (double)attune_row_unfused_scaled(&self->row, key, statistics->wide);
    ds = attune_round_to_element(dtype, ds * (float)through_expression(self, key, scaled));
  }
  return (unfused_pair){p, attune_round_to_element(dtype, ds * problem->scale)};
}

attune_slope attune_slope_of(gradient_row *self, const attune_row_statistics *statistics, int64_t key,
                             const attune_derivative *of) {
  attune_slope out = {0};
  if (of == NULL) return out;
  const double p = statistics->lse > -INFINITY ? exp(attune_row_score(&self->row, key) - statistics->lse) : 0.0;
  const float unfused_weight = unfused_p(self, statistics, key);
  if (p > 0.0) {
    attune_row_scope(&self->row, key, attune_row_scaled(&self->row, key));
    const double by = attune_expression_evaluate(of->value, &self->row.scope), slope = exact_slope(self, key);
    out.exact = p * by * (slope - statistics->delta);
    out.saved = p * by * (slope - statistics->saved_delta);
  }
  if (unfused_weight > 0.0f) {
    const attune_dtype dtype = self->row.problem->dtype;
    const float ds =
        attune_round_to_element(dtype, unfused_weight * (unfused_slope(self, key) - statistics->unfused_delta));
    attune_row_scope(&self->row, key, (double)attune_row_unfused_scaled(&self->row, key, statistics->wide));
    out.unfused =
        (double)attune_round_to_element(dtype, ds * (float)attune_expression_evaluate(of->value, &self->row.scope));
  }
  return out;
}

/* ---- statistics ---- */

/* Below it a row counts as one that sees no key: a finite "minus infinity" has hidden all. */
#define LEAST_LSE (-1e30)

static void exact_statistics(attune_row_statistics *out, gradient_row *self, double sink) {
  const attune_problem *p = self->row.problem;
  double maximum = sink, sum = 0.0, o[ATTUNE_HEAD_DIM_MAX] = {0};
  out->delta = 0.0;
  for (int64_t key = self->row.first; key < self->row.last; key++)
    if (attune_row_sees(&self->row, key)) maximum = fmax(maximum, attune_row_score(&self->row, key));
  if (maximum > -INFINITY) sum = exp(sink - maximum);
  for (int64_t key = self->row.first; key < self->row.last && maximum > -INFINITY; key++) {
    if (!attune_row_sees(&self->row, key)) continue;
    const double weight = exp(attune_row_score(&self->row, key) - maximum);
    sum += weight;
    out->delta += weight * exact_slope(self, key);
    float v[ATTUNE_HEAD_DIM_MAX];
    load_v(v, self, key);
    for (int d = 0; d < p->head_dim_v; d++)
      o[d] += weight * (double)v[d];
  }
  if (sum > 0.0) out->delta /= sum;
  out->delta -= (double)self->dlse;
  out->saved_delta = -(double)self->dlse;
  for (int d = 0; d < p->head_dim_v && sum > 0.0; d++)
    out->saved_delta += attune_from_element(p->dtype, attune_to_element(p->dtype, o[d] / sum)) * (double)self->d_o[d];
  out->lse = sum > 0.0 ? maximum + log(sum) : -INFINITY;
  if (out->lse < LEAST_LSE) out->lse = -INFINITY;
}

static float unfused_delta(gradient_row *self, const attune_row_statistics *statistics) {
  const attune_problem *p = self->row.problem;
  float o[ATTUNE_HEAD_DIM_MAX] = {0}, v[ATTUNE_HEAD_DIM_MAX];
  for (int64_t key = self->row.first; key < self->row.last; key++) {
    if (!attune_row_sees(&self->row, key)) continue;
    const float weight = unfused_p(self, statistics, key);
    load_v(v, self, key);
    for (int d = 0; d < p->head_dim_v; d++)
      o[d] += weight * v[d];
  }
  for (int d = 0; d < p->head_dim_v; d++)
    o[d] = attune_round_to_element(p->dtype, o[d]);
  return attune_float_dot(o, self->d_o, p->head_dim_v);
}

static void unfused_statistics(attune_row_statistics *out, gradient_row *self, float sink) {
  out->maximum = attune_row_unfused_maximum(&self->row, false);
  out->wide = isnan(out->maximum);
  if (out->wide) out->maximum = attune_row_unfused_maximum(&self->row, true);
  out->maximum = fmaxf(out->maximum, sink);
  out->sum = out->maximum > -INFINITY ? expf(sink - out->maximum) : 0.0f;
  for (int64_t key = self->row.first; key < self->row.last && out->maximum > -INFINITY; key++)
    if (attune_row_sees(&self->row, key))
      out->sum += expf(attune_row_unfused_score(&self->row, key, out->wide) - out->maximum);
  out->unfused_delta = unfused_delta(self, out) - self->dlse;
}

void attune_statistics_of_row(attune_row_statistics *out, const attune_problem *problem, const attune_inputs *inputs,
                              int batch, int head, int index) {
  gradient_row self;
  const float sink = problem->want_sinks ? inputs->sinks[head] : -INFINITY;
  attune_gradient_row_open(&self, problem, inputs, batch, head, index);
  exact_statistics(out, &self, (double)sink);
  unfused_statistics(out, &self, sink);
  if (out->lse == -INFINITY) out->sum = 0.0f;
  attune_gradient_row_close(&self);
}

void attune_statistics_given(attune_row_statistics *out, const attune_problem *problem, const attune_inputs *inputs,
                             int batch, int head, int index) {
  gradient_row self;
  float o[ATTUNE_HEAD_DIM_MAX];
  const float lse = inputs->lse[((int64_t)batch * problem->heads_q + head) * problem->seqlen_q + index];
  attune_gradient_row_open(&self, problem, inputs, batch, head, index);
  attune_elements_to_floats(o, problem->dtype,
                            inputs->o + batch * problem->o.batch + index * problem->o.seqlen + head * problem->o.heads,
                            problem->head_dim_v);
  const double delta = attune_exact_dot(self.d_o, o, problem->head_dim_v) - (double)self.dlse;
  *out = (attune_row_statistics){.lse = (double)lse >= LEAST_LSE ? (double)lse : -INFINITY,
                                 .delta = delta,
                                 .saved_delta = delta,
                                 .maximum = lse,
                                 .sum = (double)lse >= LEAST_LSE ? 1.0f : 0.0f,
                                 .unfused_delta = (float)delta};
  attune_gradient_row_close(&self);
}

/* ---- rows ---- */

static double farther(double a, double b, double from) {
  return fabs(b - from) > fabs(a - from) ? b : a;
}

void attune_reference_dq(double *exact, double *unfused, const attune_problem *problem, const attune_inputs *inputs,
                         const attune_row_statistics *statistics, int batch, int head, int index) {
  gradient_row self;
  float sums[ATTUNE_HEAD_DIM_MAX] = {0};
  double saved[ATTUNE_HEAD_DIM_MAX] = {0};
  attune_gradient_row_open(&self, problem, inputs, batch, head, index);
  memset(exact, 0, (size_t)problem->head_dim * sizeof *exact);
  for (int64_t key = self.row.first; key < self.row.last; key++) {
    float k[ATTUNE_HEAD_DIM_MAX];
    if (!attune_row_sees(&self.row, key)) continue;
    const exact_pair pair = exact_pair_of(&self, statistics, key);
    const unfused_pair rounded = unfused_pair_of(&self, statistics, key);
    load_k(k, &self, key);
    for (int d = 0; d < problem->head_dim; d++) {
      exact[d] += pair.ds * (double)k[d];
      saved[d] += pair.saved_ds * (double)k[d];
      sums[d] += rounded.ds * k[d];
    }
  }
  for (int d = 0; d < problem->head_dim; d++)
    unfused[d] = farther((double)attune_round_to_element(problem->dtype, sums[d]), saved[d], exact[d]);
  attune_gradient_row_close(&self);
}

/* The unfused gradients of one head's keys, before they are rounded; and dK with the delta that is saved, of all heads.
 */
typedef struct {
  float *dk, *dv;
  double *saved_dk;
} head_sums;

static void add_row(gradient_row *self, const attune_row_statistics *statistics, const int *keys, int count, double *dk,
                    double *dv, const head_sums *sums) {
  const attune_problem *p = self->row.problem;
  for (int i = 0; i < count; i++) {
    if (keys[i] < self->row.first || keys[i] >= self->row.last || !attune_row_sees(&self->row, keys[i])) continue;
    const exact_pair pair = exact_pair_of(self, statistics, keys[i]);
    const unfused_pair rounded = unfused_pair_of(self, statistics, keys[i]);
    for (int d = 0; d < p->head_dim; d++) {
      dk[i * p->head_dim + d] += pair.ds * (double)self->row.q[d];
      sums->saved_dk[i * p->head_dim + d] += pair.saved_ds * (double)self->row.q[d];
      sums->dk[i * p->head_dim + d] += rounded.ds * self->row.q[d];
    }
    for (int d = 0; d < p->head_dim_v; d++) {
      dv[i * p->head_dim_v + d] += pair.p * (double)self->d_o[d];
      sums->dv[i * p->head_dim_v + d] += rounded.p * self->d_o[d];
    }
  }
}

/* Each head's gradient is rounded, and then their sum. */
static void add_head(double *unfused, float *sums, int64_t count, attune_dtype dtype) {
  for (int64_t i = 0; i < count; i++) {
    unfused[i] += (double)attune_round_to_element(dtype, sums[i]);
    sums[i] = 0.0f;
  }
}

static void round_all(double *unfused, int64_t count, attune_dtype dtype) {
  for (int64_t i = 0; i < count; i++)
    unfused[i] = (double)attune_round_to_element(dtype, (float)unfused[i]);
}

static int32_t queries_of(const attune_problem *problem, const attune_inputs *inputs, int batch) {
  const int32_t *lengths = attune_inputs_seqlens(inputs, ATTUNE_QUERIES);
  return lengths != NULL ? lengths[batch] : problem->seqlen_q;
}

bool attune_reference_dkv(double *dk, double *dv, double *unfused_dk, double *unfused_dv, const attune_problem *problem,
                          const attune_inputs *inputs, const attune_row_statistics *statistics, int batch, int head_kv,
                          const int *keys, int count) {
  const int64_t of_k = (int64_t)count * problem->head_dim, of_v = (int64_t)count * problem->head_dim_v;
  const int group = problem->heads_q / problem->heads_kv;
  const head_sums sums = {calloc((size_t)of_k, sizeof(float)), calloc((size_t)of_v, sizeof(float)),
                          calloc((size_t)of_k, sizeof(double))};
  const bool fits = sums.dk != NULL && sums.dv != NULL && sums.saved_dk != NULL;
  memset(dk, 0, (size_t)of_k * sizeof *dk);
  memset(dv, 0, (size_t)of_v * sizeof *dv);
  memset(unfused_dk, 0, (size_t)of_k * sizeof *unfused_dk);
  memset(unfused_dv, 0, (size_t)of_v * sizeof *unfused_dv);
  for (int head = head_kv * group; head < (head_kv + 1) * group && fits; head++) {
    for (int row = 0; row < queries_of(problem, inputs, batch); row++) {
      gradient_row self;
      attune_gradient_row_open(&self, problem, inputs, batch, head, row);
      add_row(&self, &statistics[((int64_t)batch * problem->heads_q + head) * problem->seqlen_q + row], keys, count, dk,
              dv, &sums);
      attune_gradient_row_close(&self);
    }
    add_head(unfused_dk, sums.dk, of_k, problem->dtype);
    add_head(unfused_dv, sums.dv, of_v, problem->dtype);
  }
  round_all(unfused_dk, of_k, problem->dtype);
  round_all(unfused_dv, of_v, problem->dtype);
  for (int64_t i = 0; i < of_k && fits; i++)
    unfused_dk[i] = farther(unfused_dk[i], sums.saved_dk[i], dk[i]);
  free(sums.saved_dk);
  free(sums.dk);
  free(sums.dv);
  return fits;
}

void attune_reference_queries(int64_t *out, const attune_problem *problem, const attune_inputs *inputs, int batch,
                              int head_kv, const int *keys, int count) {
  const int group = problem->heads_q / problem->heads_kv;
  memset(out, 0, (size_t)count * sizeof *out);
  for (int head = head_kv * group; head < (head_kv + 1) * group; head++)
    for (int index = 0; index < queries_of(problem, inputs, batch); index++) {
      attune_query_row row;
      attune_row_open(&row, problem, inputs, batch, head, index);
      for (int i = 0; i < count; i++)
        out[i] += keys[i] >= row.first && keys[i] < row.last && attune_row_sees(&row, keys[i]);
      attune_row_close(&row);
    }
}
