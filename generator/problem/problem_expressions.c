/* A problem's expressions: checked, named, and written as the functions that templates/mask.h calls. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/hash.h"
#include "generator/base/status.h"
#include "generator/problem/expression.h"

/* Stands before the number of a problem that is known by its class alone (attune_problem_parse). */
static const char number_mark = '#';

bool attune_expression_is_number(const char *text) {
  return text[0] == number_mark;
}

/* Whether the text says no more than the word, in any parentheses. */
static bool is_only(const char *text, const char *word) {
  const char *first = text + strspn(text, " (");
  const size_t length = strlen(word);
  return strncmp(first, word, length) == 0 && strspn(first + length, " )") == strlen(first + length);
}

/* What is compiled in: "" where there is none, or it does nothing. */
static const char *mask_text(const attune_problem *problem) {
  return is_only(problem->mask_expr, "1") ? "" : problem->mask_expr;
}

static const char *score_text(const attune_problem *problem) {
  if (problem->score_expr[0] == '\0' && problem->want_bias) return "score + bias";
  return is_only(problem->score_expr, "score") ? "" : problem->score_expr;
}

bool attune_problem_has_pattern(const attune_problem *problem) {
  return mask_text(problem)[0] != '\0';
}

bool attune_problem_changes_score(const attune_problem *problem) {
  return score_text(problem)[0] != '\0';
}

static bool is_number(const char *text) {
  char *end;
  const long value = strtol(text + 1, &end, 10);
  return isdigit((unsigned char)text[1]) && *end == '\0' && value > 0 && value <= INT32_MAX;
}

/* ---- check ---- */

static bool is_name(const char *text) {
  if (!isalpha((unsigned char)*text) && *text != '_') return false;
  while (isalnum((unsigned char)*text) || *text == '_')
    text++;
  return *text == '\0';
}

static attune_status check_params(const attune_param *params) {
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++) {
    const attune_param *p = &params[i];
    if (p->type == ATTUNE_PARAM_NONE) {
      for (int later = i; later < ATTUNE_PARAMS_MAX; later++)
        if (params[later].type != ATTUNE_PARAM_NONE)
          return attune_fail(ATTUNE_BAD_EXPRESSION, "params[%d] is declared, params[%d] is not: leave no gap", later,
                             i);
      return ATTUNE_OK;
    }
    if ((int)p->type < 0 || p->type > ATTUNE_PARAM_FLOAT_ARRAY)
      return attune_fail(ATTUNE_BAD_EXPRESSION, "params[%d].type is %d; it must be from 0 to %d", i, (int)p->type,
                         ATTUNE_PARAM_FLOAT_ARRAY);
    if (memchr(p->name, '\0', sizeof p->name) == NULL || !is_name(p->name))
      return attune_fail(ATTUNE_BAD_EXPRESSION,
                         "params[%d] has the name \"%.*s\"; it takes letters, digits and _, %d at most", i,
                         ATTUNE_PARAM_NAME_MAX, p->name, ATTUNE_PARAM_NAME_MAX - 1);
    if (attune_expression_knows(p->name))
      return attune_fail(ATTUNE_BAD_EXPRESSION, "params[%d] is named %s, which expressions have already: rename it", i,
                         p->name);
    for (int before = 0; before < i; before++)
      if (strcmp(params[before].name, p->name) == 0)
        return attune_fail(ATTUNE_BAD_EXPRESSION, "params[%d] and params[%d] are both named %s", before, i, p->name);
  }
  return ATTUNE_OK;
}

static attune_status check_text(const char *text, size_t size, const char *name) {
  if (memchr(text, '\0', size) != NULL) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_EXPRESSION, "%s has no end within its %zu bytes", name, size);
}

attune_status attune_problem_expression(attune_expression **out, attune_expression_kind kind,
                                        const attune_problem *problem) {
  const char *text = kind == ATTUNE_EXPRESSION_MASK ? mask_text(problem) : score_text(problem);
  *out = NULL;
  if (text[0] == '\0') return ATTUNE_OK;
  if (!attune_expression_is_number(text))
    return attune_expression_parse(out, kind, text, problem->params, problem->want_bias != 0);
  return is_number(text)
             ? ATTUNE_OK
             : attune_fail(ATTUNE_BAD_EXPRESSION, "\"%.40s\" is neither an expression nor its number", text);
}

