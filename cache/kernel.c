/* Kernels: binaries by key, bounded by least recent use. */
#include <sys/types.h> /* before sha256.h, which uses its types */

#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/store.h"

/* The time of last use is kept to the hour, so that a hit is seldom a write. */
enum { USE_SECONDS = 3600 };

static const char *text_or_empty(const char *text) {
  return text ? text : "";
}

void attune_kernel_key(attune_kernel *kernel) {
  const char *fields[] = {kernel->config, kernel->arch, kernel->compiler, kernel->options, kernel->source_sha256};
  SHA2_CTX hash;
  SHA256Init(&hash);
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    /* "length:text," so that no two sets of fields run together to the same bytes. */
    const char *text = text_or_empty(fields[i]);
    char prefix[24];
    int length = snprintf(prefix, sizeof prefix, "%zu:", strlen(text));
    SHA256Update(&hash, (const uint8_t *)prefix, (size_t)length);
    SHA256Update(&hash, (const uint8_t *)text, strlen(text));
    SHA256Update(&hash, (const uint8_t *)",", 1);
  }
  SHA256End(&hash, kernel->key);
}

/* ---- find ---- */

enum { COLUMN_TEXTS = 7, COLUMN_REGISTERS = 7, COLUMN_USED = 11, COLUMN_SIZE, COLUMN_SHA256, COLUMN_BINARY };
static const char find_sql[] =
    "SELECT config, arch, compiler, options, source_sha256, log, library, registers, shared_static, spill_bytes,"
    " compile_seconds, last_used, binary_size, binary_sha256, binary FROM kernels WHERE key = ?1";

typedef struct {
  const char *key;
  attune_kernel *found;
} find_data;

/* One block: the struct, the binary (aligned as malloc aligns), the texts. */
static int copy_row(attune_kernel **out, sqlite3_stmt *row, const char *key, const void *binary, size_t binary_size) {
  size_t texts = 0;
  for (int i = 0; i < COLUMN_TEXTS; i++) {
    if (!sqlite3_column_text(row, i)) return SQLITE_NOMEM;
    texts += (size_t)sqlite3_column_bytes(row, i) + 1;
  }
  enum { HEAD = (sizeof(attune_kernel) + 15) / 16 * 16 };
  attune_kernel *kernel = malloc(HEAD + binary_size + texts);
  if (!kernel) return SQLITE_NOMEM;
  memset(kernel, 0, sizeof *kernel);
  char *next = (char *)kernel + HEAD;
  memcpy(next, binary, binary_size);
  kernel->binary = next;
  kernel->binary_size = binary_size;
  next += binary_size;
  const char **places[COLUMN_TEXTS] = {&kernel->config,        &kernel->arch, &kernel->compiler, &kernel->options,
                                       &kernel->source_sha256, &kernel->log,  &kernel->library};
  for (int i = 0; i < COLUMN_TEXTS; i++) {
    size_t size = (size_t)sqlite3_column_bytes(row, i);
    memcpy(next, sqlite3_column_text(row, i), size);
    next[size] = 0;
    *places[i] = next;
    next += size + 1;
  }
  snprintf(kernel->key, sizeof kernel->key, "%s", key);
  kernel->registers = sqlite3_column_int(row, COLUMN_REGISTERS);
  kernel->shared_static = sqlite3_column_int(row, COLUMN_REGISTERS + 1);
  kernel->spill_bytes = sqlite3_column_int(row, COLUMN_REGISTERS + 2);
  kernel->compile_seconds = sqlite3_column_double(row, COLUMN_REGISTERS + 3);
  *out = kernel;
  return SQLITE_OK;
}

static bool is_damaged(sqlite3_stmt *row, const void *binary, size_t size) {
  char sha256[65];
  const char *expected = (const char *)sqlite3_column_text(row, COLUMN_SHA256);
  if (!binary || sqlite3_column_int64(row, COLUMN_SIZE) != (int64_t)size || !expected) return true;
  for (int i = 0; i < COLUMN_TEXTS; i++)
    if (sqlite3_column_type(row, i) == SQLITE_NULL) return true;
  return strcmp(SHA256Data(binary, size, sha256), expected) != 0;
}

/* number is bound where the statement has a second parameter. */
static int run_on_key(sqlite3 *db, const char *sql, const char *key, int64_t number) {
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
  if (code == SQLITE_OK && sqlite3_bind_parameter_count(statement) > 1) {
    code = sqlite3_bind_int64(statement, 2, number);
  }
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  int finalized = sqlite3_finalize(statement);
  return code == SQLITE_DONE ? finalized : code;
}

static int delete_row(attune_store *store, sqlite3 *db, void *data) {
  (void)store;
  const find_data *find = data;
  return run_on_key(db, "DELETE FROM kernels WHERE key = ?1", find->key, 0);
}

/* Code for this processor is run by this process with all its rights, so it comes from no file that others can write.
 * There a row's architecture counts only if its key was made of it. */
