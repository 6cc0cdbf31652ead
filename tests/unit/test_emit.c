/* The preprocessor on texts made for it, then on the templates themselves. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "generator/base/hash.h"
#include "generator/generator.h"
#include "generator/source/preprocess.h"
#include "generator/source/prune.h"

/* ---- #if ---- */

static const attune_parameter some[] = {{"ONE", 1}, {"ZERO", 0}, {"SEVEN", 7}};

static void test_condition(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    int64_t value;
  } good[] = {
      {"1", 1},
      {"0", 0},
      {" ONE ", 1},
      {"!ONE", 0},
      {"!!SEVEN", 1},
      {"ONE && ZERO || ONE", 1},
      {"ONE || ZERO && ZERO", 1},
      {"SEVEN == 7 && SEVEN != 8 && SEVEN >= 7 && SEVEN <= 7 && SEVEN < 8 && SEVEN > 6", 1},
      {"2 * (SEVEN - 3) + 1", 9},
      {"-SEVEN + 7 == 0", 1},
      {"2 + 3 * 4", 14},
      {"10 - 3 - 2", 5},
      {"defined(ONE) && !defined(TWO) && defined ZERO", 1},
      {"!defined TWO", 1},
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    int64_t value = -1;
    if (attune_preprocessor_expression(&value, good[i].text, some, 3, "here:1")) fail_msg("%s", attune_message());
    if (value != good[i].value) fail_msg("%s is %lld", good[i].text, (long long)value);
  }
  static const struct {
    const char *text, *says;
  } bad[] = {
      {"", "missing"},
      {"TWO", "unknown name at \"TWO\""},
      {"ONE || TWO", "unknown name"},
      {"ZERO && TWO", "unknown name"},
      {"(ONE", "not closed"},
      {"ONE ONE", "not understood"},
      {"ONE &", "not understood"},
      {"12AB", "not a number"},
      {"defined()", "must follow defined"},
      {"ONE ==", "missing"},
      {"9223372036854775807 + ONE", "overflow"},
      {"9223372036854775807 * 2", "overflow"},
      {"!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!ONE", "nested"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    int64_t value;
    assert_int_equal(attune_preprocessor_expression(&value, bad[i].text, some, 3, "here:1"), ATTUNE_BAD_ARGUMENT);
    if (strstr(attune_message(), bad[i].says) == NULL) fail_msg("%s: %s", bad[i].text, attune_message());
    assert_non_null(strstr(attune_message(), "here:1"));
  }
}

/* ---- preprocess ---- */

static attune_status preprocess_with(char **out, const char *template, bool standard_includes) {
  const attune_source_file files[] = {
      {.name = "kernel", .path = "t.cu", .text = template},
      {.name = "parameters.h", .path = "p.h", .text = "constexpr int seven = 7;\n"},
      {.name = "guarded.h", .path = "g.h", .text = "#ifndef GUARDED_H\n#define GUARDED_H\n\nint guarded;\n\n#endif\n"},
      {.name = "outer.h", .path = "o.h", .text = "/* Outer. */\n#pragma once\n#include \"guarded.h\"\nint outer;\n"},
  };
  const attune_preprocess_input s = {
      .files = files,
      .file_count = 4,
      .parameters = some,
      .parameter_count = 3,
      .standard_includes = standard_includes,
  };
  return attune_preprocess(out, &s);
}

static void expect(const char *template, const char *expected) {
  char *out = NULL;
  if (preprocess_with(&out, template, false)) fail_msg("%s", attune_message());
  assert_string_equal(out, expected);
  free(out);
}

static void expect_fault(const char *template, const char *says) {
  char *out = NULL;
  assert_int_equal(preprocess_with(&out, template, false), ATTUNE_BAD_ARGUMENT);
  assert_null(out);
  if (strstr(attune_message(), says) == NULL) fail_msg("\"%s\" does not say \"%s\"", attune_message(), says);
}

