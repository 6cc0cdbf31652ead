/* Looking choices up. */
#include <stdlib.h>
#include <string.h>

#include "cache/store.h"

/* ---- all that match: one for each problem and device over all databases ---- */

static bool is_model(const attune_measurement *row) {
  return strcmp(row->policy, "model") == 0;
}

static int compare_keys(const attune_measurement *a, const attune_measurement *b) {
  int order = strcmp(a->problem, b->problem);
  return order ? order : strcmp(a->device, b->device);
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

typedef struct {
  attune_row_list rows;
  const attune_measurement_filter *filter;
} select_data;

static int select_step(attune_store *store, sqlite3 *db, void *data) {
  select_data *select = data;
  return attune_row_list_select(&select->rows, store, db, "choices", select->filter, "date, id");
}

attune_status attune_store_choices(attune_store *store, const attune_measurement_filter *filter,
                                   attune_measurement_visit *visit, void *user) {
  if (!store || !visit) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_choices: an argument is NULL");
  static const attune_measurement_filter none;
  if (!filter) filter = &none;
  /* The key's filters hold for all rows that compete; the others ask about the winner, so they come after. */
  const attune_measurement_filter key = {.problem = filter->problem, .device = filter->device};
  select_data select = {.filter = &key};
  attune_status status = attune_store_read(store, select_step, &select);
  if (!status && !drop_outranked(&select.rows)) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory left to compare %d choices", select.rows.count);
  }
  for (int i = 0; !status && i < select.rows.count; i++) {
    attune_measurement *row = select.rows.rows[i];
    if (!row || (matches(filter->arch, row->arch) && matches(filter->policy, row->policy) &&
                 matches(filter->result_hash, row->result_hash) && matches(filter->config, row->config)))
      continue;
    free(row);
    select.rows.rows[i] = NULL;
  }
  if (!status) attune_row_list_visit(&select.rows, visit, user);
  attune_row_list_clear(&select.rows, 0);
  return status;
}

/* ---- of one problem, or near one: by index ---- */

/* Of one problem; of one set of coordinates; of near problems, after which no more is looked for. */
enum { MOST_DEVICES = 16, MOST_ALIKE = 8, ENOUGH = 16, MOST = 64, STEPS = 2 };

typedef struct {
  const attune_choice_query *query;
  attune_row_list rows;
} query_data;

static int bind_text(sqlite3_stmt *statement, int at, const char *text) {
  return text ? sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC) : SQLITE_OK;
}

/* The conditions that both kinds of query share: ?1 is the device and ?2 the architecture. */
static void append_where(sqlite3_str *sql, const attune_choice_query *query) {
  attune_select_append(sql, "choices");
  sqlite3_str_appendall(sql, " WHERE 1");
  if (query->device) sqlite3_str_appendall(sql, " AND device = ?1");
  if (query->other_than_device) sqlite3_str_appendall(sql, " AND device <> ?1");
  if (query->arch) sqlite3_str_appendall(sql, " AND arch = ?2");
}

static int bind_where(sqlite3_stmt *statement, const attune_choice_query *query) {
  const char *device = query->device ? query->device : query->other_than_device;
  int code = device ? bind_text(statement, 1, device) : SQLITE_OK;
  return code == SQLITE_OK && query->arch ? bind_text(statement, 2, query->arch) : code;
}

static int find_of_problem(attune_store *store, sqlite3 *db, void *data) {
  query_data *wanted = data;
  sqlite3_str *sql = sqlite3_str_new(db);
  append_where(sql, wanted->query);
  sqlite3_str_appendall(sql, " AND problem = ?3 LIMIT ?4");
  sqlite3_stmt *statement;
  int code = attune_prepare_built(&statement, db, sql);
  if (code == SQLITE_OK) code = bind_where(statement, wanted->query);
  if (code == SQLITE_OK) code = bind_text(statement, 3, wanted->query->problem);
  if (code == SQLITE_OK) code = sqlite3_bind_int(statement, 4, MOST_DEVICES);
  if (code == SQLITE_OK) code = attune_row_list_collect(&wanted->rows, store, statement, MOST_DEVICES);
  int finalized = sqlite3_finalize(statement);
  return code == SQLITE_OK ? finalized : code;
}

enum { FIRST_AXIS = 4 };

typedef struct {
  attune_store *store;
  sqlite3_stmt *statement;
  query_data *wanted;
  int before; /* rows of other databases */
} probe;

static int found(const probe *p) {
  return p->wanted->rows.count - p->before;
}

/* Takes every way of going exactly so many steps along this axis and those after it, and reads the choices there. */
static int walk(const probe *p, int axis, int steps) {
  if (axis == ATTUNE_AXES) {
    if (steps > 0 || found(p) >= MOST) return SQLITE_OK;
    int code = attune_row_list_collect(&p->wanted->rows, p->store, p->statement, MOST_ALIKE);
    int after = sqlite3_reset(p->statement);
    return code == SQLITE_OK ? after : code;
  }
  const int32_t centre = p->wanted->query->position->coordinates[axis];
  const int most = centre < 0 ? 0 : steps;
  int code = SQLITE_OK;
  for (int step = -most; step <= most && code == SQLITE_OK; step++) {
    if (centre >= 0 && centre + step < 0) continue; /* that would be where the axis does not apply */
    code = sqlite3_bind_int(p->statement, FIRST_AXIS + axis, centre + step);
    if (code == SQLITE_OK) code = walk(p, axis + 1, steps - abs(step));
  }
  return code;
}

static int find_near(attune_store *store, sqlite3 *db, void *data) {
  query_data *wanted = data;
  sqlite3_str *sql = sqlite3_str_new(db);
  append_where(sql, wanted->query);
  sqlite3_str_appendall(sql, " AND class = ?3");
  for (int i = 0; i < ATTUNE_AXES; i++)
    sqlite3_str_appendf(sql, " AND axis_%d = ?%d", i + 1, FIRST_AXIS + i);
  sqlite3_str_appendf(sql, " LIMIT %d", MOST_ALIKE);
  probe p = {.store = store, .wanted = wanted, .before = wanted->rows.count};
  int code = attune_prepare_built(&p.statement, db, sql);
  if (code == SQLITE_OK) code = bind_where(p.statement, wanted->query);
  if (code == SQLITE_OK) code = bind_text(p.statement, 3, wanted->query->position->class);
  for (int steps = 0; steps <= STEPS && code == SQLITE_OK && found(&p) < ENOUGH; steps++)
    code = walk(&p, 0, steps);
  int finalized = sqlite3_finalize(p.statement);
  if (code == SQLITE_OK) code = finalized;
  if (code != SQLITE_OK) attune_row_list_clear(&wanted->rows, p.before);
  return code;
}

attune_status attune_store_find_choices(attune_store *store, const attune_choice_query *query,
                                        attune_measurement_visit *visit, void *user) {
  if (!store || !query || !visit || (!query->problem && (!query->position || !query->arch))) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_find_choices: an argument is NULL, or the query has neither"
                                            " a problem nor a position and an architecture");
  }
  query_data wanted = {.query = query};
  attune_status status = attune_store_read(store, query->problem ? find_of_problem : find_near, &wanted);
  if (!status) attune_row_list_visit(&wanted.rows, visit, user);
  attune_row_list_clear(&wanted.rows, 0);
  return status;
}
