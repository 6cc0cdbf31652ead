/* What both ways to search do with a batch of trials: show progress, compile, write rows, ask for the store's choice.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tuner/search/search.h"
#include "tuner/verify/parallel.h"

bool attune_search_interrupted(const attune_search *search) {
  return search->interrupted && *search->interrupted;
}

bool attune_search_over(const attune_search *search) {
  double budget = search->options->budget_seconds;
  return attune_search_interrupted(search) || (budget > 0 && attune_now() - search->start >= budget);
}

int attune_search_threads(const attune_search *search) {
  return search->options->jobs > 0 ? search->options->jobs : attune_cores();
}

void attune_pace_learn(attune_pace *pace, const attune_search *search, int trials, double seconds) {
  const int threads = attune_search_threads(search);
  pace->seconds += seconds;
  pace->rounds += (trials + threads - 1) / threads;
}

int attune_search_fitting(const attune_search *search, const attune_pace *pace, int most, double to_be_left) {
  static const double slower = 1.2; /* than the mean, as some rounds are */
  const double budget = search->options->budget_seconds;
  const int threads = attune_search_threads(search);
  double rounds = 1;
  if (budget <= 0) return most;
  if (pace->seconds > 0)
    rounds = floor((budget - to_be_left - (attune_now() - search->start)) * pace->rounds / (slower * pace->seconds));
  if (rounds < 1) return 0;
  return rounds * threads < most ? (int)rounds * threads : most;
}

int attune_search_near(attune_search *search, int around, attune_trial **out, int most) {
  return attune_trials_near(&search->trials, &search->problem, search->device, around, out, most);
}

void attune_search_show(attune_search *search, const char *doing, int done) {
  attune_trial *best;
  bool any = attune_trials_best(&search->trials, &best, 1) == 1;
  int moved = search->tried + done; /* what is only verified after its ranking counts once */
  attune_progress_draw(&search->progress, doing, moved < search->target ? moved : search->target, search->target,
                       any ? best->seconds : 0, attune_now() - search->start, search->options->budget_seconds);
}

attune_status attune_search_record(attune_search *search, attune_trial *trial, const char *clocks) {
  bool ranked = trial->status == ATTUNE_MEASURED_OK, timed = ranked && trial->timing.count > 0;
  attune_measurement row = {.problem = search->problem_text,
                            .device = search->identity,
                            .arch = search->arch,
                            .policy = search->policy,
                            .result_hash = attune_trial_hash(trial, &search->problem, search->arch),
                            .config = trial->text,
                            .complexity = trial->complexity,
                            .status = trial->status,
                            .verified = trial->verified,
                            .samples = timed ? trial->timing.samples : NULL,
                            .sample_count = timed ? trial->timing.count : 0,
                            .median = ranked ? trial->seconds : 0,
                            .low = timed    ? trial->timing.low
                                   : ranked ? trial->seconds
                                            : 0,
                            .high = timed    ? trial->timing.high
                                    : ranked ? trial->seconds
                                             : 0,
                            .error = trial->error,
                            .error_bound = trial->error_bound,
                            .compiler = trial->compiler,
                            .driver = search->machine ? attune_backend_driver(search->machine) : "",
                            .clocks = clocks,
                            .tool = attune_tool(),
                            .note = trial->note,
                            .compile_seconds = trial->compile_seconds,
                            .verify_seconds = trial->verify_seconds,
                            .measure_seconds = trial->measure_seconds};
  trial->tried = true;
  return attune_store_put_measurement(search->store, &row);
}

attune_status attune_search_record_failure(attune_search *search, attune_trial *trial, attune_measured status) {
  trial->status = status;
  trial->verified = false;
  search->result->failed++;
  if (trial->note[0] == '\0' || status == ATTUNE_MEASURED_LAUNCH_FAILED) /* weightier than what the compiler remarked */
    snprintf(trial->note, sizeof trial->note, "%s", attune_message());
  return attune_search_record(search, trial, "");
}

