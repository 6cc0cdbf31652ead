/* From a template and its includes to one text, line by line. */
#include "generator/source/preprocess.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/buffer.h"
#include "generator/base/status.h"
#include "generator/source/lexer.h"

/* A line holds the longest expression with all that is written around its nodes. */
enum { NESTING_MAX = 32, LINE_MAX_BYTES = 1 << 14, NAME_MAX_BYTES = 64 };

static bool same(const char *name, size_t length, const char *other) {
  return strlen(other) == length && strncmp(name, other, length) == 0;
}

/* ---- directives ---- */

typedef struct {
  bool parent;  /* what surrounds the #if is taken */
  bool taking;  /* this branch is taken */
  bool decided; /* some branch was taken */
  bool guard;   /* of an include guard, whose #define is to come */
  bool has_else;
  char name[NAME_MAX_BYTES];
} branch;

typedef struct {
  const attune_preprocess_input *input;
  attune_buffer text;
  bool included[ATTUNE_SOURCE_FILES_MAX];
} state;

typedef struct {
  state *s;
  const attune_source_file *file;
  attune_buffer own; /* the file's text, which comes after that of what it includes */
  int line;
  bool in_comment;
  int nesting;
  branch branches[NESTING_MAX];
} pass;

static attune_status process_file(state *s, int index);

static void add_line(attune_buffer *out, const char *line) {
  attune_buffer_add_text(out, line);
  attune_buffer_add(out, "\n", 1);
}

static attune_status fault(const pass *p, const char *what, const char *which) {
  return attune_fail(ATTUNE_BAD_ARGUMENT, "%s:%d: %s%s", p->file->path, p->line, what, which);
}

static bool taking(const pass *p) {
  return p->nesting == 0 || p->branches[p->nesting - 1].taking;
}

static attune_status decide(const pass *p, const char *expression, bool *value) {
  char where[256];
  int64_t number = 0;
  snprintf(where, sizeof where, "%s:%d", p->file->path, p->line);
  const attune_status status =
      attune_preprocessor_expression(&number, expression, p->s->input->parameters, p->s->input->parameter_count, where);
  *value = number != 0;
  return status;
}

static attune_status open_branch(pass *p, const char *expression, bool guard) {
  if (p->nesting == NESTING_MAX) return fault(p, "#if nested too deeply", "");
  branch *b = &p->branches[p->nesting];
  *b = (branch){.parent = taking(p), .guard = guard};
  bool value = guard;
  if (guard) {
    snprintf(b->name, sizeof b->name, "%s", expression);
  } else if (b->parent) {
    const attune_status status = decide(p, expression, &value);
    if (status) return status;
  }
  b->taking = b->parent && value;
  b->decided = value;
  p->nesting++;
  return ATTUNE_OK;
}

static attune_status next_branch(pass *p, const char *expression) {
  if (p->nesting == 0 || p->branches[p->nesting - 1].has_else) return fault(p, "#elif or #else without #if", "");
  branch *b = &p->branches[p->nesting - 1];
  bool value = true;
  if (expression == NULL) {
    b->has_else = true;
  } else if (b->parent) {
    const attune_status status = decide(p, expression, &value); /* even where it no longer matters: a typo is a fault */
    if (status) return status;
  }
  b->taking = b->parent && !b->decided && value;
  b->decided = b->decided || value;
  return ATTUNE_OK;
}

static int find_file(const state *s, const char *name, size_t length) {
  for (int i = 0; i < s->input->file_count; i++) {
    if (same(name, length, s->input->files[i].name)) return i;
  }
  return -1;
}

static attune_status include(pass *p, const char *line, const char *argument) {
  if (argument[0] == '<') {
    if (!p->s->input->standard_includes) return fault(p, "no place for ", line);
    add_line(&p->own, line);
    return ATTUNE_OK;
  }
  const size_t length = argument[0] == '"' ? strcspn(argument + 1, "\"") : 0;
  size_t folders = 0; /* bytes of its path */
  for (size_t i = 0; i < length; i++)
    if (argument[1 + i] == '/') folders = i + 1;
  const int index = find_file(p->s, argument + 1 + folders, length - folders);
  if (index < 0) return fault(p, "no such file: ", line);
  if (p->s->included[index]) return ATTUNE_OK;
  return process_file(p->s, index);
}

