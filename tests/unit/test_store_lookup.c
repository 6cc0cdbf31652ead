/* Looking choices up takes as many steps with 100,000 measurements as with a few. Counted in SQLite's own steps and in
 * what its planner says, never in time. */
#include "cache/store.h"
#include "tests/unit/store_test.h"

enum { PROBLEMS = 15000, MANY = 85000 };

static bool locate(attune_position *out, const char *problem) {
  int32_t *c = out->coordinates;
  *out = (attune_position){.class = "class"};
  for (int i = 0; i < ATTUNE_AXES; i++)
    c[i] = -1;
  return sscanf(problem, "p%d.%d.%d.%d.%d", &c[0], &c[1], &c[2], &c[3], &c[4]) == 5;
}

/* PROBLEMS problems of one class and device with a row each, over 4,500 sets of coordinates; one more with MANY rows.
 */
static void fill(const char *name, int problems, int many) {
  attune_store *store = open_store_with(&(attune_store_options){.path = in_folder(name), .locate = locate});
  sqlite3 *db = store->top;
  assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_stmt *insert;
  assert_int_equal(attune_measurement_prepare_insert(&insert, db, false), SQLITE_OK);
  for (int i = 0; i < problems + many; i++) {
    char problem[64], config[32];
    snprintf(problem, sizeof problem, i < problems ? "p%d.%d.%d.%d.%d.%d" : "many", i % 5, i / 5 % 5, i / 25 % 3,
             i / 75 % 10, i / 750 % 6, i);
    snprintf(config, sizeof config, "c%d", i);
    attune_measurement row = measurement(config, 1e-3 + 1e-9 * i);
    row.problem = problem;
    row.date = "2026-01-01T00:00:00Z";
    row.result_hash = i == problems + 2 ? "v1:x" : "g";
    assert_int_equal(attune_measurement_insert(insert, &row), SQLITE_OK);
    if (i < problems || i + 1 == problems + many)
      assert_int_equal(attune_choice_refresh(db, locate, problem, "d"), SQLITE_OK);
  }
  sqlite3_finalize(insert);
  assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  attune_store_close(store);
}

static long long steps; /* of SQLite's virtual machine, in tens */

static int count_steps(void *user) {
  (void)user;
  steps++;
  return 0;
}

static bool count_row(void *user, const attune_measurement *row) {
  (void)row;
  ++*(int *)user;
  return true;
}

typedef struct {
  const char *name;
  attune_choice_query query;
  int least, most; /* rows */
} lookup;

static const attune_position middle = {.class = "class", .coordinates = {2, 2, 1, 5, 3, -1}};
static const attune_position edge = {.class = "class", .coordinates = {6, 2, 1, 5, 3, -1}};
static const attune_position nowhere = {.class = "class", .coordinates = {20, 2, 1, 5, 3, -1}};
static const attune_position other_class = {.class = "other", .coordinates = {2, 2, 1, 5, 3, -1}};
static const lookup lookups[] = {
    {"exact", {.problem = "p2.2.1.5.3.2662", .device = "d"}, 1, 1},
    {"the one with many rows", {.problem = "many", .device = "d"}, 1, 1},
    {"on any device", {.problem = "many", .arch = "sm_90"}, 1, 1},
    {"on other devices", {.problem = "many", .arch = "sm_90", .other_than_device = "e"}, 1, 1},
    {"on no other device", {.problem = "many", .arch = "sm_90", .other_than_device = "d"}, 0, 0},
    {"near", {.position = &middle, .arch = "sm_90", .device = "d"}, 16, 64},
    {"near the edge", {.position = &edge, .arch = "sm_90", .device = "d"}, 2, 8},
    {"near nothing", {.position = &nowhere, .arch = "sm_90", .device = "d"}, 0, 0},
    {"near in another class", {.position = &other_class, .arch = "sm_90", .device = "d"}, 0, 0},
    {"near on other devices", {.position = &middle, .arch = "sm_90", .other_than_device = "e"}, 16, 64},
    {"near on no other device", {.position = &middle, .arch = "sm_90", .other_than_device = "d"}, 0, 0},
    {"near on another architecture", {.position = &middle, .arch = "sm_80", .device = "d"}, 0, 0},
};

