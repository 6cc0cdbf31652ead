/* The names, operators and functions of expressions, and what a tree says about itself. */
#include "generator/expression/tree.h"

#include <string.h>

#include "generator/expression/expression.h"

const attune_expression_name attune_expression_names[NAME_COUNT] = {
    [SCORE] = {"score", REAL},          [BIAS] = {"bias", REAL},
    [BATCH] = {"batch", INTEGER},       [HEAD] = {"head", INTEGER},
    [QUERY] = {"q", INTEGER},           [KEY] = {"k", INTEGER},
    [SEQLEN_Q] = {"seqlen_q", INTEGER}, [SEQLEN_K] = {"seqlen_k", INTEGER},
};

/* Longer texts stand before those that they begin with. */
const attune_expression_binary attune_expression_binaries[BINARY_COUNT] = {
    [OR] = {"||", 1, OF_TRUTH},
    [AND] = {"&&", 2, OF_TRUTH},
    [BIT_OR] = {"|", 3, OF_INTEGERS},
    [BIT_XOR] = {"^", 4, OF_INTEGERS},
    [BIT_AND] = {"&", 5, OF_INTEGERS},
    [EQUAL] = {"==", 6, COMPARES},
    [UNEQUAL] = {"!=", 6, COMPARES},
    [LESS_EQUAL] = {"<=", 7, COMPARES},
    [GREATER_EQUAL] = {">=", 7, COMPARES},
    [SHIFT_LEFT] = {"<<", 8, OF_INTEGERS},
    [SHIFT_RIGHT] = {">>", 8, OF_INTEGERS},
    [LESS] = {"<", 7, COMPARES},
    [GREATER] = {">", 7, COMPARES},
    [PLUS] = {"+", 9, OF_NUMBERS},
    [MINUS] = {"-", 9, OF_NUMBERS},
    [TIMES] = {"*", 10, OF_NUMBERS},
    [DIVIDE] = {"/", 10, OF_NUMBERS},
    [REMAINDER] = {"%", 10, OF_INTEGERS},
};

const char attune_expression_unary_signs[] = "-!~";

const attune_expression_function attune_expression_functions[FUNCTION_COUNT] = {
    [ABS] = {"abs", "magnitude", 1, NUMBERS},
    [MIN] = {"min", "smaller", 2, NUMBERS},
    [MAX] = {"max", "larger", 2, NUMBERS},
    [EXP] = {"exp", "exponential", 1, REALS_TO_REAL},
    [LOG] = {"log", "logarithm", 1, REALS_TO_REAL},
    [SQRT] = {"sqrt", "root", 1, REALS_TO_REAL},
    [TANH] = {"tanh", "hyperbolic_tangent", 1, REALS_TO_REAL},
    [FLOOR] = {"floor", "rounded_down", 1, REALS_TO_REAL},
    [FLOAT] = {"float", "", 1, REALS_TO_REAL}, /* the conversion of its operand says it all */
    [INT] = {"int", "truncated", 1, REAL_TO_INTEGER},
    [RANDOM] = {"random", "random_bits", 3, INTEGERS_TO_INTEGER},
};

const char attune_expression_find_name[] = "find";

int attune_expression_operands(const node *n) {
  switch (n->kind) {
  case TO_TRUTH:
  case TO_INTEGER:
  case TO_REAL:
  case UNARY:
    return 1;
  case BINARY:
  case ELEMENT:
  case FIND:
    return 2;
  case SELECT:
    return 3;
  case CALL:
    return attune_expression_functions[n->index].operands;
  default:
    return 0;
  }
}

static bool uses(const attune_expression *expression, node_kind kind, int index) {
  for (int i = 0; i < expression->count; i++)
    if (expression->nodes[i].kind == kind && expression->nodes[i].index == index) return true;
  return false;
}

bool attune_expression_uses(const attune_expression *expression, int param) {
  return uses(expression, PARAM, param);
}

bool attune_expression_is_one(const attune_expression *expression) {
  const node *root = &expression->nodes[expression->root];
  return root->kind == LITERAL_REAL && root->real == 1.0f;
}

bool attune_expression_uses_bias(const attune_expression *expression) {
  return uses(expression, NAME, BIAS);
}

bool attune_expression_knows(const char *name) {
  if (strcmp(name, attune_expression_find_name) == 0) return true;
  for (int i = 0; i < FUNCTION_COUNT; i++)
    if (strcmp(name, attune_expression_functions[i].name) == 0) return true;
  for (int i = 0; i < NAME_COUNT; i++)
    if (strcmp(name, attune_expression_names[i].name) == 0) return true;
  return false;
}

/* *reads: it reads an array. */
static bool is_constant(const attune_expression *tree, int place, bool *reads) {
  const node *n = &tree->nodes[place];
  if (n->kind == NAME) return n->index == BATCH || n->index == HEAD || n->index == SEQLEN_Q || n->index == SEQLEN_K;
  if (n->kind == ELEMENT || n->kind == FIND) *reads = true;
  for (int i = 0; i < attune_expression_operands(n); i++)
    if (!is_constant(tree, n->operand[i], reads)) return false;
  return true;
}

static bool is_found(const attune_expression *tree, int place) {
  for (int i = 0; i < tree->constant_count; i++)
    if (tree->constants[i] == place) return true;
  return false;
}

void attune_expression_find_constants(attune_expression *tree, int place) {
  const node *n = &tree->nodes[place];
  bool reads = false;
  if (tree->constant_count == CONSTANTS_MAX || is_found(tree, place)) return;
  if ((n->type == INTEGER || n->type == REAL) && is_constant(tree, place, &reads) && reads) {
    int at = tree->constant_count++;
    for (; at > 0 && tree->constants[at - 1] > place; at--)
      tree->constants[at] = tree->constants[at - 1];
    tree->constants[at] = place;
    return;
  }
  for (int i = 0; i < attune_expression_operands(n); i++)
    attune_expression_find_constants(tree, n->operand[i]);
}
