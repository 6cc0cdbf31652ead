/* The public API on the simulator: a real result, the sources of configs, and each kind of bad input with its own
 * status. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/plan.h"

enum { SEQLEN = 48, HEADS = 2, HEAD_DIM = 16, ELEMENTS = SEQLEN * HEADS * HEAD_DIM };

/* A context is shared by all tests: kernels are then compiled once. */
static attune_context *context;

typedef struct {
  _Alignas(16) uint16_t q[ELEMENTS], k[ELEMENTS], v[ELEMENTS], o[ELEMENTS];
  _Alignas(16) float lse[HEADS * SEQLEN];
  attune_problem problem;
  attune_tensors tensors;
} fixture;

static int open_context(void **state) {
  attune_options options;
  (void)state;
  attune_options_init(&options);
  options.device = "host";
  options.database = ":memory:";
  attune_status status = attune_context_create(&context, &options);
  if (status != ATTUNE_OK) print_message("%s: %s\n", attune_status_name(status), attune_message());
  return status != ATTUNE_OK;
}

static int close_context(void **state) {
  (void)state;
  attune_context_destroy(context);
  return 0;
}

static float from_bf16(uint16_t element) {
  uint32_t bits = (uint32_t)element << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* Numbers in -2..2 that bf16 holds exactly. */
static uint16_t random_bf16(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  float value = (float)((int)(*seed >> 24) - 128) / 64;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)(bits >> 16);
}

static int set_up(void **state) {
  fixture *f = aligned_alloc(16, (sizeof *f + 15) / 16 * 16);
  uint32_t seed = 1;
  if (!f) return 1;
  memset(f, 0, sizeof *f);
  for (int i = 0; i < ELEMENTS; i++) {
    f->q[i] = random_bf16(&seed);
    f->k[i] = random_bf16(&seed);
    f->v[i] = random_bf16(&seed);
    f->o[i] = 0x7fc0; /* NaN */
  }
  attune_problem_init(&f->problem);
  f->problem.head_dim = f->problem.head_dim_v = HEAD_DIM;
  f->problem.heads_q = f->problem.heads_kv = HEADS;
  f->problem.seqlen_q = f->problem.seqlen_k = SEQLEN;
  f->problem.mask = ATTUNE_MASK_CAUSAL;
  f->problem.want_lse = 1;
  attune_tensors_init(&f->tensors);
  f->tensors.q = f->q;
  f->tensors.k = f->k;
  f->tensors.v = f->v;
  f->tensors.o = f->o;
  f->tensors.lse = f->lse;
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  free(*state);
  return 0;
}

static void assert_says(const char *words) {
  if (!strstr(attune_message(), words)) fail_msg("\"%s\" does not say \"%s\"", attune_message(), words);
}

static void assert_ok(attune_status status) {
  if (status != ATTUNE_OK) fail_msg("%s: %s", attune_status_name(status), attune_message());
}

/* ---- results ---- */

static double worst_error(const fixture *f, double *lse_error) {
  double worst = 0;
  *lse_error = 0;
  for (int head = 0; head < HEADS; head++) {
    for (int i = 0; i < SEQLEN; i++) {
      double scores[SEQLEN], sum = 0;
      for (int j = 0; j <= i; j++) {
        double dot = 0;
        for (int d = 0; d < HEAD_DIM; d++)
          dot += (double)from_bf16(f->q[(i * HEADS + head) * HEAD_DIM + d]) *
                 (double)from_bf16(f->k[(j * HEADS + head) * HEAD_DIM + d]);
        sum += scores[j] = exp(dot / sqrt(HEAD_DIM));
      }
      for (int d = 0; d < HEAD_DIM; d++) {
        double o = 0;
        for (int j = 0; j <= i; j++)
          o += scores[j] / sum * (double)from_bf16(f->v[(j * HEADS + head) * HEAD_DIM + d]);
        double error = fabs(o - (double)from_bf16(f->o[(i * HEADS + head) * HEAD_DIM + d]));
        if (!(error <= worst)) worst = error;
      }
      double error = fabs(log(sum) - (double)f->lse[head * SEQLEN + i]);
      if (!(error <= *lse_error)) *lse_error = error;
    }
  }
  return worst;
}

