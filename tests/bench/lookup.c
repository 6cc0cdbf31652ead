/* What the store costs on the CPU: look-ups among 100,000 measurements, and a first plan's part before its module is
 * loaded. Needs no GPU. Prints one JSON object; tests/bench/results/lookup.jsonl keeps what it printed. Filling the
 * store takes two minutes.
 *
 *   lookup DATABASE     DATABASE is made, and deleted afterwards
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/runtime.h"

enum { MEASUREMENTS = 100000, PROBLEMS = 2000, ROUNDS = 201 };
enum { OWN = 1001, OTHER = 7 }; /* problems that are asked for: measured by this build, by another */

static void need(attune_status status) {
  if (status == ATTUNE_OK) return;
  fprintf(stderr, "lookup: %s: %s\n", attune_status_name(status), attune_message());
  exit(1);
}

static double cpu_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare_seconds(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static attune_problem problem_at(int i) {
  attune_problem problem;
  attune_problem_init(&problem);
  problem.head_dim = problem.head_dim_v = 128;
  problem.batch = 1 << i % 5;
  problem.heads_q = problem.heads_kv = 8 << i / 5 % 4;
  problem.seqlen_q = problem.seqlen_k = 512 + 64 * (i / 20);
  problem.mask = ATTUNE_MASK_CAUSAL;
  return problem;
}

/* Rows as a tuner leaves them for problem i: of a config that all of them share, and of others that nobody parses. */
static void put_rows(attune_store *store, const attune_device *device, const attune_config *config, int i, int many) {
  char text[ATTUNE_TEXT_MAX], identity[256], config_text[ATTUNE_TEXT_MAX], hash[65] = "not asked for";
  static const double samples[60];
  const attune_problem problem = problem_at(i);
  need(attune_config_print(config_text, config));
  need(attune_problem_print(text, &problem));
  need(attune_device_identity(identity, device));
  if (i == OTHER) need(attune_result_hash(hash, config, &problem, "sm_90"));
  for (int row = 0; row < many; row++) {
    char other[64];
    snprintf(other, sizeof other, "slower-%d", row);
    const attune_measurement measurement = {.problem = text,
                                            .device = identity,
                                            .arch = "sm_90",
                                            .policy = "cold-l2 median",
                                            .result_hash = hash,
                                            .config = row ? other : config_text,
                                            .verified = true,
                                            .samples = samples,
                                            .sample_count = 60,
                                            .median = 1e-3 * (1 + row),
                                            .tool = i == OTHER ? "another build" : attune_tool()};
    need(attune_store_put_measurement(store, &measurement));
  }
}

typedef struct {
  attune_store *store;
  attune_device device;
  attune_problem problem, changed; /* has rows of this build; of another build */
  attune_problem near;             /* has none, but near ones have */
  char text[ATTUNE_TEXT_MAX], identity[256];
  attune_position position;
} bench;

static bool ignore_row(void *user, const attune_measurement *row) {
  (void)row;
  ++*(int *)user;
  return true;
}

static void find(const bench *b, const attune_choice_query *query) {
  int rows = 0;
  need(attune_store_find_choices(b->store, query, ignore_row, &rows));
}
static void exact(const bench *b) {
  find(b, &(attune_choice_query){.problem = b->text, .device = b->identity});
}
static void near_problem(const bench *b) {
  find(b, &(attune_choice_query){.position = &b->position, .arch = "sm_90", .device = b->identity});
}
static void near_device(const bench *b) {
  find(b, &(attune_choice_query){.problem = b->text, .arch = "sm_90", .other_than_device = "another"});
  find(b, &(attune_choice_query){.position = &b->position, .arch = "sm_90", .other_than_device = "another"});
}

/* Dispatch, and the binary out of the store. */
static void plan(const bench *b, const attune_problem *problem, const char *source) {
  attune_choice choice;
  attune_kernel *kernel;
  need(attune_choose(&choice, b->store, problem, &b->device));
  if (strcmp(choice.source, source) != 0) {
    fprintf(stderr, "lookup: needs the source %s:\n%s", source, choice.explanation);
    exit(1);
  }
  need(attune_kernel_get(&kernel, NULL, b->store, &choice.config, problem, "sm_90", true));
  free(choice.explanation);
  free(kernel);
}
static void plan_exact(const bench *b) {
  plan(b, &b->problem, "exact");
}
static void plan_exact_of_another_build(const bench *b) {
  plan(b, &b->changed, "exact");
}
static void plan_near(const bench *b) {
  plan(b, &b->near, "near-problem");
}

/* Median CPU milliseconds. */
static void measure(const char *name, void (*run)(const bench *), const bench *b, int rounds) {
  double seconds[ROUNDS];
  for (int i = 0; i < rounds; i++) {
    const double start = cpu_seconds();
    run(b);
    seconds[i] = cpu_seconds() - start;
  }
  qsort(seconds, (size_t)rounds, sizeof *seconds, compare_seconds);
  printf(", \"%s_ms\": %.3f", name, 1e3 * seconds[rounds / 2]);
}

/* A binary for the config; its bytes do not matter here. */
static void put_kernel(attune_store *store, const attune_config *config, const attune_problem *problem) {
  attune_kernel *kernel;
  static const char binary[200000] = "binary";
  need(attune_kernel_name(&kernel, NULL, config, problem, "sm_90"));
  kernel->binary = binary;
  kernel->binary_size = sizeof binary;
  need(attune_store_put_kernel(store, kernel));
  free(kernel);
}

int main(int argc, char **argv) {
  bench b = {0};
  if (argc != 2) {
    fprintf(stderr, "usage: lookup DATABASE\n");
    return 2;
  }
  const attune_store_options options = {
      .path = argv[1], .locate = attune_problem_locate, .translate = attune_text_renamed};
  need(attune_device_of_arch(&b.device, "sm_90"));
  need(attune_store_open(&b.store, &options));
  attune_config config;
  b.problem = b.near = problem_at(OWN);
  b.changed = problem_at(OTHER);
  b.near.seqlen_q += 8;
  need(attune_config_default(&config, &b.problem, &b.device));
  for (int i = 0; i < PROBLEMS; i++)
    put_rows(b.store, &b.device, &config, i, MEASUREMENTS / PROBLEMS);
  put_kernel(b.store, &config, &b.problem);
  need(attune_problem_print(b.text, &b.problem));
  need(attune_device_identity(b.identity, &b.device));
  if (!attune_problem_locate(&b.position, b.text)) return 1;
  attune_store_close(b.store);
  double start = cpu_seconds();
  need(attune_store_open(&b.store, &options));
  printf("{\"measurements\": %d, \"choices\": %d, \"open_ms\": %.3f", MEASUREMENTS, PROBLEMS,
         1e3 * (cpu_seconds() - start));
  measure("exact", exact, &b, ROUNDS);
  measure("near_problem", near_problem, &b, ROUNDS);
  measure("near_device", near_device, &b, ROUNDS);
  measure("first_plan_exact", plan_exact, &b, ROUNDS);
  measure("first_plan_near", plan_near, &b, ROUNDS);
  measure("first_plan_of_another_build", plan_exact_of_another_build, &b, 1);
  measure("second_plan_of_another_build", plan_exact_of_another_build, &b, ROUNDS);
  printf("}\n");
  attune_store_close(b.store);
  unlink(argv[1]);
  return 0;
}
