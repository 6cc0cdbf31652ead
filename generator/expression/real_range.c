/* What floats an expression may give when its names may be anything: what bounds scores whatever the inputs are, as
 * tanh and min do. As kernels compute, whose operations are off by less than 2^-16 and take what is tiny for zero. */
#include <float.h>
#include <math.h>

#include "generator/expression/expression.h"
#include "generator/expression/tree.h"

/* All floats from low to high, infinities included, and perhaps NaN. */
typedef struct {
  double low, high;
  bool nan;
} range;

static const range anything = {-INFINITY, INFINITY, true};

/* Of exact values, as computed ones: beyond what floats hold there is infinity, and below it 0. */
static range from_to(double low, double high, bool nan) {
  const double error = 0x1p-16, tiny = 0x1p-120;
  if (isnan(low) || isnan(high)) return anything;
  low -= isinf(low) ? 0 : fabs(low) * error;
  high += isinf(high) ? 0 : fabs(high) * error;
  if (low > 0 && low < tiny) low = 0;
  if (high < 0 && high > -tiny) high = 0;
  return (range){low < -FLT_MAX ? -INFINITY : fmin(low, FLT_MAX), high > FLT_MAX ? INFINITY : fmax(high, -FLT_MAX),
                 nan};
}

static bool is_infinite(range a) {
  return isinf(a.low) || isinf(a.high);
}

static bool has_zero(range a) {
  return a.low <= 0 && a.high >= 0;
}

static double product(double x, double y) {
  return x == 0 || y == 0 ? 0 : x * y; /* NaN is told apart */
}

static range times(range a, range b) {
  const double w = product(a.low, b.low), x = product(a.low, b.high), y = product(a.high, b.low),
               z = product(a.high, b.high);
  const bool nan = a.nan || b.nan || (is_infinite(a) && has_zero(b)) || (is_infinite(b) && has_zero(a));
  return from_to(fmin(fmin(w, x), fmin(y, z)), fmax(fmax(w, x), fmax(y, z)), nan);
}

/* With the reciprocal, as kernels do. */
static range divided(range a, range b) {
  if (has_zero(b)) return anything;
  return times(a, from_to(1 / b.high, 1 / b.low, b.nan));
}

/* Of a number and a NaN it is the number. */
static range least_or_most(function f, range a, range b) {
  range r = f == MIN ? (range){fmin(a.low, b.low), fmin(a.high, b.high), a.nan && b.nan}
                     : (range){fmax(a.low, b.low), fmax(a.high, b.high), a.nan && b.nan};
  if (a.nan) r.low = fmin(r.low, b.low), r.high = fmax(r.high, b.high);
  if (b.nan) r.low = fmin(r.low, a.low), r.high = fmax(r.high, a.high);
  return r;
}

static range called(function f, range a, range b) {
  switch (f) {
  case ABS:
    return from_to(has_zero(a) ? 0 : fmin(fabs(a.low), fabs(a.high)), fmax(fabs(a.low), fabs(a.high)), a.nan);
  case MIN:
  case MAX:
    return least_or_most(f, a, b);
  case EXP:
    return from_to(exp(a.low), exp(a.high), a.nan);
  case LOG:
    return a.low > 0 ? from_to(log(a.low), log(a.high), a.nan) : anything;
  case SQRT:
    return a.low >= 0 ? from_to(sqrt(a.low), sqrt(a.high), a.nan) : anything;
  case TANH:
    return from_to(tanh(a.low), tanh(a.high), a.nan);
  case FLOOR:
    return from_to(floor(a.low), floor(a.high), a.nan);
  case FLOAT:
    return a;
  default:
    return anything;
  }
}

static range of_node(const attune_expression *tree, int place);

static range binary_range(int operation, range a, range b) {
  const bool nan = a.nan || b.nan || (is_infinite(a) && is_infinite(b));
  if (operation == PLUS) return from_to(a.low + b.low, a.high + b.high, nan);
  if (operation == MINUS) return from_to(a.low - b.high, a.high - b.low, nan);
  return operation == TIMES ? times(a, b) : divided(a, b);
}

static range of_node(const attune_expression *tree, int place) {
  const node *n = &tree->nodes[place];
  range operand[OPERANDS_MAX] = {{0}};
  int64_t low, high;
  for (int i = 0; i < attune_expression_operands(n); i++)
    if (tree->nodes[n->operand[i]].type == REAL) operand[i] = of_node(tree, n->operand[i]);
  switch (n->kind) {
  case LITERAL_REAL:
    return from_to((double)n->real, (double)n->real, false);
  case TO_REAL:
    attune_expression_int_range(&low, &high, tree, n->operand[0]);
    return from_to((double)low, (double)high, false);
  case UNARY:
    return from_to(-operand[0].high, -operand[0].low, operand[0].nan);
  case BINARY:
    return binary_range(n->index, operand[0], operand[1]);
  case SELECT:
    return from_to(fmin(operand[1].low, operand[2].low), fmax(operand[1].high, operand[2].high),
                   operand[1].nan || operand[2].nan);
  case CALL:
    return called((function)n->index, operand[0], operand[1]);
  default:
    return anything;
  }
}

double attune_expression_largest(const attune_expression *score) {
  const range of = of_node(score, score->root);
  return fmax(fabs(of.low), fabs(of.high));
}
