/* An expression as text: as it is printed, and as the C++ that a kernel compiles. */
#include "generator/expression/expression.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/base/text.h"
#include "generator/expression/tree.h"

/* Parts that are printed once, under a name. What is a float may have two texts, rounded or not. */
typedef struct {
  bool counts; /* how often each part is needed; it prints nothing of use */
  int uses[DERIVED_NODES_MAX][2], named[DERIVED_NODES_MAX][2]; /* named: from 1 on */
} sharing;

typedef struct {
  attune_buffer *out;
  const attune_expression *tree;
  bool emits;
  int32_t most_seqlen; /* if it emits */
  int whole;           /* a constant that is printed as what it is, or -1 */
  bool rounded;        /* floats turn into something else, which depends on their last place */
  sharing *shared;     /* or NULL */
  int defined;         /* the part that is printed as what it is, or -1 */
} printer;

/* The shortest text that reads back as the same float, and as a float. */
static void print_real(attune_buffer *out, float value) {
  char text[32];
  const locale_t callers = attune_text_use_plain_locale();
  for (int digits = 1; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)value);
    if (strtof(text, NULL) == value) break;
  }
  (void)uselocale(callers);
  attune_buffer_print(out, strpbrk(text, ".e") != NULL ? "%s" : "%s.0", text);
}

static void print_node(const printer *p, int place);

static void print_list(const printer *p, const char *name, const node *n, int count) {
  attune_buffer_print(p->out, "%s(", name);
  for (int i = 0; i < count; i++) {
    if (i > 0) attune_buffer_add_text(p->out, ", ");
    print_node(p, n->operand[i]);
  }
  attune_buffer_add_text(p->out, ")");
}

/* The float of an int's magnitude: as the magnitude of its float, which costs nothing. */
static bool emit_magnitude(const printer *p, const node *call) {
  if (call->kind != CALL || call->index != ABS || !attune_expression_small(p->tree, call->operand[0], p->most_seqlen))
    return false;
  attune_buffer_add_text(p->out, "magnitude(");
  print_list(p, "small<real>", call, 1);
  attune_buffer_add_text(p->out, ")");
  return true;
}

static void emit_conversion(const printer *p, const node *n) {
  const node *operand = &p->tree->nodes[n->operand[0]];
  const bool of_real = operand->type == REAL;
  if (n->kind == TO_REAL && operand->kind == LITERAL_INTEGER) {
    attune_buffer_add_text(p->out, "real(");
    print_real(p->out, (float)operand->integer);
    attune_buffer_add_text(p->out, "f)");
  } else if (n->kind == TO_REAL && emit_magnitude(p, operand)) {
    return;
  } else if (n->kind == TO_REAL) {
    print_list(p, attune_expression_small(p->tree, n->operand[0], p->most_seqlen) ? "small<real>" : "real", n, 1);
  } else if (n->kind == TO_TRUTH) {
    attune_buffer_add_text(p->out, "(");
    print_node(p, n->operand[0]);
    attune_buffer_print(p->out, " != %s)", of_real ? "real(0.0f)" : "index(0)");
  } else {
    attune_buffer_add_text(p->out, "select(");
    print_node(p, n->operand[0]);
    attune_buffer_add_text(p->out, ", index(1), index(0))");
  }
}

static void print_leaf(const printer *p, const node *n) {
  if (n->kind == NAME) attune_buffer_add_text(p->out, attune_expression_names[n->index].name);
  if (n->kind == PARAM) attune_buffer_print(p->out, "%s%s", p->emits ? "param_" : "", p->tree->params[n->index]);
  if (n->kind == LITERAL_INTEGER) attune_buffer_print(p->out, p->emits ? "index(%d)" : "%d", n->integer);
  if (n->kind != LITERAL_REAL) return;
  attune_buffer_add_text(p->out, p->emits ? "real(" : "");
  print_real(p->out, n->real);
  attune_buffer_add_text(p->out, p->emits ? "f)" : "");
}

