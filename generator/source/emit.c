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
#include "generator/source/prune.h"

enum { PARAMETERS_MAX = 96 };
/* The first of the source files. The others are all that the build holds. */
enum { KERNEL_FILE, PARAMETERS_FILE, LAYOUT_FILE, EXPRESSIONS_FILE, PRIMITIVES_FILE, FIRST_HELD };

static const attune_embedded *find_embedded(const char *path) {
  for (int i = 0; i < attune_embedded_count; i++) {
    if (strcmp(attune_embedded_files[i].path, path) == 0) return &attune_embedded_files[i];
  }
  return NULL;
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

static bool is_named(const attune_config *config, int32_t family) {
  return strcmp(attune_family_name((attune_family)config->family), attune_family_name((attune_family)family)) == 0;
}

/* What #if may ask, in capitals: numbers and flags by the field's name; of words, each as FIELD_WORD, which is 0 or 1.
 * And one that follows from the problem's expression. */
static attune_status fill_parameters(parameters *out, const attune_config *config, const attune_problem *problem) {
  template_field fields[PARAMETERS_MAX];
  const int count = list_fields(fields, config);
  out->count = 0;
  attune_status status = ATTUNE_OK;
  for (int32_t family = 0; family < ATTUNE_FAMILY_COUNT && status == ATTUNE_OK; family++)
    status = add_parameter(out, "family", attune_family_name((attune_family)family), is_named(config, family));
  for (int i = 0; i < ATTUNE_OPERATION_COUNT && status == ATTUNE_OK; i++)
    status = add_parameter(out, "operation", attune_operation_name((attune_kernel_operation)i),
                           attune_config_operation(config) == (attune_kernel_operation)i);
  for (int i = 0; i < count && status == ATTUNE_OK; i++) {
    const attune_config_field *field = fields[i].field;
    const int32_t value = fields[i].value;
    if (field->words == NULL) status = add_parameter(out, field->name, NULL, value);
    for (int32_t w = 0; field->words != NULL && field->words[w] != NULL && status == ATTUNE_OK; w++) {
      status = add_parameter(out, field->name, field->words[w], value == w);
    }
  }
  const bool expression = config->score == ATTUNE_SCORE_EXPRESSION;
  if (status == ATTUNE_OK)
    status = add_parameter(out, "score_unbounded", NULL, expression && !attune_problem_bounds_score(problem));
  return status;
}

/* What stands in the place of parameters.h: the numbers, as constants. */
static void print_parameters(attune_buffer *out, const attune_config *config) {
  template_field fields[PARAMETERS_MAX];
  const int count = list_fields(fields, config);
  for (int i = 0; i < count; i++) {
    const attune_config_field *field = fields[i].field;
    if (field->words != NULL || field->flag || fields[i].value < 0) continue; /* < 0: only other families have it */
    attune_buffer_print(out, "constexpr int %s = %d; // %s\n", field->name, fields[i].value, field->meaning);
  }
}

/* ---- emit ---- */

/* An architecture on which the config is legal, so that the command in the header works. */
static const char *some_architecture(const attune_config *config, attune_target target) {
  if (target == ATTUNE_TARGET_SIMULATOR) return "host";
  for (int i = 0; attune_architectures[i] != NULL; i++) {
    attune_device device;
    if (attune_device_of_arch(&device, attune_architectures[i]) == ATTUNE_OK &&
        attune_config_legal(config, &device) == ATTUNE_OK) {
      return attune_architectures[i];
    }
  }
  return "ARCH";
}

/* Whether the operation is a step of the backward pass beside those for dK, dV and dQ. */
static bool runs_beside(attune_kernel_operation operation) {
  return operation == ATTUNE_OPERATION_DELTA || operation == ATTUNE_OPERATION_DBIAS ||
         operation == ATTUNE_OPERATION_DSINKS;
}

/* What is launched: the grid for a problem, in words. */
static void print_launch(attune_buffer *out, const attune_config *config) {
  const attune_family_row *family = attune_family_find(config->family);
  const bool of_keys = family->operation == ATTUNE_OPERATION_BACKWARD;
  const bool of_gradients = of_keys || family->operation == ATTUNE_OPERATION_DQ || runs_beside(family->operation);
  if (family->operation == ATTUNE_OPERATION_DBIAS) {
    attune_buffer_print(
        out, " * Launch: a block for each tile of %d x %d of the bias, of all its heads and sequences;\n *   ",
        config->tile_m, config->tile_n);
  } else if (family->operation == ATTUNE_OPERATION_DSINKS) {
    attune_buffer_add_text(out, " * Launch: a block for each head;\n *   ");
  } else if (attune_config_field_named(config->family, "tile_m") != NULL) {
    attune_buffer_print(out, " * Launch: a grid of %s x batch", of_keys ? "tiles_n x heads_kv" : "tiles_m x heads_q");
    if (config->pack_gqa > 1) attune_buffer_print(out, " / %d", config->pack_gqa);
    if (attune_config_value(config, "split_dkv")) attune_buffer_add_text(out, " x 2");
    if (config->family == ATTUNE_FAMILY_DQ_CONVERT) attune_buffer_print(out, " x %d", attune_dq_parts(config));
    if (config->splits > 1) attune_buffer_print(out, " x %d", config->splits);
    attune_buffer_add_text(out, " blocks");
    if (config->persistent)
      attune_buffer_print(out, ", or %d for each multiprocessor if that is less", config->min_blocks_per_sm);
    if (config->cluster > 1) attune_buffer_print(out, ", in clusters of %d", config->cluster);
    attune_buffer_add_text(out, ";\n *   ");
  } else {
    attune_buffer_print(out, " * Launch: one warp for each %s;\n *   ",
                        family->operation == ATTUNE_OPERATION_BLOCK_MASK
                            ? "row or column of blocks, or to transpose for each 32 columns"
                        : family->operation == ATTUNE_OPERATION_DELTA ? "four rows of O, with those that pad"
                                                                      : "row of O");
  }
  attune_buffer_print(out, "%d threads, %lld bytes of dynamic shared memory; called with attune_%sarguments%s\n",
                      config->warps * 32, (long long)attune_shared_bytes(config),
                      family->operation == ATTUNE_OPERATION_BLOCK_MASK ? "block_mask_"
                      : of_gradients                                   ? "backward_"
                                                                       : "",
                      family->tensor_maps ? ", attune_tensor_maps" : "");
  if (family->operation == ATTUNE_OPERATION_COMBINE)
    attune_buffer_add_text(out, " *   On sm_90 and later it may be launched with programmatic stream serialisation.\n");
}

/* The kernels around one of the backward pass. */
static void print_steps(attune_buffer *out, const attune_config *config) {
  attune_config kernels[ATTUNE_STEPS_MAX];
  char before[ATTUNE_TEXT_MAX], after[ATTUNE_TEXT_MAX];
  if (attune_config_operation(config) != ATTUNE_OPERATION_BACKWARD) return;
  const int count = attune_config_kernels(kernels, config);
  if (attune_config_print(before, &kernels[0]) != ATTUNE_OK || attune_config_print(after, &kernels[2]) != ATTUNE_OK)
    return;
  attune_buffer_print(out, " * Runs after %s;\n *   before %s%s\n", before,
                      kernels[2].family == ATTUNE_FAMILY_DQ_CONVERT ? "" : "or after ", after);
  for (int i = 3; i < count; i++)
    if (attune_config_print(after, &kernels[i]) == ATTUNE_OK)
      attune_buffer_print(out, " *   before or after %s\n", after);
}

static void print_header(attune_buffer *out, const attune_config *config, const char *text, attune_target target) {
  const char *arch = some_architecture(config, target);
  attune_buffer_print(out, "/* %s, generated by Attune.\n *\n", text);
  if (target == ATTUNE_TARGET_SIMULATOR) {
    attune_buffer_add_text(out, " * C++17 for the simulator.\n");
  } else {
    char needed[16];
    attune_config_target(needed, config, arch);
    attune_buffer_print(out, " * Requires %s%s. Build: nvcc -std=c++17 -cubin -arch=%s FILE\n", needed,
                        attune_family_find(config->family)->own_arch != 0 ? "" : " or later", needed);
  }
  print_launch(out, config);
  print_steps(out, config);
  attune_buffer_print(out, " * Regenerate: attune emit --arch %s --config %s */\n\n", arch, text);
}

/* What takes the place of the templates' stand-ins. */
typedef struct {
  attune_buffer parameters, layout, expressions, primitives;
} generated;

static attune_status generate(generated *out, const attune_config *config, const attune_problem *problem,
                              attune_target target) {
  const attune_family_row *family = attune_family_find(config->family);
  const bool simulator = target == ATTUNE_TARGET_SIMULATOR;
  const char *path = simulator ? "templates/primitives/simulator.h" : "templates/primitives/cuda.h";
  print_parameters(&out->parameters, config);
  attune_layout layout = {0};
  family->layout(&layout, config);
  attune_layout_print(&out->layout, &layout);
  const attune_status status = attune_expressions_emit(&out->expressions, config, problem);
  if (status) return status;
  const attune_embedded *primitives = find_embedded(path);
  if (primitives == NULL)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "%s is not in this build: add it to generator/module.ninja", path);
  attune_buffer_add_text(&out->primitives, primitives->text);
  if (!simulator && family->print_primitives != NULL) family->print_primitives(&out->primitives, config);
  if (out->parameters.failed || out->layout.failed || out->expressions.failed || out->primitives.failed)
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while emitting");
  return ATTUNE_OK;
}

