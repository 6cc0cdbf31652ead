/* Equal problems in one form, and what a kernel must know of mask and score. */
#include <math.h>

#include "generator/problem/rules.h"

/* Mask and window in one canonical form: a side that hides no key of any row is unbounded, and a causal mask that hides
 * nothing is none. The rule must hold for every length up to the bounds, since lengths may live in device memory: a row
 * sits at most at seqlen - 1, where seqlen is that of queries, or that of keys for a bottom-right mask. */
void attune_canonical_mask(attune_problem *p) {
  const bool bottom_right = p->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT;
  const int32_t last_row = (bottom_right ? p->seqlen_k : p->seqlen_q) - 1;
  const int32_t right_end = (bottom_right ? p->seqlen_q : p->seqlen_k) - 1;
  if (p->window_left < 0 || p->window_left >= last_row) p->window_left = ATTUNE_UNBOUNDED;
  if (p->mask != ATTUNE_MASK_NONE) p->window_right = 0;
  const bool right_hides = p->window_right >= 0 && p->window_right < right_end;
  if (!right_hides && (p->mask == ATTUNE_MASK_NONE || p->window_left == ATTUNE_UNBOUNDED)) {
    p->window_right = ATTUNE_UNBOUNDED;
    p->mask = ATTUNE_MASK_NONE; /* with a left side, the mask stays for its shift */
  }
  if (p->mask == ATTUNE_MASK_NONE && p->window_right == 0) p->mask = ATTUNE_MASK_CAUSAL;
}

void attune_canonical_lse(attune_problem *problem) {
  if (problem->operation == ATTUNE_BACKWARD) problem->want_lse = 0;
}

void attune_canonical_deterministic(attune_problem *problem) {
  if (problem->operation == ATTUNE_FORWARD) problem->deterministic = 0;
}

void attune_canonical_gradients(attune_problem *problem) {
  if (problem->operation == ATTUNE_FORWARD)
    problem->want_dbias = problem->want_dsinks = problem->want_dparams = problem->accumulate = 0;
}

void attune_canonical_scale(attune_problem *problem) {
  if (isnan(problem->scale)) problem->scale = (float)(1 / sqrt((double)problem->head_dim));
}

attune_mask_bounds attune_problem_mask_bounds(const attune_problem *problem) {
  attune_problem p = *problem;
  attune_canonical_mask(&p);
  if (p.window_left != ATTUNE_UNBOUNDED) return ATTUNE_MASK_BOUNDS_WINDOW;
  return p.window_right != ATTUNE_UNBOUNDED ? ATTUNE_MASK_BOUNDS_CAUSAL : ATTUNE_MASK_BOUNDS_NONE;
}

attune_score attune_problem_score(const attune_problem *problem) {
  if (attune_problem_changes_score(problem)) return ATTUNE_SCORE_EXPRESSION;
  if (problem->softcap > 0) return ATTUNE_SCORE_SOFTCAP; /* tanh carries the sign */
  return problem->scale < 0 ? ATTUNE_SCORE_NEGATED : ATTUNE_SCORE_PLAIN;
}

bool attune_problem_is_sparse(const attune_problem *problem) {
  return attune_problem_has_mask_expr(problem) || problem->block_size > 0;
}
