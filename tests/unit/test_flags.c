/* Flags and problems as JSON: what they mean, what they are when left out, and how a fault is told. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/files/problem_parts.h"

enum { ARGUMENTS_MAX = 32 };

/* Parses a line of words as a shell would without quotes. */
static attune_status parse(attune_flags *flags, const char *line) {
  static char words[1024];
  char *arguments[ARGUMENTS_MAX + 1] = {0}, *rest = words;
  int count = 0;
  snprintf(words, sizeof words, "%s", line);
  while (count < ARGUMENTS_MAX && (arguments[count] = strsep(&rest, " ")) != NULL)
    count++;
  return attune_flags_parse(flags, count, arguments);
}

static void accept(attune_flags *flags, const char *line) {
  if (parse(flags, line) != ATTUNE_OK) fail_msg("%s: %s", line, attune_message());
}

static void refuse(const char *line, attune_status status, const char *says) {
  attune_flags flags;
  const attune_status found = parse(&flags, line);
  if (found != status || strstr(attune_message(), says) == NULL)
    fail_msg("%s: %s, \"%s\"; expected \"%s\"", line, attune_status_name(found), attune_message(), says);
}

static void what_is_left_out_has_its_usual_value(void **state) {
  (void)state;
  attune_flags flags;
  accept(&flags, "verify");
  assert_int_equal(flags.problem.dtype, ATTUNE_BF16);
  assert_int_equal(flags.problem.head_dim, 64);
  assert_int_equal(flags.problem.seqlen_q, 512);
  assert_int_equal(flags.problem.seqlen_k, 512);
  assert_true(isnan(flags.problem.scale));
  assert_int_equal(flags.seen, 0);
  assert_false(flags.json);
  assert_null(flags.device);
  assert_string_equal(flags.effort, "normal");
}

static void sizes_follow_one_another(void **state) {
  (void)state;
  attune_flags flags;
  accept(&flags, "verify --head-dim 128 --heads-q 8 --seqlen-q 77");
  assert_int_equal(flags.problem.head_dim_v, 128);
  assert_int_equal(flags.problem.heads_kv, 8);
  assert_int_equal(flags.problem.seqlen_k, 77);
  accept(&flags, "verify --head-dim 128 --head-dim-v 64 --heads-kv 2 --heads-q 8 --seqlen-k 5 --seqlen-q 77");
  assert_int_equal(flags.problem.head_dim_v, 64);
  assert_int_equal(flags.problem.heads_kv, 2);
  assert_int_equal(flags.problem.seqlen_k, 5);
}

static void every_flag_is_read(void **state) {
  (void)state;
  attune_flags flags;
  accept(&flags,
         "verify --dtype fp16 --batch 3 --mask causal-bottom-right --window 12,-5 --scale -0.25 --softcap 30 --lse");
  assert_int_equal(flags.problem.dtype, ATTUNE_FP16);
  assert_int_equal(flags.problem.batch, 3);
  assert_int_equal(flags.problem.mask, ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT);
  assert_int_equal(flags.problem.window_left, 12);
  assert_int_equal(flags.problem.window_right, -1);
  assert_true(flags.problem.scale == -0.25f && flags.problem.softcap == 30.0f);
  assert_int_equal(flags.problem.want_lse, 1);
  static const char *const seen[] = {"dtype", "batch", "mask", "window_left", "scale", "softcap", "want_lse"};
  uint64_t bits = 0;
  for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
    bits |= UINT64_C(1) << (attune_problem_field_of(seen[i]) - attune_problem_fields);
  assert_int_equal(flags.seen, bits);
  accept(&flags,
         "tune --device host --database d --family mma --workload w --budget 10m --effort quick --seed 0x10 --jobs 3 "
         "--json --force");
  assert_string_equal(flags.device, "host");
  assert_string_equal(flags.database, "d");
  assert_string_equal(flags.family, "mma");
  assert_string_equal(flags.workload, "w");
  assert_true(flags.budget_seconds == 600.0);
  assert_string_equal(flags.effort, "quick");
  assert_true(flags.seed == 16 && flags.jobs == 3 && flags.json && flags.force);
  accept(&flags, "run --input i --output o --config c --help");
  assert_string_equal(flags.input, "i");
  assert_string_equal(flags.output, "o");
  assert_string_equal(flags.config, "c");
  assert_true(flags.help);
  accept(&flags, "explain --like a10 --sm-count 60 --bandwidth 500 --clock 1200");
  assert_string_equal(flags.like, "a10");
  assert_true(flags.sm_count == 60 && flags.bandwidth == 500 && flags.clock == 1200);
  accept(&flags, "tune --budget 1.5h");
  assert_true(flags.budget_seconds == 5400.0);
  accept(&flags, "tune --budget 90s");
  assert_true(flags.budget_seconds == 90.0);
  accept(&flags, "store export file");
  assert_int_equal(flags.rest_count, 2);
  assert_string_equal(flags.rest[1], "file");
}

