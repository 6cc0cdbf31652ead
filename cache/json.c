/* Measurements as JSON. The same rows always give the same bytes: sorted, each on its own line, doubles with 17 digits.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/store.h"

static const char format_name[] = "attune-measurements";
enum { FORMAT_VERSION = 3 };

/* ---- out ---- */

/* JSON is UTF-8; a text that is not gets '?' for what is beyond ASCII. */
static json_t *json_of_text(const char *text) {
  json_t *json = json_string(text);
  if (json) return json;
  char *ascii = strdup(text);
  if (!ascii) return NULL;
  for (char *c = ascii; *c; c++) {
    if ((unsigned char)*c > 127) *c = '?';
  }
  json = json_string(ascii);
  free(ascii);
  return json;
}

static json_t *json_of_samples(const attune_measurement *row) {
  json_t *array = json_array();
  for (int i = 0; array && i < row->sample_count; i++) {
    if (json_array_append_new(array, json_real(row->samples[i])) == 0) continue;
    json_decref(array);
    array = NULL;
  }
  return array;
}

static json_t *json_of_field(const attune_measurement *row, const attune_field *field) {
  const void *place = (const char *)row + field->offset;
  switch (field->kind) {
  case ATTUNE_FIELD_TEXT:
    return json_of_text(*(const char *const *)place);
  case ATTUNE_FIELD_INTEGER:
    return json_integer(*(const int32_t *)place);
  case ATTUNE_FIELD_FLAG:
    return json_boolean(*(const bool *)place);
  case ATTUNE_FIELD_ERROR:
    return isfinite(*(const double *)place) ? json_real(*(const double *)place) : json_null();
  case ATTUNE_FIELD_REAL:
    return json_real(*(const double *)place);
  case ATTUNE_FIELD_STATUS:
    return json_string(attune_measured_name(row->status));
  case ATTUNE_FIELD_SAMPLES:
    return json_of_samples(row);
  }
  return NULL;
}

static char *text_of_row(const attune_measurement *row) {
  json_t *object = json_object();
  bool good = object != NULL;
  for (int i = 0; good && i < attune_field_count; i++) {
    good = json_object_set_new(object, attune_fields[i].name, json_of_field(row, &attune_fields[i])) == 0;
  }
  char *text = good ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
  json_decref(object);
  return text;
}

