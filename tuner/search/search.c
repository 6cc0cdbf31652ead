/* The search for the fastest config of one problem: its effort, the trials, the way that the device allows, the result.
 */
#include <string.h>

#include "tuner/search/search.h"

enum { QUICK_TARGET = 13 /* the default and a dozen */, NORMAL_TARGET = 80 };

static attune_status set_effort(attune_search *search) {
  const char *effort = search->options->effort ? search->options->effort : "normal";
  int count = search->trials.count;
  search->batch = QUICK_TARGET;
  search->finalists = 5;
  if (strcmp(effort, "quick") == 0) {
    search->target = QUICK_TARGET;
  } else if (strcmp(effort, "normal") == 0) {
    search->target = NORMAL_TARGET;
    search->diverse = true;
  } else if (strcmp(effort, "sample") == 0 && strcmp(search->policy, "model") == 0) {
    return attune_fail(
        ATTUNE_BAD_ARGUMENT,
        "effort sample shows what measuring has missed, and nothing is measured on %s; use quick, normal "
        "or exhaustive",
        search->device->name);
  } else if (strcmp(effort, "sample") == 0) {
    search->sampled = true;
    search->batch = ATTUNE_SEARCH_BATCH_MAX / 2;
    search->target = ATTUNE_SEARCH_SAMPLE;
  } else if (strcmp(effort, "exhaustive") == 0) {
    search->exhaustive = true;
    search->target = count;
    search->batch = ATTUNE_SEARCH_BATCH_MAX / 2;
  } else {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "effort is quick, normal, sample or exhaustive, not '%s'", effort);
  }
  if (search->target > count) search->target = count;
  return ATTUNE_OK;
}

/* The best is what the store will answer, so that the table shows what dispatch does; the trials tell the rest. */
static attune_status conclude(attune_search *search) {
  attune_tune_result *result = search->result;
  const attune_trials *trials = &search->trials;
  const bool by_model = strcmp(search->policy, "model") == 0;
  bool found;
  attune_status status = attune_search_choice(result, &found, search, by_model);
  if (status != ATTUNE_OK) return status;
  result->initial = trials->initial->config;
  result->default_seconds = trials->initial->seconds;
  const attune_trial *wrong = NULL;
  for (int i = 0; i < trials->count; i++) {
    const attune_trial *trial = &trials->all[i];
    if (!trial->tried) continue;
    if (trial->status == ATTUNE_MEASURED_OK && trial->seconds > result->worst_seconds)
      result->worst_seconds = trial->seconds;
    if (trial->status != ATTUNE_MEASURED_OK && trial->status != ATTUNE_MEASURED_SKIPPED) wrong = trial;
  }
  if (!found && by_model) { /* nothing to verify with: the estimates stand as they are */
    attune_trial *best;
    found = attune_trials_best(trials, &best, 1) == 1;
    if (found) {
      result->best = best->config;
      result->best_seconds = best->seconds;
    }
  }
  if (found || attune_search_interrupted(search)) return ATTUNE_OK;
  return attune_fail(ATTUNE_WRONG_RESULT, "no config of %d tried for %s works; the last: %s: %s", search->tried,
                     search->problem_text, wrong ? wrong->text : "none", wrong ? wrong->note : "");
}

/* The class has but their number. */
static attune_status take_expressions(attune_problem *out, const attune_problem *problem, const char *class_text) {
  char text[ATTUNE_TEXT_MAX];
  attune_problem_take_expressions(out, problem);
  const attune_status status = attune_problem_print(text, out);
  if (status != ATTUNE_OK || strcmp(text, class_text) == 0) return status;
  return attune_fail(ATTUNE_BAD_EXPRESSION, "the class %s stands for %s", class_text, text);
}

attune_status attune_tune(attune_tune_result *out, attune_store *store, attune_backend *machine,
                          const attune_device *device, const attune_problem *problem,
                          const attune_tune_options *options, const volatile sig_atomic_t *interrupted) {
  bool measures = machine && attune_backend_device(machine)->arch != 0;
  attune_search search = {.store = store,
                          .machine = machine,
                          .device = device,
                          .options = options,
                          .interrupted = interrupted,
                          .policy = measures ? attune_policy : "model",
                          .start = attune_now(),
                          .result = out};
  *out = (attune_tune_result){0};
  snprintf(out->method, sizeof out->method, "%s", measures ? "measured" : "model");
  if (device->arch)
    snprintf(search.arch, sizeof search.arch, "sm_%d", (int)device->arch);
  else
    snprintf(search.arch, sizeof search.arch, "host");
  /* A row stands for its class: an unusual scale, softcap or stride of one run must not decide for all. */
  attune_problem representative;
  attune_status status = attune_problem_print(search.problem_text, problem);
  if (status == ATTUNE_OK) status = attune_problem_parse(&representative, search.problem_text);
  if (status == ATTUNE_OK) status = take_expressions(&representative, problem, search.problem_text);
  if (status == ATTUNE_OK) status = attune_problem_resolve(&search.problem, &representative);
  if (status == ATTUNE_OK) status = attune_device_identity(search.identity, device);
  if (status == ATTUNE_OK) status = attune_trials_collect(&search.trials, &search.problem, device, options->family);
  if (status == ATTUNE_OK) status = set_effort(&search);
  const attune_recall_options stored = {.problem = &search.problem,
                                        .problem_text = search.problem_text,
                                        .device = search.identity,
                                        .arch = search.arch,
                                        .policy = search.policy,
                                        .take = !options->force};
  if (status == ATTUNE_OK) status = attune_trials_recall(&search.trials, store, &stored, &out->reused, &out->outdated);
  if (status != ATTUNE_OK) goto out;
  out->candidates = search.trials.candidates;
  out->legal = search.trials.count;
  search.tried = attune_search_tried(&search.trials);
  attune_progress_open(&search.progress, options->label ? options->label : search.problem_text, !options->progress);
  search.progress.known = search.tried;
  status = measures ? attune_search_by_measuring(&search) : attune_search_by_model(&search);
  attune_progress_close(&search.progress);
  if (status == ATTUNE_OK) status = conclude(&search);
  if (status == ATTUNE_OK && attune_search_interrupted(&search))
    status = attune_fail(ATTUNE_INTERRUPTED,
                         "interrupted after %d of at most %d configs; what was measured or verified is stored in "
                         "%s, and the same command goes on from there",
                         search.tried, search.target, attune_store_path(store));
out:
  out->spent_seconds = attune_now() - search.start;
  attune_trials_free(&search.trials);
  return status;
}
