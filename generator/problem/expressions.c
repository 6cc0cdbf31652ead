/* A problem's expressions: what is compiled in, their rules, and the number that names them. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/hash.h"
#include "generator/base/status.h"
#include "generator/expression/expression.h"
#include "generator/problem/rules.h"

const char attune_expression_unknown[] = "#";

bool attune_expression_is_unknown(const char *text) {
  return text[0] == attune_expression_unknown[0];
}

const char *attune_problem_mask_expr(const attune_problem *problem) {
  return problem->mask_expr != NULL ? problem->mask_expr : "";
}

const char *attune_problem_score_expr(const attune_problem *problem) {
  return problem->score_expr != NULL ? problem->score_expr : "";
}

static int count_of(const char *text, size_t length, char wanted) {
  int count = 0;
  for (size_t i = 0; i < length; i++)
    count += text[i] == wanted;
  return count;
}

/* Whether the text says no more than the word, in any pairs of parentheses. */
static bool is_only(const char *text, const char *word) {
  const char *first = text + strspn(text, " ("), *after = first + strlen(word);
  if (strncmp(first, word, strlen(word)) != 0 || strspn(after, " )") != strlen(after)) return false;
  return count_of(text, (size_t)(first - text), '(') == count_of(after, strlen(after), ')');
}

/* What is compiled in: "" where there is none, or it does nothing. */
static const char *mask_text(const attune_problem *problem) {
  const char *text = attune_problem_mask_expr(problem);
  return is_only(text, "1") ? "" : text;
}

static const char *score_text(const attune_problem *problem) {
  const char *text = attune_problem_score_expr(problem);
  if (text[0] == '\0' && problem->want_bias) return "score + bias";
  return is_only(text, "score") ? "" : text;
}

bool attune_problem_has_mask_expr(const attune_problem *problem) {
  return mask_text(problem)[0] != '\0';
}

bool attune_problem_changes_score(const attune_problem *problem) {
  return score_text(problem)[0] != '\0';
}

/* ---- check ---- */

static bool is_name(const char *text) {
  if (!isalpha((unsigned char)*text) && *text != '_') return false;
  while (isalnum((unsigned char)*text) || *text == '_')
    text++;
  return *text == '\0';
}

static attune_status check_name(const attune_param *params, int i) {
  const char *name = params[i].name;
  if (name == NULL || !is_name(name))
    return attune_fail(ATTUNE_BAD_EXPRESSION,
                       "params[%d] has the name \"%.40s\"; it takes letters, digits and _, and begins with no digit", i,
                       name != NULL ? name : "");
  if (strlen(name) >= ATTUNE_PARAM_NAME_MAX)
    return attune_fail(ATTUNE_UNSUPPORTED, "params[%d] has the name \"%.40s\" of %zu letters; %d is the limit", i, name,
                       strlen(name), ATTUNE_PARAM_NAME_MAX - 1);
  if (attune_expression_knows(name))
    return attune_fail(ATTUNE_BAD_EXPRESSION, "params[%d] is named %s, which expressions have already: rename it", i,
                       name);
  for (int before = 0; before < i; before++)
    if (strcmp(params[before].name, name) == 0)
      return attune_fail(ATTUNE_BAD_EXPRESSION, "params[%d] and params[%d] are both named %s", before, i, name);
  return ATTUNE_OK;
}

attune_status attune_check_params(const attune_problem_field *field, const attune_problem *p) {
  attune_status status = ATTUNE_OK;
  (void)field;
  if (p->param_count < 0 || (p->param_count > 0 && p->params == NULL))
    return attune_fail(ATTUNE_BAD_ARGUMENT, "param_count is %d, params is %s", p->param_count,
                       p->params == NULL ? "NULL" : "not NULL");
  if (p->param_count > ATTUNE_PARAMS_MAX)
    return attune_fail(ATTUNE_UNSUPPORTED, "param_count is %d; %d is the limit", p->param_count, ATTUNE_PARAMS_MAX);
  for (int i = 0; i < p->param_count && status == ATTUNE_OK; i++) {
    const int type = (int)p->params[i].type;
    if (type < ATTUNE_PARAM_INT || type > ATTUNE_PARAM_FLOAT_ARRAY)
      return attune_fail(type < ATTUNE_PARAM_INT ? ATTUNE_BAD_EXPRESSION : ATTUNE_UNSUPPORTED,
                         "params[%d].type is %d; it must be from %d to %d", i, type, ATTUNE_PARAM_INT,
                         ATTUNE_PARAM_FLOAT_ARRAY);
    if (p->params[i].reserved != 0)
      return attune_fail(ATTUNE_UNSUPPORTED, "params[%d].reserved is %d; this library knows only 0", i,
                         p->params[i].reserved);
    status = check_name(p->params, i);
  }
  return status;
}

static attune_status check_length(const char *text, const char *name) {
  if (strlen(text) < ATTUNE_EXPRESSION_MAX) return ATTUNE_OK;
  return attune_fail(ATTUNE_UNSUPPORTED, "%s has %zu bytes; %d is the limit", name, strlen(text),
                     ATTUNE_EXPRESSION_MAX - 1);
}

attune_status attune_problem_expression(attune_expression **out, attune_expression_kind kind,
                                        const attune_problem *problem) {
  const char *text = kind == ATTUNE_EXPRESSION_MASK ? mask_text(problem) : score_text(problem);
  *out = NULL;
  if (text[0] == '\0') return ATTUNE_OK;
  if (!attune_expression_is_unknown(text))
    return attune_expression_parse(out, kind, text, problem->params, problem->param_count, problem->want_bias != 0);
  if (strcmp(text, attune_expression_unknown) == 0 && problem->expression_hash > 0) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_EXPRESSION,
                     "\"%.40s\" with the expression_hash %d is neither an expression nor its number", text,
                     problem->expression_hash);
}

