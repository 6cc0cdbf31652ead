#include "runtime/candidates.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- is a row what would run now? ---- */

/* A class knows its expressions' number only; the texts are those of a problem that has the same. */
static attune_status problem_of_class(attune_problem *out, const char *class_text, const attune_problem *like) {
  attune_status status = attune_problem_parse(out, class_text);
  const int32_t number = status == ATTUNE_OK ? attune_problem_expression_hash(out) : 0;
  int32_t same = 0;
  if (number == 0) return status;
  if (like != NULL) status = attune_problem_number_expressions(&same, like);
  if (status == ATTUNE_OUT_OF_MEMORY) return status;
  if (same != number) {
    return attune_fail(ATTUNE_BAD_EXPRESSION, "the expressions of %s are not at hand", class_text);
  }
  attune_problem_take_expressions(out, like);
  return ATTUNE_OK;
}

static char tool[96];

static void write_tool(void) {
  snprintf(tool, sizeof tool, "%s %s", attune_version(), attune_fingerprint);
}

const char *attune_tool(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, write_tool);
  return tool;
}

bool attune_result_is_current(const attune_measurement *row, const attune_config *config, const attune_problem *like) {
  if (strcmp(row->tool, attune_tool()) == 0) return true;
  if (strncmp(row->result_hash, "v1:", 3) == 0) return false;
  attune_problem problem;
  char now[65];
  return problem_of_class(&problem, row->problem, like) == ATTUNE_OK &&
         attune_result_hash(now, config, &problem, row->arch) == ATTUNE_OK && strcmp(now, row->result_hash) == 0;
}

/* ---- where a problem stands ---- */

/* Whole doublings. */
static int32_t coordinate(int32_t size) {
  return size > 0 ? (int32_t)lround(log2((double)size)) : -1;
}

_Static_assert((int)ATTUNE_AXES == (int)ATTUNE_PROBLEM_SIZES, "the store has an axis for each size");

bool attune_problem_locate(attune_position *out, const char *problem) {
  attune_problem p;
  char class[ATTUNE_TEXT_MAX];
  int32_t sizes[ATTUNE_PROBLEM_SIZES];
  if (attune_problem_parse(&p, problem) != ATTUNE_OK || attune_problem_place(class, sizes, &p) != ATTUNE_OK ||
      strlen(class) >= sizeof out->class)
    return false;
  memcpy(out->class, class, strlen(class) + 1);
  for (int i = 0; i < ATTUNE_AXES; i++)
    out->coordinates[i] = coordinate(sizes[i]);
  return true;
}

attune_status attune_wanted_of(attune_wanted *out, const attune_problem *problem, const attune_device *device) {
  *out = (attune_wanted){.problem = problem, .device = device};
  attune_status status = attune_problem_print(out->text, problem);
  if (status == ATTUNE_OK) status = attune_device_identity(out->identity, device);
  if (device->arch)
    snprintf(out->arch, sizeof out->arch, "sm_%d", device->arch);
  else
    snprintf(out->arch, sizeof out->arch, "host");
  if (status == ATTUNE_OK && !attune_problem_locate(&out->position, out->text))
    return attune_fail(ATTUNE_BAD_ARGUMENT, "the problem %s has no position among others", out->text);
  return status;
}

/* ---- rows as candidates ---- */

typedef struct {
  attune_candidates *out;
  attune_candidates_kind kind;
  const attune_wanted *wanted;
} search;

/* The third field of a device's identity; 0 where it has none. */
static int sm_count_of(const char *identity) {
  for (int i = 0; i < 2 && identity; i++) {
    identity = strchr(identity, '|');
    if (identity) identity++;
  }
  return identity ? atoi(identity) : 0;
}

/* The reason that the row is no candidate, as the counter for it; NULL: it is one. */
static int *reason_against(attune_candidate *out, const search *s, const attune_measurement *row) {
  attune_candidates *candidates = s->out;
  attune_problem problem;
  if (attune_config_parse(&out->tuned, row->config) != ATTUNE_OK || !row->verified) return &candidates->unreadable;
  if (attune_problem_parse(&problem, row->problem) != ATTUNE_OK) return &candidates->unreadable;
  const bool estimate = strcmp(row->policy, "model") == 0;
  if (estimate != (s->kind == ATTUNE_CANDIDATES_MODEL)) return &candidates->estimates;
  out->distance = attune_problem_distance(s->wanted->problem, &problem);
  if (!isfinite(out->distance)) return &candidates->other_kernel;
  if (out->distance > ATTUNE_FARTHEST) return &candidates->far;
  attune_config_for_problem(&out->config, &out->tuned, s->wanted->problem);
  return NULL;
}

static bool append(attune_candidates *out, const attune_candidate *candidate) {
  if (out->count == out->capacity) {
    const int capacity = out->capacity ? 2 * out->capacity : 16;
    attune_candidate *grown = realloc(out->list, (size_t)capacity * sizeof *grown);
    if (!grown) return false;
    out->list = grown;
    out->capacity = capacity;
  }
  out->list[out->count++] = *candidate;
  return true;
}