static void assert_right(const fixture *f) {
  double lse_error, error = worst_error(f, &lse_error);
  if (!(error < 0.02)) fail_msg("O is off by %g", error);
  if (!(lse_error < 1e-3)) fail_msg("LSE is off by %g", lse_error);
}

static void test_run(void **state) {
  fixture *f = *state;
  attune_plan *plan;
  assert_ok(attune_plan_create(&plan, context, &f->problem));
  assert_string_equal(attune_plan_source(plan), "model");
  assert_non_null(strstr(attune_plan_config(plan), "forward.wgmma.bf16.d16"));
  assert_non_null(strstr(attune_plan_explain(plan), "; taken"));
  assert_int_equal(attune_plan_workspace(plan), 0);
  assert_ok(attune_run(plan, &f->tensors, NULL, 0, NULL));
  assert_right(f);
  attune_plan_destroy(plan);
}

static void test_named_reference(void **state) {
  fixture *f = *state;
  attune_plan *plan;
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  assert_ok(attune_config_reference(&config, &f->problem));
  assert_ok(attune_config_print(text, &config));
  assert_ok(attune_plan_create_with(&plan, context, &f->problem, text));
  assert_string_equal(attune_plan_config(plan), text);
  assert_string_equal(attune_plan_source(plan), "named");
  assert_ok(attune_run(plan, &f->tensors, NULL, 0, NULL));
  assert_right(f);
  attune_plan_destroy(plan);
}

typedef struct {
  const attune_plan *plan;
  attune_tensors tensors;
  _Alignas(16) uint16_t o[ELEMENTS];
  _Alignas(16) float lse[HEADS * SEQLEN];
  attune_status status;
} runner;

static void *run_thread(void *user) {
  runner *r = user;
  r->tensors.o = r->o;
  r->tensors.lse = r->lse;
  r->status = attune_run(r->plan, &r->tensors, NULL, 0, NULL);
  return NULL;
}

