/* The source of one kernel: the family's template, specialised to a config. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/buffer.h"
#include "generator/base/status.h"
#include "generator/expression/expression.h"
#include "generator/families/family.h"
#include "generator/source/embedded.h"
#include "generator/source/preprocess.h"

enum { PARAMETERS_MAX = 64, FILES_MAX = 12 };
/* Places of those among the source files that are not simply taken from the build; HOST_FILE: for the host alone. */
enum { KERNEL_FILE, PARAMETERS_FILE, EXPRESSIONS_FILE, PRIMITIVES_FILE, MASK_FILE, HOST_FILE = 7 };

static const attune_embedded *find_embedded(const char *path) {
  for (int i = 0; i < attune_embedded_count; i++) {
    if (strcmp(attune_embedded_files[i].path, path) == 0) return &attune_embedded_files[i];
  }
  return NULL;
}

const char *attune_generator_hash(attune_family family) {
  const attune_family_row *row = attune_family_find((int32_t)family);
  const attune_embedded *file = row != NULL ? find_embedded(row->template_path) : NULL;
  return file != NULL ? file->hash : "";
}

/* ---- parameters ---- */

typedef struct {
  attune_parameter list[PARAMETERS_MAX];
  int count;
} parameters;

static attune_status add_parameter(parameters *p, const char *name, const char *word, int64_t value) {
  if (p->count == PARAMETERS_MAX) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "more than %d parameters of templates", PARAMETERS_MAX);
  }
  attune_parameter *parameter = &p->list[p->count++];
  parameter->value = value;
  snprintf(parameter->name, sizeof parameter->name, "%s%s%s", name, word != NULL ? "_" : "", word != NULL ? word : "");
  for (char *c = parameter->name; *c != '\0'; c++)
    *c = (char)toupper((unsigned char)*c);
  return ATTUNE_OK;
}

/* A field of the config, or one that only other families have, with the value that it is absent by: parts that families
 * share ask for it. */
typedef struct {
  const attune_config_field *field;
  int32_t value;
} template_field;

static bool is_listed(const template_field *fields, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(fields[i].field->name, name) == 0) return true;
  return false;
}

static int list_fields(template_field out[PARAMETERS_MAX], const attune_config *config) {
  int count = 0;
  for (int i = 0; i < attune_config_field_count(config->family); i++) {
    const attune_config_field *field = attune_config_field_at(config->family, i);
    out[count++] = (template_field){field, attune_config_get(config, field)};
  }
  for (int32_t family = 0; family < ATTUNE_FAMILY_COUNT; family++)
    for (int i = 0; i < attune_config_field_count(family) && count < PARAMETERS_MAX; i++) {
      const attune_config_field *field = attune_config_field_at(family, i);
      if (!is_listed(out, count, field->name)) out[count++] = (template_field){field, field->absent};
    }
  return count;
}

/* What #if may ask, in capitals: numbers and flags by the field's name; of words, each as FIELD_WORD, which is 0 or 1.
 */
static attune_status fill_parameters(parameters *out, const attune_config *config) {
  template_field fields[PARAMETERS_MAX];
  const int count = list_fields(fields, config);
  out->count = 0;
  attune_status status = ATTUNE_OK;
  for (int i = 0; i < count && status == ATTUNE_OK; i++) {
    const attune_config_field *field = fields[i].field;
    const int32_t value = fields[i].value;
    if (field->words == NULL) status = add_parameter(out, field->name, NULL, value);
    for (int32_t w = 0; field->words != NULL && field->words[w] != NULL && status == ATTUNE_OK; w++) {
      status = add_parameter(out, field->name, field->words[w], value == w);
    }
  }
  return status;
}

/* The template, its parts, which come last, and the mask. */
static bool templates_use(const attune_source_file *files, int file_count, int first_part, const char *name) {
  for (int i = first_part; i < file_count; i++)
    if (attune_source_uses(files[i].text, name)) return true;
  return attune_source_uses(files[KERNEL_FILE].text, name) || attune_source_uses(files[MASK_FILE].text, name);
}

/* What stands in the place of parameters.h: those numbers that the templates use, as constants. */
static void print_parameters(attune_buffer *out, const attune_config *config, const attune_source_file *files,
                             int file_count, int first_part) {
  template_field fields[PARAMETERS_MAX];
  const int count = list_fields(fields, config);
  for (int i = 0; i < count; i++) {
    const attune_config_field *field = fields[i].field;
    if (field->words != NULL || field->flag) continue;
    if (field->absent == 0 && fields[i].value == 0) continue; /* what it is for is not there */
    if (!templates_use(files, file_count, first_part, field->name)) continue;
    attune_buffer_print(out, "constexpr int %s = %d; // %s\n", field->name, fields[i].value, field->meaning);
  }
  attune_buffer_add_text(out, "\n");
}

