/* The reference: one row of attention in double precision, and the same row as the unfused computation gives it in the
 * problem's dtype. Both are written for clarity and share nothing with the kernels' algorithm: scores are computed anew
 * in every pass, so that nothing is allocated and nothing is rescaled. */
#include "tuner/verify/reference.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- elements ---- */

/* What a 16-bit format is: bits of precision with the implicit one, and the least exponent of a normal number. */
typedef struct {
  int precision, exponent_min;
  uint16_t infinity;
} element_format;

static element_format format_of(attune_dtype dtype) {
  static const element_format fp16 = {11, -14, 0x7c00}, bf16 = {8, -126, 0x7f80};
  return dtype == ATTUNE_FP16 ? fp16 : bf16;
}

static uint64_t bits_of_double(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static double double_of_bits(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* Of a normal double's exponent. */
static double power_of_two(int exponent) {
  return double_of_bits((uint64_t)(exponent + 1023) << 52);
}

/* Straight from double: rounding to float first would round twice. */
uint16_t attune_to_element(attune_dtype dtype, double value) {
  const element_format format = format_of(dtype);
  const int mantissa_bits = format.precision - 1;
  const uint64_t bits = bits_of_double(value);
  const unsigned sign = (unsigned)(bits >> 63) << 15;
  if (isnan(value)) {
    unsigned payload = (unsigned)((bits & 0xfffffffffffffull) >> (52 - mantissa_bits));
    if (payload == 0) payload = 1u << (mantissa_bits - 1);
    return (uint16_t)(sign | format.infinity | payload);
  }
  const double magnitude = fabs(value);
  if (magnitude == 0.0) return (uint16_t)sign;
  if (isinf(value)) return (uint16_t)(sign | format.infinity);
  int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
  if (exponent < format.exponent_min) exponent = format.exponent_min;
  if (exponent > -format.exponent_min + 1) return (uint16_t)(sign | format.infinity);
  /* In units of the last place; a carry out of the mantissa moves into the exponent field, and out of that to infinity.
   */
  const long units = lrint(magnitude * power_of_two(mantissa_bits - exponent));
  const long element = ((long)(exponent - format.exponent_min) << mantissa_bits) + units;
  return (uint16_t)(sign | (element >= format.infinity ? format.infinity : (unsigned)element));
}

double attune_from_element(attune_dtype dtype, uint16_t element) {
  const element_format format = format_of(dtype);
  const int mantissa_bits = format.precision - 1;
  const uint64_t sign = (uint64_t)(element >> 15) << 63;
  const unsigned magnitude = element & 0x7fff;
  const unsigned mantissa = magnitude & ((1u << mantissa_bits) - 1);
  if (magnitude >= format.infinity)
    return double_of_bits(sign | 0x7ffull << 52 | (uint64_t)mantissa << (52 - mantissa_bits));
  const int field = (int)(magnitude >> mantissa_bits);
  const unsigned digits = field == 0 ? mantissa : mantissa | 1u << mantissa_bits;
  const double value = digits * power_of_two(format.exponent_min - mantissa_bits + (field == 0 ? 0 : field - 1));
  return sign != 0 ? -value : value;
}

void attune_elements_to_floats(float *out, attune_dtype dtype, const uint16_t *in, int count) {
  if (dtype == ATTUNE_BF16) {
    for (int i = 0; i < count; i++) {
      const uint32_t bits = (uint32_t)in[i] << 16;
      memcpy(&out[i], &bits, sizeof bits);
    }
    return;
  }
  /* The exponent fields differ by 112; the product also normalises subnormals. */
  for (int i = 0; i < count; i++) {
    const uint32_t magnitude = (uint32_t)(in[i] & 0x7fff) << 13, sign = (uint32_t)(in[i] & 0x8000) << 16;
    uint32_t bits;
    float value;
    memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112f;
    memcpy(&bits, &value, sizeof bits);
    bits |= sign | ((magnitude >= 0x0f800000u) * 0x7f800000u); /* infinity and NaN */
    memcpy(&out[i], &bits, sizeof bits);
  }
}

/* ---- rows ---- */

static bool bounded(int32_t side) {
  return side >= 0 && side < (1 << 30);
}

static void open_block_masks(attune_query_row *row, const attune_problem *problem, int batch, int head, int index,
                             const attune_inputs *inputs) {
  if (problem->block_size == 0) return;
  const attune_block_mask *block_mask = &inputs->block_mask;
  const int64_t mask =
      (int64_t)(block_mask->batch > 1 ? batch : 0) * block_mask->heads + (block_mask->heads > 1 ? head : 0);
  const int32_t *from = block_mask->row_offsets + mask * attune_blocks_of(problem->seqlen_q, problem->block_size) +
                        index / problem->block_size;
  row->kept_count = from[1] - from[0];
  if (row->kept_count > 0) row->kept = block_mask->indices + from[0];
}

static int compare_columns(const void *a, const void *b) {
  const int32_t left = *(const int32_t *)a >> 1, right = *(const int32_t *)b >> 1;
  return (left > right) - (left < right);
}

/* The key's block in the row's blocks, or NULL. */
static const int32_t *find_kept(const attune_query_row *row, int64_t key) {
  const int32_t wanted = (int32_t)(key / row->problem->block_size) * 2;
  return row->kept_count == 0 ? NULL
                              : bsearch(&wanted, row->kept, (size_t)row->kept_count, sizeof wanted, compare_columns);
}

static void open_expressions(attune_query_row *row, const attune_problem *problem, int batch, int head, int index,
                             const attune_inputs *inputs) {
  attune_inputs_values(row->values, inputs);
  row->scope = (attune_scope){.batch = batch,
                              .head = head,
                              .q = index,
                              .seqlen_q = row->seqlen_q,
                              .seqlen_k = row->seqlen_k,
                              .values = row->values};
  if (problem->want_bias)
    row->bias = inputs->bias + batch * problem->bias.batch + head * problem->bias.heads + index * problem->bias.seqlen;
  /* The problem was checked: they parse, unless memory is short, and then the row does not compare. */
  (void)attune_problem_expression(&row->mask, ATTUNE_EXPRESSION_MASK, problem);
  (void)attune_problem_expression(&row->score, ATTUNE_EXPRESSION_SCORE, problem);
}

void attune_row_close(attune_query_row *row) {
  free(row->mask);
  free(row->score);
}

bool attune_row_sees(attune_query_row *row, int64_t key) {
  if (row->problem->block_size > 0) {
    const int32_t *block = find_kept(row, key);
    if (block == NULL) return false;
    if (*block & 1) return true;
  }
  if (row->mask == NULL) return true;
  row->scope.k = (int32_t)key;
  return attune_expression_evaluate(row->mask, &row->scope) != 0.0;
}

void attune_row_scope(attune_query_row *row, int64_t key, double scaled) {
  row->scope.k = (int32_t)key;
  row->scope.score = scaled;
  row->scope.bias = row->bias != NULL ? attune_from_element(row->problem->dtype, row->bias[key]) : 0.0;
}

static double changed_score(attune_query_row *row, int64_t key, double score) {
  if (row->score == NULL) return score;
  attune_row_scope(row, key, score);
  return attune_expression_evaluate(row->score, &row->scope);
}

static void bound_row(attune_query_row *row, const attune_problem *problem, int index) {
  const int64_t shift = problem->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? (int64_t)row->seqlen_k - row->seqlen_q : 0;
  const int64_t diagonal = index + shift;
  row->first = 0;
  row->last = row->seqlen_k;
  if (problem->mask != ATTUNE_MASK_NONE && diagonal + 1 < row->last) row->last = diagonal + 1;
  if (bounded(problem->window_left) && diagonal - problem->window_left > row->first)
    row->first = diagonal - problem->window_left;
  if (bounded(problem->window_right) && diagonal + problem->window_right + 1 < row->last)
    row->last = diagonal + problem->window_right + 1;
}

/* Which keys the row sees. */
static void open_keys(attune_query_row *row, const attune_problem *problem, const attune_inputs *inputs, int batch,
                      int head, int index) {
  const int32_t *seqlens_q = attune_inputs_seqlens(inputs, ATTUNE_QUERIES),
                *seqlens_k = attune_inputs_seqlens(inputs, ATTUNE_KEYS);
  memset(row, 0, sizeof *row);
  row->problem = problem;
  row->seqlen_q = seqlens_q != NULL ? seqlens_q[batch] : problem->seqlen_q;
  row->seqlen_k = seqlens_k != NULL ? seqlens_k[batch] : problem->seqlen_k;
  bound_row(row, problem, index);
  open_expressions(row, problem, batch, head, index, inputs);
  open_block_masks(row, problem, batch, head, index, inputs);
}

void attune_row_open(attune_query_row *row, const attune_problem *problem, const attune_inputs *inputs, int batch,
                     int head, int index) {
  const int head_kv = head / (problem->heads_q / problem->heads_kv);
  open_keys(row, problem, inputs, batch, head, index);
  row->k = inputs->k + batch * problem->k.batch + head_kv * problem->k.heads;
  row->v = inputs->v + batch * problem->v.batch + head_kv * problem->v.heads;
  attune_elements_to_floats(row->q, problem->dtype,
                            inputs->q + batch * problem->q.batch + index * problem->q.seqlen + head * problem->q.heads,
                            problem->head_dim);
}

/* head_dim is a multiple of 8. Eight sums at a time, since a single one waits for every addition. */
double attune_exact_dot(const float *a, const float *b, int width) {
  double partial[8] = {0};
  for (int d = 0; d < width; d += 8)
    for (int lane = 0; lane < 8; lane++)
      partial[lane] += (double)a[d + lane] * (double)b[d + lane];
  return ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
         ((partial[4] + partial[5]) + (partial[6] + partial[7]));
}

float attune_float_dot(const float *a, const float *b, int width) {
  float partial[8] = {0};
  for (int d = 0; d < width; d += 8)
    for (int lane = 0; lane < 8; lane++)
      partial[lane] += a[d + lane] * b[d + lane];
  return ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
         ((partial[4] + partial[5]) + (partial[6] + partial[7]));
}

double attune_row_scaled(attune_query_row *row, int64_t key) {
  const attune_problem *problem = row->problem;
  float k[ATTUNE_HEAD_DIM_MAX];
  attune_elements_to_floats(k, problem->dtype, row->k + key * problem->k.seqlen, problem->head_dim);
  return attune_exact_dot(row->q, k, problem->head_dim) * (double)problem->scale;
}

double attune_row_score(attune_query_row *row, int64_t key) {
  const double score = attune_row_scaled(row, key), cap = (double)row->problem->softcap;
  return cap > 0.0 ? cap * tanh(score / cap) : changed_score(row, key, score);
}

void attune_reference_row(double *o, double *lse, const attune_problem *problem, const attune_inputs *inputs, int batch,
                          int head, int index) {
  attune_query_row row;
  attune_row_open(&row, problem, inputs, batch, head, index);
  for (int d = 0; d < problem->head_dim_v; d++)
    o[d] = 0.0;
  *lse = -INFINITY;
  double maximum = -INFINITY;
  for (int64_t key = row.first; key < row.last; key++)
    if (attune_row_sees(&row, key)) maximum = fmax(maximum, attune_row_score(&row, key));
  if (problem->want_sinks && maximum > -INFINITY) maximum = fmax(maximum, (double)inputs->sinks[head]);
  double sum = 0.0;
  for (int64_t key = row.first; key < row.last && maximum > -INFINITY; key++) {
    float value[ATTUNE_HEAD_DIM_MAX];
    if (!attune_row_sees(&row, key)) continue;
    const double weight = exp(attune_row_score(&row, key) - maximum);
    attune_elements_to_floats(value, problem->dtype, row.v + key * problem->v.seqlen, problem->head_dim_v);
    sum += weight;
    for (int d = 0; d < problem->head_dim_v; d++)
      o[d] += weight * (double)value[d];
  }
  if (problem->want_sinks && maximum > -INFINITY) sum += exp((double)inputs->sinks[head] - maximum);
  for (int d = 0; d < problem->head_dim_v && sum > 0.0; d++)
    o[d] /= sum;
  if (sum > 0.0) *lse = maximum + log(sum);
  if (sum <= 0.0 && problem->want_sinks) *lse = (double)inputs->sinks[head];
  attune_row_close(&row);
}

int64_t attune_reference_keys(const attune_problem *problem, const attune_inputs *inputs, int batch, int head,
                              int index) {
  attune_query_row row;
  int64_t keys = 0;
  open_keys(&row, problem, inputs, batch, head, index);
  for (int64_t key = row.first; key < row.last; key++)
    keys += attune_row_sees(&row, key);
  attune_row_close(&row);
  return keys;
}

float attune_round_to_element(attune_dtype dtype, float value) {
  const float smallest_normal = 0x1p-14f, overflow = 65520.0f;
  uint32_t bits;
  if (!isfinite(value)) return value;
  if (dtype == ATTUNE_FP16 && fabsf(value) < smallest_normal)
    return (value + 0.75f) - 0.75f; /* between 1/2 and 1 floats are multiples of 2^-24, as fp16's subnormals are */
  if (dtype == ATTUNE_FP16 && fabsf(value) >= overflow) return copysignf(INFINITY, value);
  const int dropped = dtype == ATTUNE_FP16 ? 13 : 16; /* bits of a float's mantissa */
  memcpy(&bits, &value, sizeof bits);
  bits += (1u << (dropped - 1)) - 1 + (bits >> dropped & 1);
  bits &= ~((1u << dropped) - 1);
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* S as the framework keeps it. wide: in float, for rows whose scores are beyond fp16's range; a framework would answer
 * NaN there, which bounds nothing. */
float attune_row_unfused_scaled(attune_query_row *row, int64_t key, bool wide) {
  const attune_problem *problem = row->problem;
  const attune_dtype dtype = problem->dtype;
  float k[ATTUNE_HEAD_DIM_MAX];
  attune_elements_to_floats(k, dtype, row->k + key * problem->k.seqlen, problem->head_dim);
  const float score = attune_float_dot(row->q, k, problem->head_dim);
  if (wide) return score * problem->scale;
  return attune_round_to_element(dtype, attune_round_to_element(dtype, score) * problem->scale);
}

float attune_row_unfused_score(attune_query_row *row, int64_t key, bool wide) {
  const attune_problem *problem = row->problem;
  const attune_dtype dtype = problem->dtype;
  float score = attune_row_unfused_scaled(row, key, wide);
  if (problem->softcap > 0.0f) {
    score = problem->softcap * tanhf(score / problem->softcap);
    score = wide ? score : attune_round_to_element(dtype, score);
  }
  if (row->score != NULL) {
    score = (float)changed_score(row, key, (double)score); /* not rounded: what it adds may dwarf the score */
  }
  return score;
}

/* -inf if no key is visible; NaN if any score is not finite, but for those that an expression hides by -inf. */
float attune_row_unfused_maximum(attune_query_row *row, bool wide) {
  float largest = -INFINITY;
  for (int64_t key = row->first; key < row->last; key++) {
    if (!attune_row_sees(row, key)) continue;
    const float score = attune_row_unfused_score(row, key, wide);
    const bool hidden = row->score != NULL && score == -INFINITY;
    if (!isfinite(score) && !hidden) return NAN;
    largest = fmaxf(largest, score);
  }
  return largest;
}

void attune_unfused_row(double *o, const attune_problem *problem, const attune_inputs *inputs, int batch, int head,
                        int index) {
  attune_query_row row;
  float sums[ATTUNE_HEAD_DIM_MAX] = {0};
  attune_row_open(&row, problem, inputs, batch, head, index);
  float maximum = attune_row_unfused_maximum(&row, false), sum = 0.0f;
  const bool wide = isnan(maximum);
  if (wide) maximum = attune_row_unfused_maximum(&row, true);
  const bool sees = maximum > -INFINITY || isnan(maximum);
  if (problem->want_sinks && maximum > -INFINITY) maximum = fmaxf(maximum, inputs->sinks[head]);
  for (int64_t key = row.first; key < row.last && sees; key++)
    if (attune_row_sees(&row, key)) sum += expf(attune_row_unfused_score(&row, key, wide) - maximum);
  if (problem->want_sinks && sees) sum += expf(inputs->sinks[head] - maximum);
  for (int64_t key = row.first; key < row.last && sees; key++) {
    float value[ATTUNE_HEAD_DIM_MAX];
    if (!attune_row_sees(&row, key)) continue;
    const float weight =
        attune_round_to_element(problem->dtype, expf(attune_row_unfused_score(&row, key, wide) - maximum) / sum);
    attune_elements_to_floats(value, problem->dtype, row.v + key * problem->v.seqlen, problem->head_dim_v);
    for (int d = 0; d < problem->head_dim_v; d++)
      sums[d] += weight * value[d];
  }
  for (int d = 0; d < problem->head_dim_v; d++)
    o[d] = (double)attune_round_to_element(problem->dtype, sums[d]);
  attune_row_close(&row);
}