static void free_generated(generated *g) {
  attune_buffer_free(&g->parameters);
  attune_buffer_free(&g->layout);
  attune_buffer_free(&g->expressions);
  attune_buffer_free(&g->primitives);
}

static const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

/* The template with all that it includes, as one text for the config's parameters. */
static attune_status preprocess(char **out, const attune_config *config, const attune_problem *problem,
                                const generated *g, attune_target target) {
  const attune_embedded *kernel = find_embedded(attune_family_find(config->family)->template_path);
  attune_source_file files[ATTUNE_SOURCE_FILES_MAX];
  parameters values;
  const attune_status status = fill_parameters(&values, config, problem);
  if (status) return status;
  if (kernel == NULL || FIRST_HELD + attune_embedded_count > ATTUNE_SOURCE_FILES_MAX)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "this build holds %d templates, not that of family %d or too many",
                       attune_embedded_count, config->family);
  files[KERNEL_FILE] = (attune_source_file){"the template", kernel->path, kernel->text};
  files[PARAMETERS_FILE] = (attune_source_file){"parameters.h", "the config's parameters", g->parameters.text};
  files[LAYOUT_FILE] = (attune_source_file){"layout.h", "the config's layout", g->layout.text};
  files[EXPRESSIONS_FILE] = (attune_source_file){"expressions.h", "the problem's expressions",
                                                 g->expressions.text != NULL ? g->expressions.text : ""};
  files[PRIMITIVES_FILE] = (attune_source_file){"cuda.h", "the primitives", g->primitives.text};
  for (int i = 0; i < attune_embedded_count; i++) {
    const attune_embedded *held = &attune_embedded_files[i];
    files[FIRST_HELD + i] = (attune_source_file){file_name(held->path), held->path, held->text};
  }
  const attune_preprocess_input input = {
      .files = files,
      .file_count = FIRST_HELD + attune_embedded_count,
      .parameters = values.list,
      .parameter_count = values.count,
      .standard_includes = target == ATTUNE_TARGET_SIMULATOR,
  };
  return attune_preprocess(out, &input);
}

