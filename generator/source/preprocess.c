/* From a template and its includes to one text. Works line by line for directives, and by identifiers for what is used.
 */
#include "generator/source/preprocess.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/buffer.h"
#include "generator/base/status.h"

enum { NESTING_MAX = 32, INCLUDES_MAX = 32, SECTIONS_MAX = 128, LINE_MAX_BYTES = 1024, NAME_MAX_BYTES = 64 };

static const char section_mark[] = "// @primitive ";
static const char kernel_name_mark[] = "KERNEL_NAME";

/* ---- words ---- */

static bool is_word(char c) {
  return isalnum((unsigned char)c) || c == '_';
}

/* The next identifier of C code from *at on, past comments, strings and numbers. False at the end. */
static bool next_identifier(const char **at, const char **name, size_t *length) {
  const char *c = *at;
  while (*c != '\0') {
    if (c[0] == '/' && c[1] == '/') {
      c += strcspn(c, "\n");
    } else if (c[0] == '/' && c[1] == '*') {
      const char *end = strstr(c + 2, "*/");
      c = end != NULL ? end + 2 : c + strlen(c);
    } else if (*c == '"' || *c == '\'') {
      const char quote = *c++;
      while (*c != '\0' && *c != quote)
        c += c[0] == '\\' && c[1] != '\0' ? 2 : 1;
      if (*c != '\0') c++;
    } else if (isdigit((unsigned char)*c)) {
      while (is_word(*c))
        c++;
    } else if (is_word(*c)) {
      const char *start = c;
      while (is_word(*c))
        c++;
      *name = start;
      *length = (size_t)(c - start);
      *at = c;
      return true;
    } else {
      c++;
    }
  }
  *at = c;
  return false;
}

static bool same(const char *name, size_t length, const char *other) {
  return strlen(other) == length && strncmp(name, other, length) == 0;
}

bool attune_source_uses(const char *text, const char *name) {
  const char *found;
  size_t length;
  while (next_identifier(&text, &found, &length)) {
    if (same(found, length, name)) return true;
  }
  return false;
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
  const attune_preprocess_input *specialisation;
  attune_buffer code[2]; /* of the template: before and after the file with sections */
  attune_buffer sections;
  int section_file; /* -1: none was included */
  bool included[INCLUDES_MAX];
} state;

typedef struct {
  state *s;
  const attune_source_file *file;
  bool in_sections; /* the file with sections, or included by it */
  attune_buffer *out;
  int line;
  bool in_comment;
  int nesting;
  branch branches[NESTING_MAX];
} pass;

static attune_status process_file(state *s, int index, bool in_sections);

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
  const attune_status status = attune_preprocessor_expression(&number, expression, p->s->specialisation->parameters,
                                                              p->s->specialisation->parameter_count, where);
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
  for (int i = 0; i < s->specialisation->file_count; i++) {
    if (same(name, length, s->specialisation->files[i].name)) return i;
  }
  return -1;
}

static attune_status include(pass *p, const char *line, const char *argument) {
  if (argument[0] == '<') {
    if (!p->s->specialisation->standard_includes) return fault(p, "no place for ", line);
    add_line(p->out, line);
    return ATTUNE_OK;
  }
  const size_t length = argument[0] == '"' ? strcspn(argument + 1, "\"") : 0;
  const int index = length > 0 ? find_file(p->s, argument + 1, length) : -1;
  if (index < 0) return fault(p, "no such file: ", line);
  if (p->s->included[index]) return ATTUNE_OK;
  return process_file(p->s, index, p->in_sections);
}

/* `directive` is what follows the '#', without comments and blanks at its ends. */
static attune_status handle_directive(pass *p, const char *line, const char *directive) {
  size_t length = 0;
  while (is_word(directive[length]))
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
  add_line(p->out, line);
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
  if (taking(p)) add_line(p->out, line);
  return ATTUNE_OK;
}

/* Appends the file's text to where its kind goes. */
static attune_status process_file(state *s, int index, bool in_sections) {
  const attune_source_file *file = &s->specialisation->files[index];
  s->included[index] = true;
  if (file->sections) {
    if (s->section_file >= 0) return attune_fail(ATTUNE_BAD_ARGUMENT, "%s: a second file with sections", file->path);
    s->section_file = index;
    in_sections = true;
  }
  pass *p = calloc(1, sizeof *p);
  if (p == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while specialising %s", file->path);
  *p = (pass){.s = s, .file = file, .in_sections = in_sections};
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
    p->out = in_sections ? &s->sections : &s->code[s->section_file >= 0];
    status = handle_line(p, line);
  }
  if (status == ATTUNE_OK && p->nesting > 0) status = fault(p, "#if without #endif", "");
  free(p);
  return status;
}

/* ---- sections ---- */

typedef struct {
  const char *names; /* of the mark's line */
  size_t names_length;
  const char *text;
  size_t length;
  bool kept;
} section;