/* ---- emit ---- */

/* An architecture on which the config is legal, so that the command in the header works. */
static const char *some_architecture(const attune_config *config, attune_target target) {
  if (target == ATTUNE_TARGET_HOST) return "host";
  for (int i = 0; attune_architectures[i] != NULL; i++) {
    attune_device device;
    if (attune_device_of_arch(&device, attune_architectures[i]) == ATTUNE_OK &&
        attune_config_legal(config, &device) == ATTUNE_OK) {
      return attune_architectures[i];
    }
  }
  return "ARCH";
}

static void print_header(attune_buffer *out, const attune_config *config, const char *text, attune_target target) {
  attune_buffer_print(out,
                      "/* %s\n"
                      " * %s, generated by Attune%s. The same text again:\n"
                      " *   attune emit --arch %s --config %s\n"
                      " * Generator %s */\n\n",
                      text,
                      config->family == ATTUNE_FAMILY_BLOCK_MASK ? "The kernel of block lists" : "An attention kernel",
                      target == ATTUNE_TARGET_HOST ? " in C++17 for the simulator"
                                                   : "; compiles for every architecture that can hold it",
                      some_architecture(config, target), text, attune_generator_hash((attune_family)config->family));
}

attune_status attune_emit(char **source, const attune_config *config, const attune_problem *problem,
                          attune_target target) {
  if (source == NULL || config == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "emit: null pointer");
  const attune_family_row *family = attune_family_find(config->family);
  if (family == NULL) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "family is %d; there are %d", config->family, ATTUNE_FAMILY_COUNT);
  }
  const bool host = target == ATTUNE_TARGET_HOST;
  char text[ATTUNE_TEXT_MAX], symbol[ATTUNE_TEXT_MAX + 8];
  attune_buffer block = {0}, expressions = {0}, primitives = {0}, out = {0};
  char *code = NULL;
  parameters values;
  attune_status status;
  if ((status = attune_config_print(text, config))) goto done;
  if ((status = attune_config_symbol(symbol, config))) goto done;
  if ((status = fill_parameters(&values, config))) goto done;

  attune_source_file files[FILES_MAX] = {
      {.name = "kernel", .path = family->template_path},
      {.name = "parameters.h", .path = "the config's parameters"},
      {.name = "expressions.h", .path = "the problem's expressions"},
      {.name = "primitives.h",
       .path = host ? "templates/primitives.host.h" : "templates/primitives.cuda.h",
       .sections = true},
      {.name = "mask.h", .path = "templates/mask.h"},
      {.name = "arithmetic.h", .path = "templates/arithmetic.h"},
      {.name = "arguments.h", .path = "templates/arguments.h"},
      {.name = "host_interface.h", .path = "templates/host_interface.h"},
  };
  const int first_part = HOST_FILE + host;
  int file_count = first_part;
  for (int i = 0; i < ATTUNE_PARTS_MAX && family->parts[i] != NULL; i++)
    files[file_count++] = (attune_source_file){.name = strrchr(family->parts[i], '/') + 1, .path = family->parts[i]};
  for (int i = 0; i < file_count; i++) {
    if (i == PARAMETERS_FILE || i == EXPRESSIONS_FILE) continue;
    const attune_embedded *file = find_embedded(files[i].path);
    if (file == NULL) {
      status =
          attune_fail(ATTUNE_BAD_ARGUMENT, "%s is not in this build: add it to generator/module.ninja", files[i].path);
      goto done;
    }
    files[i].text = file->text;
  }
  print_parameters(&block, config, files, file_count, first_part);
  files[PARAMETERS_FILE].text = block.text;
  if ((status = attune_expressions_emit(&expressions, config, problem))) goto done;
  files[EXPRESSIONS_FILE].text = expressions.text;
  attune_buffer_add_text(&primitives, files[PRIMITIVES_FILE].text);
  if (!host && family->print_primitives != NULL) family->print_primitives(&primitives, config);
  files[PRIMITIVES_FILE].text = primitives.text;
  const attune_preprocess_input specialisation = {
      .files = files,
      .file_count = file_count,
      .parameters = values.list,
      .parameter_count = values.count,
      .kernel_name = symbol,
      .standard_includes = host,
  };
  if (block.failed || expressions.failed || primitives.failed) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while emitting %s", text);
    goto done;
  }
  if ((status = attune_preprocess(&code, &specialisation))) goto done;
  print_header(&out, config, text, target);
  attune_buffer_add_text(&out, code);
  if (out.failed) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while emitting %s", text);
    goto done;
  }
  *source = out.text;
  out.text = NULL;
done:
  free(code);
  attune_buffer_free(&block);
  attune_buffer_free(&expressions);
  attune_buffer_free(&primitives);
  attune_buffer_free(&out);
  return status;
}
