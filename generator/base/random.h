/* Private: splitmix64, a generator of 64 random bits whose state is a counter. Not for secrets. */
#ifndef ATTUNE_RANDOM_H
#define ATTUNE_RANDOM_H

#include <stdint.h>

#define ATTUNE_RANDOM_STEP 0x9e3779b97f4a7c15u /* what each draw adds to the state */

/* The 64 bits of a state; a bijection. */
static inline uint64_t attune_random_mix(uint64_t state) {
  state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u;
  state = (state ^ state >> 27) * 0x94d049bb133111ebu;
  return state ^ state >> 31;
}

/* The next number of the sequence that starts from a seed. */
static inline uint64_t attune_random_next(uint64_t *state) {
  return attune_random_mix(*state += ATTUNE_RANDOM_STEP);
}

#endif
