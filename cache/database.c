/* Opens one file, for writing or for reading only. */
#include "cache/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Closes *db unless the fault leaves it to be set aside. */
static attune_sqlite_error settle(sqlite3 **db, attune_sqlite_error fault, char reason[256]) {
  if (fault == ATTUNE_SQLITE_UNUSABLE || fault == ATTUNE_SQLITE_DROPPED) {
    snprintf(reason, 256, "%s", attune_sqlite_error_reason(*db, fault));
  }
  if (fault != ATTUNE_SQLITE_NONE && fault != ATTUNE_SQLITE_DAMAGED) {
    sqlite3_close(*db);
    *db = NULL;
  }
  return fault == ATTUNE_SQLITE_DROPPED ? ATTUNE_SQLITE_UNUSABLE : fault;
}

static attune_sqlite_error open_connection(sqlite3 **out, const char *name, int flags) {
  int code = sqlite3_open_v2(name, out, flags | SQLITE_OPEN_NOMUTEX, NULL);
  if (!*out) return ATTUNE_SQLITE_MEMORY;
  sqlite3_extended_result_codes(*out, 1);
  sqlite3_busy_timeout(*out, ATTUNE_BUSY_MILLISECONDS);
  /* No function with side effects may be called by a file's own schema. */
  if (code == SQLITE_OK) code = sqlite3_exec(*out, "PRAGMA trusted_schema = OFF", NULL, NULL, NULL);
  return attune_sqlite_error_of(code);
}

/* WAL lets others read while one writes. It is kept in the file, and cannot be had everywhere: going on without is
 * fine. A database that loses the last commits in a power cut is still a cache, so WAL need not wait for the disk. */
static int set_journal(sqlite3 *db, const char *path) {
  const char *sql = attune_path_on_network(path) ? "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL"
                                                 : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL";
  int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
  attune_sqlite_error fault = attune_sqlite_error_of(code);
  return fault == ATTUNE_SQLITE_MEMORY || fault == ATTUNE_SQLITE_DAMAGED ? code : SQLITE_OK;
}

/* SQLite finds a file that never was a database damaged too. */
static attune_sqlite_error leave_foreign(sqlite3 **db, attune_sqlite_error fault, const char *path) {
  if (fault != ATTUNE_SQLITE_DAMAGED || attune_path_is_ours(*db, path)) return fault;
  sqlite3_close(*db);
  *db = NULL;
  return ATTUNE_SQLITE_FOREIGN;
}

attune_sqlite_error attune_database_open(sqlite3 **out, const char *path, attune_translate *translate,
                                         char reason[256]) {
  *out = NULL;
  const char *other = attune_path_not_a_file(path);
  if (other) {
    snprintf(reason, 256, "it is %s", other);
    return ATTUNE_SQLITE_UNUSABLE;
  }
  int error = attune_path_make_folders(path);
  if (error == ENOMEM) return ATTUNE_SQLITE_MEMORY;
  if (error) {
    snprintf(reason, 256, "%s", strerrordesc_np(error));
    return ATTUNE_SQLITE_UNUSABLE;
  }
  attune_sqlite_error fault = open_connection(out, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (fault == ATTUNE_SQLITE_NONE && sqlite3_db_readonly(*out, "main")) {
    int why = access(path, W_OK) == 0 ? EACCES : errno;
    sqlite3_close(*out);
    *out = NULL;
    snprintf(reason, 256, "%s", strerrordesc_np(why));
    return ATTUNE_SQLITE_UNUSABLE;
  }
  /* Looked at before anything is written: a newer version's file and other programs' files stay as they are. */
  if (fault == ATTUNE_SQLITE_NONE) fault = attune_schema_check(*out, NULL);
  if (fault == ATTUNE_SQLITE_NONE || fault == ATTUNE_SQLITE_OLD) {
    int code = set_journal(*out, path);
    if (code != SQLITE_OK) fault = attune_sqlite_error_of(code);
  }
  if (fault == ATTUNE_SQLITE_OLD) fault = attune_schema_migrate(*out, translate);
  return leave_foreign(out, settle(out, fault, reason), path);
}

/* "file:" address of path, with what is special in one escaped. NULL: no memory. */
static char *address_of(const char *path, const char *options) {
  sqlite3_str *text = sqlite3_str_new(NULL);
  sqlite3_str_appendall(text, *path == '/' ? "file://" : "file:");
  for (const char *c = path; *c; c++) {
    if (strchr("%?#", *c))
      sqlite3_str_appendf(text, "%%%02X", *c);
    else
      sqlite3_str_appendchar(text, 1, *c);
  }
  sqlite3_str_appendf(text, "?%s", options);
  return sqlite3_str_finish(text);
}

/* Reads a file of an earlier version, whose place need not be writable, as a copy in memory. */
static attune_sqlite_error open_copy(sqlite3 **out, const char *address, int version, attune_translate *translate,
                                     char reason[256]) {
  attune_sqlite_error error =
      open_connection(out, ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI);
  if (error == ATTUNE_SQLITE_NONE) error = attune_schema_copy_old(*out, address, version, translate);
  return settle(out, error, reason);
}

static attune_sqlite_error open_address(sqlite3 **out, const char *path, const char *options,
                                        attune_translate *translate, char reason[256]) {
  char *address = address_of(path, options);
  if (!address) return ATTUNE_SQLITE_MEMORY;
  attune_sqlite_error error = open_connection(out, address, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
  int version = 0;
  if (error == ATTUNE_SQLITE_NONE) error = attune_schema_check(*out, &version);
  error = settle(out, error, reason);
  if (error == ATTUNE_SQLITE_OLD && version > 0) error = open_copy(out, address, version, translate, reason);
  sqlite3_free(address);
  return error;
}

/* A log that holds something: some process writes the file just now, or was killed while it did. */
static bool has_log(const char *path) {
  char name[4096];
  struct stat status;
  int length = snprintf(name, sizeof name, "%s-wal", path);
  return length < (int)sizeof name && stat(name, &status) == 0 && status.st_size > 0;
}

attune_sqlite_error attune_database_open_reader(sqlite3 **out, const char *path, bool shipped,
                                                attune_translate *translate, char reason[256]) {
  *out = NULL;
  attune_sqlite_error fault = ATTUNE_SQLITE_UNUSABLE;
  const char *other = attune_path_not_a_file(path);
  if (other) {
    snprintf(reason, 256, "it is %s", other);
    return fault;
  }
  if (!shipped && has_log(path)) fault = open_address(out, path, "mode=ro&readonly_shm=1", translate, reason);
  /* Immutable: no lock is taken and no file is made beside it, not even for a database that was left in WAL mode. */
  if (fault == ATTUNE_SQLITE_UNUSABLE) fault = open_address(out, path, "immutable=1", translate, reason);
  return leave_foreign(out, fault, path);
}

attune_sqlite_error attune_database_open_memory(sqlite3 **out) {
  char reason[256];
  attune_sqlite_error fault = open_connection(out, ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (fault == ATTUNE_SQLITE_NONE) fault = attune_schema_migrate(*out, NULL);
  return settle(out, fault, reason);
}

int attune_store_transact(attune_store *store, sqlite3 *db, attune_store_step *step, void *data) {
  int code = SQLITE_OK;
  /* One that could not be rolled back for want of memory. */
  if (!sqlite3_get_autocommit(db)) code = sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  if (code == SQLITE_OK) code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (code != SQLITE_OK) return code;
  code = step(store, db, data);
  if (code == SQLITE_OK) code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
  if (code != SQLITE_OK && !sqlite3_get_autocommit(db)) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return code;
}
