/* Splits a text into its declarations at file scope, and keeps those that can be reached from the root by name. */
#include "generator/source/prune.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/source/lexer.h"

typedef enum { DECLARATION, FUNCTION, OPERATOR, TYPE, HEADING, SECTION_HEADING, ALWAYS } item_kind;

typedef struct {
  const char *start, *code, *end;       /* with the comments before it; without */
  const char *parameters, *after_first; /* of functions: from the parenthesis to its end */
  item_kind kind;
  bool blank_before, wanted, kept;
} item;

/* What an item declares: a name, or the symbol of an operator. */
typedef struct {
  attune_token token;
  int item;
  int next; /* of the same bucket, or -1 */
} item_name;

enum { BUCKETS = 1024 };

typedef struct {
  item *items;
  item_name *names;
  int item_count, name_count, item_capacity, name_capacity;
  int buckets[BUCKETS]; /* the last name of each, or -1 */
  bool failed;
} unit;

static unsigned bucket_of(const attune_token *token) {
  unsigned hash = 2166136261u; /* FNV-1a */
  for (size_t i = 0; i < token->length; i++)
    hash = (hash ^ (unsigned char)token->start[i]) * 16777619u;
  return (hash ^ hash >> 16) % BUCKETS;
}

static item *add_item(unit *u) {
  if (u->item_count == u->item_capacity) {
    const int capacity = u->item_capacity ? 2 * u->item_capacity : 256;
    item *grown = realloc(u->items, (size_t)capacity * sizeof *grown);
    if (grown == NULL) {
      u->failed = true;
      return NULL;
    }
    u->items = grown;
    u->item_capacity = capacity;
  }
  u->items[u->item_count] = (item){.kind = ALWAYS};
  return &u->items[u->item_count++];
}

static void add_name(unit *u, attune_token token) {
  if (u->name_count == u->name_capacity) {
    const int capacity = u->name_capacity ? 2 * u->name_capacity : 512;
    item_name *grown = realloc(u->names, (size_t)capacity * sizeof *grown);
    if (grown == NULL) {
      u->failed = true;
      return;
    }
    u->names = grown;
    u->name_capacity = capacity;
  }
  int *bucket = &u->buckets[bucket_of(&token)];
  u->names[u->name_count] = (item_name){token, u->item_count - 1, *bucket};
  *bucket = u->name_count++;
}

/* Of the names from number `at` of a bucket on, the next that is the token; -1: there is none. */
static int same_name(const unit *u, int at, const attune_token *token) {
  while (at >= 0 && !(u->names[at].token.length == token->length &&
                      memcmp(u->names[at].token.start, token->start, token->length) == 0))
    at = u->names[at].next;
  return at;
}

static int first_name(const unit *u, const attune_token *token) {
  return same_name(u, u->buckets[bucket_of(token)], token);
}

static int next_name(const unit *u, int at, const attune_token *token) {
  return same_name(u, u->names[at].next, token);
}

/* ---- splitting ---- */

static int newlines(const char *from, const char *to) {
  int count = 0;
  for (; from < to; from++)
    count += *from == '\n';
  return count;
}

/* The end of the declaration that begins at `at`: past its ';', or the '}' that no ';' follows. Of all characters these
 * alone matter: brackets, ends, and what begins a comment or a literal. */
static const char *end_of_declaration(const char *at) {
  int depth = 0;
  attune_token t;
  for (;;) {
    at += strcspn(at, "()[]{};/\"'");
    if (!attune_next_token(&t, &at, NULL)) return at;
    const char symbol = t.kind == ATTUNE_TOKEN_SYMBOL ? *t.start : '\0';
    if (symbol == '(' || symbol == '[' || symbol == '{') depth++;
    if (symbol == ')' || symbol == ']' || symbol == '}') depth--;
    if (depth > 0) continue;
    if (symbol == ';') return at;
    if (symbol != '}') continue;
    const char *ahead = at;
    attune_token next;
    if (!attune_next_token(&next, &ahead, NULL) || !attune_token_in(&next, "; ,")) return at;
  }
}

static const char *end_of_directive(const char *at) {
  while (*at != '\0' && *at != '\n')
    at += at[0] == '\\' && at[1] == '\n' ? 2 : 1;
  return at;
}

/* What is left of the line if it is blank or a comment. */
static const char *end_of_line_comment(const char *at) {
  const char *c = at + strspn(at, " \t");
  const char *after = c[0] == '/' && (c[1] == '/' || c[1] == '*') ? attune_skip_comment(c) : at;
  return newlines(c, after) == 0 ? after : at;
}

