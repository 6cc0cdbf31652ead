/* attune tune: fills the store for a problem or a workload, and says what that gained. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tuner/command/columns.h"
#include "tuner/command/verbs.h"

/* ---- interrupts: results are stored one by one, so that the process may end at any time ---- */

static volatile sig_atomic_t interrupted;

static void say(const char *text) {
  const ssize_t written = write(STDERR_FILENO, text, strlen(text));
  (void)written;
}

static void interrupt(int signal_number) {
  enum { PATIENCE_SECONDS = 1 };
  (void)signal_number;
  interrupted = 1;
  say("\nattune: interrupted: what was measured or verified is stored, and the same command goes on from there\n");
  alarm(PATIENCE_SECONDS);
}

/* A compiler or a kernel is still at work, which nobody can stop. */
static void give_up(int signal_number) {
  (void)signal_number;
  _exit(attune_exit_code(ATTUNE_INTERRUPTED));
}

/* After the first Ctrl-C the results so far are printed if that takes no longer than PATIENCE_SECONDS; the second one
 * ends the process at once. */
static void listen_for_interrupts(void) {
  struct sigaction first = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
  struct sigaction last = {.sa_handler = give_up};
  sigemptyset(&first.sa_mask);
  sigemptyset(&last.sa_mask);
  sigaction(SIGALRM, &last, NULL);
  sigaction(SIGINT, &first, NULL);
  sigaction(SIGTERM, &first, NULL);
}

typedef struct {
  attune_status status;
  char message[512];
  attune_tune_result result;
} outcome;

/* What is within the model's error is no gain. */
static void print_gain(char out[16], const attune_tune_result *result, bool modelled) {
  const double gain = result->default_seconds / result->best_seconds;
  if (modelled && gain < 1 + attune_estimate_error(result->default_seconds))
    snprintf(out, 16, "-");
  else
    snprintf(out, 16, "%.2fx", gain);
}

static bool by_model(const attune_tune_result *result) {
  return strcmp(result->method, "model") == 0;
}

static const attune_column columns[] = {{"problem", -36, 0}, {"default", 10, 0}, {"tuned", 10, 0}, {"gain", 7, 0},
                                        {"TFLOP/s", 8, 1},   {"by", 9, 2},       {"error", 8, 3},  {"allowed", 8, 4},
                                        {"spent", 8, 5},     {"worst", 10, 6}};
enum { COLUMN_COUNT = sizeof columns / sizeof *columns };

static void print_details(const attune_tune_result *result) {
  char text[ATTUNE_TEXT_MAX];
  if (attune_config_print(text, &result->best) == ATTUNE_OK) printf("  tuned   %s\n", text);
  if (attune_config_compare(&result->best, &result->initial) == 0)
    printf("  default the same\n");
  else if (attune_config_print(text, &result->initial) == ATTUNE_OK)
    printf("  default %s\n", text);
  printf("  %d of %d configs legal, %d compiled, %d verified, %d measured, %d failed,\n  %d known from before\n",
         result->legal, result->candidates, result->compiled, result->verified, result->measured, result->failed,
         result->reused);
  if (result->outdated)
    printf("  %d earlier row%s outdated: an upgrade of Attune changed the kernels\n", result->outdated,
           result->outdated == 1 ? " is" : "s are");
}

static void print_outcome(const attune_columns *table, const attune_workload_item *item, const outcome *outcome) {
  const attune_tune_result *result = &outcome->result;
  char initial[24], best[24], worst[24], spent[24], gain[16], tflops[24], error[24], allowed[24];
  if (outcome->status != ATTUNE_OK) {
    printf("%s\n", item->name);
    fprintf(stderr, "attune: %s: %s\n", item->name, outcome->message);
    return;
  }
  attune_print_seconds(initial, result->default_seconds);
  attune_print_seconds(best, result->best_seconds);
  attune_print_seconds(worst, result->worst_seconds);
  attune_print_seconds(spent, result->spent_seconds);
  print_gain(gain, result, by_model(result));
  attune_print_tflops(tflops, &item->problem, result->best_seconds);
  snprintf(error, sizeof error, "%.1e", result->error);
  snprintf(allowed, sizeof allowed, "%.1e", result->error_bound);
  const char *const cells[COLUMN_COUNT] = {item->name,     initial, best,    gain,  tflops,
                                           result->method, error,   allowed, spent, worst};
  attune_columns_row(table, cells);
  print_details(result);
}

