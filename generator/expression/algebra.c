/* Sums, products and choices of nodes, simplified as they are made. */
#include "generator/expression/algebra.h"

#include <math.h>
#include <string.h>

int attune_algebra_add(attune_algebra *of, node n) {
  for (int i = 0; i < of->count; i++)
    if (memcmp(&of->nodes[i], &n, sizeof n) == 0) return i; /* a node has no padding, and 0 where it has no member */
  if (of->count == of->most) of->full = true;
  if (of->full) return 0;
  of->nodes[of->count] = n;
  return of->count++;
}

/* A negative one is a sign before a number, as in texts. */
int attune_algebra_number(attune_algebra *of, float x) {
  const int place = attune_algebra_add(of, (node){.kind = LITERAL_REAL, .type = REAL, .real = fabsf(x)});
  return x < 0 ? attune_algebra_add(of, (node){.kind = UNARY, .type = REAL, .index = NEGATE, .operand = {place}})
               : place;
}

static bool is_operation(const node *n, binary operation) {
  return n->kind == BINARY && n->type == REAL && n->index == (int)operation;
}

static bool is_negated(const node *n) {
  return n->kind == UNARY && n->type == REAL;
}

static bool is_number(const attune_algebra *of, int place, double *x) {
  const node *n = &of->nodes[place];
  const bool negated = is_negated(n);
  if (negated) n = &of->nodes[n->operand[0]];
  if (n->kind != LITERAL_REAL) return false;
  *x = negated ? -(double)n->real : (double)n->real;
  return true;
}

static bool is_the_number(const attune_algebra *of, int place, double wanted) {
  double x;
  return is_number(of, place, &x) && x == wanted;
}

bool attune_algebra_is_zero(const attune_algebra *of, int place) {
  return is_the_number(of, place, 0);
}

/* x as a number, if a float holds it; else -1. */
static int exact(attune_algebra *of, double x) {
  return fabs(x) <= 3.4e38 && (double)(float)x == x ? attune_algebra_number(of, (float)x) : -1;
}

/* a as an operand whose text says that it is a float: a converted int has none. */
static int as_float(attune_algebra *of, int a) {
  const node *n = &of->nodes[a];
  if (n->kind != TO_REAL) return a;
  n = &of->nodes[n->operand[0]];
  const bool negated = n->kind == UNARY && n->index == NEGATE;
  if (negated) n = &of->nodes[n->operand[0]];
  const int number = n->kind != LITERAL_INTEGER ? -1 : exact(of, negated ? -(double)n->integer : (double)n->integer);
  if (number >= 0) return number;
  return attune_algebra_add(of, (node){.kind = CALL, .type = REAL, .index = FLOAT, .operand = {a}});
}

static int operation_of(attune_algebra *of, binary operation, int a, int b) {
  return attune_algebra_add(of, (node){.kind = BINARY, .type = REAL, .index = (int)operation, .operand = {a, b}});
}

int attune_algebra_negated(attune_algebra *of, int a) {
  a = as_float(of, a);
  if (attune_algebra_is_zero(of, a)) return a;
  if (is_negated(&of->nodes[a])) return of->nodes[a].operand[0];
  return attune_algebra_add(of, (node){.kind = UNARY, .type = REAL, .index = NEGATE, .operand = {a}});
}

/* x + y as a number, if it is one without rounding; else -1. */
static int exact_sum(attune_algebra *of, double x, double y) {
  const double sum = x + y;
  return sum - x == y && sum - y == x ? exact(of, sum) : -1;
}

int attune_algebra_sum(attune_algebra *of, int a, int b) {
  double x, y;
  a = as_float(of, a);
  b = as_float(of, b);
  if (attune_algebra_is_zero(of, a)) return b;
  if (attune_algebra_is_zero(of, b)) return a;
  if (is_number(of, a, &x) && is_number(of, b, &y)) {
    const int number = exact_sum(of, x, y);
    if (number >= 0) return number;
  }
  if (a == b) return attune_algebra_product(of, attune_algebra_number(of, 2.0f), a);
  if (is_negated(&of->nodes[b])) return operation_of(of, MINUS, a, of->nodes[b].operand[0]);
  if (is_negated(&of->nodes[a])) return operation_of(of, MINUS, b, of->nodes[a].operand[0]);
  return operation_of(of, PLUS, a, b);
}

