/* The flags of every verb: one table of flags, and one of verbs that says which flags each takes. */
#include "tuner/command/flags.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"

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
  LENGTHS = 1 << 16,   /* of each sequence */
  POSITIONAL = 1 << 14 /* arguments that are no flags */
};

static const struct {
  const char *verb;
  int groups;
} verbs[] = {
    {"devices", 0},
    {"emit", BLOCKS | PROBLEM | DEVICE | ARCH | FAMILY | CONFIG | OUTPUT},
    {"compile", BLOCKS | PROBLEM | DEVICE | ARCH | FAMILY | CONFIG | OUTPUT},
    {"run", BLOCKS | SCORE | DEVICE | FAMILY | CONFIG | DATABASE | INPUT | OUTPUT | SEED},
    {"verify", BLOCKS | LENGTHS | PROBLEM | DEVICE | FAMILY | CONFIG | DATABASE | INPUT | SEED},
    {"tune", BLOCKS | PROBLEM | DEVICE | ARCH | FAMILY | DATABASE | WORKLOAD | SEARCH | SEED | JOBS},
    {"explain", BLOCKS | PROBLEM | DEVICE | ARCH | DATABASE | WORKLOAD},
    {"bench", BLOCKS | PROBLEM | DEVICE | FAMILY | CONFIG | DATABASE | WORKLOAD | SEED},
    {"store", BLOCKS | PROBLEM | DEVICE | ARCH | CONFIG | DATABASE | POSITIONAL},
};

