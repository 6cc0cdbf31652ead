/* What dispatch and the tuner change about choices, and what could be chosen in the place of one. */
#include "cache/store.h"

/* Not worth a failed call or a wait: whoever asks next tries again. */
static void try_write(attune_store *store, const attune_measurement *row, attune_store_step *step, void *data) {
  pthread_mutex_lock(&store->lock);
  if (store->top && row->database == 0) {
    sqlite3_busy_timeout(store->top, 0);
    attune_store_transact(store, store->top, step, data);
    sqlite3_busy_timeout(store->top, ATTUNE_BUSY_MILLISECONDS);
  }
  pthread_mutex_unlock(&store->lock);
}

static int set_choice(attune_store *store, sqlite3 *db, void *data) {
  const attune_measurement *row = data;
  return attune_choice_set(db, store->locate, row->problem, row->device, row->id);
}

attune_status attune_store_set_choice(attune_store *store, const attune_measurement *row) {
  if (!store || !row) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_set_choice: an argument is NULL");
  try_write(store, row, set_choice, (void *)row);
  return ATTUNE_OK;
}

typedef struct {
  const attune_measurement *row;
  const char *tool;
} claim_data;

static int claim_choice(attune_store *store, sqlite3 *db, void *data) {
  (void)store;
  const claim_data *claim = data;
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db, "UPDATE choices SET tool = ?3 WHERE problem = ?1 AND device = ?2 AND id = ?4", -1,
                                &statement, NULL);
  if (code == SQLITE_OK) code = attune_choice_bind(statement, claim->row->problem, claim->row->device);
  if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 3, claim->tool, -1, SQLITE_STATIC);
  if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 4, claim->row->id);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  return attune_statement_finish(statement, code);
}

attune_status attune_store_claim_choice(attune_store *store, const attune_measurement *row, const char *tool) {
  if (!store || !row || !tool) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_claim_choice: an argument is NULL");
  }
  claim_data claim = {row, tool};
  try_write(store, row, claim_choice, &claim);
  return ATTUNE_OK;
}

typedef struct {
  const char *problem, *device;
  const int64_t *ids;
  int count;
  bool outdated;
} mark_data;

static int mark_rows(attune_store *store, sqlite3 *db, void *data) {
  const mark_data *mark = data;
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(
      db, "UPDATE measurements SET outdated = ?4 WHERE id = ?3 AND problem = ?1 AND device = ?2", -1, &statement, NULL);
  if (code == SQLITE_OK) code = attune_choice_bind(statement, mark->problem, mark->device);
  if (code == SQLITE_OK) code = sqlite3_bind_int(statement, 4, mark->outdated);
  for (int i = 0; i < mark->count && code == SQLITE_OK; i++) {
    code = sqlite3_bind_int64(statement, 3, mark->ids[i]);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    int after = sqlite3_reset(statement);
    if (code == SQLITE_DONE) code = after;
  }
  code = attune_statement_finish(statement, code);
  return code == SQLITE_OK ? attune_choice_refresh(db, store->locate, mark->problem, mark->device) : code;
}

attune_status attune_store_mark(attune_store *store, const char *problem, const char *device, const int64_t *ids,
                                int count, bool outdated) {
  if (!store || !problem || !device || count < 0 || (count > 0 && !ids)) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_mark: an argument is NULL, or count is %d", count);
  }
  mark_data mark = {problem, device, ids, count, outdated};
  return count ? attune_store_write(store, mark_rows, &mark, false) : ATTUNE_OK;
}

/* ---- alternatives ---- */

typedef struct {
  const attune_measurement *choice;
  double slowest;
  int most;
  attune_row_list rows;
} alternatives_data;

static int select_alternatives(attune_store *store, sqlite3 *db, void *data) {
  alternatives_data *wanted = data;
  if (attune_store_number_of(store, db) != wanted->choice->database) return SQLITE_OK;
  sqlite3_str *sql = sqlite3_str_new(db);
  sqlite3_str_appendall(sql, "SELECT id, outdated, ");
  attune_fields_append(sql);
  sqlite3_str_appendall(sql, attune_alternatives_sql);
  sqlite3_stmt *statement;
  int code = attune_prepare_built(&statement, db, sql);
  if (code == SQLITE_OK) code = attune_choice_bind(statement, wanted->choice->problem, wanted->choice->device);
  if (code == SQLITE_OK) code = sqlite3_bind_double(statement, 3, wanted->slowest);
  if (code == SQLITE_OK) code = sqlite3_bind_int(statement, 4, wanted->most);
  if (code == SQLITE_OK) code = attune_row_list_collect(&wanted->rows, store, statement, wanted->most);
  code = attune_statement_finish(statement, code);
  return code == SQLITE_OK ? SQLITE_DONE : code;
}

attune_status attune_store_alternatives(attune_store *store, const attune_measurement *choice, double slowest, int most,
                                        attune_measurement_visit *visit, void *user) {
  if (!store || !choice || !visit) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_alternatives: an argument is NULL");
  }
  alternatives_data wanted = {.choice = choice, .slowest = slowest, .most = most};
  attune_status status = attune_store_read(store, select_alternatives, &wanted);
  if (!status) attune_row_list_visit(&wanted.rows, visit, user);
  attune_row_list_clear(&wanted.rows, 0);
  return status;
}
