/* Every family on the simulator against float64: head dims, ragged lengths, masks, heads, scores, strides, schedules
 * of the kernel and of the device. One test is one config; it meets up to a dozen small problems, which a counter
 * varies in every respect.
 *
 * The verifier decides: NaN wherever nothing may be read, poisoned outputs, every row against float64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/runtime.h"
#include "tuner/verify/verifier.h"

/* Between them: every field's values, every head dim class, every branch of the templates. */
static const char *const configs[] = {
    "reference.bf16.d8.m4.n32.w4.s1.b1",
    "reference.fp16.d40.v24.causal.lse.m4.n32.w4.s1.b1",
    "reference.bf16.d64.window.softcap.lse.m4.n32.w4.s1.b1",
    "reference.fp16.d256.v128.negated.m4.n32.w4.s1.b1",
    "mma.bf16.d8.m16.n16.w1.s1.b1",
    "mma.bf16.d8.v256.lse.m32.n32.w2.s2.q_in_regs.b1",
    "mma.fp16.d24.m32.n16.w1.s1.lazy.b1",
    "mma.bf16.d24.v40.causal.m64.n32.w4.s1.q_in_regs.lpt.b1",
    "mma.bf16.d40.lse.m64.n48.w2.s2.b1",
    "mma.fp16.d40.v8.window.lse.m64.n32.w4.s3.lazy.heads.b1",
    "mma.bf16.d64.m64.n64.w4.s1.b1",
    "mma.bf16.d64.lse.m64.n64.w4.s2.b1",
    "mma.bf16.d64.m64.n64.w4.s3.q_in_regs.b1",
    "mma.bf16.d64.lse.m128.n64.w4.s2.q_in_regs.lazy.b1",
    "mma.fp16.d64.lse.m128.n32.w8.s1.q_in_regs.lazy.b1",
    "mma.fp16.d64.m64.n128.w2.s2.b1",
    "mma.bf16.d64.causal.lse.m64.n64.w4.s1.b1",
    "mma.bf16.d64.causal.lse.m64.n32.w4.s2.reversed.b1",
    "mma.bf16.d64.causal.lse.m128.n64.w4.s3.lazy.lpt.b1",
    "mma.fp16.d64.causal.m32.n64.w2.s1.q_in_regs.heads.b1",
    "mma.fp16.d64.causal.lse.m64.n16.w1.s4.q_in_regs.lazy.b1",
    "mma.bf16.d64.window.lse.m64.n64.w4.s1.b1",
    "mma.bf16.d64.window.lse.m64.n32.w4.s2.lpt.b1",
    "mma.bf16.d64.window.lse.m32.n16.w2.s3.q_in_regs.lazy.b1",
    "mma.fp16.d64.window.m128.n32.w8.s2.lazy.reversed.b1",
    "mma.bf16.d64.negated.lse.m64.n64.w4.s2.b1",
    "mma.bf16.d64.causal.negated.lse.m64.n32.w4.s1.lazy.b1",
    "mma.fp16.d64.softcap.lse.m64.n64.w4.s2.lazy.b1",
    "mma.bf16.d64.causal.softcap.m64.n32.w4.s1.q_in_regs.b1",
    "mma.bf16.d64.window.softcap.lse.m64.n32.w4.s2.q_in_regs.lazy.b1",
    "mma.bf16.d64.window.negated.lse.m64.n32.w4.s1.b1",
    "mma.bf16.d64.v128.lse.m64.n64.w4.s2.b1",
    "mma.fp16.d80.causal.lse.m64.n64.w4.s2.q_in_regs.b1",
    "mma.bf16.d80.v72.m64.n80.w4.s1.lazy.b1",
    "mma.bf16.d128.lse.m64.n64.w4.s2.b1",
    "mma.fp16.d128.causal.lse.m64.n32.w4.s1.q_in_regs.lazy.lpt.b1",
    "mma.bf16.d128.window.m64.n48.w4.s2.b1",
    "mma.bf16.d192.v128.causal.lse.m64.n32.w4.s2.lazy.b1",
    "mma.fp16.d200.v136.lse.m32.n32.w2.s1.b1",
    "mma.bf16.d256.lse.m64.n32.w4.s2.b1",
    "mma.fp16.d256.causal.lse.m64.n32.w4.s1.q_in_regs.b1",
    "mma.bf16.d256.v8.window.lse.m32.n32.w2.s2.lazy.b1",
    "mma.bf16.d64.lse.m32.n16.w2.s2.split3.b1",
    "mma.fp16.d24.v40.causal.m16.n16.w1.s1.split7.b1",
    "mma.bf16.d64.window.softcap.lse.m64.n32.w4.s3.q_in_regs.lazy.lpt.split2.b1",
    "wgmma.bf16.d64.lse.m64.n48.w8.s2.lazy.intra_wg_overlap.split5.b1",
    "wgmma.fp16.d24.v200.causal.lse.m64.n32.w8.s1.lazy.half_tiles.o_staging_own.persistent_dynamic.lpt.split3.b1",
    "wgmma.bf16.d64.window.lse.m128.n128.w12.s2.intra_wg_overlap.pingpong_mma.o_staging_v.persistent_static.reversed."
    "split2.b1",
    "wgmma.bf16.d64.lse.m64.n64.w8.s2.lazy.q_prefetch.intra_wg_overlap.persistent_static.pack_gqa2.split4.b1",
    "wgmma.bf16.d64.m64.n64.w8.s2.lazy.intra_wg_overlap.split2.c2.b1",
    "wgmma.bf16.d8.m64.n16.w8.s1.b1",
    "wgmma.fp16.d24.v200.lse.m64.n48.w8.s2.intra_wg_overlap.b1",
    "wgmma.bf16.d40.v72.causal.lse.m64.n64.w8.s1.lazy.q_prefetch.intra_wg_overlap.persistent_static.lpt.b1",
    "wgmma.bf16.d64.lse.m128.n64.w12.s2.pingpong_mma.b1",
    "wgmma.fp16.d64.m192.n48.w16.s3.lazy.q_prefetch.intra_wg_overlap.pingpong_mma.persistent_static.b1",
    "wgmma.bf16.d64.causal.lse.m128.n32.w12.s2.lazy.intra_wg_overlap.pingpong_mma.l2_sections.b1",
    "wgmma.fp16.d64.causal.lse.m192.n64.w16.s4.q_prefetch.intra_wg_overlap.persistent_static.reversed.b1",
    "wgmma.bf16.d64.window.lse.m64.n32.w8.s2.lazy.intra_wg_overlap.b1",
    "wgmma.bf16.d64.window.softcap.m128.n16.w12.s3.intra_wg_overlap.pingpong_mma.persistent_static.heads.b1",
    "wgmma.fp16.d64.window.negated.lse.m128.n80.w12.s2.l2_sections.b1",
    "wgmma.bf16.d64.softcap.lse.m128.n128.w12.s1.lazy.pingpong_mma.b1",
    "wgmma.bf16.d96.v40.negated.m64.n64.w8.s3.intra_wg_overlap.b1",
    "wgmma.bf16.d128.lse.m128.n64.w12.s2.lazy.q_prefetch.intra_wg_overlap.persistent_static.b1",
    "wgmma.fp16.d128.causal.lse.m128.n48.w12.s2.lazy.intra_wg_overlap.pingpong_mma.persistent_static.reversed.b1",
    "wgmma.bf16.d192.v128.causal.lse.m128.n32.w12.s2.intra_wg_overlap.b1",
    "wgmma.bf16.d256.window.lse.m64.n48.w8.s1.lazy.intra_wg_overlap.persistent_static.b1",
    "wgmma.bf16.d64.causal.lse.m128.n64.w12.s3.lazy.q_prefetch.persistent_static.reversed.b2",
    "wgmma.fp16.d64.m64.n48.w8.s2.lazy.intra_wg_overlap.b3",
    "wgmma.bf16.d64.causal.lse.m128.n32.w12.s2.lazy.q_prefetch.intra_wg_overlap.half_tiles.persistent_static.reversed."
    "b1",
    "wgmma.fp16.d64.window.lse.m192.n64.w16.s2.intra_wg_overlap.pingpong_mma.half_tiles.b1",
    "wgmma.bf16.d64.window.softcap.lse.m128.n64.w12.s2.lazy.half_tiles.persistent_static.lpt.b1",
    "wgmma.bf16.d64.lse.m128.n64.w12.s2.lazy.intra_wg_overlap.half_tiles.b1",
    "wgmma.bf16.d64.causal.lse.m128.n32.w12.s2.lazy.q_prefetch.intra_wg_overlap.pingpong_softmax.rescale_before_pv."
    "persistent_static.reversed.b1",
    "wgmma.fp16.d64.window.lse.m192.n64.w16.s2.intra_wg_overlap.pingpong_softmax.half_tiles.rescale_before_pv.b1",
    "wgmma.bf16.d128.lse.m128.n48.w12.s2.intra_wg_overlap.p_in_smem.exp2_emulation4.b1",
    "wgmma.fp16.d64.window.softcap.lse.m128.n96.w12.s2.lazy.q_prefetch.pingpong_softmax.half_tiles.p_in_smem.exp2_"
    "emulation8.persistent_static.lpt.b1",
    "wgmma.fp16.d40.v72.causal.negated.lse.m64.n128.w8.s1.lazy.intra_wg_overlap.rescale_before_pv.p_in_smem.exp2_"
    "emulation2.b1",
    "wgmma.bf16.d64.lse.m64.n64.w8.s2.lazy.intra_wg_overlap.pack_gqa2.b1",
    "wgmma.fp16.d64.causal.lse.m128.n32.w12.s2.lazy.q_prefetch.intra_wg_overlap.pingpong_mma.half_tiles.persistent_"
    "static.reversed.pack_gqa2.b1",
    "wgmma.bf16.d40.v72.window.softcap.lse.m64.n64.w8.s2.lazy.q_prefetch.half_tiles.persistent_dynamic.lpt.pack_gqa4."
    "b1",
    "wgmma.bf16.d128.lse.m192.n48.w16.s2.intra_wg_overlap.p_in_smem.l2_sections.pack_gqa8.b1",
    "wgmma.fp16.d64.lse.m64.n64.w8.s2.lazy.q_prefetch.persistent_static.pack_gqa2.c2.b1",
    "wgmma.bf16.d64.causal.lse.m128.n32.w12.s2.lazy.intra_wg_overlap.pingpong_mma.half_tiles.o_staging_own.persistent_"
    "static.reversed.b1",
    "wgmma.fp16.d40.v72.lse.m64.n64.w8.s2.lazy.q_prefetch.p_in_smem.o_staging_own.persistent_dynamic.heads.b1",
    "wgmma.bf16.d128.v40.window.lse.m192.n64.w16.s2.lazy.q_prefetch.intra_wg_overlap.o_staging_own.persistent_static."
    "lpt.pack_gqa2.b1",
    "wgmma.bf16.d64.causal.lse.m128.n128.w12.s1.lazy.intra_wg_overlap.pingpong_mma.half_tiles.o_staging_v."
    "persistent_static.reversed.b1",
    "wgmma.fp16.d40.v72.lse.m64.n64.w8.s2.lazy.o_staging_v.b2",
    "wgmma.bf16.d64.v40.m64.n64.w8.s2.lazy.q_prefetch.p_in_smem.o_staging_v.persistent_static.c2.b1",
    "wgmma.bf16.d128.window.lse.m64.n96.w8.s2.lazy.q_prefetch.intra_wg_overlap.half_tiles.o_staging_v."
    "persistent_dynamic.lpt.pack_gqa2.b1",
    "wgmma.bf16.d64.lse.m64.n48.w8.s2.lazy.intra_wg_overlap.c2.b1",
    "wgmma.fp16.d64.m64.n32.w8.s1.heads.c2.b2",
    "wgmma.bf16.d128.lse.m128.n64.w12.s2.lazy.q_prefetch.intra_wg_overlap.persistent_static.heads.c2.b1",
    "wgmma.bf16.d64.m128.n64.w12.s3.lazy.q_prefetch.intra_wg_overlap.pingpong_mma.p_in_smem.persistent_static.c2.b1",
    "wgmma.fp16.d40.v72.softcap.lse.m192.n48.w16.s2.pingpong_mma.persistent_static.l2_sections.c2.b1",
    "wgmma.bf16.d64.lse.m128.n32.w12.s4.lazy.intra_wg_overlap.half_tiles.persistent_static.reversed.c2.b1",
    "wgmma.bf16.d64.lse.m64.n64.w8.s1.persistent_dynamic.b1",
    "wgmma.bf16.d64.causal.lse.m128.n32.w12.s2.lazy.q_prefetch.intra_wg_overlap.persistent_dynamic.lpt.b1",
    "wgmma.fp16.d128.causal.lse.m192.n48.w16.s2.q_prefetch.intra_wg_overlap.pingpong_mma.persistent_dynamic.reversed."
    "b1",
    "wgmma.bf16.d64.causal.m64.n32.w8.s3.lazy.q_prefetch.half_tiles.persistent_dynamic.l2_sections.b3",
    "wgmma.fp16.d64.window.lse.m192.n64.w16.s2.lazy.intra_wg_overlap.pingpong_mma.half_tiles.persistent_dynamic."
    "l2_sections.b1",
    "wgmma.bf16.d40.v72.window.softcap.lse.m128.n16.w12.s3.lazy.q_prefetch.persistent_dynamic.heads.b2",
    "wgmma.fp16.d64.causal.lse.m192.n64.w16.s2.lazy.q_prefetch.intra_wg_overlap.pingpong_softmax.half_tiles.rescale_"
    "before_pv.p_in_smem.exp2_emulation4.persistent_dynamic.lpt.b1",
};
/* The plain build meets every problem of every config. The sanitizers watch the simulator's own code, which does the
 * same in each: AddressSanitizer meets every config with half of the problems, ThreadSanitizer a third of the configs.
 */
