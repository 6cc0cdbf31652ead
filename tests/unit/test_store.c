/* Opening: where the file is, what stands in for it, and rows that come back as they went in. */
#include <fcntl.h>
#include <grp.h>
#include <sys/wait.h>

#include "tests/unit/store_test.h"

static void path_is_explicit_then_database_then_cache_home_then_home(void **state) {
  (void)state;
  setenv("HOME", in_folder("home"), 1);
  setenv("XDG_CACHE_HOME", in_folder("xdg"), 1);
  setenv("ATTUNE_DATABASE", in_folder("env/a.db"), 1);
  attune_store *store = open_store("explicit/deep/x.db");
  assert_string_equal(attune_store_path(store), in_folder("explicit/deep/x.db"));
  assert_true(file_exists("explicit/deep/x.db"));
  attune_store_close(store);

  store = open_store_with(NULL);
  assert_string_equal(attune_store_path(store), in_folder("env/a.db"));
  attune_store_close(store);

  unsetenv("ATTUNE_DATABASE");
  store = open_store_with(&(attune_store_options){0});
  assert_string_equal(attune_store_path(store), in_folder("xdg/attune/attune.db"));
  attune_store_close(store);

  setenv("XDG_CACHE_HOME", "relative", 1); /* ignored, as the standard asks */
  store = open_store_with(NULL);
  assert_string_equal(attune_store_path(store), in_folder("home/.cache/attune/attune.db"));
  assert_string_equal(attune_store_warning(store), "");
  attune_store_close(store);
  struct stat status;
  assert_int_equal(stat(in_folder("home/.cache/attune"), &status), 0);
  assert_int_equal(status.st_mode & 0777, 0700);

  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  store = open_store_with(NULL);
  assert_string_equal(attune_store_path(store), ":memory:");
  assert_non_null(strstr(attune_store_warning(store), "ATTUNE_DATABASE"));
  attune_store_close(store);
}

static void odd_names_are_names(void **state) {
  (void)state;
  static const char *const names[] = {"file:x.db", "a?mode=memory#b%41.db", "with space.db"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    attune_store *store = open_store(names[i]);
    put(store, measurement("a", 1));
    attune_store_close(store);
    assert_true(file_exists(names[i]));
    store = open_store_with(&(attune_store_options){.path = in_folder(names[i]), .frozen = true});
    assert_int_equal(count(store).measurements, 1);
    attune_store_close(store);
  }
  char *here = get_current_dir_name();
  assert_int_equal(chdir(folder), 0);
  attune_store *store = open_store_with(&(attune_store_options){.path = "file:relative.db?mode=memory"});
  attune_store_close(store);
  assert_true(file_exists("file:relative.db?mode=memory"));
  assert_int_equal(chdir(here), 0);
  free(here);
}

static void the_file_has_a_log_and_a_stamp(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put(store, measurement("a", 1));
  assert_true(file_exists("x.db-wal"));
  attune_store_close(store);
  assert_string_equal(sql("x.db", "PRAGMA journal_mode; PRAGMA user_version; PRAGMA application_id"),
                      "wal\n3\n1098151278");
}

static bool compare_row(void *user, const attune_measurement *row) {
  const attune_measurement *expected = user;
  assert_true(row->id > 0);
  assert_string_equal(row->problem, expected->problem);
  assert_string_equal(row->device, expected->device);
  assert_string_equal(row->arch, expected->arch);
  assert_string_equal(row->policy, expected->policy);
  assert_string_equal(row->result_hash, expected->result_hash);
  assert_string_equal(row->config, expected->config);
  assert_int_equal(row->complexity, expected->complexity);
  assert_int_equal(row->status, expected->status);
  assert_int_equal(row->verified, expected->verified);
  assert_int_equal(row->sample_count, expected->sample_count);
  for (int i = 0; i < row->sample_count; i++)
    assert_true(row->samples[i] == expected->samples[i]);
  assert_true(row->median == expected->median && row->low == expected->low && row->high == expected->high);
  assert_true(row->error == expected->error && row->error_bound == expected->error_bound);
  assert_string_equal(row->compiler, expected->compiler);
  assert_string_equal(row->driver, expected->driver);
  assert_string_equal(row->clocks, expected->clocks);
  assert_string_equal(row->tool, expected->tool);
  assert_string_equal(row->note, expected->note);
  assert_true(row->compile_seconds == expected->compile_seconds && row->verify_seconds == expected->verify_seconds);
  assert_true(row->measure_seconds == expected->measure_seconds);
  assert_string_equal(row->date, expected->date);
  return true;
}

