/* Measurements and choices: putting one, and visiting those that match. */
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
  (void)store;
  sqlite3_stmt *insert;
  int code = attune_measurement_prepare_insert(&insert, db, false);
  if (code == SQLITE_OK) code = attune_measurement_insert(insert, data);
  sqlite3_finalize(insert);
  return code;
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
      {"problem", filter->problem}, {"device", filter->device},       {"arch", filter->arch},
      {"policy", filter->policy},   {"generator", filter->generator}, {"config", filter->config},
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

int attune_row_list_select(attune_row_list *rows, attune_store *store, sqlite3 *db, const char *table,
                           const attune_measurement_filter *filter, const char *order) {
  const int before = rows->count;
  sqlite3_str *sql = sqlite3_str_new(db);
  sqlite3_str_appendall(sql, "SELECT id, ");
  attune_fields_append(sql);
  sqlite3_str_appendf(sql, " FROM %s", table);
  attune_filter_append(sql, filter);
  sqlite3_str_appendf(sql, " ORDER BY %s", order);
  sqlite3_stmt *statement;
  int code = attune_prepare_built(&statement, db, sql);
  if (code == SQLITE_OK) code = attune_filter_bind(statement, filter);
  while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
    attune_measurement *row = NULL;
    code = reserve_row(rows) ? attune_measurement_read(&row, statement) : SQLITE_NOMEM;
    if (row) rows->rows[rows->count++] = row;
    if (code == SQLITE_OK && !row) store->damaged++;
  }
  int finalized = sqlite3_finalize(statement);
  if (code == SQLITE_DONE) code = finalized;
  if (code != SQLITE_OK) attune_row_list_clear(rows, before);
  return code;
}

typedef struct {
  attune_row_list rows;
  const char *table;
  const attune_measurement_filter *filter;
} select_data;

static int select_step(attune_store *store, sqlite3 *db, void *data) {
  select_data *select = data;
  return attune_row_list_select(&select->rows, store, db, select->table, select->filter, "date, id");
}

static void visit_rows(const attune_row_list *rows, attune_measurement_visit *visit, void *user) {
  for (int i = 0; i < rows->count; i++) {
    if (rows->rows[i] && !visit(user, rows->rows[i])) return;
  }
}

attune_status attune_store_measurements(attune_store *store, const attune_measurement_filter *filter,
                                        attune_measurement_visit *visit, void *user) {
  if (!store || !visit) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_measurements: an argument is NULL");
  select_data select = {.table = "measurements", .filter = filter};
  attune_status status = attune_store_read(store, select_step, &select);
  if (!status) visit_rows(&select.rows, visit, user);
  attune_row_list_clear(&select.rows, 0);
  return status;
}

/* ---- choices: one for each key over all databases ---- */

static bool is_model(const attune_measurement *row) {
  return strcmp(row->policy, "model") == 0;
}

static int compare_keys(const attune_measurement *a, const attune_measurement *b) {
  int order = strcmp(a->problem, b->problem);
  if (!order) order = strcmp(a->device, b->device);
  return order ? order : strcmp(a->generator, b->generator);
}

/* By key, and the row that answers first: a measured one before a model's, the upper database's before a lower one's.
 */
typedef struct {
  const attune_measurement *row;
  int place;
} ranked;
static int compare_ranked(const void *left, const void *right) {
  const ranked *a = left, *b = right;
  int order = compare_keys(a->row, b->row);
  if (!order) order = is_model(a->row) - is_model(b->row);
  return order ? order : a->place - b->place;
}

/* Frees the rows that another database's choice outranks. */
static bool drop_outranked(attune_row_list *rows) {
  if (rows->count == 0) return true;
  const int count = rows->count;
  ranked *order = malloc((size_t)count * sizeof *order);
  bool *outranked = calloc((size_t)count, sizeof *outranked);
  bool done = order && outranked;
  for (int i = 0; done && i < count; i++)
    order[i] = (ranked){rows->rows[i], i};
  if (done) qsort(order, (size_t)count, sizeof *order, compare_ranked);
  for (int i = 1; done && i < count; i++) {
    outranked[order[i].place] = compare_keys(order[i - 1].row, order[i].row) == 0;
  }
  for (int i = 0; done && i < count; i++) {
    if (!outranked[i]) continue;
    free(rows->rows[i]);
    rows->rows[i] = NULL;
  }
  free(order);
  free(outranked);
  return done;
}

static bool matches(const char *wanted, const char *text) {
  return !wanted || strcmp(wanted, text) == 0;
}

attune_status attune_store_choices(attune_store *store, const attune_measurement_filter *filter,
                                   attune_measurement_visit *visit, void *user) {
  if (!store || !visit) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_choices: an argument is NULL");
  static const attune_measurement_filter none;
  if (!filter) filter = &none;
  /* The key's filters hold for all rows that compete; the others ask about the winner, so they come after. */
  const attune_measurement_filter key = {
      .problem = filter->problem, .device = filter->device, .generator = filter->generator};
  select_data select = {.table = "choices", .filter = &key};
  attune_status status = attune_store_read(store, select_step, &select);
  if (!status && !drop_outranked(&select.rows)) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory left to compare %d choices", select.rows.count);
  }
  for (int i = 0; !status && i < select.rows.count; i++) {
    attune_measurement *row = select.rows.rows[i];
    if (!row || (matches(filter->arch, row->arch) && matches(filter->policy, row->policy) &&
                 matches(filter->config, row->config)))
      continue;
    free(row);
    select.rows.rows[i] = NULL;
  }
  if (!status) visit_rows(&select.rows, visit, user);
  attune_row_list_clear(&select.rows, 0);
  return status;
}
