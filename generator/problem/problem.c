/* What is to be computed, as a value: checked, resolved, named. */
#include "generator/generator.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/base/text.h"
#include "generator/problem/expression.h"

/* SEQLEN_MAX: a row of the last tile, with rows to spare, plus an unbounded side still fits 32 bits. */
enum { ELEMENT_BYTES = 2, SEQLEN_MAX = (1 << 30) - 512, STRIDE_ELEMENTS = 8 };
/* tanh is computed to 1e-7, which softcap multiplies: beyond this the error shows beside that of 16-bit rounding. */
static const float softcap_max = 10000;

/* Query rows of the family with the smallest tile: the largest grid a problem can ask for. */
enum { SMALLEST_TILE_M = 4 };

void attune_problem_init(attune_problem *problem) {
  if (problem == NULL) return;
  *problem = (attune_problem){
      .struct_size = sizeof(attune_problem),
      .dtype = ATTUNE_BF16,
      .head_dim = 64,
      .head_dim_v = 64,
      .batch = 1,
      .heads_q = 1,
      .heads_kv = 1,
      .seqlen_q = 1,
      .seqlen_k = 1,
      .mask = ATTUNE_MASK_NONE,
      .window_left = -1,
      .window_right = -1,
      .scale = NAN,
  };
}

/* ---- check ---- */

static attune_status check_head_dim(const char *name, int32_t value) {
  if (value >= 8 && value <= 256 && value % 8 == 0) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_HEAD_DIM, "%s is %d; it must be a multiple of 8 from 8 to 256: pad with zeros to %d",
                     name, value,
                     value < 8     ? 8
                     : value > 256 ? 256
                                   : (value + 7) / 8 * 8);
}

static attune_status check_size(const char *name, int32_t value, int32_t limit) {
  if (value >= 1 && value <= limit) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_SIZE, "%s is %d; it must be from 1 to %d", name, value, limit);
}

typedef struct {
  const char *name;
  const attune_strides *strides;
  int32_t batch, seqlen, heads, head_dim;
  bool written;
} tensor_shape;

static bool is_contiguous_shorthand(const attune_strides *strides) {
  return strides->batch == 0 && strides->seqlen == 0 && strides->heads == 0;
}

static bool contiguous_strides(attune_strides *out, const tensor_shape *shape) {
  out->heads = shape->head_dim;
  out->seqlen = (int64_t)shape->heads * shape->head_dim;
  return !__builtin_mul_overflow(out->seqlen, (int64_t)shape->seqlen, &out->batch);
}

/* Bytes from the first element to the end of the last one. */
static bool extent_bytes(int64_t *out, const tensor_shape *shape, const attune_strides *strides) {
  const int64_t steps[3] = {shape->batch - 1, shape->seqlen - 1, shape->heads - 1};
  const int64_t sizes[3] = {strides->batch, strides->seqlen, strides->heads};
  int64_t elements = shape->head_dim;
  for (int i = 0; i < 3; i++) {
    int64_t part;
    if (__builtin_mul_overflow(steps[i], sizes[i], &part)) return false;
    if (__builtin_add_overflow(elements, part, &elements)) return false;
  }
  return !__builtin_mul_overflow(elements, (int64_t)ELEMENT_BYTES, out);
}

/* Strides of nested dimensions: each steps over all that the smaller ones reach. An output with other strides would
 * have two rows in one place, or so interleaved that no one means it. */
static attune_status check_no_overlap(const tensor_shape *shape) {
  struct {
    const char *name;
    int64_t size, stride;
  } dims[3] = {{"batch", shape->batch, shape->strides->batch},
               {"seqlen", shape->seqlen, shape->strides->seqlen},
               {"heads", shape->heads, shape->strides->heads}};
  for (int i = 1; i < 3; i++) {
    for (int j = i; j > 0 && dims[j].stride < dims[j - 1].stride; j--) {
      __auto_type other = dims[j];
      dims[j] = dims[j - 1];
      dims[j - 1] = other;
    }
  }
  int64_t reach = shape->head_dim;
  for (int i = 0; i < 3; i++) {
    if (dims[i].size == 1) continue;
    if (dims[i].stride < reach) {
      return attune_fail(ATTUNE_BAD_STRIDE,
                         "%s.%s stride is %lld elements, but what lies inside it reaches over %lld; rows of the output "
                         "would overlap: use a stride of at least %lld",
                         shape->name, dims[i].name, (long long)dims[i].stride, (long long)reach, (long long)reach);
    }
    reach += (dims[i].size - 1) * dims[i].stride;
  }
  return ATTUNE_OK;
}

