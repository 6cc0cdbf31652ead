/* The stack of databases: how it is opened, and what stands in for a file that fails. */
#include "cache/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char not_remembered[] = "; this run is not remembered";
static const int64_t default_cache_limit = INT64_C(512) << 20;

static attune_status out_of_memory(void) {
  return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory left for the store");
}

void attune_store_warn(attune_store *store, const char *format, ...) {
  if (atomic_load(&store->warned)) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(store->warning, sizeof store->warning, format, arguments);
  va_end(arguments);
  atomic_store(&store->warned, true);
}

static void insert_reader(attune_store *store, int at, sqlite3 *db) {
  sqlite3 **place = store->readers + at;
  memmove(place + 1, place, (size_t)(store->reader_count - at) * sizeof *place);
  *place = db;
  store->reader_count++;
}

static void insert_own_reader(attune_store *store, sqlite3 *db) {
  insert_reader(store, 0, db);
  store->own_readers++;
}

/* Where rows were stored without positions (a migration knows none), they get theirs. What fails is tried again when
 * the file is opened next. */
static int locate_step(attune_store *store, sqlite3 *db, void *data) {
  (void)data;
  return attune_choices_locate(db, store->locate);
}

static void locate_choices(attune_store *store, sqlite3 *db) {
  sqlite3_stmt *statement;
  if (!store->locate || sqlite3_db_readonly(db, "main")) return;
  int code = sqlite3_prepare_v2(db, "SELECT 1 FROM choices WHERE class IS NULL LIMIT 1", -1, &statement, NULL);
  const bool found = code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW;
  sqlite3_finalize(statement);
  if (found) attune_store_transact(store, db, locate_step, NULL);
}

/* ---- the user file ---- */

static attune_status take_memory(attune_store *store) {
  attune_sqlite_error fault = attune_database_open_memory(&store->top);
  if (fault == ATTUNE_SQLITE_NONE) return ATTUNE_OK;
  sqlite3_close(store->top);
  store->top = NULL;
  return out_of_memory();
}

static attune_status forget_and_take_memory(attune_store *store) {
  atomic_store(&store->forgetful, true);
  return take_memory(store);
}

static attune_status too_new(const char *path) {
  return attune_fail(ATTUNE_STORE_TOO_NEW,
                     "%s was written by a newer version of Attune (this one knows format %d); update Attune, or name "
                     "another file with ATTUNE_DATABASE",
                     path, ATTUNE_SCHEMA_VERSION);
}

/* Replaces a damaged *db by a new one. */
static attune_status replace_damaged(attune_store *store, sqlite3 **db, attune_sqlite_error *fault, char reason[256]) {
  char *aside;
  store->damaged++;
  store->set_aside++;
  attune_status status = attune_path_set_aside(&aside, *db);
  *db = NULL;
  if (status == ATTUNE_OUT_OF_MEMORY) return status;
  if (status) {
    *fault = ATTUNE_SQLITE_UNUSABLE;
    snprintf(reason, 256, "it is damaged and cannot be renamed: %.180s", attune_message());
    return ATTUNE_OK;
  }
  if (aside) {
    attune_store_warn(store, "%s is damaged; it was set aside as %s and started anew", store->path, aside);
  }
  free(aside);
  *fault = attune_database_open(db, store->path, store->translate, reason);
  return ATTUNE_OK;
}

/* Makes db, which was opened from the path with that fault, the top; or else memory. */
static attune_status take_user(attune_store *store, sqlite3 *db, attune_sqlite_error fault, char reason[256]) {
  /* Once in the life of a store: what breaks twice is not the file's fault. */
  if (fault == ATTUNE_SQLITE_DAMAGED && !attune_path_is_ours(db, store->path)) {
    sqlite3_close(db);
    fault = ATTUNE_SQLITE_FOREIGN;
  }
  if (fault == ATTUNE_SQLITE_DAMAGED && store->set_aside == 0) {
    attune_status status = replace_damaged(store, &db, &fault, reason);
    if (status) return status;
  }
  switch (fault) {
  case ATTUNE_SQLITE_NONE:
    store->top = db;
    locate_choices(store, db);
    return ATTUNE_OK;
  case ATTUNE_SQLITE_TOO_NEW:
    return too_new(store->path);
  case ATTUNE_SQLITE_MEMORY:
    return out_of_memory();
  case ATTUNE_SQLITE_FOREIGN:
    attune_store_warn(store, "%s is not a store of Attune and was left alone; this run is not remembered", store->path);
    break;
  case ATTUNE_SQLITE_DAMAGED:
    sqlite3_close(db);
    attune_store_warn(store, "%s was damaged again; this run is not remembered", store->path);
    break;
  case ATTUNE_SQLITE_UNUSABLE:
  case ATTUNE_SQLITE_DROPPED:
  case ATTUNE_SQLITE_OLD:
    attune_store_warn(store, "cannot write %s: %s; this run is not remembered", store->path, reason);
    /* It may still be read. */
    fault = attune_database_open_reader(&db, store->path, false, store->translate, reason);
    if (fault == ATTUNE_SQLITE_TOO_NEW) return too_new(store->path);
    if (fault == ATTUNE_SQLITE_MEMORY) return out_of_memory();
    if (fault == ATTUNE_SQLITE_NONE) {
      locate_choices(store, db);
      insert_own_reader(store, db);
    }
    if (fault == ATTUNE_SQLITE_DAMAGED) sqlite3_close(db);
    break;
  }
  return forget_and_take_memory(store);
}

