/* Measurements: putting one, and visiting those that match. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/store.h"

/* ---- put ---- */

static void write_date(char out[32]) {
  struct timespec now;
  struct tm utc;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  size_t length = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(out + length, 32 - length, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

static int put_row(attune_store *store, sqlite3 *db, void *data) {
  const attune_measurement *row = data;
  sqlite3_stmt *insert;
  int code = attune_measurement_prepare_insert(&insert, db, false);
  if (code == SQLITE_OK) code = attune_measurement_insert(insert, row);
  sqlite3_finalize(insert);
  return code == SQLITE_OK ? attune_choice_refresh(db, store->locate, row->problem, row->device) : code;
}

attune_status attune_store_put_measurement(attune_store *store, const attune_measurement *measurement) {
  if (!store || !measurement) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_put_measurement: an argument is NULL");
  }
  const char *field, *rule;
  if (attune_measurement_broken(measurement, &field, &rule)) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "measurement of %s: %s %s",
                       measurement->config ? measurement->config : "no config", field, rule);
  }
  attune_measurement row = *measurement;
  char date[32];
  if (!row.date) {
    write_date(date);
    row.date = date;
  }
  return attune_store_write(store, put_row, &row, false);
}

/* ---- select ---- */

enum { FILTERS = 6 };

typedef struct {
  const char *name, *text;
} filter_part;

static void split_filter(filter_part out[FILTERS], const attune_measurement_filter *filter) {
  static const attune_measurement_filter none;
  if (!filter) filter = &none;
  const filter_part parts[FILTERS] = {
      {"problem", filter->problem}, {"device", filter->device},           {"arch", filter->arch},
      {"policy", filter->policy},   {"result_hash", filter->result_hash}, {"config", filter->config},
  };
  memcpy(out, parts, sizeof parts);
}

void attune_filter_append(sqlite3_str *sql, const attune_measurement_filter *filter) {
  filter_part parts[FILTERS];
  split_filter(parts, filter);
  int count = 0;
  for (int i = 0; i < FILTERS; i++) {
    if (!parts[i].text) continue;
    sqlite3_str_appendf(sql, " %s %s = ?%d", count ? "AND" : "WHERE", parts[i].name, count + 1);
    count++;
  }
}

int attune_filter_bind(sqlite3_stmt *statement, const attune_measurement_filter *filter) {
  filter_part parts[FILTERS];
  split_filter(parts, filter);
  int code = SQLITE_OK, count = 0;
  for (int i = 0; i < FILTERS && code == SQLITE_OK; i++) {
    if (parts[i].text) code = sqlite3_bind_text(statement, ++count, parts[i].text, -1, SQLITE_STATIC);
  }
  return code;
}

static bool reserve_row(attune_row_list *rows) {
  if (rows->count < rows->capacity) return true;
  int capacity = rows->capacity ? rows->capacity * 2 : 16;
  attune_measurement **grown = realloc(rows->rows, (size_t)capacity * sizeof *grown);
  if (!grown) return false;
  rows->rows = grown;
  rows->capacity = capacity;
  return true;
}

void attune_row_list_clear(attune_row_list *rows, int keep) {
  while (rows->count > keep)
    free(rows->rows[--rows->count]);
  if (keep > 0) return;
  free(rows->rows);
  *rows = (attune_row_list){0};
}

int attune_store_number_of(const attune_store *store, const sqlite3 *db) {
  int number = 0;
  while (db != store->top && number < store->reader_count && store->readers[number] != db)
    number++;
  return db == store->top ? 0 : number + 1;
}

int attune_row_list_collect(attune_row_list *rows, attune_store *store, sqlite3_stmt *statement, int most) {
  const int before = rows->count;
  int code = SQLITE_OK;
  while (code == SQLITE_OK && rows->count - before < most && (code = sqlite3_step(statement)) == SQLITE_ROW) {
    attune_measurement *row = NULL;
    code = reserve_row(rows) ? attune_measurement_read(&row, statement) : SQLITE_NOMEM;
    if (row) {
      row->database = attune_store_number_of(store, sqlite3_db_handle(statement));
      rows->rows[rows->count++] = row;
    }
    if (code == SQLITE_OK && !row) store->damaged++;
  }
  if (code == SQLITE_DONE) code = SQLITE_OK;
  if (code != SQLITE_OK) attune_row_list_clear(rows, before);
  return code;
}

int attune_row_list_select(attune_row_list *rows, attune_store *store, sqlite3 *db, const char *table,
                           const attune_measurement_filter *filter, const char *order) {
  const int before = rows->count;
  sqlite3_str *sql = sqlite3_str_new(db);
  attune_select_append(sql, table);
  attune_filter_append(sql, filter);
  sqlite3_str_appendf(sql, " ORDER BY %s", order);
  sqlite3_stmt *statement;
  int code = attune_prepare_built(&statement, db, sql);
  if (code == SQLITE_OK) code = attune_filter_bind(statement, filter);
  if (code == SQLITE_OK) code = attune_row_list_collect(rows, store, statement, INT_MAX);
  int finalized = sqlite3_finalize(statement);
  if (code == SQLITE_OK) code = finalized;
  if (code != SQLITE_OK) attune_row_list_clear(rows, before);
  return code;
}

void attune_row_list_visit(const attune_row_list *rows, attune_measurement_visit *visit, void *user) {
  for (int i = 0; i < rows->count; i++) {
    if (rows->rows[i] && !visit(user, rows->rows[i])) return;
  }
}

typedef struct {
  attune_row_list rows;
  const attune_measurement_filter *filter;
} select_data;

static int select_step(attune_store *store, sqlite3 *db, void *data) {
  select_data *select = data;
  return attune_row_list_select(&select->rows, store, db, "measurements", select->filter, "date, id");
}

attune_status attune_store_measurements(attune_store *store, const attune_measurement_filter *filter,
                                        attune_measurement_visit *visit, void *user) {
  if (!store || !visit) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_measurements: an argument is NULL");
  select_data select = {.filter = filter};
  attune_status status = attune_store_read(store, select_step, &select);
  if (!status) attune_row_list_visit(&select.rows, visit, user);
  attune_row_list_clear(&select.rows, 0);
  return status;
}

/* ---- count by status ---- */

typedef struct {
  int64_t *counts;
  const char *problem, *device;
} status_data;

static int count_statuses(attune_store *store, sqlite3 *db, void *data) {
  (void)store;
  status_data *wanted = data;
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db,
                                "SELECT status, count(*) FROM (SELECT status FROM measurements"
                                " WHERE problem = ?1 AND device = ?2 LIMIT 1000) GROUP BY status",
                                -1, &statement, NULL);
  if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 1, wanted->problem, -1, SQLITE_STATIC);
  if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 2, wanted->device, -1, SQLITE_STATIC);
  while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
    attune_measured status;
    const char *name = (const char *)sqlite3_column_text(statement, 0);
    if (name && attune_measured_parse(&status, name)) wanted->counts[status] += sqlite3_column_int64(statement, 1);
    code = SQLITE_OK;
  }
  int finalized = sqlite3_finalize(statement);
  return code == SQLITE_DONE ? finalized : code;
}

attune_status attune_store_count_statuses(attune_store *store, int64_t counts[ATTUNE_MEASURED_COUNT],
                                          const char *problem, const char *device) {
  if (!store || !counts || !problem || !device) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_count_statuses: an argument is NULL");
  }
  memset(counts, 0, ATTUNE_MEASURED_COUNT * sizeof *counts);
  status_data wanted = {counts, problem, device};
  return attune_store_read(store, count_statuses, &wanted);
}