/* Appends the text with each `what` replaced. */
static void add_replaced(attune_buffer *out, const char *text, const char *what, const char *by) {
  for (const char *found; (found = strstr(text, what)) != NULL; text = found + strlen(what)) {
    attune_buffer_add(out, text, (size_t)(found - text));
    attune_buffer_add_text(out, by);
  }
  attune_buffer_add_text(out, text);
}

attune_status attune_emit(char **source, const attune_config *config, const attune_problem *problem,
                          attune_target target) {
  static const char kernel_name[] = "KERNEL_NAME"; /* of the templates */
  if (source == NULL || config == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "emit: null pointer");
  if (attune_family_find(config->family) == NULL)
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "family is %d; there are %d", config->family, ATTUNE_FAMILY_LAST + 1);
  char text[ATTUNE_TEXT_MAX], symbol[ATTUNE_TEXT_MAX + 8];
  generated parts = {0};
  attune_buffer code = {0}, out = {0};
  char *whole = NULL;
  attune_status status = attune_config_print(text, config);
  if (status == ATTUNE_OK) status = attune_config_symbol(symbol, config);
  if (status == ATTUNE_OK) status = generate(&parts, config, problem, target);
  if (status == ATTUNE_OK) status = preprocess(&whole, config, problem, &parts, target);
  if (status == ATTUNE_OK) status = attune_prune(&code, whole, kernel_name);
  if (status == ATTUNE_OK) {
    print_header(&out, config, text, target);
    add_replaced(&out, code.text, kernel_name, symbol);
    if (out.failed) status = attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while emitting %s", text);
  }
  if (status == ATTUNE_OK) {
    *source = out.text;
    out.text = NULL;
  }
  free(whole);
  free_generated(&parts);
  attune_buffer_free(&code);
  attune_buffer_free(&out);
  return status;
}