static attune_status open_user(attune_store *store) {
  sqlite3 *db;
  char reason[256] = "";
  attune_sqlite_error fault = attune_database_open(&db, store->path, store->translate, reason);
  return take_user(store, db, fault, reason);
}

/* A newer version may put its file in our file's place while we run. */
static attune_status unless_too_new(attune_store *store, attune_status status) {
  if (status != ATTUNE_STORE_TOO_NEW) return status;
  attune_store_warn(store, "%s; this run is not remembered", attune_message());
  return forget_and_take_memory(store);
}

attune_status attune_store_reopen(attune_store *store) {
  sqlite3_close(store->top);
  store->top = NULL;
  if (atomic_load(&store->forgetful) || strcmp(store->path, ":memory:") == 0) return take_memory(store);
  return unless_too_new(store, open_user(store));
}

attune_status attune_store_rebuild(attune_store *store) {
  sqlite3 *db = store->top;
  char reason[256] = "";
  store->top = NULL;
  return unless_too_new(store, take_user(store, db, ATTUNE_SQLITE_DAMAGED, reason));
}

attune_status attune_store_stop_writing(attune_store *store) {
  insert_own_reader(store, store->top);
  store->top = NULL;
  return forget_and_take_memory(store);
}

/* ---- files that are only read ---- */

static attune_status add_reader(attune_store *store, const char *path, bool shipped) {
  sqlite3 *db;
  char reason[256] = "";
  switch (attune_database_open_reader(&db, path, shipped, store->translate, reason)) {
  case ATTUNE_SQLITE_NONE:
    locate_choices(store, db);
    if (shipped)
      insert_reader(store, store->reader_count, db);
    else
      insert_own_reader(store, db);
    break;
  case ATTUNE_SQLITE_MEMORY:
    return out_of_memory();
  case ATTUNE_SQLITE_TOO_NEW:
    if (!shipped) return too_new(path);
    attune_store_warn(store, "%s was written by a newer version of Attune; nothing is read from it", path);
    break;
  case ATTUNE_SQLITE_OLD:
    if (shipped) attune_store_warn(store, "%s is empty; nothing is read from it", path);
    break;
  case ATTUNE_SQLITE_FOREIGN:
    attune_store_warn(store, "%s is not a store of Attune; nothing is read from it", path);
    break;
  case ATTUNE_SQLITE_DAMAGED:
    sqlite3_close(db);
    store->damaged++;
    attune_store_warn(store, "%s is damaged; nothing is read from it", path);
    break;
  case ATTUNE_SQLITE_UNUSABLE:
  case ATTUNE_SQLITE_DROPPED:
    attune_store_warn(store, "cannot read %s: %s", path, reason);
    break;
  }
  return ATTUNE_OK;
}

/* paths: separated by colons. */
static attune_status add_system_files(attune_store *store, const char *paths) {
  char *list = strdup(paths), *rest = list;
  if (!list) return out_of_memory();
  attune_status status = ATTUNE_OK;
  for (char *path; !status && (path = strsep(&rest, ":"));) {
    if (*path) status = add_reader(store, path, true);
  }
  free(list);
  return status;
}

static bool exists(const char *path) {
  return access(path, F_OK) == 0 || errno != ENOENT;
}

static int count_parts(const char *list) {
  int count = 1;
  for (; *list; list++)
    count += *list == ':';
  return count;
}

