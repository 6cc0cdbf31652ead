/* How every module reports an error: a status, and a message in thread-local memory that attune_message() returns.
 * Depends on no module, so that all of them may call it. */
#ifndef ATTUNE_STATUS_H
#define ATTUNE_STATUS_H

#include "runtime/attune.h"

enum { ATTUNE_STATUS_COUNT = ATTUNE_UNSUPPORTED + 1 };

/* Sets the thread's message and returns status, so that `return attune_fail(...)` reads as one step. Messages longer
 * than 4 KB are cut. status must not be ATTUNE_OK. */
__attribute__((format(printf, 2, 3))) attune_status attune_fail(attune_status status, const char *format, ...);

#endif
