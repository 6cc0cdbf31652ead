/* The legal space of a problem as a list of trials, and which of them to try next. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tuner/search/search.h"

enum { ROOM_FOR_NEAR = 2048 }; /* a search meets some hundred */

typedef struct {
  attune_trials *trials;
  bool skip_reference, failed;
} collection;

static bool grow(attune_trials *trials, int capacity) {
  attune_trial *all = realloc(trials->all, (size_t)capacity * sizeof *all);
  if (!all) return false;
  trials->all = all;
  trials->capacity = capacity;
  return true;
}

static bool add(attune_trials *trials, const attune_config *config) {
  attune_trial *trial = &trials->all[trials->count];
  *trial = (attune_trial){.config = *config};
  if (attune_config_print(trial->text, config) != ATTUNE_OK) return false;
  trials->count++;
  return true;
}

static bool visit(void *user, const attune_config *config, bool legal, const char *reason) {
  collection *collection = user;
  (void)reason;
  if (collection->skip_reference && attune_family_is_reference(config->family)) return true;
  attune_trials *trials = collection->trials;
  trials->candidates++;
  if (!legal) return true;
  if (trials->count == trials->capacity)
    collection->failed = !grow(trials, trials->capacity ? 2 * trials->capacity : 256);
  collection->failed = collection->failed || !add(trials, config);
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

static attune_status family_of(int *out, const attune_problem *problem, const char *name) {
  const attune_kernel_operation operation = attune_problem_operation(problem);
  *out = name ? attune_family_named(operation, name) : -1;
  if (*out <= ATTUNE_FAMILY_LAST) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_ARGUMENT, "no family of operation %s is called '%s'", attune_operation_name(operation),
                     name);
}

attune_status attune_trials_collect(attune_trials *out, const attune_problem *problem, const attune_device *device,
                                    const char *family_name) {
  attune_config initial;
  *out = (attune_trials){0};
  collection collection = {.trials = out, .skip_reference = !family_name};
  attune_estimate_memo memo = {.count = 0};
  attune_status status = family_of(&out->family, problem, family_name);
  if (status != ATTUNE_OK) return status;
  status = attune_space(problem, device, out->family, visit, &collection);
  if (status == ATTUNE_OK && !collection.failed && out->count == 0 && collection.skip_reference) {
    status = attune_config_reference(&initial, problem);
    if (status == ATTUNE_OK) collection.failed = !grow(out, 1) || !add(out, &initial);
  }
  out->space = out->count;
  if (status == ATTUNE_OK && !collection.failed) collection.failed = !grow(out, out->count + ROOM_FOR_NEAR);
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
    trial->seconds = attune_estimate_with(&trial->config, problem, device, NULL, &memo);
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
    attune_program_destroy(trials->all[i].program);
    attune_trial_drop_kernels(&trials->all[i]);
    attune_timing_free(&trials->all[i].timing);
  }
  free(trials->all);
  *trials = (attune_trials){0};
}

void attune_trial_drop_kernels(attune_trial *trial) {
  for (int i = 0; i < ATTUNE_STEPS_MAX; i++) {
    free(trial->kernels[i]);
    trial->kernels[i] = NULL;
  }
}

int attune_trial_spills(const attune_trial *trial) {
  int bytes = 0;
  for (int i = 0; i < ATTUNE_STEPS_MAX; i++)
    if (trial->kernels[i] && trial->kernels[i]->spill_bytes > 0) bytes += trial->kernels[i]->spill_bytes;
  return bytes;
}

bool attune_trial_remark(char *out, size_t size, const attune_trial *trial) {
  for (int i = 0; i < ATTUNE_STEPS_MAX; i++)
    if (trial->kernels[i] && attune_kernel_remark(out, size, trial->kernels[i])) return true;
  return false;
}

static attune_trial *find(attune_trials *trials, const attune_config *config) {
  for (int i = 0; i < trials->count; i++)
    if (memcmp(&trials->all[i].config, config, sizeof *config) == 0) return &trials->all[i]; /* integers alone */
  return NULL;
}

/* One that an earlier search met around its best; NULL: it is not of these families. */
static attune_trial *add_recalled(attune_trials *trials, const attune_config *config) {
  if (trials->family >= 0 ? config->family != trials->family : attune_family_is_reference(config->family)) return NULL;
  if (trials->count == trials->capacity || !add(trials, config)) return NULL;
  trials->all[trials->count - 1].complexity = trials->count;
  return &trials->all[trials->count - 1];
}

