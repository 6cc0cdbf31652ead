/* The rules of single fields of a problem, and of each with those above it in the table. */
#include <math.h>
#include <stdio.h>

#include "generator/base/status.h"
#include "generator/problem/rules.h"

/* Query rows of the family with the smallest tile: the largest grid a problem can ask for. */
enum { SMALLEST_TILE_M = 4 };
/* tanh is computed to 1e-7, which softcap multiplies: beyond this the error shows beside that of 16-bit rounding. */
static const float softcap_max = 10000;

static int32_t int_of(const attune_problem_field *field, const attune_problem *problem) {
  return *(const int32_t *)(const void *)((const char *)problem + field->offset);
}

attune_status attune_check_word(const attune_problem_field *field, const attune_problem *problem) {
  const int32_t value = int_of(field, problem);
  int32_t last = 0;
  while (field->words[last + 1] != NULL)
    last++;
  if (value >= 0 && value <= last) return ATTUNE_OK;
  return attune_fail(value < 0 ? ATTUNE_BAD_ARGUMENT : ATTUNE_UNSUPPORTED,
                     "%s is %d; this library has 0 (%s) to %d (%s)", field->name, value, field->words[0], last,
                     field->words[last]);
}

attune_status attune_check_flag(const attune_problem_field *field, const attune_problem *problem) {
  const int32_t value = int_of(field, problem);
  if (value == 0 || value == 1) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is %d; it must be 0 or 1", field->name, value);
}

attune_status attune_check_head_dim(const attune_problem_field *field, const attune_problem *problem) {
  enum { STEP = 8, MOST = 256 };
  const int32_t value = int_of(field, problem);
  if (value < 1)
    return attune_fail(ATTUNE_BAD_HEAD_DIM, "%s is %d; it must be a multiple of %d from %d to %d", field->name, value,
                       STEP, STEP, MOST);
  if (value > MOST)
    return attune_fail(ATTUNE_UNSUPPORTED, "%s is %d; kernels have multiples of %d up to %d", field->name, value, STEP,
                       MOST);
  if (value % STEP == 0) return ATTUNE_OK;
  char scale[64] = ""; /* the usual one would be that of the padded rows */
  if (field->offset == offsetof(attune_problem, head_dim) && isnan(problem->scale))
    snprintf(scale, sizeof scale, ", and set scale to 1/sqrt(%d) = %.9g", value, 1.0 / sqrt(value));
  return attune_fail(ATTUNE_UNSUPPORTED, "%s is %d; kernels have multiples of %d up to %d: pad with zeros to %d%s",
                     field->name, value, STEP, MOST, (value + STEP - 1) / STEP * STEP, scale);
}

attune_status attune_check_size(const attune_problem_field *field, const attune_problem *problem) {
  const int32_t value = int_of(field, problem);
  if (value >= 1 && value <= field->limit) return ATTUNE_OK;
  return attune_fail(value < 1 ? ATTUNE_BAD_SIZE : ATTUNE_UNSUPPORTED, "%s is %d; it must be from 1 to %d", field->name,
                     value, field->limit);
}

attune_status attune_check_heads_kv(const attune_problem_field *field, const attune_problem *p) {
  const attune_status status = attune_check_size(field, p);
  if (status != ATTUNE_OK || p->heads_q % p->heads_kv == 0) return status;
  return attune_fail(ATTUNE_BAD_HEADS, "heads_q is %d, heads_kv is %d; heads_q must be a multiple of heads_kv",
                     p->heads_q, p->heads_kv);
}

/* The grid must hold a block for each smallest tile. */
attune_status attune_check_seqlen_q(const attune_problem_field *field, const attune_problem *p) {
  const attune_status status = attune_check_size(field, p);
  if (status != ATTUNE_OK) return status;
  const int64_t tiles = (p->seqlen_q + (int64_t)SMALLEST_TILE_M - 1) / SMALLEST_TILE_M;
  int64_t blocks;
  if (!__builtin_mul_overflow(tiles * p->heads_q, (int64_t)p->batch, &blocks) && blocks <= INT32_MAX) return ATTUNE_OK;
  return attune_fail(
      ATTUNE_UNSUPPORTED,
      "batch %d x heads_q %d x seqlen_q %d needs %.0f blocks of %d rows; a grid holds %d: split the batch", p->batch,
      p->heads_q, p->seqlen_q, (double)tiles * p->heads_q * p->batch, SMALLEST_TILE_M, INT32_MAX);
}

attune_status attune_check_window(const attune_problem_field *field, const attune_problem *p) {
  (void)field;
  const char *const names[2] = {"window_left", "window_right"};
  const int32_t sides[2] = {p->window_left, p->window_right};
  for (int i = 0; i < 2; i++) {
    if (sides[i] < -1) {
      return attune_fail(ATTUNE_BAD_WINDOW, "%s is %d; it must be -1 (unbounded), 0 or more", names[i], sides[i]);
    }
  }
  if (p->mask != ATTUNE_MASK_NONE && p->window_right > 0) {
    return attune_fail(
        ATTUNE_BAD_WINDOW,
        "window_right is %d, but a causal mask hides every key to the right; use window_right 0 or -1, or no "
        "mask",
        p->window_right);
  }
  return ATTUNE_OK;
}

attune_status attune_check_scale(const attune_problem_field *field, const attune_problem *p) {
  if (!isinf(p->scale)) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_SCALE, "%s is %g; it must be finite (NaN means 1/sqrt(head_dim))", field->name,
                     (double)p->scale);
}

attune_status attune_check_softcap(const attune_problem_field *field, const attune_problem *p) {
  if (p->softcap >= 0 && p->softcap <= softcap_max) return ATTUNE_OK;
  return attune_fail(isfinite(p->softcap) && p->softcap > 0 ? ATTUNE_UNSUPPORTED : ATTUNE_BAD_SCALE,
                     "%s is %g; it must be positive and at most %g, or 0 for none", field->name, (double)p->softcap,
                     (double)softcap_max);
}

attune_status attune_check_block_size(const attune_problem_field *field, const attune_problem *p) {
  enum { STEP = 16 };
  const int32_t value = p->block_size;
  if (value >= 0 && value <= ATTUNE_BLOCK_SIZE_MAX && value % STEP == 0) return ATTUNE_OK;
  return attune_fail(value < 0 ? ATTUNE_BAD_SIZE : ATTUNE_UNSUPPORTED,
                     "%s is %d; it must be a multiple of %d up to %d, or 0: no block mask", field->name, value, STEP,
                     ATTUNE_BLOCK_SIZE_MAX);
}

attune_status attune_check_block_density(const attune_problem_field *field, const attune_problem *p) {
  if (!(p->block_density >= 0 && p->block_density <= 1))
    return attune_fail(ATTUNE_BAD_SIZE, "%s is %g; it must be from 0 to 1", field->name, (double)p->block_density);
  if (p->block_density > 0 && p->block_size == 0)
    return attune_fail(ATTUNE_BAD_SIZE, "%s is %g, but there is no block_size: set it for a block mask", field->name,
                       (double)p->block_density);
  return ATTUNE_OK;
}