/* What getopt_long returns for a flag: its row in the table, beyond every character. */
enum { FIRST_FLAG = 256 };
typedef enum {
  DTYPE,
  HEAD_DIM,
  HEAD_DIM_V,
  BATCH,
  HEADS_Q,
  HEADS_KV,
  SEQLEN_Q,
  SEQLEN_K,
  MASK,
  WINDOW,
  SCALE,
  SOFTCAP,
  LSE,
  PATTERN,
  MASK_EXPR,
  SCORE_EXPR,
  PARAM,
  BIAS,
  SINKS,
  DENSITY,
  PROBLEM_TEXT,
  BLOCK_SIZE,
  SEQLENS_Q,
  SEQLENS_K,
  DEVICE_NAME,
  ARCH_NAME,
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

_Static_assert(1u << DTYPE == ATTUNE_SEEN_DTYPE && 1u << PROBLEM_TEXT == ATTUNE_SEEN_PROBLEM, "seen follows the table");

static const struct {
  const char *name, *argument; /* argument NULL: none */
  int groups;                  /* any of them lets a verb take it */
  const char *meaning;
} table[FLAG_COUNT] = {
    [DTYPE] = {"dtype", "fp16|bf16", SCORE, "type of the elements (bf16)"},
    [HEAD_DIM] = {"head-dim", "N", SHAPE, "elements of a row of Q and K: a multiple of 8 up to 256 (64)"},
    [HEAD_DIM_V] = {"head-dim-v", "N", SHAPE, "elements of a row of V and O (as --head-dim)"},
    [BATCH] = {"batch", "N", SHAPE, "sequences (1)"},
    [HEADS_Q] = {"heads-q", "N", SHAPE, "query heads (1)"},
    [HEADS_KV] = {"heads-kv", "N", SHAPE, "key heads; divides --heads-q (as --heads-q)"},
    [SEQLEN_Q] = {"seqlen-q", "N", SHAPE, "queries of a sequence (512)"},
    [SEQLEN_K] = {"seqlen-k", "N", SHAPE, "keys of a sequence (as --seqlen-q)"},
    [MASK] = {"mask", "none|causal|causal-bottom-right", SCORE, "which keys a query sees (none)"},
    [WINDOW] = {"window", "L,R", SCORE, "keys from i-L to i+R only; a negative side is unbounded"},
    [SCALE] = {"scale", "X", SCORE, "of the scores (1/sqrt(head_dim))"},
    [SOFTCAP] = {"softcap", "X", SCORE, "scores become X*tanh(score/X); 0: they do not (0)"},
    [LSE] = {"lse", NULL, SHAPE, "also the log-sum-exp of every row"},
    [PATTERN] = {"pattern", "TEXT", SCORE, "butterfly, window:1024 & prefix:64, bigbird:128 ...: which keys are seen"},
    [MASK_EXPR] = {"mask-expr", "EXPR", SCORE, "true where query q sees key k, in C syntax"},
    [SCORE_EXPR] = {"score-expr", "EXPR", SCORE, "the new score, of score, q, k, head, ... in C syntax"},
    [PARAM] = {"param", "NAME=VALUE", SCORE, "a name for expressions: a number, or a list as 1,2,3; again for more"},
    [BIAS] = {"bias", "B,H,Q", SHAPE,
              "a tensor is added to the scores, of these sizes (each 1 or the problem's) and all keys"},
    [SINKS] = {"sinks", NULL, SHAPE, "each head has one more key, with a score of its own and no value"},
    [DENSITY] = {"density", "X", SHAPE,
                 "blocks of --block-size are listed, about this share of them; tuning draws such lists"},
    [PROBLEM_TEXT] = {"problem", "FILE|TEXT", SHAPE, "a JSON file, or forward.bf16.d128...; flags change it"},
    [BLOCK_SIZE] = {"block-size", "N", BLOCKS,
                    "queries and keys of a block: of block_mask, of what explain counts (128)"},
    [SEQLENS_Q] = {"seqlens-q", "N,N,...", LENGTHS, "queries of each sequence, at most --seqlen-q (lengths are drawn)"},
    [SEQLENS_K] = {"seqlens-k", "N,N,...", LENGTHS, "keys of each sequence, at most --seqlen-k"},
    [DEVICE_NAME] = {"device", "cuda:N|host", DEVICE, "where it runs (cuda:0 if there is one, else host)"},
    [ARCH_NAME] = {"arch", "sm_90|host", ARCH, "an architecture that need not be present (the device's)"},
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

static int groups_of(const char *verb) {
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (strcmp(verbs[i].verb, verb) == 0) return verbs[i].groups | COMMON;
  return COMMON;
}

void attune_flags_help(const char *verb, const char *summary) {
  const int groups = groups_of(verb);
  printf("usage: attune %s [flags]%s\n\n%s\n\n", verb, groups & POSITIONAL ? " ..." : "", summary);
  for (int i = 0; i < FLAG_COUNT; i++) {
    if ((table[i].groups & groups) == 0) continue;
    char flag[64];
    snprintf(flag, sizeof flag, "--%s %s", table[i].name, table[i].argument != NULL ? table[i].argument : "");
    printf(strlen(flag) <= 28 ? "  %-28s %s\n" : "  %s\n  %29s%s\n", flag, strlen(flag) <= 28 ? table[i].meaning : "",
           table[i].meaning);
  }
}

/* ---- values ---- */

static attune_status misuse(flag_id id, const char *value, const char *expected) {
  return attune_fail(ATTUNE_BAD_ARGUMENT, "--%s \"%.80s\": expected %s", table[id].name, value, expected);
}

/* The integer that the text begins with; *end is the text if there is none. */
static attune_status read_leading(int32_t *out, flag_id id, const char *text, char **end) {
  errno = 0;
  const long long value = strtoll(text, end, 10);
  if (errno == ERANGE || value < INT32_MIN || value > INT32_MAX)
    return attune_fail(ATTUNE_BAD_SIZE, "--%s %.80s: it must be from %d to %d", table[id].name, text, INT32_MIN,
                       INT32_MAX);
  *out = (int32_t)value;
  return ATTUNE_OK;
}

static attune_status read_integer(int32_t *out, flag_id id, const char *text) {
  char *end;
  int32_t value;
  const attune_status status = read_leading(&value, id, text, &end);
  if (status != ATTUNE_OK) return status;
  if (end == text || *end != '\0') return misuse(id, text, "an integer");
  *out = value;
  return ATTUNE_OK;
}

static attune_status read_float(float *out, flag_id id, const char *text) {
  char *end;
  const float value = strtof(text, &end);
  if (end == text || *end != '\0') return misuse(id, text, "a number");
  if (!isfinite(value))
    return attune_fail(ATTUNE_BAD_SCALE,
                       "--%s %.80s: it must be finite as a float, at most 3.4e38; leave the flag out for "
                       "the usual value",
                       table[id].name, text);
  *out = value;
  return ATTUNE_OK;
}

static attune_status read_seed(uint64_t *out, const char *text) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 0);
  if (end == text || *end != '\0' || *text == '-' || errno == ERANGE)
    return misuse(SEED_NUMBER, text, "a number from 0 to 2^64 - 1");
  return ATTUNE_OK;
}