typedef struct {
  const char *head; /* what stands before the first section */
  size_t head_length;
  section list[SECTIONS_MAX];
  int count;
} section_list;

static attune_status split_sections(section_list *out, const char *text) {
  *out = (section_list){.head = text};
  const char *at = text;
  size_t *length = &out->head_length;
  while (*at != '\0') {
    const char *line = at;
    at += strcspn(at, "\n");
    at += *at == '\n';
    if (strncmp(line, section_mark, strlen(section_mark)) != 0) {
      *length += (size_t)(at - line);
      continue;
    }
    if (out->count == SECTIONS_MAX) {
      return attune_fail(ATTUNE_BAD_ARGUMENT, "more than %d sections of primitives", SECTIONS_MAX);
    }
    section *s = &out->list[out->count++];
    *s = (section){.names = line + strlen(section_mark), .text = at};
    s->names_length = (size_t)(at - s->names);
    length = &s->length;
  }
  return ATTUNE_OK;
}

static bool has_name(const section *s, const char *name, size_t length) {
  for (size_t i = 0; i + length <= s->names_length; i++) {
    const bool starts = i == 0 || !is_word(s->names[i - 1]);
    if (starts && strncmp(s->names + i, name, length) == 0 && !is_word(s->names[i + length])) return true;
  }
  return false;
}

/* Keeps every section that the text uses, and what those use. Each section is walked once. */
static attune_status keep_used(section_list *sections, const char *text, size_t text_length) {
  char *copy = strndup(text, text_length);
  if (copy == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while specialising");
  attune_status status = ATTUNE_OK;
  const char *at = copy, *name;
  size_t length;
  while (status == ATTUNE_OK && next_identifier(&at, &name, &length)) {
    for (int i = 0; i < sections->count && status == ATTUNE_OK; i++) {
      section *s = &sections->list[i];
      if (s->kept || !has_name(s, name, length)) continue;
      s->kept = true;
      status = keep_used(sections, s->text, s->length);
    }
  }
  free(copy);
  return status;
}

/* ---- assembly ---- */

/* Copies code with KERNEL_NAME replaced and no more than one empty line in a row. */
static void add_code(attune_buffer *out, const char *text, size_t length, const char *kernel_name) {
  const size_t mark = strlen(kernel_name_mark);
  for (size_t i = 0; i < length;) {
    const bool starts_word = i == 0 || !is_word(text[i - 1]);
    if (starts_word && i + mark <= length && strncmp(text + i, kernel_name_mark, mark) == 0 &&
        (i + mark == length || !is_word(text[i + mark]))) {
      attune_buffer_add_text(out, kernel_name);
      i += mark;
      continue;
    }
    const bool at_start = out->length == 0 || out->text[out->length - 1] == '\n';
    const bool after_empty = out->length == 0 || (at_start && (out->length == 1 || out->text[out->length - 2] == '\n'));
    if (!(text[i] == '\n' && after_empty)) attune_buffer_add(out, text + i, 1);
    i++;
  }
}

static attune_status assemble(attune_buffer *out, state *s) {
  section_list *sections = malloc(sizeof *sections);
  if (sections == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while specialising");
  attune_status status = split_sections(sections, s->sections.text != NULL ? s->sections.text : "");
  for (int i = 0; i < 2 && status == ATTUNE_OK; i++) {
    if (s->code[i].text != NULL) status = keep_used(sections, s->code[i].text, s->code[i].length);
  }
  if (status == ATTUNE_OK) {
    const char *name = s->specialisation->kernel_name;
    add_code(out, s->code[0].text, s->code[0].length, name);
    add_code(out, sections->head, sections->head_length, name);
    for (int i = 0; i < sections->count; i++) {
      if (sections->list[i].kept) add_code(out, sections->list[i].text, sections->list[i].length, name);
    }
    add_code(out, s->code[1].text, s->code[1].length, name);
  }
  free(sections);
  return status;
}

attune_status attune_preprocess(char **out, const attune_preprocess_input *specialisation) {
  if (specialisation->file_count < 1 || specialisation->file_count > INCLUDES_MAX) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "a specialisation of %d files, from 1 to %d are possible",
                       specialisation->file_count, INCLUDES_MAX);
  }
  state s = {.specialisation = specialisation, .section_file = -1};
  attune_buffer text = {0};
  attune_status status = process_file(&s, 0, false);
  if (status == ATTUNE_OK) status = assemble(&text, &s);
  attune_buffer_add(&text, "", 0); /* an empty text is a text */
  const bool failed = text.failed || s.code[0].failed || s.code[1].failed || s.sections.failed;
  if (status == ATTUNE_OK && failed) status = attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while specialising");
  if (status == ATTUNE_OK) {
    *out = text.text;
    text.text = NULL;
  }
  attune_buffer_free(&text);
  attune_buffer_free(&s.code[0]);
  attune_buffer_free(&s.code[1]);
  attune_buffer_free(&s.sections);
  return status;
}