static void a_measurement_comes_back_as_it_went_in(void **state) {
  (void)state;
  const double samples[] = {1.0 / 3, 5e-324, 1.7976931348623157e308, 0};
  attune_measurement row = {
      .problem = "forward.bf16",
      .device = "NVIDIA H100",
      .arch = "sm_90",
      .policy = "cold",
      .result_hash = "abc",
      .config = "it's; \"quoted\" \xc3\xa9",
      .complexity = INT32_MIN,
      .status = ATTUNE_MEASURED_LAUNCH_FAILED,
      .verified = true,
      .samples = samples,
      .sample_count = 4,
      .median = 0.1,
      .low = 0.05,
      .high = 0.2,
      .error = 1e-300,
      .error_bound = 7,
      .compiler = "c",
      .driver = "580",
      .clocks = "1980 MHz",
      .tool = "attune tune",
      .note = "two\nlines",
      .compile_seconds = 1,
      .verify_seconds = 2,
      .measure_seconds = 3,
      .date = "2026-11-23T10:04:05.678Z",
  };
  attune_store *store = open_store("x.db");
  put(store, row);
  attune_store_close(store);
  store = open_store("x.db");
  assert_int_equal(attune_store_measurements(store, NULL, compare_row, &row), ATTUNE_OK);
  assert_int_equal(count(store).measurements, 1);
  attune_store_close(store);
}

static bool check_unknowns(void *user, const attune_measurement *row) {
  (void)user;
  assert_string_equal(row->device, "");
  assert_string_equal(row->note, "");
  assert_int_equal(row->sample_count, 0);
  assert_true(isnan(row->error) && isnan(row->error_bound));
  assert_int_equal(strlen(row->date), strlen("2026-11-23T10:04:05.678Z"));
  return true;
}

static void null_texts_are_empty_and_infinite_errors_unknown(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put(store, (attune_measurement){.problem = "p", .error = NAN, .error_bound = INFINITY});
  assert_int_equal(attune_store_measurements(store, NULL, check_unknowns, NULL), ATTUNE_OK);
  attune_store_close(store);
}

static void impossible_rows_are_refused_with_the_field(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  const double bad = NAN;
  attune_measurement rows[8];
  for (int i = 0; i < 8; i++)
    rows[i] = measurement("a", 1);
  rows[0].median = NAN;
  rows[1].low = -1;
  rows[2].high = INFINITY;
  rows[3].samples = &bad;
  rows[3].sample_count = 1;
  rows[4].samples = NULL;
  rows[5].status = (attune_measured)99;
  rows[6].date = "yesterday";
  rows[7].error = -1;
  static const char *const fields[] = {"median", "low", "high", "samples", "samples", "status", "date", "error"};
  for (int i = 0; i < 8; i++) {
    assert_int_equal(attune_store_put_measurement(store, &rows[i]), ATTUNE_BAD_ARGUMENT);
    assert_non_null(strstr(attune_message(), fields[i]));
  }
  assert_int_equal(attune_store_put_measurement(store, NULL), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_store_open(NULL, NULL), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(count(store).measurements, 0);
  attune_store_close(store);
}

static void filters_and_order(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  attune_measurement row = measurement("new", 1);
  row.date = "2026-01-02T00:00:00Z";
  put(store, row);
  row = measurement("old", 1);
  row.date = "2025-01-02T00:00:00Z";
  row.device = "e";
  put(store, row);
  row = measurement("last", 1);
  put(store, row);
  assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){0}), "old new last");
  assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){.device = "d"}),
                      "new last");
  assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){.config = "new"}), "new");
  assert_string_equal(configs(store, attune_store_measurements,
                              (attune_measurement_filter){.problem = "p",
                                                          .device = "d",
                                                          .arch = "sm_90",
                                                          .policy = "cold-l2 median",
                                                          .result_hash = "g",
                                                          .config = "last"}),
                      "last");
  assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){.arch = "x' OR 1"}), "");
  attune_store_close(store);
}

