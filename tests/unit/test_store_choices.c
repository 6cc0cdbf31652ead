/* Choices: which row answers. Each case is a few rows and the configs that win. */
#include "tests/unit/store_test.h"

typedef struct {
  const char *config;
  double median, low, high; /* microseconds; 0 low and high: no interval */
  int complexity;
  const char *policy; /* NULL: measured */
  attune_measured status;
  bool unverified;
  const char *date; /* NULL: row n was made in minute n */
  const char *problem, *device, *hash;
} row;

typedef struct {
  const char *name, *expected;
  row rows[6];
} test_case;

/* A row says what matters to its case. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const test_case cases[] = {
    {"no rows, no choice", "", {{0}}},
    {"the fastest", "b", {{"a", 3, 3, 3}, {"b", 1, 1, 1}, {"c", 2, 2, 2}}},
    {"one for each problem and device",
     "a b c",
     {{"a", 5}, {"b", 5, .problem = "other"}, {"c", 5, .device = "other"}, {"d", 6, .hash = "other"}}},
    {"unverified is never chosen", "slow", {{"fast", 1, .unverified = true}, {"slow", 9}}},
    {"only ok is chosen",
     "slow",
     {{"a", 1, .status = ATTUNE_MEASURED_WRONG_RESULT},
      {"b", 1, .status = ATTUNE_MEASURED_LAUNCH_FAILED},
      {"c", 1, .status = ATTUNE_MEASURED_LAUNCH_FAILED},
      {"d", 1, .status = ATTUNE_MEASURED_SKIPPED},
      {"e", 1, .status = ATTUNE_MEASURED_INVALID},
      {"slow", 9}}},
    {"nothing usable, no choice",
     "",
     {{"a", 1, .unverified = true}, {"b", 1, .status = ATTUNE_MEASURED_LAUNCH_FAILED}}},
    {"a median of 0 was not measured", "b", {{"a", 0}, {"b", 1}}},

    {"a measurement outranks a faster model", "real", {{"real", 9}, {"guess", 1, .policy = "model"}}},
    {"models alone are compared", "b", {{"a", 2, .policy = "model"}, {"b", 1, .policy = "model"}}},
    {"a model does not win by reaching a measurement",
     "real",
     {{"real", 5, 1, 9, .complexity = 7}, {"guess", 5, 1, 9, .complexity = 1, .policy = "model"}}},
    {"an unverified measurement does not outrank a model",
     "guess",
     {{"guess", 9, .policy = "model"}, {"real", 1, .unverified = true}}},
    {"of one config the measurement stands", "a", {{"a", 1, .policy = "model"}, {"a", 9}}},

    {"the newest row of a config stands for it", "b", {{"a", 1}, {"b", 2}, {"a", 3}}},
    {"the newest by date, however it came", "a", {{"b", 2}, {"a", 1}, {"a", 3, .date = "2020-01-01T00:00:00Z"}}},
    {"at the same date the later row is newer",
     "b",
     {{"b", 2}, {"a", 1, .date = "2026-01-01T09:00:00Z"}, {"a", 3, .date = "2026-01-01T09:00:00Z"}}},
    {"a newer failure refutes", "b", {{"a", 1}, {"b", 2}, {"a", 0, .status = ATTUNE_MEASURED_WRONG_RESULT}}},
    {"under another policy too",
     "b",
     {{"a", 1}, {"b", 2}, {"a", 0, .status = ATTUNE_MEASURED_LAUNCH_FAILED, .policy = "check"}}},
    {"an older failure does not", "a", {{"a", 0, .status = ATTUNE_MEASURED_WRONG_RESULT}, {"b", 2}, {"a", 1}}},
    {"a newer skip says nothing", "a", {{"a", 1}, {"b", 2}, {"a", 0, .status = ATTUNE_MEASURED_SKIPPED}}},
    {"a newer unverified row says nothing", "a", {{"a", 1}, {"b", 2}, {"a", 9, .unverified = true}}},
    {"a newer row of another policy does not replace", "a", {{"a", 1}, {"b", 2}, {"a", 3, .policy = "hot"}}},

    {"another kernel of that config does not replace", "a", {{"a", 1}, {"b", 2}, {"a", 3, .hash = "other"}}},
    {"nor refute", "a", {{"a", 1}, {"b", 2}, {"a", 0, .status = ATTUNE_MEASURED_LAUNCH_FAILED, .hash = "other"}}},
    {"but a row of version 1 it replaces", "b", {{"a", 1, .hash = "v1:g"}, {"b", 2}, {"a", 3}}},
    {"and refutes", "b", {{"a", 1, .hash = "v1:g"}, {"b", 2}, {"a", 0, .status = ATTUNE_MEASURED_WRONG_RESULT}}},
    {"a row of version 1 does neither", "a", {{"a", 1}, {"b", 2}, {"a", 3, .hash = "v1:g"}}},

    {"within the noise the simpler", "b", {{"a", 10, 9, 11, 5}, {"b", 10.5, 10, 12, 2}}},
    {"a median at the end of the interval", "b", {{"a", 10, 9, 11, 5}, {"b", 11, 10.9, 13, 2}}},
    {"beyond the noise the faster", "a", {{"a", 10, 9, 11, 5}, {"b", 11.001, 9, 13, 2}}},
    {"noise does not chain", "b", {{"a", 10, 9, 11, 5}, {"b", 11, 10, 14, 2}, {"c", 12, 10.5, 16, 1}}},
    {"equally simple: the least text", "a8", {{"b", 10, 9, 11, 2}, {"a9", 10, 9, 11, 2}, {"a8", 10.1, 9, 11, 2}}},
    {"no interval: only the median", "a", {{"a", 1, 0, 0, 9}, {"b", 1.001, 0, 0, 1}}},
    {"no interval: equal medians tie", "b", {{"a", 1, 0, 0, 9}, {"b", 1, 0, 0, 1}}},
    {"an interval that misses its median", "a", {{"a", 10, 11, 9, 1}, {"b", 10.5, 12, 12, 0}}},
    {"the fastest has no interval", "a", {{"a", 10, 0, 0, 5}, {"b", 12, 9, 14, 2}}},
    {"a wide interval of its own is no merit", "a", {{"a", 10, 9, 11, 5}, {"b", 12, 8, 14, 2}}},
};

static attune_measurement measurement_of(const row *row, int minute, char date[32]) {
  attune_measurement out = measurement(row->config, row->median * 1e-6);
  snprintf(date, 32, "2026-01-01T10:%02d:00.000Z", minute);
  out.low = row->low * 1e-6;
  out.high = row->high * 1e-6;
  out.complexity = row->complexity;
  out.status = row->status;
  out.verified = !row->unverified;
  out.date = row->date ? row->date : date;
  if (row->policy) out.policy = row->policy;
  if (row->problem) out.problem = row->problem;
  if (row->device) out.device = row->device;
  if (row->hash) out.result_hash = row->hash;
  return out;
}

static void put_rows(attune_store *store, const row *rows, int count, bool backwards) {
  for (int i = 0; i < count; i++) {
    char date[32];
    int at = backwards ? count - 1 - i : i;
    put(store, measurement_of(&rows[at], at, date));
  }
}

static int count_rows(const row *rows) {
  int count = 0;
  while (count < 6 && rows[count].config)
    count++;
  return count;
}

static void the_right_rows_are_chosen(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_store *store = open_store("x.db");
    put_rows(store, cases[i].rows, count_rows(cases[i].rows), false);
    const char *chosen = configs(store, attune_store_choices, (attune_measurement_filter){0});
    if (strcmp(chosen, cases[i].expected) != 0) {
      fail_msg("%s: chose '%s', needs '%s'", cases[i].name, chosen, cases[i].expected);
    }
    int64_t deleted;
    assert_int_equal(attune_store_forget(store, NULL, &deleted), ATTUNE_OK);
    attune_store_close(store);
  }
}

static void the_order_of_insertion_does_not_matter(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (strstr(cases[i].name, "same date")) continue;
    attune_store *store = open_store("x.db");
    put_rows(store, cases[i].rows, count_rows(cases[i].rows), true);
    const char *chosen = configs(store, attune_store_choices, (attune_measurement_filter){0});
    if (strcmp(chosen, cases[i].expected) != 0) {
      fail_msg("%s, backwards: chose '%s', needs '%s'", cases[i].name, chosen, cases[i].expected);
    }
    assert_int_equal(attune_store_forget(store, NULL, NULL), ATTUNE_OK);
    attune_store_close(store);
  }
}

static void a_person_can_ask_with_plain_sql(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put(store, measurement("slow", 40e-6));
  put(store, measurement("fast", 25e-6));
  attune_store_close(store);
  assert_string_equal(sql("x.db", "SELECT config || ' ' || microseconds FROM choices WHERE problem = 'p'"),
                      "fast 25.0");
  assert_string_equal(sql("x.db", "SELECT status || count(*) FROM measurements GROUP BY status"), "ok2");
}

typedef struct {
  int64_t ids[8];
  char configs[8][32];
  int count;
} seen;

static bool see(void *user, const attune_measurement *row) {
  seen *all = user;
  all->ids[all->count] = row->id;
  snprintf(all->configs[all->count++], sizeof all->configs[0], "%s%s", row->config, row->outdated ? "*" : "");
  return all->count < 8;
}

static void rows_marked_as_outdated_are_no_candidates(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put(store, measurement("fast", 1));
  put(store, measurement("slow", 2));
  seen all = {0};
  assert_int_equal(attune_store_measurements(store, NULL, see, &all), ATTUNE_OK);
  assert_string_equal(all.configs[0], "fast");
  assert_int_equal(attune_store_mark(store, "p", "d", all.ids, 1, true), ATTUNE_OK);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "slow");
  all.count = 0;
  assert_int_equal(attune_store_measurements(store, NULL, see, &all), ATTUNE_OK);
  assert_string_equal(all.configs[0], "fast*");
  put(store, measurement("slower", 3)); /* choosing anew leaves the mark */
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "slow");
  assert_int_equal(attune_store_mark(store, "other", "d", all.ids, 1, false), ATTUNE_OK);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "slow");
  assert_int_equal(attune_store_mark(store, "p", "d", all.ids, 1, false), ATTUNE_OK);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "fast");
  assert_int_equal(attune_store_mark(store, "p", "d", NULL, 1, true), ATTUNE_BAD_ARGUMENT);
  attune_store_close(store);
}

