/* Reads the flags of every verb: those of its groups in the table of flags. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/nearest.h"
#include "generator/base/status.h"
#include "generator/problem/field.h"
#include "tuner/command/table.h"
#include "tuner/files/file.h"
#include "tuner/files/problem_parts.h"

/* What getopt_long returns for the flag of that number is beyond every character. */
enum { FIRST_FLAG = 256, OPTIONS_MAX = 128 };

/* ---- values ---- */

static attune_status misuse(const attune_flag *flag, const char *value, const char *expected) {
  return attune_fail(ATTUNE_BAD_ARGUMENT, "--%s \"%.80s\": expected %s", flag->name, value, expected);
}

/* The integer that the text begins with; *end is the text if there is none. */
static attune_status read_leading(int32_t *out, const attune_flag *flag, const char *text, char **end) {
  errno = 0;
  const long long value = strtoll(text, end, 10);
  if (errno == ERANGE || value < INT32_MIN || value > INT32_MAX)
    return attune_fail(ATTUNE_BAD_SIZE, "--%s %.80s: it must be from %d to %d", flag->name, text, INT32_MIN, INT32_MAX);
  *out = (int32_t)value;
  return ATTUNE_OK;
}

static attune_status read_integer(int32_t *out, const attune_flag *flag, const char *text) {
  char *end;
  int32_t value;
  const attune_status status = read_leading(&value, flag, text, &end);
  if (status != ATTUNE_OK) return status;
  if (end == text || *end != '\0') return misuse(flag, text, "an integer");
  *out = value;
  return ATTUNE_OK;
}

static attune_status read_float(float *out, const attune_flag *flag, const char *text) {
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

static attune_status read_seed(uint64_t *out, const attune_flag *flag, const char *text) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 0);
  if (end == text || *end != '\0' || *text == '-' || errno == ERANGE)
    return misuse(flag, text, "a number from 0 to 2^64 - 1");
  return ATTUNE_OK;
}

static attune_status read_seconds(double *out, const attune_flag *flag, const char *text) {
  char *end;
  const double value = strtod(text, &end);
  const double unit = strcmp(end, "h") == 0 ? 3600.0 : strcmp(end, "m") == 0 ? 60.0 : 1.0;
  const bool known = *end == '\0' || strcmp(end, "s") == 0 || unit > 1.0;
  if (end == text || !known || !isfinite(value) || value <= 0.0)
    return misuse(flag, text, "a time such as 90s, 10m or 1h");
  *out = value * unit;
  return ATTUNE_OK;
}

/* A whole number from 1 to most. */
static attune_status read_figure(double *out, const attune_flag *flag, const char *text, int32_t most) {
  char expected[48], *end;
  const double value = strtod(text, &end);
  snprintf(expected, sizeof expected, "a whole number of %s from 1 to %d", flag->argument, most);
  if (end == text || *end != '\0' || !(value >= 1 && value <= most) || value != floor(value))
    return misuse(flag, text, expected);
  *out = value;
  return ATTUNE_OK;
}

static attune_status read_word(int *out, const attune_flag *flag, const char *text) {
  char expected[160] = "", nearest[160];
  if ((*out = attune_word_index(flag->words, text)) >= 0) return ATTUNE_OK;
  for (int i = 0; flag->words[i] != NULL; i++)
    snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s%s", i > 0 ? "|" : "", flag->words[i]);
  return attune_fail(ATTUNE_BAD_ARGUMENT, "--%s \"%.80s\": expected %s%s", flag->name, text, expected,
                     attune_did_you_mean(nearest, text, flag->words, ""));
}

