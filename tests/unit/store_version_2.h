/* Files as version 2 wrote them. */
#ifndef STORE_VERSION_2_H
#define STORE_VERSION_2_H

#include "tests/unit/store_renamed.h"
#include "tests/unit/store_version_1.h"

static const char version_2_sql[] =
    "CREATE TABLE version_1_devices (was TEXT NOT NULL PRIMARY KEY, device TEXT NOT NULL);"
    "CREATE TABLE kernels ("
    "  key TEXT NOT NULL PRIMARY KEY,"
    "  config TEXT NOT NULL, arch TEXT NOT NULL, compiler TEXT NOT NULL, options TEXT NOT NULL,"
    "  source_sha256 TEXT NOT NULL,"
    "  registers INTEGER NOT NULL, shared_static INTEGER NOT NULL, spill_bytes INTEGER NOT NULL,"
    "  compile_seconds REAL NOT NULL,"
    "  created TEXT NOT NULL, last_used INTEGER NOT NULL,"
    "  binary_size INTEGER NOT NULL, binary_sha256 TEXT NOT NULL,"
    "  log TEXT NOT NULL, binary BLOB NOT NULL, library TEXT NOT NULL DEFAULT '');"
    "CREATE INDEX kernels_by_use ON kernels (last_used, binary_size);"
    "CREATE INDEX kernels_by_config ON kernels (config, arch, library);"
    "CREATE TABLE measurements ("
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
    " (class, arch, axis_1, axis_2, axis_3, axis_4, axis_5, axis_6, device);"
    "PRAGMA application_id = 1098151278; PRAGMA user_version = 2;";

/* ?1 and ?2 are problem and config; the second row has the mark. */
static const char version_2_insert[] =
    "INSERT INTO measurements (problem, device, arch, policy, result_hash, config, complexity, status, verified, "
    "median,"
    " low, high, error, error_bound, compiler, driver, clocks, tool, note, compile_seconds, verify_seconds,"
    " measure_seconds, date, samples, outdated) SELECT ?1, 'NVIDIA H100|sm_90|132 SMs|50 MiB L2|79 GiB', 'sm_90', "
    "'cold',"
    " 'abc', ?2, 7, 'ok', 1, 0.5, 0.25, 0.75, NULL, 0.001, 'nvrtc', '580', '1980 MHz', '0.1.0', 'a note', 1, 2, 3,"
    " '2026-01-01T00:00:00.000Z', x'000000000000f03f', (SELECT count(*) = 1 FROM measurements)";

static inline void insert_version_2(sqlite3 *db, const char *problem, const char *config) {
  sqlite3_stmt *insert;
  if (sqlite3_prepare_v2(db, version_2_insert, -1, &insert, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
  sqlite3_bind_text(insert, 1, problem, -1, SQLITE_STATIC);
  sqlite3_bind_text(insert, 2, config, -1, SQLITE_STATIC);
  assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
  assert_int_equal(sqlite3_finalize(insert), SQLITE_OK);
}

/* Replaces the file by one of that version with so many rows, in turn of renamed_rows. */
static inline void make_renamed(const char *name, int version, int rows) {
  sqlite3 *db;
  unlink(in_folder(name));
  if (version == 1) make_version_1(name, 0);
  assert_int_equal(sqlite3_open(in_folder(name), &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode = WAL; BEGIN", NULL, NULL, NULL), SQLITE_OK);
  if (version == 2) assert_int_equal(sqlite3_exec(db, version_2_sql, NULL, NULL, NULL), SQLITE_OK);
  for (int i = 0; i < rows; i++) {
    const renamed_row *row = &renamed_rows[i % RENAMED_ROWS];
    if (version == 1)
      insert_version_1(db, row->problem, version_1_device, row->config);
    else
      insert_version_2(db, row->problem, row->config);
  }
  /* What the choice was does not matter, but that it is of the old text. */
  if (version == 2)
    assert_int_equal(sqlite3_exec(db,
                                  "INSERT INTO choices SELECT problem, device, 'was', 1, 2, 3, 4, 5, 6, config, 1, id,"
                                  " arch, policy, result_hash, complexity, status, verified, median, low, high, error,"
                                  " error_bound, compiler, driver, clocks, tool, note, compile_seconds, verify_seconds,"
                                  " measure_seconds, date, samples, generator FROM measurements GROUP BY problem",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
}

#endif
