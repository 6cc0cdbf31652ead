/* The cache's interface: one SQLite file with kernels, measurements and choices. It knows texts, numbers and bytes,
 * nothing of attention or CUDA. A store is shared by threads (one mutex inside) and by processes (WAL and a busy
 * timeout).
 *
 * It never turns a working call into an error: a damaged row is a miss, a damaged file is set aside and rebuilt, an
 * unwritable place means memory. A file that was never a store is left alone. Only a file from a newer version, and
 * explicit imports and exports, fail. */
#ifndef ATTUNE_CACHE_H
#define ATTUNE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/attune.h"

typedef struct attune_store attune_store;

/* Where a problem stands among others. Only problems of one class can share a choice; among those, near ones have near
 * coordinates: whole numbers in which one step is as far on every axis. -1: the axis does not apply. */
enum { ATTUNE_CLASS_MAX = 128, ATTUNE_AXES = 6 };
typedef struct {
  char class[ATTUNE_CLASS_MAX];
  int32_t coordinates[ATTUNE_AXES];
} attune_position;
/* The position of the problem of that text; false: it has none, and is never found as a near one. Pure and
 * thread-safe. */
typedef bool attune_locate(attune_position *out, const char *problem);
/* Writes the canonical text today of a problem or config as files before version 3 have it; false: it needs more than
 * size bytes. Pure and thread-safe. */
typedef bool attune_translate(char *out, size_t size, const char *text);

typedef struct {
  const char *path; /* user file, ":memory:", or NULL: $ATTUNE_DATABASE, else $XDG_CACHE_HOME/attune/attune.db,
                       else ~/.cache/attune/attune.db */
  const char *const *read_only; /* NULL-terminated paths of shipped files, opened immutable, asked after the user file;
                                   or NULL. $ATTUNE_SYSTEM_DATABASE adds more, separated by colons */
  bool frozen;                  /* never write, never create */
  bool required; /* ATTUNE_STORE_FAILED where the user's file exists and cannot be read, or, unless frozen, cannot be
                    written now */
  attune_locate *locate;       /* NULL: choices are stored without a position, until somebody opens the file with it */
  attune_translate *translate; /* for files of earlier versions; NULL: their texts stay */
} attune_store_options;

/* Fails with ATTUNE_STORE_TOO_NEW, ATTUNE_OUT_OF_MEMORY or ATTUNE_BAD_ARGUMENT only, unless the file is required. */
attune_status attune_store_open(attune_store **out, const attune_store_options *options);
void attune_store_close(attune_store *store);
/* Where it writes, or would if it were not frozen; ":memory:" if what it writes is not kept. */
const char *attune_store_path(const attune_store *store);
/* Memory stands in for a user's file that cannot be written: what is put is lost with the store. */
bool attune_store_is_forgetful(const attune_store *store);
/* "" or the one warning of this store ("cannot write /x: Permission denied; this run is not remembered"); owned by
 * store. */
const char *attune_store_warning(const attune_store *store);

/* ---- kernels: may I load this binary? ---- */

typedef struct {
  char key[65];       /* SHA-256 over config, architecture, compiler, options and source hash; see attune_kernel_key */
  const char *config; /* canonical text */
  const char *arch;   /* "sm_90", "host" */
  const char *compiler; /* "nvrtc 13.0", "g++ 12.2.0" */
  const char *options;
  const char *source_sha256;
  const void *binary;
  size_t binary_size;
  int32_t registers, shared_static, spill_bytes; /* -1: unknown */
  double compile_seconds;
  const char *log;     /* the compiler's, may be "" */
  const char *library; /* that emitted the source, "" if unknown: names all that decides it beside config and arch */
} attune_kernel;

/* Writes the key from the five identifying fields. */
void attune_kernel_key(attune_kernel *kernel);
/* *out is one malloc'ed block that owns its strings and bytes (free() it), or NULL for a miss. The binary's length and
 * hash are checked: a damaged row is deleted and is a miss. */
attune_status attune_store_find_kernel(attune_store *store, attune_kernel **out, const char *key);
/* The same where the compiler cannot be asked its version: the newest kernel of named's config, arch and source_sha256,
 * whatever compiler made it; of its options too, unless they are NULL or "". */
attune_status attune_store_find_kernel_of_source(attune_store *store, attune_kernel **out, const attune_kernel *named);
/* The same without a source: the kernel of named's config, arch, compiler, options and library. */
attune_status attune_store_find_kernel_of_library(attune_store *store, attune_kernel **out, const attune_kernel *named);
/* Says that library emits the source of a stored kernel too. Does nothing where it is not stored in the user's file, or
 * that cannot be written now. */
attune_status attune_store_claim_kernel(attune_store *store, const char *key, const char *library);
attune_status attune_store_put_kernel(attune_store *store, const attune_kernel *kernel);

/* ---- measurements: every one is kept ---- */

typedef enum {
  ATTUNE_MEASURED_OK = 0,
  ATTUNE_MEASURED_INVALID, /* not legal on the device */
  ATTUNE_MEASURED_COMPILE_FAILED,
  ATTUNE_MEASURED_WRONG_RESULT,
  ATTUNE_MEASURED_LAUNCH_FAILED,
  ATTUNE_MEASURED_SKIPPED, /* not worth its measurement; the note says why */
  ATTUNE_MEASURED_COUNT
} attune_measured;
const char *attune_measured_name(attune_measured status); /* "ok", "invalid", ... */