/* Two integers; a negative side is unbounded. */
static attune_status read_window(int32_t sides[2], const attune_flag *flag, const char *text) {
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

static attune_status read_lengths(attune_inputs *inputs, attune_side side, const attune_flag *flag, const char *text) {
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
  return attune_inputs_set_seqlens(inputs, side, lengths, count);
}

/* The sizes stand where strides belong until all flags are read. */
static attune_status read_bias(attune_problem *problem, const attune_flag *flag, const char *text) {
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
  enum { LARGEST = 1 << 24 };
  json_error_t error;
  char *bytes;
  size_t size;
  for (int i = 0; attune_operation_words[i] != NULL; i++) {
    const size_t length = strlen(attune_operation_words[i]);
    if (strncmp(text, attune_operation_words[i], length) == 0 && text[length] == '.')
      return attune_problem_parse(problem, text);
  }
  attune_status status = attune_file_read(&bytes, &size, text, LARGEST);
  if (status == ATTUNE_BAD_FILE)
    return attune_fail(status,
                       "--problem %s; expected a JSON file, - for standard input, or a text such as "
                       "forward.bf16.d128.b4.h16.kv16.q4096.k4096.causal",
                       attune_message());
  if (status != ATTUNE_OK) return status;
  json_t *object = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
  free(bytes);
  if (object == NULL)
    return attune_fail(ATTUNE_BAD_JSON, "%s, line %d, column %d: %s", text, error.line, error.column, error.text);
  status = attune_problem_of_json(problem, given, object, text);
  json_decref(object);
  return status;
}

/* ---- parsing ---- */

static attune_status take_field(attune_flags *flags, const attune_problem_field *field, const char *text) {
  attune_problem *problem = &flags->problem;
  char *place = (char *)problem + field->offset;
  const attune_flag row = attune_flag_at((int)(field - attune_problem_fields));
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
    if (row.argument != NULL) status = read_word(integers, &row, text);
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

static attune_status take_flag(attune_flags *flags, attune_flag_id id, const char *text) {
  const char **const places[ATTUNE_FLAG_COUNT] = {
      [ATTUNE_FLAG_DEVICE] = &flags->device,     [ATTUNE_FLAG_ARCH] = &flags->arch,
      [ATTUNE_FLAG_FAMILY] = &flags->family,     [ATTUNE_FLAG_CONFIG] = &flags->config,
      [ATTUNE_FLAG_DATABASE] = &flags->database, [ATTUNE_FLAG_INPUT] = &flags->input,
      [ATTUNE_FLAG_OUTPUT] = &flags->output,     [ATTUNE_FLAG_WORKLOAD] = &flags->workload,
      [ATTUNE_FLAG_EFFORT] = &flags->effort,     [ATTUNE_FLAG_LIKE] = &flags->like};
  const attune_flag flag = attune_flag_of(id);
  int32_t number = 0;
  attune_status status;
  if (places[id] != NULL) {
    *places[id] = text;
    if (*text == '\0') return misuse(&flag, text, flag.argument);
    return flag.words != NULL ? read_word(&number, &flag, text) : ATTUNE_OK;
  }
  switch (id) {
  case ATTUNE_FLAG_PROBLEM:
    return ATTUNE_OK; /* taken before all others */
  case ATTUNE_FLAG_BLOCK_SIZE:
    status = read_integer(&flags->block_size, &flag, text);
    return status != ATTUNE_OK || flags->block_size > 0 ? status : misuse(&flag, text, "a number from 1 on");
  case ATTUNE_FLAG_SM_COUNT:
    return read_figure(&flags->sm_count, &flag, text, 1024);
  case ATTUNE_FLAG_BANDWIDTH:
    return read_figure(&flags->bandwidth, &flag, text, 100000);
  case ATTUNE_FLAG_CLOCK:
    return read_figure(&flags->clock, &flag, text, 10000);
  case ATTUNE_FLAG_SEQLENS_Q:
    return read_lengths(&flags->given, ATTUNE_QUERIES, &flag, text);
  case ATTUNE_FLAG_SEQLENS_K:
    return read_lengths(&flags->given, ATTUNE_KEYS, &flag, text);
  case ATTUNE_FLAG_BUDGET:
    return read_seconds(&flags->budget_seconds, &flag, text);
  case ATTUNE_FLAG_FORCE:
    flags->force = true;
    return ATTUNE_OK;
  case ATTUNE_FLAG_SEED:
    return read_seed(&flags->seed, &flag, text);
  case ATTUNE_FLAG_JOBS:
    status = read_integer(&number, &flag, text);
    flags->jobs = number;
    return status != ATTUNE_OK || number >= 0 ? status : misuse(&flag, text, "0 for all cores, or more");
  case ATTUNE_FLAG_JSON:
    flags->json = true;
    return ATTUNE_OK;
  default:
    flags->help = true;
    return ATTUNE_OK;
  }
}

/* Notes a flag as seen and takes it, in the pass for --problem or in the one for all others. */
static attune_status take(attune_flags *flags, int number, const char *text, bool problem_pass) {
  const int id = number - attune_problem_field_count;
  if (id < 0) flags->seen |= UINT64_C(1) << number;
  if (id == ATTUNE_FLAG_PROBLEM) flags->seen |= ATTUNE_SEEN_PROBLEM;
  if (problem_pass) return id == ATTUNE_FLAG_PROBLEM ? read_problem(&flags->problem, &flags->given, text) : ATTUNE_OK;
  return id < 0 ? take_field(flags, &attune_problem_fields[number], text) : take_flag(flags, (attune_flag_id)id, text);
}

/* A flag that getopt does not know: none, or the start of several. */
static attune_status unknown_flag(const char *argument, const attune_verb *verb) {
  const char *names[ATTUNE_FLAGS_MAX];
  char name[64], nearest[160] = "";
  if (argument[0] != '-' || argument[1] != '-')
    return attune_fail(ATTUNE_BAD_ARGUMENT, "no such flag: %.80s; flags begin with --, see attune %s --help", argument,
                       verb->name);
  snprintf(name, sizeof name, "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
  attune_flag_names(names, verb->groups | ATTUNE_TAKES_COMMON);
  for (int i = 0; i < attune_flag_count() && nearest[0] == '\0'; i++) { /* --causal */
    const attune_flag flag = attune_flag_at(i);
    if (flag.name != NULL && flag.words != NULL && attune_word_index(flag.words, name) >= 0)
      snprintf(nearest, sizeof nearest, " (did you mean --%s %s?)", flag.name, name);
  }
  if (nearest[0] == '\0') attune_did_you_mean(nearest, name, names, "--");
  return attune_fail(ATTUNE_BAD_ARGUMENT, "no such flag: --%s%s; see attune %s --help", name, nearest, verb->name);
}

static void list_options(struct option options[OPTIONS_MAX]) {
  int count = 0;
  for (int i = 0; i < attune_flag_count() && count + 1 < OPTIONS_MAX; i++) {
    const attune_flag row = attune_flag_at(i);
    if (row.name == NULL) continue;
    options[count++] =
        (struct option){row.name, row.argument != NULL ? required_argument : no_argument, NULL, FIRST_FLAG + i};
  }
  options[count] = (struct option){0};
}

/* One pass over the arguments. */
static attune_status pass(attune_flags *flags, const attune_verb *verb, int argc, char **argv, bool problem_pass) {
  const int groups = verb->groups | ATTUNE_TAKES_COMMON;
  struct option options[OPTIONS_MAX];
  list_options(options);
  optind = 0; /* starts anew, as glibc says */
  opterr = 0;
  int found;
  while ((found = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
    const char *argument = argv[optind - 1];
    if (found == ':')
      return attune_fail(ATTUNE_BAD_ARGUMENT, "%s needs a value: %s", argument,
                         attune_flag_at(optopt - FIRST_FLAG).argument);
    if (found == '?' && optopt >= FIRST_FLAG)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "--%s takes no value", attune_flag_at(optopt - FIRST_FLAG).name);
    if (found == '?') return unknown_flag(argument, verb);
    const int number = found == 'h' ? attune_problem_field_count + ATTUNE_FLAG_HELP : found - FIRST_FLAG;
    const attune_flag row = attune_flag_at(number);
    if ((row.groups & groups) == 0)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "attune %s takes no --%s; see attune %s --help", verb->name, row.name,
                         verb->name);
    const attune_status status = take(flags, number, optarg, problem_pass);
    if (status != ATTUNE_OK) return status;
  }
  flags->rest = argv + optind;
  flags->rest_count = argc - optind;
  if (flags->rest_count > 0 && verb->actions == NULL)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune %s takes flags only: what is \"%.80s\"? see attune %s --help",
                       verb->name, flags->rest[0], verb->name);
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
                     attune_flag_of(ATTUNE_FLAG_PROBLEM).name);
}

