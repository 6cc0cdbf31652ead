/* The legal space of a problem as a list of trials, and which of them to try next. */
#include <stdlib.h>
#include <string.h>

#include "tuner/search.h"

typedef struct {
  attune_trials *trials;
  int capacity;
  bool skip_reference, failed;
} collection;

static bool add(collection *collection, const attune_config *config) {
  attune_trials *trials = collection->trials;
  if (trials->count == collection->capacity) {
    int capacity = collection->capacity ? 2 * collection->capacity : 256;
    attune_trial *all = realloc(trials->all, (size_t)capacity * sizeof *all);
    if (!all) return false;
    trials->all = all;
    collection->capacity = capacity;
  }
  attune_trial *trial = &trials->all[trials->count];
  *trial = (attune_trial){.config = *config};
  if (attune_config_print(trial->text, config) != ATTUNE_OK) return false;
  trials->count++;
  return true;
}

static bool visit(void *user, const attune_config *config, bool legal, const char *reason) {
  collection *collection = user;
  (void)reason;
  if (collection->skip_reference && config->family == ATTUNE_FAMILY_REFERENCE) return true;
  collection->trials->candidates++;
  if (legal && !add(collection, config)) collection->failed = true;
  return !collection->failed;
}

static int by_config(const void *a, const void *b) {
  const attune_trial *x = a, *y = b;
  return attune_config_compare(&x->config, &y->config);
}

static int by_seconds(const void *a, const void *b) {
  const attune_trial *x = a, *y = b;
  if (x->seconds != y->seconds) return x->seconds < y->seconds ? -1 : 1;
  return x->complexity - y->complexity;
}

static attune_status family_of(int *out, const char *name) {
  *out = -1;
  if (!name) return ATTUNE_OK;
  for (int family = 0; family < ATTUNE_FAMILY_COUNT; family++)
    if (strcmp(name, attune_family_name((attune_family)family)) == 0) *out = family;
  if (*out < 0) return attune_fail(ATTUNE_BAD_ARGUMENT, "no family is called '%s'", name);
  return ATTUNE_OK;
}

attune_status attune_trials_collect(attune_trials *out, const attune_problem *problem, const attune_device *device,
                                    const char *family_name) {
  int family;
  attune_config initial;
  *out = (attune_trials){0};
  collection collection = {.trials = out, .skip_reference = !family_name};
  attune_estimate_memo memo = {.count = 0};
  attune_status status = family_of(&family, family_name);
  if (status != ATTUNE_OK) return status;
  status = attune_space(problem, device, family, visit, &collection);
  if (status == ATTUNE_OK && !collection.failed && out->count == 0 && collection.skip_reference) {
    status = attune_config_reference(&initial, problem);
    if (status == ATTUNE_OK) collection.failed = !add(&collection, &initial);
  }
  if (status == ATTUNE_OK && collection.failed)
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the space of %d configs", out->count);
  if (status == ATTUNE_OK && out->count == 0)
    status = attune_fail(ATTUNE_ILLEGAL_CONFIG, "none of the %d configs of family '%s' is legal on %s", out->candidates,
                         family_name, device->name);
  if (status == ATTUNE_OK) status = attune_config_default(&initial, problem, device);
  if (status != ATTUNE_OK) {
    attune_trials_free(out);
    return status;
  }
  qsort(out->all, (size_t)out->count, sizeof *out->all, by_config);
  for (int i = 0; i < out->count; i++) {
    attune_trial *trial = &out->all[i];
    trial->seconds = attune_estimate_with(&trial->config, problem, device, 0, 0, &memo);
    trial->complexity = i + 1;
  }
  qsort(out->all, (size_t)out->count, sizeof *out->all, by_seconds);
  out->initial = &out->all[0]; /* of a family that is not the default's */
  for (int i = 0; i < out->count; i++)
    if (attune_config_compare(&out->all[i].config, &initial) == 0) out->initial = &out->all[i];
  out->initial->complexity = 0;
  return ATTUNE_OK;
}

void attune_trials_free(attune_trials *trials) {
  for (int i = 0; i < trials->count; i++) {
    if (trials->all[i].loaded) attune_unload(trials->all[i].loaded);
    free(trials->all[i].kernel);
    attune_timing_free(&trials->all[i].timing);
  }
  free(trials->all);
  *trials = (attune_trials){0};
}

