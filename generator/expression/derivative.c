/* The derivatives of a score: by the score, the bias, float params and elements of float arrays. From the root down,
 * with the derivative of the root by each part on the way; every occurrence of a leaf adds what has arrived there.
 *
 * Where a value is chosen the derivative is chosen too, and nothing is multiplied by the zero of what was not: a value
 * that is infinite or not a number where it is not taken does not reach the result. */
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/expression/algebra.h"
#include "generator/expression/expression.h"

typedef struct {
  attune_algebra algebra;
  int root, zero, one;
  int leaf;                /* by which */
  bool on_path[NODES_MAX]; /* whether the leaf changes the value's node */
} derivation;

/* ---- which parts a leaf changes ---- */

/* By how much a part changes with its operands is asked of floats alone, and not of what jumps. */
static bool passes(const node *n, int operand) {
  if (n->type != REAL) return false;
  if (n->kind == SELECT) return operand > 0;
  if (n->kind == CALL) return n->index != FLOOR;
  return n->kind == UNARY || n->kind == BINARY;
}

static void find_path(derivation *d, int leaf) {
  d->leaf = leaf;
  for (int i = 0; i <= d->root; i++) {
    const node *n = &d->algebra.nodes[i];
    d->on_path[i] = i == leaf;
    for (int o = 0; o < attune_expression_operands(n); o++)
      if (passes(n, o) && d->on_path[n->operand[o]]) d->on_path[i] = true;
  }
}

/* ---- the rules ---- */

static int derive(derivation *d, int place, int outer);

static int truth(derivation *d, binary operation, int a, int b) {
  return attune_algebra_add(&d->algebra,
                            (node){.kind = BINARY, .type = TRUTH, .index = (int)operation, .operand = {a, b}});
}

/* Of a product and a quotient each operand takes the other one with it. */
static int derive_binary(derivation *d, int place, int outer) {
  attune_algebra *of = &d->algebra;
  const node n = of->nodes[place];
  const int a = n.operand[0], b = n.operand[1];
  int first = outer, second = outer;
  if (n.index == MINUS) second = attune_algebra_negated(of, outer);
  if (n.index == TIMES) {
    first = d->on_path[a] ? attune_algebra_product(of, outer, b) : d->zero;
    second = d->on_path[b] ? attune_algebra_product(of, outer, a) : d->zero;
  }
  if (n.index == DIVIDE) {
    first = attune_algebra_quotient(of, outer, b);
    if (d->on_path[b]) second = attune_algebra_negated(of, attune_algebra_product(of, first, place));
  }
  const int by_first = derive(d, a, first);
  return attune_algebra_sum(of, by_first, derive(d, b, second));
}

/* Whichever is returned: of equals the second one, and of a number and a NaN the number. */
static int derive_least_or_most(derivation *d, int place, int outer) {
  attune_algebra *of = &d->algebra;
  const node n = of->nodes[place];
  const int a = n.operand[0], b = n.operand[1];
  const bool b_is_number = of->nodes[b].kind == LITERAL_REAL || of->nodes[b].kind == TO_REAL;
  int is_first = truth(d, n.index == MIN ? LESS : GREATER, a, b);
  if (!b_is_number) is_first = truth(d, OR, is_first, truth(d, UNEQUAL, b, b));
  const int by_first = derive(d, a, outer);
  return attune_algebra_choice(of, is_first, by_first, derive(d, b, outer));
}

static int derive_call(derivation *d, int place, int outer) {
  attune_algebra *of = &d->algebra;
  const node n = of->nodes[place];
  const int x = n.operand[0];
  int inner = outer; /* FLOAT */
  switch ((function)n.index) {
  case MIN:
  case MAX:
    return derive_least_or_most(d, place, outer);
  case ABS: /* at 0 that of positive numbers */
    inner = attune_algebra_negated(of, outer);
    inner = attune_algebra_choice(of, truth(d, LESS, x, d->zero), inner, outer);
    break;
  case EXP:
    inner = attune_algebra_product(of, outer, place);
    break;
  case LOG:
    inner = attune_algebra_quotient(of, outer, x);
    break;
  case SQRT:
    inner = attune_algebra_product(of, attune_algebra_number(of, 0.5f), outer);
    inner = attune_algebra_quotient(of, inner, place);
    break;
  case TANH:
    inner = attune_algebra_difference(of, d->one, attune_algebra_product(of, place, place));
    inner = attune_algebra_product(of, outer, inner);
    break;
  default:
    break;
  }
  return derive(d, x, inner);
}

/* What the leaf adds through the part at the place, of which the root's derivative is outer. */
static int derive(derivation *d, int place, int outer) {
  attune_algebra *of = &d->algebra;
  const node n = of->nodes[place];
  if (of->full || !d->on_path[place]) return d->zero;
  if (place == d->leaf) return outer;
  if (n.kind == UNARY) return derive(d, n.operand[0], attune_algebra_negated(of, outer));
  if (n.kind == CALL) return derive_call(d, place, outer);
  if (n.kind != SELECT) return derive_binary(d, place, outer);
  const int yes = derive(d, n.operand[1], outer);
  return attune_algebra_choice(of, n.operand[0], yes, derive(d, n.operand[2], outer));
}

