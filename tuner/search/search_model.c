/* The search where nothing can be measured: an architecture alone, or the simulator. Configs are ranked by the model,
 * with the registers that the compiler reports where NVRTC can be had; the best are verified on the simulator, on a
 * small problem of the same class. Their rows say "model" and give way to measurements. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tuner/search/search.h"

enum { WHOLE_LENGTH = 320, LENGTH = 256 };
static const double verify_seconds = 30; /* of a budget are left for it, or a third */

static int32_t shorter(int32_t length) {
  return length <= WHOLE_LENGTH ? length : LENGTH + length % 64;
}

/* A side that hid keys goes on hiding some. */
static int32_t narrower(int32_t side, int32_t length) {
  return side != ATTUNE_UNBOUNDED && side >= length - 1 ? length / 2 : side;
}

/* Query heads on a key head: two, or those that a kernel which packs them asks for. */
static int32_t fewer_heads(int32_t group) {
  for (int32_t n = 8; n > 2; n /= 2)
    if (group % n == 0) return n;
  return group > 1 ? 2 : 1;
}

/* The same kernel and the same tails, small enough for the simulator. */
static attune_status reduce(attune_problem *out, const attune_problem *problem) {
  attune_problem small = *problem;
  bool bottom_right = problem->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT;
  small.batch = 1;
  const bool grouped = problem->heads_q > problem->heads_kv;
  small.heads_kv = problem->heads_q > 1 && !grouped ? 2 : 1;
  small.heads_q = small.heads_kv * fewer_heads(problem->heads_q / problem->heads_kv);
  small.seqlen_q = shorter(problem->seqlen_q);
  small.seqlen_k = shorter(problem->seqlen_k);
  if (small.seqlen_q != problem->seqlen_q || small.seqlen_k != problem->seqlen_k) {
    small.window_left = narrower(small.window_left, bottom_right ? small.seqlen_k : small.seqlen_q);
    small.window_right = narrower(small.window_right, bottom_right ? small.seqlen_q : small.seqlen_k);
  }
  attune_problem_drop_strides(&small);
  return attune_problem_resolve(out, &small);
}

/* ---- ranking ---- */

/* Without a compiler for the architecture the estimate stands as it is, and there is nothing to record yet. */
static void rank_uncompiled(attune_trial **trials, int count) {
  for (int i = 0; i < count; i++) {
    trials[i]->tried = true;
    trials[i]->status = ATTUNE_MEASURED_OK;
    snprintf(trials[i]->note, sizeof trials[i]->note, "model: registers estimated");
  }
}

static void take_footprints(attune_footprint out[ATTUNE_STEPS_MAX], const attune_trial *trial) {
  memset(out, 0, ATTUNE_STEPS_MAX * sizeof *out);
  for (int i = 0; i < ATTUNE_STEPS_MAX && trial->kernels[i]; i++)
    if (trial->kernels[i]->registers > 0)
      out[i] = (attune_footprint){trial->kernels[i]->registers, (int)fmax(trial->kernels[i]->spill_bytes, 0)};
}

static int most_registers(const attune_footprint footprints[ATTUNE_STEPS_MAX]) {
  int most = 0;
  for (int i = 0; i < ATTUNE_STEPS_MAX; i++)
    if (footprints[i].registers > most) most = footprints[i].registers;
  return most;
}

static const char *why_not(const attune_search *search, const attune_config *config) {
  attune_launch launch;
  return attune_launch_of(&launch, config, &search->problem) == ATTUNE_OK ? "no block fits an SM" : attune_message();
}

/* Registers and spills from the architecture's compiler make the estimate; the rows are unverified yet. What the model
 * assumes to overlap and the compiler has serialised has no estimate that holds. */
