/* attune store: what is stored, in and out as JSON, and forgetting it. */
#include <stdlib.h>
#include <string.h>

#include "generator/base/nearest.h"
#include "tuner/command/columns.h"
#include "tuner/command/table.h"
#include "tuner/command/verbs.h"
#include "tuner/files/file.h"
#include "tuner/files/problem_parts.h"

enum { LARGEST_IMPORT = 1 << 30 };

/* Which rows: those that the given flags name. */
typedef struct {
  attune_measurement_filter filter;
  char problem[ATTUNE_TEXT_MAX], device[256], arch[16];
} selection;

static attune_status select_rows(selection *out, const attune_flags *flags) {
  attune_status status = ATTUNE_OK;
  attune_device device;
  attune_backend *machine = NULL;
  *out = (selection){0};
  out->filter.config = flags->config;
  if (flags->seen) {
    status = attune_problem_print(out->problem, &flags->problem);
    out->filter.problem = out->problem;
  }
  if (status == ATTUNE_OK && flags->arch) {
    status = attune_device_of_arch(&device, flags->arch);
    if (status == ATTUNE_OK) snprintf(out->arch, sizeof out->arch, device.arch ? "sm_%d" : "host", (int)device.arch);
    out->filter.arch = out->arch;
  }
  if (status == ATTUNE_OK && flags->device) {
    status = attune_backend_open(&machine, flags->device, 0);
    if (status == ATTUNE_OK) status = attune_device_identity(out->device, attune_backend_device(machine));
    if (machine) attune_backend_close(machine);
    out->filter.device = out->device;
  }
  return status;
}

static bool selects_all(const selection *selection) {
  const attune_measurement_filter *filter = &selection->filter;
  return !filter->problem && !filter->device && !filter->arch && !filter->config;
}

static attune_status info(attune_store *store, const attune_flags *flags) {
  attune_store_counts counts;
  attune_upgrade upgrade;
  attune_status status = attune_store_count(store, &counts);
  if (status == ATTUNE_OK) status = attune_upgrade_count(&upgrade, store, NULL);
  if (status != ATTUNE_OK) return status;
  if (flags->json)
    return attune_print_json(
        json_pack("{s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "store", attune_store_path(store), "warning",
                  attune_text_or_null(attune_store_warning(store)), "kernels", (json_int_t)counts.kernels,
                  "kernel_bytes", (json_int_t)counts.kernel_bytes, "measurements", (json_int_t)counts.measurements,
                  "choices", (json_int_t)counts.choices, "outdated", (json_int_t)upgrade.outdated, "unchecked",
                  (json_int_t)upgrade.unknown, "damaged", (json_int_t)counts.damaged));
  printf("path          %s\n", attune_store_path(store));
  printf("kernels       %lld, %.1f MB\n", (long long)counts.kernels, (double)counts.kernel_bytes * 1e-6);
  printf("measurements  %lld\nchoices       %lld\n", (long long)counts.measurements, (long long)counts.choices);
  if (upgrade.outdated)
    printf("outdated      %lld of the choices: an upgrade of Attune changed their kernels; attune tune measures anew\n",
           (long long)upgrade.outdated);
  if (upgrade.unknown)
    printf("unchecked     %lld of the choices: of problems with expressions, which attune explain checks\n",
           (long long)upgrade.unknown);
  if (counts.damaged) printf("damaged       %lld\n", (long long)counts.damaged);
  return ATTUNE_OK;
}

static const attune_column columns[] = {{"median", 10, 0}, {"status", -14, 0}, {"policy", -21, 0}, {"device", -30, 1}};
enum { COLUMN_COUNT = sizeof columns / sizeof *columns };

static bool print_row(void *user, const attune_measurement *row) {
  char median[24], device[31];
  attune_columns *table = user;
  attune_print_seconds(median, row->median);
  snprintf(device, sizeof device, "%.*s", (int)strcspn(row->device, "|"), row->device);
  const char *const cells[COLUMN_COUNT] = {median, attune_measured_name(row->status), row->policy, device};
  if (table->count == 0) attune_columns_begin(table, stdout, columns, COLUMN_COUNT, attune_terminal_width());
  attune_columns_row(table, cells);
  printf("  %s\n  of %s\n", row->config, row->problem);
  return true;
}

/* The choices, or with "rows" every measurement. */
static attune_status list(attune_store *store, const attune_flags *flags, const selection *selection) {
  attune_json_rows told = {.array = flags->json ? json_array() : NULL};
  attune_columns table = {0};
  bool every = flags->rest_count == 2 && strcmp(flags->rest[1], "rows") == 0;
  attune_measurement_visit *visit = flags->json ? attune_append_row : print_row;
  void *user = flags->json ? (void *)&told : (void *)&table;
  attune_status status = every ? attune_store_measurements(store, &selection->filter, visit, user)
                               : attune_store_choices(store, &selection->filter, visit, user);
  if (status == ATTUNE_OK) status = told.status;
  if (status == ATTUNE_OK && flags->json)
    status = attune_print_json(json_pack("{s:s, s:O}", "store", attune_store_path(store), "rows", told.array));
  json_decref(told.array);
  if (status == ATTUNE_OK && !flags->json && table.count == 0) printf("nothing stored: attune tune makes rows\n");
  return status;
}

