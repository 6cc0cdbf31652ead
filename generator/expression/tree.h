/* Private to the files of expressions: the tree that a text becomes. */
#ifndef ATTUNE_EXPRESSION_TREE_H
#define ATTUNE_EXPRESSION_TREE_H

#include "generator/generator.h"

/* A printed node nests twice at most, in its parenthesis and in its sign or branch: whatever parses also does when
 * printed. */
enum { NODES_MAX = 256, DEPTH_MAX = 2 * NODES_MAX, OPERANDS_MAX = 3, CONSTANTS_MAX = 4, DERIVED_NODES_MAX = 2048 };

typedef enum { TRUTH, INTEGER, REAL, INTEGERS, REALS } type;

typedef enum {
  /* leaves */
  LITERAL_INTEGER,
  LITERAL_REAL,
  NAME,  /* a built-in one: index in names[] */
  PARAM, /* index in the problem's params */
  /* conversions, which have no text of their own */
  TO_TRUTH,
  TO_INTEGER, /* of a truth value */
  TO_REAL,
  /* the rest: index in operators[] or functions[] */
  UNARY,
  BINARY,
  SELECT,
  ELEMENT,
  FIND, /* how many elements of an array are at most that */
  CALL
} node_kind;

typedef struct {
  node_kind kind;
  type type;
  int index;
  int operand[OPERANDS_MAX]; /* places of nodes */
  int32_t integer;
  float real;
} node;

struct attune_expression {
  int count, root; /* operands stand before their node */
  /* The largest parts that read an array and are the same for a whole head: computed once, not for every score. */
  int constants[CONSTANTS_MAX], constant_count;
  char params[ATTUNE_PARAMS_MAX][ATTUNE_PARAM_NAME_MAX];
  const node *nodes; /* in the same allocation; those of derivatives are shared */
};

/* Built-in names, and what operators and functions do; tables of their texts are in expression_tree.c. */
typedef enum { SCORE, BIAS, BATCH, HEAD, QUERY, KEY, SEQLEN_Q, SEQLEN_K, NAME_COUNT } builtin;
typedef enum {
  OR,
  AND,
  BIT_OR,
  BIT_XOR,
  BIT_AND,
  EQUAL,
  UNEQUAL,
  LESS_EQUAL,
  GREATER_EQUAL,
  SHIFT_LEFT,
  SHIFT_RIGHT,
  LESS,
  GREATER,
  PLUS,
  MINUS,
  TIMES,
  DIVIDE,
  REMAINDER,
  BINARY_COUNT
} binary;
typedef enum { NEGATE, NOT, COMPLEMENT } unary;
typedef enum { ABS, MIN, MAX, EXP, LOG, SQRT, TANH, FLOOR, FLOAT, INT, RANDOM, FUNCTION_COUNT } function;

/* Which operands an operator takes and what it gives. */
typedef enum { OF_NUMBERS, OF_INTEGERS, COMPARES, OF_TRUTH } operator_class;
/* Functions of numbers take ints to an int; those of floats convert. */
typedef enum { NUMBERS, REALS_TO_REAL, REAL_TO_INTEGER, INTEGERS_TO_INTEGER } signature;
typedef struct {
  const char *name;
  type type;
} attune_expression_name;
typedef struct {
  const char *text;
  int level; /* the higher binds closer */
  operator_class class;
} attune_expression_binary;
typedef struct {
  const char *name, *emitted;
  int operands;
  signature signature;
} attune_expression_function;
extern const attune_expression_name attune_expression_names[NAME_COUNT];
extern const attune_expression_binary attune_expression_binaries[BINARY_COUNT];
extern const attune_expression_function attune_expression_functions[FUNCTION_COUNT];
extern const char attune_expression_unary_signs[]; /* in the order of unary */
extern const char attune_expression_find_name[];
/* How many of the node's operands are places of nodes. */
int attune_expression_operands(const node *node);
/* Adds the constants that the part at the place needs. A constant stands behind those that it is made of. */
void attune_expression_find_constants(attune_expression *expression, int place);
/* Whether the int at the node is from -2^22 to 2^22 - 1 for all lengths up to most_seqlen (queries and keys may lie a
 * tile further). */
bool attune_expression_small(const attune_expression *expression, int place, int32_t most_seqlen);
/* What the int at the place may be, whatever its names are. */
void attune_expression_int_range(int64_t *low, int64_t *high, const attune_expression *expression, int place);
/* What find() gives: of an ascending array how many elements are at most x; of any other, what halving it comes to. As
 * templates/parts/arithmetic.h has it. */
int32_t attune_expression_find(const attune_value *array, int32_t x);
/* What random() gives; as templates/parts/arithmetic.h has it. */
int32_t attune_expression_random(int32_t a, int32_t b, int32_t c);

#endif
