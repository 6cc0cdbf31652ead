/* What a store does when its file fails: damaged, deleted, locked, on a full disk, on a network. */
#include <fcntl.h>
#include <sys/vfs.h>

#include "cache/store.h"
#include "tests/unit/store_test.h"

static const char junk[] =
    "this is no database, but it is long enough to be looked at as one.............................";

/* Opens, and sees that the store works and lasts. */
static void expect_rebuilt(int aside) {
  char name[64];
  snprintf(name, sizeof name, "x.db.damaged-%d", aside);
  attune_store *store = open_store("x.db");
  put(store, measurement("new", 1));
  put_kernel(store, kernel("new", "binary", 6));
  assert_true(has_kernel(store, "new"));
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "new");
  assert_int_equal(count(store).damaged, 1);
  assert_non_null(strstr(attune_store_warning(store), "x.db is damaged; it was set aside as "));
  assert_non_null(strstr(attune_store_warning(store), name));
  assert_string_equal(attune_store_path(store), in_folder("x.db"));
  attune_store_close(store);
  assert_true(file_exists(name));
  assert_string_equal(sql("x.db", "PRAGMA integrity_check"), "ok");
  store = open_store("x.db");
  assert_int_equal(count(store).measurements, 1);
  assert_string_equal(attune_store_warning(store), "");
  attune_store_close(store);
}

/* A mistyped path, a model's weights say: nothing happens to them, whoever opens them. */
static void what_never_was_a_store_is_left_alone(void **state) {
  (void)state;
  for (int frozen = 0; frozen < 2; frozen++) {
    char *bytes;
    attune_store_options options = {.path = in_folder("x.db"), .frozen = frozen};
    write_file("x.db", junk, sizeof junk);
    attune_store *store = open_store_with(&options);
    put(store, measurement("a", 1));
    assert_non_null(strstr(attune_store_warning(store), "x.db is not a store of Attune"));
    attune_store_close(store);
    options.required = true;
    assert_int_equal(attune_store_open(&store, &options), ATTUNE_STORE_FAILED);
    assert_non_null(strstr(attune_message(), "x.db is not a store of Attune"));
    assert_int_equal(read_file(&bytes, "x.db"), sizeof junk);
    assert_memory_equal(bytes, junk, sizeof junk);
    free(bytes);
    assert_int_equal(count_files("*"), 1);
  }
}

static void a_damaged_store_is_set_aside(void **state) {
  (void)state;
  for (int i = 1; i <= 2; i++) {
    attune_store_close(open_store("x.db"));
    sql("x.db", "DROP TABLE measurements");
    expect_rebuilt(i);
  }
}

/* Opening a FIFO would block, and a folder is none of ours. */
static void what_is_no_file_is_said_at_once(void **state) {
  (void)state;
  assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
  assert_int_equal(mkdir(in_folder("sub"), 0700), 0);
  const char *const names[] = {"fifo", "sub"}, *const says[] = {"it is a FIFO", "it is a folder"};
  for (int i = 0; i < 4; i++) {
    attune_store *store = open_store_with(&(attune_store_options){.path = in_folder(names[i / 2]), .frozen = i % 2});
    assert_non_null(strstr(attune_store_warning(store), says[i / 2]));
    attune_store_close(store);
  }
}

static void a_required_store_is_tried_before_use(void **state) {
  (void)state;
  attune_store *store;
  attune_store_options options = {.path = in_folder("x.db"), .required = true};
  attune_store_close(open_store_with(&options));
  sqlite3 *other;
  assert_int_equal(sqlite3_open(in_folder("x.db"), &other), SQLITE_OK);
  assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(attune_store_open(&store, &options), ATTUNE_STORE_FAILED);
  assert_non_null(strstr(attune_message(), "x.db: it is locked by another process"));
  sqlite3_close(other);
  options.path = in_folder("absent/x.db");
  options.frozen = true;
  attune_store_close(open_store_with(&options)); /* nothing there to read is no fault */
  assert_false(file_exists("absent"));
}

static void fill(const char *name) {
  attune_store *store = open_store(name);
  char config[32];
  static char binary[20000];
  for (int i = 0; i < 40; i++) {
    snprintf(config, sizeof config, "config-%d", i);
    put(store, measurement(config, i + 1));
    put_kernel(store, kernel(config, binary, sizeof binary));
  }
  attune_store_close(store);
}

/* Writes junk over the bytes from one offset to another; offsets below 0 count from the end. */
static void scribble(const char *name, long from, long to) {
  char *bytes;
  long size = (long)read_file(&bytes, name);
  from = from < 0 ? size + from : from;
  to = to <= 0 ? size + to : to;
  for (long i = from; i < to; i++)
    bytes[i] = (char)(i * 7919 >> 3);
  write_file(name, bytes, (size_t)size);
  free(bytes);
}

