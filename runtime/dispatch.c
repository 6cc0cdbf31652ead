/* Dispatch: which config answers for a problem. Five sources are asked in turn: the problem's own choice in the store,
 * that of a near problem, that of another device, the model, the reference family. Each says what it found and what
 * became of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/candidates.h"
#include "runtime/dispatch.h"

/* Of one source: how many candidates are offered to the caller, and how many are checked, which costs an emission each
 * where another build measured them. */
enum { OFFERS = 4, CHECKS = 8 };
/* Those of four sources, the model's and the reference. */
enum { OFFERS_IN_ALL = 4 * OFFERS + 2 };

typedef struct {
  attune_choice *out;
  attune_store *store;
  attune_wanted wanted;
  attune_accept *accept;
  void *user;
  FILE *lines;
  attune_config offered[OFFERS_IN_ALL];
  int offered_count;
  attune_status refusal; /* the last one */
  bool done;             /* taken, or failed for good */
} dispatch;

static bool is_refusal(attune_status status) {
  return status == ATTUNE_WOULD_COMPILE || status == ATTUNE_COMPILE_FAILED || status == ATTUNE_ILLEGAL_CONFIG ||
         status == ATTUNE_DRIVER_FAILED || status == ATTUNE_NO_NVRTC || status == ATTUNE_NO_COMPILER;
}

static bool offered_before(const dispatch *d, const attune_config *config) {
  for (int i = 0; i < d->offered_count; i++)
    if (!attune_config_compare(&d->offered[i], config)) return true;
  return false;
}

/* Ends the candidate's line. Only the first line of the message: a compiler's log is long. */
static void offer(dispatch *d, const attune_config *config, const char *source) {
  d->offered[d->offered_count++] = *config;
  attune_status status = d->accept ? d->accept(d->user, config) : ATTUNE_OK;
  if (status != ATTUNE_OK) {
    const char *message = attune_message();
    fprintf(d->lines, "; passed over: %.*s\n", (int)strcspn(message, "\n"), message);
    d->refusal = status;
    d->done = !is_refusal(status);
    return;
  }
  fprintf(d->lines, "; taken\n");
  d->out->config = *config;
  d->out->source = source;
  d->refusal = ATTUNE_OK;
  d->done = true;
}

/* ---- the store's candidates ---- */

static void tell_count(FILE *lines, int64_t count, const char *what) {
  if (count) fprintf(lines, ", %lld %s", (long long)count, what);
}

static void tell_counts(const dispatch *d, const attune_candidates *found, const char *source, const char *scope) {
  fprintf(d->lines, "%s: %d choice%s %s", source, found->seen, found->seen == 1 ? "" : "s", scope);
  tell_count(d->lines, found->estimates, "estimated only");
  tell_count(d->lines, found->other_kernel, "of another kernel");
  tell_count(d->lines, found->far, "too far");
  tell_count(d->lines, found->unreadable, "unreadable or unverified");
  fprintf(d->lines, "\n");
}

/* The device's name is its identity up to the first bar. */
static void tell_candidate(const dispatch *d, const attune_candidate *candidate, const char *source) {
  char config[ATTUNE_TEXT_MAX];
  if (attune_config_print(config, &candidate->config) != ATTUNE_OK) config[0] = '\0';
  fprintf(d->lines, "%s: %s", source, config);
  if (candidate->distance > 0)
    fprintf(d->lines, ", tuned for %s, %.1f doublings away", candidate->problem, candidate->distance);
  if (!candidate->same_device) fprintf(d->lines, ", on %.*s", (int)strcspn(candidate->device, "|"), candidate->device);
  fprintf(d->lines, " (%.4g ms, %s, %s)", candidate->median * 1e3, candidate->policy, candidate->date);
}

static attune_measurement row_of(const attune_candidate *candidate) {
  return (attune_measurement){
      .id = candidate->id, .database = candidate->database, .problem = candidate->problem, .device = candidate->device};
}

/* Checks the candidate and tells the outcome, unless it is good, which its offer ends. What was looked at closely is
 * remembered for the next time. */
static attune_candidate_fate check(const dispatch *d, const attune_candidate *candidate, const char *source) {
  const attune_candidate_fate fate = attune_candidate_check(candidate, &d->wanted);
  const attune_measurement row = row_of(candidate);
  if (fate == ATTUNE_CANDIDATE_GOOD && strcmp(candidate->tool, attune_tool()) != 0)
    (void)attune_store_claim_choice(d->store, &row, attune_tool());
  tell_candidate(d, candidate, source);
  if (fate == ATTUNE_CANDIDATE_OUTDATED) fprintf(d->lines, "; outdated: another kernel would run today\n");
  if (fate == ATTUNE_CANDIDATE_ILLEGAL) fprintf(d->lines, "; not legal here\n");
  return fate;
}

/* An upgrade outdated the choice: the fastest candidate of the same problem that still runs as it was measured. It
 * becomes the choice, unless a tuner of another version marked it. */
static void try_instead(dispatch *d, const attune_candidate *outdated, const char *source) {
  attune_candidates found;
  attune_candidates_instead(&found, d->store, &d->wanted, outdated, CHECKS);
  for (int i = 0; i < found.count; i++) {
    const attune_candidate *candidate = &found.list[i];
    if (candidate->id == outdated->id || offered_before(d, &candidate->config)) continue;
    if (attune_candidate_check(candidate, &d->wanted) != ATTUNE_CANDIDATE_GOOD) continue;
    const attune_measurement row = row_of(candidate);
    if (!candidate->outdated) (void)attune_store_set_choice(d->store, &row);
    tell_candidate(d, candidate, source);
    offer(d, &candidate->config, source);
    break;
  }
  attune_candidates_free(&found);
}

