/* What version 2 of the file wrote, as it is written now: texts of problems and configs in today's words, which the
 * caller knows. */
#include <string.h>

#include "cache/store.h"

const char *attune_version_2_text(char out[ATTUNE_TRANSLATED_MAX], const char *text, attune_translate *translate) {
  return translate && translate(out, ATTUNE_TRANSLATED_MAX, text) ? out : text;
}

const char *attune_migrated_text(sqlite3_value *value) {
  return sqlite3_value_type(value) == SQLITE_NULL ? "" : (const char *)sqlite3_value_text(value);
}

static void text_function(sqlite3_context *context, int count, sqlite3_value **values) {
  char out[ATTUNE_TRANSLATED_MAX];
  attune_translate **translate = sqlite3_user_data(context);
  const char *text = attune_migrated_text(values[0]);
  (void)count;
  if (!text) {
    sqlite3_result_error_nomem(context);
    return;
  }
  const char *today = attune_version_2_text(out, text, *translate);
  if (today == text && *text)
    sqlite3_result_value(context, values[0]);
  else
    sqlite3_result_text(context, today, -1, SQLITE_TRANSIENT);
}

int attune_version_2_add_functions(sqlite3 *db, attune_translate **translate) {
  return sqlite3_create_function(db, "text_of_version_2", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, translate,
                                 text_function, NULL, NULL);
}

void attune_version_2_remove_functions(sqlite3 *db) {
  sqlite3_create_function(db, "text_of_version_2", 1, SQLITE_UTF8, NULL, NULL, NULL, NULL);
}
