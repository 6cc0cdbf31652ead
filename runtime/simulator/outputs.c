#include "runtime/simulator/outputs.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"

enum { GRANULE = 2, LINE_BITS = 22, THREAD_BITS = 10 };

/* Of every two bytes the lowest block that wrote them, and where: block + 1, thread, line, from the highest bits on,
 * so that writes compare as their blocks do. 0: nobody. */
typedef uint64_t write_word;

typedef struct {
  int tensor; /* -1: there was none */
  uint64_t granule;
  write_word first, second; /* of the lower block, of the higher one */
} double_write;

struct attune_simulator_outputs {
  const attune_simulator_memory *memory;
  write_word *words[ATTUNE_SIMULATOR_TENSORS_MAX]; /* NULL: not an output */
  pthread_mutex_t mutex;
  double_write found; /* the lowest: by tensor, place, and blocks */
};

attune_status attune_simulator_outputs_create(attune_simulator_outputs **out, const attune_simulator_memory *memory) {
  attune_simulator_outputs *outputs = calloc(1, sizeof *outputs);
  *out = outputs;
  if (!outputs) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the simulator");
  outputs->memory = memory;
  outputs->found.tensor = -1;
  pthread_mutex_init(&outputs->mutex, NULL);
  for (int i = 0; i < memory->count; i++) {
    const attune_simulator_tensor *tensor = &memory->tensors[i];
    if (tensor->allowed != ATTUNE_SIMULATOR_WRITE) continue;
    outputs->words[i] = calloc(tensor->extent / GRANULE + 2, sizeof *outputs->words[i]); /* pages that are used only */
    if (outputs->words[i]) continue;
    attune_simulator_outputs_destroy(outputs);
    *out = NULL;
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "the simulator has no memory to watch the %" PRIu64 " bytes of %s",
                       tensor->extent, tensor->name);
  }
  return ATTUNE_OK;
}

void attune_simulator_outputs_destroy(attune_simulator_outputs *outputs) {
  if (!outputs) return;
  for (int i = 0; i < ATTUNE_SIMULATOR_TENSORS_MAX; i++)
    free(outputs->words[i]);
  pthread_mutex_destroy(&outputs->mutex);
  free(outputs);
}

static uint64_t block_of(write_word word) {
  return word >> (LINE_BITS + THREAD_BITS);
}

static bool lower(const double_write *a, const double_write *b) {
  if (b->tensor < 0 || a->tensor != b->tensor) return b->tensor < 0 || a->tensor < b->tensor;
  if (a->granule != b->granule) return a->granule < b->granule;
  return block_of(a->second) != block_of(b->second) ? a->second < b->second : a->first < b->first;
}

static void note(attune_simulator_outputs *outputs, double_write found) {
  pthread_mutex_lock(&outputs->mutex);
  if (lower(&found, &outputs->found)) outputs->found = found;
  pthread_mutex_unlock(&outputs->mutex);
}

/* The lowest block that came stays, so that the two lowest ones meet here whichever of them comes first. */
static void write_granule(attune_simulator_outputs *outputs, int tensor, uint64_t granule, write_word word) {
  write_word *at = &outputs->words[tensor][granule];
  write_word old = 0;
  while (!__atomic_compare_exchange_n(at, &old, word, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    if (block_of(old) == block_of(word)) return;
    const bool below = block_of(word) < block_of(old);
    note(outputs, (double_write){tensor, granule, below ? word : old, below ? old : word});
    if (!below) return;
  }
}

void attune_simulator_outputs_write(attune_simulator_outputs *outputs, const void *address, int size, int block,
                                    int thread, int line) {
  const uintptr_t at = (uintptr_t)address;
  const write_word word = ((write_word)block + 1) << (LINE_BITS + THREAD_BITS) | (write_word)thread << LINE_BITS |
                          ((write_word)line & ((1 << LINE_BITS) - 1));
  for (int i = 0; i < outputs->memory->count; i++) {
    const attune_simulator_tensor *tensor = &outputs->memory->tensors[i];
    if (!outputs->words[i] || at < tensor->base || at - tensor->base >= tensor->extent) continue;
    const uintptr_t first = tensor->base / GRANULE;
    for (uintptr_t granule = at / GRANULE; granule < (at + (uintptr_t)size) / GRANULE; granule++)
      write_granule(outputs, i, granule - first, word);
    return;
  }
}

static int line_of(write_word word) {
  return (int)(word & ((1 << LINE_BITS) - 1));
}

static int thread_of(write_word word) {
  return (int)(word >> LINE_BITS & ((1 << THREAD_BITS) - 1));
}

bool attune_simulator_outputs_apart(const attune_simulator_outputs *outputs, char *message, const char *kernel) {
  const double_write *found = &outputs->found;
  if (found->tensor < 0) return true;
  const attune_simulator_tensor *tensor = &outputs->memory->tensors[found->tensor];
  const uint64_t byte = found->granule * GRANULE - tensor->base % GRANULE;
  const int thread = thread_of(found->second);
  snprintf(message, 1024,
           "%s: line %d, block %d, thread %d (warp %d, lane %d): race: writes byte %" PRIu64
           " of %s, which thread %d of block %d writes at line %d; blocks have no order, and each element is one"
           " block's to write",
           kernel, line_of(found->second), (int)block_of(found->second) - 1, thread, thread / 32, thread % 32, byte,
           tensor->name, thread_of(found->first), (int)block_of(found->first) - 1, line_of(found->first));
  return false;
}
