/* The search on a GPU: batches are compiled, verified, raced and recorded; the best of them meet in a final race. Every
 * row is committed at once, so that an interrupted search goes on from there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tuner/search/search.h"

enum {
  DIVERSE_TARGET = 24, /* of a normal search, before it goes along the axes */
  MUCH_SPILLED = 128,  /* bytes a thread; less does not tell: at head_dim 64 the best kernel on an H100 spills 4 */
  FEWEST_MEASURED = 4, /* with fewer results, kernels that the compiler warned of are measured too */
  RACE_ROUNDS = 40,
  FINAL_ROUNDS = 200,
  MOST_STORE_RACES = 3
};
static const double race_seconds = 3, final_seconds = 10, share_of_budget = 0.1; /* a race takes at most */

static void drop(attune_trial *trial) {
  attune_program_destroy(trial->program);
  attune_trial_drop_kernels(trial);
  trial->program = NULL;
}

/* ---- measuring ---- */

typedef struct {
  attune_search *search;
  attune_verifier *verifier;
  attune_clocks *clocks;
  int round; /* drawings of inputs */
  bool take_rejected;
  attune_trial *leader; /* stays loaded, and races along with every batch */
  attune_pace pace;
  double draw_seconds, verify_seconds; /* of the slowest */
} measured_search;

static double race_limit(const measured_search *m, double seconds) {
  const double budget = m->search->options->budget_seconds;
  return budget > 0 ? fmin(seconds, share_of_budget * budget) : seconds;
}

/* What the end takes: the finalists are verified on three more drawings and race, and the winner may race the store's
 * choice. */
static double seconds_of_end(const measured_search *m) {
  const int finalists = m->search->tried < m->search->finalists ? m->search->tried + 1 : m->search->finalists + 1;
  return 2 * race_limit(m, final_seconds) + 4 * m->draw_seconds + 3 * finalists * m->verify_seconds;
}

/* A launch that fails may take the CUDA context with it; then nothing more can be measured in this process. */
static attune_status still_alive(measured_search *m, const attune_trial *trial) {
  if (attune_backend_synchronize(m->search->machine) == ATTUNE_OK) return ATTUNE_OK;
  char why[512];
  snprintf(why, sizeof why, "%s", attune_message());
  return attune_fail(ATTUNE_DRIVER_FAILED,
                     "the device refuses all work since %s ran (%s); every row until here is stored: the same command, "
                     "started again, goes on without that config",
                     trial->text, why);
}

static attune_status load(attune_search *search, attune_trial *trial) {
  const attune_program_source from = {
      .backend = search->machine, .store = search->store, .problem = &search->problem, .kernels = trial->kernels};
  return attune_program_create(&trial->program, &from, &trial->config);
}

/* Loads, unless it is loaded, and verifies. *usable: may race; else its row is written. */
static attune_status verify(measured_search *m, attune_trial *trial, bool *usable) {
  attune_search *search = m->search;
  attune_verdict verdict = {0};
  double start = attune_now();
  *usable = false;
  attune_status status = trial->program ? ATTUNE_OK : load(search, trial);
  if (status == ATTUNE_OK) status = attune_verifier_check(m->verifier, trial->program, &verdict);
  trial->verify_seconds += attune_now() - start;
  m->verify_seconds = fmax(m->verify_seconds, attune_now() - start);
  if (status == ATTUNE_OUT_OF_MEMORY) return status;
  if (status != ATTUNE_OK) {
    status = attune_search_record_failure(search, trial, ATTUNE_MEASURED_LAUNCH_FAILED);
    return status == ATTUNE_OK ? still_alive(m, trial) : status;
  }
  if (!trial->verified || !verdict.passed) { /* those of the usual inputs are kept, unless others show it wrong */
    trial->error = verdict.error;
    trial->error_bound = verdict.error_bound;
  }
  if (!verdict.passed) {
    snprintf(trial->note, sizeof trial->note, "%s", verdict.worst);
    return attune_search_record_failure(search, trial, ATTUNE_MEASURED_WRONG_RESULT);
  }
  search->result->verified += !trial->verified;
  trial->verified = true;
  *usable = true;
  return ATTUNE_OK;
}

/* Inputs of the usual kind, which races are run on; those of another round are others. */
static attune_status draw_usual(measured_search *m) {
  return attune_verifier_draw(m->verifier, &(attune_drawing){.seed = m->search->options->seed + (uint64_t)m->round++});
}

