/* A problem's expressions as the functions that templates/parts call. */
#include "generator/expression/expression.h"

static void emit_params(attune_buffer *out, const attune_problem *problem, const attune_expression *expression,
                        const char *index, const char *real) {
  for (int i = 0; i < problem->param_count; i++) {
    const attune_param *p = &problem->params[i];
    if (!attune_expression_uses(expression, i)) continue;
    if (p->type == ATTUNE_PARAM_INT)
      attune_buffer_print(out, "  const %s param_%s(problem.values[%d].integer);\n", index, p->name, i);
    else if (p->type == ATTUNE_PARAM_FLOAT)
      attune_buffer_print(out, "  const %s param_%s(problem.values[%d].real);\n", real, p->name, i);
    else
      attune_buffer_print(out, "  const %s param_%s(problem, %d);\n",
                          p->type == ATTUNE_PARAM_INT_ARRAY ? "integers" : "reals", p->name, i);
  }
}

/* Rows and keys of a ragged tile lie beyond the sequence's end. */
static int32_t most_seqlen(const attune_problem *problem) {
  enum { LARGEST_TILE = 512 };
  return (problem->seqlen_q > problem->seqlen_k ? problem->seqlen_q : problem->seqlen_k) + LARGEST_TILE;
}

static void emit_comment(attune_buffer *out, const char *what, const attune_expression *expression) {
  attune_buffer_print(out, "/* %s: ", what);
  attune_expression_print(out, expression);
  attune_buffer_add_text(out, " */\n");
}

static void emit_mask(attune_buffer *out, const attune_problem *problem, const attune_expression *mask) {
  emit_comment(out, "mask", mask);
  attune_buffer_add_text(
      out, "template <class index, class real>\n"
           "ATTUNE_DEVICE auto is_seen(const attune_arguments &problem, index batch, index head, index q, "
           "index k,\n                           index seqlen_q, index seqlen_k) {\n");
  emit_params(out, problem, mask, "index", "real");
  attune_buffer_add_text(out, "  return ");
  attune_expression_emit(out, mask, most_seqlen(problem));
  attune_buffer_add_text(out, ";\n}\n\n");
}

static void emit_constants(attune_buffer *out, const attune_problem *problem, const attune_expression *score) {
  const int count = attune_expression_constants(score);
  attune_buffer_add_text(out,
                         "/* What the score needs that is the same for a whole head. */\nstruct item_constants {\n");
  for (int i = 0; i < count; i++)
    attune_buffer_print(out, "  %s c%d;\n", attune_expression_constant_is_int(score, i) ? "int" : "float", i);
  attune_buffer_add_text(out,
                         "};\nATTUNE_DEVICE item_constants constants_of(const attune_arguments &problem, integer "
                         "batch, integer head,\n                                          integer seqlen_q, integer "
                         "seqlen_k) {\n  using index = integer;\n  using real = float;\n");
  if (count > 0) emit_params(out, problem, score, "index", "real");
  attune_buffer_add_text(out, "  item_constants item = {};\n");
  for (int i = 0; i < count; i++) {
    attune_buffer_print(out, "  item.c%d = ", i);
    attune_expression_emit_constant(out, score, i, most_seqlen(problem));
    attune_buffer_add_text(out, attune_expression_constant_is_int(score, i) ? ".value();\n" : ";\n");
  }
  attune_buffer_add_text(out, "  return item;\n}\n\n");
}

/* Up to the statements. */
static void begin_function(attune_buffer *out, const char *result, const char *name, const attune_problem *problem,
                           const attune_expression *score) {
  attune_buffer_print(
      out,
      "ATTUNE_DEVICE %s %s(const attune_arguments &problem, const item_constants &item, float score, "
      "float bias,\n                                  integer batch, integer head, integer q, integer k, integer "
      "seqlen_q,\n                                  integer seqlen_k) {\n  using index = integer;\n  using real = "
      "float;\n",
      result, name);
  emit_params(out, problem, score, "index", "real");
}