/* What is included comes before all of the file that includes it. */
static void test_golden(void **unused) {
  (void)unused;
  expect("/* A kernel. */\n"
         "#include \"parameters.h\"\n"
         "#include \"../parts/outer.h\"\n"
         "#include \"guarded.h\"\n"
         "\n"
         "void kernel(int n) {\n"
         "#pragma unroll\n"
         "#if SEVEN > 6 /* note */ && ONE // and another\n"
         "  alpha(); // not delta\n"
         "#else\n"
         "  delta();\n"
         "#endif\n"
         "}\n",
         "constexpr int seven = 7;\n"
         "\n"
         "int guarded;\n"
         "\n"
         "/* Outer. */\n"
         "int outer;\n"
         "\n"
         "/* A kernel. */\n"
         "\n"
         "void kernel(int n) {\n"
         "#pragma unroll\n"
         "  alpha(); // not delta\n"
         "}\n");
}

static void test_branches(void **unused) {
  (void)unused;
  expect("#if ZERO\na\n#elif ONE\nb\n#elif ONE\nc\n#else\nd\n#endif\n", "b\n");
  expect("#if ZERO\na\n#else\nb\n#endif\n", "b\n");
  expect("#if ZERO\n#if ONE\na\n#else\nb\n#endif\nc\n#else\n#if ONE\nd\n#endif\n#endif\ne\n", "d\ne\n");
  expect("#  if ONE\na\n  #  endif\n", "a\n");
  expect("/*\n#if NOT_A_DIRECTIVE\n*/\nx\n", "/*\n#if NOT_A_DIRECTIVE\n*/\nx\n");
  /* In a branch that is not taken nothing is looked at but its nesting. */
  expect("#if ZERO\n#include \"nowhere.h\"\n#if UNKNOWN\n#endif\n#endif\nx\n", "x\n");
  expect("a\n\n\n\nb\n", "a\n\nb\n");
  expect("", "");
  expect("no newline at the end", "no newline at the end\n");
}

static void test_faults(void **unused) {
  (void)unused;
  expect_fault("a\n#if ONE && TILE\n#endif\n", "t.cu:2: #if: unknown name at \"TILE\"");
  expect_fault("#if ONE\n#elif TILE\n#endif\n", "t.cu:2: #if: unknown name");
  expect_fault("#if ONE\n", "t.cu:1: #if without #endif");
  expect_fault("x\n#endif\n", "t.cu:2: #endif without #if");
  expect_fault("#else\n", "t.cu:1: #elif or #else without #if");
  expect_fault("#if ONE\n#else\n#else\n#endif\n", "t.cu:3: #elif or #else without #if");
  expect_fault("#include \"nowhere.h\"\n", "t.cu:1: no such file");
  expect_fault("#include <math.h>\n", "t.cu:1: no place for");
  expect_fault("#ifdef ONE\n#endif\n", "t.cu:1: write #if over the parameters");
  expect_fault("#ifndef ONE\n#define TWO\n#endif\n", "t.cu:2: #ifndef serves include guards only");
}

static void test_standard_includes(void **unused) {
  (void)unused;
  char *out;
  assert_int_equal(preprocess_with(&out, "#include <cmath>\nx\n", true), ATTUNE_OK);
  assert_string_equal(out, "#include <cmath>\nx\n");
  free(out);
}

/* ---- prune ---- */

static void expect_pruned(const char *text, const char *expected) {
  attune_buffer out = {0};
  if (attune_prune(&out, text, "kernel")) fail_msg("%s", attune_message());
  attune_buffer_add(&out, "", 0);
  assert_string_equal(out.text, expected);
  attune_buffer_free(&out);
}

