/* attune emit: the source of one kernel. */
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/command/command.h"
#include "tuner/files/file.h"

static attune_status emit(const attune_flags *flags) {
  attune_problem problem;
  attune_device device;
  attune_config config;
  char arch[16], text[ATTUNE_TEXT_MAX], *source = NULL;
  attune_status status = attune_problem_of_config(&problem, flags);
  if (status == ATTUNE_OK) status = attune_device_of_flags(&device, arch, flags);
  if (status == ATTUNE_OK) status = attune_config_of_flags(&config, flags, &problem, &device);
  if (status == ATTUNE_OK) status = attune_config_print(text, &config);
  if (status == ATTUNE_OK)
    status = attune_emit(&source, &config, &problem, device.arch == 0 ? ATTUNE_TARGET_SIMULATOR : ATTUNE_TARGET_CUDA);
  if (status == ATTUNE_OK && flags->output != NULL) status = attune_file_write(flags->output, source, strlen(source));
  if (status != ATTUNE_OK) goto out;
  if (flags->json)
    status = attune_print_json(json_pack("{s:s, s:s, s:o, s:o, s:s}", "config", text, "arch", arch, "class",
                                         attune_json_class(&problem), "fields", attune_config_to_json(&config), "code",
                                         source));
  else if (flags->output == NULL)
    fputs(source, stdout);
out:
  free(source);
  return status;
}

int attune_verb_emit(int argc, char **argv) {
  attune_flags flags;
  int exit_code;
  if (!attune_verb_begin(&flags, &exit_code, argc, argv)) return exit_code;
  const attune_status status = emit(&flags);
  return status == ATTUNE_OK ? 0 : attune_verb_failed(&flags, status);
}
