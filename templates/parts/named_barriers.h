/* The named barriers of a warp-specialised kernel. 0 is that of the whole block. */
#pragma once
#include "smem_tiles.h"

enum named_barrier_id {
  PINGPONG_BARRIER = 1,                  // one for each consumer warpgroup: it is its turn
  WARPGROUP_BARRIER = 1 + consumers,     // one for each: its 128 threads
  CONSUMERS_BARRIER = 1 + 2 * consumers, // all threads that compute
};
