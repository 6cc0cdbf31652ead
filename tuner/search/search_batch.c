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

attune_status attune_search_compile(attune_search *search, attune_trial **trials, int count, const char *arch) {
  attune_status status = ATTUNE_OK;
  attune_compile_job *jobs = calloc((size_t)count, sizeof *jobs);
  if (!jobs) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to compile %d kernels", count);
  for (int i = 0; i < count; i++) {
    jobs[i].config = &trials[i]->config;
    jobs[i].problem = &search->problem;
  }
  attune_compile_all(jobs, count, search->store, arch, attune_search_threads(search), compile_tick, search);
  for (int i = 0; i < count; i++) {
    trials[i]->kernel = jobs[i].kernel;
    trials[i]->compile_seconds += jobs[i].seconds;
    if (jobs[i].kernel) {
      search->result->compiled++;
      if (trials[i]->compiler[0] == '\0')
        snprintf(trials[i]->compiler, sizeof trials[i]->compiler, "%s", jobs[i].kernel->compiler);
    } else if (jobs[i].status == ATTUNE_COMPILE_FAILED) {
      attune_fail(jobs[i].status, "%s", jobs[i].message);
      attune_status recorded = attune_search_record_failure(search, trials[i], ATTUNE_MEASURED_COMPILE_FAILED);
      if (status == ATTUNE_OK) status = recorded;
    } else if (jobs[i].status != ATTUNE_OK && status == ATTUNE_OK) {
      status = attune_fail(jobs[i].status, "%s", jobs[i].message);
    }
  }
  free(jobs);
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
