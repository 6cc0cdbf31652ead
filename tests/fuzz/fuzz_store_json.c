/* libFuzzer: any bytes are imported or refused with a message, and what was imported comes out again: an export of it
 * imports into an empty store and gives the same bytes, and adds nothing where it already is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"
#include "generator/base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "%s: %s\n", what, attune_message());
  abort();
}

static attune_store *open_memory(void) {
  attune_store *store;
  must(attune_store_open(&store, &(attune_store_options){.path = ":memory:"}) == ATTUNE_OK, "open");
  return store;
}

static char *export_json(attune_store *store) {
  char *json;
  must(attune_store_export(store, NULL, &json) == ATTUNE_OK, "export");
  return json;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  static attune_store *store, *copy; /* opened once; emptied after use */
  if (!store) store = open_memory();
  if (!copy) copy = open_memory();
  int64_t added = 0, again;
  attune_status status = attune_store_import(store, (const char *)bytes, size, &added);
  must(status == ATTUNE_OK || status == ATTUNE_BAD_JSON, "import");
  if (status) {
    must(*attune_message() != 0, "a message");
    return 0;
  }
  char *first = export_json(store);
  must(attune_store_import(store, first, strlen(first), &again) == ATTUNE_OK && again == 0, "nothing new");
  must(attune_store_import(copy, first, strlen(first), &again) == ATTUNE_OK && again == added, "everything new");
  char *second = export_json(copy);
  must(strcmp(first, second) == 0, "the same bytes");
  free(first);
  free(second);
  must(attune_store_forget(store, NULL, NULL) == ATTUNE_OK, "forget");
  must(attune_store_forget(copy, NULL, NULL) == ATTUNE_OK, "forget");
  return 0;
}
