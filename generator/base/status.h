/* How every module reports an error: a status, and a message in thread-local memory that attune_message() returns.
 * Depends on no module, so that all of them may call it. */
#ifndef ATTUNE_STATUS_H
#define ATTUNE_STATUS_H

#include "runtime/attune.h"

enum { ATTUNE_STATUS_COUNT = ATTUNE_UNSUPPORTED + 1 };

/* Sets the thread's message and returns status, so that `return attune_fail(...)` reads as one step. Messages longer
 * than 4 KB are cut. status must not be ATTUNE_OK. */
__attribute__((format(printf, 2, 3))) attune_status attune_fail(attune_status status, const char *format, ...);

/* The thread's message, for a call of attune.h to put back where it succeeds in spite of what it has tried. */
enum { ATTUNE_MESSAGE_SIZE = 4096 };
typedef struct {
  char text[ATTUNE_MESSAGE_SIZE];
} attune_kept_message;
void attune_message_keep(attune_kept_message *out);
void attune_message_restore(const attune_kept_message *kept);

#endif