enum { PROBLEMS = 12 };
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EVERY_CONFIG 3
#define DIVISOR 4
#elif __has_feature(address_sanitizer)
#define EVERY_CONFIG 1
#define DIVISOR 2
#endif
#endif
#ifndef DIVISOR
#define EVERY_CONFIG 1
#define DIVISOR 1
#endif
enum { CONFIGS = sizeof configs / sizeof configs[0], SEEDS = 4 };

static attune_backend *machines[SEEDS]; /* one for each schedule of the device */

/* ---- problems ---- */

typedef struct {
  attune_problem problem; /* resolved */
  double magnitude;
  bool lengths; /* in device memory, shorter than the problem's */
  int32_t seqlens_q[4], seqlens_k[4];
} trial;

static void choose_mask(attune_problem *p, int32_t bound, int n) {
  static const struct {
    attune_mask mask;
    int left, right;
  } causal[] = {{ATTUNE_MASK_CAUSAL, -1, -1},
                {ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT, -1, -1},
                {ATTUNE_MASK_NONE, -1, 5},
                {ATTUNE_MASK_NONE, -1, 0}},
    window[] = {{ATTUNE_MASK_NONE, 16, 16}, {ATTUNE_MASK_CAUSAL, 40, -1},
                {ATTUNE_MASK_NONE, 0, 0},   {ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT, 20, -1},
                {ATTUNE_MASK_NONE, 70, -1}, {ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT, 0, -1},
                {ATTUNE_MASK_NONE, 3, 90}};
  if (bound == ATTUNE_MASK_BOUNDS_CAUSAL)
    p->mask = causal[n % 4].mask, p->window_left = causal[n % 4].left, p->window_right = causal[n % 4].right;
  if (bound == ATTUNE_MASK_BOUNDS_WINDOW)
    p->mask = window[n % 7].mask, p->window_left = window[n % 7].left, p->window_right = window[n % 7].right;
}