const char *attune_trial_hash(attune_trial *trial, const attune_problem *problem, const char *arch) {
  if (trial->result_hash[0] == '\0' &&
      attune_result_hash(trial->result_hash, &trial->config, problem, arch) != ATTUNE_OK)
    trial->result_hash[0] = '\0';
  return trial->result_hash;
}

typedef struct {
  int64_t *ids;
  int count, capacity;
} id_list;

typedef struct {
  attune_trials *trials;
  const attune_recall_options *options;
  id_list outdated, good; /* rows of the user's file whose mark is to change */
  int outdated_count;
  bool failed;
} recollection;

static bool add_id(id_list *list, int64_t id) {
  if (list->count == list->capacity) {
    const int capacity = list->capacity ? 2 * list->capacity : 64;
    int64_t *grown = realloc(list->ids, (size_t)capacity * sizeof *grown);
    if (!grown) return false;
    list->ids = grown;
    list->capacity = capacity;
  }
  list->ids[list->count++] = id;
  return true;
}

/* trial: of the row's config, or NULL. */
static bool is_current(const attune_recall_options *options, const attune_measurement *row, const attune_config *config,
                       attune_trial *trial) {
  if (strcmp(row->tool, attune_tool()) != 0 && trial != NULL &&
      strcmp(row->result_hash, attune_trial_hash(trial, options->problem, options->arch)) == 0)
    return true;
  return attune_result_is_current(row, config, options->problem);
}

static void take_over(attune_trial *trial, const attune_measurement *row) {
  trial->tried = true;
  trial->status = row->status;
  trial->verified = row->verified;
  trial->error = row->error;
  trial->error_bound = row->error_bound;
  snprintf(trial->note, sizeof trial->note, "%s", row->note);
  if (row->status == ATTUNE_MEASURED_OK) trial->seconds = row->median;
}

static bool recall(void *user, const attune_measurement *row) {
  recollection *r = user;
  attune_config config;
  if (attune_config_parse(&config, row->config) != ATTUNE_OK) return true;
  attune_trial *trial = find(r->trials, &config);
  const bool current = is_current(r->options, row, &config, trial);
  r->outdated_count += !current;
  if (row->database == 0 && row->outdated == current)
    r->failed = r->failed || !add_id(current ? &r->good : &r->outdated, row->id);
  if (!current || !r->options->take || strcmp(row->policy, r->options->policy) != 0) return !r->failed;
  if (trial == NULL) trial = add_recalled(r->trials, &config);
  if (trial != NULL) take_over(trial, row);
  return !r->failed;
}

attune_status attune_trials_recall(attune_trials *trials, attune_store *store, const attune_recall_options *options,
                                   int *recalled, int *outdated) {
  recollection r = {.trials = trials, .options = options};
  const attune_measurement_filter filter = {.problem = options->problem_text, .device = options->device};
  attune_status status = attune_store_measurements(store, &filter, recall, &r);
  if (status == ATTUNE_OK && r.failed) status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for what is stored");
  if (status == ATTUNE_OK)
    status = attune_store_mark(store, options->problem_text, options->device, r.outdated.ids, r.outdated.count, true);
  if (status == ATTUNE_OK)
    status = attune_store_mark(store, options->problem_text, options->device, r.good.ids, r.good.count, false);
  free(r.outdated.ids);
  free(r.good.ids);
  *outdated = r.outdated_count;
  *recalled = 0;
  for (int i = 0; i < trials->count; i++)
    *recalled += trials->all[i].tried;
  return status;
}

/* Inserts by seconds, then by complexity; drops the last where all places are taken. */
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

/* ---- a sample ---- */

/* A number that text and seed decide, as good as random: FNV-1a and MurmurHash3's last step. */
static uint64_t hash_of(const char *text, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325u ^ seed;
  for (; *text != '\0'; text++)
    hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
  hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
  return hash ^ hash >> 33;
}

/* Those with the least hashes: the same ones whenever the search goes on. */
int attune_trials_sample(const attune_trials *trials, uint64_t seed, int size, attune_trial **out, int most) {
  const uint64_t space = (uint64_t)trials->space;
  const uint64_t limit = (uint64_t)size < space ? UINT64_MAX / space * (uint64_t)size : UINT64_MAX;
  int count = 0;
  for (int i = 0; i < trials->space; i++) {
    if (trials->all[i].tried || hash_of(trials->all[i].text, seed) > limit) continue;
    if (count < most) out[count] = &trials->all[i];
    count++;
  }
  return count;
}

