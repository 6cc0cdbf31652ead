/* The file format, as the SQL that makes it. README.md says what each column means.
 *
 * A change of format is one more entry in steps[] and ATTUNE_SCHEMA_VERSION + 1; entries that were released never
 * change. */
#include "cache/store.h"

#include <string.h>

enum { APPLICATION_ID = 0x4174756e }; /* "Atun" */

static const char version_1[] =
    "CREATE TABLE kernels ("
    "  key TEXT NOT NULL PRIMARY KEY,"
    "  config TEXT NOT NULL, arch TEXT NOT NULL, compiler TEXT NOT NULL, options TEXT NOT NULL,"
    "  source_sha256 TEXT NOT NULL,"
    "  registers INTEGER NOT NULL, shared_static INTEGER NOT NULL, spill_bytes INTEGER NOT NULL,"
    "  compile_seconds REAL NOT NULL,"
    "  created TEXT NOT NULL, last_used INTEGER NOT NULL,"
    "  binary_size INTEGER NOT NULL, binary_sha256 TEXT NOT NULL,"
    "  log TEXT NOT NULL, binary BLOB NOT NULL);"
    "CREATE INDEX kernels_by_use ON kernels (last_used, binary_size);"

    "CREATE TABLE measurements ("
    "  id INTEGER PRIMARY KEY,"
    "  problem TEXT NOT NULL, device TEXT NOT NULL, arch TEXT NOT NULL, policy TEXT NOT NULL,"
    "  generator TEXT NOT NULL, config TEXT NOT NULL, complexity INTEGER NOT NULL,"
    "  status TEXT NOT NULL, verified INTEGER NOT NULL,"
    "  median REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,"
    "  error REAL, error_bound REAL,"
    "  compiler TEXT NOT NULL, driver TEXT NOT NULL, clocks TEXT NOT NULL, tool TEXT NOT NULL, note TEXT NOT NULL,"
    "  compile_seconds REAL NOT NULL, verify_seconds REAL NOT NULL, measure_seconds REAL NOT NULL,"
    "  date TEXT NOT NULL, samples BLOB NOT NULL);"
    "CREATE INDEX measurements_by_problem ON measurements (problem, device, generator, config);"

    /* Candidates: verified rows that no newer row of the same config replaces (same policy) or refutes (it failed).
     * Then the fastest, real before modelled; then, among those whose median lies within the fastest one's interval,
     * the simplest (a wide interval of its own is no merit: it may only mean that the device changed its clocks
     * meanwhile). One window a SELECT, its partition starting with the three key columns: only so does SQLite apply a
     * filter on them before everything else. */
    "CREATE VIEW choices AS"
    " WITH candidate AS ("
    "  SELECT id, problem, device, generator, config, complexity, policy, median, high,"
    "         policy = 'model' AS modelled,"
    "         min(policy = 'model') OVER (PARTITION BY problem, device, generator) AS best_modelled"
    "  FROM measurements AS this"
    "  WHERE status = 'ok' AND verified AND median > 0 AND NOT EXISTS ("
    "   SELECT 1 FROM measurements AS newer"
    "   WHERE newer.problem = this.problem AND newer.device = this.device"
    "   AND newer.generator = this.generator AND newer.config = this.config"
    "   AND (newer.date > this.date OR newer.date = this.date AND newer.id > this.id)"
    "   AND (newer.status NOT IN ('ok', 'skipped')"
    "        OR newer.policy = this.policy AND newer.status = 'ok' AND newer.verified AND newer.median > 0))),"
    " compared AS ("
    "  SELECT *, first_value(max(high, median)) OVER key AS best_reach,"
    "         count(*) OVER key AS candidates, max(median) OVER key AS slowest"
    "  FROM candidate WHERE modelled = best_modelled"
    "  WINDOW key AS (PARTITION BY problem, device, generator ORDER BY median, complexity, config, policy"
    "                 ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)),"
    " tied AS ("
    "  SELECT *, row_number() OVER (PARTITION BY problem, device, generator"
    "                               ORDER BY complexity, config, policy) AS place"
    "  FROM compared WHERE median <= best_reach)"
    " SELECT row.id, tied.problem, tied.device, tied.generator, row.config, row.median * 1e6 AS microseconds,"
    "        slowest * 1e6 AS slowest_microseconds, candidates, row.policy, arch, row.complexity, status, verified,"
    "        row.median, row.low, row.high, error, error_bound, compiler, driver, clocks, tool, note,"
    "        compile_seconds, verify_seconds, measure_seconds, date, samples"
    " FROM tied JOIN measurements AS row ON row.id = tied.id WHERE place = 1;";

/* Columns of version 1 that nothing reads any more (generator) stay: a process of version 1 that has the file open
 * while it is migrated goes on without taking it for damaged. */
