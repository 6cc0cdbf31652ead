/* What the verbs that work with a store share. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tuner/command/verbs.h"

attune_status attune_verb_open_store(attune_store **out, const attune_flags *flags, attune_store_use use) {
  attune_store_options options = {.path = flags->database,
                                  .frozen = use == ATTUNE_STORE_READ || attune_frozen_by_environment(),
                                  .required = use != ATTUNE_STORE_CACHE,
                                  .locate = attune_problem_locate,
                                  .translate = attune_text_renamed};
  attune_status status = attune_store_open(out, &options);
  if (status == ATTUNE_OK && *attune_store_warning(*out)) fprintf(stderr, "attune: %s\n", attune_store_warning(*out));
  return status;
}

attune_status attune_verb_open_device(attune_backend **machine, attune_device *device, const attune_flags *flags) {
  *machine = NULL;
  bool modelled;
  attune_status status = attune_device_modelled(device, &modelled, flags);
  if (status == ATTUNE_OK && modelled && flags->device && strcmp(flags->device, "host") != 0)
    status = attune_fail(ATTUNE_BAD_ARGUMENT,
                         "--arch and --like ask for estimates, --device %s for measurements: give one of them",
                         flags->device);
  if (status != ATTUNE_OK || modelled) return status;
  status = attune_backend_open(machine, attune_device_name(flags), flags->seed);
  if (status == ATTUNE_OK) *device = *attune_backend_device(*machine);
  return status;
}

attune_status attune_verb_problems(attune_workload_item **items, int *count, const attune_flags *flags) {
  *items = NULL;
  *count = 0;
  if (flags->workload) {
    if (flags->seen)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "--workload names its problems itself: drop the other problem flags");
    return attune_workload_read(items, count, flags->workload);
  }
  attune_workload_item *item = calloc(1, sizeof *item);
  if (!item) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a problem");
  char text[ATTUNE_TEXT_MAX];
  item->given = flags->given;
  attune_status status = attune_problem_of_config(&item->problem, flags);
  if (status == ATTUNE_OK) status = attune_problem_print(text, &item->problem);
  if (status != ATTUNE_OK) {
    free(item);
    return status;
  }
  snprintf(item->name, sizeof item->name, "%.*s", (int)sizeof item->name - 1, text);
  *items = item;
  *count = 1;
  return ATTUNE_OK;
}

double attune_tflops(const attune_problem *problem, double seconds) {
  return seconds > 0 && !attune_problem_is_sparse(problem) ? attune_problem_flops(problem) / seconds * 1e-12 : 0;
}

void attune_print_tflops(char out[24], const attune_problem *problem, double seconds) {
  enum { SIZE = 24 };
  const double tflops = attune_tflops(problem, seconds);
  snprintf(out, SIZE, tflops > 0 ? "%.1f" : "-", tflops);
}

/* The keys of one problem of a list, in the order in which they are printed. */
json_t *attune_item_to_json(const attune_workload_item *item, attune_status status) {
  return json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", item->name, "status", attune_status_name(status), "message",
                   status != ATTUNE_OK ? attune_json_text(attune_message()) : json_null(), "problem",
                   attune_problem_to_json(&item->problem, &item->given), "class", attune_json_class(&item->problem));
}

json_t *attune_measurement_to_json(const attune_measurement *row) {
  const double us = 1e6;
  const bool timed = row->median > 0;
  return json_pack(
      "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:i, s:o, s:o, s:s?, s:s?, s:s?, s:s?, s:s?, s:s}",
      "class", row->problem, "device_identity", row->device, "arch", row->arch, "policy", row->policy, "result_hash",
      row->result_hash, "config", row->config, "measured", attune_measured_name(row->status), "verified", row->verified,
      "time_us", attune_json_time(row->median * us), "time_low_us", attune_json_time(row->low * us), "time_high_us",
      attune_json_time(row->high * us), "samples", timed ? row->sample_count : 0, "error",
      row->error_bound > 0 || !isfinite(row->error) ? attune_json_number(row->error) : json_null(), "error_bound",
      attune_json_time(row->error_bound), "compiler", attune_text_or_null(row->compiler), "driver",
      attune_text_or_null(row->driver), "clocks", attune_text_or_null(row->clocks), "tool",
      attune_text_or_null(row->tool), "note", attune_text_or_null(row->note), "date", row->date);
}

bool attune_append_row(void *rows, const attune_measurement *row) {
  attune_json_rows *self = rows;
  self->status = attune_json_append(self->array, attune_measurement_to_json(row));
  return self->status == ATTUNE_OK;
}
