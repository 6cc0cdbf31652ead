/* What the verbs share: beginning, failing, and which device and config the flags mean. */
#include "tuner/command/command.h"
#include "tuner/files/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/command/table.h"
#include "tuner/files/problem_parts.h"

json_t *attune_json_number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

json_t *attune_json_time(double value) {
  return value > 0 ? attune_json_number(value) : json_null();
}

json_t *attune_json_count(int64_t value) {
  return value >= 0 ? json_integer(value) : json_null();
}

json_t *attune_json_class(const attune_problem *problem) {
  char text[ATTUNE_TEXT_MAX];
  return attune_problem_print(text, problem) == ATTUNE_OK ? json_string(text) : NULL;
}

const char *attune_text_or_null(const char *text) {
  return *text != '\0' ? text : NULL;
}

attune_status attune_json_append(json_t *array, json_t *value) {
  if (json_array_append_new(array, value) == 0) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_JSON, "a result does not become JSON: a text in it is not UTF-8, or memory is short");
}

static attune_status print_document(json_t *document) {
  const bool printed = document != NULL && json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0;
  json_decref(document);
  if (printed && putchar('\n') != EOF) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_JSON, "the results cannot be printed as JSON: a text in them is not UTF-8, memory is "
                                      "short, or standard output is full");
}

attune_status attune_print_json(json_t *document) {
  json_t *whole = json_pack("{s:s, s:n}", "status", attune_status_name(ATTUNE_OK), "message");
  if (document == NULL || json_object_update(whole, document) != 0) {
    json_decref(whole);
    whole = NULL;
  }
  json_decref(document);
  return print_document(whole);
}

/* What was asked for cannot be meant, on whatever machine: 2. It could not be done here: 1. */
int attune_exit_code(attune_status status) {
  switch (status) {
  case ATTUNE_OK:
    return 0;
  case ATTUNE_INTERRUPTED:
    return 130;
  case ATTUNE_BAD_ARGUMENT:
  case ATTUNE_BAD_HEAD_DIM:
  case ATTUNE_BAD_HEADS:
  case ATTUNE_BAD_SIZE:
  case ATTUNE_BAD_STRIDE:
  case ATTUNE_BAD_SCALE:
  case ATTUNE_BAD_WINDOW:
  case ATTUNE_BAD_EXPRESSION:
  case ATTUNE_BAD_CONFIG:
    return 2;
  default:
    return 1;
  }
}

/* A byte of 0x80 or more may be part of no character of UTF-8. */
static void keep_ascii(char *text) {
  for (; *text != '\0'; text++)
    if ((unsigned char)*text >= 0x80) *text = '?';
}

json_t *attune_json_text(const char *text) {
  json_t *value = json_string(text);
  char *copy = value == NULL ? strdup(text) : NULL;
  if (copy != NULL) {
    keep_ascii(copy);
    value = json_string(copy);
  }
  free(copy);
  return value;
}

int attune_verb_failed(const attune_flags *flags, attune_status status) {
  json_t *report = flags->json ? json_pack("{s:s, s:o}", "status", attune_status_name(status), "message",
                                           attune_json_text(attune_message()))
                               : NULL;
  if (report == NULL || print_document(report) != ATTUNE_OK) fprintf(stderr, "attune: %s\n", attune_message());
  return attune_exit_code(status);
}

/* What --like takes. */
static int print_cards(const attune_flags *flags) {
  attune_device device;
  char key[ATTUNE_CARD_KEY_MAX], figures[256];
  json_t *list = json_array();
  attune_status status = ATTUNE_OK;
  for (int i = 0; status == ATTUNE_OK && attune_device_of_card_at(&device, key, i); i++) {
    if (flags->json) {
      status = attune_json_append(list, json_string(key));
    } else {
      attune_device_figures(figures, &device);
      printf("%-12s %s\n", key, figures);
    }
  }
  if (status == ATTUNE_OK && flags->json) status = attune_print_json(json_pack("{s:O}", "cards", list));
  json_decref(list);
  return status == ATTUNE_OK ? 0 : attune_verb_failed(flags, status);
}

bool attune_verb_begin(attune_flags *flags, int *exit_code, int argc, char **argv) {
  attune_status status = attune_flags_parse(flags, argc, argv);
  if (status == ATTUNE_OK && flags->json && flags->output && attune_file_is_standard_output(flags->output))
    status = attune_fail(ATTUNE_BAD_ARGUMENT, "--json and --output - both write to standard output: drop one of them");
  if (status == ATTUNE_OK && flags->json && flags->help)
    status = attune_fail(ATTUNE_BAD_ARGUMENT, "--help prints text: leave out --json");
  const bool cards = flags->like != NULL && strcmp(flags->like, "?") == 0;
  *exit_code = status == ATTUNE_OK ? 0 : attune_verb_failed(flags, status);
  if (status == ATTUNE_OK && flags->help)
    attune_help_verb(attune_verb_of(argv[0]));
  else if (status == ATTUNE_OK && cards)
    *exit_code = print_cards(flags);
  return status == ATTUNE_OK && !flags->help && !cards;
}

