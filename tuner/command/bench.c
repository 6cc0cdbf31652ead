/* attune bench: how fast the chosen config is, or one that is named, after its result was verified. */
#include <stdlib.h>
#include <string.h>

#include "tuner/command/verbs.h"

enum { ROUNDS = 200 };
static const double seconds_each = 5;

typedef struct {
  attune_store *store;
  attune_backend *machine;
  const attune_flags *flags;
  bool header_shown;
} bench;

typedef struct {
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  const char *source;
  attune_timing timing;
  attune_verdict verdict;
} figure;

/* The flags' config or the family's default, else what dispatch takes. */
static attune_status choose(figure *out, const bench *bench, const attune_problem *problem) {
  const attune_device *device = attune_backend_device(bench->machine);
  attune_status status;
  out->source = "named";
  if (bench->flags->config || bench->flags->family) {
    status = attune_config_of_flags(&out->config, bench->flags, problem, device);
  } else {
    attune_choice choice;
    status = attune_choose(&choice, bench->store, problem, device);
    if (status == ATTUNE_OK) {
      out->config = choice.config;
      out->source = choice.source;
      free(choice.explanation);
    }
  }
  return status == ATTUNE_OK ? attune_config_print(out->text, &out->config) : status;
}

static attune_status time_kernel(figure *out, const bench *bench, const attune_problem *problem,
                                 const attune_inputs *inputs) {
  attune_problem resolved;
  attune_program *program = NULL;
  attune_verifier *verifier = NULL;
  attune_status status = attune_problem_resolve(&resolved, problem);
  const attune_program_source from = {
      .backend = bench->machine, .store = bench->store, .problem = &resolved, .frozen = attune_frozen_by_environment()};
  if (status == ATTUNE_OK) status = attune_program_create(&program, &from, &out->config);
  if (status == ATTUNE_OK)
    status = attune_verifier_create(&verifier, bench->machine, problem, inputs,
                                    &(attune_drawing){.seed = bench->flags->seed});
  if (status == ATTUNE_OK) status = attune_verifier_check(verifier, program, &out->verdict);
  if (status == ATTUNE_OK && !out->verdict.passed)
    status = attune_fail(ATTUNE_WRONG_RESULT, "%s gives a wrong result: error %.2e, allowed %.2e; %s", out->text,
                         out->verdict.error, out->verdict.bound, out->verdict.worst);
  if (status == ATTUNE_OK) {
    attune_candidate candidate = {.program = program};
    status = attune_measure(verifier, bench->machine, &candidate, 1, ROUNDS, seconds_each);
    out->timing = candidate.timing;
  }
  attune_verifier_destroy(verifier);
  attune_program_destroy(program);
  return status;
}

/* As the FlashAttention papers count: all keys, or half of them where the mask is causal. */
static double papers_flops(const attune_problem *p) {
  double all = 2.0 * p->batch * p->heads_q * (double)p->seqlen_q * p->seqlen_k * (p->head_dim + p->head_dim_v);
  return p->mask == ATTUNE_MASK_NONE ? all : all / 2;
}

static attune_status print_json(const bench *bench, const attune_workload_item *item, const figure *figure) {
  const attune_problem *p = &item->problem;
  const attune_device *device = attune_backend_device(bench->machine);
  double ms = figure->timing.median * 1e3;
  json_t *line = json_pack(
      "{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:s}",
      "set", "fwd", "peer", "attune", "name", item->name, "device", device->name, "B", p->batch, "H", p->heads_q, "Hk",
      p->heads_kv, "Sq", p->seqlen_q, "Sk", p->seqlen_k, "D", p->head_dim, "causal", p->mask != ATTUNE_MASK_NONE,
      "dtype", p->dtype == ATTUNE_BF16 ? "bfloat16" : "float16", "ms", attune_json_number(ms), "ms_low",
      attune_json_number(figure->timing.low * 1e3), "ms_high", attune_json_number(figure->timing.high * 1e3), "tflops",
      attune_json_number(papers_flops(p) / ms * 1e-9), "floor_ms",
      attune_json_number(attune_problem_floor(p, device) * 1e3), "config", figure->text, "source", figure->source,
      "error", attune_json_number(figure->verdict.error), "error_bound", attune_json_number(figure->verdict.bound),
      "policy", device->arch ? attune_policy : "wall-clock");
  const bool printed = line != NULL && json_dumpf(line, stdout, JSON_REAL_PRECISION(6)) == 0 && putchar('\n') != EOF;
  json_decref(line);
  if (printed && fflush(stdout) == 0) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_JSON, "%s: its result cannot be printed as JSON", item->name);
}

static void print_line(bench *bench, const attune_workload_item *item, const figure *figure) {
  const attune_device *device = attune_backend_device(bench->machine);
  double seconds = figure->timing.median, floor = attune_problem_floor(&item->problem, device);
  char median[24];
  attune_print_seconds(median, seconds);
  if (!bench->header_shown)
    printf("%-40s %10s %6s %9s %8s %7s %9s %9s  %s\n", "problem", "median", "+-", "TFLOP/s", "GB/s", "floor", "error",
           "allowed", "config");
  bench->header_shown = true;
  printf("%-40s %10s %5.1f%% %9.1f %8.1f %6.1f%% %9.1e %9.1e  %s (%s)\n", item->name, median,
         50 * (figure->timing.high - figure->timing.low) / seconds, attune_tflops(&item->problem, seconds),
         attune_problem_bytes(&item->problem) / seconds * 1e-9, 100 * floor / seconds, figure->verdict.error,
         figure->verdict.bound, figure->text, figure->source);
  fflush(stdout);
}

static attune_status bench_item(bench *bench, const attune_workload_item *item) {
  figure figure = {0};
  attune_problem problem;
  attune_status status = attune_problem_resolve(&problem, &item->problem);
  if (status == ATTUNE_OK) status = choose(&figure, bench, &problem);
  if (status == ATTUNE_OK) status = time_kernel(&figure, bench, &problem, &item->given);
  if (status == ATTUNE_OK && bench->flags->json) status = print_json(bench, item, &figure);
  if (status == ATTUNE_OK && !bench->flags->json) print_line(bench, item, &figure);
  attune_timing_free(&figure.timing);
  return status;
}

int attune_verb_bench(int argc, char **argv) {
  attune_flags flags;
  attune_device device;
  bench bench = {.flags = &flags};
  attune_workload_item *items = NULL;
  int count, code;
  if (!attune_verb_begin(&flags, &code, argc, argv)) return code;
  attune_status status = attune_verb_problems(&items, &count, &flags);
  if (status == ATTUNE_OK) status = attune_verb_open_device(&bench.machine, &device, &flags);
  if (status == ATTUNE_OK) status = attune_verb_open_store(&bench.store, &flags);
  if (status == ATTUNE_OK && device.arch == 0)
    fprintf(stderr, "attune: the simulator is an interpreter of kernels: its times say nothing about a GPU\n");
  for (int i = 0; status == ATTUNE_OK && i < count; i++)
    status = bench_item(&bench, &items[i]);
  if (status != ATTUNE_OK) code = attune_verb_failed(&flags, status);
  free(items);
  if (bench.store) attune_store_close(bench.store);
  if (bench.machine) attune_backend_close(bench.machine);
  return code;
}