static void test_threads_share_a_plan(void **state) {
  fixture *f = *state;
  enum { THREADS = 8 };
  static runner runners[THREADS];
  pthread_t threads[THREADS];
  attune_plan *plan;
  assert_ok(attune_plan_create(&plan, context, &f->problem));
  assert_ok(attune_run(plan, &f->tensors, NULL, 0, NULL));
  for (int i = 0; i < THREADS; i++) {
    runners[i].plan = plan;
    runners[i].tensors = f->tensors;
    assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &runners[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(runners[i].status, ATTUNE_OK);
    assert_memory_equal(runners[i].o, f->o, sizeof f->o);
    assert_memory_equal(runners[i].lse, f->lse, sizeof f->lse);
  }
  attune_plan_destroy(plan);
}

static void test_frozen(void **state) {
  fixture *f = *state;
  attune_options options;
  attune_context *frozen;
  attune_plan *plan;
  attune_options_init(&options);
  options.device = "host";
  options.database = ":memory:";
  options.frozen = 1;
  assert_ok(attune_context_create(&frozen, &options));
  assert_int_equal(attune_plan_create(&plan, frozen, &f->problem), ATTUNE_WOULD_COMPILE);
  assert_null(plan);
  attune_context_destroy(frozen);
}

/* ---- the backward pass ---- */

typedef struct {
  _Alignas(16) uint16_t d_o[ELEMENTS], dq[ELEMENTS], dk[ELEMENTS], dv[ELEMENTS];
  float dlse[HEADS * SEQLEN];
} gradients;

static double element(const uint16_t *tensor, int row, int head, int column) {
  return (double)from_bf16(tensor[(row * HEADS + head) * HEAD_DIM + column]);
}

/* The largest error of all gradients, against those in double precision of a causal problem. */
static double worst_gradient_error(const fixture *f, const gradients *g) {
  const double scale = 1 / sqrt(HEAD_DIM);
  double worst = 0;
  for (int head = 0; head < HEADS; head++) {
    double dq[SEQLEN][HEAD_DIM] = {{0}}, dk[SEQLEN][HEAD_DIM] = {{0}}, dv[SEQLEN][HEAD_DIM] = {{0}};
    for (int i = 0; i < SEQLEN; i++) {
      double p[SEQLEN], dp[SEQLEN], sum = 0, delta = -(double)g->dlse[head * SEQLEN + i];
      for (int j = 0; j <= i; j++) {
        double score = 0;
        dp[j] = 0;
        for (int d = 0; d < HEAD_DIM; d++) {
          score += element(f->q, i, head, d) * element(f->k, j, head, d);
          dp[j] += element(g->d_o, i, head, d) * element(f->v, j, head, d);
        }
        sum += p[j] = exp(score * scale);
      }
      for (int j = 0; j <= i; j++)
        delta += (p[j] /= sum) * dp[j];
      for (int j = 0; j <= i; j++)
        for (int d = 0; d < HEAD_DIM; d++) {
          dq[i][d] += scale * p[j] * (dp[j] - delta) * element(f->k, j, head, d);
          dk[j][d] += scale * p[j] * (dp[j] - delta) * element(f->q, i, head, d);
          dv[j][d] += p[j] * element(g->d_o, i, head, d);
        }
    }
    for (int i = 0; i < SEQLEN; i++)
      for (int d = 0; d < HEAD_DIM; d++) {
        const double errors[] = {dq[i][d] - element(g->dq, i, head, d), dk[i][d] - element(g->dk, i, head, d),
                                 dv[i][d] - element(g->dv, i, head, d)};
        for (int t = 0; t < 3; t++)
          if (!(fabs(errors[t]) <= worst)) worst = fabs(errors[t]);
      }
  }
  return worst;
}

/* What a program that trains does: a forward plan writes o and lse, a backward plan reads them. */
static void test_backward(void **state) {
  fixture *f = *state;
  attune_plan *forward, *backward;
  uint32_t seed = 7;
  gradients *g = aligned_alloc(16, (sizeof *g + 15) / 16 * 16);
  memset(g, 0xff, sizeof *g); /* NaN */
  for (int i = 0; i < ELEMENTS; i++)
    g->d_o[i] = random_bf16(&seed);
  for (int i = 0; i < HEADS * SEQLEN; i++)
    g->dlse[i] = 0.25f * from_bf16(random_bf16(&seed));
  assert_ok(attune_plan_create(&forward, context, &f->problem));
  assert_ok(attune_run(forward, &f->tensors, NULL, 0, NULL));
  f->problem.operation = ATTUNE_BACKWARD;
  f->problem.deterministic = 1;
  assert_ok(attune_plan_create(&backward, context, &f->problem));
  assert_non_null(strstr(attune_plan_config(backward), "backward.mma.bf16.d16.causal"));
  f->tensors.d_o = g->d_o;
  f->tensors.dlse = g->dlse;
  f->tensors.dq = g->dq;
  f->tensors.dk = g->dk;
  f->tensors.dv = g->dv;
  const size_t size = attune_plan_workspace(backward);
  void *workspace = aligned_alloc(16, (size + 15) / 16 * 16);
  assert_ok(attune_run(backward, &f->tensors, workspace, size, NULL));
  const double error = worst_gradient_error(f, g);
  if (!(error < 0.06)) fail_msg("a gradient is off by %g", error);
  gradients *first = malloc(sizeof *first);
  *first = *g;
  memset(workspace, 0xff, size);
  assert_ok(attune_run(backward, &f->tensors, workspace, size, NULL));
  assert_memory_equal(first, g, sizeof *g); /* nothing is added to what was there, and the bits are the same */
  free(first);
  free(workspace);
  free(g);
  attune_plan_destroy(backward);
  attune_plan_destroy(forward);
}

/* Strides of the gradients are checked before anything is compiled. */
static void test_backward_strides(void **state) {
  fixture *f = *state;
  attune_plan *plan;
  f->problem.operation = ATTUNE_BACKWARD;
  f->problem.d_o.seqlen = 3;
  assert_int_equal(attune_plan_create(&plan, context, &f->problem), ATTUNE_UNSUPPORTED);
  assert_says("d_o.seqlen stride is 3");
  f->problem.d_o.seqlen = 0;
  f->problem.dk = (attune_strides){.batch = 0, .seqlen = 8, .heads = HEAD_DIM};
  assert_int_equal(attune_plan_create(&plan, context, &f->problem), ATTUNE_BAD_STRIDE);
  assert_says("dk.");
}

/* ---- bad input at the door ---- */

static void test_bad_problems(void **state) {
  fixture *f = *state;
  const struct {
    attune_status status;
    const char *says;
    size_t offset;
    int32_t value;
  } rows[] = {
      {ATTUNE_BAD_HEAD_DIM, "0", offsetof(attune_problem, head_dim), 0},
      {ATTUNE_UNSUPPORTED, "12", offsetof(attune_problem, head_dim), 12},
      {ATTUNE_UNSUPPORTED, "264", offsetof(attune_problem, head_dim_v), 264},
      {ATTUNE_BAD_HEADS, "heads_kv", offsetof(attune_problem, heads_q), 3},
      {ATTUNE_BAD_SIZE, "0", offsetof(attune_problem, batch), 0},
      {ATTUNE_BAD_SIZE, "-1", offsetof(attune_problem, seqlen_k), -1},
      {ATTUNE_BAD_WINDOW, "4", offsetof(attune_problem, window_right), 4},
      {ATTUNE_UNSUPPORTED, "7", offsetof(attune_problem, mask), 7},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    attune_problem problem = f->problem;
    attune_plan *plan = (attune_plan *)f;
    problem.heads_kv = 2;
    memcpy((char *)&problem + rows[i].offset, &rows[i].value, sizeof rows[i].value);
    assert_int_equal(attune_plan_create(&plan, context, &problem), rows[i].status);
    assert_null(plan);
    assert_says(rows[i].says);
  }
  attune_plan *plan;
  attune_problem problem = f->problem;
  problem.scale = INFINITY;
  assert_int_equal(attune_plan_create(&plan, context, &problem), ATTUNE_BAD_SCALE);
  problem = f->problem;
  problem.q.seqlen = 3;
  assert_int_equal(attune_plan_create(&plan, context, &problem), ATTUNE_UNSUPPORTED);
  problem = f->problem;
  problem.struct_size = 8;
  assert_int_equal(attune_plan_create(&plan, context, &problem), ATTUNE_BAD_ARGUMENT);
}

static void test_bad_configs(void **state) {
  fixture *f = *state;
  attune_plan *plan;
  assert_int_equal(attune_plan_create_with(&plan, context, &f->problem, "forward.mma.bf16.d16.x9"), ATTUNE_BAD_CONFIG);
  assert_null(plan);
  assert_int_equal(attune_plan_create_with(&plan, context, &f->problem, NULL), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_plan_create(NULL, context, &f->problem), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_plan_create(&plan, NULL, &f->problem), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_plan_create(&plan, context, NULL), ATTUNE_BAD_ARGUMENT);
}

static void test_bad_options(void **state) {
  (void)state;
  attune_context *other = context;
  attune_options options;
  attune_options_init(&options);
  options.struct_size--;
  assert_int_equal(attune_context_create(&other, &options), ATTUNE_BAD_ARGUMENT);
  assert_null(other);
  attune_options_init(&options);
  options.device = "toaster";
  assert_int_equal(attune_context_create(&other, &options), ATTUNE_BAD_ARGUMENT);
  assert_says("toaster");
  assert_int_equal(attune_context_create(NULL, &options), ATTUNE_BAD_ARGUMENT);
  attune_context_destroy(NULL);
  attune_plan_destroy(NULL);
}

/* Whatever is wrong with a run, nothing is written. */
static void test_bad_runs(void **state) {
  fixture *f = *state;
  attune_plan *plan;
  assert_ok(attune_plan_create(&plan, context, &f->problem));
  const void **const inputs[] = {&f->tensors.q, &f->tensors.k, &f->tensors.v};
  const char *const names[] = {"q is", "k is", "v is"};
  for (int i = 0; i < 3; i++) {
    const void *right = *inputs[i];
    *inputs[i] = NULL;
    assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER);
    assert_says(names[i]);
    *inputs[i] = (const char *)right + 8;
    assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER);
    assert_says("8 bytes past a multiple of 16");
    *inputs[i] = right;
  }
  f->tensors.o = NULL;
  assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER);
  f->tensors.o = f->o;
  f->tensors.lse = NULL;
  assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER);
  assert_says("lse");
  f->tensors.lse = f->lse;
  f->tensors.seqlens_k = (const int32_t *)(const void *)((const char *)f->q + 2);
  assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER);
  f->tensors.seqlens_k = NULL;
  f->tensors.struct_size = 0;
  assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_BAD_ARGUMENT);
  f->tensors.struct_size = sizeof f->tensors;
  assert_int_equal(attune_run(NULL, &f->tensors, NULL, 0, NULL), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_run(plan, NULL, NULL, 0, NULL), ATTUNE_BAD_ARGUMENT);
  for (int i = 0; i < ELEMENTS; i++)
    assert_int_equal(f->o[i], 0x7fc0);
  attune_plan_destroy(plan);
}

