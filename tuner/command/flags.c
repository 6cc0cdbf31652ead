/* The flags of every verb: those of the table of problem fields, a table of the others, and one of verbs that says
 * which flags each takes. */
#include "tuner/files/problem_parts.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/problem/field.h"

/* Groups of flags that a verb takes or does not. */
enum {
  SCORE = 1 << 0, /* what is computed of given tensors */
  SHAPE = 1 << 1, /* and of which sizes */
  DEVICE = 1 << 2,
  ARCH = 1 << 3,
  FAMILY = 1 << 4,
  CONFIG = 1 << 5,
  DATABASE = 1 << 6,
  INPUT = 1 << 7,
  OUTPUT = 1 << 8,
  WORKLOAD = 1 << 9,
  SEARCH = 1 << 10, /* how long and how hard */
  SEED = 1 << 11,
  JOBS = 1 << 12,
  COMMON = 1 << 13,
  PROBLEM = SCORE | SHAPE,
  BLOCKS = 1 << 15,
  LENGTHS = 1 << 16,    /* of each sequence */
  POSITIONAL = 1 << 14, /* arguments that are no flags */
  CARD = 1 << 17        /* a card that need not be present */
};

static const struct {
  const char *verb;
  int groups;
} verbs[] = {
    {"devices", 0},
    {"emit", BLOCKS | PROBLEM | DEVICE | ARCH | CARD | FAMILY | CONFIG | OUTPUT},
    {"compile", BLOCKS | PROBLEM | DEVICE | ARCH | CARD | FAMILY | CONFIG | OUTPUT},
    {"run", BLOCKS | SCORE | DEVICE | FAMILY | CONFIG | DATABASE | INPUT | OUTPUT | SEED},
    {"verify", BLOCKS | LENGTHS | PROBLEM | DEVICE | FAMILY | CONFIG | DATABASE | INPUT | SEED},
    {"tune", BLOCKS | PROBLEM | DEVICE | ARCH | CARD | FAMILY | DATABASE | WORKLOAD | SEARCH | SEED | JOBS},
    {"explain", BLOCKS | PROBLEM | DEVICE | ARCH | CARD | DATABASE | WORKLOAD},
    {"bench", BLOCKS | PROBLEM | DEVICE | FAMILY | CONFIG | DATABASE | WORKLOAD | SEED},
    {"store", BLOCKS | PROBLEM | DEVICE | ARCH | CONFIG | DATABASE | POSITIONAL},
};

/* The flags that are no fields of a problem. */
typedef enum {
  PROBLEM_TEXT,
  BLOCK_SIZE,
  SEQLENS_Q,
  SEQLENS_K,
  DEVICE_NAME,
  ARCH_NAME,
  CARD_NAME,
  SM_COUNT,
  BANDWIDTH,
  CLOCK,
  FAMILY_NAME,
  CONFIG_TEXT,
  DATABASE_PATH,
  INPUT_PATH,
  OUTPUT_PATH,
  WORKLOAD_NAME,
  BUDGET,
  EFFORT,
  FORCE,
  SEED_NUMBER,
  JOBS_NUMBER,
  JSON,
  HELP,
  FLAG_COUNT
} flag_id;

typedef struct {
  const char *name, *argument; /* argument NULL: none */
  int groups;                  /* any of them lets a verb take it */
  const char *meaning;
} flag_row;

