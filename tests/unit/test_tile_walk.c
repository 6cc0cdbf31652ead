/* The walks of templates/parts/, on the simulator: the tiles of keys that a tile of queries sees and the tiles of
 * queries that see a tile of keys, against every element of the mask and against each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "generator/base/buffer.h"
#include "generator/source/embedded.h"
#include "generator/source/preprocess.h"
#include "generator/source/prune.h"
#include "runtime/backend.h"
#include "runtime/simulator/runner.h"

enum { TILE_M = 4, TILE_N = 8, SEQLEN_MAX = 270, TILES_MAX = 70, UNBOUNDED = (1 << 30) - 1 };
typedef enum { NONE, CAUSAL, WINDOW } bound;

static const char parameters_text[] = "constexpr int tile_m = 4;\n"
                                      "constexpr int tile_n = 8;\n"
                                      "constexpr int pack_gqa = 1;\n";

/* has_mask below says the same. */
static const char expression_text[] =
    "#include \"arithmetic.h\"\n"
    "template <class index, class real>\n"
    "ATTUNE_DEVICE auto is_seen(const attune_arguments &problem, index batch, index head, index q, index k,\n"
    "                           index seqlen_q, index seqlen_k) {\n"
    "  return k / 16 % 3 == q / 8 % 3 || k < 5;\n"
    "}\n";

/* results[0]: of each tile of queries the tiles of keys, [1]: of each tile of keys the tiles of queries; 1 + full. */
static const char kernel_text[] =
    "#include \"tile_walk.h\"\n"
    "template <class tile_of> ATTUNE_DEVICE void mark(const attune_arguments &problem, const tile_of &at, float *row,\n"
    "                                                 int step) {\n"
    "  if (at.tiles <= 0) return;\n"
    "  for (tile_walk walk = first_of_walk(problem, at);; step_walk(walk, problem, at)) {\n"
    "    if (thread_index() == 0) store_global_float(row + walk.tile * step, 1.0f + walk.full);\n"
    "    if (!walk.more) return;\n"
    "  }\n"
    "}\n"
    "ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {\n"
    "  const int t = block_index();\n"
    "  query_tile rows = {};\n"
    "  if (find_keys(rows, problem, t)) mark(problem, rows, problem.lse + t * 70, 1);\n"
    "  key_tile keys = {};\n"
    "  if (find_rows(keys, problem, t)) mark(problem, keys, problem.lse + 70 * 70 + t * 70, 1);\n"
    "}\n";

static float results[2][TILES_MAX][TILES_MAX];
static attune_simulator_runner *runner;

/* ---- building ---- */

static char *kernel_source(bound b, bool expression) {
  const attune_parameter parameters[] = {
      {"DTYPE_BF16", 1},
      {"MASK_BOUNDS_CAUSAL", b == CAUSAL},
      {"MASK_BOUNDS_WINDOW", b == WINDOW},
      {"HAS_MASK_EXPR", expression},
      {"SPARSE_BLOCK_SIZE", 0},
      {"SCORE_EXPRESSION", 0},
      {"SPLITS", 1},
  };
  attune_source_file files[ATTUNE_SOURCE_FILES_MAX] = {
      {"kernel", "the test's kernel", kernel_text},
      {"parameters.h", "the test's parameters", parameters_text},
      {"expressions.h", "the test's expression", expression_text},
  };
  int count = 3;
  for (int i = 0; i < attune_embedded_count; i++) {
    const attune_embedded *held = &attune_embedded_files[i];
    const char *name = strrchr(held->path, '/') + 1;
    if (strcmp(name, "cuda.h") == 0) continue;
    if (strcmp(name, "simulator.h") == 0) name = "cuda.h";
    files[count++] = (attune_source_file){name, held->path, held->text};
  }
  const attune_preprocess_input input = {files, count, parameters, sizeof parameters / sizeof *parameters, true};
  char *whole;
  attune_buffer out = {0};
  if (attune_preprocess(&whole, &input) || attune_prune(&out, whole, "KERNEL_NAME")) fail_msg("%s", attune_message());
  free(whole);
  return out.text;
}

