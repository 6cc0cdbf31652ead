/* The table of problem fields: one row a field says all that the code does with it. */
#ifndef ATTUNE_PROBLEM_FIELD_H
#define ATTUNE_PROBLEM_FIELD_H

#include "generator/base/buffer.h"
#include "generator/base/text.h"
#include "generator/generator.h"

/* What the value of a field is, which decides how JSON and flags spell it. */
typedef enum {
  ATTUNE_FIELD_INT,        /* int32_t */
  ATTUNE_FIELD_FLOAT,      /* float */
  ATTUNE_FIELD_WORD,       /* an enum, as one of words */
  ATTUNE_FIELD_FLAG,       /* int32_t, 0 or 1 */
  ATTUNE_FIELD_WINDOW,     /* int32_t left, right; negative: unbounded */
  ATTUNE_FIELD_STRIDES,    /* attune_strides */
  ATTUNE_FIELD_BIAS,       /* attune_strides bias, and want_bias */
  ATTUNE_FIELD_MASK_EXPR,  /* a text that is and-ed to mask_expr */
  ATTUNE_FIELD_PATTERN,    /* the same as a named pattern: no member of its own */
  ATTUNE_FIELD_SCORE_EXPR, /* a text */
  ATTUNE_FIELD_PARAMS      /* params and param_count */
} attune_field_kind;

/* A field of problems: the rows of the table in problem/fields.c, which drives defaults, check, resolve, print, parse,
 * distance, plan keys, JSON and flags. */
typedef struct attune_problem_field attune_problem_field;
struct attune_problem_field {
  const char *name;   /* in messages */
  const char *member; /* of attune_problem: the first of them where the field has several */
  size_t offset;      /* of that member */
  attune_field_kind kind;
  const char *const *words; /* WORD: NULL-terminated, in the order of the enum */
  double preset;            /* the default of INT, FLOAT, WORD and FLAG, and of both sides of WINDOW */
  const char *follows;      /* member whose value this one has where JSON and flags leave it out; NULL: the preset */
  /* JSON and flags; NULL: they do not have it. JSON is written where a value differs from its preset, or always. The
   * flag of a WORD that has no argument stands for the second word. */
  const char *json;
  bool json_always;
  const char *flag, *argument, *meaning;
  bool size; /* a size, which an input file says itself */
  /* The rule that the field keeps by itself and with those above it; NULL: none. limit: what the rule compares with. */
  attune_status (*check)(const attune_problem_field *field, const attune_problem *problem);
  int32_t limit;
  void (*canonical)(attune_problem *problem); /* one form of equal values; NULL: there is only one */
  /* The class text. place: 1 for the first part, 0: not part of it. print adds ".part", or nothing; parse takes the
   * part if it is there, and returns NULL or what was expected. Both are that of the kind where they are NULL. */
  int place;
  const char *prefix; /* before an INT; a FLAG's word */
  bool optional;      /* INT: left out where it is what it follows, or else its preset */
  void (*print)(struct attune_buffer *out, const attune_problem *canonical);
  const char *(*parse)(attune_problem *problem, struct attune_text *text);
  /* How tuned problems compare. kernel: another value needs another kernel, so the distance is infinite. scales: the
   * distance grows by |log2| of the ratio. distance: what else it grows by. */
  bool kernel, scales;
  double (*distance)(const attune_problem *wanted, const attune_problem *tuned);
};
extern const attune_problem_field attune_problem_fields[];
extern const int attune_problem_field_count; /* at most 63, so that flags have a bit each */
/* The words of attune_operation, NULL-terminated: what a class text begins with. */
extern const char *const attune_operation_words[];
/* The row of a member of attune_problem; NULL: there is none. */
const attune_problem_field *attune_problem_field_of(const char *member);

#endif