/* Verifies loaded trials on what the usual inputs say nothing of: sequences with lengths of their own, huge and tiny
 * scores, biases that hide keys. *wrong: how many are; their rows are written. */
static attune_status verify_widely(measured_search *m, attune_trial **trials, int count, int *wrong) {
  static const attune_drawing kinds[] = {{.lengths = true},
                                         {.lengths = true, .magnitude = 16.0, .magnitude_v = 1024.0},
                                         {.lengths = true, .magnitude = 0x1p-12, .bias_masks = true}};
  const uint64_t batch = (uint64_t)m->search->problem.batch;
  attune_status status = ATTUNE_OK;
  int left = 0;
  for (int i = 0; i < count; i++)
    left += !trials[i]->verified_widely;
  *wrong = 0;
  if (left == 0) return ATTUNE_OK;
  for (uint64_t kind = 0; kind < sizeof kinds / sizeof *kinds && status == ATTUNE_OK; kind++) {
    attune_drawing drawing = kinds[kind];
    drawing.seed = m->search->options->seed * ATTUNE_LENGTH_KINDS + kind * batch; /* other lengths each time */
    status = attune_verifier_draw(m->verifier, &drawing);
    for (int i = 0; i < count && status == ATTUNE_OK; i++) {
      bool usable;
      if (trials[i]->verified_widely || trials[i]->status != ATTUNE_MEASURED_OK) continue;
      status = verify(m, trials[i], &usable);
      *wrong += !usable;
    }
  }
  for (int i = 0; i < count && status == ATTUNE_OK; i++)
    trials[i]->verified_widely = trials[i]->status == ATTUNE_MEASURED_OK;
  return status == ATTUNE_OK ? draw_usual(m) : status;
}

/* Races verified trials and writes their rows. A launch that fails costs its trial only, unless the device is lost. */
static attune_status race(measured_search *m, attune_trial **trials, int count, int rounds, double seconds) {
  attune_search *search = m->search;
  char clocks[64];
  attune_candidate *candidates = calloc((size_t)count, sizeof *candidates);
  if (!candidates) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to race %d candidates", count);
  for (int i = 0; i < count; i++)
    candidates[i].program = trials[i]->program;
  attune_clocks_sample(m->clocks);
  double start = attune_now();
  attune_status raced = attune_measure(m->verifier, search->machine, candidates, count, rounds, seconds),
                status = ATTUNE_OK;
  double each = (attune_now() - start) / count;
  attune_clocks_sample(m->clocks);
  attune_clocks_print(clocks, m->clocks);
  for (int i = 0; i < count; i++) {
    attune_trial *trial = trials[i];
    attune_status recorded = ATTUNE_OK;
    attune_timing_free(&trial->timing);
    trial->timing = candidates[i].timing;
    trial->measure_seconds = each;
    if (candidates[i].status != ATTUNE_OK) {
      recorded = attune_search_record_failure(search, trial, ATTUNE_MEASURED_LAUNCH_FAILED);
    } else if (trial->timing.count > 0) {
      trial->seconds = trial->timing.median;
      trial->status = ATTUNE_MEASURED_OK;
      recorded = attune_search_record(search, trial, clocks);
    }
    if (status == ATTUNE_OK) status = recorded;
    if (candidates[i].status != ATTUNE_OK && status == ATTUNE_OK) status = still_alive(m, trial);
  }
  bool one_failed = false;
  for (int i = 0; i < count; i++)
    one_failed = one_failed || candidates[i].status != ATTUNE_OK;
  free(candidates);
  return raced != ATTUNE_OK && !one_failed ? raced : status;
}

static void update_leader(measured_search *m, attune_trial **trials, int count) {
  attune_trial *best;
  if (attune_trials_best(&m->search->trials, &best, 1) == 1 && best->program) {
    if (m->leader && m->leader != best) drop(m->leader);
    m->leader = best;
  }
  for (int i = 0; i < count; i++)
    if (trials[i] != m->leader) drop(trials[i]);
}

/* Known to be slow from what the compiler says, which goes into the note. */
static bool rejected_by_compiler(attune_trial *trial) {
  const int spilled = attune_trial_spills(trial);
  if (attune_trial_remark(trial->note, sizeof trial->note, trial)) return true;
  if (spilled > 0) snprintf(trial->note, sizeof trial->note, "spills %d bytes a thread", spilled);
  return spilled > MUCH_SPILLED;
}