static void misuse_is_told_with_its_flag(void **state) {
  (void)state;
  refuse("run --bogus 1", ATTUNE_BAD_ARGUMENT, "--bogus; see attune run --help");
  refuse("run --seqlen-q 5", ATTUNE_BAD_ARGUMENT, "attune run takes no --seqlen-q");
  refuse("explain --like a10 --sm-count 0", ATTUNE_BAD_ARGUMENT, "--sm-count \"0\": expected a whole number of SMs");
  refuse("explain --like a10 --clock 1.5", ATTUNE_BAD_ARGUMENT,
         "--clock \"1.5\": expected a whole number of MHz from 1 to 10000");
  refuse("explain --like a10 --bandwidth 100001", ATTUNE_BAD_ARGUMENT, "of GB/s from 1 to 100000");
  refuse("bench --like a10", ATTUNE_BAD_ARGUMENT, "attune bench takes no --like");
  refuse("run file", ATTUNE_BAD_ARGUMENT, "what is \"file\"?");
  refuse("verify --head-dim", ATTUNE_BAD_ARGUMENT, "--head-dim needs a value");
  refuse("verify --json=1", ATTUNE_BAD_ARGUMENT, "--json takes no value");
  refuse("verify --head-dim x", ATTUNE_BAD_ARGUMENT, "--head-dim \"x\": expected an integer");
  refuse("verify --head-dim 64x", ATTUNE_BAD_ARGUMENT, "--head-dim \"64x\"");
  refuse("verify --batch 4294967297", ATTUNE_BAD_SIZE, "--batch 4294967297: it must be from");
  refuse("verify --dtype fp32", ATTUNE_BAD_ARGUMENT, "--dtype \"fp32\": expected fp16|bf16");
  refuse("verify --mask casual", ATTUNE_BAD_ARGUMENT,
         "expected none|causal|causal-bottom-right (did you mean causal?)");
  refuse("verify --headdim 64", ATTUNE_BAD_ARGUMENT, "no such flag: --headdim (did you mean --head-dim?); see attune");
  refuse("verify --head_dim=64", ATTUNE_BAD_ARGUMENT, "no such flag: --head_dim (did you mean --head-dim?)");
  refuse("verify --seqlen 64", ATTUNE_BAD_ARGUMENT, "--seqlen-q, --seqlen-k, --seqlens-q or --seqlens-k?)");
  refuse("emit --seqlen 64", ATTUNE_BAD_ARGUMENT, "(did you mean --seqlen-q or --seqlen-k?)");
  refuse("verify --causal", ATTUNE_BAD_ARGUMENT, "(did you mean --mask causal?)");
  refuse("verify --quantize", ATTUNE_BAD_ARGUMENT, "no such flag: --quantize; see attune verify --help");
  refuse("verify -d 64", ATTUNE_BAD_ARGUMENT, "flags begin with --");
  refuse("verify --family wgma", ATTUNE_BAD_ARGUMENT, "expected reference|mma|wgmma (did you mean wgmma?)");
  refuse("verify --dtype half", ATTUNE_BAD_ARGUMENT, "expected fp16|bf16");
  refuse("verify --mask left", ATTUNE_BAD_ARGUMENT, "--mask \"left\": expected none|causal");
  refuse("verify --window 3", ATTUNE_BAD_ARGUMENT, "--window \"3\": expected two integers");
  refuse("verify --window 3,4,5", ATTUNE_BAD_ARGUMENT, "--window");
  refuse("verify --window 3,", ATTUNE_BAD_ARGUMENT, "--window");
  refuse("verify --window ,3", ATTUNE_BAD_ARGUMENT, "--window");
  refuse("verify --window 4294967296,0", ATTUNE_BAD_SIZE, "--window 4294967296,0: it must be from");
  refuse("verify --window 0,99999999999999999999", ATTUNE_BAD_SIZE, "--window 99999999999999999999: it must be from");
  refuse("verify --scale nan", ATTUNE_BAD_SCALE, "--scale nan: it must be finite");
  refuse("verify --scale 1e39", ATTUNE_BAD_SCALE, "--scale 1e39");
  refuse("verify --scale two", ATTUNE_BAD_ARGUMENT, "--scale \"two\": expected a number");
  refuse("tune --budget 10d", ATTUNE_BAD_ARGUMENT, "--budget \"10d\": expected a time such as");
  refuse("tune --budget -1s", ATTUNE_BAD_ARGUMENT, "--budget");
  refuse("tune --effort great", ATTUNE_BAD_ARGUMENT, "--effort \"great\": expected quick|normal|sample|exhaustive");
  refuse("tune --seed -1", ATTUNE_BAD_ARGUMENT, "--seed \"-1\"");
  refuse("tune --jobs -1", ATTUNE_BAD_ARGUMENT, "--jobs \"-1\"");
  refuse("run --input= --output o", ATTUNE_BAD_ARGUMENT, "--input \"\": expected FILE");
}