static attune_status rank(attune_search *search, attune_trial **trials, int count) {
  attune_status status = attune_search_compile(search, trials, count, search->arch);
  attune_estimate_memo memo = {.count = 0};
  for (int i = 0; i < count; i++) {
    attune_trial *trial = trials[i];
    attune_footprint footprints[ATTUNE_STEPS_MAX];
    if (!trial->kernels[0]) continue;
    take_footprints(footprints, trial);
    trial->seconds = attune_estimate_with(&trial->config, &search->problem, search->device, footprints, &memo);
    bool fits = isfinite(trial->seconds);
    trial->status = fits ? ATTUNE_MEASURED_OK : ATTUNE_MEASURED_INVALID;
    snprintf(trial->note, sizeof trial->note, "model: %d registers, %d bytes spilled%s%s", most_registers(footprints),
             attune_trial_spills(trial), fits ? "" : "; ", fits ? "" : why_not(search, &trial->config));
    char remark[160];
    if (attune_trial_remark(remark, sizeof remark, trial) && trial != search->trials.initial) {
      trial->status = ATTUNE_MEASURED_SKIPPED;
      snprintf(trial->note, sizeof trial->note, "%s", remark);
    }
    if (status == ATTUNE_OK) status = attune_search_record(search, trial, "");
    attune_trial_drop_kernels(trial);
  }
  return status;
}

static attune_status rank_all(attune_search *search) {
  attune_trial *batch[ATTUNE_SEARCH_BATCH_MAX];
  bool compiles = search->device->arch != 0;
  attune_pace pace = {0};
  const double to_be_left = fmin(verify_seconds, search->options->budget_seconds / 3);
  while (search->tried < search->target && !attune_search_interrupted(search)) {
    int left = search->target - search->tried, most = left < search->batch ? left : search->batch, count = 0;
    if (compiles) most = attune_search_fitting(search, &pace, most, to_be_left);
    const double start = attune_now();
    if (!search->diverse) count = attune_trials_next(&search->trials, batch, most);
    if (search->diverse && search->tried < search->target / 2)
      count = attune_trials_diverse(&search->trials, batch, most);
    if (search->diverse && count == 0) count = attune_search_near(search, ATTUNE_SEARCH_AROUND, batch, most);
    if (count == 0) break;
    attune_status status = compiles ? rank(search, batch, count) : ATTUNE_OK;
    if (status == ATTUNE_NO_NVRTC) {
      compiles = false;
      status = ATTUNE_OK;
    }
    if (status != ATTUNE_OK) return status;
    if (!compiles) rank_uncompiled(batch, count);
    for (int i = 0; i < count; i++)
      search->tried += batch[i]->tried;
    attune_pace_learn(&pace, search, count, attune_now() - start);
    if (!batch[0]->tried || attune_search_over(search)) break;
  }
  return ATTUNE_OK;
}

/* ---- verifying ---- */

/* On the usual inputs, and on a sequence with lengths of its own. */
enum { INPUTS = 2 };
typedef struct {
  attune_search *search;
  attune_backend *machine; /* the simulator */
  attune_verifier *verifiers[INPUTS];
  attune_problem problem; /* that they verify: resolved */
  char where[128];
} verification;

static attune_status verification_open(verification *out, attune_search *search) {
  attune_problem small;
  attune_inputs inputs = {.used = 0};
  attune_status status = ATTUNE_OK;
  *out = (verification){.search = search, .machine = search->machine};
  if (search->options->given) inputs = *search->options->given;
  memset(inputs.seqlens, 0, sizeof inputs.seqlens); /* they are those of a larger problem */
  if (!out->machine) status = attune_backend_open(&out->machine, "host", search->options->seed);
  if (status == ATTUNE_OK) status = reduce(&small, &search->problem);
  if (status == ATTUNE_OK) status = attune_problem_resolve(&out->problem, &small);
  for (int i = 0; i < INPUTS && status == ATTUNE_OK; i++) {
    const attune_drawing drawing = {.seed = search->options->seed * ATTUNE_LENGTH_KINDS, .lengths = i > 0};
    status = attune_verifier_create(&out->verifiers[i], out->machine, &small, &inputs, &drawing);
  }
  if (status == ATTUNE_OK)
    snprintf(out->where, sizeof out->where, "verified on the simulator with %d x %d, %d heads", small.seqlen_q,
             small.seqlen_k, small.heads_q);
  return status;
}