attune_status attune_require(const char *value, const char *flag, const char *what_for) {
  return value != NULL ? ATTUNE_OK : attune_fail(ATTUNE_BAD_ARGUMENT, "--%s is missing: %s", flag, what_for);
}

const char *attune_device_name(const attune_flags *flags) {
  static bool told;
  if (flags->device != NULL || attune_backend_count() > 0) return flags->device;
  if (!told)
    fprintf(stderr, "attune: there is no CUDA device (attune devices says why): using the simulator on the CPU,\n"
                    "  as with --device host; it checks kernels, and times of a GPU are estimates\n");
  told = true;
  return "host";
}

/* A card that is not listed has a name of its own: rows of the listed one are not for it. */
static void change_figures(attune_device *device, const attune_flags *flags) {
  if (flags->sm_count > 0) device->sm_count = (int32_t)flags->sm_count;
  if (flags->bandwidth > 0) device->memory_bandwidth = (int64_t)(flags->bandwidth * 1e9);
  if (flags->clock > 0) device->clock_khz = (int32_t)(flags->clock * 1e3);
  char name[sizeof device->name], card[sizeof device->card];
  snprintf(name, sizeof name, "%.80s, changed to %.0f MHz, %.0f GB/s", device->name, device->clock_khz * 1e-3,
           (double)device->memory_bandwidth * 1e-9);
  snprintf(card, sizeof card, "%.50s, changed", device->card);
  memcpy(device->name, name, sizeof name);
  memcpy(device->card, card, sizeof card);
}

attune_status attune_device_modelled(attune_device *device, bool *modelled, const attune_flags *flags) {
  const bool changed = flags->sm_count > 0 || flags->bandwidth > 0 || flags->clock > 0;
  *modelled = flags->arch != NULL || flags->like != NULL;
  if (flags->arch != NULL && flags->like != NULL)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "--arch %.20s and --like %.20s: one of them says for what", flags->arch,
                       flags->like);
  if (!*modelled && changed)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "--sm-count, --bandwidth and --clock change a card that is only modelled: "
                                            "say which, with --like CARD or --arch sm_90");
  if (!*modelled) return ATTUNE_OK;
  const attune_status status =
      flags->like != NULL ? attune_device_of_card(device, flags->like) : attune_device_of_arch(device, flags->arch);
  if (status == ATTUNE_OK && changed) change_figures(device, flags);
  return status;
}

attune_status attune_device_of_flags(attune_device *device, char arch[16], const attune_flags *flags) {
  attune_backend *machine = NULL;
  bool modelled;
  if (flags->device != NULL && (flags->arch != NULL || flags->like != NULL))
    return attune_fail(ATTUNE_BAD_ARGUMENT, "--%s %.20s and --device %.20s: one of them says for what",
                       flags->arch != NULL ? "arch" : "like", flags->arch != NULL ? flags->arch : flags->like,
                       flags->device);
  const attune_status found = attune_device_modelled(device, &modelled, flags);
  if (found != ATTUNE_OK) return found;
  if (modelled) {
    snprintf(arch, 16, device->arch == 0 ? "host" : "sm_%d", device->arch);
    return ATTUNE_OK;
  }
  const attune_status status = attune_backend_open(&machine, attune_device_name(flags), flags->seed);
  if (status != ATTUNE_OK) return status;
  *device = *attune_backend_device(machine);
  snprintf(arch, 16, "%s", attune_backend_arch(machine));
  attune_backend_close(machine);
  return ATTUNE_OK;
}

/* ---- configs ---- */

static attune_status family_index(int *out, const attune_problem *problem, const char *name) {
  const attune_kernel_operation operation = attune_problem_operation(problem);
  char known[128] = "";
  *out = attune_family_named(operation, name);
  if (*out <= ATTUNE_FAMILY_LAST) return ATTUNE_OK;
  for (int32_t family = 0; family <= ATTUNE_FAMILY_LAST; family++)
    if (attune_config_operation(&(attune_config){.family = family}) == operation)
      snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", known[0] != '\0' ? ", " : "",
               attune_family_name((attune_family)family));
  return attune_fail(ATTUNE_BAD_ARGUMENT, "--family \"%.40s\": of operation %s there are %s", name,
                     attune_operation_name(operation), known);
}

