#include "runtime/candidates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  attune_rows *out;
  attune_rows_kind kind;
  const attune_wanted *wanted;
  int capacity;
} search;

/* Whether the row is any of this rung's business: the other rungs have seen, or will see, the rest. */
static bool concerns(const search *s, const attune_measurement *row) {
  switch (s->kind) {
  case ATTUNE_ROWS_NEAR_PROBLEM:
    return strcmp(row->problem, s->wanted->text) != 0;
  case ATTUNE_ROWS_NEAR_DEVICE:
    return strcmp(row->device, s->wanted->identity) != 0;
  case ATTUNE_ROWS_EXACT:
  case ATTUNE_ROWS_MODEL:
    return true;
  }
  return false;
}

/* The third field of a device's identity; 0 where it has none. */
static int sm_count_of(const char *identity) {
  for (int i = 0; i < 2 && identity; i++) {
    identity = strchr(identity, '|');
    if (identity) identity++;
  }
  return identity ? atoi(identity) : 0;
}

/* The reason that the row is no candidate, as the counter for it; NULL: it is one. */
static int *judge(attune_candidate_row *out, const search *s, const attune_measurement *row) {
  attune_rows *rows = s->out;
  attune_config tuned;
  attune_problem problem;
  if (attune_config_parse(&tuned, row->config) != ATTUNE_OK || !row->verified) return &rows->unreadable;
  if (attune_problem_parse(&problem, row->problem) != ATTUNE_OK) return &rows->unreadable;
  if (strcmp(row->generator, attune_generator_hash((attune_family)tuned.family))) return &rows->outdated;
  bool estimate = !strcmp(row->policy, "model");
  if (estimate != (s->kind == ATTUNE_ROWS_MODEL)) return &rows->estimates;
  out->distance = attune_problem_distance(s->wanted->problem, &problem);
  if (!isfinite(out->distance)) return &rows->other_kernel;
  if (out->distance > ATTUNE_FARTHEST) return &rows->far;
  attune_config_for_problem(&out->config, &tuned, s->wanted->problem);
  attune_launch launch;
  if (attune_config_legal(&out->config, s->wanted->device) != ATTUNE_OK ||
      attune_launch_of(&launch, &out->config, s->wanted->problem) != ATTUNE_OK)
    return &rows->illegal;
  return NULL;
}

static bool visit(void *user, const attune_measurement *row) {
  search *s = user;
  attune_rows *rows = s->out;
  attune_candidate_row candidate = {0};
  if (!concerns(s, row)) return true;
  rows->seen++;
  int *reason = judge(&candidate, s, row);
  if (reason) {
    ++*reason;
    return true;
  }
  candidate.same_device = !strcmp(row->device, s->wanted->identity);
  candidate.sm_gap = abs(sm_count_of(row->device) - s->wanted->device->sm_count);
  candidate.median = row->median;
  snprintf(candidate.problem, sizeof candidate.problem, "%s", row->problem);
  snprintf(candidate.device, sizeof candidate.device, "%s", row->device);
  snprintf(candidate.policy, sizeof candidate.policy, "%s", row->policy);
  snprintf(candidate.date, sizeof candidate.date, "%s", row->date ? row->date : "no date");
  if (rows->count == s->capacity) {
    int capacity = s->capacity ? 2 * s->capacity : 16;
    attune_candidate_row *grown = realloc(rows->rows, (size_t)capacity * sizeof *grown);
    if (!grown) return false;
    rows->rows = grown;
    s->capacity = capacity;
  }
  rows->rows[rows->count++] = candidate;
  return true;
}

/* Nearest first; among equals the own device, then the most alike, then the fastest. */
static int compare(const void *a, const void *b) {
  const attune_candidate_row *x = a, *y = b;
  if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
  if (x->same_device != y->same_device) return x->same_device ? -1 : 1;
  if (x->sm_gap != y->sm_gap) return x->sm_gap < y->sm_gap ? -1 : 1;
  if (x->median != y->median) return x->median < y->median ? -1 : 1;
  return attune_config_compare(&x->config, &y->config);
}

void attune_rows_find(attune_rows *out, attune_rows_kind kind, attune_store *store, const attune_wanted *wanted) {
  *out = (attune_rows){0};
  if (!store) return;
  const attune_measurement_filter filters[] = {
      [ATTUNE_ROWS_EXACT] = {.problem = wanted->text, .device = wanted->identity},
      [ATTUNE_ROWS_NEAR_PROBLEM] = {.device = wanted->identity},
      [ATTUNE_ROWS_NEAR_DEVICE] = {.arch = wanted->arch},
      [ATTUNE_ROWS_MODEL] = {.problem = wanted->text, .arch = wanted->arch, .policy = "model"},
  };
  search s = {.out = out, .kind = kind, .wanted = wanted};
  (void)attune_store_choices(store, &filters[kind], visit, &s); /* a store that fails is one without rows */
  if (out->count) qsort(out->rows, (size_t)out->count, sizeof *out->rows, compare);
}