/* Compiles, verifies and races one batch; ends early where the search is over. */
static attune_status try_batch(measured_search *m, attune_trial **trials, int count) {
  attune_search *search = m->search;
  attune_trial *racing[ATTUNE_SEARCH_BATCH_MAX + 1];
  int racers = 0;
  attune_status status = attune_search_compile(search, trials, count, search->arch);
  if (status == ATTUNE_OK && m->round > 0) status = draw_usual(m);
  m->round += m->round == 0;
  for (int i = 0; i < count && status == ATTUNE_OK; i++) {
    attune_trial *trial = trials[i];
    bool usable;
    if (!trial->kernels[0]) continue;
    if (racers > 0 ? attune_search_over(search) : attune_search_interrupted(search)) break;
    if (rejected_by_compiler(trial) && !m->take_rejected && trial != search->trials.initial) {
      trial->status = ATTUNE_MEASURED_SKIPPED;
      status = attune_search_record(search, trial, "");
      continue;
    }
    attune_search_show(search, "verifying", i);
    status = verify(m, trial, &usable);
    if (usable) racing[racers++] = trial;
  }
  int fresh = racers;
  if (m->leader && fresh > 0) racing[racers++] = m->leader;
  if (fresh > 0 && status == ATTUNE_OK && !attune_search_interrupted(search)) {
    attune_search_show(search, "measuring", count);
    status = race(m, racing, racers, RACE_ROUNDS, race_limit(m, race_seconds));
    search->result->measured += fresh;
  }
  update_leader(m, trials, count);
  return status;
}

/* What the strategy wants tried next; 0: nothing more. */
static int next_batch(measured_search *m, attune_trial **out) {
  attune_search *search = m->search;
  const int left = search->target - search->tried;
  const int most =
      attune_search_fitting(search, &m->pace, left < search->batch ? left : search->batch, seconds_of_end(m));
  int count = 0;
  if (search->sampled) {
    count = attune_trials_sample(&search->trials, search->options->seed, ATTUNE_SEARCH_SAMPLE, out, search->batch);
    search->target = search->tried + count;
    return attune_search_fitting(search, &m->pace, count < search->batch ? count : search->batch, seconds_of_end(m));
  }
  if (!search->diverse) return attune_trials_next(&search->trials, out, most);
  int early = DIVERSE_TARGET - search->tried;
  if (early > 0) count = attune_trials_diverse(&search->trials, out, most < early ? most : early);
  return count > 0 ? count : attune_search_near(search, ATTUNE_SEARCH_AROUND, out, most);
}

/* After the whole space, what refines the best. */
static int last_batch(measured_search *m, attune_trial **out) {
  attune_search *search = m->search;
  if (!search->exhaustive) return 0;
  const int most = attune_search_fitting(search, &m->pace, search->batch, seconds_of_end(m));
  const int count = attune_search_near(search, ATTUNE_SEARCH_AROUND, out, most);
  search->target += count;
  return count;
}

/* Where the compiler finds fault with nearly all: the least bad of what was passed over. */
static attune_status try_rejected(measured_search *m) {
  attune_trials *trials = &m->search->trials;
  attune_trial *batch[ATTUNE_SEARCH_BATCH_MAX], *best[FEWEST_MEASURED];
  int count = 0;
  if (attune_trials_best(trials, best, FEWEST_MEASURED) == FEWEST_MEASURED) return ATTUNE_OK;
  const int most = attune_search_fitting(m->search, &m->pace, m->search->batch, seconds_of_end(m));
  for (int i = 0; i < trials->count && count < most; i++)
    if (trials->all[i].tried && trials->all[i].status == ATTUNE_MEASURED_SKIPPED) batch[count++] = &trials->all[i];
  m->take_rejected = true;
  return count > 0 ? try_batch(m, batch, count) : ATTUNE_OK;
}

/* Once more, with more rounds; their rows are the newest. All are verified widely first: *wrong of them failed that,
 * and then none has raced. */
static attune_status race_again(measured_search *m, attune_trial **trials, int count, int *wrong) {
  attune_search *search = m->search;
  attune_status status = ATTUNE_OK;
  int loaded = 0;
  *wrong = 0;
  for (; loaded < count && status == ATTUNE_OK; loaded++) {
    trials[loaded]->finalist = true;
    if (!trials[loaded]->program) status = load(search, trials[loaded]);
  }
  if (status == ATTUNE_OK) status = verify_widely(m, trials, count, wrong);
  if (status == ATTUNE_OK && *wrong == 0 && count > 1)
    status = race(m, trials, count, FINAL_ROUNDS, race_limit(m, final_seconds));
  for (int i = 0; i < loaded; i++)
    drop(trials[i]);
  return status;
}