/* ---- all of them ---- */

typedef struct {
  attune_derivative_by by;
  int param, index, value; /* index: a place, or -1 */
} result;

static bool is_leaf(const node *n) {
  if (n->type != REAL) return false;
  return n->kind == PARAM || n->kind == ELEMENT || n->kind == NAME;
}

static result result_of(const derivation *d, int leaf, int value) {
  const node *n = &d->algebra.nodes[leaf];
  if (n->kind == NAME) return (result){n->index == SCORE ? ATTUNE_BY_SCORE : ATTUNE_BY_BIAS, -1, -1, value};
  if (n->kind == PARAM) return (result){ATTUNE_BY_PARAM, n->index, -1, value};
  return (result){ATTUNE_BY_ELEMENT, d->algebra.nodes[n->operand[0]].index, n->operand[1], value};
}

/* That by the score first, then those that are not 0; gives how many. */
static int derive_by_all(result out[NODES_MAX], derivation *d) {
  int count = 1;
  out[0] = (result){ATTUNE_BY_SCORE, -1, -1, d->zero};
  for (int leaf = 0; leaf <= d->root; leaf++) {
    if (!is_leaf(&d->algebra.nodes[leaf])) continue;
    find_path(d, leaf);
    const result r = result_of(d, leaf, derive(d, d->root, d->one));
    if (r.by == ATTUNE_BY_SCORE)
      out[0] = r;
    else if (!attune_algebra_is_zero(&d->algebra, r.value))
      out[count++] = r;
  }
  return count;
}

/* The score's nodes, each once. */
static void copy_score(derivation *d, const attune_expression *score) {
  int place[NODES_MAX];
  for (int i = 0; i < score->count; i++) {
    node n = score->nodes[i];
    for (int o = 0; o < attune_expression_operands(&n); o++)
      n.operand[o] = place[n.operand[o]];
    place[i] = attune_algebra_add(&d->algebra, n);
  }
  d->root = place[score->root];
}

/* One block of memory: the derivatives, then the nodes that their trees share, then the trees. */
static attune_derivatives *pack(const derivation *d, const attune_expression *score, const result *results, int count) {
  const size_t trees = 1 + 2 * (size_t)count, nodes = (size_t)d->algebra.count;
  attune_derivatives *out = calloc(1, sizeof *out + (size_t)count * sizeof(attune_derivative) +
                                          trees * sizeof(attune_expression) + nodes * sizeof(node));
  if (out == NULL) return NULL;
  attune_derivative *of = (attune_derivative *)(out + 1);
  attune_expression *tree = (attune_expression *)(of + count);
  node *shared = (node *)(tree + trees);
  memcpy(shared, d->algebra.nodes, nodes * sizeof(node));
  attune_expression whole = *score;
  whole.nodes = shared;
  whole.count = d->algebra.count;
  whole.root = d->root;
  whole.constant_count = 0;
  attune_expression_find_constants(&whole, d->root);
  for (int i = 0; i < count; i++) {
    attune_expression_find_constants(&whole, results[i].value);
    if (results[i].index >= 0) attune_expression_find_constants(&whole, results[i].index);
  }
  *tree = whole;
  *out = (attune_derivatives){.score = tree++, .count = count, .of = of};
  for (int i = 0; i < count; i++, of++) {
    *of = (attune_derivative){.by = results[i].by, .param = results[i].param, .value = tree};
    *tree = whole;
    tree++->root = results[i].value;
    if (results[i].index < 0) continue;
    of->index = tree;
    *tree = whole;
    tree++->root = results[i].index;
  }
  return out;
}

attune_status attune_expression_derivative(attune_derivatives **out, const attune_expression *score) {
  if (out == NULL || score == NULL || score->nodes[score->root].type != REAL)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "derivative: null pointer, or no score expression");
  *out = NULL;
  derivation *d = calloc(1, sizeof *d + DERIVED_NODES_MAX * sizeof(node));
  result *results = calloc(NODES_MAX, sizeof *results);
  attune_status status = ATTUNE_OK;
  if (d != NULL && results != NULL) {
    d->algebra = (attune_algebra){.nodes = (node *)(d + 1), .most = DERIVED_NODES_MAX};
    copy_score(d, score);
    d->zero = attune_algebra_number(&d->algebra, 0.0f);
    d->one = attune_algebra_number(&d->algebra, 1.0f);
    const int count = derive_by_all(results, d);
    if (d->algebra.full)
      status = attune_fail(ATTUNE_UNSUPPORTED,
                           "the score expression has derivatives of more than %d operations and operands; split it "
                           "into params",
                           DERIVED_NODES_MAX);
    else
      *out = pack(d, score, results, count);
  }
  if (status == ATTUNE_OK && *out == NULL) status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for derivatives");
  free(results);
  free(d);
  return status;
}
