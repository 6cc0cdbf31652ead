/* attune explain: which config answers for a problem, why, and how its rivals stand. */
#include <stdlib.h>
#include <string.h>

#include "tuner/command/columns.h"
#include "tuner/command/verbs.h"

static const attune_column columns[] = {{"median", 10, 0},  {"low", 10, 2},      {"high", 10, 2},
                                        {"status", -14, 0}, {"verified", -8, 1}, {"policy", -21, 0}};
enum { COLUMN_COUNT = sizeof columns / sizeof *columns };

/* The newest row of each config and policy, by date; the older ones are counted. */
typedef struct {
  attune_columns table;
  json_t *newest;
  int older;
} rows_view;

static void key_of(char out[ATTUNE_TEXT_MAX + 64], const attune_measurement *row) {
  snprintf(out, ATTUNE_TEXT_MAX + 64, "%s %.60s", row->config, row->policy);
}

static bool note_row(void *user, const attune_measurement *row) {
  rows_view *view = user;
  char key[ATTUNE_TEXT_MAX + 64];
  key_of(key, row);
  const char *date = json_string_value(json_object_get(view->newest, key));
  if (date == NULL || strcmp(row->date, date) > 0) json_object_set_new(view->newest, key, json_string(row->date));
  return true;
}

static bool print_row(void *user, const attune_measurement *row) {
  char median[24], low[24], high[24], key[ATTUNE_TEXT_MAX + 64];
  rows_view *view = user;
  attune_columns *table = &view->table;
  key_of(key, row);
  const char *date = json_string_value(json_object_get(view->newest, key));
  if (date == NULL || strcmp(row->date, date) != 0) {
    view->older++;
    return true;
  }
  json_object_del(view->newest, key);
  attune_print_seconds(median, row->median);
  attune_print_seconds(low, row->low);
  attune_print_seconds(high, row->high);
  const char *const cells[COLUMN_COUNT] = {
      median, low, high, attune_measured_name(row->status), row->verified ? "yes" : "no", row->policy};
  if (table->count == 0) {
    putchar('\n');
    attune_columns_begin(table, stdout, columns, COLUMN_COUNT, attune_terminal_width());
  }
  attune_columns_row(table, cells);
  printf("  %s\n", row->config);
  if (*row->note != '\0') printf("  # %s\n", row->note);
  return true;
}

static void print_lines(const char *text) {
  for (size_t length; *text != '\0'; text += length + (text[length] == '\n')) {
    length = strcspn(text, "\n");
    attune_fill(stdout, text, length, 2, 0, attune_terminal_width());
  }
}

static double row_mean(const attune_sparsity *c) {
  return (double)c->kept / (double)c->blocks * (double)c->columns;
}

static void print_census(const attune_sparsity *c) {
  char text[512];
  const int length = snprintf(
      text, sizeof text,
      "%s: of %lld blocks of %d x %d %lld are kept (density %.4f), %lld whole and %lld partly; a row of blocks keeps "
      "%.1f on average, %lld at most",
      c->drawn ? "mask, its block mask drawn by chance" : "mask", (long long)c->blocks, c->block, c->block,
      (long long)c->kept, (double)c->kept / (double)c->blocks, (long long)c->whole, (long long)(c->kept - c->whole),
      row_mean(c), (long long)c->longest);
  attune_fill(stdout, text, (size_t)length, 2, 0, attune_terminal_width());
  if (c->sampled)
    printf("mask: counting stopped after a second's work: these are a sample,\n  %lld of %lld rows of blocks\n",
           (long long)c->rows, (long long)c->all_rows);
}

/* How much work there is, and in which kernels. */
static attune_status print_work(const attune_problem *problem, const attune_config *config,
                                const attune_device *device) {
  attune_steps steps;
  attune_problem resolved;
  char text[256];
  attune_status status = attune_problem_resolve(&resolved, problem);
  if (status == ATTUNE_OK) status = attune_steps_of(&steps, config, &resolved);
  if (status != ATTUNE_OK) return status;
  const bool backward = resolved.operation == ATTUNE_BACKWARD;
  const int length = snprintf(text, sizeof text,
                              "work: %.4g GFLOP in %s products over what mask and window leave; %.4g MB, each tensor "
                              "once",
                              1e-9 * attune_problem_flops(&resolved), backward ? "five" : "two",
                              1e-6 * attune_problem_bytes(&resolved));
  attune_fill(stdout, text, (size_t)length, 2, 0, attune_terminal_width());
  if (backward && config->family != ATTUNE_FAMILY_BACKWARD_WGMMA)
    print_lines("the kernels compute seven products: S and dP twice, so that nothing is added up across blocks\n");
  printf("%d kernel%s:\n", steps.count, steps.count > 1 ? "s, in this order" : "");
  return attune_print_steps(stdout, &steps, device, NULL);
}