static attune_status check_tensor(const tensor_shape *shape) {
  const char *const names[3] = {"batch", "seqlen", "heads"};
  const int64_t values[3] = {shape->strides->batch, shape->strides->seqlen, shape->strides->heads};
  for (int i = 0; i < 3; i++) {
    if (values[i] < 0) {
      return attune_fail(ATTUNE_BAD_STRIDE, "%s.%s stride is %lld; strides must not be negative", shape->name, names[i],
                         (long long)values[i]);
    }
    if (values[i] % STRIDE_ELEMENTS != 0) {
      return attune_fail(
          ATTUNE_BAD_STRIDE,
          "%s.%s stride is %lld elements; it must be a multiple of %d (16 bytes): copy the tensor or pad it",
          shape->name, names[i], (long long)values[i], STRIDE_ELEMENTS);
    }
  }
  attune_strides strides = *shape->strides;
  int64_t bytes;
  bool fits = true;
  if (is_contiguous_shorthand(&strides)) fits = contiguous_strides(&strides, shape);
  if (!fits || !extent_bytes(&bytes, shape, &strides)) {
    return attune_fail(ATTUNE_BAD_SIZE,
                       "%s of shape (%d, %d, %d, %d) reaches over more bytes than a 64-bit offset can hold: split the "
                       "batch or the heads",
                       shape->name, shape->batch, shape->seqlen, shape->heads, shape->head_dim);
  }
  if (shape->written && !is_contiguous_shorthand(shape->strides)) return check_no_overlap(shape);
  return ATTUNE_OK;
}

static attune_status check_sizes(const attune_problem *p) {
  attune_status status;
  if ((status = check_size("batch", p->batch, INT32_MAX))) return status;
  if ((status = check_size("heads_q", p->heads_q, INT32_MAX))) return status;
  if ((status = check_size("heads_kv", p->heads_kv, INT32_MAX))) return status;
  if ((status = check_size("seqlen_q", p->seqlen_q, SEQLEN_MAX))) return status;
  if ((status = check_size("seqlen_k", p->seqlen_k, SEQLEN_MAX))) return status;
  if (p->heads_q % p->heads_kv != 0) {
    return attune_fail(ATTUNE_BAD_HEADS, "heads_q is %d, heads_kv is %d; heads_q must be a multiple of heads_kv",
                       p->heads_q, p->heads_kv);
  }
  const int64_t tiles = (p->seqlen_q + (int64_t)SMALLEST_TILE_M - 1) / SMALLEST_TILE_M;
  int64_t blocks;
  if (__builtin_mul_overflow(tiles * p->heads_q, (int64_t)p->batch, &blocks) || blocks > INT32_MAX) {
    return attune_fail(
        ATTUNE_BAD_SIZE,
        "batch %d x heads_q %d x seqlen_q %d needs %.0f blocks of %d rows; a grid holds %d: split the batch", p->batch,
        p->heads_q, p->seqlen_q, (double)tiles * p->heads_q * p->batch, SMALLEST_TILE_M, INT32_MAX);
  }
  return ATTUNE_OK;
}

static attune_status check_window(const attune_problem *p) {
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

static attune_status check_score(const attune_problem *p) {
  if (isinf(p->scale)) {
    return attune_fail(ATTUNE_BAD_SCALE, "scale is %g; it must be finite (NaN means 1/sqrt(head_dim))",
                       (double)p->scale);
  }
  if (!(p->softcap >= 0 && p->softcap <= softcap_max)) {
    return attune_fail(ATTUNE_BAD_SCALE, "softcap is %g; it must be positive and at most %g, or 0 for none",
                       (double)p->softcap, (double)softcap_max);
  }
  return ATTUNE_OK;
}

static attune_status check_bias(const attune_problem *p) {
  const int32_t flags[2] = {p->want_bias, p->want_sinks};
  const int64_t strides[3] = {p->bias.batch, p->bias.heads, p->bias.seqlen};
  const int32_t last[3] = {p->batch - 1, p->heads_q - 1, p->seqlen_q - 1};
  int64_t extent = p->seqlen_k;
  for (int i = 0; i < 2; i++) {
    if (flags[i] != 0 && flags[i] != 1)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is %d; it must be 0 or 1", i == 0 ? "want_bias" : "want_sinks",
                         flags[i]);
  }
  for (int i = 0; i < 3; i++) {
    int64_t span;
    if (strides[i] < 0)
      return attune_fail(ATTUNE_BAD_STRIDE, "a stride of bias is %lld; strides must not be negative",
                         (long long)strides[i]);
    if (__builtin_mul_overflow(strides[i], (int64_t)last[i], &span) || __builtin_add_overflow(extent, span, &extent) ||
        extent > INT64_MAX / ELEMENT_BYTES)
      return attune_fail(ATTUNE_BAD_SIZE, "bias reaches over more bytes than a 64-bit offset can hold");
  }
  return ATTUNE_OK;
}

