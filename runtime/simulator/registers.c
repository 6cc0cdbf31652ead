#include "runtime/simulator/registers.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HOLDS_MAX = 8, WORDS_MAX = 128 };

typedef struct {
  const uint32_t *at;
  int words;
  bool fenced;
  uint32_t age; /* the larger, the later */
  uint32_t values[WORDS_MAX];
} hold;

struct attune_simulator_holds {
  int count;
  uint32_t age;
  hold holds[HOLDS_MAX];
};

attune_simulator_holds *attune_simulator_holds_create(void) {
  return calloc(1, sizeof(attune_simulator_holds));
}

void attune_simulator_holds_release(attune_simulator_holds *holds) {
  free(holds);
}

void attune_simulator_holds_reset(attune_simulator_holds *holds) {
  holds->count = 0;
}

/* The one that begins there, or a new one in the place of the oldest. */
static hold *place_for(attune_simulator_holds *holds, const uint32_t *at) {
  hold *oldest = &holds->holds[0];
  for (hold *h = holds->holds; h < holds->holds + holds->count; h++) {
    if (h->at == at) return h;
    if (h->age < oldest->age) oldest = h;
  }
  return holds->count < HOLDS_MAX ? &holds->holds[holds->count++] : oldest;
}

void attune_simulator_hold(attune_simulator_holds *holds, const void *at, int words, bool fenced) {
  hold *h = place_for(holds, at);
  h->at = at;
  h->words = words < WORDS_MAX ? words : WORDS_MAX;
  h->fenced = fenced;
  h->age = ++holds->age;
  memcpy(h->values, at, (size_t)h->words * sizeof *h->values);
}

void attune_simulator_holds_fence(attune_simulator_holds *holds) {
  for (int i = 0; i < holds->count; i++)
    holds->holds[i].fenced = true;
}

const char *attune_simulator_holds_missing(const attune_simulator_holds *holds, const void *at, int words) {
  const uint32_t *first = at;
  const char *missing = "fence_registers has not held them";
  for (const hold *h = holds->holds; h < holds->holds + holds->count; h++) {
    if (first < h->at || first + words > h->at + h->words) continue;
    if (memcmp(h->values + (first - h->at), first, (size_t)words * sizeof *first) != 0)
      missing = "they were written after fence_registers last held them";
    else if (!h->fenced)
      missing = "wgmma_fence is missing after fence_registers has held them";
    else
      return NULL;
  }
  return missing;
}