static void sizes_beside_a_file_are_refused(void **state) {
  (void)state;
  static const char *const sizes[] = {
      "--head-dim 64", "--head-dim-v 64", "--batch 2",      "--heads-q 2",
      "--heads-kv 1",  "--seqlen-q 512",  "--seqlen-k 512", "--problem forward.bf16.d64.b1.h1.kv1.q8.k8"};
  attune_flags flags;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char line[128], says[128];
    snprintf(line, sizeof line, "verify %s --input i", sizes[i]);
    snprintf(says, sizeof says, "--input i has its own sizes: drop %.*s", (int)strcspn(sizes[i], " "), sizes[i]);
    refuse(line, ATTUNE_BAD_ARGUMENT, says);
  }
  accept(&flags, "verify --input i --dtype fp16 --mask causal --window 3,0 --scale 2 --softcap 3");
}

static void what_breaks_a_rule_of_problems_has_its_own_status(void **state) {
  (void)state;
  refuse("verify --head-dim 12", ATTUNE_UNSUPPORTED, "head_dim is 12");
  refuse("verify --head-dim 264", ATTUNE_UNSUPPORTED, "head_dim is 264");
  refuse("verify --head-dim-v 0", ATTUNE_BAD_HEAD_DIM, "head_dim_v is 0");
  refuse("verify --heads-q 6 --heads-kv 4", ATTUNE_BAD_HEADS, "heads_q is 6, heads_kv is 4");
  refuse("verify --seqlen-q 0", ATTUNE_BAD_SIZE, "seqlen_q is 0");
  refuse("verify --batch 2147483647 --heads-q 2147483647 --seqlen-q 1000000000", ATTUNE_UNSUPPORTED, "batch");
  refuse("verify --mask causal --window 5,5", ATTUNE_BAD_WINDOW, "window_right is 5");
  refuse("verify --softcap -1", ATTUNE_BAD_SCALE, "softcap is -1");
}

/* ---- expressions, bias and sinks ---- */