static bool is_refused(attune_store *store, sqlite3 *db, const attune_kernel *found) {
  attune_kernel named = *found;
  if (attune_path_is_private(db)) return false;
  attune_kernel_key(&named);
  if (strcmp(found->arch, "host") != 0 && strcmp(named.key, found->key) == 0) return false;
  attune_store_warn(store,
                    "%s: its kernels for the simulator are not run, since others can write it, its log or a folder",
                    sqlite3_db_filename(db, "main"));
  return true;
}

static int find_row(attune_store *store, sqlite3 *db, void *data) {
  find_data *find = data;
  bool damaged = false, stale = false;
  sqlite3_stmt *row;
  int code = sqlite3_prepare_v2(db, find_sql, -1, &row, NULL);
  if (code == SQLITE_OK) code = sqlite3_bind_text(row, 1, find->key, -1, SQLITE_STATIC);
  if (code == SQLITE_OK) code = sqlite3_step(row);
  if (code == SQLITE_ROW) {
    const void *binary = sqlite3_column_blob(row, COLUMN_BINARY);
    size_t size = (size_t)sqlite3_column_bytes(row, COLUMN_BINARY);
    damaged = is_damaged(row, binary, size);
    stale = sqlite3_column_int64(row, COLUMN_USED) + USE_SECONDS < (int64_t)time(NULL);
    if (attune_sqlite_error_of(sqlite3_errcode(db)) == ATTUNE_SQLITE_MEMORY)
      code = SQLITE_NOMEM; /* what could not be read is not damaged */
    else
      code = damaged ? SQLITE_OK : copy_row(&find->found, row, find->key, binary, size);
  }
  int finalized = sqlite3_finalize(row);
  if (code == SQLITE_OK) code = finalized;
  if (code != SQLITE_OK && code != SQLITE_DONE) return code;
  if (damaged) store->damaged++;
  if (find->found && is_refused(store, db, find->found)) {
    free(find->found);
    find->found = NULL;
    return SQLITE_OK;
  }
  /* Neither of these is worth a failed call or a wait: a damaged row stays a miss, and a use goes unnoted. */
  if (db == store->top && (damaged || (find->found && stale))) {
    sqlite3_busy_timeout(db, 0);
    if (damaged)
      attune_store_transact(store, db, delete_row, find);
    else
      run_on_key(db, "UPDATE kernels SET last_used = ?2 WHERE key = ?1", find->key, (int64_t)time(NULL));
    sqlite3_busy_timeout(db, ATTUNE_BUSY_MILLISECONDS);
  }
  return find->found ? SQLITE_DONE : SQLITE_OK;
}

attune_status attune_store_find_kernel(attune_store *store, attune_kernel **out, const char *key) {
  if (!store || !out || !key) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_find_kernel: an argument is NULL");
  *out = NULL;
  find_data find = {.key = key};
  attune_status status = attune_store_read(store, find_row, &find);
  if (status)
    free(find.found);
  else
    *out = find.found;
  return status;
}

/* ---- find by less than the key ---- */

typedef struct {
  const char *sql;
  const char *fields[5]; /* its parameters */
  int count;
  char key[65];
} find_key_data;

static int find_key(attune_store *store, sqlite3 *db, void *data) {
  (void)store;
  find_key_data *find = data;
  sqlite3_stmt *row;
  find->key[0] = 0;
  int code = sqlite3_prepare_v2(db, find->sql, -1, &row, NULL);
  for (int i = 0; i < find->count && code == SQLITE_OK; i++)
    code = sqlite3_bind_text(row, i + 1, text_or_empty(find->fields[i]), -1, SQLITE_STATIC);
  if (code == SQLITE_OK) code = sqlite3_step(row);
  if (code == SQLITE_ROW) {
    const char *key = (const char *)sqlite3_column_text(row, 0);
    if (key) snprintf(find->key, sizeof find->key, "%s", key);
  }
  int finalized = sqlite3_finalize(row);
  if (code != SQLITE_ROW && code != SQLITE_DONE) return code;
  if (finalized != SQLITE_OK) return finalized;
  return find->key[0] ? SQLITE_DONE : SQLITE_OK;
}

static attune_status find_by(attune_store *store, attune_kernel **out, find_key_data *find) {
  *out = NULL;
  attune_status status = attune_store_read(store, find_key, find);
  return status == ATTUNE_OK && find->key[0] ? attune_store_find_kernel(store, out, find->key) : status;
}

attune_status attune_store_find_kernel_of_source(attune_store *store, attune_kernel **out, const attune_kernel *named) {
  if (!store || !out || !named)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_find_kernel_of_source: an argument is NULL");
  find_key_data find = {.sql = "SELECT key FROM kernels WHERE config = ?1 AND arch = ?2 AND source_sha256 = ?3"
                               " AND (?4 = '' OR options = ?4) ORDER BY created DESC, key LIMIT 1",
                        .fields = {named->config, named->arch, named->source_sha256, named->options},
                        .count = 4};
  return find_by(store, out, &find);
}

