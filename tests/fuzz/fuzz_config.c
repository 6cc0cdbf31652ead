/* libFuzzer: any text is a config or is refused with a message, and so for a problem's class; what is accepted is
 * printed as the text it means, which parses to the same. */
#include <stdlib.h>
#include <string.h>

#include "generator/generator.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool holds) {
  if (!holds) abort();
}

static void try_config(const char *text) {
  attune_config config, again;
  char printed[ATTUNE_TEXT_MAX];
  if (attune_config_parse(&config, text) != ATTUNE_OK) {
    require(attune_message()[0] != '\0');
    return;
  }
  require(attune_config_print(printed, &config) == ATTUNE_OK);
  require(attune_config_parse(&again, printed) == ATTUNE_OK && attune_config_compare(&config, &again) == 0);
}

static void try_problem(const char *text) {
  attune_problem problem, again;
  char printed[ATTUNE_TEXT_MAX], reprinted[ATTUNE_TEXT_MAX];
  if (attune_problem_parse(&problem, text) != ATTUNE_OK) {
    require(attune_message()[0] != '\0');
    return;
  }
  require(attune_problem_print(printed, &problem) == ATTUNE_OK);
  require(attune_problem_parse(&again, printed) == ATTUNE_OK && attune_problem_print(reprinted, &again) == ATTUNE_OK);
  require(strcmp(printed, reprinted) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  char *text = malloc(size + 1);
  if (text == NULL) return 0;
  memcpy(text, bytes, size);
  text[size] = '\0';
  try_config(text);
  try_problem(text);
  free(text);
  return 0;
}
