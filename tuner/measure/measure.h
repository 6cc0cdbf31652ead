/* Private to tuner/: time, and the clocks of a GPU. attune_measure is declared in tuner.h. */
#ifndef ATTUNE_MEASURE_H
#define ATTUNE_MEASURE_H

#include "tuner/tuner.h"

double attune_now(void); /* seconds, monotonic */

/* ---- clocks.c ---- */

typedef struct attune_clocks attune_clocks;
attune_clocks *attune_clocks_open(const attune_backend *machine); /* NULL: not to be had; all others take NULL */
void attune_clocks_close(attune_clocks *clocks);
void attune_clocks_sample(attune_clocks *clocks);
void attune_clocks_print(char out[64], attune_clocks *clocks); /* range since the last print; "" if unknown */

#endif