attune_status attune_store_find_kernel_of_library(attune_store *store, attune_kernel **out,
                                                  const attune_kernel *named) {
  if (!store || !out || !named || !named->library || !*named->library)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_find_kernel_of_library: an argument is NULL or empty");
  find_key_data find = {.sql = "SELECT key FROM kernels WHERE config = ?1 AND arch = ?2 AND library = ?3"
                               " AND compiler = ?4 AND options = ?5 ORDER BY key LIMIT 1",
                        .fields = {named->config, named->arch, named->library, named->compiler, named->options},
                        .count = 5};
  return find_by(store, out, &find);
}

attune_status attune_store_claim_kernel(attune_store *store, const char *key, const char *library) {
  if (!store || !key || !library)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_claim_kernel: an argument is NULL");
  sqlite3_stmt *statement;
  pthread_mutex_lock(&store->lock);
  if (store->top) { /* not worth a failed call or a wait */
    sqlite3_busy_timeout(store->top, 0);
    int code = sqlite3_prepare_v2(store->top, "UPDATE kernels SET library = ?2 WHERE key = ?1", -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 2, library, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) sqlite3_step(statement);
    sqlite3_finalize(statement);
    sqlite3_busy_timeout(store->top, ATTUNE_BUSY_MILLISECONDS);
  }
  pthread_mutex_unlock(&store->lock);
  return ATTUNE_OK;
}

/* ---- put ---- */

static const char put_sql[] =
    "INSERT OR REPLACE INTO kernels (key, config, arch, compiler, options, source_sha256, log, registers,"
    " shared_static, spill_bytes, compile_seconds, last_used, binary_size, binary_sha256, binary, library,"
    " created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))";

/* Keeps the most recently used ones that fit together. */
static const char evict_sql[] = "DELETE FROM kernels WHERE rowid IN (SELECT rowid FROM ("
                                " SELECT rowid, sum(binary_size) OVER (ORDER BY last_used DESC, rowid DESC) AS total"
                                " FROM kernels) WHERE total > ?1)";

static int bind_kernel(sqlite3_stmt *put, const attune_kernel *kernel) {
  char sha256[65];
  SHA256Data(kernel->binary, kernel->binary_size, sha256);
  const char *texts[] = {kernel->key,     kernel->config,        kernel->arch, kernel->compiler,
                         kernel->options, kernel->source_sha256, kernel->log};
  const int count = sizeof texts / sizeof *texts;
  int code = SQLITE_OK;
  for (int i = 0; i < count && code == SQLITE_OK; i++) {
    code = sqlite3_bind_text(put, i + 1, text_or_empty(texts[i]), -1, SQLITE_STATIC);
  }
  if (code == SQLITE_OK) code = sqlite3_bind_int(put, 8, kernel->registers);
  if (code == SQLITE_OK) code = sqlite3_bind_int(put, 9, kernel->shared_static);
  if (code == SQLITE_OK) code = sqlite3_bind_int(put, 10, kernel->spill_bytes);
  if (code == SQLITE_OK) code = sqlite3_bind_double(put, 11, kernel->compile_seconds);
  if (code == SQLITE_OK) code = sqlite3_bind_int64(put, 12, (int64_t)time(NULL));
  if (code == SQLITE_OK) code = sqlite3_bind_int64(put, 13, (int64_t)kernel->binary_size);
  if (code == SQLITE_OK) code = sqlite3_bind_text(put, 14, sha256, -1, SQLITE_TRANSIENT);
  if (code == SQLITE_OK) code = sqlite3_bind_blob64(put, 15, kernel->binary, kernel->binary_size, SQLITE_STATIC);
  if (code == SQLITE_OK) code = sqlite3_bind_text(put, 16, text_or_empty(kernel->library), -1, SQLITE_STATIC);
  return code;
}

static int put_row(attune_store *store, sqlite3 *db, void *data) {
  const attune_kernel *const *kernel = data;
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db, put_sql, -1, &statement, NULL);
  if (code == SQLITE_OK) code = bind_kernel(statement, *kernel);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  int finalized = sqlite3_finalize(statement);
  if (code != SQLITE_DONE) return code;
  if (finalized != SQLITE_OK) return finalized;

  code = sqlite3_prepare_v2(db, evict_sql, -1, &statement, NULL);
  if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 1, store->cache_limit);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  finalized = sqlite3_finalize(statement);
  return code == SQLITE_DONE ? finalized : code;
}

attune_status attune_store_put_kernel(attune_store *store, const attune_kernel *kernel) {
  if (!store || !kernel) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_put_kernel: an argument is NULL");
  if (!kernel->key[0]) return attune_fail(ATTUNE_BAD_ARGUMENT, "a kernel needs a key; call attune_kernel_key first");
  if (!kernel->binary || kernel->binary_size == 0) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "kernel %s has no binary", text_or_empty(kernel->config));
  }
  if (!(kernel->compile_seconds >= 0)) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "kernel %s: compile_seconds is %g, needs 0 or more",
                       text_or_empty(kernel->config), kernel->compile_seconds);
  }
  return attune_store_write(store, put_row, &kernel, false);
}