static attune_status check_lists(const attune_problem *p) {
  enum { SMALLEST = 16 };
  if (p->block_size < 0 || p->block_size > ATTUNE_BLOCK_SIZE_MAX || p->block_size % SMALLEST != 0)
    return attune_fail(ATTUNE_BAD_SIZE, "block_size is %d; it must be a multiple of %d up to %d, or 0: no lists",
                       p->block_size, SMALLEST, ATTUNE_BLOCK_SIZE_MAX);
  if (!(p->block_density >= 0 && p->block_density <= 1))
    return attune_fail(ATTUNE_BAD_SIZE, "block_density is %g; it must be from 0 to 1", (double)p->block_density);
  if (p->block_density > 0 && p->block_size == 0)
    return attune_fail(ATTUNE_BAD_SIZE, "block_density is %g, but there is no block_size: set it to list blocks",
                       (double)p->block_density);
  return ATTUNE_OK;
}

attune_status attune_problem_check(const attune_problem *p) {
  if (p == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "the problem is a null pointer");
  if (p->struct_size != sizeof *p) {
    return attune_fail(
        ATTUNE_BAD_ARGUMENT,
        "problem.struct_size is %zu, this library expects %zu: call attune_problem_init first, and compile "
        "against the header of this version",
        p->struct_size, sizeof *p);
  }
  if (p->dtype != ATTUNE_FP16 && p->dtype != ATTUNE_BF16) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "dtype is %d; it must be %d (fp16) or %d (bf16)", (int)p->dtype,
                       ATTUNE_FP16, ATTUNE_BF16);
  }
  if (p->mask != ATTUNE_MASK_NONE && p->mask != ATTUNE_MASK_CAUSAL && p->mask != ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "mask is %d; it must be from %d to %d", (int)p->mask, ATTUNE_MASK_NONE,
                       ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT);
  }
  if (p->want_lse != 0 && p->want_lse != 1) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "want_lse is %d; it must be 0 or 1", p->want_lse);
  }
  attune_status status;
  if ((status = check_head_dim("head_dim", p->head_dim))) return status;
  if ((status = check_head_dim("head_dim_v", p->head_dim_v))) return status;
  if ((status = check_sizes(p))) return status;
  if ((status = check_window(p))) return status;
  if ((status = check_score(p))) return status;
  if ((status = attune_expressions_check(p))) return status;
  if ((status = check_bias(p))) return status;
  if ((status = check_lists(p))) return status;
  const tensor_shape shapes[4] = {
      {"q", &p->q, p->batch, p->seqlen_q, p->heads_q, p->head_dim, false},
      {"k", &p->k, p->batch, p->seqlen_k, p->heads_kv, p->head_dim, false},
      {"v", &p->v, p->batch, p->seqlen_k, p->heads_kv, p->head_dim_v, false},
      {"o", &p->o, p->batch, p->seqlen_q, p->heads_q, p->head_dim_v, true},
  };
  for (int i = 0; i < 4; i++) {
    if ((status = check_tensor(&shapes[i]))) return status;
  }
  return ATTUNE_OK;
}

/* ---- resolve ---- */

/* Mask and window in one canonical form: a side that hides no key of any row is unbounded, and a causal mask that hides
 * nothing is none. The rule must hold for every length up to the bounds, since lengths may live in device memory: a row
 * sits at most at seqlen - 1, where seqlen is that of queries, or that of keys for a bottom-right mask. */
