/* Measurements: the fields, and one row in and out of SQL. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cache/store.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "samples are kept as little-endian doubles");

#define FIELD(name, kind, optional)                                                                                    \
  { #name, ATTUNE_FIELD_##kind, offsetof(attune_measurement, name), optional }
const attune_field attune_fields[] = {
    FIELD(problem, TEXT, false),       FIELD(device, TEXT, false),
    FIELD(arch, TEXT, false),          FIELD(policy, TEXT, false),
    FIELD(result_hash, TEXT, false),   FIELD(config, TEXT, false),
    FIELD(complexity, INTEGER, false), FIELD(status, STATUS, false),
    FIELD(verified, FLAG, false),      FIELD(median, REAL, false),
    FIELD(low, REAL, false),           FIELD(high, REAL, false),
    FIELD(error, ERROR, true),         FIELD(error_bound, ERROR, true),
    FIELD(compiler, TEXT, true),       FIELD(driver, TEXT, true),
    FIELD(clocks, TEXT, true),         FIELD(tool, TEXT, true),
    FIELD(note, TEXT, true),           FIELD(compile_seconds, REAL, true),
    FIELD(verify_seconds, REAL, true), FIELD(measure_seconds, REAL, true),
    FIELD(date, TEXT, false),          FIELD(samples, SAMPLES, false),
};
#undef FIELD
const int attune_field_count = sizeof attune_fields / sizeof *attune_fields;

static const char *const measured_names[ATTUNE_MEASURED_COUNT] = {
    "ok", "invalid", "compile_failed", "wrong_result", "launch_failed", "skipped",
};

const char *attune_measured_name(attune_measured status) {
  return (unsigned int)status < ATTUNE_MEASURED_COUNT ? measured_names[status] : "unknown";
}

bool attune_measured_parse(attune_measured *out, const char *name) {
  for (int i = 0; i < ATTUNE_MEASURED_COUNT; i++) {
    if (strcmp(name, measured_names[i]) != 0) continue;
    *out = (attune_measured)i;
    return true;
  }
  return false;
}

/* ---- one field of one row ---- */

static const void *place_of(const attune_measurement *row, const attune_field *field) {
  return (const char *)row + field->offset;
}

static const char *text_of(const attune_measurement *row, const attune_field *field) {
  const char *text = *(const char *const *)place_of(row, field);
  return text ? text : "";
}

/* "2026-11-23T10:04:05.678Z": texts of this shape, with as many digits, sort by time. */
static bool is_date(const char *text) {
  const char *shape = "dddd-dd-ddTdd:dd:dd";
  for (; *shape; shape++, text++) {
    if (*shape == 'd' ? *text < '0' || *text > '9' : *text != *shape) return false;
  }
  if (*text == '.') text += 1 + strspn(text + 1, "0123456789");
  return strcmp(text, "Z") == 0;
}

static bool is_quantity(double value) {
  return isfinite(value) && value >= 0;
}

static bool field_broken(const attune_measurement *row, const attune_field *field, const char **rule) {
  switch (field->kind) {
  case ATTUNE_FIELD_TEXT:
    *rule = "needs a date like 2026-11-23T10:04:05Z";
    return strcmp(field->name, "date") == 0 && row->date && !is_date(row->date);
  case ATTUNE_FIELD_REAL:
    *rule = "needs a finite number, 0 or more";
    return !is_quantity(*(const double *)place_of(row, field));
  case ATTUNE_FIELD_ERROR:
    *rule = "needs a number, 0 or more";
    return *(const double *)place_of(row, field) < 0;
  case ATTUNE_FIELD_STATUS:
    *rule = "needs one of the known statuses";
    return (unsigned int)row->status >= ATTUNE_MEASURED_COUNT;
  case ATTUNE_FIELD_SAMPLES:
    *rule = "needs finite numbers, 0 or more";
    if (row->sample_count < 0 || (row->sample_count > 0 && !row->samples)) return true;
    for (int i = 0; i < row->sample_count; i++) {
      if (!is_quantity(row->samples[i])) return true;
    }
    return false;
  case ATTUNE_FIELD_INTEGER:
  case ATTUNE_FIELD_FLAG:
    return false;
  }
  return false;
}

