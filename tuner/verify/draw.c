/* Inputs in host memory: random ones, or the caller's, with NaN wherever no kernel may read. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/random.h"
#include "tuner/verify/parallel.h"
#include "tuner/verify/verifier.h"

/* Each element is one of 2^16 quantiles of the normal distribution, picked by 16 bits of a hash of its place: fast, and
 * it does not matter which core draws what. */
enum { QUANTILES = 1 << 16, PER_HASH = 4 };

typedef struct {
  const attune_tensor_row *tensor;
  const attune_layout *layout;
  const attune_lengths *lengths;
  attune_dtype dtype;
  size_t element; /* bytes */
  const char *from;
  char *out;
  int64_t rows, heads; /* those that are not broadcast */
  uint64_t seed;
  bool masks;
  uint16_t quantiles[QUANTILES];
} drawing;

/* The splitmix64 sequence at a place. */
static uint64_t hash(uint64_t seed, uint64_t place) {
  return attune_random_mix(seed * 0xd1342543de82ef95ull + (place + 1) * ATTUNE_RANDOM_STEP);
}

/* The upper half of the normal distribution's quantiles; the lower half mirrors it. Newton steps on the distribution
 * function, each from the quantile before: milliseconds, so once a process. */
static double upper_quantiles[QUANTILES / 2];
static pthread_once_t quantiles_known = PTHREAD_ONCE_INIT;

static void find_quantiles(void) {
  double x = 0.0;
  for (int i = 0; i < QUANTILES / 2; i++) {
    const double wanted = 0.5 - (i + 0.5) / QUANTILES; /* of the upper tail */
    for (int step = 0; step < 4; step++)
      x += (0.5 * erfc(x * M_SQRT1_2) - wanted) / (exp(-0.5 * x * x) * 0.3989422804014327);
    upper_quantiles[i] = x;
  }
}

static void fill_quantiles(drawing *self, double magnitude) {
  pthread_once(&quantiles_known, find_quantiles);
  for (int i = 0; i < QUANTILES / 2; i++) {
    const uint16_t element = attune_to_element(self->dtype, upper_quantiles[i] * magnitude);
    self->quantiles[QUANTILES / 2 + i] = element;
    self->quantiles[QUANTILES / 2 - 1 - i] = element ^ 0x8000;
  }
}

static uint16_t draw_one(const drawing *self, int64_t place) {
  const uint64_t bits = hash(self->seed, (uint64_t)place / PER_HASH);
  return self->quantiles[bits >> (16 * (place % PER_HASH)) & (QUANTILES - 1)];
}

static void draw_row(const drawing *self, int64_t offset, int64_t count) {
  if (self->from != NULL) {
    memcpy(self->out + (size_t)offset * self->element, self->from + (size_t)offset * self->element,
           (size_t)count * self->element);
  } else if (self->tensor->element == ATTUNE_ELEMENT_DTYPE) {
    uint16_t *out = (uint16_t *)self->out;
    for (int64_t i = offset; i < offset + count; i++)
      out[i] = draw_one(self, i);
  } else {
    float *out = (float *)self->out;
    for (int64_t i = offset; i < offset + count; i++)
      out[i] = (float)attune_from_element(self->dtype, draw_one(self, i));
  }
}

/* ---- what hides keys ---- */

static uint16_t largest_of(attune_dtype dtype) {
  return dtype == ATTUNE_FP16 ? 0x7bff : 0x7f7f;
}

/* Of a row's keys from `cut` on, and sprinkled over all. The least finite number is what models add to hide a key. */
static void mask_row(const drawing *self, int64_t offset, int64_t count) {
  enum { ALL_LEAST, LAST_LEAST, LAST_MIXED, SPRINKLED_LEAST, SPRINKLED_ALL, ALL_INFINITE, FEW_LARGEST, NOTHING_HIDDEN };
  const uint16_t largest = largest_of(self->dtype), least = largest | 0x8000u, infinite = least + 1;
  const uint64_t row = hash(~self->seed, (uint64_t)offset);
  const int kind = (int)(row % (NOTHING_HIDDEN + 1));
  const int64_t cut = (int64_t)(row >> 8) % (count + 1);
  uint16_t *out = (uint16_t *)self->out + offset;
  for (int64_t i = 0; i < count; i++) {
    const unsigned chance = (unsigned)(hash(~self->seed, (uint64_t)(offset + i)) >> 32) % 16;
    if (kind == ALL_LEAST || (kind == LAST_LEAST && i >= cut)) out[i] = least;
    if (kind == LAST_MIXED && i >= cut) out[i] = chance < 8 ? least : infinite;
    if (kind == SPRINKLED_LEAST && chance < 8) out[i] = least;
    if (kind == SPRINKLED_ALL && chance < 12) out[i] = chance < 6 ? least : chance < 11 ? infinite : largest;
    if (kind == ALL_INFINITE) out[i] = infinite;
    if (kind == FEW_LARGEST && chance == 0) out[i] = largest;
  }
}

