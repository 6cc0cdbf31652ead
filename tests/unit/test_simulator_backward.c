/* The backward pass on the simulator against float64: head dims, ragged lengths, masks, heads, scores, strides, lengths
 * of sequences, and schedules of the kernels and of the device, which must not change a bit. One test is one config; it
 * meets a few small problems, which a counter varies in every respect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/unit/simulator_case.h"

/* Between them: every field's values, every head dim class, every branch of the templates. */
static const char *const configs[] = {
    "reference.bf16.d8.m32.n4.w4",
    "reference.fp16.d40.v24.causal.m32.n4.w4",
    "reference.bf16.d64.window.softcap.m32.n4.w4",
    "reference.fp16.d256.v128.negated.m32.n4.w4",
    "mma.bf16.d8.m16.n16.w1.s1.b1.dq_m16.dq_n16.dq_w1.dq_s1.dq_b1",
    "mma.fp16.d24.v40.causal.m32.n32.w2.s2.b1.dq_m64.dq_n32.dq_w4.dq_s2.dq_b1",
    "mma.bf16.d64.m64.n64.w4.s2.b1.dq_m64.dq_n64.dq_w4.dq_s2.dq_b1",
    "mma.fp16.d64.causal.m32.n128.w4.s1.b1.dq_m128.dq_n32.dq_w4.dq_s1.dq_b1",
    "mma.bf16.d64.window.m48.n64.w4.s3.b1.dq_m48.dq_n48.dq_w3.dq_s3.dq_b1",
    "mma.bf16.d64.window.softcap.m64.n32.w2.s2.split_dkv.b1.dq_m32.dq_n64.dq_w2.dq_s2.dq_b1",
    "mma.fp16.d64.causal.negated.m16.n64.w2.s2.b1.dq_m64.dq_n16.dq_w2.dq_s2.dq_b1",
    "mma.bf16.d128.causal.m32.n64.w4.s2.b1.dq_m64.dq_n32.dq_w4.dq_s1.dq_b1",
    "mma.fp16.d136.v72.m16.n64.w4.s1.b1.dq_m64.dq_n16.dq_w4.dq_s2.dq_b1",
    "mma.bf16.d256.causal.m32.n64.w4.s1.split_dkv.b1.dq_m64.dq_n16.dq_w4.dq_s1.dq_b1",
    "wgmma.bf16.d64.m64.n64.w8.s1.b1",
    "wgmma.fp16.d40.v72.causal.m64.n64.w8.s2.b2",
    "wgmma.bf16.d64.causal.m128.n128.w12.s2.b1",
    "wgmma.fp16.d24.v64.window.softcap.m128.n128.w12.s3.b1",
    "wgmma.bf16.d128.negated.m64.n128.w12.s2.b1",
    "wgmma.fp16.d96.v128.causal.m64.n128.w12.s1.b1",
    "wgmma.bf16.d256.causal.m64.n64.w12.s2.b1",
    "wgmma.fp16.d136.v40.window.softcap.m64.n64.w12.s3.b1",
    "wgmma.fp16.d64.v192.m64.n64.w12.s1.b1",
};
enum { CONFIGS = sizeof configs / sizeof configs[0], PROBLEMS = 4 };

typedef struct {
  attune_problem problem; /* resolved */
  bool lengths;
  double magnitude;
} trial;

static void choose_mask(attune_problem *p, int32_t bounds, int n) {
  static const attune_mask causal[] = {ATTUNE_MASK_CAUSAL, ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT};
  static const struct {
    attune_mask mask;
    int left, right;
  } window[] = {{ATTUNE_MASK_NONE, 16, 9},
                {ATTUNE_MASK_CAUSAL, 40, -1},
                {ATTUNE_MASK_NONE, 0, 0},
                {ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT, 20, -1},
                {ATTUNE_MASK_NONE, 70, -1}};
  if (bounds == ATTUNE_MASK_BOUNDS_CAUSAL) p->mask = causal[n % 2];
  if (bounds == ATTUNE_MASK_BOUNDS_WINDOW)
    p->mask = window[n % 5].mask, p->window_left = window[n % 5].left, p->window_right = window[n % 5].right;
}

/* (batch, heads, seqlen, head_dim), or padded in every dimension. */
static attune_strides strides_of(int kind, int seqlen, int heads, int head_dim) {
  if (kind == 1) return (attune_strides){(int64_t)heads * seqlen * head_dim, head_dim, (int64_t)seqlen * head_dim};
  if (kind == 0) return (attune_strides){0};
  const int64_t row = head_dim + 8, line = (heads + 1) * row;
  return (attune_strides){(seqlen + 1) * line, line, row};
}

