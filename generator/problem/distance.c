/* How far tuned problems are in what is not a plain number. */
#include <math.h>

#include "generator/problem/rules.h"

double attune_distance_axis(int32_t a, int32_t b) {
  return fabs(log2((double)a / (double)b));
}

void attune_distance_place(attune_buffer *out, int32_t *window, const attune_problem *p) {
  const attune_mask_bounds bound = attune_problem_mask_bounds(p);
  *window = bound == ATTUNE_MASK_BOUNDS_WINDOW ? p->window_left + 1 : 0;
  attune_buffer_print(out, ".mask_bounds%d.score%d.mask_expr%d.x%d", (int)bound, (int)attune_problem_score(p),
                      attune_problem_has_mask_expr(p), attune_problem_expression_hash(p));
  if (p->deterministic) attune_buffer_add_text(out, ".deterministic"); /* others have the place that they always had */
}

double attune_distance_deterministic(const attune_problem *wanted, const attune_problem *tuned) {
  return wanted->deterministic == tuned->deterministic ? 0 : INFINITY;
}

double attune_distance_window(const attune_problem *wanted, const attune_problem *tuned) {
  const attune_mask_bounds bound = attune_problem_mask_bounds(wanted);
  if (bound != attune_problem_mask_bounds(tuned)) return INFINITY;
  return bound == ATTUNE_MASK_BOUNDS_WINDOW ? attune_distance_axis(wanted->window_left + 1, tuned->window_left + 1) : 0;
}

/* The kernel depends on how a score becomes an exponent, not on the values of scale and softcap. */
double attune_distance_score(const attune_problem *wanted, const attune_problem *tuned) {
  return attune_problem_score(wanted) == attune_problem_score(tuned) ? 0 : INFINITY;
}

double attune_distance_density(const attune_problem *wanted, const attune_problem *tuned) {
  const int32_t a = attune_problem_density_denominator(wanted), b = attune_problem_density_denominator(tuned);
  return a > 0 && b > 0 ? attune_distance_axis(a, b) : 0;
}

/* The kernel is made anew from the schedule. Another score may want another one, another mask surely does. */
double attune_distance_expressions(const attune_problem *wanted, const attune_problem *tuned) {
  const bool has_mask = attune_problem_has_mask_expr(wanted);
  if (has_mask != attune_problem_has_mask_expr(tuned)) return INFINITY;
  if (attune_problem_expression_hash(wanted) == attune_problem_expression_hash(tuned)) return 0;
  return has_mask ? INFINITY : 1;
}