/* Uses everything; whatever is broken, no call fails and the file that remains is whole. */
static void use_everything(const char *name) {
  attune_store *store = open_store(name);
  configs(store, attune_store_measurements, (attune_measurement_filter){0});
  configs(store, attune_store_choices, (attune_measurement_filter){0});
  has_kernel(store, "config-3");
  put(store, measurement("new", 1));
  put_kernel(store, kernel("new", "binary", 6));
  count(store);
  if (*attune_store_warning(store)) {
    const bool foreign = strstr(attune_store_warning(store), "not a store of Attune") != NULL;
    assert_true(foreign || strstr(attune_store_warning(store), "set aside"));
    assert_true(foreign || count(store).damaged > 0);
  }
  attune_store_close(store);
}

static void damage_anywhere_fails_no_call(void **state) {
  (void)state;
  const long page = 4096;
  const long ranges[][2] = {{0, 16},
                            {16, 100},
                            {100, page},
                            {page, 2 * page},
                            {2 * page, 3 * page},
                            {page, 10 * page},
                            {-20 * page, 0},
                            {-page, 0},
                            {100, 0},
                            {4 * page, 4 * page + 200},
                            {24, 28},
                            {page + 3, page + 5},
                            {40, 44}};
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    fill("x.db");
    scribble("x.db", ranges[i][0], ranges[i][1]);
    use_everything("x.db");
    use_everything("x.db");
    assert_true(count_files("x.db.damaged-?") <= 2);
    unlink(in_folder("x.db"));
    unlink(in_folder("x.db.damaged-1"));
    unlink(in_folder("x.db.damaged-2"));
  }
}

static void a_truncated_file_fails_no_call(void **state) {
  (void)state;
  const off_t sizes[] = {1, 100, 4095, 4096, 8192, 5 * 4096 + 7};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    fill("x.db");
    assert_int_equal(truncate(in_folder("x.db"), sizes[i]), 0);
    use_everything("x.db");
    unlink(in_folder("x.db"));
    unlink(in_folder("x.db.damaged-1"));
  }
}

static void an_empty_file_is_a_new_store(void **state) {
  (void)state;
  write_file("x.db", "", 0);
  attune_store *store = open_store("x.db");
  put(store, measurement("a", 1));
  assert_string_equal(attune_store_warning(store), "");
  attune_store_close(store);
  assert_int_equal(count_files("x.db*"), 1);
}

static void a_file_without_its_tables_is_damaged(void **state) {
  (void)state;
  static const char *const damages[] = {"DROP TABLE kernels", "DROP TABLE choices",
                                        "DROP TABLE choices; ALTER TABLE measurements RENAME tool TO t"};
  for (int i = 0; i < 3; i++) {
    attune_store_close(open_store("x.db"));
    sql("x.db", damages[i]);
    use_everything("x.db");
    assert_int_equal(count_files("x.db.damaged-?"), i + 1);
    use_everything("x.db");
    assert_int_equal(count_files("x.db.damaged-?"), i + 1);
  }
}

static void what_breaks_twice_is_given_up(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  for (int i = 0; i < 2; i++) {
    sql("x.db", "DROP TABLE choices");
    assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "");
  }
  assert_string_equal(attune_store_path(store), ":memory:");
  put(store, measurement("a", 1));
  assert_string_equal(configs(store, attune_store_choices, (attune_measurement_filter){0}), "a");
  attune_store_close(store);
  assert_int_equal(count_files("x.db.damaged-?"), 1);
}

static void two_that_see_the_damage_set_it_aside_once(void **state) {
  (void)state;
  attune_store *one = open_store("x.db"), *two = open_store("x.db");
  put(one, measurement("old", 1));
  assert_int_equal(count(two).measurements, 1);
  sql("x.db", "DROP TABLE choices");
  assert_string_equal(configs(one, attune_store_choices, (attune_measurement_filter){0}), "");
  put(one, measurement("one", 1));
  assert_string_equal(configs(two, attune_store_choices, (attune_measurement_filter){0}), "");
  put(two, measurement("two", 2));
  assert_string_equal(configs(one, attune_store_measurements, (attune_measurement_filter){0}), "one two");
  attune_store_close(two);
  attune_store_close(one);
  assert_int_equal(count_files("x.db.damaged-?"), 1);
  assert_string_equal(sql("x.db", "SELECT count(*) FROM measurements; PRAGMA integrity_check"), "2\nok");
}

static void a_deleted_file_is_made_again(void **state) {
  (void)state;
  attune_store *store = open_store("deep/x.db");
  put(store, measurement("a", 1));
  assert_int_equal(rename(in_folder("deep"), in_folder("elsewhere")), 0);
  put(store, measurement("b", 1));
  assert_string_equal(attune_store_warning(store), "");
  attune_store_close(store);
  assert_string_equal(sql("deep/x.db", "SELECT config FROM measurements"), "b");
  assert_string_equal(sql("elsewhere/x.db", "SELECT config FROM measurements"), "a");
}

