/* Tensors in host memory: where their rows are, and random ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tuner/verify/parallel.h"
#include "tuner/verify/verifier.h"

/* ---- layouts ---- */

static attune_layout layout_of(attune_strides strides, int batch, int seqlen, int heads, int head_dim) {
  return (attune_layout){strides, batch, seqlen, heads, head_dim};
}

attune_layout attune_layout_q(const attune_problem *p) {
  return layout_of(p->q, p->batch, p->seqlen_q, p->heads_q, p->head_dim);
}

attune_layout attune_layout_k(const attune_problem *p) {
  return layout_of(p->k, p->batch, p->seqlen_k, p->heads_kv, p->head_dim);
}

attune_layout attune_layout_v(const attune_problem *p) {
  return layout_of(p->v, p->batch, p->seqlen_k, p->heads_kv, p->head_dim_v);
}

attune_layout attune_layout_o(const attune_problem *p) {
  return layout_of(p->o, p->batch, p->seqlen_q, p->heads_q, p->head_dim_v);
}

int64_t attune_layout_offset(const attune_layout *layout, int64_t batch, int64_t row, int64_t head) {
  return batch * layout->strides.batch + row * layout->strides.seqlen + head * layout->strides.heads;
}

int64_t attune_layout_extent(const attune_layout *layout) {
  return attune_layout_offset(layout, layout->batch - 1, layout->seqlen - 1, layout->heads - 1) + layout->head_dim;
}

int64_t attune_bias_extent(const attune_problem *p) {
  return (p->batch - 1) * p->bias.batch + (p->heads_q - 1) * p->bias.heads + (p->seqlen_q - 1) * p->bias.seqlen +
         p->seqlen_k;
}

bool attune_layout_contiguous(const attune_layout *layout) {
  return attune_layout_extent(layout) == layout->batch * layout->seqlen * layout->heads * layout->head_dim &&
         (layout->heads == 1 || layout->strides.heads == layout->head_dim) &&
         (layout->seqlen == 1 || layout->strides.seqlen == layout->heads * layout->head_dim);
}

/* ---- drawing ---- */

/* Each element is one of 2^16 quantiles of the normal distribution, picked by 16 bits of a hash of its place: fast, and
 * it does not matter which core draws what. */
enum { QUANTILES = 1 << 16, PER_HASH = 4 };

typedef struct {
  uint16_t *out;
  uint64_t seed;
  uint16_t quantiles[QUANTILES];
} drawing;

/* The splitmix64 sequence at a place. */
static uint64_t hash(uint64_t seed, uint64_t place) {
  uint64_t z = seed * 0xd1342543de82ef95ull + (place + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

/* Newton steps on the distribution function, each from the quantile before; the lower half mirrors the upper. */
static void fill_quantiles(drawing *self, attune_dtype dtype, double magnitude) {
  double x = 0.0;
  for (int i = 0; i < QUANTILES / 2; i++) {
    const double wanted = 0.5 - (i + 0.5) / QUANTILES; /* of the upper tail */
    for (int step = 0; step < 4; step++)
      x += (0.5 * erfc(x * M_SQRT1_2) - wanted) / (exp(-0.5 * x * x) * 0.3989422804014327);
    self->quantiles[QUANTILES / 2 + i] = attune_to_element(dtype, x * magnitude);
    self->quantiles[QUANTILES / 2 - 1 - i] = attune_to_element(dtype, -x * magnitude);
  }
}

static uint16_t draw_one(const drawing *self, int64_t place) {
  const uint64_t bits = hash(self->seed, (uint64_t)place / PER_HASH);
  return self->quantiles[bits >> (16 * (place % PER_HASH)) & (QUANTILES - 1)];
}

static void draw_range(void *user, int64_t begin, int64_t end) {
  const drawing *self = user;
  for (int64_t i = begin; i < end; i++)
    self->out[i] = draw_one(self, i);
}

/* Rows may lie in one another where strides broadcast; an element depends on its place alone, so that they agree. */
static void draw_rows(const drawing *self, const attune_layout *layout) {
  const int64_t batches = layout->strides.batch == 0 ? 1 : layout->batch;
  const int64_t heads = layout->strides.heads == 0 ? 1 : layout->heads;
  const int64_t rows = layout->strides.seqlen == 0 ? 1 : layout->seqlen;
  for (int64_t batch = 0; batch < batches; batch++)
    for (int64_t row = 0; row < rows; row++)
      for (int64_t head = 0; head < heads; head++) {
        const int64_t offset = attune_layout_offset(layout, batch, row, head);
        for (int64_t i = offset; i < offset + layout->head_dim; i++)
          self->out[i] = draw_one(self, i);
      }
}

uint16_t *attune_draw(const attune_layout *layout, attune_dtype dtype, uint64_t seed, double magnitude) {
  enum { GRAIN = 1 << 18 };
  const int64_t extent = attune_layout_extent(layout);
  drawing *self = malloc(sizeof *self);
  uint16_t *out = malloc((size_t)extent * sizeof *out);
  if (self == NULL || out == NULL) {
    free(out);
    out = NULL;
    goto done;
  }
  self->out = out;
  self->seed = seed;
  fill_quantiles(self, dtype, magnitude);
  if (attune_layout_contiguous(layout)) {
    attune_parallel(extent, GRAIN, draw_range, self);
  } else {
    memset(out, 0xff, (size_t)extent * sizeof *out);
    draw_rows(self, layout);
  }
done:
  free(self);
  return out;
}