static void choose_score(attune_problem *p, int32_t score, int n) {
  static const float plain[] = {NAN, 0.3f, NAN, 0.0f, 1e-30f}, negated[] = {-0.1f, -0.5f, -1e-3f};
  static const float caps[] = {30.0f, 5.0f, 0.5f}, capped[] = {NAN, 0.4f, -0.2f, 0.0f};
  p->scale = score == ATTUNE_SCORE_PLAIN     ? plain[n % 5]
             : score == ATTUNE_SCORE_NEGATED ? negated[n % 3]
                                             : capped[n % 4];
  if (score == ATTUNE_SCORE_SOFTCAP) p->softcap = caps[n % 3];
}

static void choose_strides(attune_problem *p, int n) {
  int64_t d = p->head_dim, dv = p->head_dim_v;
  switch (n % 4) {
  case 0: /* contiguous */
    break;
  case 1: /* (batch, heads, seqlen, head_dim) */
    p->q = (attune_strides){p->heads_q * p->seqlen_q * d, d, p->seqlen_q * d};
    p->k = (attune_strides){p->heads_kv * p->seqlen_k * d, d, p->seqlen_k * d};
    p->v = (attune_strides){p->heads_kv * p->seqlen_k * dv, dv, p->seqlen_k * dv};
    p->o = (attune_strides){p->heads_q * p->seqlen_q * dv, dv, p->seqlen_q * dv};
    break;
  case 2: /* padded in every dimension */
    p->q = (attune_strides){(p->seqlen_q + 1) * (p->heads_q + 1) * (d + 8), (p->heads_q + 1) * (d + 8), d + 8};
    p->k = (attune_strides){(p->seqlen_k + 2) * (p->heads_kv + 3) * d, (p->heads_kv + 3) * d, d};
    p->v = (attune_strides){p->seqlen_k * p->heads_kv * (dv + 24), p->heads_kv * (dv + 24), dv + 24};
    p->o = (attune_strides){(p->seqlen_q + 3) * p->heads_q * (dv + 8), p->heads_q * (dv + 8), dv + 8};
    break;
  case 3: /* one key head for all, one batch of values for all */
    p->k = (attune_strides){p->seqlen_k * d, d, 0};
    p->v = (attune_strides){0, p->heads_kv * dv, dv};
    break;
  }
}