/* ---- the whole ---- */

/* A write that is taken back: it needs the lock, and the journal where there is no WAL. */
static int try_write(sqlite3 *db) {
  int code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (code == SQLITE_OK) code = sqlite3_exec(db, "UPDATE measurements SET id = id WHERE id = -1", NULL, NULL, NULL);
  if (!sqlite3_get_autocommit(db)) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return code;
}

/* Whether the user's file does what the store is opened for. Its warning tells what a run that goes on does without,
 * and this one does not go on. */
static attune_status check_required(attune_store *store) {
  if (store->frozen ? atomic_load(&store->warned) : atomic_load(&store->forgetful)) {
    const char *remark = strstr(store->warning, not_remembered);
    const size_t length = remark ? (size_t)(remark - store->warning) : strlen(store->warning);
    return attune_fail(ATTUNE_STORE_FAILED, "%.*s", (int)length, store->warning);
  }
  if (store->frozen) return ATTUNE_OK;
  const attune_sqlite_error fault = attune_sqlite_error_of(try_write(store->top));
  if (fault == ATTUNE_SQLITE_MEMORY) return out_of_memory();
  if (fault == ATTUNE_SQLITE_NONE) return ATTUNE_OK;
  return attune_fail(ATTUNE_STORE_FAILED, "cannot write %s: %s", store->path,
                     attune_sqlite_error_reason(store->top, fault));
}

static attune_status open_all(attune_store *store, const attune_store_options *options) {
  const char *system = secure_getenv("ATTUNE_SYSTEM_DATABASE");
  const char *const *shipped = options->read_only;
  int count = system ? count_parts(system) : 0;
  for (int i = 0; shipped && shipped[i]; i++)
    count++;
  store->readers = calloc((size_t)count + 1, sizeof *store->readers);
  if (!store->readers) return out_of_memory();

  attune_status status = attune_path_choose(&store->path, options->path);
  if (status) return status;
  if (!store->path) {
    store->path = strdup(":memory:");
    if (!store->path) return out_of_memory();
    atomic_store(&store->forgetful, true);
    attune_store_warn(store, "there is no HOME to keep a cache in; set ATTUNE_DATABASE; this run is not remembered");
  }
  if (strcmp(store->path, ":memory:") == 0)
    status = store->frozen ? ATTUNE_OK : take_memory(store);
  else if (store->frozen)
    status = exists(store->path) ? add_reader(store, store->path, false) : ATTUNE_OK;
  else
    status = open_user(store);
  if (!status && store->required) status = check_required(store);
  for (int i = 0; !status && shipped && shipped[i]; i++)
    status = add_reader(store, shipped[i], true);
  return status || !system ? status : add_system_files(store, system);
}

static int64_t cache_limit(void) {
  const char *text = secure_getenv("ATTUNE_CACHE_LIMIT");
  if (!text || *text < '0' || *text > '9') return default_cache_limit;
  char *end;
  errno = 0;
  intmax_t limit = strtoimax(text, &end, 10);
  return *end || errno ? default_cache_limit : limit;
}

attune_status attune_store_open(attune_store **out, const attune_store_options *options) {
  if (!out) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_open: out is NULL");
  *out = NULL;
  static const attune_store_options defaults;
  if (!options) options = &defaults;
  attune_store *store = calloc(1, sizeof *store);
  if (!store) return out_of_memory();
  if (pthread_mutex_init(&store->lock, NULL) != 0) {
    free(store);
    return out_of_memory();
  }
  store->frozen = options->frozen;
  store->locate = options->locate;
  store->translate = options->translate;
  store->required = options->required;
  store->cache_limit = cache_limit();
  attune_status status = open_all(store, options);
  if (status) {
    attune_store_close(store);
    return status;
  }
  *out = store;
  return ATTUNE_OK;
}

void attune_store_close(attune_store *store) {
  if (!store) return;
  sqlite3_close(store->top);
  for (int i = 0; i < store->reader_count; i++)
    sqlite3_close(store->readers[i]);
  pthread_mutex_destroy(&store->lock);
  free(store->readers);
  free(store->path);
  free(store);
}

const char *attune_store_path(const attune_store *store) {
  return atomic_load(&store->forgetful) ? ":memory:" : store->path;
}

bool attune_store_is_forgetful(const attune_store *store) {
  return atomic_load(&store->forgetful);
}

const char *attune_store_warning(const attune_store *store) {
  return atomic_load(&store->warned) ? store->warning : "";
}