static bool put_while_visiting(void *user, const attune_measurement *row) {
  attune_store *store = user;
  put(store, *row);
  return false;
}

static void a_visit_may_use_the_store_and_may_stop(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put(store, measurement("a", 1));
  put(store, measurement("b", 1));
  assert_int_equal(attune_store_measurements(store, NULL, put_while_visiting, store), ATTUNE_OK);
  assert_int_equal(count(store).measurements, 3);
  attune_store_close(store);
}

static void shipped_files_are_asked_after_the_users_and_never_touched(void **state) {
  (void)state;
  attune_store *store = open_store("shipped.db"); /* left in WAL mode on purpose */
  put(store, measurement("shipped", 1));
  put_kernel(store, kernel("shipped", "binary", 6));
  attune_store_close(store);
  store = open_store("system.db");
  put(store, measurement("system", 1));
  attune_store_close(store);
  char *before, *after;
  size_t size = read_file(&before, "shipped.db");

  setenv("ATTUNE_SYSTEM_DATABASE", in_folder("system.db"), 1);
  const char *read_only[] = {in_folder("shipped.db"), NULL};
  store = open_store_with(&(attune_store_options){.path = in_folder("user.db"), .read_only = read_only});
  assert_string_equal(attune_store_warning(store), "");
  put(store, measurement("user", 2));
  assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){0}), "user shipped system");
  assert_true(has_kernel(store, "shipped"));
  assert_int_equal(count(store).measurements, 3);
  assert_int_equal(count(store).kernels, 1);
  int64_t deleted;
  assert_int_equal(attune_store_forget(store, NULL, &deleted), ATTUNE_OK);
  assert_int_equal(deleted, 1);
  assert_int_equal(count_files("shipped.db*"), 1);
  assert_int_equal(count_files("system.db*"), 1);
  attune_store_close(store);
  assert_int_equal(read_file(&after, "shipped.db"), size);
  assert_memory_equal(before, after, size);
  free(before);
  free(after);
}

static void shipped_files_that_cannot_be_read_are_one_warning(void **state) {
  (void)state;
  write_file("junk.db", "this is no database, but it is long enough to be looked at as one..............", 80);
  sql("new.db", "PRAGMA application_id = 1098151278; PRAGMA user_version = 99; CREATE TABLE t (a)");
  setenv("ATTUNE_SYSTEM_DATABASE", in_folder("absent.db"), 1);
  const char *read_only[] = {in_folder("junk.db"), in_folder("new.db"), NULL};
  attune_store *store = open_store_with(&(attune_store_options){.path = ":memory:", .read_only = read_only});
  assert_non_null(strstr(attune_store_warning(store), "junk.db is not a store of Attune"));
  put(store, measurement("a", 1));
  assert_int_equal(count(store).measurements, 1);
  assert_false(file_exists("absent.db"));
  attune_store_close(store);
}