/* Whether the part at the place stands in the list of constants, and was printed as one. */
static bool emit_constant(const printer *p, int place) {
  for (int i = 0; i < p->tree->constant_count; i++) {
    if (p->tree->constants[i] != place || p->whole == i) continue;
    attune_buffer_print(p->out, p->tree->nodes[place].type == REAL ? "item.c%d" : "index(item.c%d)", i);
    return true;
  }
  return false;
}

static bool contains_score(const attune_expression *tree, int place) {
  const node *n = &tree->nodes[place];
  bool found = n->kind == NAME && n->index == SCORE;
  for (int i = 0; i < attune_expression_operands(n); i++)
    found = found || contains_score(tree, n->operand[i]);
  return found;
}

/* Whether the node's value depends on the last place of its operands, if they are floats. */
static bool decides(const node *n) {
  if (n->kind == CALL) return n->index == INT || n->index == FLOOR;
  return n->kind == TO_TRUTH || (n->kind == BINARY && n->type == TRUTH);
}

/* An operation on floats that a compiler may not fuse with the next one, so that it gives the same everywhere. What
 * decides nothing it may fuse, which is faster, and what depends on the score, whose own last place varies. */
static bool emit_rounded(const printer *p, int place) {
  static const char *const names[BINARY_COUNT] = {[PLUS] = "rounded_sum",
                                                  [MINUS] = "rounded_difference",
                                                  [TIMES] = "rounded_product",
                                                  [DIVIDE] = "rounded_quotient"};
  const node *n = &p->tree->nodes[place];
  if (!p->emits || n->type != REAL) return false;
  const bool fused = !p->rounded || contains_score(p->tree, place);
  if (fused && n->index != DIVIDE) return false;
  print_list(p, fused ? "quotient" : names[n->index], n, 2);
  return true;
}

static bool is_shared(const printer *p, int place) {
  const node *n = &p->tree->nodes[place];
  const bool negates = n->kind == UNARY || n->kind == TO_REAL;
  const node_kind kind = negates ? p->tree->nodes[n->operand[0]].kind : n->kind;
  return p->shared != NULL && kind != LITERAL_INTEGER && kind != LITERAL_REAL && kind != NAME && kind != PARAM;
}

/* Whether the part stands elsewhere: by its name, or counted already. */
static bool emit_shared(const printer *p, int place) {
  if (!is_shared(p, place) || p->defined == place) return false;
  const int rounded = p->rounded && p->tree->nodes[place].type == REAL;
  if (p->shared->counts) return p->shared->uses[place][rounded]++ > 0;
  if (p->shared->named[place][rounded] == 0) return false;
  attune_buffer_print(p->out, "t%d", p->shared->named[place][rounded] - 1);
  return true;
}

static void print_node(const printer *outer, int place) {
  const node *n = &outer->tree->nodes[place];
  printer inner = *outer, *p = &inner;
  inner.rounded = outer->rounded || decides(n);
  if (p->emits && emit_constant(p, place)) return;
  if (emit_shared(outer, place)) return;
  switch (n->kind) {
  case LITERAL_INTEGER:
  case LITERAL_REAL:
  case NAME:
  case PARAM:
    print_leaf(p, n);
    break;
  case TO_TRUTH:
  case TO_INTEGER:
  case TO_REAL:
    if (p->emits)
      emit_conversion(p, n);
    else
      print_node(p, n->operand[0]);
    break;
  case UNARY:
    attune_buffer_print(p->out, "(%c", attune_expression_unary_signs[n->index]);
    print_node(p, n->operand[0]);
    attune_buffer_add_text(p->out, ")");
    break;
  case BINARY:
    if (emit_rounded(p, place)) break;
    attune_buffer_add_text(p->out, "(");
    print_node(p, n->operand[0]);
    attune_buffer_print(p->out, " %s ", attune_expression_binaries[n->index].text);
    print_node(p, n->operand[1]);
    attune_buffer_add_text(p->out, ")");
    break;
  case SELECT:
    if (p->emits) {
      print_list(p, "select", n, 3);
      break;
    }
    attune_buffer_add_text(p->out, "(");
    print_node(p, n->operand[0]);
    attune_buffer_add_text(p->out, " ? ");
    print_node(p, n->operand[1]);
    attune_buffer_add_text(p->out, " : ");
    print_node(p, n->operand[2]);
    attune_buffer_add_text(p->out, ")");
    break;
  case ELEMENT:
    print_node(p, n->operand[0]);
    attune_buffer_add_text(p->out, "[");
    print_node(p, n->operand[1]);
    attune_buffer_add_text(p->out, "]");
    break;
  case FIND:
    print_list(p, p->emits ? "find_in" : attune_expression_find_name, n, 2);
    break;
  case CALL:
    print_list(p, p->emits ? attune_expression_functions[n->index].emitted : attune_expression_functions[n->index].name,
               n, attune_expression_functions[n->index].operands);
    break;
  }
}

