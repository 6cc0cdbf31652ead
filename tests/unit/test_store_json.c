/* Export and import: the same content is the same bytes, faults say where, and nothing is half done. */
#include "generator/generator.h"
#include "tests/unit/store_version_2.h"

/* Not inlined: gcc 12 takes what it returns for a pointer to its variable. */
__attribute__((noinline)) static char *export_json(attune_store *store) {
  char *json;
  if (attune_store_export(store, NULL, &json)) fail_msg("%s", attune_message());
  return json;
}

static int64_t import_json(attune_store *store, const char *json) {
  int64_t added = -1;
  if (attune_store_import(store, json, strlen(json), &added)) fail_msg("%s", attune_message());
  return added;
}

static attune_measurement dated(const char *config, const char *date) {
  attune_measurement row = measurement(config, 2.5e-5);
  row.date = date;
  return row;
}

static void an_export_reads_like_this(void **state) {
  (void)state;
  attune_store *store = open_memory();
  attune_measurement row = dated("a", "2026-11-23T10:04:05.678Z");
  row.error = NAN;
  row.note = "\"\xc3\xa9\"\n\xff"; /* the last byte is no UTF-8 */
  put(store, row);
  char *json = export_json(store);
  assert_string_equal(
      json, "{\"format\":\"attune-measurements\",\"version\":3,\"measurements\":[\n"
            "{\"arch\":\"sm_90\",\"clocks\":\"\",\"compile_seconds\":0.0,\"compiler\":\"nvrtc 13.0\",\"complexity\":1,"
            "\"config\":\"a\",\"date\":\"2026-11-23T10:04:05.678Z\",\"device\":\"d\",\"driver\":\"\",\"error\":null,"
            "\"error_bound\":0.002,\"high\":2.5000000000000001e-5,\"low\":2.5000000000000001e-5,"
            "\"measure_seconds\":0.0,\"median\":2.5000000000000001e-5,\"note\":\"\\\"??\\\"\\n?\","
            "\"policy\":\"cold-l2 median\",\"problem\":\"p\",\"result_hash\":\"g\","
            "\"samples\":[1.2500000000000001e-5,0.10000000000000001,3.0000000000000001e-6],\"status\":\"ok\","
            "\"tool\":\"\",\"verified\":true,\"verify_seconds\":0.0}\n"
            "]}\n");
  free(json);
  attune_store_close(store);
}

static void the_same_content_is_the_same_bytes(void **state) {
  (void)state;
  attune_measurement rows[] = {dated("b", "2026-01-01T00:00:00Z"), dated("a", "2026-01-01T00:00:01Z"),
                               dated("a", "2026-01-01T00:00:00Z")};
  attune_store *one = open_store("one.db"), *two = open_store("two.db"), *three = open_memory();
  for (int i = 0; i < 3; i++) {
    put(one, rows[i]);
    put(two, rows[2 - i]);
  }
  put(two, rows[1]); /* twice the same is once */
  char *first = export_json(one), *second = export_json(two);
  assert_string_equal(first, second);
  assert_int_equal(import_json(three, first), 3);
  assert_int_equal(import_json(three, first), 0);
  char *third = export_json(three);
  assert_string_equal(first, third);
  free(first);
  free(second);
  free(third);
  attune_store_close(one);
  attune_store_close(two);
  attune_store_close(three);
}

static bool check_samples(void *user, const attune_measurement *row) {
  (void)user;
  assert_int_equal(row->sample_count, 3);
  assert_true(row->samples[0] == 1.25e-5 && row->samples[1] == 0.1 && row->samples[2] == 3e-6);
  assert_true(row->median == 1.0 / 3);
  return true;
}

static void samples_and_digits_survive(void **state) {
  (void)state;
  attune_store *store = open_memory();
  put(store, measurement("a", 1.0 / 3));
  char *json = export_json(store);
  assert_int_equal(attune_store_forget(store, NULL, NULL), ATTUNE_OK);
  assert_int_equal(import_json(store, json), 1);
  assert_int_equal(attune_store_measurements(store, NULL, check_samples, NULL), ATTUNE_OK);
  free(json);
  attune_store_close(store);
}

static void shipped_rows_are_exported_and_filters_apply(void **state) {
  (void)state;
  attune_store *store = open_store("shipped.db");
  put(store, dated("shipped", "2026-01-01T00:00:00Z"));
  attune_store_close(store);
  const char *read_only[] = {in_folder("shipped.db"), NULL};
  for (int frozen = 0; frozen < 2; frozen++) {
    store =
        open_store_with(&(attune_store_options){.path = in_folder("x.db"), .read_only = read_only, .frozen = frozen});
    put(store, dated("own", "2026-01-01T00:00:00Z"));
    char *json = export_json(store);
    assert_non_null(strstr(json, "shipped"));
    assert_non_null(strstr(json, "own"));
    free(json);
    const attune_measurement_filter filter = {.config = "own"};
    assert_int_equal(attune_store_export(store, &filter, &json), ATTUNE_OK);
    assert_null(strstr(json, "shipped"));
    assert_non_null(strstr(json, "own"));
    free(json);
    attune_store_close(store);
  }
}