/* A kernel that is passed over costs a compilation only: three of them count as one. */
int attune_search_tried(const attune_trials *trials) {
  int whole = 0, poor = 0;
  for (int i = 0; i < trials->count; i++) {
    if (!trials->all[i].tried) continue;
    if (trials->all[i].status == ATTUNE_MEASURED_SKIPPED)
      poor++;
    else
      whole++;
  }
  return whole + poor / 3;
}

/* ---- compiling ---- */

static bool compile_tick(void *user, int done) {
  attune_search *search = user;
  attune_search_show(search, "compiling", done);
  return attune_search_interrupted(search) || (done > 0 && attune_search_over(search));
}

/* The kernels of a trial's steps. */
typedef struct {
  attune_config configs[ATTUNE_STEPS_MAX];
  attune_compile_job *jobs;
  int count;
} trial_jobs;

/* Hands the kernels to the trial if all are there; else the first that is not says why. */
static attune_status take_kernels(attune_search *search, attune_trial *trial, const trial_jobs *part) {
  const attune_compile_job *missing = NULL;
  for (int i = 0; i < part->count; i++) {
    attune_compile_job *job = &part->jobs[i];
    trial->kernels[i] = job->kernel;
    trial->compile_seconds += job->seconds;
    if (!job->kernel && (!missing || missing->status == ATTUNE_OK)) missing = job;
  }
  if (!missing) {
    search->result->compiled++;
    if (trial->compiler[0] == '\0')
      snprintf(trial->compiler, sizeof trial->compiler, "%s", trial->kernels[0]->compiler);
    return ATTUNE_OK;
  }
  attune_trial_drop_kernels(trial);
  if (missing->status == ATTUNE_OK) return ATTUNE_OK; /* not begun */
  attune_fail(missing->status, "%s", missing->message);
  return missing->status == ATTUNE_COMPILE_FAILED
             ? attune_search_record_failure(search, trial, ATTUNE_MEASURED_COMPILE_FAILED)
             : missing->status;
}

attune_status attune_search_compile(attune_search *search, attune_trial **trials, int count, const char *arch) {
  attune_status status = ATTUNE_OK;
  int jobs = 0;
  trial_jobs *parts = calloc((size_t)count, sizeof *parts);
  attune_compile_job *all = calloc((size_t)count * ATTUNE_STEPS_MAX, sizeof *all);
  if (!parts || !all) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to compile %d configs", count);
    goto out;
  }
  for (int i = 0; i < count; i++) {
    parts[i].count = attune_config_kernels(parts[i].configs, &trials[i]->config);
    parts[i].jobs = all + jobs;
    for (int k = 0; k < parts[i].count; k++)
      all[jobs++] = (attune_compile_job){.config = &parts[i].configs[k], .problem = &search->problem};
  }
  attune_compile_all(all, jobs, search->store, arch, attune_search_threads(search), compile_tick, search);
  for (int i = 0; i < count; i++) {
    const attune_status taken = take_kernels(search, trials[i], &parts[i]);
    if (status == ATTUNE_OK) status = taken;
  }
out:
  free(all);
  free(parts);
  return status;
}

/* ---- what the store chooses ---- */

typedef struct {
  const attune_search *search;
  attune_tune_result *result;
  bool found, by_model;
} choice;

static bool take_choice(void *user, const attune_measurement *row) {
  choice *choice = user;
  attune_config config;
  const bool model = strcmp(row->policy, "model") == 0;
  if (model != choice->by_model || attune_config_parse(&config, row->config) != ATTUNE_OK) return true;
  if (!attune_result_is_current(row, &config, &choice->search->problem)) return true;
  choice->found = true;
  choice->result->best = config;
  choice->result->best_seconds = row->median;
  choice->result->error = row->error;
  choice->result->error_bound = row->error_bound;
  return true;
}

attune_status attune_search_choice(attune_tune_result *out, bool *found, const attune_search *search, bool by_model) {
  choice choice = {.search = search, .result = out, .by_model = by_model};
  attune_measurement_filter filter = {.problem = search->problem_text, .device = search->identity};
  attune_status status = attune_store_choices(search->store, &filter, take_choice, &choice);
  *found = choice.found;
  return status;
}
