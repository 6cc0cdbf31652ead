/* Parts of a problem that flags, JSON and files set alike. Texts are kept in the inputs. */
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/files/problem_parts.h"

bool attune_flags_seen(const attune_flags *flags, const attune_problem_field *field) {
  return (flags->seen >> (field - attune_problem_fields) & 1) != 0;
}

int attune_word_index(const char *const *words, const char *word) {
  for (int i = 0; words[i] != NULL; i++)
    if (strcmp(words[i], word) == 0) return i;
  return -1;
}

/* "#123" stands for expressions of which only this number is known; it is how JSON writes them. */
static bool take_hash(attune_problem *problem, const char **expression, const char *text) {
  char *end;
  if (!attune_expression_is_unknown(text)) return false;
  const long hash = strtol(text + 1, &end, 10);
  if (text[1] < '1' || text[1] > '9' || *end != '\0' || hash > INT32_MAX) return false; /* check refuses it */
  problem->expression_hash = (int32_t)hash;
  *expression = attune_expression_unknown;
  return true;
}

static attune_status too_long(const char *which, int length) {
  return attune_fail(ATTUNE_UNSUPPORTED, "the %s expression has %d bytes; %d is the limit", which, length,
                     ATTUNE_EXPRESSION_MAX - 1);
}

/* A second one hides as well. */
attune_status attune_problem_add_mask(attune_problem *problem, attune_inputs *inputs, const char *text) {
  const char *mask = attune_problem_mask_expr(problem);
  char joined[2 * ATTUNE_EXPRESSION_MAX];
  if (take_hash(problem, &problem->mask_expr, text)) return ATTUNE_OK;
  const bool first = mask[0] == '\0' || attune_expression_is_unknown(mask); /* which makes way for what it stands for */
  const int length =
      first ? snprintf(joined, sizeof joined, "%s", text) : snprintf(joined, sizeof joined, "(%s) && (%s)", mask, text);
  if (length >= ATTUNE_EXPRESSION_MAX) return too_long("mask", length);
  memcpy(inputs->mask_expr, joined, (size_t)length + 1);
  problem->mask_expr = inputs->mask_expr;
  return ATTUNE_OK;
}

attune_status attune_problem_add_pattern(attune_problem *problem, attune_inputs *inputs, const char *text) {
  char expression[ATTUNE_EXPRESSION_MAX];
  const attune_status status = attune_pattern_expression(expression, text);
  return status == ATTUNE_OK ? attune_problem_add_mask(problem, inputs, expression) : status;
}

attune_status attune_problem_set_score(attune_problem *problem, attune_inputs *inputs, const char *text) {
  if (take_hash(problem, &problem->score_expr, text)) return ATTUNE_OK;
  const int length = snprintf(inputs->score_expr, sizeof inputs->score_expr, "%s", text);
  if (length >= ATTUNE_EXPRESSION_MAX) return too_long("score", length);
  problem->score_expr = inputs->score_expr;
  return ATTUNE_OK;
}

attune_status attune_bias_of_sizes(attune_problem *problem, int64_t batch, int64_t heads, int64_t seqlen_q) {
  const int64_t sizes[] = {batch, heads, seqlen_q};
  const int32_t own[] = {problem->batch, problem->heads_q, problem->seqlen_q};
  int64_t *const strides[] = {&problem->bias.batch, &problem->bias.heads, &problem->bias.seqlen};
  int64_t stride = problem->seqlen_k;
  for (int i = 2; i >= 0; i--) {
    if (sizes[i] != 1 && sizes[i] != own[i])
      return attune_fail(ATTUNE_BAD_SIZE, "bias has %lld where the problem has %s %d; it must be that or 1",
                         (long long)sizes[i],
                         i == 0   ? "batch"
                         : i == 1 ? "heads_q"
                                  : "seqlen_q",
                         own[i]);
    *strides[i] = sizes[i] == 1 ? 0 : stride;
    stride *= sizes[i];
  }
  problem->want_bias = 1;
  return ATTUNE_OK;
}