static void choose(trial *out, const attune_config *config, int n) {
  static const int lengths_q[] = {65, 1, 100, 17, 64, 130, 63}, lengths_k[] = {100, 64, 1, 129, 65, 17, 200, 31, 63};
  static const int heads[][2] = {{1, 1}, {4, 2}, {2, 2}, {3, 1}};
  *out = (trial){.magnitude = n % 3 != 2                                     ? 1.0
                              : config->dtype == ATTUNE_BF16 && !config->lse ? 100.0
                                                                             : 16.0,
                 .lengths = n % 5 % 2 == 1};
  attune_problem p;
  attune_problem_init(&p);
  p.dtype = (attune_dtype)config->dtype;
  p.head_dim = config->head_dim;
  p.head_dim_v = config->head_dim_v;
  p.batch = 1 + n % 2;
  p.heads_q = heads[n / 2 % 4][0];
  p.heads_kv = heads[n / 2 % 4][1];
  if (config->pack_gqa > 1) {
    p.heads_kv = 1 + n / 2 % 2;
    p.heads_q = p.heads_kv * config->pack_gqa * (1 + n / 4 % 2);
  }
  p.seqlen_q = lengths_q[n % 7];
  p.seqlen_k = lengths_k[n % 9];
  p.want_lse = config->lse;
  choose_mask(&p, config->mask_bounds, n);
  choose_score(&p, config->score, n);
  /* A tensor map describes no broadcast. */
  choose_strides(&p, config->family == ATTUNE_FAMILY_WGMMA ? n / 3 % 4 % 3 : n / 3);
  if (attune_problem_resolve(&out->problem, &p) != ATTUNE_OK) fail_msg("problem %d: %s", n, attune_message());
  for (int b = 0; b < p.batch; b++) {
    out->seqlens_q[b] = out->lengths ? p.seqlen_q - p.seqlen_q * (n % 4) / 5 : p.seqlen_q;
    out->seqlens_k[b] = out->lengths ? p.seqlen_k * ((n + b) % 4) / 3 : p.seqlen_k;
  }
  attune_config described;
  attune_config_of_problem(&described, (attune_family)config->family, &out->problem);
  assert_in_range(described.mask_bounds, 0, config->mask_bounds); /* a mask that hides nothing here asks for less */
  assert_int_equal(described.score, config->score);
}

