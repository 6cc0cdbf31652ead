/* Files of versions 1 and 2: migrated with nothing lost, whoever else opens them and wherever the process is killed. */
#include <signal.h>
#include <sys/wait.h>

#include "generator/generator.h"
#include "tests/unit/store_version_2.h"

static bool check_row(void *user, const attune_measurement *row) {
  ++*(int *)user;
  assert_string_equal(row->device, version_2_device);
  assert_string_equal(row->result_hash, "v1:abc");
  assert_string_equal(row->arch, "sm_90");
  assert_string_equal(row->policy, "cold");
  assert_int_equal(row->complexity, 7);
  assert_true(row->verified && !row->outdated && row->status == ATTUNE_MEASURED_OK);
  assert_true(row->median == 0.5 && row->low == 0.25 && row->high == 0.75);
  assert_true(isnan(row->error) && row->error_bound == 0.001);
  assert_string_equal(row->note, "a note");
  assert_string_equal(row->clocks, "1980 MHz");
  assert_true(row->compile_seconds == 1 && row->verify_seconds == 2 && row->measure_seconds == 3);
  assert_string_equal(row->date, "2026-01-01T00:00:00.000Z");
  assert_true(row->sample_count == 1 && row->samples[0] == 1);
  return true;
}

static void expect_rows(attune_store *store, int rows) {
  int seen = 0;
  assert_string_equal(attune_store_warning(store), "");
  assert_int_equal(attune_store_measurements(store, NULL, check_row, &seen), ATTUNE_OK);
  assert_int_equal(seen, rows);
  assert_int_equal(count(store).choices, (rows + 9) / 10);
}

static bool locate_by_length(attune_position *out, const char *problem) {
  *out = (attune_position){.coordinates = {(int32_t)strlen(problem), -1, -1, -1, -1, -1}};
  snprintf(out->class, sizeof out->class, "class");
  return true;
}

static void nothing_is_lost(void **state) {
  (void)state;
  make_version_1("x.db", 25);
  attune_store *store = open_store("x.db");
  expect_rows(store, 25);
  assert_int_equal(count(store).kernels, 1);
  attune_store_close(store);
  assert_string_equal(sql("x.db", "PRAGMA user_version; SELECT min(id) || '..' || max(id) FROM measurements;"
                                  "SELECT count(*) FROM measurements WHERE generator = 'abc';"
                                  "SELECT was FROM version_1_devices; SELECT count(*) FROM choices WHERE class IS NULL;"
                                  "PRAGMA integrity_check"),
                      "3\n1..25\n25\nNVIDIA H100|sm_90|132 SMs|233472 shared|52428800 L2|85024112640 memory\n3\nok");
  /* Whoever can place problems does so when the file is opened next. */
  store = open_store_with(&(attune_store_options){.path = in_folder("x.db"), .locate = locate_by_length});
  expect_rows(store, 25);
  attune_store_close(store);
  assert_string_equal(sql("x.db", "SELECT DISTINCT class || axis_1 FROM choices"), "class2");
}

static void devices_are_rounded(void **state) {
  (void)state;
  static const char *const devices[][2] = {
      {"a|b|sm_90|1 SMs|2 shared|1048576 L2|1073741824 memory", "a|b|sm_90|1 SMs|1 MiB L2|1 GiB"},
      {"x|sm_90|1 SMs|2 shared|1572863 L2|1610612735 memory", "x|sm_90|1 SMs|1 MiB L2|1 GiB"},
      {"x|sm_90|1 SMs|2 shared|1572864 L2|1610612736 memory", "x|sm_90|1 SMs|2 MiB L2|2 GiB"},
      {"x|sm_90|1 SMs|2 shared|1048576 L2|1073741824 memory ", "x|sm_90|1 SMs|2 shared|1048576 L2|1073741824 memory "},
      {"x|2 shared|-1 L2|3 memory", "x|2 shared|-1 L2|3 memory"},
      {"host", "host"},
      {"", ""},
  };
  make_version_1("x.db", 0);
  sqlite3 *db;
  assert_int_equal(sqlite3_open(in_folder("x.db"), &db), SQLITE_OK);
  const int devices_count = sizeof devices / sizeof *devices;
  for (int i = 0; i < devices_count; i++) {
    char problem[16];
    snprintf(problem, sizeof problem, "p%d", i);
    insert_version_1(db, problem, devices[i][0], "c");
  }
  sqlite3_close(db);
  attune_store_close(open_store("x.db"));
  for (int i = 0; i < devices_count; i++) {
    char query[96];
    snprintf(query, sizeof query, "SELECT device FROM choices WHERE problem = 'p%d'", i);
    assert_string_equal(sql("x.db", query), devices[i][1]);
  }
}

