/* For tests on a GPU: the tensors of one problem, in host and device memory, and a judge of what a run wrote. */
#ifndef ATTUNE_TESTS_DEVICE_BED_H
#define ATTUNE_TESTS_DEVICE_BED_H

#include "runtime/runtime.h"

enum { BED_SKIPPED = 77, BED_WORKSPACE = 256 /* more than any plan needs */ };

typedef struct {
  attune_backend *machine;
  attune_problem problem;         /* resolved */
  int32_t *lengths_q, *lengths_k; /* of host memory, or NULL */
  uint16_t *q, *k, *v, *o;
  float *lse;
  size_t q_count, k_count, v_count, o_count, lse_count; /* elements from the first to the last, gaps included */
  attune_tensors tensors;                               /* of device memory */
  void *workspace;                                      /* likewise */
} bed;

typedef struct {
  bool passed;
  double error, bound, lse_error;
  int rows;
  char why[256];
} bed_verdict;

/* A context on the device ("cuda:0", "host"), with the store at database; false, with the reason printed, where there
 * is no GPU. Makes the primary CUDA context current, as a framework does. */
bool bed_open(attune_context **out, const char *device, const char *database);

/* lengths: (batch) each, or NULL. The inputs are normal, times magnitude. */
attune_status bed_create(bed *out, attune_backend *machine, const attune_problem *problem, const int32_t *lengths_q,
                         const int32_t *lengths_k, double magnitude);
void bed_destroy(bed *b);

/* O and LSE become a NaN that no kernel writes. */
attune_status bed_poison(bed *b);
/* Reads O and LSE back and judges up to max_rows rows against float64; with `whole`, also that every row up to its
 * length is written and that nothing else is. */
attune_status bed_judge(bed *b, bed_verdict *out, int max_rows, bool whole);

#endif