static attune_status read_seconds(double *out, const char *text) {
  char *end;
  const double value = strtod(text, &end);
  const double unit = strcmp(end, "h") == 0 ? 3600.0 : strcmp(end, "m") == 0 ? 60.0 : 1.0;
  const bool known = *end == '\0' || strcmp(end, "s") == 0 || unit > 1.0;
  if (end == text || !known || !isfinite(value) || value <= 0.0)
    return misuse(BUDGET, text, "a time such as 90s, 10m or 1h");
  *out = value * unit;
  return ATTUNE_OK;
}

static attune_status read_word(int *out, flag_id id, const char *const *words, const char *text) {
  *out = attune_word_index(words, text);
  return *out < 0 ? misuse(id, text, table[id].argument) : ATTUNE_OK;
}

static attune_status read_window(attune_problem *problem, const char *text) {
  static const char expected[] = "two integers such as 128,0 or -1,64";
  char *comma, *end;
  int32_t left, right;
  attune_status status = read_leading(&left, WINDOW, text, &comma);
  if (status != ATTUNE_OK) return status;
  if (comma == text || *comma != ',') return misuse(WINDOW, text, expected);
  if ((status = read_leading(&right, WINDOW, comma + 1, &end)) != ATTUNE_OK) return status;
  if (end == comma + 1 || *end != '\0') return misuse(WINDOW, text, expected);
  problem->window_left = left < 0 ? -1 : left;
  problem->window_right = right < 0 ? -1 : right;
  return ATTUNE_OK;
}

/* A second one hides as well. */
attune_status attune_problem_add_mask(attune_problem *problem, const char *text) {
  char *mask = problem->mask_expr;
  char joined[2 * ATTUNE_EXPRESSION_MAX];
  const bool first = mask[0] == '\0' || attune_expression_is_number(mask); /* which makes way for what it stands for */
  const int length =
      first ? snprintf(joined, sizeof joined, "%s", text) : snprintf(joined, sizeof joined, "(%s) && (%s)", mask, text);
  if (length >= ATTUNE_EXPRESSION_MAX)
    return attune_fail(ATTUNE_BAD_EXPRESSION, "the mask expression has %d bytes; %d is the limit", length,
                       ATTUNE_EXPRESSION_MAX - 1);
  memcpy(mask, joined, (size_t)length + 1);
  return ATTUNE_OK;
}

static attune_status add_pattern(attune_problem *problem, const char *text) {
  char expression[ATTUNE_EXPRESSION_MAX];
  const attune_status status = attune_pattern_expression(expression, text);
  return status == ATTUNE_OK ? attune_problem_add_mask(problem, expression) : status;
}

static attune_status read_score(attune_problem *problem, const char *text) {
  const int length = snprintf(problem->score_expr, sizeof problem->score_expr, "%s", text);
  if (length < ATTUNE_EXPRESSION_MAX) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_EXPRESSION, "the score expression has %d bytes; %d is the limit", length,
                     ATTUNE_EXPRESSION_MAX - 1);
}