attune_status attune_expressions_check(const attune_problem *p) {
  attune_expression *mask = NULL, *score = NULL;
  attune_status status = check_text(p->mask_expr, sizeof p->mask_expr, "mask_expr");
  if (status == ATTUNE_OK) status = check_text(p->score_expr, sizeof p->score_expr, "score_expr");
  if (status == ATTUNE_OK) status = check_params(p->params);
  if (status == ATTUNE_OK) status = attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, p);
  if (status == ATTUNE_OK) status = attune_problem_expression(&score, ATTUNE_EXPRESSION_SCORE, p);
  if (status == ATTUNE_OK && score != NULL && p->softcap > 0)
    status = attune_fail(
        ATTUNE_BAD_EXPRESSION,
        "softcap %g beside a score expression or a bias: write it as %g * tanh(score / %g) where it belongs",
        (double)p->softcap, (double)p->softcap, (double)p->softcap);
  const bool told = p->want_bias && p->score_expr[0] != '\0' && !attune_expression_is_number(p->score_expr);
  if (status == ATTUNE_OK && told && (score == NULL || !attune_expression_uses_bias(score)))
    status =
        attune_fail(ATTUNE_BAD_EXPRESSION, "the problem wants a bias, but its score expression does not use it: add "
                                           "\"+ bias\", or drop it");
  free(mask);
  free(score);
  return status;
}

/* ---- the number ---- */

static void emit(attune_buffer *out, const attune_problem *problem, const attune_expression *mask,
                 const attune_expression *score);

/* Over what is compiled: names and types of params, and what the lengths make of conversions, are in it. */
static int32_t number_of(const attune_expression *mask, const attune_expression *score, const attune_problem *problem) {
  attune_buffer text = {0};
  char digest[65];
  emit(&text, problem, mask, score);
  int32_t number = 1; /* without memory for the text; the source that it names is hashed as a whole anyway */
  if (!text.failed && text.length > 0) {
    attune_sha256(digest, text.text, text.length);
    digest[8] = '\0';
    number = (int32_t)(strtoul(digest, NULL, 16) & 0x7fffffff);
  }
  attune_buffer_free(&text);
  return number != 0 ? number : 1;
}

int32_t attune_problem_expressions(const attune_problem *problem) {
  attune_expression *mask = NULL, *score = NULL;
  int32_t number = 0;
  if (attune_expression_is_number(problem->mask_expr)) return (int32_t)strtol(problem->mask_expr + 1, NULL, 10);
  if (attune_expression_is_number(problem->score_expr)) return (int32_t)strtol(problem->score_expr + 1, NULL, 10);
  if (!attune_problem_has_pattern(problem) && !attune_problem_changes_score(problem)) return 0;
  if (attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, problem) == ATTUNE_OK &&
      attune_problem_expression(&score, ATTUNE_EXPRESSION_SCORE, problem) == ATTUNE_OK)
    number = number_of(mask, score, problem);
  free(mask);
  free(score);
  return number;
}

/* ---- the source ---- */

static const char head[] = "#include \"arithmetic.h\"\n\n";

static void emit_params(attune_buffer *out, const attune_problem *problem, const attune_expression *expression,
                        const char *index, const char *real) {
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++) {
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

static void emit_score(attune_buffer *out, const attune_problem *problem, const attune_expression *score) {
  emit_comment(out, "score", score);
  attune_buffer_print(out, "constexpr bool uses_bias = %s;\n", attune_expression_uses_bias(score) ? "true" : "false");
  emit_constants(out, problem, score);
  attune_buffer_add_text(
      out,
      "ATTUNE_DEVICE float changed_score(const attune_arguments &problem, const item_constants &item, float score, "
      "float bias,\n                                  integer batch, integer head, integer q, integer k, integer "
      "seqlen_q,\n                                  integer seqlen_k) {\n  using index = integer;\n  using real = "
      "float;\n");
  emit_params(out, problem, score, "index", "real");
  attune_buffer_add_text(out, "  return ");
  attune_expression_emit(out, score, most_seqlen(problem));
  attune_buffer_add_text(out, ";\n}\n\n");
}

static void emit(attune_buffer *out, const attune_problem *problem, const attune_expression *mask,
                 const attune_expression *score) {
  if (mask != NULL) emit_mask(out, problem, mask);
  if (score != NULL) emit_score(out, problem, score);
}

attune_status attune_expressions_emit(attune_buffer *out, const attune_config *config, const attune_problem *problem) {
  attune_expression *mask = NULL, *score = NULL;
  attune_buffer_add_text(out, head);
  if (config->expressions == 0) return ATTUNE_OK;
  if (problem == NULL || attune_expression_is_number(problem->mask_expr) ||
      attune_expression_is_number(problem->score_expr))
    return attune_fail(ATTUNE_BAD_EXPRESSION,
                       "the config has expressions x%d, of which only this number is known: give the problem's "
                       "--mask-expr and --score-expr (mask_expr and score_expr)",
                       config->expressions);
  attune_status status = attune_problem_check(problem);
  if (status == ATTUNE_OK && attune_problem_expressions(problem) != config->expressions)
    status = attune_fail(ATTUNE_BAD_EXPRESSION, "the config has expressions x%d, the problem x%d", config->expressions,
                         attune_problem_expressions(problem));
  if (status == ATTUNE_OK) status = attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, problem);
  if (status == ATTUNE_OK) status = attune_problem_expression(&score, ATTUNE_EXPRESSION_SCORE, problem);
  if (status == ATTUNE_OK) emit(out, problem, mask, score);
  free(mask);
  free(score);
  return status;
}