/* `directive` is what follows the '#', without comments and blanks at its ends. */
static attune_status handle_directive(pass *p, const char *line, const char *directive) {
  size_t length = 0;
  while (attune_is_word_character(directive[length]))
    length++;
  const char *argument = directive + length + strspn(directive + length, " \t");
  if (same(directive, length, "if")) return open_branch(p, argument, false);
  if (same(directive, length, "ifndef")) return open_branch(p, argument, true);
  if (same(directive, length, "elif")) return next_branch(p, argument);
  if (same(directive, length, "else")) return next_branch(p, NULL);
  if (same(directive, length, "endif")) {
    if (p->nesting == 0) return fault(p, "#endif without #if", "");
    p->nesting--;
    return ATTUNE_OK;
  }
  if (!taking(p)) return ATTUNE_OK;
  if (same(directive, length, "include")) return include(p, line, argument);
  if (same(directive, length, "pragma") && strcmp(argument, "once") == 0) return ATTUNE_OK;
  if (same(directive, length, "ifdef")) return fault(p, "write #if over the parameters instead of: ", line);
  branch *b = p->nesting > 0 ? &p->branches[p->nesting - 1] : NULL;
  if (b != NULL && b->guard) {
    if (!same(directive, length, "define") || strcmp(argument, b->name) != 0) {
      return fault(p, "#ifndef serves include guards only: ", b->name);
    }
    b->guard = false;
    return ATTUNE_OK;
  }
  add_line(&p->own, line);
  return ATTUNE_OK;
}

/* Whether a block comment is open after the line. */
static bool comment_after(const char *line, bool open) {
  for (const char *c = line; *c != '\0'; c++) {
    if (open && c[0] == '*' && c[1] == '/') {
      open = false;
      c++;
    } else if (!open && c[0] == '/' && c[1] == '/') {
      return false;
    } else if (!open && c[0] == '/' && c[1] == '*') {
      open = true;
      c++;
    }
  }
  return open;
}

static void strip_directive(char *out, const char *text) {
  size_t length = 0;
  bool in_comment = false;
  for (const char *c = text; *c != '\0'; c++) {
    if (!in_comment && c[0] == '/' && c[1] == '/') break;
    if (!in_comment && c[0] == '/' && c[1] == '*') in_comment = true;
    if (!in_comment) out[length++] = *c;
    if (in_comment && c[0] == '*' && c[1] == '/') {
      in_comment = false;
      c++;
    }
  }
  while (length > 0 && (out[length - 1] == ' ' || out[length - 1] == '\t'))
    length--;
  out[length] = '\0';
}

static attune_status handle_line(pass *p, const char *line) {
  const bool was_in_comment = p->in_comment;
  p->in_comment = comment_after(line, was_in_comment);
  const char *first = line + strspn(line, " \t");
  if (*first == '#' && !was_in_comment) {
    char directive[LINE_MAX_BYTES];
    strip_directive(directive, first + 1 + strspn(first + 1, " \t"));
    return handle_directive(p, line, directive);
  }
  if (taking(p)) add_line(&p->own, line);
  return ATTUNE_OK;
}

/* Appends the file's text, and before it that of what it includes. */
static attune_status process_file(state *s, int index) {
  const attune_source_file *file = &s->input->files[index];
  s->included[index] = true;
  pass *p = calloc(1, sizeof *p);
  if (p == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while preprocessing %s", file->path);
  *p = (pass){.s = s, .file = file};
  attune_status status = ATTUNE_OK;
  for (const char *at = file->text; *at != '\0' && status == ATTUNE_OK;) {
    char line[LINE_MAX_BYTES];
    const size_t length = strcspn(at, "\n");
    p->line++;
    if (length >= sizeof line) {
      status = fault(p, "line too long", "");
      break;
    }
    memcpy(line, at, length);
    line[length] = '\0';
    at += length + (at[length] == '\n');
    status = handle_line(p, line);
  }
  if (status == ATTUNE_OK && p->nesting > 0) status = fault(p, "#if without #endif", "");
  if (s->text.length > 0) attune_buffer_add_text(&s->text, "\n");
  attune_buffer_add(&s->text, p->own.text != NULL ? p->own.text : "", p->own.length);
  s->text.failed = s->text.failed || p->own.failed;
  attune_buffer_free(&p->own);
  free(p);
  return status;
}

/* Copies code with no more than one empty line in a row, and none at its beginning. */
static void add_code(attune_buffer *out, const char *text) {
  for (const char *at = text; *at != '\0';) {
    const size_t length = strcspn(at, "\n") + 1;
    const bool last = at[length - 1] == '\0';
    const bool after_empty = out->length == 0 || (out->text[out->length - 1] == '\n' &&
                                                  (out->length == 1 || out->text[out->length - 2] == '\n'));
    if (length > 1 || !after_empty) attune_buffer_add(out, at, length - last);
    at += length - last;
  }
}

attune_status attune_preprocess(char **out, const attune_preprocess_input *input) {
  if (input->file_count < 1 || input->file_count > ATTUNE_SOURCE_FILES_MAX) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "%d source files, from 1 to %d are possible", input->file_count,
                       ATTUNE_SOURCE_FILES_MAX);
  }
  state s = {.input = input};
  attune_buffer text = {0};
  attune_status status = process_file(&s, 0);
  if (status == ATTUNE_OK && s.text.text != NULL) add_code(&text, s.text.text);
  attune_buffer_add(&text, "", 0); /* an empty text is a text */
  if (status == ATTUNE_OK && (text.failed || s.text.failed))
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while preprocessing");
  if (status == ATTUNE_OK) {
    *out = text.text;
    text.text = NULL;
  }
  attune_buffer_free(&text);
  attune_buffer_free(&s.text);
  return status;
}