/* What cannot be written is read as a copy in memory. */
static void files_that_are_only_read_stay_as_they_are(void **state) {
  (void)state;
  make_version_1("x.db", 25);
  char *before, *after;
  size_t size = read_file(&before, "x.db");
  const char *read_only[] = {in_folder("x.db"), NULL};
  const attune_store_options ways[] = {
      {.path = in_folder("x.db"), .frozen = true, .locate = locate_by_length},
      {.path = ":memory:", .read_only = read_only, .locate = locate_by_length},
  };
  for (int i = 0; i < 2; i++) {
    attune_store *store = open_store_with(&ways[i]);
    expect_rows(store, 25);
    attune_position near = {.class = "class", .coordinates = {3, -1, -1, -1, -1, -1}};
    const attune_choice_query query = {.position = &near, .arch = "sm_90", .device = version_2_device};
    int seen = 0;
    assert_int_equal(attune_store_find_choices(store, &query, check_row, &seen), ATTUNE_OK);
    assert_int_equal(seen, 3);
    attune_store_close(store);
  }
  assert_int_equal(count_files("x.db*"), 1);
  assert_int_equal(read_file(&after, "x.db"), size);
  assert_memory_equal(before, after, size);
  free(before);
  free(after);
}

/* A process of version 1 that has the file open must not take it for damaged, or it would set it aside. */
static void an_older_process_goes_on(void **state) {
  (void)state;
  make_version_1("x.db", 25);
  sqlite3 *old;
  assert_int_equal(sqlite3_open(in_folder("x.db"), &old), SQLITE_OK);
  insert_version_1(old, "p0", version_1_device, "before");
  attune_store *store = open_store("x.db");
  insert_version_1(old, "p0", version_1_device, "after");
  static const char *const reads[] = {
      "SELECT id, problem, device, arch, policy, generator, config, complexity, status, verified, median, low, high,"
      " error, error_bound, compiler, driver, clocks, tool, note, compile_seconds, verify_seconds, measure_seconds,"
      " date, samples FROM choices WHERE problem = 'p0' AND device = 'd' AND generator = 'g' ORDER BY date, id",
      "SELECT id, problem, device, arch, policy, generator, config, complexity, status, verified, median, low, high,"
      " error, error_bound, compiler, driver, clocks, tool, note, compile_seconds, verify_seconds, measure_seconds,"
      " date, samples FROM measurements ORDER BY date, id",
      "INSERT OR REPLACE INTO kernels (key, config, arch, compiler, options, source_sha256, log, registers,"
      " shared_static, spill_bytes, compile_seconds, last_used, binary_size, binary_sha256, binary, created)"
      " VALUES ('k2', 'c', 'a', '', '', '', '', 1, 1, 1, 1, 1, 1, '', x'00', '')",
      "DELETE FROM measurements WHERE config = 'before'",
  };
  for (size_t i = 0; i < sizeof reads / sizeof *reads; i++)
    if (sqlite3_exec(old, reads[i], NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(old));
  sqlite3_close(old);
  assert_int_equal(count(store).measurements, 26);
  assert_int_equal(count(store).kernels, 2);
  attune_store_close(store);
}

/* ---- words that became others ---- */

typedef struct {
  const char *problem, *config;
  int seen;
} expected_row;

static bool check_renamed(void *user, const attune_measurement *row) {
  expected_row *expected = user;
  expected->seen++;
  assert_string_equal(row->problem, expected->problem);
  assert_string_equal(row->config, expected->config);
  assert_string_equal(row->device, version_2_device);
  assert_true(row->verified && row->status == ATTUNE_MEASURED_OK && row->median == 0.5 && row->sample_count == 1);
  return true;
}

/* each: rows of every pair of texts. */
static void expect_renamed(attune_store *store, int each) {
  assert_string_equal(attune_store_warning(store), "");
  assert_int_equal(count(store).measurements, each * RENAMED_ROWS);
  for (int i = 0; i < RENAMED_ROWS; i++) {
    expected_row row = {renamed_rows[i].problem_now, renamed_rows[i].config_now, 0};
    const attune_measurement_filter filter = {.problem = row.problem};
    assert_int_equal(attune_store_measurements(store, &filter, check_renamed, &row), ATTUNE_OK);
    assert_int_equal(row.seen, each);
  }
}

/* From both versions, in place or as a copy of what is only read; marks and ids stay. */
static void every_word_is_translated(void **state) {
  (void)state;
  const char *read_only[] = {in_folder("x.db"), NULL};
  const attune_store_options ways[] = {
      {.path = in_folder("x.db"), .frozen = true, .translate = attune_text_renamed},
      {.path = ":memory:", .read_only = read_only, .translate = attune_text_renamed},
      {.path = in_folder("x.db"), .translate = attune_text_renamed},
      {.path = in_folder("x.db"), .translate = attune_text_renamed}, /* a second time */
  };
  for (int version = 1; version <= 2; version++) {
    make_renamed("x.db", version, 3 * RENAMED_ROWS);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
      attune_store *store = open_store_with(&ways[i]);
      expect_renamed(store, 3);
      attune_store_close(store);
    }
    assert_string_equal(sql("x.db", "PRAGMA user_version; SELECT min(id) || '..' || max(id) FROM measurements"),
                        "3\n1..12");
    assert_string_equal(sql("x.db", "SELECT count(*) FROM measurements WHERE outdated"), version == 1 ? "0" : "1");
    assert_string_equal(sql("x.db", "SELECT count(*) || ' ' || count(class) FROM choices"), "4 0");
    assert_string_equal(sql("x.db", "PRAGMA integrity_check"), "ok");
  }
}

