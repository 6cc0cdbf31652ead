/* What the tests of the store share: a folder of its own for each test, rows, and plain SQL on the file. */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/cache.h"
#include "generator/base/status.h"

static char folder[256];

static inline int make_folder(void **state) {
  (void)state;
  const char *top = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/attune-store-XXXXXX", top && *top ? top : "/tmp");
  unsetenv("ATTUNE_DATABASE");
  unsetenv("ATTUNE_SYSTEM_DATABASE");
  unsetenv("ATTUNE_CACHE_LIMIT");
  return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
  (void)status;
  (void)type;
  (void)walk;
  return remove(path);
}

static inline int remove_folder(void **state) {
  (void)state;
  return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path in the folder; a few of a thread stay valid at a time. */
static inline const char *in_folder(const char *name) {
  static _Thread_local char paths[8][512];
  static _Thread_local int next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static inline bool file_exists(const char *name) {
  struct stat status;
  return lstat(in_folder(name), &status) == 0;
}

/* Files in the folder whose names match. */
static inline int count_files(const char *pattern) {
  glob_t found;
  int count = glob(in_folder(pattern), 0, NULL, &found) == 0 ? (int)found.gl_pathc : 0;
  globfree(&found);
  return count;
}

static inline void write_file(const char *name, const void *bytes, size_t size) {
  FILE *file = fopen(in_folder(name), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

/* *out is malloc'ed. */
static inline size_t read_file(char **out, const char *name) {
  FILE *file = fopen(in_folder(name), "rb");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  size_t size = (size_t)ftell(file);
  rewind(file);
  *out = malloc(size + 1);
  assert_non_null(*out);
  assert_int_equal(fread(*out, 1, size, file), size);
  fclose(file);
  return size;
}

/* Runs SQL as a user would with the sqlite3 command; the rows' first columns, one a line. */
static inline const char *sql(const char *name, const char *text) {
  static char out[4096];
  sqlite3 *db;
  sqlite3_stmt *statement;
  size_t length = 0;
  out[0] = 0;
  assert_int_equal(sqlite3_open(in_folder(name), &db), SQLITE_OK);
  sqlite3_busy_timeout(db, 5000);
  for (const char *rest = text; *rest;) {
    if (sqlite3_prepare_v2(db, rest, -1, &statement, &rest) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
      const char *value = (const char *)sqlite3_column_text(statement, 0);
      length += (size_t)snprintf(out + length, sizeof out - length, "%s%s", length ? "\n" : "", value ? value : "NULL");
      assert_true(length < sizeof out);
    }
    if (code != SQLITE_DONE) fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_finalize(statement);
  }
  sqlite3_close(db);
  return out;
}

static inline attune_store *open_store_with(const attune_store_options *options) {
  attune_store *store;
  attune_status status = attune_store_open(&store, options);
  if (status) fail_msg("%s", attune_message());
  return store;
}

static inline attune_store *open_store(const char *name) {
  return open_store_with(&(attune_store_options){.path = in_folder(name)});
}

static inline attune_store *open_memory(void) {
  return open_store_with(&(attune_store_options){.path = ":memory:"});
}

static inline attune_measurement measurement(const char *config, double median) {
  static const double samples[] = {1.25e-5, 0.1, 3e-6};
  return (attune_measurement){
      .problem = "p",
      .device = "d",
      .arch = "sm_90",
      .policy = "cold-l2 median",
      .result_hash = "g",
      .config = config,
      .complexity = 1,
      .verified = true,
      .samples = samples,
      .sample_count = 3,
      .median = median,
      .low = median,
      .high = median,
      .error = 1e-3,
      .error_bound = 2e-3,
      .compiler = "nvrtc 13.0",
  };
}

static inline void put(attune_store *store, attune_measurement row) {
  if (attune_store_put_measurement(store, &row)) fail_msg("%s", attune_message());
}

static inline attune_kernel kernel(const char *config, const void *binary, size_t size) {
  attune_kernel kernel = {
      .config = config,
      .arch = "sm_90",
      .compiler = "nvrtc 13.0",
      .options = "--std=c++17",
      .source_sha256 = "00ff",
      .binary = binary,
      .binary_size = size,
      .registers = 168,
      .shared_static = -1,
      .spill_bytes = 0,
      .compile_seconds = 0.75,
      .log = "ptxas info",
  };
  attune_kernel_key(&kernel);
  return kernel;
}

static inline void put_kernel(attune_store *store, attune_kernel row) {
  if (attune_store_put_kernel(store, &row)) fail_msg("%s", attune_message());
}

/* Whether the store has the kernel of that config. */
static inline bool has_kernel(attune_store *store, const char *config) {
  attune_kernel wanted = kernel(config, "", 0), *found;
  if (attune_store_find_kernel(store, &found, wanted.key)) fail_msg("%s", attune_message());
  bool hit = found != NULL;
  free(found);
  return hit;
}

static inline attune_store_counts count(attune_store *store) {
  attune_store_counts counts;
  if (attune_store_count(store, &counts)) fail_msg("%s", attune_message());
  return counts;
}

typedef attune_status select_function(attune_store *, const attune_measurement_filter *, attune_measurement_visit *,
                                      void *);

static inline bool append_config(void *user, const attune_measurement *row) {
  char *text = user;
  snprintf(text + strlen(text), 1024 - strlen(text), "%s%s", *text ? " " : "", row->config);
  return true;
}

/* The configs of the rows that select visits, separated by spaces. */
static inline const char *configs(attune_store *store, select_function *select, attune_measurement_filter filter) {
  static char text[1024];
  text[0] = 0;
  if (select(store, &filter, append_config, text)) fail_msg("%s", attune_message());
  return text;
}

#endif