typedef struct {
  int64_t id;              /* set by the store */
  int32_t database;        /* set by the store: 0 is the user's file, then the shipped ones in their order */
  bool outdated;           /* set by the store: see attune_store_mark */
  const char *problem;     /* result key: problem class */
  const char *device;      /* result key: device identity */
  const char *arch;        /* "sm_90", "host" */
  const char *policy;      /* result key: how it was measured, e.g. "cold-l2 median" ; "model" for a model's estimate */
  const char *result_hash; /* result key: hash of what ran; "v1:..." in rows from a file of version 1 */
  const char *config;
  int32_t complexity; /* ties within the noise go to the smaller one */
  attune_measured status;
  bool verified;         /* an unverified row is never chosen */
  const double *samples; /* seconds; may be NULL */
  int32_t sample_count;
  double median, low, high;  /* seconds; low..high is an interval for the median; 0 if not measured */
  double error, error_bound; /* max abs error against float64, and what was allowed */
  const char *compiler, *driver, *clocks, *tool, *note; /* "" if unknown */
  double compile_seconds, verify_seconds, measure_seconds;
  const char *date; /* ISO 8601 UTC, set by the store if NULL */
} attune_measurement;

/* Committed before it returns. */
attune_status attune_store_put_measurement(attune_store *store, const attune_measurement *measurement);
/* Rows in which every non-NULL filter matches, user file first, oldest first. visit's row is valid during the call; it
 * returns false to stop. */
typedef struct {
  const char *problem, *device, *arch, *policy, *result_hash, *config;
} attune_measurement_filter;
typedef bool attune_measurement_visit(void *user, const attune_measurement *row);
attune_status attune_store_measurements(attune_store *store, const attune_measurement_filter *filter,
                                        attune_measurement_visit *visit, void *user);
/* How many measurements of that problem on that device have each status; of the first 1,000 in each file. */
attune_status attune_store_count_statuses(attune_store *store, int64_t counts[ATTUNE_MEASURED_COUNT],
                                          const char *problem, const char *device);

/* ---- choices: which measurement answers; the rule is in the README ---- */

/* The choice of each (problem, device) that matches, one over all files: the user's before the shipped ones', but a
 * measured one before a model's. */
attune_status attune_store_choices(attune_store *store, const attune_measurement_filter *filter,
                                   attune_measurement_visit *visit, void *user);

/* The following take a time that does not depend on how many rows there are. They visit every file's own choices, the
 * user's first, since the caller may have to pass over one. */
typedef struct {
  const char *problem;             /* of this very problem; NULL: of other problems near position */
  const attune_position *position; /* may be NULL where problem is given */
  const char *arch;                /* NULL: any; needed where problem is NULL */
  const char *device;              /* on this device alone; or NULL */
  const char *other_than_device;   /* on every device but this one; or NULL */
} attune_choice_query;
/* Of near problems: at most 8 choices for each set of coordinates, at most 2 steps away in all, in no order. */
attune_status attune_store_find_choices(attune_store *store, const attune_choice_query *query,
                                        attune_measurement_visit *visit, void *user);
/* What could be chosen in the place of a choice: rows of its problem and device from its own file that are ok,
 * verified, no model's, neither replaced nor refuted, and take no longer than slowest seconds. Fastest first, most at
 * most, rows marked as outdated included. */
attune_status attune_store_alternatives(attune_store *store, const attune_measurement *choice, double slowest, int most,
                                        attune_measurement_visit *visit, void *user);
/* Makes row, which was visited, the choice of its problem and device until one of their rows is put or marked. Does
 * nothing where its file cannot be written now, or is not the user's. */
attune_status attune_store_set_choice(attune_store *store, const attune_measurement *row);
/* Writes into the copy that the choice is that a tool found it to be what would run, so that the tool need not look
 * again. row was visited as a choice; as before, nothing where that cannot be written. */
attune_status attune_store_claim_choice(attune_store *store, const attune_measurement *row, const char *tool);
/* Marks rows of one problem and device, by their ids in the user's file, as outdated, or as good again: what ran is not
 * what would run now. An outdated row is kept and listed, and is no candidate of the choice. */
attune_status attune_store_mark(attune_store *store, const char *problem, const char *device, const int64_t *ids,
                                int count, bool outdated);

/* ---- maintenance ---- */

typedef struct {
  int64_t kernels, kernel_bytes, measurements, choices, damaged;
} attune_store_counts;
/* Over the user file and the shipped ones; damaged: rows and files since the store was opened. */
attune_status attune_store_count(attune_store *store, attune_store_counts *out);
/* JSON of the measurements that match (NULL: all) in all files, shipped ones too; no binaries. Sorted, same content
 * same bytes; malloc'ed. */
attune_status attune_store_export(attune_store *store, const attune_measurement_filter *filter, char **json);
/* All or nothing; duplicates are ignored. The message has the line of a syntax fault, or which
 * row and field does not fit. */
attune_status attune_store_import(attune_store *store, const char *json, size_t size, int64_t *added);
/* Deletes the user file's measurements and kernels that match (NULL or all NULL: everything). Kernels have an arch and
 * a config alone, so a filter with anything else spares them. */
attune_status attune_store_forget(attune_store *store, const attune_measurement_filter *filter, int64_t *deleted);

#endif