static void *build(attune_simulator_kernel **kernel, bound b, bool expression) {
  char path[] = "/tmp/attune-test-XXXXXX", *source = kernel_source(b, expression);
  attune_compiled compiled;
  if (attune_compile_host(&compiled, source, "walk") != ATTUNE_OK) fail_msg("%s", attune_message());
  const int file = mkstemp(path);
  assert_true(file >= 0);
  assert_int_equal(write(file, compiled.binary, compiled.size), compiled.size);
  close(file);
  void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  unlink(path);
  if (object == NULL) fail_msg("%s", dlerror());
  void (*bind)(const struct attune_simulator_calls *);
  *(void **)&bind = dlsym(object, "attune_simulator_bind");
  *(void **)kernel = dlsym(object, "KERNEL_NAME");
  assert_non_null(bind);
  assert_non_null(*kernel);
  bind(&attune_simulator_runner_calls);
  free(compiled.binary);
  free(compiled.log);
  free(source);
  return object;
}

/* ---- the mask, key by key ---- */

typedef struct {
  bound bound;
  bool expression;
  int seqlen_q, seqlen_k, align_end, left, right;
} mask;

static bool is_inside_bounds(const mask *m, int q, int k) {
  const int level = q + (m->align_end && m->bound != NONE ? m->seqlen_k - m->seqlen_q : 0);
  if (m->bound != NONE && k > level + m->right) return false;
  return m->bound != WINDOW || k >= level - m->left;
}

static bool is_visible(const mask *m, int q, int k) {
  return is_inside_bounds(m, q, k) && (!m->expression || k / 16 % 3 == q / 8 % 3 || k < 5);
}

typedef struct {
  int visible, inside, all;
} counts;

static counts count_tile(const mask *m, int tile_q, int tile_k) {
  counts c = {0, 0, 0};
  for (int q = tile_q * TILE_M; q < (tile_q + 1) * TILE_M && q < m->seqlen_q; q++)
    for (int k = tile_k * TILE_N; k < (tile_k + 1) * TILE_N && k < m->seqlen_k; k++) {
      c.all++;
      c.inside += is_inside_bounds(m, q, k);
      c.visible += is_visible(m, q, k);
    }
  return c;
}

static void run(attune_simulator_kernel *kernel, const mask *m, uint64_t seed) {
  const struct attune_arguments arguments = {.lse = &results[0][0][0],
                                             .batch = 1,
                                             .heads_q = 1,
                                             .seqlen_q = m->seqlen_q,
                                             .seqlen_k = m->seqlen_k,
                                             .align_end = m->align_end,
                                             .window_left = m->left,
                                             .window_right = m->right};
  const attune_shape floats = {2 * TILES_MAX * TILES_MAX, {1, 1, 1}, {0}};
  attune_simulator_memory memory = {.count = 0};
  memset(results, 0, sizeof results);
  assert_int_equal(attune_simulator_memory_add(&memory, "results", results, ATTUNE_SIMULATOR_WRITE, 4, &floats),
                   ATTUNE_OK);
  const int tiles_q = (m->seqlen_q + TILE_M - 1) / TILE_M, tiles_k = (m->seqlen_k + TILE_N - 1) / TILE_N;
  const attune_simulator_grid grid = {.kernel = kernel,
                                      .name = "walk",
                                      .blocks = tiles_q > tiles_k ? tiles_q : tiles_k,
                                      .threads = 32,
                                      .shared_bytes = 16,
                                      .arguments = &arguments,
                                      .memory = &memory,
                                      .seed = seed};
  if (attune_simulator_run(runner, &grid) != ATTUNE_OK) fail_msg("%s", attune_message());
}