static void canonical_mask(attune_problem *p) {
  const bool bottom_right = p->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT;
  const int32_t last_row = (bottom_right ? p->seqlen_k : p->seqlen_q) - 1;
  const int32_t right_end = (bottom_right ? p->seqlen_q : p->seqlen_k) - 1;
  if (p->window_left < 0 || p->window_left >= last_row) p->window_left = ATTUNE_UNBOUNDED;
  if (p->mask != ATTUNE_MASK_NONE) p->window_right = 0;
  const bool right_hides = p->window_right >= 0 && p->window_right < right_end;
  if (!right_hides && (p->mask == ATTUNE_MASK_NONE || p->window_left == ATTUNE_UNBOUNDED)) {
    p->window_right = ATTUNE_UNBOUNDED;
    p->mask = ATTUNE_MASK_NONE; /* with a left side, the mask stays for its shift */
  }
  if (p->mask == ATTUNE_MASK_NONE && p->window_right == 0) p->mask = ATTUNE_MASK_CAUSAL;
}

static void resolve_strides(attune_strides *strides, int32_t seqlen, int32_t heads, int32_t head_dim) {
  const tensor_shape shape = {.seqlen = seqlen, .heads = heads, .head_dim = head_dim};
  if (is_contiguous_shorthand(strides)) (void)contiguous_strides(strides, &shape); /* checked: it does not overflow */
}

attune_status attune_problem_resolve(attune_problem *out, const attune_problem *problem) {
  if (out == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "the place for the resolved problem is a null pointer");
  const attune_status status = attune_problem_check(problem);
  if (status) return status;
  attune_problem p = *problem;
  canonical_mask(&p);
  if (isnan(p.scale)) p.scale = (float)(1 / sqrt((double)p.head_dim));
  resolve_strides(&p.q, p.seqlen_q, p.heads_q, p.head_dim);
  resolve_strides(&p.k, p.seqlen_k, p.heads_kv, p.head_dim);
  resolve_strides(&p.v, p.seqlen_k, p.heads_kv, p.head_dim_v);
  resolve_strides(&p.o, p.seqlen_q, p.heads_q, p.head_dim_v);
  *out = p;
  return ATTUNE_OK;
}

attune_bound attune_problem_bound(const attune_problem *problem) {
  attune_problem p = *problem;
  canonical_mask(&p);
  if (p.window_left != ATTUNE_UNBOUNDED) return ATTUNE_BOUND_WINDOW;
  return p.window_right != ATTUNE_UNBOUNDED ? ATTUNE_BOUND_CAUSAL : ATTUNE_BOUND_NONE;
}

attune_score attune_problem_score(const attune_problem *problem) {
  if (attune_problem_changes_score(problem)) return ATTUNE_SCORE_EXPRESSION;
  if (problem->softcap > 0) return ATTUNE_SCORE_SOFTCAP; /* tanh carries the sign */
  return problem->scale < 0 ? ATTUNE_SCORE_NEGATED : ATTUNE_SCORE_PLAIN;
}

bool attune_problem_is_sparse(const attune_problem *problem) {
  return attune_problem_has_pattern(problem) || problem->block_size > 0;
}

int64_t attune_blocks_of(int32_t seqlen, int32_t block) {
  return ((int64_t)seqlen + block - 1) / block;
}

attune_range attune_block_range(int64_t index, int32_t block, int32_t seqlen) {
  const int64_t end = (index + 1) * block;
  return (attune_range){(int32_t)(index * block), (int32_t)(end < seqlen ? end : seqlen) - 1};
}

int32_t attune_problem_one_in(const attune_problem *problem) {
  enum { MOST = 1 << 16 };
  if (problem->block_size == 0 || !(problem->block_density > 0)) return 0;
  const double one_in = exp2(round(-log2((double)problem->block_density)));
  return one_in < MOST ? (int32_t)one_in : MOST;
}

/* ---- the class as text ---- */

static const char *const dtype_words[] = {"fp16", "bf16", NULL};
static const char *const mask_words[] = {"none", "causal", "causal-bottom-right", NULL};