static bool same_shape(const attune_config *a, const attune_config *b) {
  return a->family == b->family && a->tile_m == b->tile_m && a->tile_n == b->tile_n && a->warps == b->warps &&
         attune_config_value(a, "q_in_regs") == attune_config_value(b, "q_in_regs") &&
         a->min_blocks_per_sm == b->min_blocks_per_sm;
}

static bool has_dq(const attune_config *config) {
  return attune_config_operation(config) == ATTUNE_OPERATION_BACKWARD;
}

/* Of the config, or of its kernel for dQ. */
static bool has_shape(const attune_trial *trial, const attune_config *shape, bool dq) {
  if (!dq) return same_shape(&trial->config, shape);
  attune_config other;
  if (!has_dq(&trial->config)) return false;
  attune_config_dq(&other, &trial->config);
  return same_shape(&other, shape);
}

static bool is_tried(const attune_trials *trials, attune_trial *const *picked, int count, const attune_config *shape,
                     bool dq) {
  for (int i = 0; i < count; i++)
    if (has_shape(picked[i], shape, dq)) return true;
  for (int i = 0; i < trials->count; i++)
    if (trials->all[i].tried && has_shape(&trials->all[i], shape, dq)) return true;
  return false;
}

static bool shape_is_new(const attune_trials *trials, attune_trial *const *picked, int count,
                         const attune_trial *trial) {
  attune_config dq;
  if (!is_tried(trials, picked, count, &trial->config, false)) return true;
  if (!has_dq(&trial->config)) return false;
  attune_config_dq(&dq, &trial->config);
  return !is_tried(trials, picked, count, &dq, true);
}

int attune_trials_diverse(const attune_trials *trials, attune_trial **out, int most) {
  int count = 0;
  if (!trials->initial->tried && most > 0) out[count++] = trials->initial;
  for (int i = 0; i < trials->count && count < most; i++)
    if (!trials->all[i].tried && shape_is_new(trials, out, count, &trials->all[i])) out[count++] = &trials->all[i];
  return count;
}

/* ---- around the best ---- */

typedef struct {
  attune_trials *trials;
  const attune_problem *problem;
  const attune_device *device;
  attune_estimate_memo memo;
  attune_trial **out;
  int count, most;
} neighbours;

/* One that the space lacks: simpler ones win ties. */
static attune_trial *add_near(neighbours *n, const attune_config *config) {
  attune_trials *trials = n->trials;
  attune_trial *trial = &trials->all[trials->count];
  if (trials->count == trials->capacity || !add(trials, config)) return NULL;
  trial->complexity = trials->count;
  trial->seconds = attune_estimate_with(config, n->problem, n->device, NULL, &n->memo);
  if (!isfinite(trial->seconds)) trials->count--; /* it cannot serve the problem */
  return isfinite(trial->seconds) ? trial : NULL;
}

static bool visit_near(void *user, const attune_config *config, bool legal, const char *reason) {
  neighbours *n = user;
  (void)reason;
  if (!legal) return true;
  attune_trial *trial = find(n->trials, config);
  if (trial == NULL) trial = add_near(n, config);
  if (trial == NULL || trial->tried) return true;
  for (int i = 0; i < n->count; i++)
    if (n->out[i] == trial) return true;
  n->count = insert(n->out, n->count, n->most, trial);
  return true;
}

/* The fastest of each tile shape, so that not all of them are one config with small changes. */
static int best_of_shapes(const attune_trials *trials, attune_trial **out, int most) {
  enum { LOOKED_AT = 64 };
  attune_trial *best[LOOKED_AT];
  const int found = attune_trials_best(trials, best, LOOKED_AT);
  int count = 0;
  for (int i = 0; i < found && count < most; i++) {
    bool fresh = true;
    for (int j = 0; j < count; j++)
      fresh = fresh && !same_shape(&out[j]->config, &best[i]->config);
    if (fresh) out[count++] = best[i];
  }
  return count;
}

int attune_trials_near(attune_trials *trials, const attune_problem *problem, const attune_device *device, int around,
                       attune_trial **out, int most) {
  attune_trial *best[16];
  const int centres = best_of_shapes(trials, best, around < 16 ? around : 16);
  neighbours n = {.trials = trials, .problem = problem, .device = device, .out = out, .most = most};
  for (int centre = 0; centre < centres && most > 0; centre++)
    attune_space_near(&best[centre]->config, device, visit_near, &n);
  return n.count;
}
