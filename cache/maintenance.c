/* Counting and forgetting. */
#include "cache/store.h"

/* ---- count ---- */

static int count_tables(attune_store *store, sqlite3 *db, void *data) {
  (void)store;
  attune_store_counts *counts = data;
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db,
                                "SELECT (SELECT count(*) FROM kernels), (SELECT total(binary_size) FROM kernels),"
                                " (SELECT count(*) FROM measurements)",
                                -1, &statement, NULL);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  if (code == SQLITE_ROW) {
    counts->kernels += sqlite3_column_int64(statement, 0);
    counts->kernel_bytes += sqlite3_column_int64(statement, 1);
    counts->measurements += sqlite3_column_int64(statement, 2);
    code = SQLITE_OK;
  }
  int finalized = sqlite3_finalize(statement);
  return code == SQLITE_OK ? finalized : code;
}

static bool count_choice(void *user, const attune_measurement *row) {
  (void)row;
  ++*(int64_t *)user;
  return true;
}

attune_status attune_store_count(attune_store *store, attune_store_counts *out) {
  if (!store || !out) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_count: an argument is NULL");
  *out = (attune_store_counts){0};
  attune_status status = attune_store_read(store, count_tables, out);
  if (!status) status = attune_store_choices(store, NULL, count_choice, &out->choices);
  pthread_mutex_lock(&store->lock);
  out->damaged = store->damaged;
  pthread_mutex_unlock(&store->lock);
  return status;
}

/* ---- forget ---- */

typedef struct {
  attune_measurement_filter measurements, kernels;
  bool also_kernels;
  int64_t deleted;
} forget_data;

static int delete_matching(sqlite3 *db, const char *table, const attune_measurement_filter *filter, int64_t *deleted) {
  sqlite3_str *sql = sqlite3_str_new(db);
  sqlite3_str_appendf(sql, "DELETE FROM %s", table);
  attune_filter_append(sql, filter);
  sqlite3_stmt *statement;
  int code = attune_prepare_built(&statement, db, sql);
  if (code == SQLITE_OK) code = attune_filter_bind(statement, filter);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  int finalized = sqlite3_finalize(statement);
  if (code != SQLITE_DONE) return code;
  *deleted += sqlite3_changes(db);
  return finalized;
}

/* The problems and devices whose rows are about to change. */
static int prepare_keys(sqlite3_stmt **out, sqlite3 *db, const attune_measurement_filter *filter) {
  sqlite3_str *sql = sqlite3_str_new(db);
  sqlite3_str_appendall(sql, "SELECT DISTINCT problem, device FROM measurements");
  attune_filter_append(sql, filter);
  int code = attune_prepare_built(out, db, sql);
  return code == SQLITE_OK ? attune_filter_bind(*out, filter) : code;
}

static int forget_rows(attune_store *store, sqlite3 *db, void *data) {
  forget_data *forget = data;
  attune_key_list keys;
  sqlite3_stmt *changed;
  forget->deleted = 0;
  int code = prepare_keys(&changed, db, &forget->measurements);
  code = attune_key_list_read(&keys, changed, code);
  if (code == SQLITE_OK) code = delete_matching(db, "measurements", &forget->measurements, &forget->deleted);
  if (code == SQLITE_OK) code = attune_choices_refresh(db, store->locate, &keys);
  attune_key_list_free(&keys);
  if (code == SQLITE_OK && forget->also_kernels) {
    code = delete_matching(db, "kernels", &forget->kernels, &forget->deleted);
  }
  return code;
}

static bool forgets_all(const attune_measurement_filter *filter) {
  return !filter || (!filter->problem && !filter->device && !filter->arch && !filter->policy && !filter->result_hash &&
                     !filter->config);
}

/* A file that cannot be shrunk just now is no fault: its free pages are used again. */
static void give_space_back(attune_store *store) {
  pthread_mutex_lock(&store->lock);
  if (store->top) sqlite3_exec(store->top, "VACUUM", NULL, NULL, NULL);
  pthread_mutex_unlock(&store->lock);
}

attune_status attune_store_forget(attune_store *store, const attune_measurement_filter *filter, int64_t *deleted) {
  if (!store) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_forget: store is NULL");
  forget_data forget = {.also_kernels = true};
  if (filter) {
    forget.measurements = *filter;
    forget.kernels = (attune_measurement_filter){.arch = filter->arch, .config = filter->config};
    /* A kernel has no problem, device, policy or hash, so none matches a filter that asks for one. */
    forget.also_kernels = !filter->problem && !filter->device && !filter->policy && !filter->result_hash;
  }
  attune_status status = attune_store_write(store, forget_rows, &forget, true);
  if (!status && forgets_all(filter)) give_space_back(store);
  if (!status && deleted) *deleted = forget.deleted;
  return status;
}
