/* Results on a GPU, through the public API, by the verifier: problems that reach every edge, each with the kernel that
 * a plan takes and with the reference family, then a sample of configs with every value of every field. A line a case.
 * Exit 77: no GPU. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/random.h"
#include "tests/device/device_case.h"

enum { MAKERS = 8, HOST_FLOPS = 200000000, RANDOM_CASES = 24 };

typedef enum { CONTIGUOUS, HEADS_FIRST, PACKED, PADDED, BROADCAST } layout;

typedef struct {
  const char *name, *class;
  float scale, softcap; /* 0: as the class says */
  layout layout;
  double magnitude;                   /* of the inputs; 0: 1 */
  int32_t lengths_q[4], lengths_k[4]; /* of batches of `lengths`; used if lengths is set */
  int lengths;                        /* 1: of keys, 2: of both */
} gpu_case;

static const gpu_case cases[] = {
    {.name = "bf16 causal lse", .class = "forward.bf16.d128.b2.h4.kv4.q512.k512.causal.lse"},
    {.name = "fp16 causal lse", .class = "forward.fp16.d128.b2.h4.kv4.q512.k512.causal.lse"},
    {.name = "no mask", .class = "forward.bf16.d64.b2.h4.kv4.q1024.k1024"},
    {.name = "fp16 no mask", .class = "forward.fp16.d64.b2.h4.kv4.q1024.k1024.lse"},
    {.name = "head_dim 256", .class = "forward.bf16.d256.b1.h2.kv2.q512.k512.causal.lse"},
    {.name = "head_dim 8", .class = "forward.bf16.d8.b1.h2.kv2.q300.k300.causal"},
    {.name = "head_dim 16", .class = "forward.fp16.d16.b1.h2.kv2.q300.k300"},
    {.name = "head_dim 24", .class = "forward.bf16.d24.b1.h2.kv2.q300.k300.lse"},
    {.name = "head_dim 40, 72", .class = "forward.bf16.d40.v72.b1.h2.kv2.q300.k300.causal.lse"},
    {.name = "head_dim 72, 40", .class = "forward.fp16.d72.v40.b1.h2.kv2.q300.k300"},
    {.name = "head_dim 96", .class = "forward.bf16.d96.b1.h3.kv3.q257.k511.causal"},
    {.name = "head_dim 104", .class = "forward.fp16.d104.b1.h3.kv3.q257.k511"},
    {.name = "head_dim 160", .class = "forward.bf16.d160.b1.h2.kv2.q400.k400.causal"},
    {.name = "head_dim 192, 128", .class = "forward.bf16.d192.v128.b1.h4.kv4.q512.k512.causal.lse"},
    {.name = "head_dim 248", .class = "forward.fp16.d248.b1.h2.kv2.q200.k200"},
    {.name = "head_dim 256, 8", .class = "forward.bf16.d256.v8.b1.h2.kv2.q200.k200.causal"},
    {.name = "head_dim 8, 256", .class = "forward.bf16.d8.v256.b1.h2.kv2.q200.k200"},
    {.name = "one query, one key", .class = "forward.bf16.d64.b1.h1.kv1.q1.k1.lse"},
    {.name = "one query", .class = "forward.bf16.d128.b3.h8.kv2.q1.k777.lse"},
    {.name = "one key", .class = "forward.fp16.d64.b2.h2.kv2.q777.k1"},
    {.name = "ragged 63 x 65", .class = "forward.bf16.d64.b2.h2.kv2.q63.k65.causal.lse"},
    {.name = "ragged 129 x 255", .class = "forward.fp16.d128.b2.h2.kv2.q129.k255"},
    {.name = "ragged 1000 x 1000", .class = "forward.bf16.d64.b1.h4.kv4.q1000.k1000.causal.lse"},
    {.name = "ragged 127 x 129, no mask", .class = "forward.bf16.d128.b1.h4.kv4.q127.k129.lse"},
    {.name = "grouped heads", .class = "forward.bf16.d128.b2.h8.kv2.q300.k300.causal.lse"},
    {.name = "one key head", .class = "forward.fp16.d64.b2.h7.kv1.q300.k300.causal"},
    {.name = "bottom right, more keys", .class = "forward.bf16.d64.b1.h2.kv2.q100.k300.causal-bottom-right.lse"},
    {.name = "bottom right, rows without keys",
     .class = "forward.bf16.d64.b1.h2.kv2.q300.k100.causal-bottom-right.lse"},
    {.name = "top left, more keys", .class = "forward.bf16.d64.b1.h2.kv2.q100.k300.causal.lse"},
    {.name = "window 64, 0", .class = "forward.bf16.d64.b1.h2.kv2.q500.k500.causal.w64,0.lse"},
    {.name = "window 0, 0", .class = "forward.bf16.d64.b1.h2.kv2.q500.k500.causal.w0,0.lse"},
    {.name = "window 100, 50", .class = "forward.fp16.d128.b1.h2.kv2.q500.k500.w100,50.lse"},
    {.name = "window open to the left", .class = "forward.bf16.d128.b1.h2.kv2.q500.k500.w-1,16.lse"},
    {.name = "window open to the right", .class = "forward.bf16.d128.b1.h2.kv2.q500.k500.w16,-1.lse"},
    {.name = "window, rows without keys", .class = "forward.bf16.d64.b1.h2.kv2.q500.k200.w30,10.lse"},
    {.name = "causal with a window", .class = "forward.bf16.d64.b1.h2.kv2.q700.k700.causal.w128,0.lse"},
    {.name = "bottom right with a window",
     .class = "forward.bf16.d64.b1.h2.kv2.q300.k700.causal-bottom-right.w128,0.lse"},
    {.name = "softcap",
     .class = "forward.bf16.d128.b1.h4.kv4.q400.k400.causal.softcap.lse",
     .softcap = 5,
     .magnitude = 2},
    {.name = "softcap, negative scale",
     .class = "forward.fp16.d64.b1.h2.kv2.q400.k400.softcap.lse",
     .scale = -0.2f,
     .softcap = 10},
    {.name = "softcap in a window", .class = "forward.bf16.d64.b1.h2.kv2.q400.k400.w50,20.softcap.lse", .softcap = 20},
    {.name = "negative scale", .class = "forward.bf16.d64.b1.h2.kv2.q400.k400.causal.negated.lse", .scale = -0.125f},
    {.name = "tiny scale", .class = "forward.bf16.d64.b1.h2.kv2.q400.k400.causal.lse", .scale = 1e-30f},
    {.name = "large scores", .class = "forward.bf16.d128.b1.h2.kv2.q400.k400.causal", .scale = 1, .magnitude = 3},
    {.name = "heads before seqlen", .class = "forward.bf16.d128.b2.h4.kv2.q300.k400.causal.lse", .layout = HEADS_FIRST},
    {.name = "q, k, v packed", .class = "forward.bf16.d64.b2.h4.kv4.q300.k300.causal", .layout = PACKED},
    {.name = "padded rows and batches", .class = "forward.fp16.d40.v72.b3.h2.kv2.q100.k130.lse", .layout = PADDED},
    {.name = "one k and v for all batches",
     .class = "forward.bf16.d64.b3.h2.kv2.q200.k200.causal",
     .layout = BROADCAST},
    {.name = "lengths of keys",
     .class = "forward.bf16.d128.b4.h4.kv4.q300.k500.lse",
     .lengths = 1,
     .lengths_k = {500, 1, 257, 0}},
    {.name = "lengths of both, causal",
     .class = "forward.bf16.d64.b4.h2.kv2.q300.k300.causal.lse",
     .lengths = 2,
     .lengths_q = {300, 77, 0, 128},
     .lengths_k = {300, 77, 13, 64}},
    {.name = "lengths of both, bottom right",
     .class = "forward.fp16.d64.b4.h2.kv1.q200.k600.causal-bottom-right.lse",
     .lengths = 2,
     .lengths_q = {200, 1, 150, 64},
     .lengths_k = {600, 599, 100, 64}},
    {.name = "lengths of both, window",
     .class = "forward.bf16.d64.b4.h2.kv2.q300.k300.w40,40.lse",
     .lengths = 2,
     .lengths_q = {300, 200, 100, 1},
     .lengths_k = {150, 300, 0, 300}},
    {.name = "gradients, causal", .class = "backward.bf16.d128.b2.h4.kv4.q512.k512.causal"},
    {.name = "gradients, no mask, fp16", .class = "backward.fp16.d64.b2.h4.kv4.q1024.k1024"},
    {.name = "gradients, head_dim 256", .class = "backward.bf16.d256.b1.h2.kv2.q512.k512.causal"},
    {.name = "gradients, head_dim 192, 128", .class = "backward.bf16.d192.v128.b1.h4.kv4.q512.k512.causal"},
    {.name = "gradients, head_dim 40, 72", .class = "backward.fp16.d40.v72.b1.h2.kv2.q300.k300.causal"},
    {.name = "gradients, one query, one key", .class = "backward.bf16.d64.b1.h1.kv1.q1.k1"},
    {.name = "gradients, grouped heads", .class = "backward.bf16.d128.b2.h8.kv2.q300.k333.causal-bottom-right"},
    {.name = "gradients, rows without keys", .class = "backward.bf16.d64.b1.h2.kv2.q300.k100.causal-bottom-right"},
    {.name = "gradients, window", .class = "backward.fp16.d128.b1.h4.kv2.q500.k500.w100,50"},
    {.name = "gradients, softcap", .class = "backward.bf16.d64.b1.h2.kv2.q400.k400.causal.softcap", .softcap = 5},
    {.name = "gradients, negative scale", .class = "backward.bf16.d64.b1.h2.kv2.q400.k400.negated", .scale = -0.125f},
    {.name = "gradients, sinks", .class = "backward.bf16.d64.b1.h2.kv2.q400.k400.causal.sinks"},
    {.name = "gradients, padded rows", .class = "backward.fp16.d40.v72.b3.h2.kv2.q100.k130", .layout = PADDED},
    {.name = "gradients, heads before seqlen",
     .class = "backward.bf16.d128.b2.h4.kv2.q300.k400",
     .layout = HEADS_FIRST},
    {.name = "gradients, q, k, v packed", .class = "backward.bf16.d64.b2.h4.kv4.q300.k300.causal", .layout = PACKED},
    {.name = "gradients, lengths of both",
     .class = "backward.bf16.d64.b4.h2.kv2.q300.k300.causal",
     .lengths = 2,
     .lengths_q = {300, 77, 0, 128},
     .lengths_k = {300, 77, 13, 64}},
    {.name = "gradients, seqlen 4096", .class = "backward.bf16.d128.b1.h2.kv2.q4096.k4096.causal"},
    {.name = "many heads", .class = "forward.bf16.d64.b16.h32.kv8.q256.k256.causal"},
    {.name = "seqlen 8192", .class = "forward.bf16.d128.b1.h2.kv2.q8192.k8192.causal.lse"},
    {.name = "seqlen 16384, fp16", .class = "forward.fp16.d64.b1.h2.kv2.q16384.k16384.lse"},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- cases as problems ---- */

static void lay_out(attune_problem *p, layout layout) {
  const int64_t hq = p->heads_q, hk = p->heads_kv, d = p->head_dim, v = p->head_dim_v;
  const int64_t sq = p->seqlen_q, sk = p->seqlen_k;
  switch (layout) {
  case CONTIGUOUS:
    break;
  case HEADS_FIRST:
    p->q = (attune_strides){hq * sq * d, d, sq * d};
    p->k = (attune_strides){hk * sk * d, d, sk * d};
    p->v = (attune_strides){hk * sk * v, v, sk * v};
    p->o = (attune_strides){hq * sq * v, v, sq * v};
    break;
  case PACKED:
    p->q = p->k = p->v = (attune_strides){3 * hq * d * sq, 3 * hq * d, d};
    break;
  case PADDED:
    p->q = (attune_strides){(sq + 3) * (hq * (d + 8) + 16), hq * (d + 8) + 16, d + 8};
    p->k = (attune_strides){(sk + 1) * (hk * (d + 24) + 8), hk * (d + 24) + 8, d + 24};
    p->v = (attune_strides){(sk + 5) * (hk * (v + 8) + 8), hk * (v + 8) + 8, v + 8};
    p->o = (attune_strides){(sq + 2) * (hq * (v + 16) + 8), hq * (v + 16) + 8, v + 16};
    break;
  case BROADCAST: /* of inputs alone */
    p->k = (attune_strides){0, hk * d, d};
    p->v = (attune_strides){0, hk * v, v};
    break;
  }
}

/* Gradients lie as what they are of. */
static void lay_out_gradients(attune_problem *p, layout layout) {
  if (p->operation == ATTUNE_FORWARD || layout == BROADCAST) return;
  p->d_o = p->o;
  p->dq = p->q, p->dk = p->k, p->dv = p->v;
}

static attune_status problem_of(attune_problem *out, const gpu_case *c) {
  attune_status status = attune_problem_parse(out, c->class);
  if (c->scale < 0 || c->scale > 0) out->scale = c->scale;
  if (c->softcap > 0) out->softcap = c->softcap;
  lay_out(out, c->layout);
  lay_out_gradients(out, c->layout);
  return status;
}

/* ---- plans, made by several threads at once ---- */

typedef struct {
  const gpu_case *from;
  attune_problem problem;
  char config[ATTUNE_TEXT_MAX]; /* "": what dispatch takes */
  attune_plan *plan;
  attune_status status;
  char message[512];
} trial;

static attune_context *context;
static trial trials[10 * CASES];
static int trial_count, next_trial;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *make_plans(void *unused) {
  for (;;) {
    pthread_mutex_lock(&mutex);
    int index = next_trial++;
    pthread_mutex_unlock(&mutex);
    if (index >= trial_count) return unused;
    trial *t = &trials[index];
    t->status = *t->config ? attune_plan_create_with(&t->plan, context, &t->problem, t->config)
                           : attune_plan_create(&t->plan, context, &t->problem);
    if (t->status != ATTUNE_OK) snprintf(t->message, sizeof t->message, "%s", attune_message());
  }
}

static void make_all_plans(void) {
  pthread_t threads[MAKERS];
  for (int i = 0; i < MAKERS; i++)
    if (pthread_create(&threads[i], NULL, make_plans, NULL) != 0) exit(1);
  for (int i = 0; i < MAKERS; i++)
    pthread_join(threads[i], NULL);
}

static bool add_trial(const gpu_case *from, const attune_problem *problem, const attune_config *config) {
  bool host = !strcmp(attune_context_device(context), "host");
  if (host && attune_problem_flops(problem) > HOST_FLOPS) return true;
  if (trial_count == (int)(sizeof trials / sizeof *trials)) return false;
  trial *t = &trials[trial_count++];
  t->from = from;
  t->problem = *problem;
  return !config || attune_config_print(t->config, config) == ATTUNE_OK;
}

/* ---- configs that cover the fields' values ---- */

typedef struct {
  const attune_problem *problem;
  attune_config best;
  int most, legal;
  int32_t seen[128];
  int fields[128], count;
} cover;

static bool is_new(const cover *c, const attune_config *config, int field) {
  const int32_t value = attune_config_get(config, attune_config_field_at(config->family, field));
  for (int i = 0; i < c->count; i++)
    if (c->fields[i] == field && c->seen[i] == value) return false;
  return c->count < 128;
}

static bool consider(void *user, const attune_config *config, bool legal, const char *reason) {
  cover *c = user;
  attune_launch launch;
  int count = 0;
  (void)reason;
  if (!legal || attune_launch_of(&launch, config, c->problem) != ATTUNE_OK) return true;
  for (int i = 0; i < attune_config_field_count(config->family); i++)
    count += is_new(c, config, i);
  if (count > c->most || (count == c->most && count && ++c->legal % 5 == 0)) {
    c->most = count;
    c->best = *config;
  }
  return true;
}

static void see(cover *c) {
  for (int i = 0; i < attune_config_field_count(c->best.family); i++)
    if (is_new(c, &c->best, i)) {
      c->seen[c->count] = attune_config_get(&c->best, attune_config_field_at(c->best.family, i));
      c->fields[c->count++] = i;
    }
}

static bool add_cover(const gpu_case *from, const attune_device *device, int family) {
  attune_problem problem, resolved;
  cover c = {.problem = &resolved};
  if (problem_of(&problem, from) != ATTUNE_OK || attune_problem_resolve(&resolved, &problem) != ATTUNE_OK) return false;
  for (;;) {
    c.most = 0;
    if (attune_space(&resolved, device, family, consider, &c) != ATTUNE_OK) return false;
    const attune_config met = c.best; /* where the space has no more, the last one: its refinements are left */
    if (c.most || c.count) attune_space_near(&met, device, consider, &c);
    if (!c.most) return true;
    see(&c);
    if (!add_trial(from, &problem, &c.best)) return false;
  }
}

/* What each covering config is tried on: every bound and every kind of score. */
static const gpu_case covered[] = {
    {.name = "config", .class = "forward.bf16.d128.b2.h4.kv2.q700.k700.causal.lse"},
    {.name = "config", .class = "forward.fp16.d64.b2.h8.kv1.q500.k900.w200,100.softcap.lse", .softcap = 8},
    {.name = "config", .class = "forward.bf16.d256.b1.h2.kv2.q300.k500.lse"},
    {.name = "config",
     .class = "forward.bf16.d40.v72.b2.h3.kv1.q333.k777.causal-bottom-right.negated.lse",
     .scale = -0.1f},
    {.name = "config of gradients", .class = "backward.bf16.d128.b2.h4.kv2.q300.k400.causal"},
    {.name = "config of gradients", .class = "backward.fp16.d64.b2.h4.kv4.q333.k257.w100,40.softcap", .softcap = 8},
    {.name = "config of gradients", .class = "backward.bf16.d256.b1.h2.kv2.q200.k300"},
};

/* ---- random cases: gradients, with everything that decides tiles and rows drawn by chance ---- */

static gpu_case random_cases[RANDOM_CASES];
static char random_classes[RANDOM_CASES][ATTUNE_TEXT_MAX];

static int32_t drawn(uint64_t *state, int32_t low, int32_t high) {
  return low + (int32_t)(attune_random_next(state) % (uint64_t)(high - low + 1));
}

static bool draw_case(int i) {
  uint64_t state = (uint64_t)i + 1;
  gpu_case *c = &random_cases[i];
  attune_problem p;
  attune_problem_init(&p);
  p.operation = ATTUNE_BACKWARD;
  p.dtype = (attune_dtype)drawn(&state, 0, 1);
  p.head_dim = 8 * drawn(&state, 1, 32);
  p.head_dim_v = drawn(&state, 0, 2) ? p.head_dim : 8 * drawn(&state, 1, 32);
  p.batch = drawn(&state, 1, 4);
  p.heads_kv = drawn(&state, 1, 3);
  p.heads_q = p.heads_kv * drawn(&state, 1, 4);
  p.seqlen_q = drawn(&state, 1, 700);
  p.seqlen_k = drawn(&state, 0, 2) ? drawn(&state, 1, 700) : p.seqlen_q;
  p.mask = (attune_mask)drawn(&state, 0, 2);
  if (drawn(&state, 0, 2) == 0) p.window_left = drawn(&state, 0, 300);
  if (p.mask == ATTUNE_MASK_NONE && drawn(&state, 0, 2) == 0) p.window_right = drawn(&state, 0, 300);
  *c = (gpu_case){.name = "gradients by chance", .class = random_classes[i], .lengths = drawn(&state, 0, 2)};
  if (drawn(&state, 0, 3) == 0) p.softcap = c->softcap = (float)drawn(&state, 1, 30);
  for (int b = 0; b < 4; b++) {
    c->lengths_q[b] = drawn(&state, 0, p.seqlen_q);
    c->lengths_k[b] = drawn(&state, 0, p.seqlen_k);
  }
  c->layout = drawn(&state, 0, 3) ? CONTIGUOUS : PADDED;
  return attune_problem_print(random_classes[i], &p) == ATTUNE_OK;
}

static bool add_random(void) {
  for (int i = 0; i < RANDOM_CASES; i++) {
    attune_problem problem;
    if (!draw_case(i) || problem_of(&problem, &random_cases[i]) != ATTUNE_OK) return false;
    if (!add_trial(&random_cases[i], &problem, NULL)) return false;
  }
  return true;
}

static bool add_trials(const attune_device *device) {
  for (int i = 0; i < CASES; i++) {
    attune_problem problem;
    attune_config reference;
    if (problem_of(&problem, &cases[i]) != ATTUNE_OK || !add_trial(&cases[i], &problem, NULL)) return false;
    if (attune_config_reference(&reference, &problem) != ATTUNE_OK || !add_trial(&cases[i], &problem, &reference))
      return false;
  }
  for (size_t i = 0; i < sizeof covered / sizeof *covered; i++)
    for (int family = 0; family <= ATTUNE_FAMILY_LAST; family++) {
      const char *operation = attune_operation_name(attune_config_operation(&(attune_config){.family = family}));
      const bool serves = strncmp(covered[i].class, operation, strlen(operation)) == 0;
      if (serves && !attune_family_is_reference(family) && !add_cover(&covered[i], device, family)) return false;
    }
  return add_random();
}

/* ---- verifying ---- */

static attune_status make_verifier(attune_verifier **out, const trial *t) {
  const gpu_case *c = t->from;
  attune_inputs inputs = {.used = 0};
  if (c->lengths > 1) inputs.seqlens[ATTUNE_QUERIES].array = c->lengths_q;
  if (c->lengths > 0) inputs.seqlens[ATTUNE_KEYS].array = c->lengths_k;
  const attune_drawing drawing = {.seed = 1, .magnitude = c->magnitude, .magnitude_v = c->magnitude};
  return attune_verifier_create(out, attune_context_machine(context), &t->problem, &inputs, &drawing);
}

/* *verifier: of the trials before, which are of the same case, or NULL. */
static bool try_trial(attune_verifier **verifier, const trial *t) {
  const char *name = t->from->name;
  attune_verdict verdict = {0};
  if (t->status != ATTUNE_OK) {
    printf("FAIL %-34s %s: %s\n", name, attune_status_name(t->status), t->message);
    return false;
  }
  attune_status status = *verifier == NULL ? make_verifier(verifier, t) : ATTUNE_OK;
  if (status == ATTUNE_OK) status = case_check(*verifier, t->plan, &verdict);
  if (status != ATTUNE_OK) {
    printf("FAIL %-34s %s %s: %s\n", name, attune_plan_config(t->plan), attune_status_name(status), attune_message());
    return false;
  }
  printf("%-4s %-34s %-70s error %.2e of %.2e, lse %.1e, %lld rows%s%s\n", verdict.passed ? "ok" : "FAIL", name,
         attune_plan_config(t->plan), verdict.error, verdict.error_bound, verdict.lse_error,
         (long long)verdict.rows_checked, verdict.passed ? "" : "; ", verdict.worst);
  return verdict.passed;
}

int main(int argc, char **argv) {
  int failed = 0;
  if (!case_open(&context, argc > 1 ? argv[1] : "cuda:0", ":memory:")) return CASE_SKIPPED;
  if (!add_trials(attune_backend_device(attune_context_machine(context)))) {
    printf("FAIL the cases cannot be made: %s\n", attune_message());
    return 1;
  }
  make_all_plans();
  attune_verifier *verifier = NULL;
  for (int i = 0; i < trial_count; i++) {
    if (i > 0 && trials[i].from != trials[i - 1].from) {
      attune_verifier_destroy(verifier);
      verifier = NULL;
    }
    failed += !try_trial(&verifier, &trials[i]);
    attune_plan_destroy(trials[i].plan);
  }
  attune_verifier_destroy(verifier);
  attune_context_destroy(context);
  printf("%d cases, %d failed\n", trial_count, failed);
  return failed != 0;
}