static bool recall(void *user, const attune_measurement *row) {
  attune_trials *trials = user;
  for (int i = 0; i < trials->count; i++) {
    attune_trial *trial = &trials->all[i];
    if (strcmp(row->config, trial->text) != 0) continue;
    if (strcmp(row->generator, attune_generator_hash((attune_family)trial->config.family)) != 0) break;
    trial->tried = true;
    trial->status = row->status;
    trial->verified = row->verified;
    trial->error = row->error;
    trial->bound = row->error_bound;
    snprintf(trial->note, sizeof trial->note, "%s", row->note);
    if (row->status == ATTUNE_MEASURED_OK) trial->seconds = row->median;
    break;
  }
  return true;
}

attune_status attune_trials_recall(attune_trials *trials, attune_store *store, const attune_measurement_filter *filter,
                                   int *recalled) {
  attune_status status = attune_store_measurements(store, filter, recall, trials);
  *recalled = 0;
  for (int i = 0; i < trials->count; i++)
    *recalled += trials->all[i].tried;
  return status;
}

/* Inserts by seconds, then by complexity; drops the last where there is no room. */
static int insert(attune_trial **out, int count, int most, attune_trial *trial) {
  int at = count;
  while (at > 0 && by_seconds(trial, out[at - 1]) < 0)
    at--;
  if (at >= most) return count;
  if (count == most) count--;
  memmove(out + at + 1, out + at, (size_t)(count - at) * sizeof *out);
  out[at] = trial;
  return count + 1;
}

int attune_trials_best(const attune_trials *trials, attune_trial **out, int most) {
  int count = 0;
  for (int i = 0; i < trials->count; i++)
    if (trials->all[i].tried && trials->all[i].status == ATTUNE_MEASURED_OK)
      count = insert(out, count, most, &trials->all[i]);
  return count;
}

int attune_trials_next(const attune_trials *trials, attune_trial **out, int most) {
  int count = 0;
  if (!trials->initial->tried && most > 0) out[count++] = trials->initial;
  for (int i = 0; i < trials->count && count < most; i++)
    if (!trials->all[i].tried && &trials->all[i] != trials->initial) out[count++] = &trials->all[i];
  return count;
}

static bool same_shape(const attune_config *a, const attune_config *b) {
  return a->family == b->family && a->tile_m == b->tile_m && a->tile_n == b->tile_n && a->warps == b->warps &&
         a->q_registers == b->q_registers && a->blocks == b->blocks;
}

static bool shape_is_new(const attune_trials *trials, attune_trial *const *picked, int count,
                         const attune_trial *trial) {
  for (int i = 0; i < count; i++)
    if (same_shape(&picked[i]->config, &trial->config)) return false;
  for (int i = 0; i < trials->count; i++)
    if (trials->all[i].tried && same_shape(&trials->all[i].config, &trial->config)) return false;
  return true;
}

int attune_trials_diverse(const attune_trials *trials, attune_trial **out, int most) {
  int count = 0;
  if (!trials->initial->tried && most > 0) out[count++] = trials->initial;
  for (int i = 0; i < trials->count && count < most; i++)
    if (!trials->all[i].tried && shape_is_new(trials, out, count, &trials->all[i])) out[count++] = &trials->all[i];
  return count;
}

/* In how many fields of the schedule they differ; more than any schedule has if not in the schedule alone. More rows
 * and the warps for them are one step. */
static int steps_between(const attune_config *a, const attune_config *b) {
  int steps = 0;
  for (int i = 0; i < attune_config_field_count; i++) {
    const attune_config_field *field = &attune_config_fields[i];
    int32_t x, y;
    memcpy(&x, (const char *)a + field->offset, sizeof x);
    memcpy(&y, (const char *)b + field->offset, sizeof y);
    if (x == y) continue;
    if (!field->schedule) return attune_config_field_count;
    if (field->offset == offsetof(attune_config, warps) && a->tile_m != b->tile_m) continue;
    steps++;
  }
  return steps;
}

int attune_trials_near(const attune_trials *trials, int around, attune_trial **out, int most) {
  attune_trial *best[16];
  int centres = attune_trials_best(trials, best, around < 16 ? around : 16), count = 0;
  for (int i = 0; i < trials->count; i++) {
    attune_trial *trial = &trials->all[i];
    if (trial->tried) continue;
    for (int centre = 0; centre < centres; centre++) {
      if (steps_between(&best[centre]->config, &trial->config) != 1) continue;
      count = insert(out, count, most, trial);
      break;
    }
  }
  return count;
}
