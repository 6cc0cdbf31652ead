/* The hash of what runs: changes with the source, the launch and the tensor maps, and with nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "generator/generator.h"

/* What attune_emit and the tensor maps are, as a test wants them. */
static const char *emitted;
static int32_t edited = -1; /* a family whose template is another */
enum { NO_MEMBER = -1 };
static int changed = NO_MEMBER; /* offset of the member of the first tensor map that is another */

attune_status __wrap_attune_emit(char **source, const attune_config *config, const attune_problem *problem,
                                 attune_target target);
attune_status __real_attune_emit(char **source, const attune_config *config, const attune_problem *problem,
                                 attune_target target);
attune_status __wrap_attune_emit(char **source, const attune_config *config, const attune_problem *problem,
                                 attune_target target) {
  if (!emitted) {
    const attune_status status = __real_attune_emit(source, config, problem, target);
    if (status == ATTUNE_OK && config->family == edited) strstr(*source, "int")[0] = 'I';
    return status;
  }
  *source = strdup(emitted);
  assert_non_null(*source);
  return ATTUNE_OK;
}

attune_status __wrap_attune_steps_of(attune_steps *out, const attune_config *config, const attune_problem *problem);
attune_status __real_attune_steps_of(attune_steps *out, const attune_config *config, const attune_problem *problem);
attune_status __wrap_attune_steps_of(attune_steps *out, const attune_config *config, const attune_problem *problem) {
  attune_status status = __real_attune_steps_of(out, config, problem);
  if (changed != NO_MEMBER && out->steps[0].map_count > 0) ((unsigned char *)&out->steps[0].maps[0])[changed] ^= 1;
  return status;
}

static attune_problem problem_of(const char *text) {
  attune_problem problem;
  assert_int_equal(attune_problem_parse(&problem, text), ATTUNE_OK);
  return problem;
}

static const char problem_text[] = "forward.bf16.d128.b4.h16.kv16.q4096.k4096.causal";

static attune_config default_config(const attune_problem *problem, const char *arch) {
  attune_device device;
  attune_config config;
  assert_int_equal(attune_device_of_arch(&device, arch), ATTUNE_OK);
  assert_int_equal(attune_config_default(&config, problem, &device), ATTUNE_OK);
  return config;
}

static const char *hash(const attune_config *config, const attune_problem *problem, const char *arch) {
  static char out[8][65];
  static int next;
  char *text = out[next++ % 8];
  if (attune_result_hash(text, config, problem, arch) != ATTUNE_OK) fail_msg("%s", attune_message());
  assert_int_equal(strlen(text), 64);
  return text;
}

static void what_does_not_run_does_not_enter(void **state) {
  (void)state;
  static const char *const same[][2] = {
      {"int a = 1;", "int a=1; // one"},
      {"int a = 1;", "/* x */\n\nint  a\n=\t1;\n"},
      {"f(\"a  b\");", "f ( \"a  b\" ) ;"},
      {"return a;", "return/* x */a;"},
      {"#define A 1\nint b;", "// x\n#define A  1 // y\n\n  int b;\n"},
      {"a = '\"'; b", "a='\"';b"},
      {"a = 1'000; b", "a=1'000;b"},
      {"#if A\nint b;\n#endif\nint c;", "\n#if A\nint b;\n\n#endif\n\nint c;"},
  };
  const attune_problem problem = problem_of(problem_text);
  const attune_config config = default_config(&problem, "sm_90");
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    emitted = same[i][0];
    const char *one = hash(&config, &problem, "sm_90");
    emitted = same[i][1];
    const char *two = hash(&config, &problem, "sm_90");
    emitted = NULL;
    if (strcmp(one, two) != 0) fail_msg("'%s' and '%s' differ", same[i][0], same[i][1]);
  }
}

static void what_runs_enters(void **state) {
  (void)state;
  static const char *const different[][2] = {
      {"int a = 1;", "int a = 2;"},
      {"int a;", "inta;"},
      {"f(\"a  b\");", "f(\"a b\");"},
      {"f(\"/* a */\");", "f(\"\");"},
      {"f(\"// a\");", "f(\""},
      {"#define A\n(b)", "#define A (b)"},
      {"#define A(b) c", "#define A (b) c"},
      {"a;\n#define A\nb;", "a;\n#define A b;"},
      {"f(\"\\\"/*\");/**/g", "f(\"\\\"/*\");"},
  };
  const attune_problem problem = problem_of(problem_text);
  const attune_config config = default_config(&problem, "sm_90");
  for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
    emitted = different[i][0];
    const char *one = hash(&config, &problem, "sm_90");
    emitted = different[i][1];
    const char *two = hash(&config, &problem, "sm_90");
    emitted = NULL;
    if (strcmp(one, two) == 0) fail_msg("'%s' and '%s' are the same", different[i][0], different[i][1]);
  }
}

