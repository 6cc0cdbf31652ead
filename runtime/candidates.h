/* Private to runtime/: rows of the store as candidates of one rung of the ladder. */
#ifndef ATTUNE_ROWS_H
#define ATTUNE_ROWS_H

#include "runtime/runtime.h"

/* What is wanted, and by which names the store knows it. */
typedef struct {
  const attune_problem *problem;
  const attune_device *device;
  char text[ATTUNE_TEXT_MAX], identity[256], arch[16];
} attune_wanted;

typedef struct {
  attune_config config; /* the row's schedule, for the wanted problem */
  double distance;      /* of the problem */
  int sm_gap;           /* of the device, in multiprocessors */
  bool same_device;
  double median;
  char problem[ATTUNE_TEXT_MAX], device[256], policy[64], date[32];
} attune_candidate_row;

typedef struct {
  attune_candidate_row *rows; /* best first; the caller frees it */
  int count;
  int seen;                                                        /* choices that the rung may look at */
  int unreadable, outdated, estimates, other_kernel, far, illegal; /* why some of them are no candidates */
} attune_rows;

typedef enum {
  ATTUNE_ROWS_EXACT,
  ATTUNE_ROWS_NEAR_PROBLEM,
  ATTUNE_ROWS_NEAR_DEVICE,
  ATTUNE_ROWS_MODEL
} attune_rows_kind;

/* How many doublings of its sizes a problem may be from a tuned one before a model is the better guess. */
enum { ATTUNE_FARTHEST = 6 };

/* A store that fails is a store without rows. */
void attune_rows_find(attune_rows *out, attune_rows_kind kind, attune_store *store, const attune_wanted *wanted);

#endif
