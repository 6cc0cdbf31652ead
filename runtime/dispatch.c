/* The ladder: which config answers for a problem. Every rung leaves a line that says what it found and what became of
 * it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/candidates.h"
#include "runtime/dispatch.h"

/* How many candidates of one rung are offered before the next rung has its turn. */
enum { OFFERS = 4 };

typedef struct {
  attune_choice *out;
  attune_store *store;
  attune_wanted wanted;
  attune_accept *accept;
  void *user;
  FILE *lines;
  attune_status refusal; /* the last one */
  bool done;             /* taken, or failed for good */
} ladder;

static bool is_refusal(attune_status status) {
  return status == ATTUNE_WOULD_COMPILE || status == ATTUNE_COMPILE_FAILED || status == ATTUNE_ILLEGAL_CONFIG ||
         status == ATTUNE_DRIVER_FAILED || status == ATTUNE_NO_NVRTC || status == ATTUNE_NO_COMPILER;
}

/* Ends the rung's line. Only the first line of the message: a compiler's log is long. */
static void offer(ladder *l, const attune_config *config, const char *rung) {
  attune_status status = l->accept ? l->accept(l->user, config) : ATTUNE_OK;
  if (status != ATTUNE_OK) {
    const char *message = attune_message();
    fprintf(l->lines, "; passed over: %.*s\n", (int)strcspn(message, "\n"), message);
    l->refusal = status;
    l->done = !is_refusal(status);
    return;
  }
  fprintf(l->lines, "; taken\n");
  l->out->config = *config;
  l->out->rung = rung;
  l->refusal = ATTUNE_OK;
  l->done = true;
}

static void tell_count(FILE *lines, int count, const char *what) {
  if (count) fprintf(lines, ", %d %s", count, what);
}

static void tell_counts(const ladder *l, const attune_rows *rows, const char *rung, const char *scope) {
  fprintf(l->lines, "%s: %d choice%s %s", rung, rows->seen, rows->seen == 1 ? "" : "s", scope);
  tell_count(l->lines, rows->outdated, "of another generator");
  tell_count(l->lines, rows->estimates, "estimated only");
  tell_count(l->lines, rows->other_kernel, "of another kernel");
  tell_count(l->lines, rows->far, "too far");
  tell_count(l->lines, rows->illegal, "not legal here");
  tell_count(l->lines, rows->unreadable, "unreadable or unverified");
}

/* The device's name is its identity up to the first bar. */
static void tell_row(const ladder *l, const attune_candidate_row *row) {
  char config[ATTUNE_TEXT_MAX];
  if (attune_config_print(config, &row->config) != ATTUNE_OK) config[0] = '\0';
  fprintf(l->lines, "; %s", config);
  if (row->distance > 0) fprintf(l->lines, ", tuned for %s, %.1f doublings away", row->problem, row->distance);
  if (!row->same_device) fprintf(l->lines, ", on %.*s", (int)strcspn(row->device, "|"), row->device);
  fprintf(l->lines, " (%.4g ms, %s, %s)", row->median * 1e3, row->policy, row->date);
}

static bool offered_before(const attune_rows *rows, int index) {
  for (int i = 0; i < index; i++)
    if (!attune_config_compare(&rows->rows[i].config, &rows->rows[index].config)) return true;
  return false;
}

static void climb_rows(ladder *l, attune_rows_kind kind, const char *rung, const char *scope) {
  attune_rows rows;
  attune_rows_find(&rows, kind, l->store, &l->wanted);
  tell_counts(l, &rows, rung, scope);
  if (!rows.count) fprintf(l->lines, "\n");
  int offers = 0;
  for (int i = 0; i < rows.count && offers < OFFERS && !l->done; i++) {
    if (offered_before(&rows, i)) continue;
    if (offers++) fprintf(l->lines, "%s", rung);
    tell_row(l, &rows.rows[i]);
    offer(l, &rows.rows[i].config, rung);
  }
  free(rows.rows);
}

static bool count_status(void *user, const attune_measurement *row) {
  int *counts = user;
  if (row->status >= 0 && row->status < ATTUNE_MEASURED_COUNT) counts[row->status]++;
  return true;
}

