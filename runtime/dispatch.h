/* Private to runtime/: dispatch with a say for the caller, who may refuse a config (a plan that finds no kernel for
 * it). */
#ifndef ATTUNE_DISPATCH_H
#define ATTUNE_DISPATCH_H

#include "runtime/runtime.h"

/* ATTUNE_OK takes the config. ATTUNE_WOULD_COMPILE, ATTUNE_COMPILE_FAILED, ATTUNE_ILLEGAL_CONFIG and
 * ATTUNE_DRIVER_FAILED, ATTUNE_NO_NVRTC or ATTUNE_NO_COMPILER send the search to the next one, with attune_message() in
 * the explanation; any other status ends it. */
typedef attune_status attune_accept(void *user, const attune_config *config);

/* problem is resolved. store may be NULL: nothing was measured. accept may be NULL: all are taken. On failure
 * out->explanation still says what was tried and the caller frees it. */
attune_status attune_dispatch(attune_choice *out, attune_store *store, const attune_problem *problem,
                              const attune_device *device, attune_accept *accept, void *user);

#endif