static void a_newer_file_put_in_place_is_left_alone(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put(store, measurement("a", 1));
  sql("x.db", "PRAGMA wal_checkpoint(TRUNCATE)"); /* or the log would be played into the new file */
  sql("new.db", "PRAGMA application_id = 1098151278; PRAGMA user_version = 99; CREATE TABLE t (a)");
  assert_int_equal(rename(in_folder("new.db"), in_folder("x.db")), 0);
  put(store, measurement("b", 1));
  assert_non_null(strstr(attune_store_warning(store), "newer version"));
  assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){0}), "b");
  attune_store_close(store);
}

static void a_row_that_another_process_keeps_out_is_dropped(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  sqlite3_busy_timeout(store->top, 20);
  sqlite3 *other;
  assert_int_equal(sqlite3_open(in_folder("x.db"), &other), SQLITE_OK);
  assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
  put(store, measurement("dropped", 1));
  assert_non_null(strstr(attune_store_warning(store), "something of this run is not remembered"));
  assert_int_equal(attune_store_forget(store, NULL, NULL), ATTUNE_STORE_FAILED);
  assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  put(store, measurement("kept", 1));
  assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){0}), "kept");
  assert_string_equal(attune_store_path(store), in_folder("x.db"));
  sqlite3_close(other);
  attune_store_close(store);
}

static bool disk_is_full;

static ssize_t write_to_full_disk(int descriptor, const void *bytes, size_t size, off_t offset) {
  if (!disk_is_full) return pwrite(descriptor, bytes, size, offset);
  errno = ENOSPC;
  return -1;
}

static void a_full_disk_means_memory(void **state) {
  (void)state;
  sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
  assert_int_equal(vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)write_to_full_disk), SQLITE_OK);
  vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)write_to_full_disk);
  attune_store *store = open_store("x.db");
  put(store, measurement("before", 1));
  disk_is_full = true;
  static const char empty[] = "{\"format\":\"attune-measurements\",\"version\":1,\"measurements\":[]}";
  assert_int_equal(attune_store_forget(store, NULL, NULL), ATTUNE_STORE_FAILED);
  put(store, measurement("during", 2));
  assert_non_null(strstr(attune_store_warning(store), "this run is not remembered"));
  put_kernel(store, kernel("during", "binary", 6));
  assert_true(has_kernel(store, "during"));
  assert_string_equal(configs(store, attune_store_measurements, (attune_measurement_filter){0}), "during before");
  assert_string_equal(attune_store_path(store), ":memory:");
  assert_int_equal(attune_store_import(store, empty, strlen(empty), NULL), ATTUNE_STORE_FAILED);
  attune_store_close(store);
  unlink(in_folder("y.db"));
  store = open_store("y.db"); /* cannot even be made */
  put(store, measurement("a", 1));
  assert_int_equal(count(store).measurements, 1);
  assert_non_null(strstr(attune_store_warning(store), "cannot write"));
  attune_store_close(store);
  disk_is_full = false;
  vfs->xSetSystemCall(vfs, NULL, NULL);
  assert_string_equal(sql("x.db", "SELECT config FROM measurements; PRAGMA integrity_check"), "before\nok");
}

static bool on_network;
int __real_fstatfs(int descriptor, struct statfs *out);
int __wrap_fstatfs(int descriptor, struct statfs *out);
int __wrap_fstatfs(int descriptor, struct statfs *out) {
  int result = __real_fstatfs(descriptor, out);
  if (on_network) out->f_type = 0x6969;
  return result;
}

static void on_a_network_there_is_no_wal(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) { /* also where the file was in WAL mode before */
    on_network = true;
    attune_store *store = open_store("x.db");
    put(store, measurement("a", 1));
    assert_int_equal(count_files("x.db*"), 1);
    assert_string_equal(attune_store_warning(store), "");
    attune_store_close(store);
    assert_string_equal(sql("x.db", "PRAGMA journal_mode"), "delete");
    on_network = false;
    attune_store_close(open_store("x.db"));
    assert_string_equal(sql("x.db", "PRAGMA journal_mode"), "wal");
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(what_never_was_a_store_is_left_alone),
      TEST(a_damaged_store_is_set_aside),
      TEST(what_is_no_file_is_said_at_once),
      TEST(a_required_store_is_tried_before_use),
      TEST(damage_anywhere_fails_no_call),
      TEST(a_truncated_file_fails_no_call),
      TEST(an_empty_file_is_a_new_store),
      TEST(a_file_without_its_tables_is_damaged),
      TEST(what_breaks_twice_is_given_up),
      TEST(two_that_see_the_damage_set_it_aside_once),
      TEST(a_deleted_file_is_made_again),
      TEST(a_newer_file_put_in_place_is_left_alone),
      TEST(a_row_that_another_process_keeps_out_is_dropped),
      TEST(a_full_disk_means_memory),
      TEST(on_a_network_there_is_no_wal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
