/* NVRTC's version and what it knows, asked at run time; the library is opened on first use. */
#ifndef ATTUNE_NVRTC_H
#define ATTUNE_NVRTC_H

#include "runtime/backend.h"

/* What ptxas says with -v: the most that any function in the log needs; -1 where the log is silent. */
typedef struct {
  int registers, shared_static, spill_bytes;
} attune_resources;
attune_resources attune_resources_of_log(const char *log);

#endif
