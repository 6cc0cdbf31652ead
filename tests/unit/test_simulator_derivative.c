/* The derivatives of a score as kernels compute them, on the simulator: against their values in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/unit/expression_case.h"
#include "tests/unit/host_kernel.h"
#include "tests/unit/kernel_source.h"

enum { QUERIES = 8, KEYS = 8, SCORES = 4, THREADS = 32, BLOCKS = QUERIES * KEYS * SCORES / THREADS, COLUMNS = 16 };
enum { BATCH_AT = 1, HEAD_AT = 2 };

static float results[BLOCKS * THREADS][COLUMNS]; /* value, by0, at0, by1, at1, ... */
static attune_simulator_runner *runner;

/* A thread a score; scope_of below says the same. */
static void write_kernel(attune_buffer *out, const attune_derivatives *d) {
  attune_buffer_add_text(out, "#include \"expressions.h\"\n"
                              "ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {\n"
                              "  const int i = 32 * block_index() + thread_index();\n"
                              "  const item_constants item = constants_of(problem, 1, 2, 8, 9);\n"
                              "  const float score = 1.75f * (i / 64) - 2.375f, bias = 0.25f * (i % 5) - 0.375f;\n"
                              "  const score_derivatives d = changed_score_derivatives(problem, item, score, bias, 1, "
                              "2, i / 8 % 8, i % 8, 8, 9);\n"
                              "  float *row = problem.lse + 16 * i;\n"
                              "  store_global_float(row, d.value);\n");
  for (int i = 0; i < d->count; i++) {
    attune_buffer_print(out, "  store_global_float(row + %d, d.by%d);\n", 1 + 2 * i, i);
    if (d->of[i].index != NULL)
      attune_buffer_print(out, "  store_global_float(row + %d, (float)d.at%d);\n", 2 + 2 * i, i);
  }
  attune_buffer_add_text(out, "}\n");
}

static attune_scope scope_of(int i) {
  return (attune_scope){.score = 1.75 * (i / 64) - 2.375,
                        .bias = 0.25 * (i % 5) - 0.375,
                        .batch = BATCH_AT,
                        .head = HEAD_AT,
                        .q = i / 8 % 8,
                        .k = i % 8,
                        .seqlen_q = 8,
                        .seqlen_k = 9,
                        .values = values};
}

static char *kernel_source(const attune_derivatives *d) {
  const attune_parameter parameters[] = {
      {"DTYPE_BF16", 1}, {"SCORE_EXPRESSION", 1}, {"OPERATION_FORWARD", 1}, {"OPERATION_COMBINE", 0}};
  attune_problem problem;
  attune_problem_init(&problem);
  problem.params = params;
  problem.param_count = PARAMS;
  problem.seqlen_q = 8;
  problem.seqlen_k = 9;
  attune_buffer expressions = {0}, kernel = {0};
  attune_buffer_add_text(&expressions, "#include \"arithmetic.h\"\n");
  assert_int_equal(attune_derivatives_write(&expressions, &problem, d), ATTUNE_OK);
  write_kernel(&kernel, d);
  attune_source_file files[ATTUNE_SOURCE_FILES_MAX] = {
      {"kernel", "the test's kernel", kernel.text},
      {"parameters.h", "the test's parameters", ""},
      {"expressions.h", "the test's expression", expressions.text},
  };
  char *source = kernel_source_of(files, 3, parameters, COUNT(parameters), ATTUNE_TARGET_SIMULATOR);
  attune_buffer_free(&kernel);
  attune_buffer_free(&expressions);
  return source;
}

static void *build(attune_simulator_kernel **kernel, const attune_derivatives *d) {
  void *object = load_host_kernels(kernel_source(d), "derivatives");
  *(void **)kernel = dlsym(object, "KERNEL_NAME");
  assert_non_null(*kernel);
  return object;
}

static void add_array(attune_simulator_memory *memory, const char *name, const void *data, int64_t count) {
  const attune_shape shape = {count, {1, 1, 1}, {0}};
  assert_int_equal(attune_simulator_memory_add(memory, name, (void *)(uintptr_t)data, ATTUNE_SIMULATOR_READ, 4, &shape),
                   ATTUNE_OK);
}

static void run(attune_simulator_kernel *kernel) {
  struct attune_arguments arguments = {.lse = &results[0][0]};
  attune_simulator_memory memory = {.count = 0};
  const attune_shape shape = {BLOCKS * THREADS * COLUMNS, {1, 1, 1}, {0}};
  for (int i = 0; i < PARAMS; i++) {
    arguments.values[i] = (struct attune_argument){values[i].array, values[i].count, values[i].integer, values[i].real};
    if (values[i].array != NULL) add_array(&memory, params[i].name, values[i].array, values[i].count);
  }
  memset(results, 0, sizeof results);
  assert_int_equal(attune_simulator_memory_add(&memory, "results", results, ATTUNE_SIMULATOR_WRITE, 4, &shape),
                   ATTUNE_OK);
  const attune_simulator_grid grid = {.kernel = kernel,
                                      .name = "derivatives",
                                      .blocks = BLOCKS,
                                      .threads = THREADS,
                                      .shared_bytes = 16,
                                      .arguments = &arguments,
                                      .memory = &memory,
                                      .seed = 1};
  if (attune_simulator_run(runner, &grid) != ATTUNE_OK) fail_msg("%s", attune_message());
}

static void expect(const char *text, int i, int column, const attune_expression *expression) {
  const attune_scope scope = scope_of(i);
  const double expected = attune_expression_evaluate(expression, &scope), value = (double)results[i][column];
  if (!(fabs(value - expected) <= 2e-6 * (1 + fabs(expected))))
    fail_msg("%s, column %d at %d: %.9g, not %.9g", text, column, i, value, expected);
}

static void test_derivatives(void **unused) {
  (void)unused;
  static const char *const texts[] = {
      "20 * tanh(score / 20)",
      "cap * tanh(score / cap) + slope[head] * (k - q) + bias * score",
      "score > 0.5 ? score * slope[q] : score * cap + floor(bias * cap)",
      "max(min(score, bias), -1) + relative[k - q + 16] * exp(bias) - log(1 + abs(q - k)) * sqrt(abs(score) + 1)",
      "abs(score) * slope[q - k] / (cap + slope[head] * slope[head]) + (k <= q) * score",
      "doc[q] == doc[k] && !(k & 1) ? score * relative[doc[k] + int(score)] : -(score * bias)",
  };
  for (size_t t = 0; t < COUNT(texts); t++) {
    attune_expression *score = parse(SCORE, texts[t]);
    attune_derivatives *d;
    attune_simulator_kernel *kernel;
    assert_int_equal(attune_expression_derivative(&d, score), ATTUNE_OK);
    assert_true(2 + 2 * d->count <= COLUMNS);
    void *object = build(&kernel, d);
    run(kernel);
    for (int i = 0; i < BLOCKS * THREADS; i++) {
      expect(texts[t], i, 0, d->score);
      for (int j = 0; j < d->count; j++) {
        expect(texts[t], i, 1 + 2 * j, d->of[j].value);
        if (d->of[j].index != NULL) expect(texts[t], i, 2 + 2 * j, d->of[j].index);
      }
    }
    dlclose(object);
    free(d);
    free(score);
  }
}

static int start(void **state) {
  fill_arrays(state);
  return attune_simulator_runner_create(&runner) != ATTUNE_OK;
}
static int stop(void **unused) {
  (void)unused;
  attune_simulator_runner_destroy(runner);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_derivatives),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