static int collect_finalists(const attune_search *search, attune_trial **out) {
  int count = attune_trials_best(&search->trials, out, search->finalists);
  attune_trial *initial = search->trials.initial;
  bool has_initial = !initial->tried || initial->status != ATTUNE_MEASURED_OK;
  for (int i = 0; i < count; i++)
    has_initial = has_initial || out[i] == initial;
  if (!has_initial) out[count++] = initial;
  return count;
}

/* The best and the default; who turns out to be wrong makes way for the next best. */
static attune_status final_race(measured_search *m) {
  attune_trial *best[17];
  attune_status status = ATTUNE_OK;
  int wrong = 1;
  while (wrong > 0 && status == ATTUNE_OK && !attune_search_interrupted(m->search)) {
    const int count = collect_finalists(m->search, best);
    if (count == 0) break;
    attune_search_show(m->search, "verifying", 0);
    status = race_again(m, best, count, &wrong);
  }
  return status;
}

/* NULL: it is none of the trials. */
static attune_status stored_trial(attune_trial **out, const attune_search *search) {
  attune_tune_result stored = {0};
  bool found;
  attune_status status = attune_search_choice(&stored, &found, search, false);
  *out = NULL;
  for (int i = 0; i < search->trials.count && found; i++)
    if (attune_config_compare(&search->trials.all[i].config, &stored.best) == 0) *out = &search->trials.all[i];
  return status;
}

static attune_trial *final_winner(const attune_trials *trials) {
  attune_trial *best = NULL;
  for (int i = 0; i < trials->count; i++) {
    attune_trial *trial = &trials->all[i];
    if (!trial->finalist || trial->status != ATTUNE_MEASURED_OK) continue;
    if (!best || trial->seconds < best->seconds) best = trial;
  }
  return best;
}

/* Clocks that were higher in an earlier race may leave the store choosing a config that the final race never saw: it
 * has to beat the winner side by side. */
static attune_status race_store_choice(measured_search *m) {
  for (int i = 0; i < MOST_STORE_RACES && !attune_search_interrupted(m->search); i++) {
    int wrong;
    attune_trial *pair[2] = {final_winner(&m->search->trials)};
    attune_status status = stored_trial(&pair[1], m->search);
    if (status != ATTUNE_OK || !pair[0] || !pair[1] || pair[1]->finalist) return status;
    if ((status = race_again(m, pair, 2, &wrong)) != ATTUNE_OK) return status;
  }
  return ATTUNE_OK;
}

attune_status attune_search_by_measuring(attune_search *search) {
  measured_search m = {.search = search, .take_rejected = search->exhaustive};
  attune_trial *batch[ATTUNE_SEARCH_BATCH_MAX];
  int count = next_batch(&m, batch);
  if (count == 0 || attune_search_interrupted(search)) return ATTUNE_OK; /* an earlier search did it all */
  attune_search_show(search, "preparing", 0);
  attune_inputs inputs = {.used = 0};
  if (search->options->given != NULL) inputs = *search->options->given;
  memset(inputs.seqlens, 0, sizeof inputs.seqlens); /* times are those of the bounds */
  double start = attune_now();
  attune_status status = attune_verifier_create(&m.verifier, search->machine, &search->problem, &inputs,
                                                &(attune_drawing){.seed = search->options->seed});
  m.draw_seconds = attune_now() - start;
  if (status != ATTUNE_OK) return status;
  m.clocks = attune_clocks_open(search->machine);
  while (status == ATTUNE_OK && count > 0) {
    start = attune_now();
    status = try_batch(&m, batch, count);
    attune_pace_learn(&m.pace, search, count, attune_now() - start);
    search->tried = attune_search_tried(&search->trials);
    count = batch[0]->tried && !attune_search_over(search) ? next_batch(&m, batch) : 0;
    if (count == 0 && batch[0]->tried && !attune_search_over(search)) count = last_batch(&m, batch);
  }
  if (status == ATTUNE_OK && !attune_search_over(search)) status = try_rejected(&m);
  if (status == ATTUNE_OK && !attune_search_interrupted(search)) status = final_race(&m);
  if (status == ATTUNE_OK) status = race_store_choice(&m);
  if (m.leader) drop(m.leader);
  attune_clocks_close(m.clocks);
  attune_verifier_destroy(m.verifier);
  return status;
}
