/* Private to tuner/: elements of 16 bits, for the verifier and the verbs. */
#ifndef ATTUNE_REFERENCE_H
#define ATTUNE_REFERENCE_H

#include "tuner/tuner.h"

void attune_elements_to_floats(float *out, attune_dtype dtype, const uint16_t *in, int count);
/* The nearest element, as a float: what attune_to_element and back give, faster. */
float attune_round_to_element(attune_dtype dtype, float value);

#endif