static void expressions_are_read(void **state) {
  (void)state;
  static attune_flags flags;
  attune_value values[ATTUNE_PARAMS_MAX];
  accept(&flags, "verify --pattern window:8&causal");
  assert_string_equal(flags.problem.mask_expr, "(q - k <= 8 && k - q <= 8) && (k <= q)");
  accept(&flags, "verify --mask-expr k<=q --score-expr score*2");
  assert_string_equal(flags.problem.mask_expr, "k<=q");
  assert_string_equal(flags.problem.score_expr, "score*2");
  /* all that is given holds, in any order; the last score counts */
  accept(&flags, "verify --mask-expr k<=q||k<4 --pattern window:8,0 --score-expr score --score-expr -score "
                 "--mask-expr q>k?1:0");
  assert_string_equal(flags.problem.mask_expr, "((k<=q||k<4) && (q - k <= 8 && k - q <= 0)) && (q>k?1:0)");
  assert_string_equal(flags.problem.score_expr, "-score");
  /* params in their order, before or after what names them */
  accept(&flags, "verify --param n=3 --mask-expr k<n+t[q] --param x=0.5 --score-expr score*x --param t=1,2,3");
  attune_inputs_values(values, &flags.given);
  assert_string_equal(flags.problem.params[0].name, "n");
  assert_string_equal(flags.problem.params[2].name, "t");
  assert_int_equal(flags.problem.params[1].type, ATTUNE_PARAM_FLOAT);
  assert_int_equal(flags.problem.param_count, 3);
  assert_true(values[0].integer == 3 && values[1].real == 0.5f && values[2].count == 3);
  assert_ptr_equal(values[2].array, flags.given.elements);
  accept(&flags, "verify --sinks");
  assert_true(flags.problem.want_sinks == 1 && flags.problem.want_bias == 0);

  refuse("verify --pattern casual", ATTUNE_BAD_EXPRESSION, "column 1: no such pattern");
  refuse("verify --mask-expr k<", ATTUNE_BAD_EXPRESSION, "mask expression \"k<\", column 3");
  refuse("verify --mask-expr k<n", ATTUNE_BAD_EXPRESSION, "no such name: n; declare it as a param");
  refuse("verify --score-expr score+bias", ATTUNE_BAD_EXPRESSION, "the problem has no bias");
  refuse("verify --score-expr score*2 --softcap 9", ATTUNE_BAD_EXPRESSION, "softcap 9 beside a score expression");
  refuse("verify --score-expr score*2 --bias 1,1,1", ATTUNE_BAD_EXPRESSION, "does not use it");
  refuse("verify --param n", ATTUNE_BAD_ARGUMENT, "param \"n\": expected name=3");
  refuse("verify --param k=3", ATTUNE_BAD_EXPRESSION, "params[0] is named k");
  refuse("verify --param n=3 --param n=4", ATTUNE_BAD_EXPRESSION, "params[0] and params[1] are both named n");
  refuse("verify --param", ATTUNE_BAD_ARGUMENT, "--param needs a value: NAME=VALUE");
  refuse("verify --sinks=1", ATTUNE_BAD_ARGUMENT, "--sinks takes no value");
  refuse("run --sinks --input i --output o", ATTUNE_BAD_ARGUMENT, "attune run takes no --sinks");
}

static void texts_that_are_too_long_are_refused(void **state) {
  (void)state;
  enum { LONGEST = ATTUNE_EXPRESSION_MAX - 1 };
  static const char *const names[] = {"mask", "score"};
  for (int i = 0; i < 2; i++) {
    static attune_flags flags;
    char line[640], ones[LONGEST + 1], says[64];
    memset(ones, '\t', LONGEST - 1); /* a blank would end the word */
    strcpy(ones + LONGEST - 1, "1");
    snprintf(line, sizeof line, "verify --%s-expr %s", names[i], ones);
    accept(&flags, line);
    snprintf(line, sizeof line, "verify --%s-expr %s1", names[i], ones);
    snprintf(says, sizeof says, "the %s expression has 480 bytes; 479 is the limit", names[i]);
    refuse(line, ATTUNE_UNSUPPORTED, says);
    if (i > 0) continue;
    snprintf(line, sizeof line, "verify --mask-expr 1 --mask-expr %s", ones);
    refuse(line, ATTUNE_UNSUPPORTED, "the mask expression has 488 bytes; 479 is the limit");
  }
}

