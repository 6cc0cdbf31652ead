/* Seconds since some moment, never less than before. */
#include <time.h>

#include "tuner/measure/measure.h"

double attune_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}