static long long steps_of(attune_store *store, const lookup *lookup) {
  int rows = 0;
  steps = 0;
  assert_int_equal(attune_store_find_choices(store, &lookup->query, count_row, &rows), ATTUNE_OK);
  if (rows < lookup->least || rows > lookup->most) fail_msg("%s: %d rows", lookup->name, rows);
  return steps;
}

static void lookups_do_not_scan(void **state) {
  (void)state;
  fill("x.db", PROBLEMS, MANY);
  attune_store *store = open_store_with(&(attune_store_options){.path = in_folder("x.db"), .locate = locate});
  assert_int_equal(count(store).measurements, PROBLEMS + MANY);
  sqlite3_progress_handler(store->top, 10, count_steps, NULL);
  for (size_t i = 0; i < sizeof lookups / sizeof *lookups; i++) {
    const long long tens = steps_of(store, &lookups[i]);
    /* 85 sets of coordinates are asked for at most, and 64 rows read. */
    if (tens > 1200) fail_msg("%s: %lld0 steps", lookups[i].name, tens);
  }
  int64_t counts[ATTUNE_MEASURED_COUNT];
  steps = 0;
  assert_int_equal(attune_store_count_statuses(store, counts, "many", "d"), ATTUNE_OK);
  assert_int_equal(counts[ATTUNE_MEASURED_OK], 1000);
  assert_true(steps < 3000);

  int rows = 0;
  const attune_measurement choice = {.problem = "many", .device = "d"};
  steps = 0;
  assert_int_equal(attune_store_alternatives(store, &choice, 1, 8, count_row, &rows), ATTUNE_OK);
  assert_int_equal(rows, 8);
  assert_true(steps < 100);
  /* Nor does choosing anew, when a row is put. */
  steps = 0;
  attune_measurement row = measurement("new", 1e-4);
  row.problem = "many";
  put(store, row);
  assert_true(steps < 100);
  attune_store_close(store);
}

static void the_planner_uses_the_indices(void **state) {
  (void)state;
  static const struct {
    const char *sql, *index;
  } queries[] = {
      {"SELECT id FROM choices WHERE 1 AND device = ?1 AND problem = ?3 LIMIT 16", "sqlite_autoindex_choices_1"},
      {"SELECT id FROM choices WHERE 1 AND device = ?1 AND arch = ?2 AND class = ?3 AND axis_1 = ?4 AND axis_2 = ?5"
       " AND axis_3 = ?6 AND axis_4 = ?7 AND axis_5 = ?8 AND axis_6 = ?9 LIMIT 8",
       "choices_by_position (class=? AND arch=? AND axis_1=? AND axis_2=? AND axis_3=? AND axis_4=? AND axis_5=? AND "
       "axis_6=? AND device=?)"},
      {"SELECT 1 FROM choices WHERE class IS NULL LIMIT 1", "choices_by_position (class=?)"},
      {"SELECT id FROM measurements WHERE problem = ?1 AND device = ?2 AND status = 'ok' AND verified AND median > 0"
       " ORDER BY policy = 'model', median LIMIT 1",
       "measurements_by_median (problem=? AND device=?)"},
      {"SELECT id FROM measurements WHERE problem = ?1 AND device = ?2 AND config = ?3", "measurements_by_config"},
      {"SELECT key FROM kernels WHERE config = ?1 AND arch = ?2 AND library = ?3", "kernels_by_config"},
  };
  attune_store_close(open_store("x.db"));
  sqlite3 *db;
  assert_int_equal(sqlite3_open(in_folder("x.db"), &db), SQLITE_OK);
  for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
    char explain[1024], plan[2048] = "";
    sqlite3_stmt *statement;
    snprintf(explain, sizeof explain, "EXPLAIN QUERY PLAN %s", queries[i].sql);
    assert_int_equal(sqlite3_prepare_v2(db, explain, -1, &statement, NULL), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
      const size_t used = strlen(plan);
      snprintf(plan + used, sizeof plan - used, "%s\n", (const char *)sqlite3_column_text(statement, 3));
    }
    sqlite3_finalize(statement);
    if (!strstr(plan, queries[i].index) || strstr(plan, "SCAN")) fail_msg("%s:\n%s", queries[i].sql, plan);
  }
  sqlite3_close(db);
}

