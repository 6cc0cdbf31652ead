#include "cache/store.h"

#include <string.h>

attune_sqlite_error attune_sqlite_error_of(int sqlite_code) {
  if (sqlite_code == SQLITE_IOERR_NOMEM) return ATTUNE_SQLITE_MEMORY;
  switch (sqlite_code & 0xff) {
  case SQLITE_OK:
  case SQLITE_ROW:
  case SQLITE_DONE:
    return ATTUNE_SQLITE_NONE;
  case SQLITE_NOMEM:
    return ATTUNE_SQLITE_MEMORY;
  case SQLITE_ERROR: /* no such table or column: the file is not what its version says */
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
  case SQLITE_FORMAT:
  case SQLITE_MISMATCH:
  case SQLITE_CONSTRAINT:
    return ATTUNE_SQLITE_DAMAGED;
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
  case SQLITE_PROTOCOL:
  case SQLITE_TOOBIG:
    return ATTUNE_SQLITE_DROPPED;
  default:
    return ATTUNE_SQLITE_UNUSABLE;
  }
}

const char *attune_sqlite_error_reason(sqlite3 *db, attune_sqlite_error fault) {
  /* By the fault alone, since a rollback has reset what db remembers of it. */
  if (fault == ATTUNE_SQLITE_DROPPED)
    return (sqlite3_errcode(db) & 0xff) == SQLITE_TOOBIG ? "the row is too big" : "it is locked by another process";
  int number = sqlite3_system_errno(db);
  const char *text = number ? strerrordesc_np(number) : NULL;
  return text ? text : sqlite3_errmsg(db);
}