static int compare_texts(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts the lines, leaves out repeated ones, and joins them to a document. */
static char *join_lines(char **lines, int count) {
  qsort(lines, (size_t)count, sizeof *lines, compare_texts);
  char *text = NULL;
  size_t size;
  FILE *stream = open_memstream(&text, &size);
  if (!stream) return NULL;
  fprintf(stream, "{\"format\":\"%s\",\"version\":%d,\"measurements\":[", format_name, FORMAT_VERSION);
  for (int i = 0; i < count; i++) {
    if (i > 0 && strcmp(lines[i - 1], lines[i]) == 0) continue;
    fprintf(stream, "%s\n%s", i ? "," : "", lines[i]);
  }
  fprintf(stream, "\n]}\n");
  bool failed = ferror(stream) != 0;
  if (fclose(stream) == 0 && !failed) return text;
  free(text);
  return NULL;
}

typedef struct {
  const attune_measurement_filter *filter;
  attune_row_list rows;
} export_data;

static int select_rows(attune_store *store, sqlite3 *db, void *data) {
  export_data *export = data;
  return attune_row_list_select(&export->rows, store, db, "measurements", export->filter, "id");
}

static char *text_of_rows(const attune_row_list *rows) {
  char *text = NULL;
  char **lines = calloc((size_t)rows->count + 1, sizeof *lines);
  if (!lines) return NULL;
  int count = 0;
  while (count < rows->count && (lines[count] = text_of_row(rows->rows[count])))
    count++;
  if (count == rows->count) text = join_lines(lines, count);
  for (int i = 0; i < count; i++)
    free(lines[i]);
  free(lines);
  return text;
}

attune_status attune_store_export(attune_store *store, const attune_measurement_filter *filter, char **json) {
  if (!store || !json) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_export: an argument is NULL");
  *json = NULL;
  export_data export = {.filter = filter};
  attune_status status = attune_store_read(store, select_rows, &export);
  if (!status && !(*json = text_of_rows(&export.rows)))
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory left for the JSON of %d measurements", export.rows.count);
  attune_row_list_clear(&export.rows, 0);
  return status;
}

/* ---- in ---- */

typedef struct {
  attune_measurement *rows; /* their texts belong to the document */
  int count;
  int64_t added;
} import_data;

static attune_status wrong_shape(int index, const char *field, const char *rule) {
  return attune_fail(ATTUNE_BAD_JSON, "measurements[%d].%s: %s", index, field, rule);
}

static attune_status read_samples(attune_measurement *row, const json_t *array, int index) {
  if (!json_is_array(array)) return wrong_shape(index, "samples", "needs an array of numbers");
  size_t count = json_array_size(array);
  double *samples = malloc((count + 1) * sizeof *samples);
  if (!samples) return attune_fail(ATTUNE_OUT_OF_MEMORY, "needs memory for %zu samples", count);
  row->samples = samples;
  for (size_t i = 0; i < count; i++) {
    const json_t *item = json_array_get(array, i);
    if (!json_is_number(item)) return wrong_shape(index, "samples", "needs an array of numbers");
    samples[i] = json_number_value(item);
  }
  row->sample_count = (int32_t)count;
  return ATTUNE_OK;
}

static attune_status read_field(attune_measurement *row, const attune_field *field, const json_t *value, int index) {
  void *place = (char *)row + field->offset;
  switch (field->kind) {
  case ATTUNE_FIELD_TEXT:
    if (!json_is_string(value)) return wrong_shape(index, field->name, "needs a text");
    *(const char **)place = json_string_value(value);
    return ATTUNE_OK;
  case ATTUNE_FIELD_INTEGER:
    if (!json_is_integer(value) || json_integer_value(value) < INT32_MIN || json_integer_value(value) > INT32_MAX) {
      return wrong_shape(index, field->name, "needs an integer of 32 bits");
    }
    *(int32_t *)place = (int32_t)json_integer_value(value);
    return ATTUNE_OK;
  case ATTUNE_FIELD_FLAG:
    if (!json_is_boolean(value)) return wrong_shape(index, field->name, "needs true or false");
    *(bool *)place = json_is_true(value);
    return ATTUNE_OK;
  case ATTUNE_FIELD_ERROR:
    if (!json_is_number(value) && !json_is_null(value)) {
      return wrong_shape(index, field->name, "needs a number or null");
    }
    *(double *)place = json_is_null(value) ? NAN : json_number_value(value);
    return ATTUNE_OK;
  case ATTUNE_FIELD_REAL:
    if (!json_is_number(value)) return wrong_shape(index, field->name, "needs a number");
    *(double *)place = json_number_value(value);
    return ATTUNE_OK;
  case ATTUNE_FIELD_STATUS:
    if (!json_is_string(value) || !attune_measured_parse(place, json_string_value(value))) {
      return wrong_shape(index, field->name, "needs \"ok\", \"invalid\" or another known status");
    }
    return ATTUNE_OK;
  case ATTUNE_FIELD_SAMPLES:
    return read_samples(row, value, index);
  }
  return ATTUNE_OK;
}

static bool is_field(const char *name) {
  for (int i = 0; i < attune_field_count; i++) {
    if (strcmp(attune_fields[i].name, name) == 0) return true;
  }
  return false;
}

/* What version 1 said otherwise. */
static attune_status upgrade_version_1(json_t *object, int index) {
  char device[ATTUNE_DEVICE_MAX];
  const char *hash = json_string_value(json_object_get(object, "generator"));
  const char *was = json_string_value(json_object_get(object, "device"));
  if (json_object_get(object, "result_hash")) return wrong_shape(index, "result_hash", "is no field of version 1");
  if (!hash) return wrong_shape(index, "generator", "needs a text");
  if (!was) return wrong_shape(index, "device", "needs a text");
  if (json_object_set_new(object, "result_hash", json_sprintf("v1:%s", hash)) != 0 ||
      json_object_del(object, "generator") != 0)
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory left for measurements[%d]", index);
  if (strlen(was) >= sizeof device) return ATTUNE_OK;
  attune_version_1_device(device, was);
  if (json_object_set_new(object, "device", json_string(device)) == 0) return ATTUNE_OK;
  return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory left for measurements[%d]", index);
}

/* Versions 1 and 2 have problems and configs in other words. */
static attune_status translate_text(json_t *object, const char *name, int index, attune_translate *translate) {
  char out[ATTUNE_TRANSLATED_MAX];
  const char *was = json_string_value(json_object_get(object, name));
  if (!was) return wrong_shape(index, name, "needs a text");
  const char *today = attune_version_2_text(out, was, translate);
  if (today == was || json_object_set_new(object, name, json_string(today)) == 0) return ATTUNE_OK;
  return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory left for measurements[%d]", index);
}

static attune_status upgrade_row(json_t *object, int index, int version, attune_translate *translate) {
  attune_status status = version < 2 ? upgrade_version_1(object, index) : ATTUNE_OK;
  if (status == ATTUNE_OK && version < 3) status = translate_text(object, "problem", index, translate);
  if (status == ATTUNE_OK && version < 3) status = translate_text(object, "config", index, translate);
  return status;
}

static attune_status read_row(attune_measurement *row, json_t *object, int index, int version,
                              attune_translate *translate) {
  if (!json_is_object(object)) return attune_fail(ATTUNE_BAD_JSON, "measurements[%d]: needs an object", index);
  const attune_status upgraded = upgrade_row(object, index, version, translate);
  if (upgraded) return upgraded;
  const char *name;
  json_t *value;
  json_object_foreach(object, name, value) {
    if (!is_field(name)) return wrong_shape(index, name, "is no field of a measurement");
  }
  for (int i = 0; i < attune_field_count; i++) {
    value = json_object_get(object, attune_fields[i].name);
    if (!value && attune_fields[i].optional) continue;
    if (!value) return wrong_shape(index, attune_fields[i].name, "is missing");
    attune_status status = read_field(row, &attune_fields[i], value, index);
    if (status) return status;
  }
  const char *field, *rule;
  return attune_measurement_broken(row, &field, &rule) ? wrong_shape(index, field, rule) : ATTUNE_OK;
}

static attune_status read_document(import_data *import, const json_t *root, attune_translate *translate) {
  const char *format = json_string_value(json_object_get(root, "format"));
  const json_t *version = json_object_get(root, "version");
  const json_t *rows = json_object_get(root, "measurements");
  if (!format || strcmp(format, format_name) != 0) {
    return attune_fail(ATTUNE_BAD_JSON, "needs an object with \"format\": \"%s\"", format_name);
  }
  if (!json_is_integer(version) || json_integer_value(version) < 1 || json_integer_value(version) > FORMAT_VERSION) {
    return attune_fail(ATTUNE_BAD_JSON, "\"version\" is %" JSON_INTEGER_FORMAT ", this Attune reads 1 to %d",
                       json_integer_value(version), FORMAT_VERSION);
  }
  if (!json_is_array(rows)) return attune_fail(ATTUNE_BAD_JSON, "\"measurements\" needs to be an array");
  size_t count = json_array_size(rows);
  if (count > INT32_MAX) return attune_fail(ATTUNE_BAD_JSON, "has %zu measurements, takes %d", count, INT32_MAX);
  import->rows = calloc(count + 1, sizeof *import->rows);
  if (!import->rows) return attune_fail(ATTUNE_OUT_OF_MEMORY, "needs memory for %zu measurements", count);
  import->count = (int)count;
  for (int i = 0; i < import->count; i++) {
    attune_status status =
        read_row(&import->rows[i], json_array_get(rows, (size_t)i), i, (int)json_integer_value(version), translate);
    if (status) return status;
  }
  return ATTUNE_OK;
}

static int refresh_after(attune_store *store, sqlite3 *db, int64_t last) {
  sqlite3_stmt *statement;
  attune_key_list keys;
  int code =
      sqlite3_prepare_v2(db, "SELECT DISTINCT problem, device FROM measurements WHERE id > ?1", -1, &statement, NULL);
  if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 1, last);
  code = attune_key_list_read(&keys, statement, code);
  if (code == SQLITE_OK) code = attune_choices_refresh(db, store->locate, &keys);
  attune_key_list_free(&keys);
  return code;
}