/* Each row of one config is replaced by the next one, which is slower: all are walked until the last. */
static long long steps_to_choose(int rows, bool dated) {
  char name[32], newest[16];
  snprintf(name, sizeof name, "%d-%d.db", rows, dated);
  attune_store *store = open_store(name);
  sqlite3 *db = store->top;
  assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_stmt *insert;
  assert_int_equal(attune_measurement_prepare_insert(&insert, db, false), SQLITE_OK);
  for (int i = 0; i < rows; i++) {
    char date[32];
    snprintf(date, sizeof date, "2026-01-01T00:00:00.%03dZ", dated ? i : 0);
    attune_measurement row = measurement("c", 1e-3 + 1e-9 * i);
    row.problem = "p";
    row.date = date;
    assert_int_equal(attune_measurement_insert(insert, &row), SQLITE_OK);
  }
  sqlite3_finalize(insert);
  assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  steps = 0;
  sqlite3_progress_handler(db, 10, count_steps, NULL);
  assert_int_equal(attune_choice_refresh(db, NULL, "p", "d"), SQLITE_OK);
  sqlite3_progress_handler(db, 0, NULL, NULL);
  attune_store_close(store);
  snprintf(newest, sizeof newest, "%d", rows);
  assert_string_equal(sql(name, "SELECT id FROM choices"), newest);
  return steps;
}

static void choosing_among_rows_of_one_config_takes_steps_in_proportion(void **state) {
  (void)state;
  for (int dated = 0; dated < 2; dated++) {
    const long long few = steps_to_choose(100, dated), many = steps_to_choose(800, dated);
    print_message("%lld and %lld steps for 100 and 800 rows\n", 10 * few, 10 * many);
    assert_in_range(many, few, 10 * few);
  }
}

/* Each axis alone: up to two steps away is near, three are not; an axis that does not apply must not in either. */
static void near_is_two_steps_on_any_axes(void **state) {
  (void)state;
  attune_store *store = open_store_with(&(attune_store_options){.path = ":memory:", .locate = locate});
  attune_measurement row = measurement("a", 1);
  row.problem = "p5.5.5.5.5";
  put(store, row);
  for (int axis = 0; axis < ATTUNE_AXES; axis++) {
    for (int step = -3; step <= 3; step++) {
      attune_position position = {.class = "class", .coordinates = {5, 5, 5, 5, 5, -1}};
      position.coordinates[axis] += step;
      const bool near = axis == 5 ? step <= 0 && position.coordinates[axis] == -1 : abs(step) <= 2;
      int rows = 0;
      const attune_choice_query query = {.position = &position, .arch = "sm_90", .device = "d"};
      if (axis == 5 && position.coordinates[axis] < -1) continue;
      assert_int_equal(attune_store_find_choices(store, &query, count_row, &rows), ATTUNE_OK);
      if (rows != near) fail_msg("axis %d, step %d: %d rows", axis, step, rows);
    }
  }
  attune_position two = {.class = "class", .coordinates = {6, 5, 5, 4, 5, -1}}, three = two;
  three.coordinates[2] = 6;
  int rows = 0;
  const attune_choice_query near = {.position = &two, .arch = "sm_90", .device = "d"};
  const attune_choice_query far = {.position = &three, .arch = "sm_90", .device = "d"};
  assert_int_equal(attune_store_find_choices(store, &near, count_row, &rows), ATTUNE_OK);
  assert_int_equal(attune_store_find_choices(store, &far, count_row, &rows), ATTUNE_OK);
  assert_int_equal(rows, 1);
  const attune_choice_query neither = {.device = "d"};
  assert_int_equal(attune_store_find_choices(store, &neither, count_row, &rows), ATTUNE_BAD_ARGUMENT);
  attune_store_close(store);
}

