/* What the files of this module share. cache.h is the interface.
 *
 * A store is a stack of SQLite databases, asked from the top: the user file (or memory in its place), then the shipped
 * files. Only the top one is ever written. Everything below runs with the store's lock held. */
#ifndef ATTUNE_STORE_H
#define ATTUNE_STORE_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "cache/cache.h"
#include "generator/base/status.h"

/* ---- sqlite_error.c: what a SQLite result code means for a cache ---- */

typedef enum {
  ATTUNE_SQLITE_NONE,
  ATTUNE_SQLITE_MEMORY,   /* malloc failed: the one fault that is the caller's too */
  ATTUNE_SQLITE_DAMAGED,  /* not a database, or not one that its version describes */
  ATTUNE_SQLITE_DROPPED,  /* this row cannot be stored now (another process holds the lock, row too big); the next one
                            may  be */
  ATTUNE_SQLITE_UNUSABLE, /* the place cannot be written or read */
  ATTUNE_SQLITE_OLD,      /* made by an earlier version, or empty: to be migrated */
  ATTUNE_SQLITE_TOO_NEW,
  ATTUNE_SQLITE_FOREIGN, /* another program's database */
} attune_sqlite_error;
attune_sqlite_error attune_sqlite_error_of(int sqlite_code);
/* Why a call on db failed with that fault, in words; static or owned by db. */
const char *attune_sqlite_error_reason(sqlite3 *db, attune_sqlite_error fault);

/* ---- paths.c: paths and folders ---- */

/* *out is malloc'ed; NULL where there is no home folder to put a cache into. */
attune_status attune_path_choose(char **out, const char *explicit_path);
/* Makes the folders above path with mode 0700. Returns 0 or an errno. */
int attune_path_make_folders(const char *path);
/* Locks of WAL do not reach across machines. */
bool attune_path_on_network(const char *path);
/* NULL, or what stands at path that SQLite would block on or destroy: a folder, a FIFO, a device. */
const char *attune_path_not_a_file(const char *path);
/* Whether the open file, which SQLite finds damaged, was Attune's: it has the application_id, or the schema's text. */
bool attune_path_is_ours(sqlite3 *db, const char *path);
/* Whether only this user and root can change the open file: none of itself, its log and its folder belongs to or can be
 * written by somebody else, who can rename none of the folders above either. A database in memory is. */
bool attune_path_is_private(sqlite3 *db);
/* Renames a damaged file to NAME.damaged-N, *out (malloc'ed). If another process was faster, *out is NULL. Closes db.
 */
attune_status attune_path_set_aside(char **out, sqlite3 *db);
/* Somebody renamed or deleted the open file. */
bool attune_path_moved(sqlite3 *db);

/* ---- schema.c ---- */

enum { ATTUNE_SCHEMA_VERSION = 3 };
/* version may be NULL. */
attune_sqlite_error attune_schema_check(sqlite3 *db, int *version);
/* In one transaction: a file has its old version or the new one, whatever stops the process. translate may be NULL, as
 * everywhere below. */
attune_sqlite_error attune_schema_migrate(sqlite3 *db, attune_translate *translate);
/* Fills an empty database in memory with the measurements of the file of that earlier version at a "file:" address. */
attune_sqlite_error attune_schema_copy_old(sqlite3 *memory, const char *address, int version,
                                           attune_translate *translate);

/* ---- version_1.c ---- */

enum { ATTUNE_DEVICE_MAX = 512 };
/* device: shorter than ATTUNE_DEVICE_MAX. Any other text than version 1's comes out as it was. */
void attune_version_1_device(char out[ATTUNE_DEVICE_MAX], const char *device);
/* The SQL function device_of_version_1, for migrations. */
int attune_version_1_add_functions(sqlite3 *db);
void attune_version_1_remove_functions(sqlite3 *db);

/* ---- version_2.c ---- */

/* The text of a problem or config as it is today; text itself where there is nothing to translate, else out. */
enum { ATTUNE_TRANSLATED_MAX = 1024 };
/* Of a column that a migration reads; NULL without memory. Our columns are never NULL: of a damaged row it is "", which
 * no look-up asks for. */