static const char version_2[] =
    "CREATE TABLE version_1_devices (was TEXT NOT NULL PRIMARY KEY, device TEXT NOT NULL);"
    "INSERT INTO version_1_devices"
    " SELECT DISTINCT device, device_of_version_1(device) FROM measurements"
    " WHERE device <> device_of_version_1(device);"

    "ALTER TABLE kernels ADD COLUMN library TEXT NOT NULL DEFAULT '';"
    "CREATE INDEX kernels_by_config ON kernels (config, arch, library);"

    "DROP VIEW choices;"
    "DROP INDEX measurements_by_problem;"
    "CREATE TABLE measurements_2 ("
    "  id INTEGER PRIMARY KEY,"
    "  problem TEXT NOT NULL, device TEXT NOT NULL, arch TEXT NOT NULL, policy TEXT NOT NULL,"
    "  result_hash TEXT NOT NULL DEFAULT '', config TEXT NOT NULL, complexity INTEGER NOT NULL,"
    "  status TEXT NOT NULL, verified INTEGER NOT NULL,"
    "  median REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,"
    "  error REAL, error_bound REAL,"
    "  compiler TEXT NOT NULL, driver TEXT NOT NULL, clocks TEXT NOT NULL, tool TEXT NOT NULL, note TEXT NOT NULL,"
    "  compile_seconds REAL NOT NULL, verify_seconds REAL NOT NULL, measure_seconds REAL NOT NULL,"
    "  date TEXT NOT NULL, samples BLOB NOT NULL,"
    "  outdated INTEGER NOT NULL DEFAULT 0, generator TEXT NOT NULL DEFAULT '');"
    "INSERT OR IGNORE INTO measurements_2" /* not damaged rows */
    " SELECT id, problem, device_of_version_1(device), arch, policy, 'v1:' || generator, config, complexity, status,"
    "  verified, median, low, high, error, error_bound, compiler, driver, clocks, tool, note, compile_seconds,"
    "  verify_seconds, measure_seconds, date, samples, 0, generator"
    " FROM measurements;"
    "DROP TABLE measurements;"
    "ALTER TABLE measurements_2 RENAME TO measurements;"
    "CREATE INDEX measurements_by_config ON measurements (problem, device, config);"
    "CREATE INDEX measurements_by_median ON measurements (problem, device, policy = 'model', median)"
    " WHERE status = 'ok' AND verified AND median > 0;"

    "CREATE TABLE choices ("
    "  problem TEXT NOT NULL, device TEXT NOT NULL,"
    "  class TEXT, axis_1 INTEGER, axis_2 INTEGER, axis_3 INTEGER, axis_4 INTEGER, axis_5 INTEGER, axis_6 INTEGER,"
    "  config TEXT NOT NULL, microseconds REAL NOT NULL, id INTEGER NOT NULL,"
    "  arch TEXT NOT NULL, policy TEXT NOT NULL, result_hash TEXT NOT NULL, complexity INTEGER NOT NULL,"
    "  status TEXT NOT NULL, verified INTEGER NOT NULL,"
    "  median REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,"
    "  error REAL, error_bound REAL,"
    "  compiler TEXT NOT NULL, driver TEXT NOT NULL, clocks TEXT NOT NULL, tool TEXT NOT NULL, note TEXT NOT NULL,"
    "  compile_seconds REAL NOT NULL, verify_seconds REAL NOT NULL, measure_seconds REAL NOT NULL,"
    "  date TEXT NOT NULL, samples BLOB NOT NULL, generator TEXT NOT NULL DEFAULT '',"
    "  PRIMARY KEY (problem, device));"
    "CREATE INDEX choices_by_position ON choices"
    " (class, arch, axis_1, axis_2, axis_3, axis_4, axis_5, axis_6, device);";

/* Names of config fields and words became the field's, and the classes by which problems are near were written anew.
 * The choices are made again from the measurements, for which rows of a config are asked from a date on. */
static const char version_3[] =
    "DELETE FROM choices;"
    "DROP INDEX measurements_by_config;"
    "UPDATE measurements SET problem = text_of_version_2(problem), config = text_of_version_2(config)"
    " WHERE problem <> text_of_version_2(problem) OR config <> text_of_version_2(config);"
    "CREATE INDEX measurements_by_config ON measurements (problem, device, config, date);";

/* steps[v] takes a file from version v to v + 1; version 0 is an empty file. */
static const char *const steps[ATTUNE_SCHEMA_VERSION] = {version_1, version_2, version_3};

static int query_number(sqlite3 *db, const char *sql, int *out) {
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
    *out = sqlite3_column_int(statement, 0);
    code = SQLITE_OK;
  }
  int finalized = sqlite3_finalize(statement);
  return code == SQLITE_OK ? finalized : code;
}