static void test_unwanted_lse(void **state) {
  fixture *f = *state;
  attune_plan *plan;
  f->problem.want_lse = 0;
  assert_ok(attune_plan_create(&plan, context, &f->problem));
  assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_BAD_POINTER);
  assert_says("want_lse");
  attune_plan_destroy(plan);
}

/* A plan whose blocks count what they have taken: whatever the workspace holds, each run takes all. */
static void test_workspace(void **state) {
  fixture *f = *state;
  attune_plan *plan;
  _Alignas(16) uint32_t workspace[8];
  assert_ok(
      attune_plan_create_with(&plan, context, &f->problem,
                              "forward.wgmma.bf16.d16.causal.lse.m64.n16.w8.s2.q_prefetch.persistent_dynamic.lpt.b1"));
  const size_t size = attune_plan_workspace(plan);
  assert_int_equal(size, sizeof *workspace);
  assert_int_equal(attune_run(plan, &f->tensors, workspace, size - 1, NULL), ATTUNE_WORKSPACE_TOO_SMALL);
  assert_says("needs 4 bytes of workspace, has 3");
  assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_WORKSPACE_TOO_SMALL);
  assert_int_equal(attune_run(plan, &f->tensors, NULL, size, NULL), ATTUNE_BAD_POINTER);
  assert_says("workspace");
  assert_int_equal(attune_run(plan, &f->tensors, workspace + 1, size, NULL), ATTUNE_BAD_POINTER);
  assert_int_equal(f->o[0], 0x7fc0);
  memset(workspace, 0xff, sizeof workspace);
  for (int i = 0; i < 2; i++) {
    memset(f->o, 0xff, sizeof f->o);
    assert_ok(attune_run(plan, &f->tensors, workspace, sizeof workspace, NULL));
    assert_right(f);
    assert_int_equal(workspace[1], UINT32_MAX);
  }
  attune_plan_destroy(plan);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_run),         TEST(test_named_reference), TEST(test_threads_share_a_plan),
      TEST(test_frozen),      TEST(test_bad_problems),    TEST(test_bad_configs),
      TEST(test_bad_options), TEST(test_bad_runs),        TEST(test_unwanted_lse),
      TEST(test_workspace),   TEST(test_backward),        TEST(test_backward_strides),
  };
  return cmocka_run_group_tests(tests, open_context, close_context);
}
