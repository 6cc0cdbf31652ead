/* What a kernel compiles of its problem's expressions. */
#include <stdlib.h>

#include "generator/base/status.h"
#include "generator/expression/expression.h"

static const char head[] = "#include \"arithmetic.h\"\n\n";

/* The backward pass has the score's derivative with it. */
static bool is_backward(const attune_config *config) {
  const attune_kernel_operation operation = attune_config_operation(config);
  return operation == ATTUNE_OPERATION_BACKWARD || operation == ATTUNE_OPERATION_DQ ||
         operation == ATTUNE_OPERATION_DBIAS;
}

static attune_status write(attune_buffer *out, const attune_config *config, const attune_problem *problem,
                           const attune_expression *mask, const attune_expression *score) {
  attune_derivatives *derivatives = NULL;
  const bool derived = score != NULL && is_backward(config);
  attune_expressions_write(out, problem, mask, derived ? NULL : score);
  if (!derived) return ATTUNE_OK;
  attune_status status = attune_expression_derivative(&derivatives, score);
  if (status == ATTUNE_OK) status = attune_derivatives_write(out, problem, derivatives);
  free(derivatives);
  return status;
}

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
  if (status == ATTUNE_OK) status = write(out, config, problem, mask, score);
  free(mask);
  free(score);
  return status;
}
