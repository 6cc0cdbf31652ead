/* libFuzzer: any text is a problem, a workload or an export of measurements, or is refused with a message. */
#include <stdlib.h>

#include "cache/cache.h"
#include "tuner/tuner.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool holds) {
  if (!holds) abort();
}

static void try_problem(const char *text, size_t size) {
  attune_problem problem;
  json_t *object = json_loadb(text, size, 0, NULL);
  if (object != NULL && attune_problem_of_json(&problem, object, "text") == ATTUNE_OK) {
    json_t *again = attune_problem_to_json(&problem);
    require(again != NULL && attune_problem_of_json(&problem, again, "text") == ATTUNE_OK);
    json_decref(again);
  }
  json_decref(object);
}

static void try_workload(const char *text, size_t size) {
  attune_workload_item *items = NULL;
  int count = 0;
  if (attune_workload_parse(&items, &count, text, size, "text") == ATTUNE_OK)
    free(items);
  else
    require(attune_message()[0] != '\0');
}

static void try_import(const char *text, size_t size) {
  static attune_store *store; /* lives as long as the process: opening one for every input would be most of the work */
  const attune_store_options options = {.path = ":memory:"};
  int64_t added, deleted;
  const attune_measurement_filter everything = {0};
  if (store == NULL) require(attune_store_open(&store, &options) == ATTUNE_OK);
  if (attune_store_import(store, text, size, &added) == ATTUNE_OK)
    require(attune_store_forget(store, &everything, &deleted) == ATTUNE_OK && deleted >= added);
  else
    require(attune_message()[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  try_problem((const char *)bytes, size);
  try_workload((const char *)bytes, size);
  try_import((const char *)bytes, size);
  return 0;
}