static void verification_close(verification *self) {
  for (int i = 0; i < INPUTS; i++)
    attune_verifier_destroy(self->verifiers[i]);
  if (self->machine && self->machine != self->search->machine) attune_backend_close(self->machine);
}

/* A fault that the simulator reports is a row like a wrong result. */
static attune_status verify(verification *self, attune_trial *trial) {
  attune_search *search = self->search;
  attune_verdict verdict = {.passed = true};
  char ranked[128];
  double start = attune_now();
  snprintf(ranked, sizeof ranked, "%.100s", trial->note[0] ? trial->note : "model");
  const attune_program_source from = {
      .backend = self->machine, .store = search->store, .problem = &self->problem, .kernels = trial->kernels};
  attune_status status = attune_program_create(&trial->program, &from, &trial->config);
  for (int i = 0; i < INPUTS && status == ATTUNE_OK && verdict.passed; i++) {
    status = attune_verifier_check(self->verifiers[i], trial->program, &verdict);
    if (i > 0 && verdict.passed) break; /* errors are those of the usual inputs */
    trial->error = verdict.error;
    trial->error_bound = verdict.error_bound;
  }
  trial->verify_seconds = attune_now() - start;
  if (status == ATTUNE_OUT_OF_MEMORY) return status;
  trial->verified = status == ATTUNE_OK && verdict.passed;
  trial->status = trial->verified       ? ATTUNE_MEASURED_OK
                  : status == ATTUNE_OK ? ATTUNE_MEASURED_WRONG_RESULT
                                        : ATTUNE_MEASURED_LAUNCH_FAILED;
  if (trial->verified)
    snprintf(trial->note, sizeof trial->note, "%s; %s", ranked, self->where);
  else
    snprintf(trial->note, sizeof trial->note, "%s", status == ATTUNE_OK ? verdict.worst : attune_message());
  search->result->verified += trial->verified;
  search->result->failed += !trial->verified;
  attune_program_destroy(trial->program);
  trial->program = NULL;
  return attune_search_record(search, trial, "");
}

/* The best and the default, as far as they are not verified yet. */
static int next_to_verify(const attune_search *search, attune_trial **out) {
  attune_trial *best[16], *initial = search->trials.initial;
  int found = attune_trials_best(&search->trials, best, search->finalists), count = 0;
  if (initial->tried && initial->status == ATTUNE_MEASURED_OK && !initial->verified) out[count++] = initial;
  for (int i = 0; i < found; i++)
    if (!best[i]->verified && best[i] != initial) out[count++] = best[i];
  return count;
}

/* Where one is wrong, the next best takes its place and is verified. */
static attune_status verify_best(attune_search *search) {
  attune_trial *batch[17];
  verification verification;
  attune_pace pace = {0};
  int count;
  if (next_to_verify(search, batch) == 0 || attune_search_interrupted(search)) return ATTUNE_OK;
  attune_search_show(search, "preparing", 0);
  attune_status status = verification_open(&verification, search);
  while (status == ATTUNE_OK && (count = next_to_verify(search, batch)) > 0) {
    const double start = attune_now();
    if ((count = attune_search_fitting(search, &pace, count, 0)) == 0) break;
    status = attune_search_compile(search, batch, count, "host");
    for (int i = 0; i < count; i++) {
      const bool over = i > 0 ? attune_search_over(search) : attune_search_interrupted(search);
      if (batch[i]->kernels[0] && status == ATTUNE_OK && !over) {
        attune_search_show(search, "verifying", 0);
        status = verify(&verification, batch[i]);
      }
      attune_trial_drop_kernels(batch[i]);
    }
    attune_pace_learn(&pace, search, count, attune_now() - start);
    if (attune_search_over(search)) break;
  }
  verification_close(&verification);
  return status == ATTUNE_NO_COMPILER ? ATTUNE_OK : status; /* the estimates stay, unverified and never chosen */
}

attune_status attune_search_by_model(attune_search *search) {
  attune_status status = rank_all(search);
  return status == ATTUNE_OK ? verify_best(search) : status;
}
