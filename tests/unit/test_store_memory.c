/* Each allocation of each operation fails in turn, SQLite's, Jansson's and the store's own: the call says so or
 * succeeds, nothing leaks, nothing is set aside, and the next call works. Linked with --wrap for malloc and its kin. */
#include <jansson.h>

#include "generator/generator.h"
#include "tests/unit/store_version_2.h"

/* ---- allocations that fail: the n-th from now, and with and_all_after also the rest ---- */

static bool counting, and_all_after;
static int64_t countdown;
static int failures;

static bool fails(void) {
  if (!counting) return false;
  int64_t left = countdown--;
  if (left > 0 || (left < 0 && !and_all_after)) return false;
  failures++;
  return true;
}

/* ---- the store's own ---- */

enum { LIVE = 4096 };
static void *live[LIVE];
static int live_count;

static void *born(void *memory) {
  if (!counting || !memory) return memory;
  assert_true(live_count < LIVE);
  live[live_count++] = memory;
  return memory;
}

static void dies(const void *memory) {
  for (int i = live_count - 1; i >= 0; i--) {
    if (live[i] != memory) continue;
    live[i] = live[--live_count];
    return;
  }
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : born(__real_malloc(size));
}
void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : born(__real_calloc(count, size));
}
void *__wrap_realloc(void *memory, size_t size) {
  if (fails()) return NULL;
  dies(memory);
  return born(__real_realloc(memory, size));
}
char *__wrap_strdup(const char *text) {
  return fails() ? NULL : born(__real_strdup(text));
}
void __wrap_free(void *memory) {
  dies(memory);
  __real_free(memory);
}

/* ---- SQLite's ---- */

static sqlite3_mem_methods real;

static void *sqlite_malloc(int size) {
  return fails() ? NULL : real.xMalloc(size);
}
static void *sqlite_realloc(void *memory, int size) {
  return fails() ? NULL : real.xRealloc(memory, size);
}

/* ---- operations ---- */

static attune_store *store; /* open before and after an operation, but for those that open one */

static attune_status open_new(void) {
  attune_store *other;
  attune_status status = attune_store_open(&other, &(attune_store_options){.path = in_folder("new/new.db")});
  attune_store_close(other);
  return status;
}

static attune_status open_existing(void) {
  attune_store *other;
  const char *read_only[] = {in_folder("shipped.db"), NULL};
  attune_status status =
      attune_store_open(&other, &(attune_store_options){.path = in_folder("x.db"), .read_only = read_only});
  attune_store_close(other);
  return status;
}

static attune_status open_frozen(void) {
  attune_store *other;
  attune_status status =
      attune_store_open(&other, &(attune_store_options){.path = in_folder("shipped.db"), .frozen = true});
  attune_store_close(other);
  return status;
}

static attune_status open_damaged(void) {
  attune_store *other;
  const bool was_counting = counting;
  counting = false;
  unlink(in_folder("junk.db.damaged-1"));
  write_file("junk.db", "this is no database, but it is long enough to be looked at as one..............", 80);
  counting = was_counting;
  attune_status status = attune_store_open(&other, &(attune_store_options){.path = in_folder("junk.db")});
  attune_store_close(other);
  return status;
}

static attune_status open_unwritable(void) {
  attune_store *other;
  attune_status status = attune_store_open(&other, &(attune_store_options){.path = in_folder("shipped.db/x.db")});
  attune_store_close(other);
  return status;
}

static attune_status put_one(void) {
  attune_measurement row = measurement("a", 1);
  return attune_store_put_measurement(store, &row);
}

static attune_status put_one_kernel(void) {
  attune_kernel row = kernel("a", "binary", 6);
  return attune_store_put_kernel(store, &row);
}

static attune_status find(void) {
  attune_kernel wanted = kernel("found", "", 0), *found;
  attune_status status = attune_store_find_kernel(store, &found, wanted.key);
  if (!status) assert_non_null(found);
  free(found);
  return status;
}

static bool visit_all(void *user, const attune_measurement *row) {
  (void)user;
  (void)row;
  return true;
}

static attune_status choose(void) {
  return attune_store_choices(store, &(attune_measurement_filter){.problem = "p"}, visit_all, NULL);
}

static bool locate(attune_position *out, const char *problem) {
  (void)problem;
  *out = (attune_position){.class = "class"};
  return true;
}

static attune_status find_near(void) {
  attune_position position;
  locate(&position, "p");
  const attune_choice_query query = {.position = &position, .arch = "sm_90", .device = "d"};
  return attune_store_find_choices(store, &query, visit_all, NULL);
}

static attune_status find_alternatives(void) {
  const attune_measurement choice = {.problem = "p", .device = "d"};
  return attune_store_alternatives(store, &choice, 9, 8, visit_all, NULL);
}

static attune_status count_statuses(void) {
  int64_t counts[ATTUNE_MEASURED_COUNT];
  return attune_store_count_statuses(store, counts, "p", "d");
}

static attune_status mark(void) {
  const int64_t ids[] = {1};
  return attune_store_mark(store, "p", "d", ids, 1, true);
}

static attune_status set_choice(void) {
  const attune_measurement row = {.id = 1, .problem = "p", .device = "d"};
  return attune_store_set_choice(store, &row);
}

static attune_status claim(void) {
  const attune_measurement row = {.id = 1, .problem = "p", .device = "d"};
  attune_status status = attune_store_claim_choice(store, &row, "tool");
  return status ? status : attune_store_claim_kernel(store, "key", "library");
}

