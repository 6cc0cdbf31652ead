/* For tests: the source of a kernel of their own that includes templates. */
#ifndef ATTUNE_TESTS_KERNEL_SOURCE_H
#define ATTUNE_TESTS_KERNEL_SOURCE_H

#include <stdlib.h>
#include <string.h>

#include "generator/base/buffer.h"
#include "generator/generator.h"
#include "generator/source/embedded.h"
#include "generator/source/preprocess.h"
#include "generator/source/prune.h"

/* Of files[0], which has KERNEL_NAME, with what it includes of the other `own` files and of templates/, which are added
 * behind them. Malloc'ed; NULL with a message. */
static inline char *kernel_source_of(attune_source_file files[ATTUNE_SOURCE_FILES_MAX], int own,
                                     const attune_parameter *parameters, int parameter_count, attune_target target) {
  const bool simulator = target == ATTUNE_TARGET_SIMULATOR;
  int count = own;
  for (int i = 0; i < attune_embedded_count; i++) {
    const attune_embedded *held = &attune_embedded_files[i];
    const char *name = strrchr(held->path, '/') + 1;
    if (strcmp(name, simulator ? "cuda.h" : "simulator.h") == 0) continue;
    if (strcmp(name, "simulator.h") == 0) name = "cuda.h";
    files[count++] = (attune_source_file){name, held->path, held->text};
  }
  const attune_preprocess_input input = {files, count, parameters, parameter_count, simulator};
  char *whole;
  attune_buffer out = {0};
  if (attune_preprocess(&whole, &input)) return NULL;
  const attune_status status = attune_prune(&out, whole, "KERNEL_NAME");
  free(whole);
  if (status == ATTUNE_OK) return out.text;
  attune_buffer_free(&out);
  return NULL;
}

#endif