const char *attune_migrated_text(sqlite3_value *value);
const char *attune_version_2_text(char out[ATTUNE_TRANSLATED_MAX], const char *text, attune_translate *translate);
/* The SQL function text_of_version_2, for migrations. *translate outlives it. */
int attune_version_2_add_functions(sqlite3 *db, attune_translate **translate);
void attune_version_2_remove_functions(sqlite3 *db);

/* ---- database.c: one file ---- */

enum { ATTUNE_BUSY_MILLISECONDS = 5000 }; /* how long a statement waits for other processes */

/* With DAMAGED, *out is still open, for attune_path_set_aside. With every other fault it is NULL. reason: for
 * UNUSABLE. */
attune_sqlite_error attune_database_open(sqlite3 **out, const char *path, attune_translate *translate,
                                         char reason[256]);
/* Never writes or creates anything. shipped: nobody else writes it either. */
attune_sqlite_error attune_database_open_reader(sqlite3 **out, const char *path, bool shipped,
                                                attune_translate *translate, char reason[256]);
attune_sqlite_error attune_database_open_memory(sqlite3 **out);
/* One step of work on one database; returns a SQLite code. It may run again after a fault, so it starts its results
 * anew. */
typedef int attune_store_step(attune_store *store, sqlite3 *db, void *data);
/* Runs a step in one transaction, and repairs nothing. */
int attune_store_transact(attune_store *store, sqlite3 *db, attune_store_step *step, void *data);

/* ---- store.c: the stack ---- */

struct attune_store {
  pthread_mutex_t lock;
  char *path; /* the user file, or ":memory:" */
  bool frozen;
  attune_locate *locate;       /* may be NULL */
  attune_translate *translate; /* may be NULL */
  int64_t cache_limit;         /* bytes of binaries */
  int64_t damaged;             /* rows and files, since the store was opened */
  int set_aside;               /* files, since the store was opened */
  bool required;               /* what the user's file cannot do fails */
  atomic_bool forgetful;       /* memory stands in for a file that cannot be used */
  atomic_bool warned;          /* warning is set, and never changes again */
  char warning[1024];
  sqlite3 *top;      /* written; NULL if frozen, or if there was no memory to reopen it */
  sqlite3 **readers; /* asked after it; allocated for the shipped files and one more */
  int reader_count;
  int own_readers; /* how many of them, from the first, are the user's file */
};

__attribute__((format(printf, 2, 3))) void attune_store_warn(attune_store *store, const char *format, ...);
/* Opens what is at the path now, or memory in its place; ATTUNE_OUT_OF_MEMORY only. */
attune_status attune_store_reopen(attune_store *store);
/* Sets the top file aside, which a step has found to be damaged, and starts a new one. */
attune_status attune_store_rebuild(attune_store *store);
/* Goes on in memory; the file is still asked. */
attune_status attune_store_stop_writing(attune_store *store);

/* ---- transaction.c: running steps, and what happens when a file fails under them ---- */

/* Runs step on each database from the top until it returns SQLITE_DONE. Faults cost what the database held, not the
 * call. */
attune_status attune_store_read(attune_store *store, attune_store_step *step, void *data);
/* Runs step in one transaction on the top database. Unless required, faults cost what was to be written, not the call.
 */
attune_status attune_store_write(attune_store *store, attune_store_step *step, void *data, bool required);

/* ---- measurement.c: one table of fields drives SQL and JSON ---- */

typedef enum {
  ATTUNE_FIELD_TEXT,
  ATTUNE_FIELD_INTEGER,
  ATTUNE_FIELD_FLAG,
  ATTUNE_FIELD_REAL,  /* finite, not negative */
  ATTUNE_FIELD_ERROR, /* the same, or NaN for "not a number was computed", which is stored as NULL */
  ATTUNE_FIELD_STATUS,
  ATTUNE_FIELD_SAMPLES, /* samples and sample_count; a BLOB of doubles in the database */
} attune_field_kind;
typedef struct {
  const char *name;
  attune_field_kind kind;
  size_t offset; /* in attune_measurement */
  bool optional; /* in JSON: absent is "" or 0 */
} attune_field;
extern const attune_field attune_fields[];
extern const int attune_field_count;

