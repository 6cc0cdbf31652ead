/* An expression's value for one query and one key. */
#include <math.h>

#include "generator/expression/tree.h"

/* Ints as they wrap in kernels, truth values as 0 and 1. Of a float what it is in double precision, by which a score is
 * judged; and in single, each operation rounded, as kernels compute it: comparisons, int() and floor() go by that,
 * since they would turn a last place into another result. */
typedef struct {
  int32_t integer;
  double real;
  float single;
} value;

static int32_t wrapped(int64_t x) {
  return (int32_t)(uint32_t)(uint64_t)x;
}

static int32_t binary_integer(int operation, int32_t a, int32_t b) {
  const uint32_t x = (uint32_t)a, y = (uint32_t)b;
  switch (operation) {
  case BIT_OR:
    return (int32_t)(x | y);
  case BIT_XOR:
    return (int32_t)(x ^ y);
  case BIT_AND:
    return (int32_t)(x & y);
  case SHIFT_LEFT:
    return (int32_t)(x << (y & 31));
  case SHIFT_RIGHT:
    return a >> (y & 31);
  case PLUS:
    return wrapped((int64_t)a + b);
  case MINUS:
    return wrapped((int64_t)a - b);
  case TIMES:
    return wrapped((int64_t)a * b);
  case DIVIDE:
    return b == 0 ? 0 : wrapped((int64_t)a / b);
  default: /* REMAINDER */
    return b == 0 ? 0 : (int32_t)((int64_t)a % b);
  }
}

static value of_float(float x) {
  return (value){.real = (double)x, .single = x};
}

static value of_integer(int32_t x) {
  return (value){.real = (double)x, .single = (float)x};
}

static value binary_real(int operation, const value *a, const value *b) {
  switch (operation) {
  case PLUS:
    return (value){.real = a->real + b->real, .single = a->single + b->single};
  case MINUS:
    return (value){.real = a->real - b->real, .single = a->single - b->single};
  case TIMES:
    return (value){.real = a->real * b->real, .single = a->single * b->single};
  default:
    return (value){.real = a->real / b->real, .single = a->single / b->single};
  }
}

static bool compare(int operation, double a, double b) {
  switch (operation) {
  case EQUAL:
    return a == b;
  case UNEQUAL:
    return a != b;
  case LESS_EQUAL:
    return a <= b;
  case GREATER_EQUAL:
    return a >= b;
  case LESS:
    return a < b;
  default:
    return a > b;
  }
}

int32_t attune_expression_random(int32_t a, int32_t b, int32_t c) {
  uint32_t x = (uint32_t)a * 0x9e3779b1u + (uint32_t)b * 0x85ebca6bu + (uint32_t)c * 0xc2b2ae35u;
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return (int32_t)(x & 0x7fffffffu);
}

static int32_t truncated(float x) {
  if (isnan(x)) return 0;
  return x >= 2147483648.0f ? INT32_MAX : x < -2147483648.0f ? INT32_MIN : (int32_t)x;
}

/* As templates/parts/arithmetic.h computes them; a GPU's may differ in the last place. */
static float single_tanh(float x) {
  return 1.0f - 2.0f / (1.0f + exp2f(2.8853900817779268f * x));
}

static value call(const node *n, const value *operand) {
  const int32_t a = operand[0].integer, b = operand[1].integer;
  const double x = operand[0].real, y = operand[1].real;
  const float s = operand[0].single, t = operand[1].single;
  switch ((function)n->index) {
  case ABS:
    return (value){a < 0 ? wrapped(-(int64_t)a) : a, fabs(x), fabsf(s)};
  case MIN:
    return (value){a < b ? a : b, fmin(x, y), fminf(s, t)};
  case MAX:
    return (value){a > b ? a : b, fmax(x, y), fmaxf(s, t)};
  case EXP:
    return (value){.real = exp(x), .single = exp2f(1.4426950408889634f * s)};
  case LOG:
    return (value){.real = log(x), .single = 0.6931471805599453f * log2f(s)};
  case SQRT:
    return (value){.real = sqrt(x), .single = sqrtf(s)};
  case TANH:
    return (value){.real = tanh(x), .single = single_tanh(s)};
  case FLOOR:
    return fabsf(s) < 0x1p23f ? of_float(floorf(s)) : operand[0]; /* from there on all floats are integers */
  case INT:
    return (value){.integer = truncated(s)};
  case RANDOM:
    return (value){.integer = attune_expression_random(a, b, operand[2].integer)};
  default: /* FLOAT */
    return operand[0];
  }
}