static const flag_row table[FLAG_COUNT] = {
    [PROBLEM_TEXT] = {"problem", "FILE|TEXT", SHAPE, "a JSON file, or forward.bf16.d128...; flags change it"},
    [BLOCK_SIZE] = {"block-size", "N", BLOCKS,
                    "queries and keys of a block: of block_mask, of what explain counts (128)"},
    [SEQLENS_Q] = {"seqlens-q", "N,N,...", LENGTHS, "queries of each sequence, at most --seqlen-q (lengths are drawn)"},
    [SEQLENS_K] = {"seqlens-k", "N,N,...", LENGTHS, "keys of each sequence, at most --seqlen-k"},
    [DEVICE_NAME] = {"device", "cuda:N|host", DEVICE, "where it runs (cuda:0 if there is one, else host)"},
    [ARCH_NAME] = {"arch", "sm_90|host", ARCH, "an architecture that need not be present (the device's)"},
    [CARD_NAME] = {"like", "CARD", CARD, "a card that need not be present: a10, rtx4090 ... (? lists them)"},
    [SM_COUNT] = {"sm-count", "N", CARD, "SMs of the card of --like or --arch, for one that is not listed"},
    [BANDWIDTH] = {"bandwidth", "GB/s", CARD, "its memory's bandwidth"},
    [CLOCK] = {"clock", "MHz", CARD, "its SMs' clock under load"},
    [FAMILY_NAME] = {"family", "NAME", FAMILY, "only this family of kernels (wgmma, mma, reference)"},
    [CONFIG_TEXT] = {"config", "TEXT", CONFIG, "this config, as other verbs print it"},
    [DATABASE_PATH] = {"database", "PATH", DATABASE, "the store ($ATTUNE_DATABASE, else the XDG cache folder)"},
    [INPUT_PATH] = {"input", "FILE", INPUT, "what is read"},
    [OUTPUT_PATH] = {"output", "FILE", OUTPUT, "what is written"},
    [WORKLOAD_NAME] = {"workload", "FILE|NAME", WORKLOAD, "a list of problems: JSON, or one that ships"},
    [BUDGET] = {"budget", "TIME", SEARCH, "per problem: 90s, 10m, 1h (none)"},
    [EFFORT] = {"effort", "quick|normal|sample|exhaustive", SEARCH, "how much of the space is tried (normal)"},
    [FORCE] = {"force", NULL, SEARCH, "measure again what the store has"},
    [SEED_NUMBER] = {"seed", "N", SEED, "of inputs and of the simulator's schedule (0)"},
    [JOBS_NUMBER] = {"jobs", "N", JOBS, "kernels compiled at a time (all cores)"},
    [JSON] = {"json", NULL, COMMON, "results as JSON"},
    [HELP] = {"help", NULL, COMMON, "this"},
};

/* Flags by number: the fields of a problem, then the table. What getopt_long returns is beyond every character. */
enum { FIRST_FLAG = 256, FIELDS_MAX = 63 };

static flag_row flag_at(int number) {
  if (number >= attune_problem_field_count) return table[number - attune_problem_field_count];
  const attune_problem_field *field = &attune_problem_fields[number];
  return (flag_row){field->flag, field->argument,
                    field->flag == NULL ? 0
                    : field->size       ? SHAPE
                                        : SCORE,
                    field->meaning};
}

static int flag_count(void) {
  return attune_problem_field_count + FLAG_COUNT;
}

static int groups_of(const char *verb) {
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (strcmp(verbs[i].verb, verb) == 0) return verbs[i].groups | COMMON;
  return COMMON;
}

void attune_flags_help(const char *verb, const char *summary) {
  const int groups = groups_of(verb);
  printf("usage: attune %s [flags]%s\n\n%s\n\n", verb, groups & POSITIONAL ? " ..." : "", summary);
  for (int i = 0; i < flag_count(); i++) {
    const flag_row row = flag_at(i);
    if ((row.groups & groups) == 0) continue;
    char flag[64];
    snprintf(flag, sizeof flag, "--%s %s", row.name, row.argument != NULL ? row.argument : "");
    printf(strlen(flag) <= 28 ? "  %-28s %s\n" : "  %s\n  %29s%s\n", flag, strlen(flag) <= 28 ? row.meaning : "",
           row.meaning);
  }
}

/* ---- values ---- */

static attune_status misuse(const flag_row *flag, const char *value, const char *expected) {
  return attune_fail(ATTUNE_BAD_ARGUMENT, "--%s \"%.80s\": expected %s", flag->name, value, expected);
}

/* The integer that the text begins with; *end is the text if there is none. */
static attune_status read_leading(int32_t *out, const flag_row *flag, const char *text, char **end) {
  errno = 0;
  const long long value = strtoll(text, end, 10);
  if (errno == ERANGE || value < INT32_MIN || value > INT32_MAX)
    return attune_fail(ATTUNE_BAD_SIZE, "--%s %.80s: it must be from %d to %d", flag->name, text, INT32_MIN, INT32_MAX);
  *out = (int32_t)value;
  return ATTUNE_OK;
}

