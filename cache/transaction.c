/* Runs steps of work, and repairs what fails under them. */
#include "cache/store.h"

#include <string.h>

/* Room for one retry after each kind of repair. */
enum { ATTEMPTS = 4 };

static attune_status out_of_memory(void) {
  return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory left for the store");
}

static bool top_is_file(const attune_store *store) {
  return store->top && !atomic_load(&store->forgetful) && strcmp(store->path, ":memory:") != 0;
}

/* What a fault at the top is answered with; *again if the step may be tried once more. */
static attune_status repair_top(attune_store *store, attune_sqlite_error fault, bool required, bool *again) {
  *again = false;
  const char *reason = attune_sqlite_error_reason(store->top, fault);
  if (fault == ATTUNE_SQLITE_MEMORY || !top_is_file(store)) return out_of_memory();
  if (fault == ATTUNE_SQLITE_DAMAGED) {
    *again = true;
    return attune_store_rebuild(store);
  }
  if (required) return attune_fail(ATTUNE_STORE_FAILED, "cannot write %s: %s", store->path, reason);
  if (fault == ATTUNE_SQLITE_DROPPED) {
    attune_store_warn(store, "cannot write %s: %s; something of this run is not remembered", store->path, reason);
    return ATTUNE_OK;
  }
  attune_store_warn(store, "cannot write %s: %s; this run is not remembered", store->path, reason);
  *again = true;
  return attune_store_stop_writing(store);
}

static attune_status write_top(attune_store *store, attune_store_step *step, void *data, bool required) {
  attune_status status = ATTUNE_OK;
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (!store->top || (top_is_file(store) && attune_path_moved(store->top))) status = attune_store_reopen(store);
    if (status) return status;
    if (required && atomic_load(&store->forgetful)) {
      return attune_fail(ATTUNE_STORE_FAILED, "%s", attune_store_warning(store));
    }
    attune_sqlite_error fault = attune_sqlite_error_of(attune_store_transact(store, store->top, step, data));
    if (fault == ATTUNE_SQLITE_NONE) return ATTUNE_OK;
    bool again;
    status = repair_top(store, fault, required, &again);
    if (status || !again) return status;
  }
  return ATTUNE_OK;
}

attune_status attune_store_write(attune_store *store, attune_store_step *step, void *data, bool required) {
  if (store->frozen) {
    if (!required) return ATTUNE_OK;
    return attune_fail(ATTUNE_STORE_FAILED, "the store %s is frozen; open it without to change it", store->path);
  }
  pthread_mutex_lock(&store->lock);
  attune_status status = write_top(store, step, data, required);
  pthread_mutex_unlock(&store->lock);
  return status;
}

/* *done: the step has what it looked for. */
static attune_status read_top(attune_store *store, attune_store_step *step, void *data, bool *done) {
  if (!store->top && !store->frozen) {
    attune_status status = attune_store_reopen(store);
    if (status) return status;
  }
  if (!store->top) return ATTUNE_OK;
  int code = step(store, store->top, data);
  *done = code == SQLITE_DONE;
  const attune_sqlite_error fault = attune_sqlite_error_of(code);
  switch (fault) {
  case ATTUNE_SQLITE_NONE:
    return ATTUNE_OK;
  case ATTUNE_SQLITE_MEMORY:
    return out_of_memory();
  case ATTUNE_SQLITE_DAMAGED:
    if (top_is_file(store)) return attune_store_rebuild(store);
    return attune_store_reopen(store);
  default:
    attune_store_warn(store, "cannot read %s: %s", store->path, attune_sqlite_error_reason(store->top, fault));
    return ATTUNE_OK;
  }
}

static attune_status read_all(attune_store *store, attune_store_step *step, void *data) {
  bool done = false;
  attune_status status = read_top(store, step, data, &done);
  for (int i = 0; !status && !done && i < store->reader_count; i++) {
    int code = step(store, store->readers[i], data);
    attune_sqlite_error fault = attune_sqlite_error_of(code);
    if (fault == ATTUNE_SQLITE_MEMORY) return out_of_memory();
    done = code == SQLITE_DONE;
    if (fault != ATTUNE_SQLITE_NONE) {
      attune_store_warn(store, "cannot read %s: %s", sqlite3_db_filename(store->readers[i], "main"),
                        sqlite3_errmsg(store->readers[i]));
    }
  }
  return status;
}

attune_status attune_store_read(attune_store *store, attune_store_step *step, void *data) {
  pthread_mutex_lock(&store->lock);
  attune_status status = read_all(store, step, data);
  pthread_mutex_unlock(&store->lock);
  return status;
}