static attune_status export_rows(attune_store *store, const selection *selection, const char *path) {
  char *json;
  attune_status status = attune_store_export(store, &selection->filter, &json);
  if (status != ATTUNE_OK) return status;
  status = attune_file_write(path ? path : "-", json, strlen(json));
  free(json);
  return status;
}

static attune_status import_rows(attune_store *store, const attune_flags *flags) {
  char *json;
  size_t size;
  int64_t added;
  attune_status status = attune_file_read(&json, &size, flags->rest[1], LARGEST_IMPORT);
  if (status != ATTUNE_OK) return status;
  status = attune_store_import(store, json, size, &added);
  free(json);
  if (status == ATTUNE_BAD_JSON) return attune_fail(status, "%s: %s", flags->rest[1], attune_message());
  if (status != ATTUNE_OK) return status;
  if (flags->json)
    return attune_print_json(json_pack("{s:s, s:I}", "store", attune_store_path(store), "added", (json_int_t)added));
  printf("%lld rows added to %s\n", (long long)added, attune_store_path(store));
  return ATTUNE_OK;
}

static attune_status forget(attune_store *store, const attune_flags *flags, const selection *selection) {
  bool all = flags->rest_count == 2 && strcmp(flags->rest[1], "all") == 0;
  int64_t deleted;
  if (selects_all(selection) && !all)
    return attune_fail(ATTUNE_BAD_ARGUMENT,
                       "attune store forget needs to know what: --problem, --device, --arch or --config, or the word "
                       "'all'");
  attune_status status = attune_store_forget(store, &selection->filter, &deleted);
  if (status != ATTUNE_OK) return status;
  if (flags->json)
    return attune_print_json(
        json_pack("{s:s, s:I}", "store", attune_store_path(store), "deleted", (json_int_t)deleted));
  printf("%lld rows deleted from %s\n", (long long)deleted, attune_store_path(store));
  return ATTUNE_OK;
}

static attune_status path(attune_store *store, const attune_flags *flags) {
  if (flags->json) return attune_print_json(json_pack("{s:s}", "store", attune_store_path(store)));
  printf("%s\n", attune_store_path(store));
  return ATTUNE_OK;
}

typedef enum { INFO, LIST, EXPORT, IMPORT, FORGET, PATH, ACTION_COUNT } action; /* in the order of the verb's table */

/* What the words ask for. */
static attune_status action_of(action *out, const attune_flags *flags) {
  const char *names[ATTUNE_FLAGS_MAX];
  char nearest[160];
  const attune_verb *verb = attune_verb_of("store");
  *out = INFO;
  if (flags->rest_count == 0) return ATTUNE_OK;
  attune_action_names(names, verb);
  const int index = attune_word_index(names, flags->rest[0]);
  if (index < 0)
    return attune_fail(ATTUNE_BAD_ARGUMENT,
                       "attune store has no \"%.40s\"%s; it has info, list, export, import, forget and path",
                       flags->rest[0], attune_did_you_mean(nearest, flags->rest[0], names, ""));
  const attune_action *row = &verb->actions[index];
  const char *word = flags->rest_count == 2 ? flags->rest[1] : "";
  const bool known = (index != LIST || strcmp(word, "rows") == 0) && (index != FORGET || strcmp(word, "all") == 0);
  *out = (action)index;
  if (flags->rest_count >= row->least && flags->rest_count <= row->most && (known || flags->rest_count == 1))
    return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_ARGUMENT, "usage: attune store %s %s", row->name, row->arguments);
}

static attune_status perform(action action, attune_store *store, const attune_flags *flags,
                             const selection *selection) {
  switch (action) {
  case INFO:
    return info(store, flags);
  case LIST:
    return list(store, flags, selection);
  case EXPORT:
    return export_rows(store, selection, flags->rest_count == 2 ? flags->rest[1] : NULL);
  case IMPORT:
    return import_rows(store, flags);
  case FORGET:
    return forget(store, flags, selection);
  default:
    return path(store, flags);
  }
}

int attune_verb_store(int argc, char **argv) {
  attune_flags flags;
  attune_store *store = NULL;
  selection selection;
  int code;
  if (!attune_verb_begin(&flags, &code, argc, argv)) return code;
  action action;
  attune_status status = action_of(&action, &flags);
  if (status == ATTUNE_OK) status = select_rows(&selection, &flags);
  if (status == ATTUNE_OK)
    status = attune_verb_open_store(&store, &flags,
                                    action == IMPORT || action == FORGET ? ATTUNE_STORE_WRITE : ATTUNE_STORE_READ);
  if (status == ATTUNE_OK) status = perform(action, store, &flags, &selection);
  if (status != ATTUNE_OK) code = attune_verb_failed(&flags, status);
  if (store) attune_store_close(store);
  return code;
}