static void emit_score(attune_buffer *out, const attune_problem *problem, const attune_expression *score) {
  emit_comment(out, "score", score);
  attune_buffer_print(out, "constexpr bool uses_bias = %s;\n", attune_expression_uses_bias(score) ? "true" : "false");
  emit_constants(out, problem, score);
  begin_function(out, "float", "changed_score", problem, score);
  attune_buffer_add_text(out, "  return ");
  attune_expression_emit(out, score, most_seqlen(problem));
  attune_buffer_add_text(out, ";\n}\n\n");
}

void attune_expressions_write(attune_buffer *out, const attune_problem *problem, const attune_expression *mask,
                              const attune_expression *score) {
  if (mask != NULL) emit_mask(out, problem, mask);
  if (score != NULL) emit_score(out, problem, score);
}

/* What it is the derivative by, and the members. */
static void emit_member(attune_buffer *out, const attune_problem *problem, const attune_derivative *of, int i) {
  static const char *const names[] = {[ATTUNE_BY_SCORE] = "score", [ATTUNE_BY_BIAS] = "bias"};
  const bool named = of->by == ATTUNE_BY_SCORE || of->by == ATTUNE_BY_BIAS;
  attune_buffer_print(out, "  float by%d; // %s", i, named ? names[of->by] : problem->params[of->param].name);
  if (of->index != NULL) {
    attune_buffer_add_text(out, "[");
    attune_expression_print(out, of->index);
    attune_buffer_print(out, "]\n  int at%d", i);
    attune_buffer_add_text(out, "; // that index, which may lie outside");
  }
  attune_buffer_add_text(out, "\n");
}

/* The derivatives by the bias and by elements of arrays, for who sums those up. */
static void emit_others(attune_buffer *out, const attune_derivatives *derivatives) {
  int bias = -1, elements = 0;
  for (int i = 0; i < derivatives->count; i++)
    if (derivatives->of[i].by == ATTUNE_BY_BIAS) bias = i;
  attune_buffer_add_text(out,
                         "ATTUNE_DEVICE float derivative_by_bias([[maybe_unused]] const score_derivatives &of) {\n");
  attune_buffer_print(out, bias >= 0 ? "  return of.by%d;\n}\n" : "  return 0.0f;\n}\n", bias);
  attune_buffer_add_text(out, "// Calls visit(number, param, index, derivative) for each element of an array.\n"
                              "template <class visitor>\n"
                              "ATTUNE_DEVICE void each_element(const score_derivatives &of, const visitor &visit) {\n");
  for (int i = 0; i < derivatives->count; i++)
    if (derivatives->of[i].by == ATTUNE_BY_ELEMENT)
      attune_buffer_print(out, "  visit(%d, %d, of.at%d, of.by%d);\n", elements++, derivatives->of[i].param, i, i);
  attune_buffer_print(out, "}\nconstexpr int element_count = %d;\n\n", elements);
}

attune_status attune_derivatives_write(attune_buffer *out, const attune_problem *problem,
                                       const attune_derivatives *derivatives) {
  const attune_expression *score = derivatives->score;
  emit_comment(out, "score", score);
  attune_buffer_print(out, "constexpr bool uses_bias = %s;\n", attune_expression_uses_bias(score) ? "true" : "false");
  emit_constants(out, problem, score);
  attune_buffer_add_text(out, "struct score_derivatives {\n  float value;\n");
  for (int i = 0; i < derivatives->count; i++)
    emit_member(out, problem, &derivatives->of[i], i);
  attune_buffer_add_text(out, "};\n");
  begin_function(out, "score_derivatives", "changed_score_derivatives", problem, score);
  attune_buffer_add_text(out, "  score_derivatives result;\n");
  const attune_status status = attune_expression_emit_derivatives(out, derivatives, most_seqlen(problem));
  attune_buffer_add_text(out, "  return result;\n}\n");
  attune_buffer_print(out, "constexpr bool score_is_scaled = %s; // its derivative is not 1\n\n",
                      attune_expression_is_one(derivatives->of[0].value) ? "false" : "true");
  emit_others(out, derivatives);
  return status;
}