/* Who does not know the words leaves them. */
static void without_a_translation_texts_stay(void **state) {
  (void)state;
  make_renamed("x.db", 2, RENAMED_ROWS);
  attune_store_close(open_store("x.db"));
  for (int i = 0; i < RENAMED_ROWS; i++) {
    char query[512];
    snprintf(query, sizeof query, "SELECT count(*) FROM measurements WHERE problem = '%s' AND config = '%s'",
             renamed_rows[i].problem, renamed_rows[i].config);
    assert_string_equal(sql("x.db", query), "1");
  }
}

/* A process of version 2 that has the file open goes on, in its own words. */
static void a_process_of_version_2_goes_on(void **state) {
  (void)state;
  make_renamed("x.db", 2, RENAMED_ROWS);
  sqlite3 *old;
  assert_int_equal(sqlite3_open(in_folder("x.db"), &old), SQLITE_OK);
  insert_version_2(old, "p", "before");
  attune_store *store =
      open_store_with(&(attune_store_options){.path = in_folder("x.db"), .translate = attune_text_renamed});
  insert_version_2(old, "p", "after");
  assert_int_equal(sqlite3_exec(old, "SELECT * FROM choices; UPDATE measurements SET outdated = 0 WHERE problem = 'p'",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  sqlite3_close(old);
  assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){.problem = "p"}),
                      "before after");
  assert_int_equal(count(store).measurements, RENAMED_ROWS + 2);
  attune_store_close(store);
}

/* ---- many processes, and killed ones ---- */

enum { PROCESSES = 8, ROWS = 400 };