static attune_status read_integer(int32_t *out, const flag_row *flag, const char *text) {
  char *end;
  int32_t value;
  const attune_status status = read_leading(&value, flag, text, &end);
  if (status != ATTUNE_OK) return status;
  if (end == text || *end != '\0') return misuse(flag, text, "an integer");
  *out = value;
  return ATTUNE_OK;
}

static attune_status read_float(float *out, const flag_row *flag, const char *text) {
  char *end;
  const float value = strtof(text, &end);
  if (end == text || *end != '\0') return misuse(flag, text, "a number");
  if (!isfinite(value))
    return attune_fail(ATTUNE_BAD_SCALE,
                       "--%s %.80s: it must be finite as a float, at most 3.4e38; leave the flag out for "
                       "the usual value",
                       flag->name, text);
  *out = value;
  return ATTUNE_OK;
}

static attune_status read_seed(uint64_t *out, const char *text) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 0);
  if (end == text || *end != '\0' || *text == '-' || errno == ERANGE)
    return misuse(&table[SEED_NUMBER], text, "a number from 0 to 2^64 - 1");
  return ATTUNE_OK;
}

static attune_status read_seconds(double *out, const char *text) {
  char *end;
  const double value = strtod(text, &end);
  const double unit = strcmp(end, "h") == 0 ? 3600.0 : strcmp(end, "m") == 0 ? 60.0 : 1.0;
  const bool known = *end == '\0' || strcmp(end, "s") == 0 || unit > 1.0;
  if (end == text || !known || !isfinite(value) || value <= 0.0)
    return misuse(&table[BUDGET], text, "a time such as 90s, 10m or 1h");
  *out = value * unit;
  return ATTUNE_OK;
}

/* A whole number from 1 to most. */
static attune_status read_figure(double *out, flag_id id, const char *text, int32_t most) {
  int32_t value = 0;
  char expected[48];
  snprintf(expected, sizeof expected, "a whole number of %s from 1 to %d", id == SM_COUNT ? "SMs" : table[id].argument,
           most);
  const attune_status status = read_integer(&value, &table[id], text);
  *out = value;
  return status != ATTUNE_OK || (value >= 1 && value <= most) ? status : misuse(&table[id], text, expected);
}

static attune_status read_word(int *out, const flag_row *flag, const char *const *words, const char *text) {
  *out = attune_word_index(words, text);
  return *out < 0 ? misuse(flag, text, flag->argument) : ATTUNE_OK;
}

/* Two integers; a negative side is unbounded. */
static attune_status read_window(int32_t sides[2], const flag_row *flag, const char *text) {
  static const char expected[] = "two integers such as 128,0 or -1,64";
  char *comma, *end;
  int32_t left, right;
  attune_status status = read_leading(&left, flag, text, &comma);
  if (status != ATTUNE_OK) return status;
  if (comma == text || *comma != ',') return misuse(flag, text, expected);
  if ((status = read_leading(&right, flag, comma + 1, &end)) != ATTUNE_OK) return status;
  if (end == comma + 1 || *end != '\0') return misuse(flag, text, expected);
  sides[0] = left < 0 ? -1 : left;
  sides[1] = right < 0 ? -1 : right;
  return ATTUNE_OK;
}

static attune_status read_lengths(attune_inputs *inputs, flag_id id, const char *text) {
  const flag_row *flag = &table[id];
  static const char expected[] = "a length for each sequence, as in 512,100,0";
  int32_t lengths[ATTUNE_GIVEN_ELEMENTS];
  int count = 0;
  for (const char *at = text;;) {
    char *end;
    if (count == ATTUNE_GIVEN_ELEMENTS) return misuse(flag, text, "fewer lengths");
    const attune_status status = read_leading(&lengths[count], flag, at, &end);
    if (status != ATTUNE_OK) return status;
    if (end == at || (*end != ',' && *end != '\0') || lengths[count] < 0) return misuse(flag, text, expected);
    count++;
    if (*end == '\0') break;
    at = end + 1;
  }
  return attune_inputs_set_seqlens(inputs, id == SEQLENS_Q ? ATTUNE_QUERIES : ATTUNE_KEYS, lengths, count);
}