static void expect_tile(const mask *m, int tile_q, int tile_k) {
  const counts c = count_tile(m, tile_q, tile_k);
  const int by_rows = (int)results[0][tile_q][tile_k], by_keys = (int)results[1][tile_k][tile_q];
  const bool rows_whole = (tile_q + 1) * TILE_M <= m->seqlen_q, keys_whole = (tile_k + 1) * TILE_N <= m->seqlen_k;
  const char *wrong = NULL;
  if ((by_rows > 0) != (by_keys > 0)) wrong = "the walks differ";
  if (c.visible > 0 && by_rows == 0) wrong = "a visible key is left out";
  if (c.inside == 0 && by_rows > 0) wrong = "a tile beyond the bounds is not";
  if ((by_rows == 2 || by_keys == 2) && c.visible < c.all) wrong = "a tile with hidden keys counts as full";
  if (by_rows == 2 && !keys_whole) wrong = "a tile with keys past the end counts as full";
  if (by_keys == 2 && !rows_whole) wrong = "a tile with queries past the end counts as full";
  if (!m->expression && c.visible == c.all && keys_whole && by_rows != 2) wrong = "a full tile of keys does not count";
  if (!m->expression && c.visible == c.all && rows_whole && by_keys != 2)
    wrong = "a full tile of queries does not count";
  if (wrong != NULL)
    fail_msg("%s: bound %d, expression %d, %d queries, %d keys, align_end %d, left %d, right %d, tile (%d, %d): %d by "
             "rows, %d by keys; %d of %d visible",
             wrong, m->bound, m->expression, m->seqlen_q, m->seqlen_k, m->align_end, m->left, m->right, tile_q, tile_k,
             by_rows, by_keys, c.visible, c.all);
}

static void check(attune_simulator_kernel *kernel, const mask *m, uint64_t seed) {
  run(kernel, m, seed);
  for (int q = 0; q * TILE_M < m->seqlen_q; q++)
    for (int k = 0; k * TILE_N < m->seqlen_k; k++)
      expect_tile(m, q, k);
}

static void check_sizes(bound b, bool expression, const int (*windows)[2], int window_count) {
  static const int seqlens[] = {1, 4, 7, 16, 45, SEQLEN_MAX};
  enum { SEQLENS = sizeof seqlens / sizeof *seqlens };
  attune_simulator_kernel *kernel = NULL;
  void *object = build(&kernel, b, expression);
  for (int i = 0; i < SEQLENS * SEQLENS * window_count * 2; i++) {
    const int(*window)[2] = &windows[i / 2 % window_count];
    const int sizes = i / 2 / window_count;
    const mask m = {b,           expression, seqlens[sizes % SEQLENS], seqlens[sizes / SEQLENS], i % 2, (*window)[0],
                    (*window)[1]};
    check(kernel, &m, (uint64_t)i);
  }
  dlclose(object);
}

static void test_without_bounds(void **unused) {
  (void)unused;
  static const int windows[][2] = {{UNBOUNDED, UNBOUNDED}};
  check_sizes(NONE, false, windows, 1);
  check_sizes(NONE, true, windows, 1);
}

static void test_causal(void **unused) {
  (void)unused;
  static const int windows[][2] = {{UNBOUNDED, 0}, {UNBOUNDED, 3}};
  check_sizes(CAUSAL, false, windows, 2);
  check_sizes(CAUSAL, true, windows, 2);
}

static void test_windows(void **unused) {
  (void)unused;
  static const int windows[][2] = {{0, 0}, {3, 2}, {20, 0}, {9, UNBOUNDED}};
  check_sizes(WINDOW, false, windows, 4);
  check_sizes(WINDOW, true, windows, 4);
}

static int set_up(void **unused) {
  (void)unused;
  return attune_simulator_runner_create(&runner) == ATTUNE_OK ? 0 : -1;
}

static int tear_down(void **unused) {
  (void)unused;
  attune_simulator_runner_destroy(runner);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_without_bounds),
      cmocka_unit_test(test_causal),
      cmocka_unit_test(test_windows),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