attune_status attune_flags_parse(attune_flags *out, int argc, char **argv) {
  enum { USUAL_SEQLEN = 512, USUAL_BLOCK = 128 };
  const attune_verb *verb = attune_verb_of(argv[0]);
  memset(out, 0, sizeof *out);
  if (verb == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "no verb \"%.40s\"", argv[0]);
  out->effort = "normal";
  attune_problem_init(&out->problem);
  out->problem.seqlen_q = out->problem.seqlen_k = USUAL_SEQLEN;
  for (int i = 1; i < argc; i++) /* so that even a fault is told as asked */
    if (strcmp(argv[i], "--json") == 0) out->json = true;
  attune_status status = pass(out, verb, argc, argv, true);
  if (status != ATTUNE_OK) return status;
  const attune_problem before = out->problem;
  if ((status = pass(out, verb, argc, argv, false)) != ATTUNE_OK) return status;
  if ((status = check_input(out)) != ATTUNE_OK) return status;
  follow(&out->problem, &before, out);
  const bool block_mask =
      out->problem.block_size > 0 || attune_flags_seen(out, attune_problem_field_of("block_density"));
  const bool bias_seen = attune_flags_seen(out, attune_problem_field_of("bias"));
  if (out->block_size == 0) out->block_size = out->problem.block_size > 0 ? out->problem.block_size : USUAL_BLOCK;
  if (block_mask) out->problem.block_size = out->block_size;
  const attune_strides sizes = out->problem.bias;
  if (out->problem.want_bias && !bias_seen) /* of a file, whose sizes flags may have changed */
    status =
        attune_bias_of_sizes(&out->problem, sizes.batch > 0 ? out->problem.batch : 1,
                             sizes.heads > 0 ? out->problem.heads_q : 1, sizes.seqlen > 0 ? out->problem.seqlen_q : 1);
  if (bias_seen) status = attune_bias_of_sizes(&out->problem, sizes.batch, sizes.heads, sizes.seqlen);
  /* What a file is for is known when it is read; it may also hold params. */
  return status != ATTUNE_OK || out->input != NULL ? status : attune_problem_check(&out->problem);
}