/* The sizes stand where strides belong until all flags are read. */
static attune_status read_bias(attune_problem *problem, const flag_row *flag, const char *text) {
  int64_t *const sizes[] = {&problem->bias.batch, &problem->bias.heads, &problem->bias.seqlen};
  char *end = (char *)(uintptr_t)text;
  for (int i = 0; i < 3; i++) {
    int32_t size;
    const char *at = i > 0 ? end + 1 : end;
    if (i > 0 && *end != ',') return misuse(flag, text, "three sizes, as in 1,16,4096");
    const attune_status status = read_leading(&size, flag, at, &end);
    if (status != ATTUNE_OK) return status;
    if (end == at || size < 1) return misuse(flag, text, "three sizes, as in 1,16,4096");
    *sizes[i] = size;
  }
  if (*end != '\0') return misuse(flag, text, "three sizes, as in 1,16,4096");
  problem->want_bias = 1;
  return ATTUNE_OK;
}

static attune_status read_problem(attune_problem *problem, attune_inputs *given, const char *text) {
  json_error_t error;
  if (strncmp(text, "forward.", strlen("forward.")) == 0) return attune_problem_parse(problem, text);
  json_t *object = json_load_file(text, JSON_REJECT_DUPLICATES, &error);
  if (object == NULL && error.line < 0)
    return attune_fail(ATTUNE_BAD_FILE,
                       "--problem: %s; expected a JSON file or a text such as "
                       "forward.bf16.d128.b4.h16.kv16.q4096.k4096.causal",
                       error.text);
  if (object == NULL)
    return attune_fail(ATTUNE_BAD_JSON, "%s, line %d, column %d: %s", text, error.line, error.column, error.text);
  const attune_status status = attune_problem_of_json(problem, given, object, text);
  json_decref(object);
  return status;
}

/* ---- parsing ---- */

static attune_status take_field(attune_flags *flags, const attune_problem_field *field, const char *text) {
  attune_problem *problem = &flags->problem;
  char *place = (char *)problem + field->offset;
  const flag_row row = flag_at((int)(field - attune_problem_fields));
  int32_t integers[2] = {1, 0}; /* of a flag */
  float real = 0;
  size_t size = sizeof *integers;
  attune_status status = ATTUNE_OK;
  switch (field->kind) {
  case ATTUNE_FIELD_FLOAT:
    status = read_float(&real, &row, text);
    if (status == ATTUNE_OK) memcpy(place, &real, sizeof real);
    return status;
  case ATTUNE_FIELD_INT:
    status = read_integer(integers, &row, text);
    break;
  case ATTUNE_FIELD_WORD:
    status = read_word(integers, &row, field->words, text);
    break;
  case ATTUNE_FIELD_WINDOW:
    status = read_window(integers, &row, text);
    size = sizeof integers;
    break;
  case ATTUNE_FIELD_FLAG:
    break;
  case ATTUNE_FIELD_BIAS:
    return read_bias(problem, &row, text);
  case ATTUNE_FIELD_PATTERN:
    return attune_problem_add_pattern(problem, &flags->given, text);
  case ATTUNE_FIELD_MASK_EXPR:
    return attune_problem_add_mask(problem, &flags->given, text);
  case ATTUNE_FIELD_SCORE_EXPR:
    return attune_problem_set_score(problem, &flags->given, text);
  case ATTUNE_FIELD_PARAMS:
    return attune_inputs_param(&flags->given, problem, text);
  default: /* strides have no flag */
    return attune_fail(ATTUNE_BAD_ARGUMENT, "no flag sets %s", field->name);
  }
  if (status == ATTUNE_OK) memcpy(place, integers, size);
  return status;
}