static void split(unit *u, const char *text) {
  const char *at = text;
  while (*at != '\0' && !u->failed) {
    const char *blank = at;
    at += strspn(at, " \t\n");
    if (*at == '\0') break;
    item *i = add_item(u);
    if (i == NULL) return;
    i->start = i->code = at;
    i->blank_before = newlines(blank, at) > 1;
    while (at[0] == '/' && (at[1] == '/' || at[1] == '*')) {
      const char *after = attune_skip_comment(at);
      const char *next = after + strspn(after, " \t\n");
      if (*next == '\0' || newlines(after, next) > 1) {
        i->kind = strncmp(i->start, "/* ----", 7) == 0 ? SECTION_HEADING : HEADING;
        at = after;
        break;
      }
      at = i->code = next;
    }
    if (i->kind == ALWAYS) at = end_of_line_comment(*at == '#' ? end_of_directive(at) : end_of_declaration(at));
    i->end = at;
  }
}

/* ---- what an item declares ---- */

/* Past the group whose opening token was just read. */
static void skip_group(const char **at, const char *end, const char *open, const char *close) {
  attune_token t;
  for (int depth = 1; depth > 0 && attune_next_token(&t, at, end);) {
    depth += attune_token_is(&t, open);
    depth -= attune_token_is(&t, close) + (*close == '>' && attune_token_is(&t, ">>") ? 2 : 0);
  }
}

static void describe_enumerators(unit *u, const char *at, const char *end) {
  attune_token t;
  bool expected = true;
  while (attune_next_token(&t, &at, end)) {
    if (attune_token_is(&t, "(")) skip_group(&at, end, "(", ")");
    if (expected && t.kind == ATTUNE_TOKEN_WORD) add_name(u, t);
    expected = attune_token_is(&t, ",");
  }
}

/* After struct, class, union or enum; false: something else is declared with that type. */
static bool describe_type(unit *u, item *i, const char *at, bool is_enum) {
  attune_token t, name = {0};
  while (attune_next_token(&t, &at, i->end)) {
    if (attune_token_is(&t, "(")) {
      skip_group(&at, i->end, "(", ")");
    } else if (t.kind == ATTUNE_TOKEN_WORD) {
      if (!attune_token_in(&t, "class alignas __attribute__")) name = t;
    } else if (attune_token_in(&t, "{ : ;")) {
      break;
    } else {
      return false;
    }
  }
  if (name.length > 0) add_name(u, name);
  i->kind = is_enum ? DECLARATION : TYPE;
  while (is_enum && !attune_token_in(&t, "{ ;") && attune_next_token(&t, &at, i->end)) {
  }
  if (is_enum) describe_enumerators(u, at, i->end);
  return true;
}

/* A function, an operator, or variables. */
static void describe_declarators(unit *u, item *i, const char *at) {
  attune_token t, last = {0}, function = {0};
  i->kind = DECLARATION;
  bool in_value = false;
  while (attune_next_token(&t, &at, i->end)) {
    if (attune_token_is(&t, "operator")) {
      attune_next_token(&t, &at, i->end);
      if (t.kind == ATTUNE_TOKEN_SYMBOL) add_name(u, t);
      i->kind = OPERATOR;
    } else if (t.kind == ATTUNE_TOKEN_WORD) {
      last = t;
    } else if (attune_token_is(&t, "(")) {
      if (!in_value && !attune_token_in(&last, "alignas __attribute__")) {
        function = last;
        i->parameters = t.start;
      }
      skip_group(&at, i->end, "(", ")");
      if (!in_value) i->after_first = at;
    } else if (attune_token_is(&t, "[")) {
      skip_group(&at, i->end, "[", "]");
    } else if (i->parameters != NULL && attune_token_in(&t, "{ ;")) {
      if (i->kind != OPERATOR) i->kind = FUNCTION;
      if (i->kind == FUNCTION) add_name(u, function);
      return;
    } else if (attune_token_in(&t, "= , ; {")) {
      if (!in_value) add_name(u, last);
      in_value = attune_token_in(&t, "= {");
      if (attune_token_is(&t, "{")) skip_group(&at, i->end, "{", "}");
    }
  }
}