void attune_expression_print(attune_buffer *out, const attune_expression *expression) {
  print_node(&(printer){out, expression, false, 0, -1, false, NULL, -1}, expression->root);
}

void attune_expression_emit(attune_buffer *out, const attune_expression *expression, int32_t most_seqlen) {
  print_node(&(printer){out, expression, true, most_seqlen, -1, false, NULL, -1}, expression->root);
}

int attune_expression_constants(const attune_expression *expression) {
  return expression->constant_count;
}

bool attune_expression_constant_is_int(const attune_expression *expression, int constant) {
  return expression->nodes[expression->constants[constant]].type == INTEGER;
}

void attune_expression_emit_constant(attune_buffer *out, const attune_expression *expression, int constant,
                                     int32_t most_seqlen) {
  print_node(&(printer){out, expression, true, most_seqlen, constant, true, NULL, -1}, expression->constants[constant]);
}

static void count_uses(printer p, const attune_derivatives *derivatives) {
  attune_buffer nowhere = {0};
  p.out = &nowhere;
  p.shared->counts = true;
  print_node(&p, derivatives->score->root);
  for (int i = 0; i < derivatives->count; i++) {
    print_node(&p, derivatives->of[i].value->root);
    if (derivatives->of[i].index != NULL) print_node(&p, derivatives->of[i].index->root);
  }
  p.shared->counts = false;
  attune_buffer_free(&nowhere);
}

/* Operands stand before their node, and so does their name. */
static void emit_shared_parts(printer p) {
  static const char *const types[] = {[TRUTH] = "bool", [INTEGER] = "index", [REAL] = "real"};
  int count = 0;
  for (int place = 0; place < p.tree->count; place++)
    for (int rounded = 0; rounded < 2; rounded++) {
      if (p.shared->uses[place][rounded] < 2) continue;
      attune_buffer_print(p.out, "  const %s t%d = ", types[p.tree->nodes[place].type], count);
      p.defined = place;
      p.rounded = rounded;
      print_node(&p, place);
      attune_buffer_add_text(p.out, ";\n");
      p.shared->named[place][rounded] = ++count;
    }
}

attune_status attune_expression_emit_derivatives(attune_buffer *out, const attune_derivatives *derivatives,
                                                 int32_t most_seqlen) {
  sharing *shared = calloc(1, sizeof *shared);
  if (shared == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the text of derivatives");
  const printer p = {out, derivatives->score, true, most_seqlen, -1, false, shared, -1};
  count_uses(p, derivatives);
  emit_shared_parts(p);
  attune_buffer_add_text(out, "  result.value = ");
  print_node(&p, derivatives->score->root);
  for (int i = 0; i < derivatives->count; i++) {
    attune_buffer_print(out, ";\n  result.by%d = ", i);
    print_node(&p, derivatives->of[i].value->root);
    if (derivatives->of[i].index == NULL) continue;
    attune_buffer_print(out, ";\n  result.at%d = (", i);
    print_node(&p, derivatives->of[i].index->root);
    attune_buffer_add_text(out, ").value()");
  }
  attune_buffer_add_text(out, ";\n");
  free(shared);
  return ATTUNE_OK;
}