static int read_header(sqlite3 *db, int *application, int *version, int *tables) {
  int code = query_number(db, "PRAGMA application_id", application);
  if (code == SQLITE_OK) code = query_number(db, "PRAGMA user_version", version);
  return code == SQLITE_OK ? query_number(db, "SELECT count(*) FROM sqlite_master", tables) : code;
}

static int check(sqlite3 *db, attune_sqlite_error *out, int *version) {
  int application, tables;
  /* In one transaction, since another process may be making the file's tables just now. */
  int code = sqlite3_exec(db, "SAVEPOINT header", NULL, NULL, NULL);
  if (code != SQLITE_OK) return code;
  code = read_header(db, &application, version, &tables);
  int released = sqlite3_exec(db, "RELEASE header", NULL, NULL, NULL);
  if (code == SQLITE_OK) code = released;
  if (code != SQLITE_OK) return code;
  if (application == 0 && *version == 0 && tables == 0)
    *out = ATTUNE_SQLITE_OLD;
  else if (application != APPLICATION_ID)
    *out = ATTUNE_SQLITE_FOREIGN;
  else if (*version > ATTUNE_SCHEMA_VERSION)
    *out = ATTUNE_SQLITE_TOO_NEW;
  else if (*version < 1)
    *out = ATTUNE_SQLITE_DAMAGED;
  else
    *out = *version < ATTUNE_SCHEMA_VERSION ? ATTUNE_SQLITE_OLD : ATTUNE_SQLITE_NONE;
  return SQLITE_OK;
}

attune_sqlite_error attune_schema_check(sqlite3 *db, int *version) {
  attune_sqlite_error fault = ATTUNE_SQLITE_NONE;
  int ignored, code = check(db, &fault, version ? version : &ignored);
  return code == SQLITE_OK ? fault : attune_sqlite_error_of(code);
}

static int stamp(sqlite3 *db, int version) {
  char sql[96]; /* pragmas take no bound values */
  sqlite3_snprintf(sizeof sql, sql, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, version);
  return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int run_steps(sqlite3 *db, int from, int to, attune_translate *translate) {
  int code = attune_version_1_add_functions(db);
  if (code == SQLITE_OK) code = attune_version_2_add_functions(db, &translate);
  for (int version = from; code == SQLITE_OK && version < to; version++)
    code = sqlite3_exec(db, steps[version], NULL, NULL, NULL);
  attune_version_1_remove_functions(db);
  attune_version_2_remove_functions(db);
  return code == SQLITE_OK ? stamp(db, to) : code;
}

static int take_steps(sqlite3 *db, attune_translate *translate) {
  int version;
  int code = query_number(db, "PRAGMA user_version", &version);
  if (code == SQLITE_OK) code = run_steps(db, version, ATTUNE_SCHEMA_VERSION, translate);
  return code == SQLITE_OK && version > 0 ? attune_choices_refresh_all(db) : code;
}

attune_sqlite_error attune_schema_migrate(sqlite3 *db, attune_translate *translate) {
  int code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (code != SQLITE_OK) return attune_sqlite_error_of(code);
  /* Another process may have migrated the file before this one had the lock. */
  attune_sqlite_error fault = ATTUNE_SQLITE_NONE;
  int version;
  code = check(db, &fault, &version);
  if (code == SQLITE_OK && fault == ATTUNE_SQLITE_OLD) {
    fault = ATTUNE_SQLITE_NONE;
    code = take_steps(db, translate);
  }
  if (code == SQLITE_OK) code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
  if (code == SQLITE_OK) return fault;
  if (!sqlite3_get_autocommit(db)) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return attune_sqlite_error_of(code);
}

/* Binaries stay behind: earlier versions' sources had other bytes, so that none of them would be found. */
static int copy_measurements(sqlite3 *memory, const char *address) {
  sqlite3_stmt *attach;
  int code = sqlite3_prepare_v2(memory, "ATTACH ?1 AS old", -1, &attach, NULL);
  if (code == SQLITE_OK) code = sqlite3_bind_text(attach, 1, address, -1, SQLITE_STATIC);
  if (code == SQLITE_OK) code = sqlite3_step(attach);
  int finalized = sqlite3_finalize(attach);
  if (code != SQLITE_DONE) return code;
  if (finalized != SQLITE_OK) return finalized;
  code =
      sqlite3_exec(memory, "INSERT OR IGNORE INTO main.measurements SELECT * FROM old.measurements", NULL, NULL, NULL);
  int detached = sqlite3_exec(memory, "DETACH old", NULL, NULL, NULL);
  return code == SQLITE_OK ? detached : code;
}

attune_sqlite_error attune_schema_copy_old(sqlite3 *memory, const char *address, int version,
                                           attune_translate *translate) {
  int code = run_steps(memory, 0, version, translate);
  if (code == SQLITE_OK) code = copy_measurements(memory, address);
  return code == SQLITE_OK ? attune_schema_migrate(memory, translate) : attune_sqlite_error_of(code);
}