bool attune_measurement_broken(const attune_measurement *row, const char **field, const char **rule) {
  for (int i = 0; i < attune_field_count; i++) {
    *field = attune_fields[i].name;
    if (field_broken(row, &attune_fields[i], rule)) return true;
  }
  return false;
}

/* ---- in ---- */

void attune_fields_append(sqlite3_str *sql) {
  for (int i = 0; i < attune_field_count; i++) {
    sqlite3_str_appendf(sql, "%s%s", i ? ", " : "", attune_fields[i].name);
  }
}

void attune_select_append(sqlite3_str *sql, const char *table) {
  const bool marked = strcmp(table, "measurements") == 0; /* a choice is never outdated */
  sqlite3_str_appendf(sql, "SELECT id, %s, ", marked ? "outdated" : "0");
  attune_fields_append(sql);
  sqlite3_str_appendf(sql, " FROM %s", table);
}

int attune_prepare_built(sqlite3_stmt **out, sqlite3 *db, sqlite3_str *sql) {
  *out = NULL;
  char *text = sqlite3_str_finish(sql);
  if (!text) return SQLITE_NOMEM;
  int code = sqlite3_prepare_v2(db, text, -1, out, NULL);
  sqlite3_free(text);
  return code;
}

int attune_measurement_prepare_insert(sqlite3_stmt **out, sqlite3 *db, bool unique) {
  sqlite3_str *sql = sqlite3_str_new(db);
  sqlite3_str_appendall(sql, "INSERT INTO measurements (");
  attune_fields_append(sql);
  sqlite3_str_appendall(sql, ") SELECT ");
  for (int i = 0; i < attune_field_count; i++)
    sqlite3_str_appendf(sql, "%s?%d", i ? ", " : "", i + 1);
  if (unique) {
    sqlite3_str_appendall(sql, " WHERE NOT EXISTS (SELECT 1 FROM measurements WHERE ");
    for (int i = 0; i < attune_field_count; i++) {
      sqlite3_str_appendf(sql, "%s%s IS ?%d", i ? " AND " : "", attune_fields[i].name, i + 1);
    }
    sqlite3_str_appendall(sql, ")");
  }
  return attune_prepare_built(out, db, sql);
}

static int bind_field(sqlite3_stmt *insert, int at, const attune_measurement *row, const attune_field *field) {
  const void *place = place_of(row, field);
  switch (field->kind) {
  case ATTUNE_FIELD_TEXT:
    return sqlite3_bind_text(insert, at, text_of(row, field), -1, SQLITE_STATIC);
  case ATTUNE_FIELD_INTEGER:
    return sqlite3_bind_int(insert, at, *(const int32_t *)place);
  case ATTUNE_FIELD_FLAG:
    return sqlite3_bind_int(insert, at, *(const bool *)place);
  case ATTUNE_FIELD_ERROR:
    if (!isfinite(*(const double *)place)) return sqlite3_bind_null(insert, at);
    return sqlite3_bind_double(insert, at, *(const double *)place);
  case ATTUNE_FIELD_REAL:
    return sqlite3_bind_double(insert, at, *(const double *)place);
  case ATTUNE_FIELD_STATUS:
    return sqlite3_bind_text(insert, at, attune_measured_name(row->status), -1, SQLITE_STATIC);
  case ATTUNE_FIELD_SAMPLES:
    return sqlite3_bind_blob64(insert, at, row->sample_count ? (const void *)row->samples : "",
                               (sqlite3_uint64)row->sample_count * sizeof *row->samples, SQLITE_STATIC);
  }
  return SQLITE_MISUSE;
}

int attune_measurement_insert(sqlite3_stmt *insert, const attune_measurement *row) {
  int code = SQLITE_OK;
  for (int i = 0; i < attune_field_count && code == SQLITE_OK; i++) {
    code = bind_field(insert, i + 1, row, &attune_fields[i]);
  }
  if (code == SQLITE_OK) code = sqlite3_step(insert);
  int after = sqlite3_reset(insert);
  return code == SQLITE_DONE ? after : code;
}

/* ---- out ---- */