/* ---- tests ---- */

static void describe(char out[512], const trial *t, int n) {
  const attune_problem *p = &t->problem;
  char class[ATTUNE_TEXT_MAX] = "";
  attune_problem_print(class, p);
  snprintf(out, 512, "problem %d, %s, scale %g, softcap %g, magnitude %g, strides %d, lengths %s (%d %d, %d %d)", n,
           class, (double)p->scale, (double)p->softcap, t->magnitude, n / 3 % 4, t->lengths ? "own" : "the problem's",
           t->seqlens_q[0], t->seqlens_k[0], t->seqlens_q[1], t->seqlens_k[1]);
}

/* O of one verified run on a machine; malloc'ed. */
static uint16_t *run(attune_verifier *verifier, int seed, attune_kernel *kernel, const attune_config *config,
                     const attune_problem *problem, const char *about, size_t size) {
  attune_program *program = NULL;
  attune_verdict verdict;
  uint16_t *o = malloc(size);
  assert_non_null(o);
  attune_kernel *const kernels[ATTUNE_STEPS_MAX] = {kernel};
  const attune_program_source from = {.backend = machines[seed], .problem = problem, .kernels = kernels};
  if (attune_program_create(&program, &from, config) != ATTUNE_OK ||
      attune_verifier_check(verifier, program, &verdict) != ATTUNE_OK ||
      attune_verifier_outputs(verifier, o, NULL) != ATTUNE_OK)
    fail_msg("%s: %s", about, attune_message());
  if (!verdict.passed) fail_msg("%s: %s", about, verdict.worst);
  attune_program_destroy(program);
  return o;
}