static void tensor_maps_enter(void **state) {
  (void)state;
#define MEMBER(member)                                                                                                 \
  { #member, (int)offsetof(attune_tensor_map_box, member) }
  static const struct {
    const char *name;
    int offset;
  } members[] = {
      MEMBER(tensor),         MEMBER(format.type),      MEMBER(format.interleave),
      MEMBER(format.swizzle), MEMBER(format.promotion), MEMBER(format.fill),
      MEMBER(size[0]),        MEMBER(size[1]),          MEMBER(size[2]),
      MEMBER(size[3]),        MEMBER(stride[0]),        MEMBER(stride[1]),
      MEMBER(stride[2]),      MEMBER(columns),          MEMBER(rows),
      MEMBER(inner),
  };
#undef MEMBER
  const attune_problem problem = problem_of(problem_text);
  const attune_config config = default_config(&problem, "sm_90");
  char before[65];
  strcpy(before, hash(&config, &problem, "sm_90"));
  for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
    changed = members[i].offset;
    if (strcmp(hash(&config, &problem, "sm_90"), before) == 0) fail_msg("a map with another %s", members[i].name);
    changed = NO_MEMBER;
  }
  assert_string_equal(hash(&config, &problem, "sm_90"), before);
}

static void launches_enter(void **state) {
  (void)state;
  attune_problem problem = problem_of(problem_text), longer = problem;
  attune_config config = default_config(&problem, "sm_90"), other = config;
  const char *before = hash(&config, &problem, "sm_90");
  longer.seqlen_k *= 2;
  assert_string_not_equal(hash(&config, &longer, "sm_90"), before);
  emitted = "the same"; /* so that only the launch can tell */
  before = hash(&config, &problem, "sm_90");
  other.stages = other.stages > 2 ? other.stages - 1 : other.stages + 1;
  assert_string_not_equal(hash(&other, &problem, "sm_90"), before); /* shared bytes */
  longer = problem;
  longer.batch *= 2;
  assert_string_not_equal(hash(&config, &longer, "sm_90"), before); /* grid */
  emitted = NULL;
}

/* Of a problem the class enters: strides, scale and pointers of one run do not. */
static void one_runs_values_do_not_enter(void **state) {
  (void)state;
  attune_problem problem = problem_of(problem_text), strided = problem;
  const attune_config config = default_config(&problem, "sm_90");
  const char *before = hash(&config, &problem, "sm_90");
  strided.scale = 0.25f;
  strided.q = (attune_strides){.batch = 1 << 24, .seqlen = 1 << 12, .heads = 256};
  assert_string_equal(hash(&config, &strided, "sm_90"), before);
  assert_string_not_equal(hash(&config, &problem, "host"), before);
  char out[65];
  assert_int_equal(attune_result_hash(NULL, &config, &problem, "sm_90"), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_result_hash(out, &config, &problem, NULL), ATTUNE_BAD_ARGUMENT);
}

/* A step of the backward pass that changes is another result; another family's change is none. */
static void every_kernel_enters(void **state) {
  (void)state;
  const attune_problem problem = problem_of("backward.bf16.d128.b4.h16.kv16.q4096.k4096.causal");
  const attune_config config = default_config(&problem, "sm_90");
  attune_config kernels[ATTUNE_STEPS_MAX];
  char before[65];
  strcpy(before, hash(&config, &problem, "sm_90"));
  const int count = attune_config_kernels(kernels, &config);
  assert_int_equal(count, 3);
  for (int i = 0; i < count; i++) {
    edited = kernels[i].family;
    assert_string_not_equal(hash(&config, &problem, "sm_90"), before);
  }
  edited = ATTUNE_FAMILY_MMA;
  assert_string_equal(hash(&config, &problem, "sm_90"), before);
  edited = -1;
  attune_problem strided = problem;
  strided.dq = (attune_strides){.batch = 1 << 24, .seqlen = 1 << 12, .heads = 256};
  assert_string_equal(hash(&config, &strided, "sm_90"), before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_does_not_run_does_not_enter),
      cmocka_unit_test(what_runs_enters),
      cmocka_unit_test(tensor_maps_enter),
      cmocka_unit_test(launches_enter),
      cmocka_unit_test(one_runs_values_do_not_enter),
      cmocka_unit_test(every_kernel_enters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
