/* Private to runtime/: choices of the store as candidates for a problem. */
#ifndef ATTUNE_CANDIDATES_H
#define ATTUNE_CANDIDATES_H

#include "runtime/runtime.h"

/* What is wanted, and by which names the store knows it. */
typedef struct {
  const attune_problem *problem; /* resolved */
  const attune_device *device;
  char text[ATTUNE_TEXT_MAX], identity[256], arch[16];
  attune_position position;
} attune_wanted;
attune_status attune_wanted_of(attune_wanted *out, const attune_problem *problem, const attune_device *device);

typedef struct {
  attune_config config; /* the row's schedule, for the wanted problem */
  attune_config tuned;  /* the row's own */
  double distance;      /* of the problem */
  int sm_gap;           /* of the device, in multiprocessors */
  bool same_device, outdated;
  int32_t database;
  int64_t id;
  double median; /* seconds */
  char problem[ATTUNE_TEXT_MAX], device[256], policy[64], date[32], result_hash[80], tool[96];
} attune_candidate;

typedef struct {
  attune_candidate *list; /* best first; freed by attune_candidates_free */
  int count, capacity;
  int seen;                                     /* choices that were looked at */
  int unreadable, estimates, other_kernel, far; /* why some of them are no candidates */
} attune_candidates;

typedef enum {
  ATTUNE_CANDIDATES_EXACT,
  ATTUNE_CANDIDATES_NEAR_PROBLEM, /* other problems on this device */
  ATTUNE_CANDIDATES_NEAR_DEVICE,  /* this problem and others on other devices of this architecture */
  ATTUNE_CANDIDATES_MODEL         /* estimates of this problem for this architecture */
} attune_candidates_kind;

/* How many doublings of its sizes a problem may be from a tuned one; README.md says why. */
enum { ATTUNE_FARTHEST = 2 };

/* Looks only at what costs little: text, problem and policy. A store that fails is a store without rows. */
void attune_candidates_find(attune_candidates *out, attune_candidates_kind kind, attune_store *store,
                            const attune_wanted *wanted);
/* What the store has in the place of a candidate that an upgrade outdated: fastest first, at most most, and at most a
 * tenth slower, since the model's choice is as near the best as that. */
void attune_candidates_instead(attune_candidates *out, attune_store *store, const attune_wanted *wanted,
                               const attune_candidate *of, int most);
void attune_candidates_free(attune_candidates *candidates);

/* What costs more: whether the candidate is legal here, and is what this library would run. */
typedef enum { ATTUNE_CANDIDATE_GOOD, ATTUNE_CANDIDATE_OUTDATED, ATTUNE_CANDIDATE_ILLEGAL } attune_candidate_fate;
attune_candidate_fate attune_candidate_check(const attune_candidate *candidate, const attune_wanted *wanted);

#endif