static attune_status open_version_1(void) {
  attune_store *other;
  const bool was_counting = counting;
  counting = false;
  unlink(in_folder("old.db"));
  make_version_1("old.db", 3);
  counting = was_counting;
  attune_status status =
      attune_store_open(&other, &(attune_store_options){.path = in_folder("old.db"), .locate = locate});
  attune_store_close(other);
  return status;
}

static attune_status read_version_1(void) {
  attune_store *other;
  const bool was_counting = counting;
  counting = false;
  unlink(in_folder("read.db"));
  make_version_1("read.db", 3);
  counting = was_counting;
  attune_status status = attune_store_open(
      &other, &(attune_store_options){.path = in_folder("read.db"), .frozen = true, .locate = locate});
  attune_store_close(other);
  return status;
}

static attune_status open_renamed(const char *name, bool frozen) {
  attune_store *other;
  const bool was_counting = counting;
  counting = false;
  make_renamed(name, 2, RENAMED_ROWS);
  counting = was_counting;
  const attune_store_options options = {
      .path = in_folder(name), .frozen = frozen, .locate = locate, .translate = attune_text_renamed};
  const attune_status status = attune_store_open(&other, &options);
  attune_store_close(other);
  return status;
}

static attune_status open_version_2(void) {
  return open_renamed("old-2.db", false);
}

static attune_status read_version_2(void) {
  return open_renamed("read-2.db", true);
}

static attune_status count_all(void) {
  attune_store_counts counts;
  return attune_store_count(store, &counts);
}

static char *document;

static attune_status export_all(void) {
  char *json;
  attune_status status = attune_store_export(store, NULL, &json);
  free(json);
  return status;
}

static attune_status import_all(void) {
  return attune_store_import(store, document, strlen(document), NULL);
}

static attune_status forget_some(void) {
  return attune_store_forget(store, &(attune_measurement_filter){.config = "absent"}, NULL);
}

typedef struct {
  const char *name;
  attune_status (*run)(void);
  int step; /* 1: every allocation; more: every so manieth, where each costs a file */
} operation;

/* The plain build lets every allocation fail and looks for leaks itself. AddressSanitizer, four times as slow, looks at
 * every third for what only it sees: memory used after it is freed. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STRIDE 3
#endif
#endif
#ifndef STRIDE
#define STRIDE 1
#endif
static const operation operations[] = {
    {"open new", open_new, 7},
    {"open existing", open_existing, 3},
    {"open frozen", open_frozen, 1},
    {"open damaged", open_damaged, 7},
    {"open unwritable", open_unwritable, 3},
    {"put measurement", put_one, 1},
    {"put kernel", put_one_kernel, 1},
    {"find kernel", find, 1},
    {"choices", choose, 1},
    {"near", find_near, 1},
    {"alternatives", find_alternatives, 1},
    {"count statuses", count_statuses, 1},
    {"mark", mark, 1},
    {"set choice", set_choice, 1},
    {"claim", claim, 1},
    {"open version 1", open_version_1, 11},
    {"read version 1", read_version_1, 11},
    {"open version 2", open_version_2, 11},
    {"read version 2", read_version_2, 11},
    {"count", count_all, 1},
    {"export", export_all, 1},
    {"import", import_all, 1},
    {"forget", forget_some, 1},
};

static void *plain_malloc(size_t size) {
  return __real_malloc(size);
}

/* Returns whether the operation came as far as the n-th allocation. */

static bool run_with_failure(const operation *operation, int n, bool all_after) {
  countdown = n;
  and_all_after = all_after;
  failures = 0;
  live_count = 0;
  /* Jansson's parser asserts that it has memory. */
  json_set_alloc_funcs(operation->run == import_all ? plain_malloc : __wrap_malloc, __wrap_free);
  counting = true;
  attune_status status = operation->run();
  counting = false;
  if (status != ATTUNE_OK && status != ATTUNE_OUT_OF_MEMORY) {
    fail_msg("%s, allocation %d: %s: %s", operation->name, n, attune_status_name(status), attune_message());
  }
  if (live_count) fail_msg("%s, allocation %d: %d leaked", operation->name, n, live_count);
  if (status && !failures) fail_msg("%s: no memory, though nothing failed", operation->name);
  return failures > 0;
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  attune_store *shipped = open_store("shipped.db");
  put(shipped, measurement("shipped", 1));
  put_kernel(shipped, kernel("found", "binary", 6));
  assert_int_equal(attune_store_export(shipped, NULL, &document), ATTUNE_OK);
  attune_store_close(shipped);
  sqlite3_int64 used = sqlite3_memory_used();
  for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
    store = open_store("x.db");
    put(store, measurement("b", 1));
    put_kernel(store, kernel("found", "binary", 6));
    for (int all_after = 0; all_after < 2; all_after++) {
      int n = 0;
      while (run_with_failure(&operations[i], n, all_after))
        n += operations[i].step * STRIDE;
      if (n == 0) fail_msg("%s allocates nothing", operations[i].name);
      /* The store that failed is as good as before. */
      if (operations[i].run()) fail_msg("%s, after a failure: %s", operations[i].name, attune_message());
      put(store, measurement("c", 1));
      assert_true(has_kernel(store, "found"));
    }
    assert_string_equal(attune_store_warning(store), "");
    attune_store_close(store);
    if (sqlite3_memory_used() != used) fail_msg("%s leaks SQLite's memory", operations[i].name);
    assert_int_equal(count_files("x.db*"), 1);
  }
  free(document);
}

int main(void) {
  /* Thousands of files are made: not on a disk, where there is a choice. */
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
  sqlite3_mem_methods failing = real;
  failing.xMalloc = sqlite_malloc;
  failing.xRealloc = sqlite_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(every_allocation_may_fail, make_folder, remove_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