static void try_store(dispatch *d, attune_candidates_kind kind, const char *source, const char *scope) {
  attune_candidates found;
  attune_candidates_find(&found, kind, d->store, &d->wanted);
  tell_counts(d, &found, source, scope);
  const int before = d->offered_count;
  for (int i = 0, checks = 0; i < found.count && checks < CHECKS && d->offered_count - before < OFFERS && !d->done;
       i++) {
    const attune_candidate *candidate = &found.list[i];
    if (offered_before(d, &candidate->config)) continue;
    const attune_candidate_fate fate = check(d, candidate, source);
    checks++;
    if (fate == ATTUNE_CANDIDATE_GOOD) offer(d, &candidate->config, source);
    if (fate == ATTUNE_CANDIDATE_OUTDATED && kind == ATTUNE_CANDIDATES_EXACT) try_instead(d, candidate, source);
  }
  attune_candidates_free(&found);
}

/* Where the problem has no choice that can be taken: what was tried for it. */
static void tell_measurements(const dispatch *d) {
  int64_t counts[ATTUNE_MEASURED_COUNT] = {0}, total = 0;
  if (d->store) /* failing: none */
    (void)attune_store_count_statuses(d->store, counts, d->wanted.text, d->wanted.identity);
  for (int i = 0; i < ATTUNE_MEASURED_COUNT; i++)
    total += counts[i];
  if (!total) return;
  fprintf(d->lines, "exact: %lld row%s stored for this problem", (long long)total, total == 1 ? " is" : "s are");
  for (int i = 0; i < ATTUNE_MEASURED_COUNT; i++)
    tell_count(d->lines, counts[i], attune_measured_name((attune_measured)i));
  fprintf(d->lines, "\n");
}

static void try_exact(dispatch *d) {
  try_store(d, ATTUNE_CANDIDATES_EXACT, "exact", "for this problem on this device");
  if (!d->done) tell_measurements(d);
}

/* ---- without the store ---- */

static void try_model(dispatch *d) {
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  try_store(d, ATTUNE_CANDIDATES_MODEL, "model", "estimated by a tuner for this problem and architecture");
  if (d->done) return;
  if (attune_config_default(&config, d->wanted.problem, d->wanted.device) != ATTUNE_OK ||
      attune_config_print(text, &config) != ATTUNE_OK) {
    fprintf(d->lines, "model: no default: %s\n", attune_message());
    return;
  }
  if (offered_before(d, &config)) return;
  const double seconds = attune_estimate(&config, d->wanted.problem, d->wanted.device, NULL);
  char figures[256], error[96];
  attune_device_figures(figures, d->wanted.device);
  attune_estimate_error_text(error, seconds, d->wanted.device);
  fprintf(d->lines, "model: the least estimate; %s (%.4g ms on %s; %s)", text, seconds * 1e3, figures, error);
  offer(d, &config, "model");
}

static void try_reference(dispatch *d) {
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  attune_status status = attune_config_reference(&config, d->wanted.problem);
  if (status == ATTUNE_OK) status = attune_config_print(text, &config);
  if (status != ATTUNE_OK) {
    d->refusal = status;
    return;
  }
  if (offered_before(d, &config)) return;
  fprintf(d->lines, "reference: always there; %s", text);
  offer(d, &config, "reference");
}

/* An identity as words; a modelled architecture is its own name. */
static void print_device(FILE *to, const char *identity) {
  const size_t name = strcspn(identity, "|");
  const char *arch = identity[name] == '|' ? identity + name + 1 : identity;
  if (strncmp(identity, arch, name) == 0 && arch[name] == '|') identity = arch;
  fputs("device: ", to);
  for (; *identity != '\0'; identity++)
    fputs(*identity == '|' ? ", " : (char[]){*identity, '\0'}, to);
  fputc('\n', to);
}

attune_status attune_dispatch(attune_choice *out, attune_store *store, const attune_problem *problem,
                              const attune_device *device, attune_accept *accept, void *user) {
  *out = (attune_choice){0};
  dispatch d = {.out = out, .store = store, .accept = accept, .user = user};
  attune_status status = attune_wanted_of(&d.wanted, problem, device);
  if (status != ATTUNE_OK) return status;
  size_t size;
  d.lines = open_memstream(&out->explanation, &size);
  if (!d.lines) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an explanation");
  fprintf(d.lines, "problem: %s\n", d.wanted.text);
  print_device(d.lines, d.wanted.identity);
  try_exact(&d);
  if (!d.done) try_store(&d, ATTUNE_CANDIDATES_NEAR_PROBLEM, "near-problem", "for near problems on this device");
  if (!d.done) try_store(&d, ATTUNE_CANDIDATES_NEAR_DEVICE, "near-device", "on other devices of this architecture");
  if (!d.done) try_model(&d);
  if (!d.done) try_reference(&d);
  if (fclose(d.lines) != 0) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an explanation");
  return d.refusal;
}

attune_status attune_choose(attune_choice *out, attune_store *store, const attune_problem *problem,
                            const attune_device *device) {
  attune_problem resolved;
  *out = (attune_choice){0};
  attune_status status = attune_problem_resolve(&resolved, problem);
  if (status == ATTUNE_OK) status = attune_dispatch(out, store, &resolved, device, NULL, NULL);
  if (status != ATTUNE_OK) {
    free(out->explanation);
    *out = (attune_choice){0};
  }
  return status;
}