static void choose(trial *out, const attune_config *config, int n) {
  static const int lengths_q[] = {65, 1, 100, 17, 64, 130, 33}, lengths_k[] = {100, 64, 1, 129, 70};
  static const int heads[][2] = {{1, 1}, {4, 2}, {2, 2}, {3, 1}};
  attune_problem p;
  attune_problem_init(&p);
  p.operation = ATTUNE_BACKWARD;
  p.dtype = (attune_dtype)config->dtype;
  p.head_dim = config->head_dim;
  p.head_dim_v = config->head_dim_v;
  p.batch = 1 + n % 2;
  p.heads_q = heads[n % 4][0];
  p.heads_kv = heads[n % 4][1];
  p.seqlen_q = lengths_q[n % 7];
  p.seqlen_k = lengths_k[n % 5];
  p.want_sinks = n % 3 == 1;
  choose_mask(&p, config->mask_bounds, n);
  if (config->score == ATTUNE_SCORE_NEGATED) p.scale = -0.2f;
  if (config->score == ATTUNE_SCORE_SOFTCAP) p.softcap = n % 2 ? 5 : 0.5f;
  p.q = strides_of(n % 3, p.seqlen_q, p.heads_q, p.head_dim);
  p.k = strides_of((n + 1) % 3, p.seqlen_k, p.heads_kv, p.head_dim);
  p.v = strides_of((n + 2) % 3, p.seqlen_k, p.heads_kv, p.head_dim_v);
  p.o = strides_of(n / 2 % 3, p.seqlen_q, p.heads_q, p.head_dim_v);
  p.d_o = strides_of(n / 3 % 3, p.seqlen_q, p.heads_q, p.head_dim_v);
  p.dq = strides_of((n + 2) % 3, p.seqlen_q, p.heads_q, p.head_dim);
  p.dk = strides_of((n + 1) % 3, p.seqlen_k, p.heads_kv, p.head_dim);
  p.dv = strides_of(n % 3, p.seqlen_k, p.heads_kv, p.head_dim_v);
  *out = (trial){.lengths = n % 4 == 3, .magnitude = n % 5 == 4 ? 8.0 : 1.0};
  if (attune_problem_resolve(&out->problem, &p) != ATTUNE_OK) fail_msg("problem %d: %s", n, attune_message());
}

/* The gradients of one verified run, those of Q last; malloc'ed. size: without those of Q, where blocks add to them in
 * any order. */
static uint16_t *run(attune_verifier *verifier, int schedule, const attune_config *config, const attune_problem *p,
                     const char *about, size_t *size) {
  const size_t of_q = (size_t)p->batch * (size_t)p->seqlen_q * (size_t)p->heads_q * (size_t)p->head_dim,
               rows_k = (size_t)p->batch * (size_t)p->seqlen_k * (size_t)p->heads_kv,
               of_k = rows_k * (size_t)p->head_dim, of_v = rows_k * (size_t)p->head_dim_v;
  attune_program *program = NULL;
  attune_verdict verdict;
  const attune_program_source from = {.backend = machines[schedule], .store = store, .problem = p};
  uint16_t *out = malloc(sizeof *out * (of_q + of_k + of_v));
  assert_non_null(out);
  *size = sizeof *out * (of_k + of_v + (config->family == ATTUNE_FAMILY_BACKWARD_WGMMA ? 0 : of_q));
  if (attune_program_create(&program, &from, config) != ATTUNE_OK ||
      attune_verifier_check(verifier, program, &verdict) != ATTUNE_OK ||
      attune_verifier_gradients(verifier, out + of_k + of_v, out, out + of_k) != ATTUNE_OK)
    fail_msg("%s: %s", about, attune_message());
  if (!verdict.passed) fail_msg("%s: %s", about, verdict.worst);
  attune_program_destroy(program);
  return out;
}

/* On two schedules of the device, which share the inputs and the reference. */
static void check_problem(const attune_config *parsed, int n) {
  trial t;
  size_t size;
  attune_verifier *verifier;
  attune_config config;
  char class[ATTUNE_TEXT_MAX] = "", about[ATTUNE_TEXT_MAX + 32];
  choose(&t, parsed, n);
  attune_config_for_problem(&config, parsed, &t.problem); /* a mask that hides nothing asks for less */
  (void)attune_problem_print(class, &t.problem);
  snprintf(about, sizeof about, "problem %d, %s", n, class);
  const attune_drawing drawing = {
      .seed = (uint64_t)n, .magnitude = t.magnitude, .magnitude_v = t.magnitude, .lengths = t.lengths};
  if (attune_verifier_create(&verifier, machines[0], &t.problem, NULL, &drawing) != ATTUNE_OK)
    fail_msg("%s: %s", about, attune_message());
  uint16_t *first = run(verifier, 0, &config, &t.problem, about, &size),
           *second = run(verifier, 1, &config, &t.problem, about, &size);
  if (memcmp(first, second, size) != 0) fail_msg("%s: another schedule, another result", about);
  attune_verifier_destroy(verifier);
  free(first);
  free(second);
}

static void check(void **state) {
  const int index = *(int *)*state;
  attune_config parsed;
  char text[ATTUNE_TEXT_MAX];
  snprintf(text, sizeof text, "backward.%s", configs[index]);
  if (attune_config_parse(&parsed, text) != ATTUNE_OK ||
      attune_config_legal(&parsed, attune_backend_device(machines[0])) != ATTUNE_OK)
    fail_msg("%s: %s", text, attune_message());
  for (int i = 0; i < PROBLEMS; i++)
    check_problem(&parsed, index * 13 + i); /* prime to the counts in choose, so that all of them come up */
}

