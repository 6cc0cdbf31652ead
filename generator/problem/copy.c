/* A problem that owns what it borrowed, and one that borrows what another does. */
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/problem/rules.h"

static const char *keep(char **at, const char *text) {
  const size_t size = strlen(text) + 1;
  const char *kept = memcpy(*at, text, size);
  *at += size;
  return kept;
}

attune_status attune_problem_copy(attune_problem *out, void **owned, const attune_problem *problem) {
  const char *mask = attune_problem_mask_expr(problem), *score = attune_problem_score_expr(problem);
  const size_t params_size = (size_t)problem->param_count * sizeof(attune_param);
  size_t size = params_size + strlen(mask) + strlen(score) + 2;
  for (int i = 0; i < problem->param_count; i++)
    size += strlen(problem->params[i].name) + 1;
  *owned = malloc(size);
  if (*owned == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a problem's texts");
  attune_param *params = *owned;
  char *at = (char *)*owned + params_size;
  *out = *problem;
  out->mask_expr = keep(&at, mask);
  out->score_expr = keep(&at, score);
  for (int i = 0; i < problem->param_count; i++) {
    params[i] = problem->params[i];
    params[i].name = keep(&at, problem->params[i].name);
  }
  out->params = params;
  return ATTUNE_OK;
}

void attune_problem_take_expressions(attune_problem *out, const attune_problem *from) {
  out->mask_expr = from->mask_expr;
  out->score_expr = from->score_expr;
  out->params = from->params;
  out->param_count = from->param_count;
  out->expression_hash = from->expression_hash;
  out->want_bias = from->want_bias;
  out->bias = from->bias;
}