/* The first rule that the row breaks: *field and *rule are static texts; false if there is none. */
bool attune_measurement_broken(const attune_measurement *row, const char **field, const char **rule);
bool attune_measured_parse(attune_measured *out, const char *name);
/* A statement that inserts one row; with unique, only if no row is the same in all but the id. */
int attune_measurement_prepare_insert(sqlite3_stmt **out, sqlite3 *db, bool unique);
int attune_measurement_insert(sqlite3_stmt *insert, const attune_measurement *row);

/* Appends the names of the fields, separated by commas. */
void attune_fields_append(sqlite3_str *sql);
/* Appends "SELECT id, ... FROM table": the columns that attune_measurement_read reads. */
void attune_select_append(sqlite3_str *sql, const char *table);
/* *out is one malloc'ed block, or NULL for a damaged row. */
int attune_measurement_read(attune_measurement **out, sqlite3_stmt *from);
/* Prepares and frees what sqlite3_str_finish gives. */
int attune_prepare_built(sqlite3_stmt **out, sqlite3 *db, sqlite3_str *sql);
/* Finalizes a statement whose last call gave the code. SQLITE_OK, or the first fault. */
int attune_statement_finish(sqlite3_stmt *statement, int code);

/* ---- rows.c: rows in memory, so that no lock is held while a caller looks at them ---- */

typedef struct {
  attune_measurement **rows; /* one malloc'ed block each */
  int count, capacity;
} attune_row_list;
/* Steps through a statement that begins with attune_select_append and appends its rows; at most most of them.
 * Damaged rows are counted and left out. After a fault the rows are as they were before. */
int attune_row_list_collect(attune_row_list *rows, attune_store *store, sqlite3_stmt *statement, int most);
/* Appends the rows of the table that match, in that order. */
int attune_row_list_select(attune_row_list *rows, attune_store *store, sqlite3 *db, const char *table,
                           const attune_measurement_filter *filter, const char *order);
void attune_row_list_visit(const attune_row_list *rows, attune_measurement_visit *visit, void *user);
void attune_row_list_clear(attune_row_list *rows, int keep);
/* Appends " WHERE problem = ?1 AND ..." for the filter's texts; then binds them. */
void attune_filter_append(sqlite3_str *sql, const attune_measurement_filter *filter);
int attune_filter_bind(sqlite3_stmt *statement, const attune_measurement_filter *filter);
/* 0: the top; then the readers in their order. */
int attune_store_number_of(const attune_store *store, const sqlite3 *db);

/* ---- choice.c: the rule, and the table that keeps what it says ---- */

/* Candidates that take no longer than ?3 of the problem ?1 and the device ?2, which attune_choice_bind binds; at most
 * ?4. What follows the columns. */
extern const char attune_alternatives_sql[];
int attune_choice_bind(sqlite3_stmt *statement, const char *problem, const char *device);
/* id: the row to choose; 0: by the rule. */
int attune_choice_set(sqlite3 *db, attune_locate *locate, const char *problem, const char *device, int64_t id);
/* Chooses anew for one problem and device, in the transaction that changed their rows. */
int attune_choice_refresh(sqlite3 *db, attune_locate *locate, const char *problem, const char *device);
/* Problems and devices. */
typedef struct {
  char *problem, *device; /* one malloc'ed block, at problem */
} attune_key;
typedef struct {
  attune_key *keys;
  int count, capacity;
} attune_key_list;
/* The rows of a statement, which it finalizes; prepared: the code that its preparation gave. The list is to be freed
 * whatever comes back. */
int attune_key_list_read(attune_key_list *out, sqlite3_stmt *statement, int prepared);
void attune_key_list_free(attune_key_list *list);
int attune_choices_refresh(sqlite3 *db, attune_locate *locate, const attune_key_list *keys);
int attune_choices_refresh_all(sqlite3 *db);
/* Gives a position to the choices that were stored without. */
int attune_choices_locate(sqlite3 *db, attune_locate *locate);

#endif