static void test_prune_functions(void **unused) {
  (void)unused;
  expect_pruned("int alpha() { return beta(); }\n"
                "int beta() { return 1; }\n"
                "int gamma() { return alpha(); }\n"
                "/* delta */ int xdelta; // gamma\n"
                "void kernel() { alpha(); } // gamma\n",
                "int alpha() { return beta(); }\n"
                "int beta() { return 1; }\n"
                "void kernel() { alpha(); } // gamma\n");
  expect_pruned("template <int n, class t> __attribute__((x(beta))) static t alpha(float (&x)[n], t y) {\n  beta(); }\n"
                "int beta(int);\n"
                "const char *gamma(char c) { return c == '}' ? \"}{\" : \"gamma\"; }\n"
                "extern \"C\" MACRO(gamma, 1) void kernel(const s a, t b) { alpha<3>(1, 2); }\n",
                "template <int n, class t> __attribute__((x(beta))) static t alpha(float (&x)[n], t y) {\n  beta(); }\n"
                "int beta(int);\n"
                "const char *gamma(char c) { return c == '}' ? \"}{\" : \"gamma\"; }\n"
                "extern \"C\" MACRO(gamma, 1) void kernel(const s a, t b) { alpha<3>(1, 2); }\n");
  expect_pruned("void kernel() {}\nint alpha() { return 0; }\n", "void kernel() {}\n");
  expect_pruned("int alpha();\n", "");
  expect_pruned("", "");
}

static void test_prune_variables_and_types(void **unused) {
  (void)unused;
  expect_pruned("constexpr int one = 1, two = f(3, 4), three = two;\n"
                "constexpr int f(int x, int y) { return x + y; }\n"
                "[[maybe_unused]] constexpr int list[] = {1, 2}; // of two\n"
                "static const char *name;\n"
                "#define ALPHA(x) \\\n  beta(x)\n"
                "#define GAMMA 1\n"
                "void beta(int);\n"
                "enum color { RED, GREEN = (1, 2), BLUE };\n"
                "enum { LONE = 4 };\n"
                "typedef unsigned address;\n"
                "struct __attribute__((aligned(64))) pair { address a; int unused() { return 0; } };\n"
                "struct lonely : pair { int LONE; };\n"
                "void kernel(pair p) { ALPHA(three); int c = GREEN; }\n",
                "constexpr int one = 1, two = f(3, 4), three = two;\n"
                "constexpr int f(int x, int y) { return x + y; }\n"
                "#define ALPHA(x) \\\n  beta(x)\n"
                "void beta(int);\n"
                "enum color { RED, GREEN = (1, 2), BLUE };\n"
                "typedef unsigned address;\n"
                "struct __attribute__((aligned(64))) pair { address a; int unused() { return 0; } };\n"
                "void kernel(pair p) { ALPHA(three); int c = GREEN; }\n");
}

/* Of overloads those stay whose types are there, of operators those whose symbol occurs. */
static void test_prune_overloads(void **unused) {
  (void)unused;
  static const char text[] = "struct range { int low, high; };\n"
                             "struct number { int value; };\n"
                             "number operator+(number a, number b) { return a; }\n"
                             "number operator<<(number a, number b) { return a; }\n"
                             "range operator+(range a, range b) { return a; }\n"
                             "int least(number a) { return a.value; }\n"
                             "int least(range a) { return a.low; }\n"
                             "void kernel() { number n = {1}; least(n + n); }\n";
  expect_pruned(text, "struct number { int value; };\n"
                      "number operator+(number a, number b) { return a; }\n"
                      "int least(number a) { return a.value; }\n"
                      "void kernel() { number n = {1}; least(n + n); }\n");
}

static void test_prune_comments(void **unused) {
  (void)unused;
  expect_pruned("/* A file. */\n\n/* ---- first ---- */\n\n/* Of a. */\nint a;\n\n/* ---- second ---- */\n\nint b;\n\n"
                "/* Another file. */\n\nint c;\n\n/* A last one. */\n\n// Of the kernel.\nvoid kernel() { b; }\n",
                "/* A file. */\n\n/* ---- second ---- */\n\nint b;\n\n/* A last one. */\n\n// Of the kernel.\n"
                "void kernel() { b; }\n");
  expect_pruned("#include <cmath>\n\nint a;\n\nvoid kernel() {}\n", "#include <cmath>\n\nvoid kernel() {}\n");
}

/* ---- the templates ---- */

static char *emitted(const char *text, attune_target target) {
  attune_config config;
  char *source = NULL;
  if (attune_config_parse(&config, text) || attune_emit(&source, &config, NULL, target))
    fail_msg("%s", attune_message());
  return source;
}