/* Rows of all sequences, one after the other. */
static void draw_rows(void *user, int64_t begin, int64_t end) {
  const drawing *self = user;
  for (int64_t i = begin; i < end; i++) {
    const int64_t batch = i / self->rows, row = i % self->rows;
    if (row >= attune_rows_in_use(self->tensor, self->layout, self->lengths, batch)) continue;
    const int64_t columns = attune_columns_in_use(self->tensor, self->layout, self->lengths, batch);
    for (int64_t head = 0; head < self->heads; head++) {
      const int64_t offset = attune_layout_offset(self->layout, batch, row, head);
      draw_row(self, offset, columns);
      if (self->masks && self->from == NULL) mask_row(self, offset, columns);
    }
  }
}

void *attune_draw_tensor(const attune_tensor_row *tensor, const attune_layout *layout, const attune_lengths *lengths,
                         attune_dtype dtype, const void *from, uint64_t seed, double magnitude, bool masks) {
  enum { GRAIN = 1 << 6 };
  const size_t element = (size_t)attune_element_bytes(tensor->element),
               size = (size_t)attune_layout_extent(layout) * element;
  drawing *self = malloc(sizeof *self);
  char *out = malloc(size);
  if (self == NULL || out == NULL) {
    free(out);
    free(self);
    return NULL;
  }
  *self = (drawing){.tensor = tensor,
                    .layout = layout,
                    .lengths = lengths,
                    .dtype = dtype,
                    .element = element,
                    .from = from,
                    .out = out,
                    .rows = layout->strides.seqlen == 0 ? 1 : layout->seqlen,
                    .heads = layout->strides.heads == 0 ? 1 : layout->heads,
                    .seed = seed,
                    .masks = masks};
  if (from == NULL) fill_quantiles(self, magnitude);
  memset(out, ATTUNE_POISON, size);
  attune_parallel((layout->strides.batch == 0 ? 1 : layout->batch) * self->rows, GRAIN, draw_rows, self);
  free(self);
  return out;
}

uint16_t *attune_draw(const attune_layout *layout, attune_dtype dtype, uint64_t seed, double magnitude) {
  return attune_draw_tensor(&attune_tensor_table[ATTUNE_TENSOR_Q], layout, NULL, dtype, NULL, seed, magnitude, false);
}

/* ---- lengths ---- */

typedef enum { NOTHING, ONE, ODD, BOUND } length_kind;

/* Odd, so that no tile divides it, unless it is 1. */
static int32_t length_of(length_kind kind, int32_t bound, uint64_t random) {
  switch (kind) {
  case NOTHING:
    return 0;
  case ONE:
    return 1;
  case ODD:
    return (int32_t)(1 + 2 * (random % (((uint64_t)bound + 1) / 2)));
  default:
    return bound;
  }
}

void attune_draw_lengths(int32_t *seqlens_q, int32_t *seqlens_k, int64_t batch, int32_t bound_q, int32_t bound_k,
                         uint64_t seed) {
  static const length_kind kinds[ATTUNE_LENGTH_KINDS][2] = {
      {ODD, ODD}, {BOUND, ODD}, {ODD, BOUND}, {BOUND, NOTHING}, {NOTHING, BOUND}, {ODD, ONE}, {ONE, ODD}, {ONE, ONE}};
  for (int64_t i = 0; i < batch; i++) {
    const length_kind *kind = kinds[(seed + (uint64_t)i) % ATTUNE_LENGTH_KINDS];
    seqlens_q[i] = length_of(kind[ATTUNE_QUERIES], bound_q, hash(seed, 2 * (uint64_t)i));
    seqlens_k[i] = length_of(kind[ATTUNE_KEYS], bound_k, hash(seed, 2 * (uint64_t)i + 1));
  }
}
