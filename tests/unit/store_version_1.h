/* Files as version 1 wrote them. */
#ifndef STORE_VERSION_1_H
#define STORE_VERSION_1_H

#include "tests/unit/store_test.h"

/* The tables of the last release with version 1. Of its view, what the names of its columns are. */
static const char version_1_sql[] =
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
    "CREATE VIEW choices AS SELECT *, median * 1e6 AS microseconds FROM measurements;"
    "PRAGMA application_id = 1098151278; PRAGMA user_version = 1;";

static const char version_1_device[] = "NVIDIA H100|sm_90|132 SMs|233472 shared|52428800 L2|85024112640 memory";
static const char version_2_device[] = "NVIDIA H100|sm_90|132 SMs|50 MiB L2|79 GiB";

/* As version 1 named its columns; ?1 to ?3 are problem, device and config. */
static const char version_1_insert[] =
    "INSERT INTO measurements (problem, device, arch, policy, generator, config, complexity, status, verified, median,"
    " low, high, error, error_bound, compiler, driver, clocks, tool, note, compile_seconds, verify_seconds,"
    " measure_seconds, date, samples) SELECT ?1, ?2, 'sm_90', 'cold', 'abc', ?3, 7, 'ok', 1, 0.5, 0.25, 0.75, NULL,"
    " 0.001, 'nvrtc', '580', '1980 MHz', '0.1.0', 'a note', 1, 2, 3, '2026-01-01T00:00:00.000Z', x'000000000000f03f'";

static inline void insert_version_1(sqlite3 *db, const char *problem, const char *device, const char *config) {
  sqlite3_stmt *insert;
  if (sqlite3_prepare_v2(db, version_1_insert, -1, &insert, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
  sqlite3_bind_text(insert, 1, problem, -1, SQLITE_STATIC);
  sqlite3_bind_text(insert, 2, device, -1, SQLITE_STATIC);
  sqlite3_bind_text(insert, 3, config, -1, SQLITE_STATIC);
  assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
  assert_int_equal(sqlite3_finalize(insert), SQLITE_OK);
}

/* A file with so many rows of one device, ten for each problem, and a kernel. */
static inline void make_version_1(const char *name, int rows) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(in_folder(name), &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode = WAL; BEGIN", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, version_1_sql, NULL, NULL, NULL), SQLITE_OK);
  for (int i = 0; i < rows; i++) {
    char problem[32], config[32];
    snprintf(problem, sizeof problem, "p%d", i / 10);
    snprintf(config, sizeof config, "c%d", i);
    insert_version_1(db, problem, version_1_device, config);
  }
  assert_int_equal(sqlite3_exec(db,
                                "INSERT INTO kernels VALUES ('k', 'c', 'sm_90', 'nvrtc', '', 's', 1, 2, 3, 4, "
                                "'2026-01-01', 5, 6, 'h', 'log', x'00'); COMMIT",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  sqlite3_close(db);
}

#endif