/* The code of a text without comments, so that words can be looked for in it. */
static void strip_comments(char *text) {
  char *to = text;
  for (const char *c = text; *c != '\0'; c++) {
    if (c[0] == '/' && c[1] == '/') c += strcspn(c, "\n");
    if (c[0] == '/' && c[1] == '*') {
      const char *end = strstr(c + 2, "*/");
      assert_non_null(end);
      c = end + 1;
      continue;
    }
    *to++ = *c;
    if (*c == '\0') break;
  }
  *to = '\0';
}

static const char *const texts[] = {
    "forward.reference.fp16.d40.v72.window.softcap.lse.m4.n32.w4.s1.b1",
    "forward.reference.bf16.d256.m4.n32.w4.s1.b1",
    "forward.mma.bf16.d128.causal.lse.m128.n64.w4.s1.lpt.b2",
    "forward.mma.fp16.d72.v40.window.negated.m64.n48.w4.s3.q_in_regs.lazy.reversed.b1",
    "forward.mma.bf16.d64.softcap.m128.n128.w4.s2.heads.b1",
};
enum { TEXT_COUNT = sizeof texts / sizeof *texts };

static void test_templates(void **unused) {
  (void)unused;
  for (int i = 0; i < TEXT_COUNT; i++) {
    for (int target = 0; target < 2; target++) {
      char *source = emitted(texts[i], (attune_target)target), *again = emitted(texts[i], (attune_target)target);
      assert_string_equal(source, again);
      free(again);

      attune_config config;
      char symbol[ATTUNE_TEXT_MAX + 8], wanted[512];
      assert_int_equal(attune_config_parse(&config, texts[i]), ATTUNE_OK);
      assert_int_equal(attune_config_symbol(symbol, &config), ATTUNE_OK);
      assert_non_null(strstr(source, symbol));
      assert_null(strstr(source, "KERNEL_NAME"));
      snprintf(wanted, sizeof wanted, "--config %s */\n", texts[i]);
      assert_non_null(strstr(source, wanted));
      assert_non_null(strstr(source, target == ATTUNE_TARGET_SIMULATOR ? "--arch host" : "--arch sm_80"));

      strip_comments(source);
      static const char *const gone[] = {"#if",         "#else",        "#endif",    "#elif",
                                         "#include \"", "#pragma once", "@primitive"};
      for (size_t g = 0; g < sizeof gone / sizeof *gone; g++)
        assert_null(strstr(source, gone[g]));
      if (target == ATTUNE_TARGET_CUDA) assert_null(strstr(source, "#include"));
      /* Not one parameter in capitals is left. */
      static const char *const parameters[] = {"DTYPE_",    "MASK_BOUNDS_", "SCORE_", "LSE",
                                               "Q_IN_REGS", "ORDER_",       "STAGES"};
      for (size_t p = 0; p < sizeof parameters / sizeof *parameters; p++)
        assert_null(strstr(source, parameters[p]));
      free(source);
    }
  }
}

/* A kernel has what it needs and not what it does not. */
static void test_templates_are_pruned(void **unused) {
  (void)unused;
  char *plain = emitted("forward.mma.bf16.d128.m128.n64.w4.s1.b2", ATTUNE_TARGET_CUDA);
  char *full = emitted("forward.mma.fp16.d128.window.softcap.lse.m128.n64.w4.s1.b2", ATTUNE_TARGET_CUDA);
  char *reference = emitted("forward.reference.bf16.d128.m4.n32.w4.s1.b1", ATTUNE_TARGET_CUDA);
  strip_comments(plain);
  strip_comments(full);
  strip_comments(reference);
  assert_null(strstr(plain, "log2_approximate"));
  assert_non_null(strstr(full, "log2_approximate"));
  assert_null(strstr(plain, "f16.f16"));
  assert_null(strstr(full, "bf16"));
  assert_non_null(strstr(plain, "mma.sync"));
  assert_null(strstr(reference, "mma.sync"));
  assert_null(strstr(reference, "constexpr int stages"));
  assert_non_null(strstr(plain, "constexpr int tile_n = 64;"));
  free(plain);
  free(full);
  free(reference);
}