/* However many are near: 8 of one set of coordinates, 64 in all. */
static void so_many_are_enough(void **state) {
  (void)state;
  attune_store *store = open_store_with(&(attune_store_options){.path = ":memory:", .locate = locate});
  for (int i = 0; i < 12; i++) { /* two steps away, on each pair of axes */
    for (int a = 0; a < 5; a++) {
      for (int b = 0; b < a; b++) {
        int c[5] = {5, 5, 5, 5, 5};
        char problem[64];
        c[a]++, c[b]--;
        snprintf(problem, sizeof problem, "p%d.%d.%d.%d.%d.%d", c[0], c[1], c[2], c[3], c[4], i);
        attune_measurement row = measurement("a", 1);
        row.problem = problem;
        put(store, row);
      }
    }
  }
  attune_position position = {.class = "class", .coordinates = {5, 5, 5, 5, 5, -1}};
  const attune_choice_query query = {.position = &position, .arch = "sm_90", .device = "d"};
  int rows = 0;
  assert_int_equal(attune_store_find_choices(store, &query, count_row, &rows), ATTUNE_OK);
  assert_int_equal(rows, 64);
  for (int axis = 0; axis < ATTUNE_AXES; axis++)
    position.coordinates[axis] = (int[]){6, 4, 5, 5, 5, -1}[axis];
  rows = 0;
  assert_int_equal(attune_store_forget(store, NULL, NULL), ATTUNE_OK);
  for (int i = 0; i < 12; i++) {
    char problem[64];
    snprintf(problem, sizeof problem, "p6.4.5.5.5.%d", i);
    attune_measurement row = measurement("a", 1);
    row.problem = problem;
    put(store, row);
  }
  assert_int_equal(attune_store_find_choices(store, &query, count_row, &rows), ATTUNE_OK);
  assert_int_equal(rows, 8);
  attune_store_close(store);
}

static bool append_database(void *user, const attune_measurement *row) {
  char *text = user;
  snprintf(text + strlen(text), 64 - strlen(text), "%s%d ", row->config, row->database);
  return true;
}

/* Every file's own choice, since the first one's may be outdated. */
static void all_files_are_asked(void **state) {
  (void)state;
  attune_store *store = open_store("shipped.db");
  put(store, measurement("shipped", 1));
  attune_store_close(store);
  const char *read_only[] = {in_folder("shipped.db"), NULL};
  store = open_store_with(&(attune_store_options){.path = in_folder("x.db"), .read_only = read_only});
  put(store, measurement("own", 2));
  char text[64] = "";
  const attune_choice_query query = {.problem = "p", .device = "d"};
  assert_int_equal(attune_store_find_choices(store, &query, append_database, text), ATTUNE_OK);
  assert_string_equal(text, "own0 shipped1 ");
  const attune_measurement of_shipped = {.problem = "p", .device = "d", .database = 1};
  text[0] = 0;
  assert_int_equal(attune_store_alternatives(store, &of_shipped, 9, 8, append_database, text), ATTUNE_OK);
  assert_string_equal(text, "shipped1 ");
  attune_store_close(store);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(lookups_do_not_scan),
      TEST(the_planner_uses_the_indices),
      TEST(choosing_among_rows_of_one_config_takes_steps_in_proportion),
      TEST(near_is_two_steps_on_any_axes),
      TEST(so_many_are_enough),
      TEST(all_files_are_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