/* On two schedules of the device, which share the inputs and the reference. */
static void check_problem(attune_kernel *kernel, const attune_config *config, int n) {
  trial t;
  attune_verifier *verifier;
  attune_inputs inputs = {.used = 0};
  char about[512];
  choose(&t, config, n);
  describe(about, &t, n);
  const attune_problem *p = &t.problem;
  const size_t size =
      sizeof(uint16_t) * (size_t)p->batch * (size_t)p->seqlen_q * (size_t)p->heads_q * (size_t)p->head_dim_v;
  const attune_drawing drawing = {.seed = (uint64_t)n, .magnitude = t.magnitude, .magnitude_v = t.magnitude};
  if (t.lengths) {
    inputs.seqlens[ATTUNE_QUERIES].array = t.seqlens_q;
    inputs.seqlens[ATTUNE_KEYS].array = t.seqlens_k;
  }
  if (attune_verifier_create(&verifier, machines[0], p, &inputs, &drawing) != ATTUNE_OK)
    fail_msg("%s: %s", about, attune_message());
  uint16_t *first = run(verifier, 0, kernel, config, p, about, size),
           *second = run(verifier, 1 + n % (SEEDS - 1), kernel, config, p, about, size);
  attune_verifier_destroy(verifier);
  if (memcmp(first, second, size) != 0) fail_msg("problem %d: another schedule, another result", n);
  free(first);
  free(second);
}

static void check(void **state) {
  int index = *(int *)*state;
  char text[ATTUNE_TEXT_MAX];
  attune_config config;
  attune_kernel *kernel;
  snprintf(text, sizeof text, "forward.%s", configs[index]);
  if (attune_config_parse(&config, text) != ATTUNE_OK ||
      attune_config_legal(&config, attune_backend_device(machines[0])) != ATTUNE_OK ||
      attune_kernel_compile(&kernel, &config, NULL, "host") != ATTUNE_OK)
    fail_msg("%s: %s", text, attune_message());
  /* A block of family wgmma has three times the threads, on which a sanitizer spends its time. */
  const int problems = config.family == ATTUNE_FAMILY_WGMMA ? PROBLEMS / 2 + 1 : PROBLEMS;
  for (int i = 0; i < problems; i += DIVISOR)
    check_problem(kernel, &config, index * 5 + i);
  free(kernel);
}

static int set_up(void **state) {
  (void)state;
  for (uint64_t i = 0; i < SEEDS; i++)
    if (attune_backend_open(&machines[i], "host", i) != ATTUNE_OK) return -1;
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  for (int i = 0; i < SEEDS; i++)
    attune_backend_close(machines[i]);
  return 0;
}

int main(void) {
  static struct CMUnitTest tests[CONFIGS];
  static int index[CONFIGS];
  size_t count = 0;
  for (int i = 0; i < CONFIGS; i += EVERY_CONFIG) {
    index[i] = i;
    tests[count++] = (struct CMUnitTest){.name = configs[i], .test_func = check, .initial_state = &index[i]};
  }
  return _cmocka_run_group_tests("host_forward", tests, count, set_up, tear_down);
}