static attune_status check_derivative(const attune_expression *score) {
  attune_derivatives *derivatives = NULL;
  const attune_status status = attune_expression_derivative(&derivatives, score);
  free(derivatives);
  return status;
}

static bool reads_float_arrays(const attune_derivatives *derivatives) {
  for (int i = 0; i < derivatives->count; i++)
    if (derivatives->of[i].by == ATTUNE_BY_ELEMENT) return true;
  return false;
}

attune_status attune_check_want_dparams(const attune_problem_field *field, const attune_problem *p) {
  attune_expression *score = NULL;
  attune_derivatives *derivatives = NULL;
  attune_status status = attune_check_flag(field, p);
  if (status != ATTUNE_OK || !p->want_dparams || p->operation == ATTUNE_FORWARD) return status;
  if (p->deterministic)
    return attune_fail(ATTUNE_UNSUPPORTED, "want_dparams is 1, whose sums take blocks in any order, and the problem is "
                                           "to be deterministic: want one of the two");
  if (attune_problem_expressions_unknown(p)) return ATTUNE_OK;
  status = attune_problem_expression(&score, ATTUNE_EXPRESSION_SCORE, p);
  if (status == ATTUNE_OK && score != NULL) status = attune_expression_derivative(&derivatives, score);
  if (status == ATTUNE_OK && (score == NULL || !reads_float_arrays(derivatives)))
    status = attune_fail(ATTUNE_BAD_ARGUMENT,
                         "want_dparams is 1, but no array of floats changes the score: use one in score_expr (1,2 "
                         "are ints, 1.0,2.0 floats)");
  free(derivatives);
  free(score);
  return status;
}

attune_status attune_check_expressions(const attune_problem_field *field, const attune_problem *p) {
  attune_expression *mask = NULL, *score = NULL;
  (void)field;
  attune_status status = check_length(attune_problem_mask_expr(p), "mask_expr");
  if (status == ATTUNE_OK) status = check_length(attune_problem_score_expr(p), "score_expr");
  if (status == ATTUNE_OK) status = attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, p);
  if (status == ATTUNE_OK) status = attune_problem_expression(&score, ATTUNE_EXPRESSION_SCORE, p);
  if (status == ATTUNE_OK && score != NULL && p->softcap > 0)
    status = attune_fail(
        ATTUNE_BAD_EXPRESSION,
        "softcap %g beside a score expression or a bias: write it as %g * tanh(score / %g) where it belongs",
        (double)p->softcap, (double)p->softcap, (double)p->softcap);
  if (status == ATTUNE_OK && score != NULL && p->operation == ATTUNE_BACKWARD) status = check_derivative(score);
  const char *text = attune_problem_score_expr(p);
  const bool told = p->want_bias && text[0] != '\0' && !attune_expression_is_unknown(text);
  if (status == ATTUNE_OK && told && (score == NULL || !attune_expression_uses_bias(score)))
    status =
        attune_fail(ATTUNE_BAD_EXPRESSION, "the problem wants a bias, but its score expression does not use it: add "
                                           "\"+ bias\", or drop it");
  if (status == ATTUNE_OK && p->expression_hash != 0 && !attune_problem_expressions_unknown(p))
    status = attune_fail(ATTUNE_BAD_EXPRESSION,
                         "expression_hash is %d, but no expression is left to it: set it to 0, it is for problems read "
                         "from a text",
                         p->expression_hash);
  free(mask);
  free(score);
  return status;
}

bool attune_problem_bounds_score(const attune_problem *problem) {
  attune_expression *score = NULL;
  const bool known = attune_problem_expression(&score, ATTUNE_EXPRESSION_SCORE, problem) == ATTUNE_OK && score != NULL;
  const bool bounded = known && attune_expression_largest(score) <= 0x1p26;
  free(score);
  return bounded;
}

/* ---- the number ---- */

bool attune_problem_expressions_unknown(const attune_problem *problem) {
  return attune_expression_is_unknown(attune_problem_mask_expr(problem)) ||
         attune_expression_is_unknown(attune_problem_score_expr(problem));
}

/* Over what is compiled: names and types of params, and what the lengths make of conversions, are in it. */
static attune_status number_of(int32_t *out, const attune_expression *mask, const attune_expression *score,
                               const attune_problem *problem) {
  attune_buffer text = {0};
  char digest[65];
  attune_expressions_write(&text, problem, mask, score);
  attune_status status = ATTUNE_OK;
  *out = 1;
  if (text.failed) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the text of expressions");
  } else if (text.length > 0) {
    attune_sha256(digest, text.text, text.length);
    digest[8] = '\0';
    const int32_t number = (int32_t)(strtoul(digest, NULL, 16) & 0x7fffffff);
    if (number != 0) *out = number;
  }
  attune_buffer_free(&text);
  return status;
}

attune_status attune_problem_number_expressions(int32_t *out, const attune_problem *problem) {
  attune_expression *mask = NULL, *score = NULL;
  *out = problem->expression_hash;
  if (attune_problem_expressions_unknown(problem)) return ATTUNE_OK;
  *out = 0;
  if (!attune_problem_has_mask_expr(problem) && !attune_problem_changes_score(problem)) return ATTUNE_OK;
  attune_status status = attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, problem);
  if (status == ATTUNE_OK) status = attune_problem_expression(&score, ATTUNE_EXPRESSION_SCORE, problem);
  if (status == ATTUNE_OK) status = number_of(out, mask, score, problem);
  free(mask);
  free(score);
  return status;
}

int32_t attune_problem_expression_hash(const attune_problem *problem) {
  int32_t number;
  return attune_problem_number_expressions(&number, problem) == ATTUNE_OK ? number : 0;
}