/* Which card the times are estimated for, and how wrong they may be: those of the table's least time, which is the
 * worst. */
static void print_model(const attune_device *device, double least) {
  char figures[256], error[96];
  attune_device_figures(figures, device);
  attune_estimate_error_text(error, least, device);
  printf("\nmodel: estimated for %s; not measured.\nEstimates are off by %s. Gains within that error are shown as "
         "\"-\". A measurement on a GPU replaces these rows.\n",
         figures, error);
  if (device->arch == 0) printf("The simulator checks results; how long it takes on this CPU says nothing of a GPU.\n");
}

static void print_table(const attune_workload_item *items, const outcome *outcomes, int count, const char *store,
                        const attune_device *device) {
  double least = INFINITY; /* of the estimated ones */
  attune_columns table;
  bool modelled = false, unverified = false;
  attune_columns_begin(&table, stdout, columns, COLUMN_COUNT, attune_terminal_width());
  for (int i = 0; i < count; i++) {
    print_outcome(&table, &items[i], &outcomes[i]);
    if (outcomes[i].status != ATTUNE_OK) continue;
    modelled = modelled || by_model(&outcomes[i].result);
    if (by_model(&outcomes[i].result)) least = fmin(least, outcomes[i].result.best_seconds);
    unverified = unverified || outcomes[i].result.error_bound == 0;
  }
  if (modelled) print_model(device, least);
  if (unverified) printf("No C++ compiler was found to verify with: unverified rows are never chosen.\n");
  printf("stored in %s\n", store);
}

/* NULL if it does not become JSON. */
static json_t *outcome_to_json(const attune_workload_item *item, const outcome *outcome) {
  const attune_tune_result *result = &outcome->result;
  const bool done = outcome->status == ATTUNE_OK;
  const double us = 1e6, time = result->best_seconds;
  char best[ATTUNE_TEXT_MAX] = "", initial[ATTUNE_TEXT_MAX] = "";
  if (done && attune_config_print(best, &result->best) != ATTUNE_OK) best[0] = '\0';
  if (done && attune_config_print(initial, &result->initial) != ATTUNE_OK) initial[0] = '\0';
  if (!done) attune_fail(outcome->status, "%s", outcome->message);
  json_t *object = attune_item_to_json(item, outcome->status);
  json_t *more = json_pack(
      "{s:s, s:o, s:s?, s:o, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "method",
      result->method, "estimate_error",
      by_model(result) && time > 0 ? json_real(attune_estimate_error(time)) : json_null(), "config",
      attune_text_or_null(best), "time_us", attune_json_time(time * us), "default_config", attune_text_or_null(initial),
      "default_time_us", attune_json_time(result->default_seconds * us), "worst_time_us",
      attune_json_time(result->worst_seconds * us), "tflops", attune_json_time(attune_tflops(&item->problem, time)),
      "error", result->error_bound > 0 ? attune_json_number(result->error) : json_null(), "error_bound",
      attune_json_time(result->error_bound), "spent_seconds", attune_json_number(result->spent_seconds), "candidates",
      result->candidates, "legal", result->legal, "compiled", result->compiled, "verified", result->verified,
      "measured", result->measured, "failed", result->failed, "reused", result->reused, "outdated", result->outdated);
  const bool whole = json_object_update(object, more) == 0;
  json_decref(more);
  if (whole) return object;
  json_decref(object);
  return NULL;
}

static attune_status print_json(const attune_workload_item *items, const outcome *outcomes, int count,
                                const char *store, const attune_device *device, const attune_upgrade *upgrade) {
  char figures[256];
  attune_device_figures(figures, device);
  json_t *list = json_array();
  attune_status status = ATTUNE_OK;
  for (int i = 0; status == ATTUNE_OK && i < count; i++)
    status = attune_json_append(list, outcome_to_json(&items[i], &outcomes[i]));
  if (status == ATTUNE_OK)
    status = attune_print_json(json_pack("{s:s, s:s, s:I, s:I, s:O}", "store", store, "device", figures, "outdated",
                                         (json_int_t)upgrade->outdated, "unchecked", (json_int_t)upgrade->unknown,
                                         "problems", list));
  json_decref(list);
  return status;
}

