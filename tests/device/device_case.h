/* For tests on a GPU: a context, and what a plan's runs are checked with, which is the tuner's verifier. */
#ifndef ATTUNE_TESTS_DEVICE_CASE_H
#define ATTUNE_TESTS_DEVICE_CASE_H

#include "runtime/runtime.h"
#include "tuner/tuner.h"

enum { CASE_SKIPPED = 77 };

/* A context on the device ("cuda:0", "host"), with the store at database; false, with the reason printed, where there
 * is no GPU. Makes the primary CUDA context current, as a framework does. */
bool case_open(attune_context **out, const char *device, const char *database);

/* Poisons outputs and workspace, runs the plan on the default stream and compares. */
attune_status case_check(attune_verifier *verifier, const attune_plan *plan, attune_verdict *out);
/* The run alone; prepared by attune_verifier_prepare with the plan's workspace. */
attune_status case_run(attune_verifier *verifier, const attune_plan *plan, attune_stream stream);

#endif