static int insert_rows(attune_store *store, sqlite3 *db, void *data) {
  import_data *import = data;
  import->added = 0;
  int64_t last = 0;
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db, "SELECT max(id) FROM measurements", -1, &statement, NULL);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  if (code == SQLITE_ROW) last = sqlite3_column_int64(statement, 0);
  int finalized = sqlite3_finalize(statement);
  if (code != SQLITE_ROW) return code;
  if (finalized != SQLITE_OK) return finalized;

  code = attune_measurement_prepare_insert(&statement, db, true);
  for (int i = 0; i < import->count && code == SQLITE_OK; i++) {
    code = attune_measurement_insert(statement, &import->rows[i]);
    if (code == SQLITE_OK) import->added += sqlite3_changes(db);
  }
  sqlite3_finalize(statement);
  return code == SQLITE_OK ? refresh_after(store, db, last) : code;
}

attune_status attune_store_import(attune_store *store, const char *json, size_t size, int64_t *added) {
  if (!store || !json) return attune_fail(ATTUNE_BAD_ARGUMENT, "attune_store_import: an argument is NULL");
  json_error_t error;
  json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
  if (!root && json_error_code(&error) == json_error_out_of_memory) {
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory left for %zu bytes of JSON", size);
  }
  if (!root) return attune_fail(ATTUNE_BAD_JSON, "line %d, column %d: %s", error.line, error.column, error.text);
  import_data import = {0};
  attune_status status = read_document(&import, root, store->translate);
  if (!status) status = attune_store_write(store, insert_rows, &import, true);
  if (!status && added) *added = import.added;
  for (int i = 0; i < import.count; i++)
    free((void *)import.rows[i].samples);
  free(import.rows);
  json_decref(root);
  return status;
}
