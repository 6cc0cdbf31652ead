#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tuner/tuner.h"

static attune_status parse(const char *text, int *count) {
  attune_workload_item *items;
  attune_status status = attune_workload_parse(&items, count, text, strlen(text), "list.json");
  free(items);
  return status;
}

static void expect_bad(const char *text, attune_status expected, const char *said) {
  int count = -1;
  assert_int_equal(parse(text, &count), expected);
  assert_int_equal(count, 0);
  if (!strstr(attune_message(), said)) fail_msg("message \"%s\" lacks \"%s\"", attune_message(), said);
}

#define HEAD "{\"format\": \"attune-workload-1\", \"problems\": [\n"
#define GOOD "{\"head_dim\": 64, \"heads_q\": 2, \"seqlen_q\": 128}"

static void test_all_that_ship(void **state) {
  static const struct {
    const char *name;
    int count;
  } shipped[] = {{"gpt2", 4},        {"bert-large", 5},           {"llama3-8b", 6},     {"vit-l", 4},
                 {"flash-grid", 36}, {"flash-grid-backward", 36}, {"bench-fp16", 18},   {"bench-gqa", 5},
                 {"bench-dims", 12}, {"bench-decode", 4},         {"bench-ragged", 48}, {"bench-sparse", 52}};
  (void)state;
  for (size_t i = 0; i < sizeof shipped / sizeof *shipped; i++) {
    attune_workload_item *items;
    int count;
    assert_int_equal(attune_workload_read(&items, &count, shipped[i].name), ATTUNE_OK);
    assert_int_equal(count, shipped[i].count);
    for (int item = 0; item < count; item++) {
      assert_int_equal(attune_problem_check(&items[item].problem), ATTUNE_OK);
      assert_true(*items[item].name);
    }
    free(items);
  }
}

static void test_flash_grid_is_the_papers(void **state) {
  attune_workload_item *items;
  int count, causal = 0;
  (void)state;
  assert_int_equal(attune_workload_read(&items, &count, "flash-grid"), ATTUNE_OK);
  for (int i = 0; i < count; i++) {
    const attune_problem *p = &items[i].problem;
    assert_int_equal(p->heads_q * p->head_dim, 2048);
    assert_int_equal(p->batch * p->seqlen_q, 16384);
    assert_int_equal(p->dtype, ATTUNE_BF16);
    causal += p->mask == ATTUNE_MASK_CAUSAL;
  }
  assert_int_equal(causal, count / 2);
  free(items);
}

static void test_names_and_defaults(void **state) {
  attune_workload_item *items;
  int count;
  const char text[] = HEAD "{\"name\": \"a { } ] \\\" b\", \"head_dim\": 64},\n" GOOD "]}";
  (void)state;
  assert_int_equal(attune_workload_parse(&items, &count, text, strlen(text), "x"), ATTUNE_OK);
  assert_int_equal(count, 2);
  assert_string_equal(items[0].name, "a { } ] \" b");
  assert_string_equal(items[1].name, "forward.bf16.d64.b1.h2.kv2.q128.k128");
  free(items);
}

static void test_faults_say_where(void **state) {
  (void)state;
  expect_bad("", ATTUNE_BAD_JSON, "list.json line 1");
  expect_bad("{\n\"format\": \"attune-workload-1\",\n\"problems\": [}", ATTUNE_BAD_JSON, "line 3");
  expect_bad("[1]", ATTUNE_BAD_JSON, "object");
  expect_bad("{\"problems\": []}", ATTUNE_BAD_JSON, "format");
  expect_bad("{\"format\": \"attune-workload-9\", \"problems\": []}", ATTUNE_BAD_JSON, "attune-workload-1");
  expect_bad(HEAD "]}", ATTUNE_BAD_JSON, "at least one");
  expect_bad("{\"format\": \"attune-workload-1\", \"problems\": 3}", ATTUNE_BAD_JSON, "array");
  expect_bad(HEAD GOOD "], \"more\": 1}", ATTUNE_BAD_JSON, "more");
  expect_bad(HEAD GOOD ",\n" GOOD ",\n\n5]}", ATTUNE_BAD_JSON, "problems[2]");
  expect_bad(HEAD GOOD ",\n{\"name\": \"{\", \"head_dim\": 64},\n{\"head_din\": 64}]}", ATTUNE_BAD_JSON,
             "line 4, problems[2]");
  expect_bad(HEAD "{\"name\": 3, \"head_dim\": 64}]}", ATTUNE_BAD_JSON, "line 2, problems[0]");
  expect_bad(HEAD GOOD ",\n{\"head_dim\": 60}]}", ATTUNE_UNSUPPORTED, "line 3, problems[1]");
  expect_bad(HEAD GOOD ",\n{\"head_dim\": 64, \"head_dim\": 64}]}", ATTUNE_BAD_JSON, "line 3");
  expect_bad(HEAD GOOD "]} x", ATTUNE_BAD_JSON, "line 2");
}

/* As long as a class may be, which names a problem that has none. */
static void test_long_name(void **state) {
  char text[2 * ATTUNE_TEXT_MAX], name[ATTUNE_TEXT_MAX + 1];
  int count;
  (void)state;
  memset(name, 'n', ATTUNE_TEXT_MAX);
  name[ATTUNE_TEXT_MAX] = '\0';
  snprintf(text, sizeof text, HEAD "{\"name\": \"%s\", \"head_dim\": 64}]}", name);
  expect_bad(text, ATTUNE_BAD_JSON, "447 bytes");
  name[ATTUNE_TEXT_MAX - 1] = '\0';
  snprintf(text, sizeof text, HEAD "{\"name\": \"%s\", \"head_dim\": 64}]}", name);
  assert_int_equal(parse(text, &count), ATTUNE_OK);
}

static void test_files(void **state) {
  char path[] = "/tmp/attune-workload-XXXXXX";
  attune_workload_item *items;
  int count, file = mkstemp(path);
  (void)state;
  assert_true(file >= 0);
  assert_int_equal(write(file, HEAD GOOD "]}", strlen(HEAD GOOD "]}")), strlen(HEAD GOOD "]}"));
  close(file);
  assert_int_equal(attune_workload_read(&items, &count, path), ATTUNE_OK);
  assert_int_equal(count, 1);
  free(items);
  unlink(path);
  assert_int_equal(attune_workload_read(&items, &count, path), ATTUNE_BAD_FILE);
  assert_non_null(strstr(attune_message(), "llama3-8b"));
  assert_int_equal(attune_workload_read(&items, &count, "/tmp"), ATTUNE_BAD_FILE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_that_ship),      cmocka_unit_test(test_flash_grid_is_the_papers),
      cmocka_unit_test(test_names_and_defaults), cmocka_unit_test(test_faults_say_where),
      cmocka_unit_test(test_long_name),          cmocka_unit_test(test_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
