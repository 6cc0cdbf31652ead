/* libFuzzer: texts of configs and of problem classes. Whatever parses prints as the same text; nothing else may happen
 * but a refusal with a message. What parses is also checked, estimated and, if legal, emitted. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "generator/generator.h"

static void check(int holds) {
  if (!holds) abort();
}

static void check_config(const char *text, const attune_device *device) {
  attune_config config;
  if (attune_config_parse(&config, text) != ATTUNE_OK) {
    check(attune_message()[0] != '\0');
    return;
  }
  char again[ATTUNE_TEXT_MAX];
  check(attune_config_print(again, &config) == ATTUNE_OK);
  check(strcmp(again, text) == 0);
  if (attune_config_legal(&config, device) != ATTUNE_OK) return;
  char *source = NULL;
  check(attune_emit(&source, &config, NULL, ATTUNE_TARGET_CUDA) == ATTUNE_OK);
  free(source);
}

static void check_problem(const char *text, const attune_device *device) {
  attune_problem problem, resolved;
  if (attune_problem_parse(&problem, text) != ATTUNE_OK) {
    check(attune_message()[0] != '\0');
    return;
  }
  char again[ATTUNE_TEXT_MAX];
  check(attune_problem_print(again, &problem) == ATTUNE_OK);
  check(strcmp(again, text) == 0);
  check(attune_problem_resolve(&resolved, &problem) == ATTUNE_OK);
  check(attune_problem_flops(&problem) >= 0 && attune_problem_bytes(&problem) > 0);
  check(attune_problem_distance(&problem, &resolved) == 0);
  attune_config config;
  check(attune_config_reference(&config, &problem) == ATTUNE_OK);
  check(attune_config_legal(&config, device) == ATTUNE_OK);
  check(attune_estimate(&config, &problem, device, NULL) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  attune_device device;
  check(attune_device_of_arch(&device, "sm_90") == ATTUNE_OK);
  char *text = malloc(size + 1);
  if (text == NULL) return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  check_config(text, &device);
  check_problem(text, &device);
  free(text);
  return 0;
}