static void describe(unit *u, item *i) {
  const char *at = i->code;
  attune_token t;
  if (!attune_next_token(&t, &at, i->end)) return;
  if (attune_token_is(&t, "#")) {
    if (!attune_next_token(&t, &at, i->end) || !attune_token_is(&t, "define")) return;
    if (attune_next_token(&t, &at, i->end)) add_name(u, t);
    i->kind = DECLARATION;
    return;
  }
  if (attune_token_in(&t, "extern static_assert")) return;
  if (attune_token_is(&t, "template") && attune_next_token(&t, &at, i->end)) {
    skip_group(&at, i->end, "<", ">");
    attune_next_token(&t, &at, i->end);
  }
  if (attune_token_is(&t, "typedef")) {
    attune_token last = t;
    while (attune_next_token(&t, &at, i->end)) {
      if (t.kind == ATTUNE_TOKEN_WORD) last = t;
    }
    add_name(u, last);
    i->kind = DECLARATION;
  } else if (!attune_token_in(&t, "struct class union enum") || !describe_type(u, i, at, attune_token_is(&t, "enum"))) {
    describe_declarators(u, i, t.start);
  }
}

/* ---- what is reached ---- */

static void keep(unit *u, item *i) {
  i->kept = true;
  attune_token t;
  for (const char *at = i->code; attune_next_token(&t, &at, i->end);)
    for (int n = first_name(u, &t); n >= 0; n = next_name(u, n, &t))
      u->items[u->names[n].item].wanted = true;
}

/* Whether all types of the item's parameters are kept, of those that the text declares. */
static bool has_parameter_types(const unit *u, const item *i) {
  if (i->parameters == NULL) return true;
  attune_token t;
  for (const char *at = i->parameters; attune_next_token(&t, &at, i->after_first);) {
    if (t.kind != ATTUNE_TOKEN_WORD) continue;
    for (int n = first_name(u, &t); n >= 0; n = next_name(u, n, &t)) {
      const item *type = &u->items[u->names[n].item];
      if (type->kind == TYPE && !type->kept) return false;
    }
  }
  return true;
}

static void keep_reached(unit *u, const char *root) {
  for (int i = 0; i < u->item_count; i++)
    if (u->items[i].kind == ALWAYS) keep(u, &u->items[i]);
  const attune_token name = {.start = root, .length = strlen(root), .kind = ATTUNE_TOKEN_WORD};
  for (int n = first_name(u, &name); n >= 0; n = next_name(u, n, &name))
    keep(u, &u->items[u->names[n].item]);
  for (bool again = true; again;) {
    again = false;
    for (int i = 0; i < u->item_count; i++) {
      item *it = &u->items[i];
      if (!it->wanted || it->kept || !has_parameter_types(u, it)) continue;
      keep(u, it);
      again = true;
    }
  }
}

/* From the last one on, so that what follows a heading is known. */
static void keep_headings(unit *u) {
  bool in_section = false, in_file = false;
  for (int i = u->item_count - 1; i >= 0; i--) {
    item *it = &u->items[i];
    if (it->kind == HEADING || it->kind == SECTION_HEADING) {
      it->kept = it->kind == HEADING ? in_file : in_section;
      in_section = false;
      if (it->kind == HEADING) in_file = false;
    } else {
      in_section = in_section || it->kept;
      in_file = in_file || it->kept;
    }
  }
}

attune_status attune_prune(attune_buffer *out, const char *text, const char *root) {
  unit u = {0};
  for (int i = 0; i < BUCKETS; i++)
    u.buckets[i] = -1;
  split(&u, text);
  for (int i = 0; i < u.item_count && !u.failed; i++) {
    const int count = u.item_count;
    u.item_count = i + 1; /* add_name names the last */
    if (u.items[i].kind == ALWAYS) describe(&u, &u.items[i]);
    u.item_count = count;
  }
  if (!u.failed) {
    keep_reached(&u, root);
    keep_headings(&u);
  }
  bool blank = false;
  for (int i = 0; i < u.item_count && !u.failed; i++) {
    const item *it = &u.items[i];
    blank = blank || it->blank_before;
    if (!it->kept) continue;
    if (blank && out->length > 0) attune_buffer_add_text(out, "\n");
    attune_buffer_add(out, it->start, (size_t)(it->end - it->start));
    attune_buffer_add_text(out, "\n");
    blank = it->kind == HEADING || it->kind == SECTION_HEADING;
  }
  free(u.items);
  free(u.names);
  if (!u.failed && !out->failed) return ATTUNE_OK;
  return attune_fail(ATTUNE_OUT_OF_MEMORY, "out of memory while leaving out what a kernel does not use");
}
