/* The rule by which one measurement of a problem on a device becomes its choice, and the table that keeps it. */
#include <stdlib.h>
#include <string.h>

#include "cache/store.h"

/* A candidate is verified, and no newer row of the same config and hash replaces it (measured under the same policy) or
 * refutes it (it failed). A row of version 1 has another kind of hash than the newer rows of the same kernel, so any
 * newer row of its config does. They are asked from the row's date on: where a config has many rows, the next one
 * mostly decides. Real ones come before modelled ones, so modelled is the third column of the index. */
#define FROM_CANDIDATES                                                                                                \
  " FROM measurements AS this"                                                                                         \
  " WHERE problem = ?1 AND device = ?2 AND status = 'ok' AND verified AND median > 0 AND NOT EXISTS ("                 \
  "  SELECT 1 FROM measurements AS newer"                                                                              \
  "  WHERE newer.problem = ?1 AND newer.device = ?2 AND newer.config = this.config"                                    \
  "  AND (newer.result_hash = this.result_hash OR substr(this.result_hash, 1, 3) = 'v1:')"                             \
  "  AND (newer.date > this.date OR newer.date = this.date AND newer.id > this.id)"                                    \
  "  AND (newer.status NOT IN ('ok', 'skipped')"                                                                       \
  "       OR newer.policy = this.policy AND newer.status = 'ok' AND newer.verified AND newer.median > 0))"

/* The fastest; then, among those whose median lies within its interval, the simplest (a wide interval of its own is no
 * merit: it may only mean that the device changed its clocks meanwhile). Both walk the index from the fastest on, so
 * that the time does not depend on how many rows there are. */
static const char fastest_sql[] = "SELECT id, max(high, median), policy = 'model'" FROM_CANDIDATES " AND NOT outdated"
                                  " ORDER BY policy = 'model', median, complexity, config, policy, id LIMIT 1";
static const char simplest_sql[] =
    "SELECT id" FROM_CANDIDATES " AND NOT outdated AND (policy = 'model') = ?3 AND median <= ?4"
    " ORDER BY complexity, config, policy, id LIMIT 1";
const char attune_alternatives_sql[] =
    FROM_CANDIDATES " AND (policy = 'model') = 0 AND median <= ?3 ORDER BY median, id LIMIT ?4";

int attune_choice_bind(sqlite3_stmt *statement, const char *problem, const char *device) {
  int code = sqlite3_bind_text(statement, 1, problem ? problem : "", -1, SQLITE_STATIC);
  return code == SQLITE_OK ? sqlite3_bind_text(statement, 2, device ? device : "", -1, SQLITE_STATIC) : code;
}

/* *id: 0 if there is no candidate. */
static int pick(int64_t *id, sqlite3 *db, const char *problem, const char *device) {
  sqlite3_stmt *statement;
  bool modelled = false;
  double reach = 0;
  *id = 0;
  int code = sqlite3_prepare_v2(db, fastest_sql, -1, &statement, NULL);
  if (code == SQLITE_OK) code = attune_choice_bind(statement, problem, device);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  if (code == SQLITE_ROW) {
    *id = sqlite3_column_int64(statement, 0);
    reach = sqlite3_column_double(statement, 1);
    modelled = sqlite3_column_int(statement, 2) != 0;
  }
  code = attune_statement_finish(statement, code);
  if (code != SQLITE_OK || !*id) return code;
  code = sqlite3_prepare_v2(db, simplest_sql, -1, &statement, NULL);
  if (code == SQLITE_OK) code = attune_choice_bind(statement, problem, device);
  if (code == SQLITE_OK) code = sqlite3_bind_int(statement, 3, modelled);
  if (code == SQLITE_OK) code = sqlite3_bind_double(statement, 4, reach);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  if (code == SQLITE_ROW) *id = sqlite3_column_int64(statement, 0);
  return attune_statement_finish(statement, code);
}

static int delete_choice(sqlite3 *db, const char *problem, const char *device) {
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db, "DELETE FROM choices WHERE problem = ?1 AND device = ?2", -1, &statement, NULL);
  if (code == SQLITE_OK) code = attune_choice_bind(statement, problem, device);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  return attune_statement_finish(statement, code);
}

/* NULL stands for a class that nobody has worked out yet, '' for a problem without a position. */
static int bind_position(sqlite3_stmt *statement, int at, attune_locate *locate, const char *problem) {
  attune_position position = {0};
  if (!locate) return SQLITE_OK; /* unbound is NULL */
  const bool located = locate(&position, problem);
  int code = sqlite3_bind_text(statement, at, located ? position.class : "", -1, SQLITE_TRANSIENT);
  for (int i = 0; i < ATTUNE_AXES && located && code == SQLITE_OK; i++)
    code = sqlite3_bind_int(statement, at + 1 + i, position.coordinates[i]);
  return code;
}

