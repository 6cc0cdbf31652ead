/* What an expression may be when its names may be anything of a range: whether keys are seen by no row of a tile, by
 * some, or by all. templates/parts/arithmetic.h does the same in kernels; here it counts tiles and finds ints that are
 * small. Sound, not tight: it may say "some" where it is none or all. */
#include "generator/expression/tree.h"

/* Of an int all values from low to high; of a truth value whether it holds somewhere and everywhere. A float may be
 * anything. */
typedef struct {
  int64_t low, high;
  bool maybe, always;
} range;

typedef struct {
  const attune_expression *tree;
  const attune_range_scope *scope;
} walk;

static const range anything = {INT32_MIN, INT32_MAX, true, false};

static range of_ints(int64_t low, int64_t high) {
  if (low < INT32_MIN || high > INT32_MAX) return anything; /* it wraps */
  return (range){low, high, true, false};
}

static range of_truth(bool maybe, bool always) {
  return (range){0, 1, maybe, always};
}

static bool is_one(range a) {
  return a.low == a.high;
}

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static int64_t all_ones(int64_t x) {
  for (int shift = 1; shift < 32; shift *= 2)
    x |= x >> shift;
  return x;
}

static range times(range a, range b) {
  const int64_t w = a.low * b.low, x = a.low * b.high, y = a.high * b.low, z = a.high * b.high;
  return of_ints(least(least(w, x), least(y, z)), most(most(w, x), most(y, z)));
}

static range divided(range a, range b) {
  if (is_one(b) && b.low == 0) return of_ints(0, 0);
  if (is_one(b) && b.low > 0) return of_ints(a.low / b.low, a.high / b.low);
  return is_one(a) && is_one(b) ? of_ints(a.low / b.low, a.low / b.low) : anything;
}

static range remainder_of(range a, range b) {
  if (is_one(b) && b.low == 0) return of_ints(0, 0);
  if (is_one(a) && is_one(b)) return of_ints(a.low % b.low, a.low % b.low);
  if (!is_one(b) || b.low < 0) return anything;
  if (a.low < 0) return of_ints(1 - b.low, b.low - 1);
  if (a.low / b.low == a.high / b.low) return of_ints(a.low % b.low, a.high % b.low);
  return of_ints(0, b.low - 1);
}

static range bits(int operation, range a, range b) {
  const bool natural = a.low >= 0 && b.low >= 0;
  if (is_one(a) && is_one(b)) {
    const int64_t x = operation == BIT_AND ? a.low & b.low : operation == BIT_OR ? a.low | b.low : a.low ^ b.low;
    return of_ints(x, x);
  }
  if (operation == BIT_AND) {
    if (natural) return of_ints(0, least(a.high, b.high));
    return a.low >= 0 ? of_ints(0, a.high) : b.low >= 0 ? of_ints(0, b.high) : anything;
  }
  if (!natural) return anything;
  return of_ints(operation == BIT_OR ? most(a.low, b.low) : 0, all_ones(most(a.high, b.high)));
}

static range shifted(int operation, range a, range b) {
  if (!is_one(b)) return anything;
  const int64_t factor = (int64_t)1 << (b.low & 31);
  if (operation == SHIFT_LEFT) return of_ints(a.low * factor, a.high * factor);
  return of_ints(a.low >> (b.low & 31), a.high >> (b.low & 31));
}

static range compared(int operation, range a, range b) {
  const bool equal = is_one(a) && is_one(b) && a.low == b.low, meet = a.low <= b.high && b.low <= a.high;
  switch (operation) {
  case EQUAL:
    return of_truth(meet, equal);
  case UNEQUAL:
    return of_truth(!equal, !meet);
  case LESS:
    return of_truth(a.low < b.high, a.high < b.low);
  case LESS_EQUAL:
    return of_truth(a.low <= b.high, a.high <= b.low);
  case GREATER:
    return of_truth(b.low < a.high, b.high < a.low);
  default: /* GREATER_EQUAL */
    return of_truth(b.low <= a.high, b.high <= a.low);
  }
}

static range computed(int operation, range a, range b) {
  switch (operation) {
  case OR:
    return of_truth(a.maybe || b.maybe, a.always || b.always);
  case AND:
    return of_truth(a.maybe && b.maybe, a.always && b.always);
  case BIT_OR:
  case BIT_XOR:
  case BIT_AND:
    return bits(operation, a, b);
  case SHIFT_LEFT:
  case SHIFT_RIGHT:
    return shifted(operation, a, b);
  case PLUS:
    return of_ints(a.low + b.low, a.high + b.high);
  case MINUS:
    return of_ints(a.low - b.high, a.high - b.low);
  case TIMES:
    return times(a, b);
  case DIVIDE:
    return divided(a, b);
  case REMAINDER:
    return remainder_of(a, b);
  default:
    return compared(operation, a, b);
  }
}

static range magnitude(range a) {
  if (a.low >= 0) return a;
  if (a.high <= 0) return of_ints(-a.high, -a.low);
  return of_ints(0, most(-a.low, a.high));
}

static range called(function f, const range *x) {
  int32_t number;
  switch (f) {
  case ABS:
    return magnitude(x[0]);
  case MIN:
    return of_ints(least(x[0].low, x[1].low), least(x[0].high, x[1].high));
  case MAX:
    return of_ints(most(x[0].low, x[1].low), most(x[0].high, x[1].high));
  case RANDOM:
    if (!is_one(x[0]) || !is_one(x[1]) || !is_one(x[2])) return of_ints(0, INT32_MAX);
    number = attune_expression_random((int32_t)x[0].low, (int32_t)x[1].low, (int32_t)x[2].low);
    return of_ints(number, number);
  default:
    return anything;
  }
}