/* ---- patterns ---- */

static void check_pattern(attune_family family, const char *schedule, const char *differs, uint64_t seed) {
  attune_problem problem, resolved;
  attune_inputs given = {.used = 0};
  attune_verifier *verifier;
  attune_program *program = NULL;
  attune_verdict verdict;
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  problem_of(&problem, &given, differs);
  problem.operation = ATTUNE_BACKWARD;
  snprintf(text, sizeof text, "backward.%s.bf16.d64.%s", attune_family_name(family), schedule);
  assert_int_equal(attune_config_parse(&config, text), ATTUNE_OK);
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  attune_config_for_problem(&config, &config, &resolved);
  const attune_drawing drawing = {.seed = seed, .lengths = seed % 2 == 1};
  const attune_program_source from = {.backend = machines[seed % SCHEDULES], .store = store, .problem = &resolved};
  if (attune_verifier_create(&verifier, from.backend, &resolved, &given, &drawing) != ATTUNE_OK ||
      attune_program_create(&program, &from, &config) != ATTUNE_OK ||
      attune_verifier_check(verifier, program, &verdict) != ATTUNE_OK)
    fail_msg("%s: %s", differs, attune_message());
  if (!verdict.passed) fail_msg("%s: %s", differs, verdict.worst);
  attune_program_destroy(program);
  attune_verifier_destroy(verifier);
}

static void masks_and_scores(void **state) {
  static const char *const problems[] = {
      "\"score_expr\":\"20 * tanh(score / 20) + slope * (k - q)\",\"mask\":\"causal\",\"params\":{\"slope\":0.25}",
      "\"bias\":[1,4,150],\"window\":[60,60]",
      "\"score_expr\":\"k > q + 40 ? -3e38 * 10 : score + bias * 0.5 + score * score * 0.01\",\"bias\":[2,1,1]",
      "\"pattern\":\"butterfly:16\"",
      "\"pattern\":\"window:20 & prefix:40\",\"mask\":\"causal-bottom-right\"",
      "\"mask_expr\":\"(q + head) % 3 == k % 3 && k < 90\"",
      "\"mask_expr\":\"q < 0\"", /* nobody sees anything */
      /* The keys end within a tile, and the queries that see them fill theirs; with lengths, as every second one. */
      "\"window\":[16,9],\"batch\":6,\"heads_q\":1,\"heads_kv\":1,\"seqlen_q\":300,\"seqlen_k\":40",
      "\"mask_expr\":\"q / 32 == k / 32\",\"window\":[40,5]",
      "\"block_size\":128,\"block_density\":0.3,\"mask\":\"causal-bottom-right\"",
      "\"block_size\":128,\"block_density\":0.5,\"pattern\":\"window:50\"",
  };
  (void)state;
  for (size_t i = 0; i < COUNT(problems); i++) {
    check_pattern(ATTUNE_FAMILY_BACKWARD_REFERENCE, "m32.n4.w4", problems[i], i);
    check_pattern(ATTUNE_FAMILY_BACKWARD_MMA, "m32.n64.w4.s2.b1.dq_m64.dq_n32.dq_w4.dq_s2.dq_b1", problems[i], i + 1);
    check_pattern(ATTUNE_FAMILY_BACKWARD_WGMMA, "m128.n128.w12.s2.b1", problems[i], i);
  }
}

/* So many tiles of keys that their number, times that of the heads whose one query L2 holds, is 2^32. */
static void one_query_of_many_keys(void **state) {
  static const char text[] = "backward.mma.bf16.d8.m16.n16.w1.s1.b1.dq_m16.dq_n16.dq_w1.dq_s1.dq_b1";
  (void)state;
  attune_problem p, resolved;
  attune_verifier *verifier;
  attune_config config;
  size_t size;
  attune_problem_init(&p);
  p.operation = ATTUNE_BACKWARD;
  p.head_dim = p.head_dim_v = 8;
  p.seqlen_q = 1;
  p.seqlen_k = 131072;
  assert_int_equal(attune_problem_resolve(&resolved, &p), ATTUNE_OK);
  assert_int_equal(attune_config_parse(&config, text), ATTUNE_OK);
  const attune_drawing drawing = {.seed = 1};
  assert_int_equal(attune_verifier_create(&verifier, machines[0], &resolved, NULL, &drawing), ATTUNE_OK);
  free(run(verifier, 0, &config, &resolved, text, &size));
  attune_verifier_destroy(verifier);
}

int main(void) {
  static struct CMUnitTest tests[CONFIGS + 2];
  static int index[CONFIGS];
  size_t count = 0;
  for (int i = 0; i < CONFIGS; i++) {
    index[i] = i;
    tests[count++] = (struct CMUnitTest){.name = configs[i], .test_func = check, .initial_state = &index[i]};
  }
  tests[count++] = (struct CMUnitTest)cmocka_unit_test(masks_and_scores);
  tests[count++] = (struct CMUnitTest)cmocka_unit_test(one_query_of_many_keys);
  return _cmocka_run_group_tests("simulator_backward", tests, count, open_machines, close_machines);
}