static json_t *work_to_json(const attune_problem *problem, const attune_config *config, const attune_device *device) {
  attune_steps steps;
  attune_problem resolved;
  if (attune_problem_resolve(&resolved, problem) != ATTUNE_OK ||
      attune_steps_of(&steps, config, &resolved) != ATTUNE_OK)
    return NULL;
  return json_pack("{s:f, s:f, s:o}", "flops", attune_problem_flops(&resolved), "bytes",
                   attune_problem_bytes(&resolved), "steps", attune_steps_to_json(&steps, device, NULL));
}

static json_t *census_to_json(const attune_sparsity *c) {
  if (c->blocks == 0) return json_null();
  return json_pack("{s:i, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:b, s:b}", "block_size", c->block, "counted",
                   (json_int_t)c->blocks, "kept", (json_int_t)c->kept, "whole", (json_int_t)c->whole, "partial",
                   (json_int_t)(c->kept - c->whole), "density", (double)c->kept / (double)c->blocks, "row_mean",
                   row_mean(c), "row_most", (json_int_t)c->longest, "rows", (json_int_t)c->rows, "all_rows",
                   (json_int_t)c->all_rows, "sampled", c->sampled, "drawn", c->drawn);
}

static attune_status explain(const attune_workload_item *item, const attune_device *device, attune_store *store,
                             int32_t block, json_t *list) {
  attune_choice choice;
  attune_sparsity census;
  char config[ATTUNE_TEXT_MAX], problem[ATTUNE_TEXT_MAX], identity[256];
  attune_measurement_filter filter = {.problem = problem, .device = identity};
  attune_status status = attune_choose(&choice, store, &item->problem, device);
  if (status != ATTUNE_OK) return status;
  status = attune_config_print(config, &choice.config);
  if (status == ATTUNE_OK) status = attune_sparsity_of(&census, &item->problem, &item->given, block);
  if (status == ATTUNE_OK) status = attune_problem_print(problem, &item->problem);
  if (status == ATTUNE_OK) status = attune_device_identity(identity, device);
  if (status == ATTUNE_OK && list) {
    attune_json_rows rows = {.array = json_array()};
    json_t *object = attune_item_to_json(item, ATTUNE_OK);
    status = attune_store_measurements(store, &filter, attune_append_row, &rows);
    if (status == ATTUNE_OK) status = rows.status;
    json_t *more = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "config", config, "source", choice.source, "explanation",
                             choice.explanation, "blocks", census_to_json(&census), "work",
                             work_to_json(&item->problem, &choice.config, device), "rows", rows.array);
    if (json_object_update(object, more) != 0 && status == ATTUNE_OK) status = attune_json_append(list, NULL);
    json_decref(more);
    if (status == ATTUNE_OK)
      status = attune_json_append(list, object);
    else
      json_decref(object);
  } else if (status == ATTUNE_OK) {
    rows_view view = {.newest = json_object()};
    if (census.blocks > 0) print_census(&census);
    print_lines(choice.explanation);
    printf("\nanswer: %s\n  by the source \"%s\"\n", config, choice.source);
    status = print_work(&item->problem, &choice.config, device);
    if (status == ATTUNE_OK) status = attune_store_measurements(store, &filter, note_row, &view);
    if (status == ATTUNE_OK) status = attune_store_measurements(store, &filter, print_row, &view);
    json_decref(view.newest);
    if (view.table.count == 0) printf("no rows for this problem on this device: attune tune makes them\n");
    if (view.older > 0) printf("%d older rows of these configs: attune store list rows\n", view.older);
  }
  free(choice.explanation);
  return status;
}

int attune_verb_explain(int argc, char **argv) {
  attune_flags flags;
  attune_store *store = NULL;
  attune_backend *machine = NULL;
  attune_device device;
  attune_workload_item *items = NULL;
  json_t *list = NULL;
  attune_upgrade upgrade;
  int count, code;
  if (!attune_verb_begin(&flags, &code, argc, argv)) return code;
  attune_status status = attune_verb_problems(&items, &count, &flags);
  if (status == ATTUNE_OK) status = attune_verb_open_device(&machine, &device, &flags);
  if (status == ATTUNE_OK) status = attune_verb_open_store(&store, &flags, ATTUNE_STORE_READ);
  if (status == ATTUNE_OK) status = attune_upgrade_count(&upgrade, store, &device);
  if (status == ATTUNE_OK && !flags.json) attune_upgrade_tell(stderr, &upgrade);
  if (status == ATTUNE_OK && flags.json) list = json_array();
  for (int i = 0; status == ATTUNE_OK && i < count; i++)
    status = explain(&items[i], &device, store, flags.block_size, list);
  if (status == ATTUNE_OK && list)
    status = attune_print_json(json_pack("{s:s, s:s, s:I, s:I, s:O}", "store", attune_store_path(store), "device",
                                         device.name, "outdated", (json_int_t)upgrade.outdated, "unchecked",
                                         (json_int_t)upgrade.unknown, "problems", list));
  if (status != ATTUNE_OK) code = attune_verb_failed(&flags, status);
  json_decref(list);
  free(items);
  if (store) attune_store_close(store);
  if (machine) attune_backend_close(machine);
  return code;
}