static void tell_overrun(const char *name, double spent, double budget) {
  static const double slack = 1.05;
  char took[24], allowed[24];
  if (budget <= 0 || spent <= slack * budget) return;
  attune_print_seconds(took, spent);
  attune_print_seconds(allowed, budget);
  fprintf(stderr,
          "attune: %s took %s of a budget of %s: the default config and a final comparison are the least that is "
          "done\n",
          name, took, allowed);
}

/* Returns how many problems were begun: an interruption or a lost device ends the list. */
static int tune_all(outcome *outcomes, const attune_workload_item *items, int count, const attune_flags *flags,
                    attune_store *store, attune_backend *machine, const attune_device *device) {
  for (int i = 0; i < count; i++) {
    char label[160];
    snprintf(label, sizeof label, "[%d/%d] %s", i + 1, count, items[i].name);
    attune_tune_options options = {.effort = flags->effort,
                                   .budget_seconds = flags->budget_seconds,
                                   .jobs = flags->jobs,
                                   .seed = flags->seed,
                                   .family = flags->family,
                                   .progress = true,
                                   .label = label,
                                   .force = flags->force,
                                   .given = &items[i].given};
    outcomes[i].status =
        attune_tune(&outcomes[i].result, store, machine, device, &items[i].problem, &options, &interrupted);
    if (outcomes[i].status == ATTUNE_OK) {
      tell_overrun(items[i].name, outcomes[i].result.spent_seconds, flags->budget_seconds);
      continue;
    }
    snprintf(outcomes[i].message, sizeof outcomes[i].message, "%s", attune_message());
    if (outcomes[i].status == ATTUNE_INTERRUPTED || outcomes[i].status == ATTUNE_DRIVER_FAILED) return i + 1;
  }
  return count;
}

int attune_verb_tune(int argc, char **argv) {
  attune_flags flags;
  attune_store *store = NULL;
  attune_backend *machine = NULL;
  attune_device device;
  attune_workload_item *items = NULL;
  outcome *outcomes = NULL;
  attune_upgrade upgrade; /* before the search */
  int count, code;
  if (!attune_verb_begin(&flags, &code, argc, argv)) return code;
  attune_status status = ATTUNE_OK;
  if (attune_frozen_by_environment())
    status =
        attune_fail(ATTUNE_WOULD_COMPILE, "ATTUNE_FROZEN is set, and tuning compiles and writes: unset it to tune");
  if (status == ATTUNE_OK) status = attune_verb_problems(&items, &count, &flags);
  if (status == ATTUNE_OK) status = attune_verb_open_device(&machine, &device, &flags);
  if (status == ATTUNE_OK) status = attune_verb_open_store(&store, &flags, ATTUNE_STORE_WRITE);
  if (status == ATTUNE_OK) status = attune_upgrade_count(&upgrade, store, &device);
  if (status == ATTUNE_OK && !(outcomes = calloc((size_t)count, sizeof *outcomes)))
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %d problems", count);
  if (status != ATTUNE_OK) {
    code = attune_verb_failed(&flags, status);
    goto out;
  }
  if (!flags.json) attune_upgrade_tell(stderr, &upgrade);
  listen_for_interrupts();
  int begun = tune_all(outcomes, items, count, &flags, store, machine, &device);
  if (flags.json)
    status = print_json(items, outcomes, begun, attune_store_path(store), &device, &upgrade);
  else
    print_table(items, outcomes, begun, attune_store_path(store), &device);
  for (int i = 0; i < begun && (code == 0 || i + 1 == begun); i++) /* the first fault's, or that of the interruption */
    if (code == 0 || outcomes[i].status == ATTUNE_INTERRUPTED) code = attune_exit_code(outcomes[i].status);
  if (*attune_store_warning(store)) fprintf(stderr, "attune: %s\n", attune_store_warning(store));
  if (code == 0 && attune_store_is_forgetful(store)) code = 1;
  if (status != ATTUNE_OK) code = attune_verb_failed(&flags, status);
out:
  free(outcomes);
  free(items);
  if (store) attune_store_close(store);
  if (machine) attune_backend_close(machine);
  return code;
}