typedef struct {
  const attune_problem *problem;
  const attune_device *device;
  attune_config best;
  double seconds;
  int visited, legal;
  char reason[256]; /* of the last refusal */
  attune_estimate_memo memo;
} family_search;

static bool visit(void *user, const attune_config *config, bool legal, const char *reason) {
  family_search *self = user;
  self->visited++;
  if (!legal) {
    snprintf(self->reason, sizeof self->reason, "%s", reason);
    return true;
  }
  const double seconds = attune_estimate_with(config, self->problem, self->device, NULL, &self->memo);
  const bool better =
      seconds < self->seconds || (seconds <= self->seconds && attune_config_compare(config, &self->best) < 0);
  if (self->legal++ == 0 || better) {
    self->best = *config;
    self->seconds = seconds;
  }
  return true;
}

static attune_status best_of_family(attune_config *out, const char *name, const attune_problem *problem,
                                    const attune_device *device) {
  int family;
  family_search search = {.problem = problem, .device = device};
  attune_status status = family_index(&family, problem, name);
  if (status == ATTUNE_OK) status = attune_space(problem, device, family, visit, &search);
  if (status != ATTUNE_OK) return status;
  if (search.legal == 0)
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "none of the %d configs of family %s is legal here, the last because: %s",
                       search.visited, name, search.reason);
  *out = search.best;
  return ATTUNE_OK;
}

attune_status attune_config_of_flags(attune_config *out, const attune_flags *flags, const attune_problem *problem,
                                     const attune_device *device) {
  attune_problem resolved;
  attune_launch launch;
  attune_status status = attune_problem_resolve(&resolved, problem);
  if (status != ATTUNE_OK) return status;
  if (flags->config == NULL)
    return flags->family != NULL ? best_of_family(out, flags->family, &resolved, device)
                                 : attune_config_default(out, &resolved, device);
  if ((status = attune_config_parse(out, flags->config)) != ATTUNE_OK) return status;
  if (flags->family != NULL && strcmp(flags->family, attune_family_name((attune_family)out->family)) != 0)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "--family %s and --config %s contradict each other: leave one out",
                       flags->family, flags->config);
  if (attune_config_fits(out, &resolved) != ATTUNE_OK) return ATTUNE_BAD_CONFIG; /* misuse, not a limit of the device */
  if ((status = attune_config_legal(out, device)) != ATTUNE_OK) return status;
  status = attune_launch_of(&launch, out, &resolved);
  return status == ATTUNE_ILLEGAL_CONFIG ? ATTUNE_BAD_CONFIG : status; /* as what does not fit */
}

attune_status attune_problem_of_config(attune_problem *out, const attune_flags *flags) {
  enum { LONG_ENOUGH = 512 }; /* for a bound to hide keys */
  attune_config config;
  *out = flags->problem;
  if (flags->config == NULL || flags->seen != 0) return ATTUNE_OK;
  const attune_status status = attune_config_parse(&config, flags->config);
  if (status != ATTUNE_OK) return status;
  attune_problem_init(out);
  const attune_kernel_operation operation = attune_config_operation(&config);
  if (operation != ATTUNE_OPERATION_FORWARD && operation != ATTUNE_OPERATION_COMBINE &&
      operation != ATTUNE_OPERATION_BLOCK_MASK)
    out->operation = ATTUNE_BACKWARD;
  out->dtype = (attune_dtype)config.dtype;
  if (config.head_dim > 0) out->head_dim = config.head_dim; /* 0: the operation does not have it */
  if (config.head_dim_v > 0) out->head_dim_v = config.head_dim_v;
  out->seqlen_q = out->seqlen_k = LONG_ENOUGH;
  out->heads_q = config.pack_gqa * out->heads_kv;
  if (config.mask_bounds == ATTUNE_MASK_BOUNDS_CAUSAL) out->mask = ATTUNE_MASK_CAUSAL;
  if (config.mask_bounds == ATTUNE_MASK_BOUNDS_WINDOW) out->window_left = out->window_right = LONG_ENOUGH / 4;
  if (config.score == ATTUNE_SCORE_NEGATED) out->scale = -1.0f;
  if (config.score == ATTUNE_SCORE_SOFTCAP) out->softcap = 50.0f;
  out->want_lse = config.lse;
  out->want_dsinks = config.dsinks || operation == ATTUNE_OPERATION_DSINKS;
  out->want_sinks = config.sinks || out->want_dsinks;
  out->accumulate = config.accumulate;
  out->block_size = config.sparse_block_size;
  return attune_problem_check(out);
}