/* A document with one good row, in which one text is replaced. */
static char *with(const char *old, const char *new) {
  attune_store *store = open_memory();
  put(store, dated("a", "2026-01-01T00:00:00Z"));
  char *json = export_json(store);
  attune_store_close(store);
  char *place = strstr(json, old);
  if (!place) fail_msg("%s is not in %s", old, json);
  char *out = malloc(strlen(json) + strlen(new) + 1);
  assert_non_null(out);
  sprintf(out, "%.*s%s%s", (int)(place - json), json, new, place + strlen(old));
  free(json);
  return out;
}

static void faults_say_where(void **state) {
  (void)state;
  static const struct {
    const char *old, *new, *message;
  } faults[] = {
      {"]}", "]", "line 4, column 0"},
      {"\"error\":", "\"error\":1,\"error\":", "line 2"},
      {"\"version\":3", "\"version\":4", "\"version\" is 4, this Attune reads 1 to 3"},
      {"\"version\":3", "\"version\":0", "\"version\" is 0, this Attune reads 1 to 3"},
      {"\"version\":3", "\"version\":\"3\"", "version"},
      {"\"version\":3", "\"version\":1", "measurements[0].result_hash: is no field of version 1"},
      {"\"result_hash\"", "\"generator\"", "measurements[0].generator: is no field"},
      {"attune-measurements", "other", "needs an object with \"format\": \"attune-measurements\""},
      {"{\"format\"", "[{\"format\"", "line "},
      {"[\n", "[7,\n", "measurements[0]: needs an object"},
      {"\"measurements\":[", "\"measurements\":7,\"x\":[", "\"measurements\" needs to be an array"},
      {"\"median\":", "\"medium\":", "measurements[0].medium: is no field"},
      {"\"problem\":\"p\",", "", "measurements[0].problem: is missing"},
      {"\"problem\":\"p\"", "\"problem\":7", "measurements[0].problem: needs a text"},
      {"\"complexity\":1", "\"complexity\":2147483648", "measurements[0].complexity: needs an integer of 32 bits"},
      {"\"complexity\":1", "\"complexity\":1.5", "measurements[0].complexity: needs an integer"},
      {"\"verified\":true", "\"verified\":1", "measurements[0].verified: needs true or false"},
      {"\"median\":2.", "\"median\":-2.", "measurements[0].median: needs a finite number, 0 or more"},
      {"\"error\":0.001", "\"error\":\"x\"", "measurements[0].error: needs a number or null"},
      {"\"status\":\"ok\"", "\"status\":\"fine\"", "measurements[0].status: needs \"ok\""},
      {"\"samples\":[", "\"samples\":[null,", "measurements[0].samples: needs an array of numbers"},
      {"\"samples\":[", "\"samples\":[-1,", "measurements[0].samples: needs finite numbers"},
      {"\"date\":\"2026-01-01T00:00:00Z\"", "\"date\":\"1 Jan\"", "measurements[0].date: needs a date like"},
      {"\"policy\":\"cold", "\"policy\":\"\\u0000", "line 2"},
  };
  attune_store *store = open_memory();
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    char *json = with(faults[i].old, faults[i].new);
    int64_t added = -1;
    if (attune_store_import(store, json, strlen(json), &added) != ATTUNE_BAD_JSON) fail_msg("took %s", json);
    if (!strstr(attune_message(), faults[i].message)) {
      fail_msg("'%s' does not say '%s'", attune_message(), faults[i].message);
    }
    assert_int_equal(added, -1);
    free(json);
  }
  assert_int_equal(attune_store_import(store, NULL, 0, NULL), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_store_import(store, "", 0, NULL), ATTUNE_BAD_JSON);
  assert_int_equal(count(store).measurements, 0);
  attune_store_close(store);
}

static void what_is_optional_may_be_absent(void **state) {
  (void)state;
  attune_store *store = open_memory();
  assert_int_equal(import_json(store,
                               "{\"format\": \"attune-measurements\", \"version\": 2, \"measurements\": [{"
                               "\"problem\": \"p\", \"device\": \"d\", \"arch\": \"a\", \"policy\": \"model\","
                               "\"result_hash\": \"g\", \"config\": \"c\", \"complexity\": 0, \"status\": \"ok\","
                               "\"verified\": true, \"median\": 1, \"low\": 1, \"high\": 1, \"samples\": [],"
                               "\"date\": \"2026-01-01T00:00:00Z\"}]}"),
                   1);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "c");
  attune_store_close(store);
}