attune_status attune_bias_of_sizes(attune_problem *problem, int64_t batch, int64_t heads, int64_t seqlen_q) {
  const int64_t sizes[] = {batch, heads, seqlen_q};
  const int32_t own[] = {problem->batch, problem->heads_q, problem->seqlen_q};
  int64_t *const strides[] = {&problem->bias.batch, &problem->bias.heads, &problem->bias.seqlen};
  int64_t stride = problem->seqlen_k;
  for (int i = 2; i >= 0; i--) {
    if (sizes[i] != 1 && sizes[i] != own[i])
      return attune_fail(ATTUNE_BAD_SIZE, "bias has %lld where the problem has %s %d; it must be that or 1",
                         (long long)sizes[i],
                         i == 0   ? "batch"
                         : i == 1 ? "heads_q"
                                  : "seqlen_q",
                         own[i]);
    *strides[i] = sizes[i] == 1 ? 0 : stride;
    stride *= sizes[i];
  }
  problem->want_bias = 1;
  return ATTUNE_OK;
}

static attune_status read_lengths(attune_inputs *inputs, flag_id id, const char *text) {
  static const char expected[] = "a length for each sequence, as in 512,100,0";
  int32_t lengths[ATTUNE_GIVEN_ELEMENTS];
  int count = 0;
  for (const char *at = text;;) {
    char *end;
    if (count == ATTUNE_GIVEN_ELEMENTS) return misuse(id, text, "fewer lengths");
    const attune_status status = read_leading(&lengths[count], id, at, &end);
    if (status != ATTUNE_OK) return status;
    if (end == at || (*end != ',' && *end != '\0') || lengths[count] < 0) return misuse(id, text, expected);
    count++;
    if (*end == '\0') break;
    at = end + 1;
  }
  return attune_inputs_set_seqlens(inputs, id == SEQLENS_Q ? ATTUNE_QUERIES : ATTUNE_KEYS, lengths, count);
}

