/* Mask and score expressions: a small part of C, without side effects. Recursive descent over the text gives a tree of
 * typed nodes in one array; conversions are nodes of their own, so that printing, emitting and evaluating are each one
 * walk. */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/nearest.h"
#include "generator/base/status.h"
#include "generator/base/text.h"
#include "generator/expression/tree.h"

static const char *const type_words[] = {"a truth value", "an int", "a float", "an array of int", "an array of float"};

typedef struct {
  attune_expression *tree;
  node *nodes; /* the tree's */
  attune_expression_kind kind;
  const attune_param *params;
  int param_count;
  bool bias;
  const char *start, *at;
  int depth;
  bool failed; /* the message is set */
  attune_status status;
} parser;

static const char *kind_word(attune_expression_kind kind) {
  return kind == ATTUNE_EXPRESSION_MASK ? "mask" : "score";
}

/* Returns a node's place all the same, so that callers need not ask after every step. */
__attribute__((format(printf, 3, 4))) static int refuse(parser *p, const char *where, const char *format, ...) {
  if (p->failed) return 0;
  char what[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  p->failed = true;
  p->status = attune_fail(ATTUNE_BAD_EXPRESSION, "%s expression \"%.120s\", column %d: %s", kind_word(p->kind),
                          p->start, (int)(where - p->start) + 1, what);
  return 0;
}

static void skip_blanks(parser *p) {
  while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n')
    p->at++;
}

/* What would be an expression of a parser without limits. */
static int refuse_size(parser *p, const char *where, const char *format, int limit) {
  const bool first = !p->failed;
  char what[128];
  snprintf(what, sizeof what, format, limit);
  (void)refuse(p, where, "%s", what);
  if (first) p->status = ATTUNE_UNSUPPORTED;
  return 0;
}

static int add_node(parser *p, node n) {
  if (p->failed) return 0;
  if (p->tree->count == NODES_MAX)
    return refuse_size(p, p->at, "more than %d operations and operands; split it into params", NODES_MAX);
  p->nodes[p->tree->count] = n;
  return p->tree->count++;
}

static type type_of(const parser *p, int place) {
  return p->failed ? INTEGER : p->tree->nodes[place].type;
}

static int convert(parser *p, int place, type wanted, const char *where) {
  const type has = type_of(p, place);
  if (p->failed || has == wanted) return place;
  if (has == INTEGERS || has == REALS) return refuse(p, where, "%s needs an index, as in name[q]", type_words[has]);
  if (wanted == REAL && has == TRUTH) place = convert(p, place, INTEGER, where);
  if (wanted == TRUTH) return add_node(p, (node){.kind = TO_TRUTH, .type = TRUTH, .operand = {place}});
  if (wanted == REAL) return add_node(p, (node){.kind = TO_REAL, .type = REAL, .operand = {place}});
  if (has == TRUTH) return add_node(p, (node){.kind = TO_INTEGER, .type = INTEGER, .operand = {place}});
  return refuse(p, where, "%s where an int is needed; write int(...)", type_words[has]);
}

/* Numbers meet as floats if either is one, else as ints. */
static type common(const parser *p, int a, int b) {
  return type_of(p, a) == REAL || type_of(p, b) == REAL ? REAL : INTEGER;
}

static int parse_ternary(parser *p);

static bool take(parser *p, char c) {
  skip_blanks(p);
  if (*p->at != c) return false;
  p->at++;
  return true;
}

static void expect(parser *p, char c, const char *after) {
  if (!take(p, c)) (void)refuse(p, p->at, "expected '%c' after %s", c, after);
}

static bool is_word(char c) {
  return isalnum((unsigned char)c) || c == '_';
}

static int parse_number(parser *p) {
  const char *where = p->at;
  const bool hex = p->at[0] == '0' && (p->at[1] == 'x' || p->at[1] == 'X');
  const char *c = p->at;
  while (isdigit((unsigned char)*c))
    c++;
  const bool real = !hex && (*c == '.' || *c == 'e' || *c == 'E');
  char *end;
  errno = 0;
  node n;
  if (real) {
    const locale_t callers = attune_text_use_plain_locale();
    const float value = strtof(where, &end);
    (void)uselocale(callers);
    if (!(value <= 3.4e38f)) return refuse(p, where, "a float ends at 3.4e38");
    n = (node){.kind = LITERAL_REAL, .type = REAL, .real = value};
    if (*end == 'f') end++;
  } else {
    if (!hex && where[0] == '0' && c - where > 1) return refuse(p, where, "octal in C; leave out the leading 0");
    const unsigned long long value = strtoull(where, &end, hex ? 16 : 10);
    if (errno != 0 || value > INT32_MAX) return refuse(p, where, "an int ends at %d", INT32_MAX);
    n = (node){.kind = LITERAL_INTEGER, .type = INTEGER, .integer = (int32_t)value};
  }
  if (is_word(*end) || *end == '.') return refuse(p, where, "not a number");
  p->at = end;
  return add_node(p, n);
}

static int parse_call(parser *p, int index, const char *where) {
  node n = {.kind = CALL, .index = index};
  int count = 0;
  if (!take(p, '(')) return refuse(p, p->at, "expected '(': %s is a function", attune_expression_functions[index].name);
  do {
    const int operand = parse_ternary(p);
    if (count == attune_expression_functions[index].operands) break;
    n.operand[count++] = operand;
  } while (!p->failed && count < attune_expression_functions[index].operands && take(p, ','));
  if (count < attune_expression_functions[index].operands)
    return refuse(p, p->at, "%s takes %d values", attune_expression_functions[index].name,
                  attune_expression_functions[index].operands);
  expect(p, ')', "a function's values");
  type operands = attune_expression_functions[index].signature == INTEGERS_TO_INTEGER ? INTEGER : REAL;
  if (attune_expression_functions[index].signature == NUMBERS) operands = common(p, n.operand[0], n.operand[count - 1]);
  for (int i = 0; i < count; i++)
    n.operand[i] = convert(p, n.operand[i], operands, where);
  n.type = attune_expression_functions[index].signature == REAL_TO_INTEGER ? INTEGER : operands;
  return add_node(p, n);
}

static int parse_param(parser *p, int index, const char *where) {
  static const type types[] = {[ATTUNE_PARAM_INT] = INTEGER,
                               [ATTUNE_PARAM_FLOAT] = REAL,
                               [ATTUNE_PARAM_INT_ARRAY] = INTEGERS,
                               [ATTUNE_PARAM_FLOAT_ARRAY] = REALS};
  const type has = types[p->params[index].type];
  const int place = add_node(p, (node){.kind = PARAM, .type = has, .index = index});
  const bool indexed = take(p, '[');
  if (has != INTEGERS && has != REALS) {
    if (indexed)
      return refuse(p, where, "%s is %s: it takes no index; with two values or more it is an array",
                    p->params[index].name, type_words[has]);
    return place;
  }
  if (!indexed)
    return refuse(p, where, "%s is %s: it needs an index, as in %s[q]", p->params[index].name, type_words[has],
                  p->params[index].name);
  const char *inside = p->at;
  const int at = convert(p, parse_ternary(p), INTEGER, inside);
  expect(p, ']', "an index");
  return add_node(p, (node){.kind = ELEMENT, .type = has == INTEGERS ? INTEGER : REAL, .operand = {place, at}});
}

static int find_param(const parser *p, const char *name, size_t length) {
  for (int i = 0; i < p->param_count; i++)
    if (strlen(p->params[i].name) == length && memcmp(name, p->params[i].name, length) == 0) return i;
  return -1;
}

/* find(array, int) */
static int parse_find(parser *p) {
  if (!take(p, '(')) return refuse(p, p->at, "expected '(': %s is a function", attune_expression_find_name);
  skip_blanks(p);
  const char *where = p->at;
  size_t length = 0;
  while (is_word(p->at[length]))
    length++;
  const int param = find_param(p, where, length);
  if (param < 0 || p->params[param].type != ATTUNE_PARAM_INT_ARRAY)
    return refuse(p, where, "%s looks in an array of int: name a param that is one", attune_expression_find_name);
  p->at += length;
  const int array = add_node(p, (node){.kind = PARAM, .type = INTEGERS, .index = param});
  expect(p, ',', "the array's name");
  const char *inside = p->at;
  const int x = convert(p, parse_ternary(p), INTEGER, inside);
  expect(p, ')', "a function's values");
  return add_node(p, (node){.kind = FIND, .type = INTEGER, .operand = {array, x}});
}

static int refuse_name(parser *p, const char *where, const char *name) {
  const char *words[NAME_COUNT + FUNCTION_COUNT + ATTUNE_PARAMS_MAX + 2] = {NULL};
  char nearest[160];
  int count = 0;
  for (int i = 0; i < NAME_COUNT; i++)
    words[count++] = attune_expression_names[i].name;
  for (int i = 0; i < FUNCTION_COUNT; i++)
    words[count++] = attune_expression_functions[i].name;
  words[count++] = attune_expression_find_name;
  for (int i = 0; i < p->param_count; i++)
    words[count++] = p->params[i].name;
  return refuse(p, where, "no such name: %s%s; declare it as a param", name,
                attune_did_you_mean(nearest, name, words, ""));
}

static int parse_name(parser *p) {
  const char *where = p->at;
  char name[ATTUNE_PARAM_NAME_MAX];
  size_t length = 0;
  while (is_word(p->at[length]))
    length++;
  if (length >= sizeof name) return refuse(p, where, "no such name: %.40s", where);
  memcpy(name, where, length);
  name[length] = '\0';
  p->at += length;
  for (int i = 0; i < FUNCTION_COUNT; i++)
    if (strcmp(name, attune_expression_functions[i].name) == 0) return parse_call(p, i, where);
  if (strcmp(name, attune_expression_find_name) == 0) return parse_find(p);
  for (int i = 0; i < NAME_COUNT; i++) {
    if (strcmp(name, attune_expression_names[i].name) != 0) continue;
    if (i == SCORE && p->kind == ATTUNE_EXPRESSION_MASK) return refuse(p, where, "a mask does not know the score");
    if (i == BIAS && !p->bias)
      return refuse(p, where, "the problem has no bias%s", p->kind == ATTUNE_EXPRESSION_MASK ? " for masks" : "");
    return add_node(p, (node){.kind = NAME, .type = attune_expression_names[i].type, .index = i});
  }
  const int param = find_param(p, name, length);
  if (param >= 0) return parse_param(p, param, where);
  return refuse_name(p, where, name);
}

static int parse_primary(parser *p) {
  skip_blanks(p);
  if (isdigit((unsigned char)*p->at) || (*p->at == '.' && isdigit((unsigned char)p->at[1]))) return parse_number(p);
  if (is_word(*p->at)) return parse_name(p);
  if (!take(p, '(')) {
    if (*p->at == '\0') return refuse(p, p->at, "it ends where a value is expected");
    return refuse(p, p->at, "expected a value, found '%c'", isprint((unsigned char)*p->at) ? *p->at : '?');
  }
  const int place = parse_ternary(p);
  expect(p, ')', "a parenthesis");
  return place;
}

static int parse_unary(parser *p) {
  skip_blanks(p);
  const char *where = p->at;
  const char *sign = *p->at != '\0' ? strchr(attune_expression_unary_signs, *p->at) : NULL;
  if (sign == NULL) return parse_primary(p);
  if (p->at[1] == *p->at && *sign == '-') return refuse(p, where, "-- has side effects; write -(-x)");
  if (++p->depth > DEPTH_MAX) return refuse_size(p, where, "nested deeper than %d", DEPTH_MAX);
  p->at++;
  int place = parse_unary(p);
  p->depth--;
  const unary operation = (unary)(sign - attune_expression_unary_signs);
  type wanted = operation == NOT ? TRUTH : INTEGER;
  if (operation == NEGATE && type_of(p, place) == REAL) wanted = REAL;
  place = convert(p, place, wanted, where);
  return add_node(p, (node){.kind = UNARY, .type = wanted, .index = (int)operation, .operand = {place}});
}

/* The operator at the parser's place, or BINARY_COUNT. */
static int peek_operator(parser *p) {
  skip_blanks(p);
  for (int i = 0; i < BINARY_COUNT; i++) {
    const size_t length = strlen(attune_expression_binaries[i].text);
    if (strncmp(p->at, attune_expression_binaries[i].text, length) != 0) continue;
    if (length == 1 && (*p->at == '|' || *p->at == '&') && p->at[1] == *p->at) continue;
    const char next = p->at[length];
    const bool assigns = next == '=' && attune_expression_binaries[i].class != COMPARES;
    if (assigns) (void)refuse(p, p->at, "an assignment; an expression changes nothing");
    if ((*p->at == '+' || *p->at == '-') && next == *p->at) (void)refuse(p, p->at, "%c%c has side effects", next, next);
    return p->failed ? BINARY_COUNT : i;
  }
  if (*p->at == '=') (void)refuse(p, p->at, "an assignment; equality is ==");
  return BINARY_COUNT;
}

static int add_binary(parser *p, int operation, int a, int b, const char *where) {
  const operator_class class = attune_expression_binaries[operation].class;
  const type operands = class == OF_TRUTH ? TRUTH : class == OF_INTEGERS ? INTEGER : common(p, a, b);
  a = convert(p, a, operands, where);
  b = convert(p, b, operands, where);
  return add_node(
      p, (node){.kind = BINARY, .type = class == COMPARES ? TRUTH : operands, .index = operation, .operand = {a, b}});
}

/* Operators of the level and of those that bind closer. */
static int parse_binary(parser *p, int level) {
  int place = parse_unary(p);
  for (;;) {
    const int operation = p->failed ? BINARY_COUNT : peek_operator(p);
    if (operation == BINARY_COUNT || attune_expression_binaries[operation].level < level) return place;
    const char *where = p->at;
    p->at += strlen(attune_expression_binaries[operation].text);
    place = add_binary(p, operation, place, parse_binary(p, attune_expression_binaries[operation].level + 1), where);
  }
}

static int parse_ternary(parser *p) {
  if (p->failed) return 0;
  if (++p->depth > DEPTH_MAX) return refuse_size(p, p->at, "nested deeper than %d", DEPTH_MAX);
  int place = parse_binary(p, 1);
  const char *where = p->at;
  if (!p->failed && take(p, '?')) {
    const int condition = convert(p, place, TRUTH, where);
    int yes = parse_ternary(p);
    expect(p, ':', "the first of a ?'s values");
    int no = parse_ternary(p);
    const bool truths = type_of(p, yes) == TRUTH && type_of(p, no) == TRUTH;
    const type both = truths ? TRUTH : common(p, yes, no);
    yes = convert(p, yes, both, where);
    no = convert(p, no, both, where);
    place = add_node(p, (node){.kind = SELECT, .type = both, .operand = {condition, yes, no}});
  }
  p->depth--;
  return place;
}

attune_status attune_expression_parse(attune_expression **out, attune_expression_kind kind, const char *text,
                                      const attune_param *params, int param_count, bool bias) {
  if (out == NULL || text == NULL || param_count < 0 || param_count > ATTUNE_PARAMS_MAX)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "expression: null pointer, or %d params", param_count);
  *out = NULL;
  attune_expression *tree = calloc(1, sizeof *tree + NODES_MAX * sizeof(node));
  if (tree == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an expression");
  tree->nodes = (node *)(tree + 1);
  for (int i = 0; i < param_count; i++)
    snprintf(tree->params[i], sizeof tree->params[i], "%s", params[i].name);
  parser p = {.tree = tree,
              .nodes = (node *)(tree + 1),
              .kind = kind,
              .params = params,
              .param_count = param_count,
              .bias = bias && kind == ATTUNE_EXPRESSION_SCORE,
              .start = text,
              .at = text};
  int root = parse_ternary(&p);
  if (!p.failed) {
    skip_blanks(&p);
    if (*p.at == ',' || *p.at == ';') (void)refuse(&p, p.at, "one expression only");
    if (*p.at != '\0') (void)refuse(&p, p.at, "expected an operator or the end");
  }
  root = convert(&p, root, kind == ATTUNE_EXPRESSION_MASK ? TRUTH : REAL, text);
  if (p.failed) {
    free(tree);
    return p.status;
  }
  tree->root = root;
  if (kind == ATTUNE_EXPRESSION_SCORE) attune_expression_find_constants(tree, root);
  *out = tree;
  return ATTUNE_OK;
}
