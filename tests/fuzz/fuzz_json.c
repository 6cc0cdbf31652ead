/* libFuzzer: any text is a problem or a workload, or is refused with a message. */
#include <stdlib.h>

#include "tuner/tuner.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool holds) {
  if (!holds) abort();
}

static void try_problem(const char *text, size_t size) {
  attune_problem problem;
  static attune_inputs given;
  json_t *object = json_loadb(text, size, 0, NULL);
  if (object != NULL && attune_problem_of_json(&problem, &given, object, "text") == ATTUNE_OK) {
    json_t *again = attune_problem_to_json(&problem, &given);
    require(again != NULL && attune_problem_of_json(&problem, &given, again, "text") == ATTUNE_OK);
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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  try_problem((const char *)bytes, size);
  try_workload((const char *)bytes, size);
  return 0;
}