static void frozen_neither_creates_nor_writes(void **state) {
  (void)state;
  attune_store_options frozen = {.path = in_folder("deep/x.db"), .frozen = true};
  attune_store *store = open_store_with(&frozen);
  put(store, measurement("a", 1));
  put_kernel(store, kernel("a", "binary", 6));
  assert_false(has_kernel(store, "a"));
  assert_int_equal(count(store).measurements, 0);
  assert_string_equal(attune_store_warning(store), "");
  assert_int_equal(attune_store_forget(store, NULL, NULL), ATTUNE_STORE_FAILED);
  attune_store_close(store);
  assert_false(file_exists("deep"));

  attune_store *other = open_store("x.db");
  put(other, measurement("a", 1));
  frozen.path = in_folder("x.db");
  for (int live = 1; live >= 0; live--) { /* beside a process that writes, and alone */
    store = open_store_with(&frozen);
    put(store, measurement("b", 1));
    assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){0}), "a");
    assert_string_equal(attune_store_path(store), in_folder("x.db"));
    attune_store_close(store);
    if (live) attune_store_close(other);
  }
  assert_int_equal(count_files("x.db*"), 1);

  write_file("junk.db", "this is no database, but it is long enough to be looked at as one..............", 80);
  frozen.path = in_folder("junk.db");
  store = open_store_with(&frozen);
  assert_non_null(strstr(attune_store_warning(store), "not a store of Attune"));
  assert_int_equal(count(store).measurements, 0);
  attune_store_close(store);
  assert_int_equal(count_files("junk.db*"), 1);
}

static void a_newer_file_is_refused_and_untouched(void **state) {
  (void)state;
  sql("x.db", "PRAGMA application_id = 1098151278; PRAGMA user_version = 4; CREATE TABLE t (a)");
  char *before, *after;
  size_t size = read_file(&before, "x.db");
  for (int frozen = 0; frozen < 2; frozen++) {
    attune_store *store = (attune_store *)1;
    attune_store_options options = {.path = in_folder("x.db"), .frozen = frozen};
    assert_int_equal(attune_store_open(&store, &options), ATTUNE_STORE_TOO_NEW);
    assert_null(store);
    assert_non_null(strstr(attune_message(), "x.db"));
  }
  assert_int_equal(read_file(&after, "x.db"), size);
  assert_memory_equal(before, after, size);
  assert_int_equal(count_files("*"), 1);
  free(before);
  free(after);
}

static void another_programs_database_is_left_alone(void **state) {
  (void)state;
  static const char *const makers[] = {"CREATE TABLE t (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"};
  for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
    unlink(in_folder("x.db"));
    sql("x.db", makers[i]);
    char *before, *after;
    size_t size = read_file(&before, "x.db");
    attune_store *store = open_store("x.db");
    assert_non_null(strstr(attune_store_warning(store), "not a store of Attune"));
    assert_string_equal(attune_store_path(store), ":memory:");
    put(store, measurement("a", 1));
    assert_int_equal(count(store).measurements, 1);
    attune_store_close(store);
    assert_int_equal(read_file(&after, "x.db"), size);
    assert_memory_equal(before, after, size);
    assert_int_equal(count_files("*"), 1);
    free(before);
    free(after);
  }
}

static void an_unwritable_place_means_memory(void **state) {
  (void)state;
  write_file("file", "x", 1);
  assert_int_equal(mkdir(in_folder("dir.db"), 0700), 0);
  const char *paths[] = {in_folder("file/x.db"), in_folder("dir.db"), "/proc/attune/x.db"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    attune_store *store = open_store_with(&(attune_store_options){.path = paths[i]});
    char expected[600];
    snprintf(expected, sizeof expected, "cannot write %s: ", paths[i]);
    assert_ptr_equal(strstr(attune_store_warning(store), expected), attune_store_warning(store));
    assert_non_null(strstr(attune_store_warning(store), "; this run is not remembered"));
    assert_string_equal(attune_store_path(store), ":memory:");
    put(store, measurement("a", 1));
    put_kernel(store, kernel("a", "binary", 6));
    assert_true(has_kernel(store, "a"));
    assert_int_equal(count(store).choices, 1);
    /* What must last fails. */
    static const char empty[] = "{\"format\":\"attune-measurements\",\"version\":1,\"measurements\":[]}";
    assert_int_equal(attune_store_import(store, empty, strlen(empty), NULL), ATTUNE_STORE_FAILED);
    attune_store_close(store);
  }
}