/* Where the exact rung is empty: what was tried for this very problem. */
static void tell_measurements(const ladder *l) {
  int counts[ATTUNE_MEASURED_COUNT] = {0}, total = 0;
  attune_measurement_filter filter = {.problem = l->wanted.text, .device = l->wanted.identity};
  if (l->store) (void)attune_store_measurements(l->store, &filter, count_status, counts); /* failing: none */
  for (int i = 0; i < ATTUNE_MEASURED_COUNT; i++)
    total += counts[i];
  if (!total) return;
  fprintf(l->lines, "exact: %d measurements all the same", total);
  for (int i = 0; i < ATTUNE_MEASURED_COUNT; i++)
    tell_count(l->lines, counts[i], attune_measured_name((attune_measured)i));
  fprintf(l->lines, "\n");
}

static void climb_exact(ladder *l) {
  climb_rows(l, ATTUNE_ROWS_EXACT, "exact", "for this problem on this device");
  if (!l->done) tell_measurements(l);
}

static void climb_model(ladder *l) {
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  climb_rows(l, ATTUNE_ROWS_MODEL, "model", "estimated by a tuner for this problem and architecture");
  if (l->done) return;
  if (attune_config_default(&config, l->wanted.problem, l->wanted.device) != ATTUNE_OK ||
      attune_config_print(text, &config) != ATTUNE_OK) {
    fprintf(l->lines, "model: no default: %s\n", attune_message());
    return;
  }
  double seconds = attune_estimate(&config, l->wanted.problem, l->wanted.device, 0, 0);
  fprintf(l->lines, "model: the least estimate; %s (about %.4g ms)", text, seconds * 1e3);
  offer(l, &config, "model");
}

static void climb_reference(ladder *l) {
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  attune_status status = attune_config_reference(&config, l->wanted.problem);
  if (status == ATTUNE_OK) status = attune_config_print(text, &config);
  if (status != ATTUNE_OK) {
    l->refusal = status;
    return;
  }
  fprintf(l->lines, "reference: always there; %s", text);
  offer(l, &config, "reference");
}

static attune_status name_wanted(attune_wanted *out, const attune_problem *problem, const attune_device *device) {
  *out = (attune_wanted){.problem = problem, .device = device};
  attune_status status = attune_problem_print(out->text, problem);
  if (status == ATTUNE_OK) status = attune_device_identity(out->identity, device);
  if (device->arch)
    snprintf(out->arch, sizeof out->arch, "sm_%d", device->arch);
  else
    snprintf(out->arch, sizeof out->arch, "host");
  return status;
}

attune_status attune_climb(attune_choice *out, attune_store *store, const attune_problem *problem,
                           const attune_device *device, attune_accept *accept, void *user) {
  *out = (attune_choice){0};
  ladder l = {.out = out, .store = store, .accept = accept, .user = user};
  attune_status status = name_wanted(&l.wanted, problem, device);
  if (status != ATTUNE_OK) return status;
  size_t size;
  l.lines = open_memstream(&out->explanation, &size);
  if (!l.lines) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an explanation");
  fprintf(l.lines, "problem: %s\ndevice: %s\n", l.wanted.text, l.wanted.identity);
  climb_exact(&l);
  if (!l.done) climb_rows(&l, ATTUNE_ROWS_NEAR_PROBLEM, "near-problem", "for other problems on this device");
  if (!l.done) climb_rows(&l, ATTUNE_ROWS_NEAR_DEVICE, "near-device", "on other devices of this architecture");
  if (!l.done) climb_model(&l);
  if (!l.done) climb_reference(&l);
  if (fclose(l.lines) != 0) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an explanation");
  return l.refusal;
}

attune_status attune_choose(attune_choice *out, attune_store *store, const attune_problem *problem,
                            const attune_device *device) {
  attune_problem resolved;
  *out = (attune_choice){0};
  attune_status status = attune_problem_resolve(&resolved, problem);
  if (status == ATTUNE_OK) status = attune_climb(out, store, &resolved, device, NULL, NULL);
  if (status != ATTUNE_OK) {
    free(out->explanation);
    *out = (attune_choice){0};
  }
  return status;
}