static range of_node(const walk *w, int place);

static range name_range(const attune_range_scope *scope, int index) {
  const attune_range ranges[NAME_COUNT] = {
      [BATCH] = scope->batch, [HEAD] = scope->head,         [QUERY] = scope->q,
      [KEY] = scope->k,       [SEQLEN_Q] = scope->seqlen_q, [SEQLEN_K] = scope->seqlen_k};
  return of_ints(ranges[index].low, ranges[index].high);
}

static range element_range(const walk *w, const node *n) {
  enum { WIDEST = 512 };
  const range at = of_node(w, n->operand[1]);
  if (w->scope->values == NULL || at.high - at.low >= WIDEST) return anything;
  const attune_value *array = &w->scope->values[w->tree->nodes[n->operand[0]].index];
  const bool outside = at.low < 0 || at.high >= array->count;
  if (w->scope->evaluated != NULL) *w->scope->evaluated += at.high - at.low;
  range all = {outside ? 0 : INT32_MAX, outside ? 0 : INT32_MIN, true, false};
  for (int64_t i = most(at.low, 0); i <= least(at.high, array->count - 1); i++) {
    all.low = least(all.low, ((const int32_t *)array->array)[i]);
    all.high = most(all.high, ((const int32_t *)array->array)[i]);
  }
  return all;
}

/* It only grows with what is looked for. */
static range find_range(const walk *w, const node *n) {
  const range x = of_node(w, n->operand[1]);
  if (w->scope->values == NULL) return of_ints(0, INT32_MAX);
  const attune_value *array = &w->scope->values[w->tree->nodes[n->operand[0]].index];
  return of_ints(attune_expression_find(array, (int32_t)x.low), attune_expression_find(array, (int32_t)x.high));
}

static range selected(range condition, range yes, range no, bool truth) {
  if (condition.always) return yes;
  if (!condition.maybe) return no;
  if (truth) return of_truth(yes.maybe || no.maybe, yes.always && no.always);
  return of_ints(least(yes.low, no.low), most(yes.high, no.high));
}

static range unary_range(const node *n, range a) {
  if (n->index == NOT) return of_truth(!a.always, !a.maybe);
  return n->index == COMPLEMENT ? of_ints(~a.high, ~a.low) : of_ints(-a.high, -a.low);
}

static range of_node(const walk *w, int place) {
  const node *n = &w->tree->nodes[place];
  range operand[OPERANDS_MAX] = {{0}};
  if (w->scope->evaluated != NULL) ++*w->scope->evaluated;
  if (n->type == REAL) return anything;
  if (n->kind == LITERAL_INTEGER) return of_ints(n->integer, n->integer);
  if (n->kind == NAME) return name_range(w->scope, n->index);
  if (n->kind == PARAM) {
    if (n->type != INTEGER || w->scope->values == NULL) return anything;
    return of_ints(w->scope->values[n->index].integer, w->scope->values[n->index].integer);
  }
  if (n->kind == ELEMENT) return element_range(w, n);
  if (n->kind == FIND) return find_range(w, n);
  const type inner = w->tree->nodes[n->operand[0]].type;
  operand[0] = of_node(w, n->operand[0]);
  if (n->kind == TO_TRUTH) return inner == REAL ? of_truth(true, false) : compared(UNEQUAL, operand[0], of_ints(0, 0));
  if (n->kind == TO_INTEGER) return of_ints(operand[0].always, operand[0].maybe);
  if (n->kind == UNARY) return unary_range(n, operand[0]);
  if (n->kind == CALL) {
    for (int i = 1; i < attune_expression_functions[n->index].operands; i++)
      operand[i] = of_node(w, n->operand[i]);
    return called((function)n->index, operand);
  }
  operand[1] = of_node(w, n->operand[1]);
  if (n->kind == SELECT) return selected(operand[0], operand[1], of_node(w, n->operand[2]), n->type == TRUTH);
  if (inner == REAL) return of_truth(true, false); /* a comparison of floats */
  return computed(n->index, operand[0], operand[1]);
}

attune_seen attune_expression_seen(const attune_expression *mask, const attune_range_scope *scope) {
  const range seen = of_node(&(walk){mask, scope}, mask->root);
  return seen.always ? ATTUNE_SEEN_WHOLE : seen.maybe ? ATTUNE_SEEN_PARTIAL : ATTUNE_SEEN_NONE;
}

/* Of all lengths, heads and values. */
void attune_expression_int_range(int64_t *low, int64_t *high, const attune_expression *expression, int place) {
  const attune_range all = {INT32_MIN, INT32_MAX};
  const attune_range_scope scope = {all, all, all, all, all, all, NULL, NULL};
  const range of = of_node(&(walk){expression, &scope}, place);
  *low = of.low;
  *high = of.high;
}

bool attune_expression_small(const attune_expression *expression, int place, int32_t most_seqlen) {
  enum { HEADS = 1 << 16, SMALL = 1 << 22 };
  const attune_range lengths = {0, most_seqlen}, heads = {0, HEADS};
  const attune_range_scope scope = {heads, heads, lengths, lengths, lengths, lengths, NULL, NULL};
  const range of = of_node(&(walk){expression, &scope}, place);
  return of.low >= -SMALL && of.high < SMALL;
}
