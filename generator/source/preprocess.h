/* Private to generator/: a template and what it includes, turned into one text for one set of parameters. It knows
 * nothing of attention; emit.c gives it the texts and the parameters, tests give it their own. */
#ifndef ATTUNE_PREPROCESS_H
#define ATTUNE_PREPROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/attune.h"

typedef struct {
  char name[40];
  int64_t value;
} attune_parameter;

/* The value of an #if expression over the parameters: integers, parameters, defined(X), ! * + - comparison && || and
 * parentheses. `where` ("file:line") goes into the message of a fault. */
attune_status attune_preprocessor_expression(int64_t *out, const char *expression, const attune_parameter *parameters,
                                             int count, const char *where);

typedef struct {
  const char *name; /* as #include "name" or "folder/name" says it */
  const char *path; /* for messages */
  const char *text;
} attune_source_file;

enum { ATTUNE_SOURCE_FILES_MAX = 64 };

typedef struct {
  const attune_source_file *files; /* the template is the first */
  int file_count;
  const attune_parameter *parameters;
  int parameter_count;
  bool standard_includes; /* #include <...> passes, else it is a fault */
} attune_preprocess_input;

/* *out is malloc'ed. The text of a file that is included comes before all text of the one that includes it, once;
 * #pragma once and include guards go; #if, #elif, #else, #endif are decided and branches not taken go. */
attune_status attune_preprocess(char **out, const attune_preprocess_input *input);

#endif
