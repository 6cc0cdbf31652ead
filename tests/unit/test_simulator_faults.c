/* The simulator catches what it promises: every kernel of tests/simulator is compiled twice, broken and repaired, and
 * run at several seeds. The broken one must be reported with the words, the line and the place that its file names; the
 * repaired one must pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/backend.h"
#include "runtime/simulator/runner.h"
#include "tests/unit/host_kernel.h"

/* Two blocks that write the same outputs, which the simulator must report, do race. ThreadSanitizer asks for this. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
  return "race:attune_simulator_store_tile\nrace:store_global\n";
}

enum { KERNELS_MAX = 128, SEEDS = 12, SEQLEN = 64, HEAD_DIM = 16, PADDED = 24, SUMS = 2048 };

typedef struct {
  char name[64];
  char *text;
} kernel_file;

static kernel_file files[KERNELS_MAX];
static int file_count;
static void *object;
static attune_simulator_runner *runner;

/* The first row behind a tensor is no other tensor's. */
enum { APART = 64 };
static _Alignas(16) uint16_t q[SEQLEN * HEAD_DIM + APART], k[SEQLEN * HEAD_DIM + APART], v[SEQLEN * PADDED + APART],
    o[SEQLEN * HEAD_DIM + APART];
static float lse[SEQLEN + APART];
static _Alignas(16) float row_terms[2 * SEQLEN + APART], dq_partial[2 * SUMS];
static unsigned counter[1 + APART];
static const int32_t seqlens_k[1 + APART] = {SEQLEN - 1};

static char *read_text(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) fail_msg("cannot read %s; run from the top of the checkout", path);
  char *text = NULL;
  size_t size = 0;
  if (getdelim(&text, &size, '\0', file) < 0) fail_msg("%s is empty", path);
  fclose(file);
  return text;
}

/* The file without its includes: all of them stand in one text here. */
static void add_header(FILE *out, const char *path) {
  char *text = read_text(path);
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
    if (strncmp(line, "#include", 8) != 0 && strncmp(line, "#pragma once", 12) != 0) fprintf(out, "%s\n", line);
  free(text);
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const kernel_file *)a)->name, ((const kernel_file *)b)->name);
}

static void read_kernels(void) {
  DIR *folder = opendir("tests/simulator");
  assert_non_null(folder);
  for (struct dirent *entry; (entry = readdir(folder));) {
    char *dot = strrchr(entry->d_name, '.');
    if (!dot || strcmp(dot, ".cu") != 0) continue;
    char path[512];
    snprintf(path, sizeof path, "tests/simulator/%s", entry->d_name);
    assert_in_range(file_count, 0, KERNELS_MAX - 1);
    snprintf(files[file_count].name, sizeof files[0].name, "%.*s", (int)(dot - entry->d_name), entry->d_name);
    files[file_count++].text = read_text(path);
  }
  closedir(folder);
  qsort(files, (size_t)file_count, sizeof files[0], by_name);
}

/* One text with every kernel, lines counted from the start of its own file. */
static char *assemble(void) {
  char *source = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&source, &size);
  assert_non_null(out);
  fprintf(out, "#define DTYPE_BF16 1\n");
  add_header(out, "templates/parts/arguments.h");
  add_header(out, "templates/primitives/simulator_interface.h");
  add_header(out, "templates/primitives/simulator.h");
  for (int i = 0; i < file_count; i++)
    for (int broken = 0; broken < 2; broken++) {
      fprintf(out, "#undef BROKEN\n#undef KERNEL_NAME\n#define BROKEN %d\n#define KERNEL_NAME %s_%s\n", broken,
              files[i].name, broken ? "broken" : "repaired");
      fprintf(out, "#line 1 \"%s.cu\"\n%s\n", files[i].name, files[i].text);
    }
  fclose(out);
  return source;
}

static int set_up(void **state) {
  (void)state;
  object = load_host_kernels(assemble(), "tests/simulator");
  return attune_simulator_runner_create(&runner) == ATTUNE_OK ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  attune_simulator_runner_destroy(runner);
  dlclose(object);
  return 0;
}

/* Boxes of all 64 rows, wider than the tensors: the rest is zeros. */
static void fill_maps(struct attune_tensor_maps *out) {
  const int64_t size[4] = {HEAD_DIM, SEQLEN, 1, 1}, stride[3] = {2 * HEAD_DIM, 0, 0}, padded[3] = {2 * PADDED, 0, 0};
  attune_simulator_tensor_map_fill(&out->q, q, size, stride, SEQLEN, SEQLEN);
  attune_simulator_tensor_map_fill(&out->k, k, size, stride, SEQLEN, SEQLEN);
  attune_simulator_tensor_map_fill(&out->v, v, size, padded, SEQLEN, SEQLEN);
  attune_simulator_tensor_map_fill(&out->o, o, size, stride, SEQLEN, SEQLEN);
}