static void biases_have_the_sizes_of_the_problem_or_one(void **state) {
  (void)state;
  static const struct {
    const char *sizes;
    int64_t batch, heads, seqlen;
  } cases[] = {
      {"1,1,1", 0, 0, 0},       {"1,1,100", 0, 0, 70},    {"1,4,1", 0, 70, 0},      {"2,1,1", 70, 0, 0},
      {"1,4,100", 0, 7000, 70}, {"2,1,100", 7000, 0, 70}, {"2,4,1", 4 * 70, 70, 0}, {"2,4,100", 28000, 7000, 70},
  };
  static const struct {
    const char *sizes;
    attune_status status;
    const char *says;
  } bad[] = {
      {"3,1,1", ATTUNE_BAD_SIZE, "bias has 3 where the problem has batch 2; it must be that or 1"},
      {"1,2,1", ATTUNE_BAD_SIZE, "bias has 2 where the problem has heads_q 4"},
      {"1,1,70", ATTUNE_BAD_SIZE, "bias has 70 where the problem has seqlen_q 100"},
      {"1,1,99999999999", ATTUNE_BAD_SIZE, "--bias 99999999999: it must be from"},
      {"1,4", ATTUNE_BAD_ARGUMENT, "--bias \"1,4\": expected three sizes, as in 1,16,4096"},
      {"1,4,", ATTUNE_BAD_ARGUMENT, "expected three sizes"},
      {",1,1", ATTUNE_BAD_ARGUMENT, "expected three sizes"},
      {"1,,1", ATTUNE_BAD_ARGUMENT, "expected three sizes"},
      {"0,1,1", ATTUNE_BAD_ARGUMENT, "expected three sizes"},
      {"1,-4,1", ATTUNE_BAD_ARGUMENT, "expected three sizes"},
      {"1,1,1,1", ATTUNE_BAD_ARGUMENT, "expected three sizes"},
      {"x", ATTUNE_BAD_ARGUMENT, "expected three sizes"},
  };
  static const char sizes[] = "--batch 2 --heads-q 4 --heads-kv 2 --seqlen-q 100 --seqlen-k 70";
  char line[160];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    static attune_flags flags;
    const attune_strides *bias = &flags.problem.bias;
    for (int last = 0; last < 2; last++) { /* before or after the sizes */
      snprintf(line, sizeof line, last ? "verify %s --bias %s" : "verify --bias %2$s %1$s", sizes, cases[i].sizes);
      accept(&flags, line);
      assert_int_equal(flags.problem.want_bias, 1);
      if (bias->batch != cases[i].batch || bias->heads != cases[i].heads || bias->seqlen != cases[i].seqlen)
        fail_msg("%s: strides %lld, %lld, %lld", line, (long long)bias->batch, (long long)bias->heads,
                 (long long)bias->seqlen);
    }
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(line, sizeof line, "verify %s --bias %s", sizes, bad[i].sizes);
    refuse(line, bad[i].status, bad[i].says);
  }
}

static void lengths_are_read(void **state) {
  (void)state;
  static attune_flags flags;
  static const int32_t lengths[] = {100, 0, 7};
  accept(&flags, "verify --batch 3 --seqlens-k 100,0,7 --param a=1,2");
  assert_memory_equal(attune_inputs_seqlens(&flags.given, ATTUNE_KEYS), lengths, sizeof lengths);
  assert_int_equal(flags.given.seqlens[ATTUNE_KEYS].count, 3);
  assert_null(attune_inputs_seqlens(&flags.given, ATTUNE_QUERIES));
  accept(&flags, "verify --seqlens-q 5");
  assert_int_equal(attune_inputs_seqlens(&flags.given, ATTUNE_QUERIES)[0], 5);
  static const char *const bad[] = {"", ",", "1,", "1,,2", "-1", "1,-2", "x", "1;2", "1 2"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char *argv[] = {(char *)(uintptr_t) "verify", (char *)(uintptr_t) "--seqlens-q", (char *)(uintptr_t)bad[i], NULL};
    assert_int_equal(attune_flags_parse(&flags, 3, argv), ATTUNE_BAD_ARGUMENT);
    assert_non_null(strstr(attune_message(), "expected a length for each sequence, as in 512,100,0"));
  }
  refuse("verify --seqlens-q 99999999999", ATTUNE_BAD_SIZE, "--seqlens-q 99999999999: it must be from");
  refuse("tune --seqlens-q 5", ATTUNE_BAD_ARGUMENT, "attune tune takes no --seqlens-q");
}

/* ---- JSON ---- */

static attune_inputs given;