/* What stands in for a choice that cannot be taken, and its choosing. */
static void alternatives_are_candidates_by_speed(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  attune_measurement wrong = measurement("wrong", 1), model = measurement("model", 1), other = measurement("other", 1);
  wrong.status = ATTUNE_MEASURED_WRONG_RESULT;
  model.policy = "model";
  other.device = "e";
  put(store, measurement("c", 1.3));
  put(store, measurement("d", 1.5));
  put(store, measurement("b", 1.2));
  put(store, measurement("a", 1.1));
  put(store, wrong);
  put(store, model);
  put(store, other);
  attune_measurement choice = {.problem = "p", .device = "d"};
  seen all = {0};
  assert_int_equal(attune_store_alternatives(store, &choice, 1.3, 8, see, &all), ATTUNE_OK);
  assert_int_equal(all.count, 3);
  assert_string_equal(all.configs[0], "a");
  assert_string_equal(all.configs[1], "b");
  assert_string_equal(all.configs[2], "c");
  int64_t ids[] = {all.ids[1]};
  assert_int_equal(attune_store_mark(store, "p", "d", ids, 1, true), ATTUNE_OK);
  all.count = 0;
  assert_int_equal(attune_store_alternatives(store, &choice, 9, 2, see, &all), ATTUNE_OK);
  assert_int_equal(all.count, 2);
  assert_string_equal(all.configs[1], "b*");

  attune_measurement row = {.id = all.ids[1], .problem = "p", .device = "d"};
  assert_int_equal(attune_store_set_choice(store, &row), ATTUNE_OK);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.device = "d"}), "b");
  row.database = 1; /* another file's */
  row.id = all.ids[0];
  assert_int_equal(attune_store_set_choice(store, &row), ATTUNE_OK);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.device = "d"}), "b");
  put(store, measurement("e", 2));
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.device = "d"}), "a");
  attune_store_close(store);
}