static bool visit(void *user, const attune_measurement *row) {
  search *s = user;
  attune_candidate candidate = {.same_device = strcmp(row->device, s->wanted->identity) == 0,
                                .sm_gap = abs(sm_count_of(row->device) - s->wanted->device->sm_count),
                                .outdated = row->outdated,
                                .database = row->database,
                                .id = row->id,
                                .median = row->median};
  s->out->seen++;
  int *reason = reason_against(&candidate, s, row);
  if (reason) {
    ++*reason;
    return true;
  }
  snprintf(candidate.problem, sizeof candidate.problem, "%s", row->problem);
  snprintf(candidate.device, sizeof candidate.device, "%s", row->device);
  snprintf(candidate.policy, sizeof candidate.policy, "%s", row->policy);
  snprintf(candidate.date, sizeof candidate.date, "%s", row->date ? row->date : "no date");
  snprintf(candidate.result_hash, sizeof candidate.result_hash, "%s", row->result_hash);
  snprintf(candidate.tool, sizeof candidate.tool, "%s", row->tool);
  return append(s->out, &candidate);
}

/* The same for problems found by position, which may be the wanted one. */
static bool visit_other(void *user, const attune_measurement *row) {
  const search *s = user;
  return strcmp(row->problem, s->wanted->text) == 0 || visit(user, row);
}

/* Nearest first; among equals the own device, then the most alike, then the file that is asked first, then the
 * fastest. */
static int compare(const void *a, const void *b) {
  const attune_candidate *x = a, *y = b;
  if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
  if (x->same_device != y->same_device) return x->same_device ? -1 : 1;
  if (x->sm_gap != y->sm_gap) return x->sm_gap < y->sm_gap ? -1 : 1;
  if (x->database != y->database) return x->database < y->database ? -1 : 1;
  if (x->median != y->median) return x->median < y->median ? -1 : 1;
  return attune_config_compare(&x->config, &y->config);
}

void attune_candidates_find(attune_candidates *out, attune_candidates_kind kind, attune_store *store,
                            const attune_wanted *wanted) {
  *out = (attune_candidates){0};
  if (!store) return;
  search s = {.out = out, .kind = kind, .wanted = wanted};
  const attune_choice_query exact = {.problem = wanted->text, .device = wanted->identity};
  const attune_choice_query near = {.position = &wanted->position, .arch = wanted->arch, .device = wanted->identity};
  const attune_choice_query elsewhere = {
      .problem = wanted->text, .arch = wanted->arch, .other_than_device = wanted->identity};
  const attune_choice_query near_elsewhere = {
      .position = &wanted->position, .arch = wanted->arch, .other_than_device = wanted->identity};
  const attune_choice_query estimates = {.problem = wanted->text, .arch = wanted->arch};
  switch (kind) { /* failing: none */
  case ATTUNE_CANDIDATES_EXACT:
    (void)attune_store_find_choices(store, &exact, visit, &s);
    break;
  case ATTUNE_CANDIDATES_NEAR_PROBLEM:
    (void)attune_store_find_choices(store, &near, visit_other, &s);
    break;
  case ATTUNE_CANDIDATES_NEAR_DEVICE:
    (void)attune_store_find_choices(store, &elsewhere, visit, &s);
    (void)attune_store_find_choices(store, &near_elsewhere, visit_other, &s);
    break;
  case ATTUNE_CANDIDATES_MODEL:
    (void)attune_store_find_choices(store, &estimates, visit, &s);
    break;
  }
  if (out->count) qsort(out->list, (size_t)out->count, sizeof *out->list, compare);
}

void attune_candidates_instead(attune_candidates *out, attune_store *store, const attune_wanted *wanted,
                               const attune_candidate *of, int most) {
  *out = (attune_candidates){0};
  search s = {.out = out, .kind = ATTUNE_CANDIDATES_EXACT, .wanted = wanted};
  const attune_measurement choice = {.problem = of->problem, .device = of->device, .database = of->database};
  (void)attune_store_alternatives(store, &choice, 1.1 * of->median, most, visit, &s); /* failing: none */
}

void attune_candidates_free(attune_candidates *candidates) {
  free(candidates->list);
  *candidates = (attune_candidates){0};
}

attune_candidate_fate attune_candidate_check(const attune_candidate *candidate, const attune_wanted *wanted) {
  attune_launch launch;
  if (attune_config_legal(&candidate->config, wanted->device) != ATTUNE_OK ||
      attune_launch_of(&launch, &candidate->config, wanted->problem) != ATTUNE_OK)
    return ATTUNE_CANDIDATE_ILLEGAL;
  const attune_measurement row = {.problem = candidate->problem,
                                  .arch = wanted->arch,
                                  .result_hash = candidate->result_hash,
                                  .tool = candidate->tool};
  return attune_result_is_current(&row, &candidate->tuned, wanted->problem) ? ATTUNE_CANDIDATE_GOOD
                                                                            : ATTUNE_CANDIDATE_OUTDATED;
}
