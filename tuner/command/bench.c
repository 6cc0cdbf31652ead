/* attune bench: how fast the chosen config is, or one that is named, after its result was verified. */
#include <stdlib.h>
#include <string.h>

#include "tuner/command/columns.h"
#include "tuner/command/verbs.h"

enum { ROUNDS = 200 };
static const double seconds_each = 5;

typedef struct {
  attune_store *store;
  attune_backend *machine;
  const attune_flags *flags;
  attune_columns table; /* begun with the first row */
  attune_status failed; /* the first */
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
                         out->verdict.error, out->verdict.error_bound, out->verdict.worst);
  if (status == ATTUNE_OK) {
    attune_candidate candidate = {.program = program};
    status = attune_measure(verifier, bench->machine, &candidate, 1, ROUNDS, seconds_each);
    out->timing = candidate.timing;
  }
  attune_verifier_destroy(verifier);
  attune_program_destroy(program);
  return status;
}

static json_t *to_json(const bench *bench, const attune_workload_item *item, const figure *figure,
                       attune_status status) {
  const double us = 1e6, seconds = figure->timing.median;
  const bool verified = figure->verdict.error_bound > 0;
  json_t *object = attune_item_to_json(item, status);
  const double floor = attune_problem_floor(&item->problem, attune_backend_device(bench->machine));
  json_t *more = json_pack(
      "{s:s?, s:s?, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o}", "config", attune_text_or_null(figure->text),
      "source", figure->source, "time_us", attune_json_time(seconds * us), "time_low_us",
      attune_json_time(figure->timing.low * us), "time_high_us", attune_json_time(figure->timing.high * us), "samples",
      figure->timing.count, "tflops", attune_json_time(attune_tflops(&item->problem, seconds)), "bytes_per_second",
      seconds > 0 ? attune_json_number(attune_problem_bytes(&item->problem) / seconds) : json_null(), "floor_us",
      attune_json_time(floor * us), "error", verified ? attune_json_number(figure->verdict.error) : json_null(),
      "error_bound", attune_json_time(figure->verdict.error_bound));
  const bool whole = json_object_update(object, more) == 0;
  json_decref(more);
  if (whole) return object;
  json_decref(object);
  return NULL;
}

static const attune_column columns[] = {{"problem", -36, 0}, {"median", 10, 0}, {"+-", 6, 5},    {"TFLOP/s", 8, 1},
                                        {"GB/s", 8, 4},      {"floor", 6, 2},   {"error", 8, 3}, {"allowed", 8, 6}};
enum { COLUMN_COUNT = sizeof columns / sizeof *columns };

static void print_line(bench *bench, const attune_workload_item *item, const figure *figure) {
  const double seconds = figure->timing.median, half = (figure->timing.high - figure->timing.low) / 2;
  const double floor = attune_problem_floor(&item->problem, attune_backend_device(bench->machine));
  char median[24], spread[24], tflops[24], rate[24], share[24], error[24], allowed[24];
  attune_print_seconds(median, seconds);
  snprintf(spread, sizeof spread, "%.1f%%", 100 * half / seconds);
  attune_print_tflops(tflops, &item->problem, seconds);
  snprintf(rate, sizeof rate, "%.1f", attune_problem_bytes(&item->problem) / seconds * 1e-9);
  snprintf(share, sizeof share, "%.1f%%", 100 * floor / seconds);
  snprintf(error, sizeof error, "%.1e", figure->verdict.error);
  snprintf(allowed, sizeof allowed, "%.1e", figure->verdict.error_bound);
  const char *const cells[COLUMN_COUNT] = {item->name, median, spread, tflops, rate, share, error, allowed};
  if (bench->table.count == 0)
    attune_columns_begin(&bench->table, stdout, columns, COLUMN_COUNT, attune_terminal_width());
  attune_columns_row(&bench->table, cells);
  printf("  %s (%s)\n", figure->text, figure->source);
  fflush(stdout);
}

/* A problem that fails is part of the results; what does not become JSON ends them. */
static attune_status bench_item(bench *bench, const attune_workload_item *item, json_t *list) {
  figure figure = {0};
  attune_problem problem;
  attune_status status = attune_problem_resolve(&problem, &item->problem), told = ATTUNE_OK;
  if (status == ATTUNE_OK) status = choose(&figure, bench, &problem);
  if (status == ATTUNE_OK) status = time_kernel(&figure, bench, &problem, &item->given);
  if (list != NULL)
    told = attune_json_append(list, to_json(bench, item, &figure, status));
  else if (status == ATTUNE_OK)
    print_line(bench, item, &figure);
  else
    fprintf(stderr, "attune: %s: %s\n", item->name, attune_message());
  if (status != ATTUNE_OK && bench->failed == ATTUNE_OK) bench->failed = status;
  attune_timing_free(&figure.timing);
  return status == ATTUNE_DRIVER_FAILED && told == ATTUNE_OK ? status : told;
}

static attune_status bench_all(bench *bench, const attune_workload_item *items, int count) {
  const attune_device *device = attune_backend_device(bench->machine);
  json_t *list = bench->flags->json ? json_array() : NULL;
  attune_status status = ATTUNE_OK;
  if (device->arch == 0)
    fprintf(stderr, "attune: the simulator is an interpreter of kernels: its times say nothing about a GPU\n");
  for (int i = 0; status == ATTUNE_OK && i < count; i++)
    status = bench_item(bench, &items[i], list);
  if (list != NULL && (status == ATTUNE_OK || status == ATTUNE_DRIVER_FAILED))
    status = attune_print_json(json_pack("{s:s, s:s, s:O}", "device", device->name, "policy",
                                         device->arch ? attune_policy : "wall-clock", "problems", list));
  json_decref(list);
  return status == ATTUNE_DRIVER_FAILED ? ATTUNE_OK : status; /* it is told as the problem's */
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
  if (status == ATTUNE_OK) status = attune_verb_open_store(&bench.store, &flags, ATTUNE_STORE_CACHE);
  if (status == ATTUNE_OK) status = bench_all(&bench, items, count);
  code = status == ATTUNE_OK ? attune_exit_code(bench.failed) : attune_verb_failed(&flags, status);
  free(items);
  if (bench.store) attune_store_close(bench.store);
  if (bench.machine) attune_backend_close(bench.machine);
  return code;
}