static void read_field(attune_measurement *row, const attune_field *field, sqlite3_stmt *from, int at, char **next) {
  void *place = (char *)row + field->offset;
  switch (field->kind) {
  case ATTUNE_FIELD_TEXT: {
    size_t size = (size_t)sqlite3_column_bytes(from, at);
    memcpy(*next, sqlite3_column_text(from, at), size);
    (*next)[size] = 0;
    *(char **)place = *next;
    *next += size + 1;
    break;
  }
  case ATTUNE_FIELD_INTEGER:
    *(int32_t *)place = sqlite3_column_int(from, at);
    break;
  case ATTUNE_FIELD_FLAG:
    *(bool *)place = sqlite3_column_int(from, at) != 0;
    break;
  case ATTUNE_FIELD_ERROR:
    *(double *)place = sqlite3_column_type(from, at) == SQLITE_NULL ? NAN : sqlite3_column_double(from, at);
    break;
  case ATTUNE_FIELD_REAL:
    *(double *)place = sqlite3_column_double(from, at);
    break;
  case ATTUNE_FIELD_STATUS: /* checked before */
    attune_measured_parse(place, (const char *)sqlite3_column_text(from, at));
    break;
  case ATTUNE_FIELD_SAMPLES:
    break;
  }
}

enum { FIRST_FIELD = 2 }; /* after id and outdated */

/* Bytes of the row's strings; *damaged where one is missing, or no status of that name is known. */
static int measure_texts(size_t *out, bool *damaged, sqlite3_stmt *from) {
  *out = 0;
  *damaged = false;
  for (int i = 0; i < attune_field_count; i++) {
    const attune_field_kind kind = attune_fields[i].kind;
    attune_measured ignored;
    if (kind != ATTUNE_FIELD_TEXT && kind != ATTUNE_FIELD_STATUS) continue;
    const char *text = (const char *)sqlite3_column_text(from, i + FIRST_FIELD);
    if (!text && sqlite3_errcode(sqlite3_db_handle(from)) == SQLITE_NOMEM) return SQLITE_NOMEM;
    if (!text || (kind == ATTUNE_FIELD_STATUS && !attune_measured_parse(&ignored, text))) *damaged = true;
    if (kind == ATTUNE_FIELD_TEXT) *out += (size_t)sqlite3_column_bytes(from, i + FIRST_FIELD) + 1;
  }
  return SQLITE_OK;
}

int attune_measurement_read(attune_measurement **out, sqlite3_stmt *from) {
  *out = NULL;
  size_t texts;
  bool damaged;
  int code = measure_texts(&texts, &damaged, from);
  if (code != SQLITE_OK) return code;
  const int last = FIRST_FIELD + attune_field_count - 1;
  const void *samples = sqlite3_column_blob(from, last);
  const size_t samples_size = (size_t)sqlite3_column_bytes(from, last);
  if (!samples && sqlite3_errcode(sqlite3_db_handle(from)) == SQLITE_NOMEM) return SQLITE_NOMEM;
  if (damaged || samples_size % sizeof(double) != 0) return SQLITE_OK;

  attune_measurement *row = malloc(sizeof *row + samples_size + texts);
  if (!row) return SQLITE_NOMEM;
  double *numbers = (double *)(row + 1);
  if (samples_size) memcpy(numbers, samples, samples_size);
  char *next = (char *)numbers + samples_size;
  row->id = sqlite3_column_int64(from, 0);
  row->database = 0;
  row->outdated = sqlite3_column_int(from, 1) != 0;
  row->samples = numbers;
  row->sample_count = (int32_t)(samples_size / sizeof(double));
  for (int i = 0; i < attune_field_count; i++)
    read_field(row, &attune_fields[i], from, i + FIRST_FIELD, &next);
  const char *field, *rule;
  if (attune_measurement_broken(row, &field, &rule))
    free(row); /* damaged */
  else
    *out = row;
  return SQLITE_OK;
}

int attune_statement_finish(sqlite3_stmt *statement, int code) {
  int finalized = sqlite3_finalize(statement);
  return code == SQLITE_DONE || code == SQLITE_ROW ? finalized : code;
}