attune_status attune_problem_print(char out[ATTUNE_TEXT_MAX], const attune_problem *problem) {
  if (out == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "the place for the problem's text is a null pointer");
  const attune_status status = attune_problem_check(problem);
  if (status) return status;
  attune_problem p = *problem;
  canonical_mask(&p);
  char v[16] = "", mask[32] = "", window[32] = "";
  if (p.head_dim_v != p.head_dim) snprintf(v, sizeof v, ".v%d", p.head_dim_v);
  if (p.mask != ATTUNE_MASK_NONE) snprintf(mask, sizeof mask, ".%s", mask_words[p.mask]);
  if (p.window_left != ATTUNE_UNBOUNDED || (p.mask == ATTUNE_MASK_NONE && p.window_right != ATTUNE_UNBOUNDED)) {
    snprintf(window, sizeof window, ".w%d,%d", p.window_left == ATTUNE_UNBOUNDED ? -1 : p.window_left,
             p.window_right == ATTUNE_UNBOUNDED ? -1 : p.window_right);
  }
  char lists[16] = "", one_in[16] = "";
  if (p.block_size > 0) snprintf(lists, sizeof lists, ".list%d", p.block_size);
  if (attune_problem_one_in(&p) > 0) snprintf(one_in, sizeof one_in, ".in%d", attune_problem_one_in(&p));
  static const char *const scores[] = {"", ".negated", ".softcap", ".expression"};
  const int32_t expressions = attune_problem_expressions(&p);
  char number[16] = "";
  if (expressions != 0) snprintf(number, sizeof number, ".x%d", expressions);
  snprintf(out, ATTUNE_TEXT_MAX, "forward.%s.d%d%s.b%d.h%d.kv%d.q%d.k%d%s%s%s%s%s%s%s%s%s", dtype_words[p.dtype],
           p.head_dim, v, p.batch, p.heads_q, p.heads_kv, p.seqlen_q, p.seqlen_k, mask, window, lists, one_in,
           attune_problem_has_pattern(&p) ? ".pattern" : "", scores[attune_problem_score(&p)],
           p.want_sinks ? ".sinks" : "", number, p.want_lse ? ".lse" : "");
  return ATTUNE_OK;
}

static attune_status bad_class(const attune_text *text, const char *expected) {
  return attune_fail(ATTUNE_BAD_ARGUMENT, "problem \"%.160s\", column %d: expected %s", text->start,
                     attune_text_column(text), expected);
}

attune_status attune_problem_parse(attune_problem *out, const char *class_text) {
  if (out == NULL || class_text == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "problem text: null pointer");
  attune_problem p;
  attune_problem_init(&p);
  attune_text text = attune_text_of(class_text);
  int32_t word;
  if (!attune_text_word(&text, "forward")) return bad_class(&text, "\"forward\"");
  if (!attune_text_one_of(&text, dtype_words, &word)) return bad_class(&text, "\"fp16\" or \"bf16\"");
  p.dtype = (attune_dtype)word;
  if (!attune_text_number(&text, "d", &p.head_dim)) return bad_class(&text, "d and head_dim, as in \"d128\"");
  if (!attune_text_number(&text, "v", &p.head_dim_v)) p.head_dim_v = p.head_dim;
  if (!attune_text_number(&text, "b", &p.batch)) return bad_class(&text, "b and batch, as in \"b4\"");
  if (!attune_text_number(&text, "h", &p.heads_q)) return bad_class(&text, "h and heads_q, as in \"h16\"");
  if (!attune_text_number(&text, "kv", &p.heads_kv)) return bad_class(&text, "kv and heads_kv, as in \"kv16\"");
  if (!attune_text_number(&text, "q", &p.seqlen_q)) return bad_class(&text, "q and seqlen_q, as in \"q4096\"");
  if (!attune_text_number(&text, "k", &p.seqlen_k)) return bad_class(&text, "k and seqlen_k, as in \"k4096\"");
  if (attune_text_one_of(&text, mask_words, &word)) p.mask = (attune_mask)word;
  attune_text_pair(&text, "w", &p.window_left, &p.window_right);
  int32_t one_in = 0;
  if (attune_text_number(&text, "list", &p.block_size) && attune_text_number(&text, "in", &one_in) && one_in > 0)
    p.block_density = 1 / (float)one_in;
  /* The class knows that there is a softcap, or that the scale is negative, not how much: representative values. */
  const bool pattern = attune_text_word(&text, "pattern");
  if (attune_text_word(&text, "softcap")) p.softcap = 50;
  if (attune_text_word(&text, "negated")) p.scale = (float)(-1 / sqrt((double)p.head_dim));
  const bool expression = attune_text_word(&text, "expression");
  if (attune_text_word(&text, "sinks")) p.want_sinks = 1;
  int32_t number = 0;
  (void)attune_text_number(&text, "x", &number);
  if ((pattern || expression) != (number > 0))
    return bad_class(&text, "x and a number where there is a pattern or an expression, and only there");
  if (pattern) snprintf(p.mask_expr, sizeof p.mask_expr, "#%d", number);
  if (expression) snprintf(p.score_expr, sizeof p.score_expr, "#%d", number);
  if (attune_text_word(&text, "lse")) p.want_lse = 1;
  if (!attune_text_done(&text)) return bad_class(&text, "the end, or an optional part in its place");
  char canonical[ATTUNE_TEXT_MAX];
  const attune_status status = attune_problem_print(canonical, &p);
  if (status) return status;
  if (strcmp(canonical, class_text) != 0) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "problem \"%.160s\" is not in its canonical form: write \"%s\"", class_text,
                       canonical);
  }
  *out = p;
  return ATTUNE_OK;
}