static void forgetting_a_row_chooses_anew(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  attune_measurement other = measurement("other", 1);
  other.problem = "q";
  put(store, measurement("a", 1));
  put(store, measurement("b", 2));
  put(store, other);
  assert_int_equal(attune_store_forget(store, &(attune_measurement_filter){.config = "a"}, NULL), ATTUNE_OK);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "b other");
  assert_int_equal(attune_store_forget(store, &(attune_measurement_filter){.problem = "p"}, NULL), ATTUNE_OK);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "other");
  attune_store_close(store);
}

static void statuses_are_counted(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  attune_measurement wrong = measurement("wrong", 1), other = measurement("a", 1);
  wrong.status = ATTUNE_MEASURED_WRONG_RESULT;
  other.problem = "q";
  put(store, measurement("a", 1));
  put(store, measurement("a", 1));
  put(store, wrong);
  put(store, other);
  int64_t counts[ATTUNE_MEASURED_COUNT];
  assert_int_equal(attune_store_count_statuses(store, counts, "p", "d"), ATTUNE_OK);
  assert_int_equal(counts[ATTUNE_MEASURED_OK], 2);
  assert_int_equal(counts[ATTUNE_MEASURED_WRONG_RESULT], 1);
  attune_store_close(store);
}

static void filters_ask_about_the_winner(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put(store, measurement("fast", 1));
  put(store, measurement("slow", 2));
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.problem = "p"}), "fast");
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.config = "fast"}), "fast");
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.config = "slow"}), "");
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.policy = "model"}), "");
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.arch = "sm_90"}), "fast");
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.result_hash = "new"}), "");
  attune_store_close(store);
}