static attune_status of_json(attune_problem *problem, const char *text) {
  json_error_t error;
  json_t *object = json_loads(text, JSON_DECODE_ANY, &error);
  assert_non_null(object);
  const attune_status status = attune_problem_of_json(problem, &given, object, "here");
  json_decref(object);
  return status;
}

static void expect_equal(const attune_problem *a, const attune_problem *b) {
  attune_buffer keys[2] = {{0}};
  attune_problem_key(&keys[0], a);
  attune_problem_key(&keys[1], b);
  assert_true(!keys[0].failed && keys[0].length == keys[1].length);
  assert_memory_equal(keys[0].text, keys[1].text, keys[0].length);
  attune_buffer_free(&keys[0]);
  attune_buffer_free(&keys[1]);
}

static void problems_come_back_from_json(void **state) {
  (void)state;
  attune_problem problem, back;
  assert_int_equal(of_json(&problem,
                           "{\"name\":\"x\",\"dtype\":\"fp16\",\"head_dim\":96,\"head_dim_v\":64,\"batch\":2,"
                           "\"heads_q\":8,\"heads_kv\":2,\"seqlen_q\":100,\"seqlen_k\":200,\"mask\":\"causal\","
                           "\"window\":[64,null],\"scale\":0.5,\"softcap\":20,\"lse\":true,"
                           "\"o_strides\":[51200,512,64]}"),
                   ATTUNE_OK);
  assert_int_equal(problem.head_dim_v, 64);
  assert_int_equal(problem.window_left, 64);
  assert_int_equal(problem.window_right, -1);
  assert_int_equal(problem.o.seqlen, 512);
  json_t *object = attune_problem_to_json(&problem, &given);
  assert_int_equal(attune_problem_of_json(&back, &given, object, "there"), ATTUNE_OK);
  expect_equal(&problem, &back);
  json_decref(object);
  assert_int_equal(of_json(&problem, "{\"head_dim\":32,\"heads_q\":4,\"seqlen_q\":9}"), ATTUNE_OK);
  assert_true(problem.head_dim_v == 32 && problem.heads_kv == 4 && problem.seqlen_k == 9 && isnan(problem.scale));
}

static void expressions_come_back_from_json(void **state) {
  (void)state;
  static const char *const texts[] = {
      "{\"mask_expr\":\"k <= q + n\",\"params\":{\"n\":-2147483648}}",
      "{\"score_expr\":\"score * x\",\"params\":{\"x\":2.0},\"sinks\":true}",
      "{\"batch\":2,\"heads_q\":4,\"seqlen_q\":8,\"mask_expr\":\"k < doc[q] || k < one[batch]\","
      "\"score_expr\":\"slope[head] * score + bias - whole[q]\",\"bias\":[1,4,8],\"sinks\":true,"
      "\"params\":{\"doc\":[3,1,2147483647],\"slope\":[0.5,1.0,-1024.5],\"one\":[7],\"whole\":[1.0],\"unused\":0}}",
      "{\"batch\":2,\"bias\":[2,1,1]}",
      "{\"heads_q\":2,\"seqlen_q\":3,\"bias\":[1,1,3],\"params\":{\"tiny\":1e-30,\"tenth\":[0.1,0.2]}}",
      "{\"batch\":3,\"seqlen_q\":9,\"params\":{\"a\":[4,5]},\"seqlens_q\":[9,0,5],\"seqlens_k\":[1,2,3]}",
      "{\"seqlens_k\":[1]}",
      "{\"pattern\":\"window:5 & causal\"}",
  };
  static const char *const keys[] = {"mask_expr", "score_expr", "params", "bias", "sinks", "seqlens_q", "seqlens_k"};
  static attune_inputs again;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    attune_problem problem, back;
    json_error_t error;
    json_t *text = json_loads(texts[i], 0, &error);
    if (of_json(&problem, texts[i]) != ATTUNE_OK) fail_msg("%s: %s", texts[i], attune_message());
    json_t *object = attune_problem_to_json(&problem, &given);
    for (size_t j = 0; j < sizeof keys / sizeof *keys; j++) {
      const json_t *had = json_object_get(text, keys[j]), *has = json_object_get(object, keys[j]);
      if (strstr(texts[i], "tenth") != NULL && strcmp(keys[j], "params") == 0) continue; /* as floats they differ */
      if (strstr(texts[i], "pattern") != NULL && j == 0) {
        assert_string_equal(json_string_value(has), "(q - k <= 5 && k - q <= 5) && (k <= q)");
        continue;
      }
      if (had == NULL ? has != NULL : !json_equal(had, has)) fail_msg("%s: %s differs", texts[i], keys[j]);
    }
    assert_int_equal(attune_problem_of_json(&back, &again, object, "there"), ATTUNE_OK);
    expect_equal(&problem, &back);
    assert_memory_equal(given.params, again.params, sizeof again.params);
    assert_memory_equal(given.elements, again.elements, sizeof again.elements);
    json_decref(object);
    json_decref(text);
  }
}

