/* Private to tuner/: what the verbs that work with a store share, beyond command.h. */
#ifndef ATTUNE_VERBS_H
#define ATTUNE_VERBS_H

#include <stdio.h>

#include "tuner/command/command.h"
#include "tuner/search/search.h"

typedef enum {
  ATTUNE_STORE_READ,  /* nothing is created, renamed or written; a file that cannot be read is an error */
  ATTUNE_STORE_CACHE, /* goes on in memory where it must */
  ATTUNE_STORE_WRITE, /* what cannot be written is an error */
} attune_store_use;
/* The store of --database, frozen where the environment says so; its warning, if it has one, goes to stderr. */
attune_status attune_verb_open_store(attune_store **out, const attune_flags *flags, attune_store_use use);
/* --arch: that architecture's device and no machine; else the machine of --device, which the caller closes. */
attune_status attune_verb_open_device(attune_backend **machine, attune_device *device, const attune_flags *flags);
/* The items of --workload, or the one problem of the flags; of --config where there is no problem flag. */
attune_status attune_verb_problems(attune_workload_item **items, int *count, const attune_flags *flags);
/* 0: unknown, since what a mask expression or a block mask hides is not counted. */
double attune_tflops(const attune_problem *problem, double seconds);
void attune_print_tflops(char out[24], const attune_problem *problem, double seconds); /* "-": unknown */
/* name, status, message, problem, class. After a failure the message is attune_message(). */
json_t *attune_item_to_json(const attune_workload_item *item, attune_status status);
json_t *attune_measurement_to_json(const attune_measurement *row);
/* An attune_measurement_visit: appends every row to the array, until one fails. */
typedef struct {
  json_t *array;
  attune_status status;
} attune_json_rows;
bool attune_append_row(void *rows, const attune_measurement *row);

/* ---- steps.c ---- */

/* A line or two a kernel. kernels: compiled, of each step; NULL: registers are estimated. */
attune_status attune_print_steps(FILE *to, const attune_steps *steps, const attune_device *device,
                                 attune_kernel *const *kernels);
/* The same; NULL without memory. */
json_t *attune_steps_to_json(const attune_steps *steps, const attune_device *device, attune_kernel *const *kernels);

/* ---- upgrade.c ---- */

typedef struct {
  int64_t choices;
  int64_t outdated; /* of them; an upgrade of Attune changed their kernels */
  int64_t unknown;  /* of them; of problems with expressions, which a store does not keep */
} attune_upgrade;
/* Counts the choices for the device, or all where that is NULL. */
attune_status attune_upgrade_count(attune_upgrade *out, attune_store *store, const attune_device *device);
/* A sentence for what is not 0. */
void attune_upgrade_tell(FILE *to, const attune_upgrade *upgrade);

#endif