static void the_users_choice_hides_the_shipped_one_unless_it_is_a_models(void **state) {
  (void)state;
  attune_measurement shipped = measurement("shipped", 1), user = measurement("user", 2);
  attune_store *store = open_store("shipped.db");
  put(store, shipped);
  shipped.problem = "other";
  put(store, shipped);
  attune_store_close(store);
  const char *read_only[] = {in_folder("shipped.db"), NULL};
  attune_store_options options = {.path = in_folder("user.db"), .read_only = read_only};

  store = open_store_with(&options);
  put(store, user);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "user shipped");
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){.config = "shipped"}),
                      "shipped");
  assert_int_equal(count(store).choices, 2);
  assert_int_equal(attune_store_forget(store, NULL, NULL), ATTUNE_OK);
  user.policy = "model";
  put(store, user);
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "shipped shipped");
  attune_store_close(store);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(the_right_rows_are_chosen),
      TEST(the_order_of_insertion_does_not_matter),
      TEST(a_person_can_ask_with_plain_sql),
      TEST(rows_marked_as_outdated_are_no_candidates),
      TEST(alternatives_are_candidates_by_speed),
      TEST(forgetting_a_row_chooses_anew),
      TEST(statuses_are_counted),
      TEST(filters_ask_about_the_winner),
      TEST(the_users_choice_hides_the_shipped_one_unless_it_is_a_models),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