static value evaluate(const attune_expression *tree, const attune_scope *scope, int place);

static value element(const attune_expression *tree, const attune_scope *scope, const node *n) {
  const attune_value *array = &scope->values[tree->nodes[n->operand[0]].index];
  const int32_t index = evaluate(tree, scope, n->operand[1]).integer;
  if (index < 0 || index >= array->count) return (value){0};
  if (n->type == INTEGER) return (value){.integer = ((const int32_t *)array->array)[index]};
  return of_float(((const float *)array->array)[index]);
}

int32_t attune_expression_find(const attune_value *array, int32_t x) {
  int64_t low = 0, high = array->count < INT32_MAX ? array->count : INT32_MAX;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (((const int32_t *)array->array)[middle] <= x)
      low = middle + 1;
    else
      high = middle;
  }
  return (int32_t)low;
}

static value name_value(const attune_scope *scope, int index) {
  const int32_t integers[NAME_COUNT] = {
      [BATCH] = scope->batch, [HEAD] = scope->head,         [QUERY] = scope->q,
      [KEY] = scope->k,       [SEQLEN_Q] = scope->seqlen_q, [SEQLEN_K] = scope->seqlen_k};
  const double real = index == SCORE ? scope->score : scope->bias;
  return (value){integers[index], real, (float)real};
}

static value binary_value(const attune_expression *tree, const attune_scope *scope, const node *n) {
  const bool reals = tree->nodes[n->operand[0]].type == REAL;
  const value a = evaluate(tree, scope, n->operand[0]), b = evaluate(tree, scope, n->operand[1]);
  if (n->index == OR) return (value){.integer = a.integer || b.integer};
  if (n->index == AND) return (value){.integer = a.integer && b.integer};
  if (n->type == TRUTH)
    return (value){.integer = reals ? compare(n->index, (double)a.single, (double)b.single)
                                    : compare(n->index, (double)a.integer, (double)b.integer)};
  return reals ? binary_real(n->index, &a, &b) : (value){.integer = binary_integer(n->index, a.integer, b.integer)};
}

static value evaluate(const attune_expression *tree, const attune_scope *scope, int place) {
  const node *n = &tree->nodes[place];
  value operand[OPERANDS_MAX] = {0};
  switch (n->kind) {
  case LITERAL_INTEGER:
  case LITERAL_REAL:
    return (value){n->integer, (double)n->real, n->real};
  case NAME:
    return name_value(scope, n->index);
  case PARAM:
    return (value){scope->values[n->index].integer, (double)scope->values[n->index].real, scope->values[n->index].real};
  case TO_REAL:
    return of_integer(evaluate(tree, scope, n->operand[0]).integer);
  case TO_INTEGER:
    return evaluate(tree, scope, n->operand[0]);
  case TO_TRUTH:
    operand[0] = evaluate(tree, scope, n->operand[0]);
    return (value){.integer =
                       tree->nodes[n->operand[0]].type == REAL ? operand[0].single != 0.0f : operand[0].integer != 0};
  case UNARY:
    operand[0] = evaluate(tree, scope, n->operand[0]);
    if (n->index == NOT) return (value){.integer = !operand[0].integer};
    if (n->index == COMPLEMENT) return (value){.integer = ~operand[0].integer};
    return (value){wrapped(-(int64_t)operand[0].integer), -operand[0].real, -operand[0].single};
  case BINARY:
    return binary_value(tree, scope, n);
  case SELECT:
    return evaluate(tree, scope, n->operand[evaluate(tree, scope, n->operand[0]).integer ? 1 : 2]);
  case ELEMENT:
    return element(tree, scope, n);
  case FIND:
    return (value){.integer = attune_expression_find(&scope->values[tree->nodes[n->operand[0]].index],
                                                     evaluate(tree, scope, n->operand[1]).integer)};
  case CALL:
    for (int i = 0; i < attune_expression_functions[n->index].operands; i++)
      operand[i] = evaluate(tree, scope, n->operand[i]);
    return call(n, operand);
  }
  return operand[0];
}

double attune_expression_evaluate(const attune_expression *expression, const attune_scope *scope) {
  const value result = evaluate(expression, scope, expression->root);
  return expression->nodes[expression->root].type == REAL ? result.real : (double)result.integer;
}