static int insert_choice(sqlite3 *db, attune_locate *locate, const char *problem, int64_t id) {
  sqlite3_str *sql = sqlite3_str_new(db);
  sqlite3_str_appendall(sql, "INSERT INTO choices (class, axis_1, axis_2, axis_3, axis_4, axis_5, axis_6,"
                             " microseconds, id, ");
  attune_fields_append(sql);
  sqlite3_str_appendall(sql, ") SELECT ?2, ?3, ?4, ?5, ?6, ?7, ?8, median * 1e6, id, ");
  attune_fields_append(sql);
  sqlite3_str_appendall(sql, " FROM measurements WHERE id = ?1");
  sqlite3_stmt *statement;
  int code = attune_prepare_built(&statement, db, sql);
  if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 1, id);
  if (code == SQLITE_OK) code = bind_position(statement, 2, locate, problem);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  return attune_statement_finish(statement, code);
}

static int delete_measurement(sqlite3 *db, int64_t id) {
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db, "DELETE FROM measurements WHERE id = ?1", -1, &statement, NULL);
  if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 1, id);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  return attune_statement_finish(statement, code);
}

int attune_choice_set(sqlite3 *db, attune_locate *locate, const char *problem, const char *device, int64_t id) {
  for (;; id = 0) {
    int code = id ? SQLITE_OK : pick(&id, db, problem, device);
    if (code == SQLITE_OK) code = delete_choice(db, problem, device);
    if (code != SQLITE_OK || !id) return code;
    code = insert_choice(db, locate, problem, id);
    if ((code & 0xff) != SQLITE_CONSTRAINT) return code;
    /* A damaged row: it lacks a field that each measurement has. */
    code = delete_measurement(db, id);
    if (code != SQLITE_OK) return code;
  }
}

int attune_choice_refresh(sqlite3 *db, attune_locate *locate, const char *problem, const char *device) {
  return attune_choice_set(db, locate, problem, device, 0);
}

/* ---- many ---- */

static bool add_key(attune_key_list *list, const char *problem, const char *device) {
  if (list->count == list->capacity) {
    int capacity = list->capacity ? 2 * list->capacity : 16;
    attune_key *grown = realloc(list->keys, (size_t)capacity * sizeof *grown);
    if (!grown) return false;
    list->keys = grown;
    list->capacity = capacity;
  }
  const size_t problem_size = strlen(problem) + 1, device_size = strlen(device) + 1;
  attune_key *next = &list->keys[list->count];
  next->problem = malloc(problem_size + device_size);
  if (!next->problem) return false;
  next->device = next->problem + problem_size;
  memcpy(next->problem, problem, problem_size);
  memcpy(next->device, device, device_size);
  list->count++;
  return true;
}

int attune_key_list_read(attune_key_list *out, sqlite3_stmt *statement, int prepared) {
  int code = prepared;
  *out = (attune_key_list){0};
  while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
    if (sqlite3_column_type(statement, 0) == SQLITE_NULL || sqlite3_column_type(statement, 1) == SQLITE_NULL) {
      code = SQLITE_OK; /* a damaged row, which no problem and device ask for */
      continue;
    }
    const char *problem = (const char *)sqlite3_column_text(statement, 0);
    const char *device = (const char *)sqlite3_column_text(statement, 1);
    code = problem && device && add_key(out, problem, device) ? SQLITE_OK : SQLITE_NOMEM;
  }
  return attune_statement_finish(statement, code);
}

void attune_key_list_free(attune_key_list *list) {
  for (int i = 0; i < list->count; i++)
    free(list->keys[i].problem);
  free(list->keys);
}

int attune_choices_refresh(sqlite3 *db, attune_locate *locate, const attune_key_list *keys) {
  int code = SQLITE_OK;
  for (int i = 0; i < keys->count && code == SQLITE_OK; i++)
    code = attune_choice_set(db, locate, keys->keys[i].problem, keys->keys[i].device, 0);
  return code;
}

static int refresh_selected(sqlite3 *db, attune_locate *locate, const char *sql) {
  sqlite3_stmt *statement;
  attune_key_list keys;
  int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  code = attune_key_list_read(&keys, statement, code);
  if (code == SQLITE_OK) code = attune_choices_refresh(db, locate, &keys);
  attune_key_list_free(&keys);
  return code;
}

int attune_choices_refresh_all(sqlite3 *db) {
  return refresh_selected(db, NULL, "SELECT DISTINCT problem, device FROM measurements");
}

int attune_choices_locate(sqlite3 *db, attune_locate *locate) {
  return refresh_selected(db, locate, "SELECT problem, device FROM choices WHERE class IS NULL");
}