static attune_status take_flag(attune_flags *flags, flag_id id, const char *text) {
  static const char *const efforts[] = {"quick", "normal", "sample", "exhaustive", NULL};
  const char **const places[FLAG_COUNT] = {
      [DEVICE_NAME] = &flags->device, [ARCH_NAME] = &flags->arch,         [FAMILY_NAME] = &flags->family,
      [CONFIG_TEXT] = &flags->config, [DATABASE_PATH] = &flags->database, [INPUT_PATH] = &flags->input,
      [OUTPUT_PATH] = &flags->output, [WORKLOAD_NAME] = &flags->workload, [CARD_NAME] = &flags->like};
  int32_t index = 0;
  if (places[id] != NULL) {
    *places[id] = text;
    return *text != '\0' ? ATTUNE_OK : misuse(&table[id], text, table[id].argument);
  }
  switch (id) {
  case PROBLEM_TEXT:
    return ATTUNE_OK; /* taken before all others */
  case BLOCK_SIZE: {
    const attune_status status = read_integer(&flags->block_size, &table[id], text);
    return status != ATTUNE_OK || flags->block_size > 0 ? status : misuse(&table[id], text, "a number from 1 on");
  }
  case SM_COUNT:
    return read_figure(&flags->sm_count, id, text, 1024);
  case BANDWIDTH:
    return read_figure(&flags->bandwidth, id, text, 100000);
  case CLOCK:
    return read_figure(&flags->clock, id, text, 10000);
  case SEQLENS_Q:
  case SEQLENS_K:
    return read_lengths(&flags->given, id, text);
  case BUDGET:
    return read_seconds(&flags->budget_seconds, text);
  case EFFORT:
    flags->effort = text;
    return read_word(&index, &table[id], efforts, text);
  case FORCE:
    flags->force = true;
    return ATTUNE_OK;
  case SEED_NUMBER:
    return read_seed(&flags->seed, text);
  case JOBS_NUMBER: {
    int32_t jobs = 0;
    const attune_status status = read_integer(&jobs, &table[id], text);
    flags->jobs = jobs;
    return status != ATTUNE_OK || jobs >= 0 ? status : misuse(&table[id], text, "0 for all cores, or more");
  }
  case JSON:
    flags->json = true;
    return ATTUNE_OK;
  default: /* HELP */
    flags->help = true;
    return ATTUNE_OK;
  }
}

/* Notes a flag as seen and takes it, in the pass for --problem or in the one for all others. */
static attune_status take(attune_flags *flags, int number, const char *text, bool problem_pass) {
  const int id = number - attune_problem_field_count;
  if (id < 0) flags->seen |= UINT64_C(1) << number;
  if (id == PROBLEM_TEXT) flags->seen |= ATTUNE_SEEN_PROBLEM;
  if (problem_pass) return id == PROBLEM_TEXT ? read_problem(&flags->problem, &flags->given, text) : ATTUNE_OK;
  return id < 0 ? take_field(flags, &attune_problem_fields[number], text) : take_flag(flags, (flag_id)id, text);
}

/* One pass over the arguments. */
static attune_status pass(attune_flags *flags, int argc, char **argv, bool problem_pass) {
  const char *verb = argv[0];
  const int groups = groups_of(verb);
  struct option options[FIELDS_MAX + FLAG_COUNT + 1] = {0};
  for (int i = 0, count = 0; i < flag_count(); i++) {
    const flag_row row = flag_at(i);
    if (row.name == NULL) continue;
    options[count++] =
        (struct option){row.name, row.argument != NULL ? required_argument : no_argument, NULL, FIRST_FLAG + i};
  }
  optind = 0; /* starts anew, as glibc says */
  opterr = 0;
  int found;
  while ((found = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
    const char *argument = argv[optind - 1];
    if (found == ':')
      return attune_fail(ATTUNE_BAD_ARGUMENT, "%s needs a value: %s", argument, flag_at(optopt - FIRST_FLAG).argument);
    if (found == '?' && optopt >= FIRST_FLAG)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "--%s takes no value", flag_at(optopt - FIRST_FLAG).name);
    if (found == '?')
      return attune_fail(ATTUNE_BAD_ARGUMENT, "no such flag, or the start of several: %s; see attune %s --help",
                         argument, verb);
    const int number = found == 'h' ? attune_problem_field_count + HELP : found - FIRST_FLAG;
    const flag_row row = flag_at(number);
    if ((row.groups & groups) == 0)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "attune %s takes no --%s; see attune %s --help", verb, row.name, verb);
    const attune_status status = take(flags, number, optarg, problem_pass);
    if (status != ATTUNE_OK) return status;
  }
  flags->rest = argv + optind;
  flags->rest_count = argc - optind;
  if (flags->rest_count > 0 && (groups & POSITIONAL) == 0)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune %s takes flags only: what is \"%.80s\"? see attune %s --help", verb,
                       flags->rest[0], verb);
  return ATTUNE_OK;
}