static void test_hash(void **unused) {
  (void)unused;
  char hash[65];
  attune_sha256(hash, "abc", 3); /* FIPS 180-4 */
  assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* Whatever text passes the check can be emitted, and so compiled. */
static void test_long_expressions(void **unused) {
  (void)unused;
  char mask[ATTUNE_EXPRESSION_MAX] = "k != 5";
  attune_problem problem;
  attune_config config;
  char *source = NULL;
  for (int i = 0; i < 20; i++)
    snprintf(mask + strlen(mask), sizeof mask - strlen(mask), " && (q*%d+k)%%97 != k%%%d", i % 7 + 1, i % 9 + 2);
  attune_problem_init(&problem);
  problem.mask_expr = mask;
  assert_int_equal(attune_problem_check(&problem), ATTUNE_OK);
  assert_int_equal(attune_config_reference(&config, &problem), ATTUNE_OK);
  if (attune_emit(&source, &config, &problem, ATTUNE_TARGET_CUDA) != ATTUNE_OK) fail_msg("%s", attune_message());
  free(source);
}

/* A score that its expression bounds takes the softmax of plain scores; others are tested once a tile. */
static void test_bounded_scores(void **unused) {
  (void)unused;
  static const struct {
    const char *score;
    bool bounded;
  } cases[] = {{"20 * tanh(score / 20)", true},
               {"max(min(score, 6.7e7), -6.7e7)", true},
               {"max(min(score, 6.8e7), -6.8e7)", false},
               {"20 * tanh(score / 20) + 0.5 * score", false},
               {"k <= q ? 20 * tanh(score / 20) : -1e30", false}};
  static const char *const architectures[] = {"sm_80", "sm_90"};
  for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
    attune_problem problem;
    attune_device device;
    attune_config config;
    char *source = NULL;
    attune_problem_init(&problem);
    problem.score_expr = cases[i / 2].score;
    assert_int_equal(attune_problem_check(&problem), ATTUNE_OK);
    assert_int_equal(attune_device_of_arch(&device, architectures[i % 2]), ATTUNE_OK);
    assert_int_equal(attune_config_default(&config, &problem, &device), ATTUNE_OK);
    assert_int_equal(config.family, i % 2 == 0 ? ATTUNE_FAMILY_MMA : ATTUNE_FAMILY_WGMMA);
    if (attune_emit(&source, &config, &problem, ATTUNE_TARGET_CUDA) != ATTUNE_OK) fail_msg("%s", attune_message());
    if ((strstr(source, "largest_shift") == NULL) != cases[i / 2].bounded) fail_msg("%s", cases[i / 2].score);
    free(source);
  }
}

static void test_emit_refuses(void **unused) {
  (void)unused;
  attune_config config = {.family = ATTUNE_FAMILY_LAST + 1};
  char *source = NULL;
  assert_int_equal(attune_emit(&source, &config, NULL, ATTUNE_TARGET_CUDA), ATTUNE_ILLEGAL_CONFIG);
  config = (attune_config){.family = ATTUNE_FAMILY_MMA, .dtype = 9};
  assert_int_equal(attune_emit(&source, &config, NULL, ATTUNE_TARGET_CUDA), ATTUNE_BAD_CONFIG);
  assert_int_equal(attune_emit(NULL, &config, NULL, ATTUNE_TARGET_CUDA), ATTUNE_BAD_ARGUMENT);
  assert_null(source);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_condition),
      cmocka_unit_test(test_bounded_scores),
      cmocka_unit_test(test_golden),
      cmocka_unit_test(test_branches),
      cmocka_unit_test(test_prune_functions),
      cmocka_unit_test(test_prune_variables_and_types),
      cmocka_unit_test(test_prune_overloads),
      cmocka_unit_test(test_prune_comments),
      cmocka_unit_test(test_faults),
      cmocka_unit_test(test_standard_includes),
      cmocka_unit_test(test_templates),
      cmocka_unit_test(test_templates_are_pruned),
      cmocka_unit_test(test_hash),
      cmocka_unit_test(test_long_expressions),
      cmocka_unit_test(test_emit_refuses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