static int open_and_put(int worker) {
  attune_store *store;
  char config[32];
  snprintf(config, sizeof config, "worker %d", worker);
  attune_measurement row = measurement(config, 1);
  const attune_store_options options = {
      .path = in_folder("x.db"), .locate = locate_by_length, .translate = attune_text_renamed};
  if (attune_store_open(&store, &options)) return 1;
  bool good = attune_store_put_measurement(store, &row) == ATTUNE_OK && !*attune_store_warning(store);
  if (!good) fprintf(stderr, "worker %d: '%s' '%s'\n", worker, attune_message(), attune_store_warning(store));
  attune_store_close(store);
  return good ? 0 : 1;
}

/* How many rows have a text of today and none of before, and how many the other way round. */
static const char words_of_rows[] = "SELECT count(*) FROM measurements WHERE config LIKE '%.turns.%' OR config LIKE "
                                    "'%.tokens.%' OR problem LIKE '%.list64.%';"
                                    "SELECT count(*) FROM measurements WHERE config LIKE '%.pingpong_%' OR problem LIKE"
                                    " '%.block_mask64.%';";

static void many_upgrade_it_at_once(void **state) {
  (void)state;
  for (int version = 1; version <= 2; version++) {
    make_renamed("x.db", version, ROWS);
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
      children[i] = fork();
      assert_true(children[i] >= 0);
      if (children[i] == 0) _exit(open_and_put(i));
    }
    for (int i = 0; i < PROCESSES; i++) {
      int result;
      assert_int_equal(waitpid(children[i], &result, 0), children[i]);
      assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    }
    attune_store *store = open_store("x.db");
    assert_int_equal(count(store).measurements, ROWS + PROCESSES);
    attune_store_close(store);
    assert_string_equal(sql("x.db", words_of_rows), "0\n300"); /* three of four rows have such a word */
    assert_string_equal(sql("x.db", "SELECT count(*) FROM choices WHERE class IS NULL; PRAGMA integrity_check"),
                        "0\nok");
    assert_int_equal(count_files("x.db*"), 1);
  }
}

static int writes_left;

static ssize_t write_or_die(int descriptor, const void *bytes, size_t size, off_t offset) {
  if (writes_left-- == 0) raise(SIGKILL);
  return pwrite(descriptor, bytes, size, offset);
}

/* Returns whether it ended before it was killed. */
static bool upgrade_and_die(int writes) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    writes_left = writes;
    vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)write_or_die);
    vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)write_or_die);
    _exit(open_and_put(0));
  }
  int result;
  assert_int_equal(waitpid(child, &result, 0), child);
  return WIFEXITED(result);
}

/* Before each write to the file or its log in turn: it has its old version with all of the old words, or the new one
 * with none. */
static void killed_at_every_write(int version) {
  enum { OLD = 60, NAMED = 45 };
  char is_old[32], is_new[32], is_done[32];
  snprintf(is_old, sizeof is_old, "%d\n%d\n%d\n0\nok", version, OLD, NAMED);
  snprintf(is_new, sizeof is_new, "3\n%d\n0\n%d\nok", OLD, NAMED);
  snprintf(is_done, sizeof is_done, "3\n%d\n0\n%d\nok", OLD + 1, NAMED);
  char query[512];
  snprintf(query, sizeof query, "PRAGMA user_version; SELECT count(*) FROM measurements; %s PRAGMA integrity_check",
           words_of_rows);
  int killed = 0, was_old = 0;
  for (int writes = 0;; writes += 3) {
    make_renamed("x.db", version, OLD);
    const bool done = upgrade_and_die(writes);
    const char *header = sql("x.db", query);
    const bool old = strcmp(header, is_old) == 0;
    if (!old && strcmp(header, is_new) != 0 && strcmp(header, is_done) != 0)
      fail_msg("killed before write %d: %s", writes, header);
    killed += !done;
    was_old += old;
    attune_store *store =
        open_store_with(&(attune_store_options){.path = in_folder("x.db"), .translate = attune_text_renamed});
    assert_string_equal(attune_store_warning(store), "");
    assert_true(count(store).measurements >= OLD);
    attune_store_close(store);
    assert_string_equal(sql("x.db", words_of_rows), "0\n45");
    assert_int_equal(count_files("x.db*"), 1);
    if (done) break;
  }
  assert_true(killed > 10 && was_old > 5 && was_old < killed);
}