/* In a child that is nobody, since root may write everywhere. */
static int read_as_nobody(void) {
  if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) return 77;
  attune_store *store;
  attune_store_counts counts;
  if (attune_store_open(&store, &(attune_store_options){.path = in_folder("x.db")})) return 1;
  bool good = strstr(attune_store_warning(store), "Permission denied") && has_kernel(store, "a");
  attune_measurement row = measurement("b", 1);
  good &= attune_store_put_measurement(store, &row) == ATTUNE_OK;
  good &= attune_store_count(store, &counts) == ATTUNE_OK && counts.measurements == 2;
  attune_store_close(store);
  return good ? 0 : 1;
}

static void a_file_that_can_only_be_read_is_read(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put(store, measurement("a", 1));
  put_kernel(store, kernel("a", "binary", 6));
  attune_store_close(store);
  assert_int_equal(chmod(in_folder("x.db"), 0444), 0);
  assert_int_equal(chmod(folder, 0555), 0);
  pid_t child = fork();
  if (child == 0) _exit(read_as_nobody());
  int result;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_int_equal(chmod(folder, 0755), 0);
  assert_true(WIFEXITED(result));
  if (WEXITSTATUS(result) == 77) {
    print_message("skipped: root may write everywhere and cannot become somebody else here\n");
    skip();
  }
  assert_int_equal(WEXITSTATUS(result), 0);
  assert_int_equal(count_files("x.db*"), 1);
}

static void forget_deletes_what_matches(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put(store, measurement("a", 1));
  put(store, measurement("b", 1));
  put_kernel(store, kernel("a", "binary", 6));
  put_kernel(store, kernel("b", "binary", 6));
  int64_t deleted;
  assert_int_equal(attune_store_forget(store, &(attune_measurement_filter){.problem = "p", .config = "a"}, &deleted),
                   ATTUNE_OK);
  assert_int_equal(deleted, 1);
  assert_int_equal(count(store).kernels, 2);
  assert_int_equal(attune_store_forget(store, &(attune_measurement_filter){.config = "b"}, &deleted), ATTUNE_OK);
  assert_int_equal(deleted, 2);
  assert_int_equal(attune_store_forget(store, NULL, &deleted), ATTUNE_OK);
  assert_int_equal(deleted, 1);
  attune_store_counts counts = count(store);
  assert_int_equal(counts.kernels + counts.measurements + counts.choices, 0);
  attune_store_close(store);
}

static void status_names(void **state) {
  (void)state;
  assert_string_equal(attune_measured_name(ATTUNE_MEASURED_OK), "ok");
  assert_string_equal(attune_measured_name(ATTUNE_MEASURED_SKIPPED), "skipped");
  assert_string_equal(attune_measured_name(ATTUNE_MEASURED_COUNT), "unknown");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(path_is_explicit_then_database_then_cache_home_then_home),
      TEST(odd_names_are_names),
      TEST(the_file_has_a_log_and_a_stamp),
      TEST(a_measurement_comes_back_as_it_went_in),
      TEST(null_texts_are_empty_and_infinite_errors_unknown),
      TEST(impossible_rows_are_refused_with_the_field),
      TEST(filters_and_order),
      TEST(a_visit_may_use_the_store_and_may_stop),
      TEST(shipped_files_are_asked_after_the_users_and_never_touched),
      TEST(shipped_files_that_cannot_be_read_are_one_warning),
      TEST(frozen_neither_creates_nor_writes),
      TEST(a_newer_file_is_refused_and_untouched),
      TEST(another_programs_database_is_left_alone),
      TEST(an_unwritable_place_means_memory),
      TEST(a_file_that_can_only_be_read_is_read),
      TEST(forget_deletes_what_matches),
      TEST(status_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