static void add_tensors(attune_simulator_memory *memory) {
  const struct {
    const char *name;
    const void *base;
    attune_simulator_access access;
    int element_bytes;
    attune_shape shape;
  } tensors[] = {
      {"q", q, ATTUNE_SIMULATOR_READ, 2, {HEAD_DIM, {1, SEQLEN, 1}, {0, HEAD_DIM, 0}}},
      {"k", k, ATTUNE_SIMULATOR_READ, 2, {HEAD_DIM, {1, SEQLEN, 1}, {0, HEAD_DIM, 0}}},
      {"v", v, ATTUNE_SIMULATOR_READ, 2, {HEAD_DIM, {1, SEQLEN, 1}, {0, PADDED, 0}}},
      {"o", o, ATTUNE_SIMULATOR_WRITE, 2, {HEAD_DIM, {1, SEQLEN, 1}, {0, HEAD_DIM, 0}}},
      {"the row terms", row_terms, ATTUNE_SIMULATOR_READ, 4, {2 * SEQLEN, {1, 1, 1}, {0}}},
      {"the sums for dQ", dq_partial, ATTUNE_SIMULATOR_ADD, 4, {SUMS, {1, 1, 1}, {0}}},
      {"lse", lse, ATTUNE_SIMULATOR_WRITE, 4, {SEQLEN, {1, 1, 1}, {0}}},
      {"seqlens_k", seqlens_k, ATTUNE_SIMULATOR_READ, 4, {1, {1, 1, 1}, {0}}},
      {"the counter", counter, ATTUNE_SIMULATOR_COUNT, 4, {1, {1, 1, 1}, {0}}},
  };
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
    assert_int_equal(attune_simulator_memory_add(memory, tensors[i].name, tensors[i].base, tensors[i].access,
                                                 tensors[i].element_bytes, &tensors[i].shape),
                     ATTUNE_OK);
}

static attune_status run(const kernel_file *file, bool broken, uint64_t seed) {
  char symbol[80];
  snprintf(symbol, sizeof symbol, "%s_%s", file->name, broken ? "broken" : "repaired");
  attune_simulator_grid grid = {.name = file->name, .seed = seed};
  struct attune_tensor_maps maps;
  if (strstr(file->text, "ATTUNE_MAPS")) {
    fill_maps(&maps);
    grid.maps = &maps;
  }
  void *kernel = dlsym(object, symbol);
  assert_non_null(kernel);
  *(void **)&grid.kernel = *(void **)&grid.kernel_with_maps = *(void **)&grid.kernel_of_gradients =
      *(void **)&grid.kernel_of_gradients_with_maps = kernel;
  const char *launch = strstr(file->text, "// launch: ");
  assert_non_null(launch);
  assert_true(
      sscanf(launch, "// launch: %d %d %d %d", &grid.blocks, &grid.threads, &grid.shared_bytes, &grid.cluster) >= 3);
  const struct attune_arguments arguments = {.q = q,
                                             .k = k,
                                             .v = v,
                                             .o = o,
                                             .lse = lse,
                                             .q_seqlen = HEAD_DIM,
                                             .k_seqlen = HEAD_DIM,
                                             .v_seqlen = PADDED,
                                             .o_seqlen = HEAD_DIM,
                                             .batch = 1,
                                             .heads_q = 1,
                                             .group = 1,
                                             .seqlen_q = SEQLEN,
                                             .seqlen_k = SEQLEN,
                                             .seqlens_k = seqlens_k,
                                             .counter = counter};
  attune_simulator_memory memory = {.count = 0};
  add_tensors(&memory);
  const struct attune_backward_arguments backward = {
      .problem = arguments, .gradients = {.row_terms = row_terms, .dq_partial = dq_partial, .rows_padded = SEQLEN}};
  grid.arguments = &arguments;
  if (strstr(file->text, "attune_backward_arguments")) grid.gradients = &backward;
  grid.memory = &memory;
  return attune_simulator_run(runner, &grid);
}

/* The rest of the line after `key`, or false. */
static bool field(char value[256], const kernel_file *file, const char *key) {
  const char *at = strstr(file->text, key);
  if (!at) return false;
  at += strlen(key);
  snprintf(value, 256, "%.*s", (int)strcspn(at, "\n"), at);
  return true;
}

/* Whether the line that the report names ends with the mark. */
static bool at_fault(const kernel_file *file, int line) {
  const char *at = file->text;
  for (int i = 1; i < line && at; i++) {
    at = strchr(at, '\n');
    if (at) at++;
  }
  const char *mark = at ? strstr(at, "// fault") : NULL;
  return mark && mark < at + strcspn(at, "\n");
}

static void check_report(const kernel_file *file, uint64_t seed) {
  char expected[256], where[300] = ", ", name[64];
  const char *message = attune_message();
  int line = 0;
  assert_true(field(expected, file, "// expect: "));
  if (!strstr(message, expected)) fail_msg("seed %d: \"%s\" is not in: %s", (int)seed, expected, message);
  if (sscanf(message, "%63[^:]: line %d, block", name, &line) != 2) fail_msg("no place in: %s", message);
  assert_string_equal(name, file->name);
  if (!at_fault(file, line)) fail_msg("seed %d: line %d is not the fault's: %s", (int)seed, line, message);
  if (field(where + 2, file, "// where: ") && (strcat(where, " (warp"), !strstr(message, where)))
    fail_msg("seed %d: not at \"%s\": %s", (int)seed, where, message);
}

static void check(void **state) {
  const kernel_file *file = *state;
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    if (run(file, false, seed) != ATTUNE_OK) fail_msg("repaired, seed %d: %s", (int)seed, attune_message());
    assert_int_equal(run(file, true, seed), ATTUNE_KERNEL_FAULT);
    check_report(file, seed);
    char *first = strdup(attune_message());
    assert_int_equal(run(file, true, seed), ATTUNE_KERNEL_FAULT);
    assert_string_equal(attune_message(), first); /* same seed, same report */
    free(first);
  }
}

int main(void) {
  read_kernels();
  struct CMUnitTest tests[KERNELS_MAX];
  for (int i = 0; i < file_count; i++)
    tests[i] = (struct CMUnitTest){.name = files[i].name, .test_func = check, .initial_state = &files[i]};
  int failed = _cmocka_run_group_tests("simulator_faults", tests, (size_t)file_count, set_up, tear_down);
  for (int i = 0; i < file_count; i++)
    free(files[i].text);
  return failed;
}