static void wherever_it_is_killed_the_file_is_whole(void **state) {
  (void)state;
  killed_at_every_write(1);
  killed_at_every_write(2);
}

static void execute(const char *name, const char *text) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(in_folder(name), &db), SQLITE_OK);
  if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s: %s", text, sqlite3_errmsg(db));
  sqlite3_close(db);
}

/* A column of the first row is NULL, as where its type's byte was overwritten: SQL would refuse it. */
/* A NULL where each row has a text, a number or bytes. */
static void damage_first_row(const char *name, const char *column, const char *type) {
  char text[320];
  for (int step = 0; step < 3; step++) {
    const char *from = step == 0 ? " NOT NULL" : "", *to = step == 0 ? "" : " NOT NULL";
    snprintf(text, sizeof text,
             "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, ' %s %s%s', ' %s %s%s') "
             "WHERE name = 'measurements'",
             column, type, from, column, type, to);
    if (step == 1) snprintf(text, sizeof text, "UPDATE measurements SET %s = NULL WHERE id = 1", column);
    execute(name, text);
  }
  snprintf(text, sizeof text, "SELECT typeof(%s) FROM measurements WHERE id = 1", column);
  assert_string_equal(sql(name, text), "null");
}

static bool has_texts(void *user, const attune_measurement *row) {
  ++*(int *)user;
  assert_true(row->device && row->config && row->date);
  return true;
}

/* In place, as a copy of what is only read, and when a row of the same problem is put. */
static void a_damaged_row_is_a_miss(void **state) {
  (void)state;
  static const struct {
    const char *column, *type;
  } damages[] = {{"problem", "TEXT"}, {"device", "TEXT"},        {"config", "TEXT"},         {"arch", "TEXT"},
                 {"policy", "TEXT"},  {"complexity", "INTEGER"}, {"median", "REAL"},         {"low", "REAL"},
                 {"high", "REAL"},    {"compiler", "TEXT"},      {"note", "TEXT"},           {"date", "TEXT"},
                 {"samples", "BLOB"}, {"status", "TEXT"},        {"compile_seconds", "REAL"}};
  for (int version = 1; version <= 3; version++) {
    for (size_t i = 0; i < 2 * sizeof damages / sizeof *damages; i++) {
      const char *column = damages[i / 2].column;
      const bool frozen = i % 2 == 1;
      make_renamed("x.db", version == 1 ? 1 : 2, 2 * RENAMED_ROWS);
      if (version == 3) attune_store_close(open_store("x.db"));
      damage_first_row("x.db", column, damages[i / 2].type);
      attune_store *store = open_store_with(&(attune_store_options){.path = in_folder("x.db"), .frozen = frozen});
      attune_measurement row = measurement("c", 1);
      if (!frozen) assert_int_equal(attune_store_put_measurement(store, &row), ATTUNE_OK);
      row.problem = renamed_rows[0].problem, row.device = version_2_device;
      if (!frozen) assert_int_equal(attune_store_put_measurement(store, &row), ATTUNE_OK);
      int rows = 0, choices = 0;
      assert_int_equal(attune_store_measurements(store, NULL, has_texts, &rows), ATTUNE_OK);
      assert_int_equal(attune_store_choices(store, NULL, has_texts, &choices), ATTUNE_OK);
      if (*attune_store_warning(store)) fail_msg("version %d, %s: %s", version, column, attune_store_warning(store));
      assert_true(rows >= 2 * RENAMED_ROWS - 1 && choices >= RENAMED_ROWS - 1);
      attune_store_close(store);
      assert_int_equal(count_files("x.db.*"), 0); /* not set aside */
    }
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(nothing_is_lost),
      TEST(devices_are_rounded),
      TEST(files_that_are_only_read_stay_as_they_are),
      TEST(an_older_process_goes_on),
      TEST(every_word_is_translated),
      TEST(without_a_translation_texts_stay),
      TEST(a_process_of_version_2_goes_on),
      TEST(many_upgrade_it_at_once),
      TEST(wherever_it_is_killed_the_file_is_whole),
      TEST(a_damaged_row_is_a_miss),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
