/* What a kernel compiles of its problem's expressions. */
#include <stdlib.h>

#include "generator/base/status.h"
#include "generator/expression/expression.h"

static const char head[] = "#include \"arithmetic.h\"\n\n";

attune_status attune_expressions_emit(attune_buffer *out, const attune_config *config, const attune_problem *problem) {
  attune_expression *mask = NULL, *score = NULL;
  attune_buffer_add_text(out, head);
  if (config->expression_hash == 0) return ATTUNE_OK;
  if (problem == NULL || attune_problem_expressions_unknown(problem))
    return attune_fail(ATTUNE_BAD_EXPRESSION,
                       "the config has expressions x%d, of which only this number is known: give the problem's "
                       "--mask-expr and --score-expr (mask_expr and score_expr)",
                       config->expression_hash);
  int32_t number;
  attune_status status = attune_problem_check(problem);
  if (status == ATTUNE_OK) status = attune_problem_number_expressions(&number, problem);
  if (status == ATTUNE_OK && number != config->expression_hash)
    status = attune_fail(ATTUNE_BAD_EXPRESSION, "the config has expressions x%d, the problem x%d",
                         config->expression_hash, number);
  if (status == ATTUNE_OK) status = attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, problem);
  if (status == ATTUNE_OK) status = attune_problem_expression(&score, ATTUNE_EXPRESSION_SCORE, problem);
  if (status == ATTUNE_OK) attune_expressions_write(out, problem, mask, score);
  free(mask);
  free(score);
  return status;
}
