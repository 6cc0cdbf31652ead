/* The parts of a class text that are not the value of one field. */
#include <math.h>

#include "generator/problem/rules.h"

static int32_t side(int32_t value) {
  return value == ATTUNE_UNBOUNDED ? -1 : value;
}

/* A right side alone is what a causal mask says already. */
void attune_class_print_window(attune_buffer *out, const attune_problem *p) {
  if (p->window_left == ATTUNE_UNBOUNDED && (p->mask != ATTUNE_MASK_NONE || p->window_right == ATTUNE_UNBOUNDED))
    return;
  attune_buffer_print(out, ".w%d,%d", side(p->window_left), side(p->window_right));
}

const char *attune_class_parse_window(attune_problem *p, attune_text *text) {
  (void)attune_text_pair(text, "w", &p->window_left, &p->window_right);
  return NULL;
}

void attune_class_print_density(attune_buffer *out, const attune_problem *p) {
  if (attune_problem_density_denominator(p) > 0)
    attune_buffer_print(out, ".in%d", attune_problem_density_denominator(p));
}

const char *attune_class_parse_density(attune_problem *p, attune_text *text) {
  int32_t denominator = 0;
  if (p->block_size > 0 && attune_text_number(text, "in", &denominator) && denominator > 0)
    p->block_density = 1 / (float)denominator;
  return NULL;
}

void attune_class_print_mask_expr(attune_buffer *out, const attune_problem *p) {
  if (attune_problem_has_mask_expr(p)) attune_buffer_add_text(out, ".mask_expr");
}

const char *attune_class_parse_mask_expr(attune_problem *p, attune_text *text) {
  if (attune_text_word(text, "mask_expr")) p->mask_expr = attune_expression_unknown;
  return NULL;
}

void attune_class_print_softcap(attune_buffer *out, const attune_problem *p) {
  if (attune_problem_score(p) == ATTUNE_SCORE_SOFTCAP) attune_buffer_add_text(out, ".softcap");
}

/* The class knows that there is a softcap, or that the scale is negative, not how much: representative values. */
const char *attune_class_parse_softcap(attune_problem *p, attune_text *text) {
  if (attune_text_word(text, "softcap")) p->softcap = 50;
  return NULL;
}

void attune_class_print_scale(attune_buffer *out, const attune_problem *p) {
  if (attune_problem_score(p) == ATTUNE_SCORE_NEGATED) attune_buffer_add_text(out, ".negated");
}

const char *attune_class_parse_scale(attune_problem *p, attune_text *text) {
  if (attune_text_word(text, "negated")) p->scale = (float)(-1 / sqrt((double)p->head_dim));
  return NULL;
}

void attune_class_print_score_expr(attune_buffer *out, const attune_problem *p) {
  if (attune_problem_score(p) == ATTUNE_SCORE_EXPRESSION) attune_buffer_add_text(out, ".expression");
}

const char *attune_class_parse_score_expr(attune_problem *p, attune_text *text) {
  if (attune_text_word(text, "expression")) p->score_expr = attune_expression_unknown;
  return NULL;
}

void attune_class_print_hash(attune_buffer *out, const attune_problem *p) {
  int32_t hash;
  if (attune_problem_number_expressions(&hash, p) == ATTUNE_OUT_OF_MEMORY) out->failed = true;
  if (hash != 0) attune_buffer_print(out, ".x%d", hash);
}

const char *attune_class_parse_hash(attune_problem *p, attune_text *text) {
  (void)attune_text_number(text, "x", &p->expression_hash);
  if ((p->mask_expr != NULL || p->score_expr != NULL) == (p->expression_hash > 0)) return NULL;
  return "x and a number where there is mask_expr or expression, and only there";
}