/* ---- measures ---- */

static double axis(int32_t a, int32_t b) {
  return fabs(log2((double)a / (double)b));
}

double attune_problem_distance(const attune_problem *wanted, const attune_problem *tuned) {
  attune_problem a = *wanted, b = *tuned;
  canonical_mask(&a);
  canonical_mask(&b);
  const bool same_kernel = a.dtype == b.dtype && a.head_dim == b.head_dim && a.head_dim_v == b.head_dim_v &&
                           attune_problem_bound(&a) == attune_problem_bound(&b) &&
                           attune_problem_score(&a) == attune_problem_score(&b) && a.want_lse == b.want_lse &&
                           a.want_sinks == b.want_sinks && a.block_size == b.block_size &&
                           attune_problem_has_pattern(&a) == attune_problem_has_pattern(&b);
  if (!same_kernel) return INFINITY;
  double distance = axis(a.batch, b.batch) + axis(a.heads_q, b.heads_q) + axis(a.heads_kv, b.heads_kv) +
                    axis(a.seqlen_q, b.seqlen_q) + axis(a.seqlen_k, b.seqlen_k);
  /* The kernel is made anew from the schedule. Another score may want another one, another pattern surely does. */
  if (attune_problem_expressions(&a) != attune_problem_expressions(&b))
    distance += attune_problem_has_pattern(&a) ? INFINITY : 1;
  if (attune_problem_one_in(&a) > 0 && attune_problem_one_in(&b) > 0)
    distance += axis(attune_problem_one_in(&a), attune_problem_one_in(&b));
  if (attune_problem_bound(&a) == ATTUNE_BOUND_WINDOW) distance += axis(a.window_left + 1, b.window_left + 1);
  return distance;
}

/* Sum over i in [0, rows) of i + first, clamped to [0, limit]. */
static double clamped_sum(int64_t rows, int64_t first, int64_t limit) {
  const int64_t begin = first >= 0 ? 0 : -first < rows ? -first : rows; /* first row above 0 */
  int64_t end = limit - first;                                          /* first row at the limit */
  if (end < begin) end = begin;
  if (end > rows) end = rows;
  const double ramp = (double)(end - begin) * ((double)(begin + first) + (double)(end - 1 + first)) / 2;
  return ramp + (double)(rows - end) * (double)limit;
}

static double visible_pairs(const attune_problem *problem) {
  attune_problem p = *problem;
  canonical_mask(&p);
  const int64_t shift = p.mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? (int64_t)p.seqlen_k - p.seqlen_q : 0;
  const double below_right = p.window_right == ATTUNE_UNBOUNDED
                                 ? (double)p.seqlen_q * (double)p.seqlen_k
                                 : clamped_sum(p.seqlen_q, shift + p.window_right + 1, p.seqlen_k);
  const double below_left =
      p.window_left == ATTUNE_UNBOUNDED ? 0 : clamped_sum(p.seqlen_q, shift - p.window_left, p.seqlen_k);
  return below_right - below_left;
}

double attune_problem_flops(const attune_problem *problem) {
  return 2.0 * (problem->head_dim + problem->head_dim_v) * visible_pairs(problem) * problem->batch * problem->heads_q;
}

double attune_problem_bytes(const attune_problem *problem) {
  const double rows_q = (double)problem->batch * problem->heads_q * problem->seqlen_q;
  const double rows_k = (double)problem->batch * problem->heads_kv * problem->seqlen_k;
  const double row = ELEMENT_BYTES * (double)(problem->head_dim + problem->head_dim_v);
  return (rows_q + rows_k) * row + (problem->want_lse ? 4 * rows_q : 0);
}
