/* What version 1 of the file wrote, as it is written now. Rows keep what they had: the hash of the generator stays in
 * result_hash with "v1:" before it, and a device's old text in version_1_devices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/store.h"

/* The last three fields were "|%d shared|%lld L2|%lld memory", in bytes. Shared memory follows from the architecture,
 * and drivers differ in a few MiB of what memory they report. */
void attune_version_1_device(char out[ATTUNE_DEVICE_MAX], const char *device) {
  enum { FIELDS = 3 };
  const char *tail = device + strlen(device);
  for (int i = 0; i < FIELDS; i++) {
    do {
      if (tail == device) break;
      tail--;
    } while (*tail != '|');
  }
  int shared, end = 0;
  long long l2, memory;
  if (sscanf(tail, "|%d shared|%lld L2|%lld memory%n", &shared, &l2, &memory, &end) == FIELDS && end > 0 &&
      tail[end] == '\0' && l2 >= 0 && memory >= 0) {
    snprintf(out, ATTUNE_DEVICE_MAX, "%.*s|%lld MiB L2|%lld GiB", (int)(tail - device), device, (l2 + (1 << 19)) >> 20,
             (memory + (1 << 29)) >> 30);
  } else {
    snprintf(out, ATTUNE_DEVICE_MAX, "%s", device);
  }
}

static void device_function(sqlite3_context *context, int count, sqlite3_value **values) {
  char device[ATTUNE_DEVICE_MAX];
  const char *text = attune_migrated_text(values[0]);
  (void)count;
  if (!text) {
    sqlite3_result_error_nomem(context);
    return;
  }
  if (strlen(text) >= sizeof device) {
    sqlite3_result_value(context, values[0]); /* none of ours */
    return;
  }
  attune_version_1_device(device, text);
  sqlite3_result_text(context, device, -1, SQLITE_TRANSIENT);
}

int attune_version_1_add_functions(sqlite3 *db) {
  return sqlite3_create_function(db, "device_of_version_1", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                 device_function, NULL, NULL);
}

void attune_version_1_remove_functions(sqlite3 *db) {
  sqlite3_create_function(db, "device_of_version_1", 1, SQLITE_UTF8, NULL, NULL, NULL, NULL);
}