static void faults_in_json_say_where(void **state) {
  (void)state;
  const struct {
    const char *text;
    attune_status status;
    const char *says;
  } cases[] = {
      {"[]", ATTUNE_BAD_JSON, "here: a problem must be a JSON object"},
      {"{\"head_dims\":64}", ATTUNE_BAD_JSON,
       "\"head_dims\" is no field of a problem (did you mean head_dim or head_dim_v?); there are"},
      {"{\"head_dim\":\"64\"}", ATTUNE_BAD_JSON, "here: \"head_dim\" must be an integer"},
      {"{\"head_dim\":64.0}", ATTUNE_BAD_JSON, "here: \"head_dim\" must be an integer"},
      {"{\"batch\":4294967296}", ATTUNE_BAD_JSON, "here: \"batch\" is 4294967296"},
      {"{\"dtype\":\"fp8\"}", ATTUNE_BAD_JSON, "here: \"dtype\" must be \"fp16\" or \"bf16\""},
      {"{\"mask\":1}", ATTUNE_BAD_JSON, "here: \"mask\" must be"},
      {"{\"window\":5}", ATTUNE_BAD_JSON, "here: \"window\" must be [left, right]"},
      {"{\"scale\":\"x\"}", ATTUNE_BAD_JSON, "here: \"scale\" must be a number"},
      {"{\"scale\":1e300}", ATTUNE_BAD_JSON, "here: \"scale\" must be a number in the range"},
      {"{\"lse\":1}", ATTUNE_BAD_JSON, "here: \"lse\" must be true or false"},
      {"{\"q_strides\":[1,2]}", ATTUNE_BAD_JSON, "here: \"q_strides\" must be [batch, seqlen, heads]"},
      {"{\"q_strides\":[8,8,4]}", ATTUNE_UNSUPPORTED, "here: "},
      {"{\"head_dim\":20}", ATTUNE_UNSUPPORTED, "here: head_dim is 20"},
      {"{\"seqlen_k\":0}", ATTUNE_BAD_SIZE, "here: seqlen_k is 0"},
      {"{\"mask_expr\":1}", ATTUNE_BAD_JSON, "here: \"mask_expr\" must be a text of at most 479 bytes"},
      {"{\"mask_expr\":\"k <\"}", ATTUNE_BAD_EXPRESSION, "here: mask expression \"k <\", column 4"},
      {"{\"score_expr\":null}", ATTUNE_BAD_JSON, "here: \"score_expr\" must be a text"},
      {"{\"pattern\":3}", ATTUNE_BAD_JSON, "here: \"pattern\" must be a text"},
      {"{\"pattern\":\"casual\"}", ATTUNE_BAD_EXPRESSION, "column 1: no such pattern"},
      {"{\"sinks\":1}", ATTUNE_BAD_JSON, "here: \"sinks\" must be true or false"},
      {"{\"bias\":[1,1]}", ATTUNE_BAD_JSON, "here: \"bias\" must be [batch, heads, queries]"},
      {"{\"bias\":[2,1,1]}", ATTUNE_BAD_SIZE, "here: bias has 2 where the problem has batch 1"},
      {"{\"bias\":[0,1,1]}", ATTUNE_BAD_SIZE, "here: bias has 0"},
      {"{\"params\":[1]}", ATTUNE_BAD_JSON, "here: \"params\" must be an object"},
      {"{\"params\":{\"n\":\"1\"}}", ATTUNE_BAD_JSON, "here: param \"n\" must be a number or an array"},
      {"{\"params\":{\"n\":[1,null]}}", ATTUNE_BAD_JSON, "here: param \"n\" must be a number or an array"},
      {"{\"params\":{\"n\":[]}}", ATTUNE_BAD_JSON, "must be a number or an array of 1 to 4096 numbers"},
      {"{\"params\":{\"head\":1}}", ATTUNE_BAD_EXPRESSION, "here: params[0] is named head"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_problem problem;
    assert_int_equal(of_json(&problem, cases[i].text), cases[i].status);
    if (strstr(attune_message(), cases[i].says) == NULL) fail_msg("%s: %s", cases[i].text, attune_message());
  }
}

static void configs_are_json_by_their_table(void **state) {
  (void)state;
  attune_problem problem;
  attune_config config;
  attune_problem_init(&problem);
  assert_int_equal(attune_config_reference(&config, &problem), ATTUNE_OK);
  json_t *object = attune_config_to_json(&config);
  assert_int_equal((int)json_object_size(object), attune_config_field_count(config.family) + 2);
  assert_string_equal(json_string_value(json_object_get(object, "operation")), "forward");
  assert_string_equal(json_string_value(json_object_get(object, "family")), "reference");
  assert_int_equal(json_integer_value(json_object_get(object, "head_dim")), 64);
  json_decref(object);
}

/* ---- --problem ---- */

static void write_text(char path[64], const char *text) {
  strcpy(path, "/tmp/attune-test-XXXXXX");
  const int descriptor = mkstemp(path);
  assert_true(descriptor >= 0);
  assert_int_equal(write(descriptor, text, strlen(text)), strlen(text));
  close(descriptor);
}

static void problems_are_read_and_then_changed_by_flags(void **state) {
  (void)state;
  attune_flags flags;
  char path[64], line[128];
  accept(&flags, "verify --seqlen-q 8 --problem forward.fp16.d96.b2.h8.kv2.q100.k100.causal");
  assert_true(flags.problem.seqlen_q == 8 && flags.problem.seqlen_k == 8 && flags.problem.heads_kv == 2);
  assert_int_equal(flags.problem.mask, ATTUNE_MASK_CAUSAL);
  write_text(path, "{\"head_dim\": 32, \"seqlen_q\": 7, \"seqlen_k\": 9}");
  snprintf(line, sizeof line, "verify --problem %s --seqlen-q 5", path);
  accept(&flags, line);
  assert_true(flags.problem.head_dim == 32 && flags.problem.seqlen_q == 5 && flags.problem.seqlen_k == 9);
  unlink(path);
}

static void faults_in_problem_files_say_the_line(void **state) {
  (void)state;
  char path[64], line[128];
  write_text(path, "{\"head_dim\": 32,\n\"seqlen_q\": }");
  snprintf(line, sizeof line, "verify --problem %s", path);
  refuse(line, ATTUNE_BAD_JSON, "line 2");
  unlink(path);
  refuse(line, ATTUNE_BAD_FILE, path);
  refuse("verify --problem forward.fp16.d96", ATTUNE_BAD_ARGUMENT, "forward.fp16.d96");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_left_out_has_its_usual_value),
      cmocka_unit_test(sizes_follow_one_another),
      cmocka_unit_test(every_flag_is_read),
      cmocka_unit_test(misuse_is_told_with_its_flag),
      cmocka_unit_test(sizes_beside_a_file_are_refused),
      cmocka_unit_test(what_breaks_a_rule_of_problems_has_its_own_status),
      cmocka_unit_test(expressions_are_read),
      cmocka_unit_test(texts_that_are_too_long_are_refused),
      cmocka_unit_test(biases_have_the_sizes_of_the_problem_or_one),
      cmocka_unit_test(lengths_are_read),
      cmocka_unit_test(problems_come_back_from_json),
      cmocka_unit_test(expressions_come_back_from_json),
      cmocka_unit_test(faults_in_json_say_where),
      cmocka_unit_test(configs_are_json_by_their_table),
      cmocka_unit_test(problems_are_read_and_then_changed_by_flags),
      cmocka_unit_test(faults_in_problem_files_say_the_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