static bool check_version_1(void *user, const attune_measurement *row) {
  (void)user;
  assert_string_equal(row->result_hash, "v1:g");
  assert_string_equal(row->device, "NVIDIA H100 80GB HBM3|sm_90|132 SMs|50 MiB L2|79 GiB");
  return true;
}

static void what_version_1_exported_is_imported(void **state) {
  (void)state;
  static const char document[] =
      "{\"format\": \"attune-measurements\", \"version\": 1, \"measurements\": [{"
      "\"problem\": \"p\", \"device\": \"NVIDIA H100 80GB HBM3|sm_90|132 SMs|233472 shared|52428800 L2|85024112640 "
      "memory\", \"arch\": \"a\", \"policy\": \"cold\", \"generator\": \"g\", \"config\": \"c\", \"complexity\": 0,"
      "\"status\": \"ok\", \"verified\": true, \"median\": 1, \"low\": 1, \"high\": 1, \"samples\": [],"
      "\"date\": \"2026-01-01T00:00:00Z\"}]}";
  attune_store *store = open_memory();
  assert_int_equal(import_json(store, document), 1);
  assert_int_equal(import_json(store, document), 0);
  assert_int_equal(attune_store_measurements(store, NULL, check_version_1, NULL), ATTUNE_OK);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "c");
  char *json = strdup(document);
  assert_non_null(json);
  memcpy(strstr(json, "generator"), "generadoo", 9);
  assert_int_equal(attune_store_import(store, json, strlen(json), NULL), ATTUNE_BAD_JSON);
  assert_non_null(strstr(attune_message(), "measurements[0].generator: needs a text"));
  free(json);
  attune_store_close(store);
}

/* Versions 1 and 2 in today's words; what has these already stays. */
static void words_of_earlier_versions_are_translated(void **state) {
  (void)state;
  for (int version = 1; version <= 3; version++) {
    attune_store *store =
        open_store_with(&(attune_store_options){.path = ":memory:", .translate = attune_text_renamed});
    for (int i = 0; i < RENAMED_ROWS; i++) {
      const renamed_row *row = &renamed_rows[i];
      char document[2048];
      snprintf(document, sizeof document,
               "{\"format\": \"attune-measurements\", \"version\": %d, \"measurements\": [{"
               "\"problem\": \"%s\", \"device\": \"d\", \"arch\": \"a\", \"policy\": \"cold\", \"%s\": \"g\","
               "\"config\": \"%s\", \"complexity\": 0, \"status\": \"ok\", \"verified\": true, \"median\": 1,"
               "\"low\": 1, \"high\": 1, \"samples\": [], \"date\": \"2026-01-01T00:00:00Z\"}]}",
               version, version < 3 ? row->problem : row->problem_now, version < 2 ? "generator" : "result_hash",
               version < 3 ? row->config : row->config_now);
      assert_int_equal(import_json(store, document), 1);
      const attune_measurement_filter filter = {.problem = row->problem_now};
      assert_string_equal(configs(store, attune_store_measurements, filter), row->config_now);
    }
    attune_store_close(store);
  }
}

static void an_import_is_all_or_nothing(void **state) {
  (void)state;
  attune_store *from = open_memory(), *to = open_memory();
  put(from, dated("a", "2026-01-01T00:00:00Z"));
  put(from, dated("b", "2026-01-01T00:00:00Z"));
  char *json = export_json(from);
  char *place = strstr(strstr(json, "\"config\":\"b\""), "\"verified\":true");
  memcpy(place, "\"verified\":null", 15);
  assert_int_equal(attune_store_import(to, json, strlen(json), NULL), ATTUNE_BAD_JSON);
  assert_non_null(strstr(attune_message(), "measurements[1].verified"));
  assert_int_equal(count(to).measurements, 0);
  free(json);
  attune_store_close(from);
  attune_store_close(to);
}

static void a_large_import_is_quick(void **state) {
  (void)state;
  attune_store *from = open_memory(), *to = open_store("x.db");
  for (int i = 0; i < 500; i++) {
    char config[32];
    snprintf(config, sizeof config, "config-%d", i);
    put(from, dated(config, "2026-01-01T00:00:00Z"));
  }
  char *json = export_json(from);
  assert_int_equal(import_json(to, json), 500);
  assert_int_equal(import_json(to, json), 0);
  free(json);
  attune_store_close(from);
  attune_store_close(to);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(an_export_reads_like_this),
      TEST(the_same_content_is_the_same_bytes),
      TEST(samples_and_digits_survive),
      TEST(shipped_rows_are_exported_and_filters_apply),
      TEST(faults_say_where),
      TEST(what_is_optional_may_be_absent),
      TEST(what_version_1_exported_is_imported),
      TEST(words_of_earlier_versions_are_translated),
      TEST(an_import_is_all_or_nothing),
      TEST(a_large_import_is_quick),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