/* Sizes that were as another one stay as it, unless a flag says otherwise. */
static void follow(attune_problem *problem, const attune_problem *before, const attune_flags *flags) {
  for (int i = 0; i < attune_problem_field_count; i++) {
    const attune_problem_field *field = &attune_problem_fields[i];
    if (field->follows == NULL || attune_flags_seen(flags, field)) continue;
    const size_t other = attune_problem_field_of(field->follows)->offset;
    if (memcmp((const char *)before + field->offset, (const char *)before + other, sizeof(int32_t)) == 0)
      memcpy((char *)problem + field->offset, (const char *)problem + other, sizeof(int32_t));
  }
}

/* The file's sizes would overrule those of flags. */
static attune_status check_input(const attune_flags *flags) {
  if (flags->input == NULL) return ATTUNE_OK;
  for (int i = 0; i < attune_problem_field_count; i++)
    if (attune_problem_fields[i].size && attune_flags_seen(flags, &attune_problem_fields[i]))
      return attune_fail(ATTUNE_BAD_ARGUMENT, "--input %.80s has its own sizes: drop --%s", flags->input,
                         attune_problem_fields[i].flag);
  if ((flags->seen & ATTUNE_SEEN_PROBLEM) == 0) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_ARGUMENT, "--input %.80s has its own sizes: drop --%s", flags->input,
                     table[PROBLEM_TEXT].name);
}

attune_status attune_flags_parse(attune_flags *out, int argc, char **argv) {
  enum { USUAL_SEQLEN = 512, USUAL_BLOCK = 128 };
  memset(out, 0, sizeof *out);
  out->effort = "normal";
  attune_problem_init(&out->problem);
  out->problem.seqlen_q = out->problem.seqlen_k = USUAL_SEQLEN;
  for (int i = 1; i < argc; i++) /* so that even a fault is told as asked */
    if (strcmp(argv[i], "--json") == 0) out->json = true;
  attune_status status = pass(out, argc, argv, true);
  if (status != ATTUNE_OK) return status;
  const attune_problem before = out->problem;
  if ((status = pass(out, argc, argv, false)) != ATTUNE_OK) return status;
  if ((status = check_input(out)) != ATTUNE_OK) return status;
  follow(&out->problem, &before, out);
  const bool lists = out->problem.block_size > 0 || attune_flags_seen(out, attune_problem_field_of("block_density"));
  const bool bias_seen = attune_flags_seen(out, attune_problem_field_of("bias"));
  if (out->block_size == 0) out->block_size = out->problem.block_size > 0 ? out->problem.block_size : USUAL_BLOCK;
  if (lists) out->problem.block_size = out->block_size;
  const attune_strides sizes = out->problem.bias;
  if (out->problem.want_bias && !bias_seen) /* of a file, whose sizes flags may have changed */
    status =
        attune_bias_of_sizes(&out->problem, sizes.batch > 0 ? out->problem.batch : 1,
                             sizes.heads > 0 ? out->problem.heads_q : 1, sizes.seqlen > 0 ? out->problem.seqlen_q : 1);
  if (bias_seen) status = attune_bias_of_sizes(&out->problem, sizes.batch, sizes.heads, sizes.seqlen);
  /* What a file is for is known when it is read; it may also hold params. */
  return status != ATTUNE_OK || out->input != NULL ? status : attune_problem_check(&out->problem);
}