int attune_algebra_difference(attune_algebra *of, int a, int b) {
  return attune_algebra_sum(of, a, attune_algebra_negated(of, b));
}

/* a without the factor b, or -1 if it has none. A number is a factor of every number whose quotient is exact. */
static int without_factor(attune_algebra *of, int a, int b) {
  const node n = of->nodes[a];
  double x, y;
  if (is_number(of, a, &x) && is_number(of, b, &y)) return y != 0 && fma(x / y, y, -x) == 0 ? exact(of, x / y) : -1;
  if (a == b) return attune_algebra_number(of, 1.0f);
  if (!is_operation(&n, TIMES) && !is_operation(&n, DIVIDE)) return -1;
  const int left = without_factor(of, n.operand[0], b);
  if (left >= 0)
    return n.index == TIMES ? attune_algebra_product(of, left, n.operand[1])
                            : attune_algebra_quotient(of, left, n.operand[1]);
  if (n.index == DIVIDE) return -1;
  const int right = without_factor(of, n.operand[1], b);
  return right >= 0 ? attune_algebra_product(of, n.operand[0], right) : -1;
}

/* (n / d) b */
static int product_of_quotient(attune_algebra *of, int a, int b) {
  const int above = of->nodes[a].operand[0], below = of->nodes[a].operand[1];
  const int without = without_factor(of, b, below);
  if (without >= 0) return attune_algebra_product(of, above, without);
  if (is_the_number(of, above, 1)) return attune_algebra_quotient(of, b, below);
  return operation_of(of, TIMES, a, b);
}

int attune_algebra_product(attune_algebra *of, int a, int b) {
  double x, y;
  a = as_float(of, a);
  b = as_float(of, b);
  if (attune_algebra_is_zero(of, a) || is_the_number(of, b, 1)) return a;
  if (attune_algebra_is_zero(of, b) || is_the_number(of, a, 1)) return b;
  if (is_negated(&of->nodes[a]))
    return attune_algebra_negated(of, attune_algebra_product(of, of->nodes[a].operand[0], b));
  if (is_negated(&of->nodes[b]))
    return attune_algebra_negated(of, attune_algebra_product(of, a, of->nodes[b].operand[0]));
  if (is_number(of, b, &y) && !is_number(of, a, &x)) { /* numbers stand first */
    const int swapped = a;
    a = b;
    b = swapped;
  }
  const node second = of->nodes[b];
  if (is_number(of, a, &x)) {
    int number = -1;
    if (is_number(of, b, &y)) number = exact(of, x * y);
    if (number >= 0) return number;
    if (is_operation(&second, TIMES) && is_number(of, second.operand[0], &y)) number = exact(of, x * y);
    if (number >= 0) return attune_algebra_product(of, number, second.operand[1]);
  }
  if (is_operation(&of->nodes[a], DIVIDE)) return product_of_quotient(of, a, b);
  return operation_of(of, TIMES, a, b);
}

int attune_algebra_quotient(attune_algebra *of, int a, int b) {
  a = as_float(of, a);
  b = as_float(of, b);
  if (attune_algebra_is_zero(of, a) || is_the_number(of, b, 1)) return a;
  if (is_negated(&of->nodes[a]))
    return attune_algebra_negated(of, attune_algebra_quotient(of, of->nodes[a].operand[0], b));
  if (is_negated(&of->nodes[b]))
    return attune_algebra_negated(of, attune_algebra_quotient(of, a, of->nodes[b].operand[0]));
  const int without = without_factor(of, a, b);
  return without >= 0 ? without : operation_of(of, DIVIDE, a, b);
}

int attune_algebra_choice(attune_algebra *of, int condition, int a, int b) {
  a = as_float(of, a);
  b = as_float(of, b);
  if (a == b) return a;
  return attune_algebra_add(of, (node){.kind = SELECT, .type = REAL, .operand = {condition, a, b}});
}