/* The sizes stand where strides belong until all flags are read. */
static attune_status read_bias(attune_problem *problem, const char *text) {
  int64_t *const sizes[] = {&problem->bias.batch, &problem->bias.heads, &problem->bias.seqlen};
  char *end = (char *)(uintptr_t)text;
  for (int i = 0; i < 3; i++) {
    int32_t size;
    const char *at = i > 0 ? end + 1 : end;
    if (i > 0 && *end != ',') return misuse(BIAS, text, "three sizes, as in 1,16,4096");
    const attune_status status = read_leading(&size, BIAS, at, &end);
    if (status != ATTUNE_OK) return status;
    if (end == at || size < 1) return misuse(BIAS, text, "three sizes, as in 1,16,4096");
    *sizes[i] = size;
  }
  if (*end != '\0') return misuse(BIAS, text, "three sizes, as in 1,16,4096");
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

static attune_status take_problem_flag(attune_flags *flags, flag_id id, const char *text) {
  attune_problem *problem = &flags->problem;
  attune_status status = ATTUNE_OK;
  int index = 0;
  switch (id) {
  case DTYPE:
    status = read_word(&index, id, attune_dtype_words, text);
    problem->dtype = index == 0 ? ATTUNE_FP16 : ATTUNE_BF16;
    break;
  case HEAD_DIM:
    return read_integer(&problem->head_dim, id, text);
  case HEAD_DIM_V:
    return read_integer(&problem->head_dim_v, id, text);
  case BATCH:
    return read_integer(&problem->batch, id, text);
  case HEADS_Q:
    return read_integer(&problem->heads_q, id, text);
  case HEADS_KV:
    return read_integer(&problem->heads_kv, id, text);
  case SEQLEN_Q:
    return read_integer(&problem->seqlen_q, id, text);
  case SEQLEN_K:
    return read_integer(&problem->seqlen_k, id, text);
  case MASK:
    status = read_word(&index, id, attune_mask_words, text);
    if (status == ATTUNE_OK) problem->mask = (attune_mask)index;
    break;
  case WINDOW:
    return read_window(problem, text);
  case SCALE:
    return read_float(&problem->scale, id, text);
  case SOFTCAP:
    return read_float(&problem->softcap, id, text);
  case PATTERN:
    return add_pattern(problem, text);
  case MASK_EXPR:
    return attune_problem_add_mask(problem, text);
  case SCORE_EXPR:
    return read_score(problem, text);
  case PARAM:
    return attune_inputs_param(&flags->given, problem, text);
  case BIAS:
    return read_bias(problem, text);
  case SINKS:
    problem->want_sinks = 1;
    break;
  case DENSITY:
    return read_float(&problem->block_density, id, text);
  default: /* LSE */
    problem->want_lse = 1;
  }
  return status;
}

static attune_status take_flag(attune_flags *flags, flag_id id, const char *text) {
  static const char *const efforts[] = {"quick", "normal", "sample", "exhaustive", NULL};
  const char **const places[FLAG_COUNT] = {
      [DEVICE_NAME] = &flags->device, [ARCH_NAME] = &flags->arch,         [FAMILY_NAME] = &flags->family,
      [CONFIG_TEXT] = &flags->config, [DATABASE_PATH] = &flags->database, [INPUT_PATH] = &flags->input,
      [OUTPUT_PATH] = &flags->output, [WORKLOAD_NAME] = &flags->workload};
  int index = 0;
  if (places[id] != NULL) {
    *places[id] = text;
    return *text != '\0' ? ATTUNE_OK : misuse(id, text, table[id].argument);
  }
  switch (id) {
  case PROBLEM_TEXT:
    return ATTUNE_OK; /* taken before all others */
  case BLOCK_SIZE: {
    const attune_status status = read_integer(&flags->block_size, id, text);
    return status != ATTUNE_OK || flags->block_size > 0 ? status : misuse(id, text, "a number from 1 on");
  }
  case SEQLENS_Q:
  case SEQLENS_K:
    return read_lengths(&flags->given, id, text);
  case BUDGET:
    return read_seconds(&flags->budget_seconds, text);
  case EFFORT:
    flags->effort = text;
    return read_word(&index, id, efforts, text);
  case FORCE:
    flags->force = true;
    return ATTUNE_OK;
  case SEED_NUMBER:
    return read_seed(&flags->seed, text);
  case JOBS_NUMBER: {
    int32_t jobs = 0;
    const attune_status status = read_integer(&jobs, id, text);
    flags->jobs = jobs;
    return status != ATTUNE_OK || jobs >= 0 ? status : misuse(id, text, "0 for all cores, or more");
  }
  case JSON:
    flags->json = true;
    return ATTUNE_OK;
  case HELP:
    flags->help = true;
    return ATTUNE_OK;
  default:
    return take_problem_flag(flags, id, text);
  }
}

/* One pass over the arguments. only: the flag to take, or FLAG_COUNT for all. */
static attune_status pass(attune_flags *flags, int argc, char **argv, flag_id only) {
  const char *verb = argv[0];
  const int groups = groups_of(verb);
  struct option options[FLAG_COUNT + 1] = {0};
  for (int i = 0; i < FLAG_COUNT; i++)
    options[i] = (struct option){table[i].name, table[i].argument != NULL ? required_argument : no_argument, NULL,
                                 FIRST_FLAG + i};
  optind = 0; /* starts anew, as glibc says */
  opterr = 0;
  int found;
  while ((found = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
    const char *argument = argv[optind - 1];
    if (found == ':')
      return attune_fail(ATTUNE_BAD_ARGUMENT, "%s needs a value: %s", argument, table[optopt - FIRST_FLAG].argument);
    if (found == '?' && optopt >= FIRST_FLAG)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "--%s takes no value", table[optopt - FIRST_FLAG].name);
    if (found == '?')
      return attune_fail(ATTUNE_BAD_ARGUMENT, "no such flag, or the start of several: %s; see attune %s --help",
                         argument, verb);
    const flag_id id = found == 'h' ? HELP : (flag_id)(found - FIRST_FLAG);
    if ((table[id].groups & groups) == 0)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "attune %s takes no --%s; see attune %s --help", verb, table[id].name,
                         verb);
    if (id <= PROBLEM_TEXT) flags->seen |= 1u << id;
    attune_status status = ATTUNE_OK;
    if (only == FLAG_COUNT)
      status = take_flag(flags, id, optarg);
    else if (id == only)
      status = read_problem(&flags->problem, &flags->given, optarg);
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
static void follow(attune_problem *problem, const attune_problem *before, uint32_t seen) {
  if ((seen & ATTUNE_SEEN_HEAD_DIM_V) == 0 && before->head_dim_v == before->head_dim)
    problem->head_dim_v = problem->head_dim;
  if ((seen & ATTUNE_SEEN_HEADS_KV) == 0 && before->heads_kv == before->heads_q) problem->heads_kv = problem->heads_q;
  if ((seen & ATTUNE_SEEN_SEQLEN_K) == 0 && before->seqlen_k == before->seqlen_q) problem->seqlen_k = problem->seqlen_q;
}

/* The file's sizes would overrule those of flags; LSE is computed with a file anyway. */
static attune_status check_input(const attune_flags *flags) {
  for (flag_id id = 0; flags->input != NULL && id <= PROBLEM_TEXT; id++)
    if (id != LSE && (table[id].groups & SHAPE) != 0 && (flags->seen & 1u << id) != 0)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "--input %.80s has its own sizes: drop --%s", flags->input,
                         table[id].name);
  return ATTUNE_OK;
}

attune_status attune_flags_parse(attune_flags *out, int argc, char **argv) {
  enum { USUAL_SEQLEN = 512, USUAL_BLOCK = 128 };
  memset(out, 0, sizeof *out);
  out->effort = "normal";
  attune_problem_init(&out->problem);
  out->problem.seqlen_q = out->problem.seqlen_k = USUAL_SEQLEN;
  for (int i = 1; i < argc; i++) /* so that even a fault is told as asked */
    if (strcmp(argv[i], "--json") == 0) out->json = true;
  attune_status status = pass(out, argc, argv, PROBLEM_TEXT);
  if (status != ATTUNE_OK) return status;
  const attune_problem before = out->problem;
  if ((status = pass(out, argc, argv, FLAG_COUNT)) != ATTUNE_OK) return status;
  if ((status = check_input(out)) != ATTUNE_OK) return status;
  follow(&out->problem, &before, out->seen);
  const bool lists = out->problem.block_size > 0 || (out->seen & 1u << DENSITY) != 0;
  if (out->block_size == 0) out->block_size = out->problem.block_size > 0 ? out->problem.block_size : USUAL_BLOCK;
  if (lists) out->problem.block_size = out->block_size;
  const attune_strides sizes = out->problem.bias;
  if (out->problem.want_bias && (out->seen & 1u << BIAS) == 0) /* of a file, whose sizes flags may have changed */
    status =
        attune_bias_of_sizes(&out->problem, sizes.batch > 0 ? out->problem.batch : 1,
                             sizes.heads > 0 ? out->problem.heads_q : 1, sizes.seqlen > 0 ? out->problem.seqlen_q : 1);
  if ((out->seen & 1u << BIAS) != 0)
    status = attune_bias_of_sizes(&out->problem, sizes.batch, sizes.heads, sizes.seqlen);
  /* What a file is for is known when it is read; it may also hold params. */
  return status != ATTUNE_OK || out->input != NULL ? status : attune_problem_check(&out->problem);
}
