/* Private to generator/problem/: what the rows of the table of fields point to. */
#ifndef ATTUNE_PROBLEM_RULES_H
#define ATTUNE_PROBLEM_RULES_H

#include "generator/problem/field.h"

/* ---- check.c, strides.c, expressions.c ---- */
attune_status attune_check_word(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_flag(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_head_dim(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_size(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_heads_kv(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_seqlen_q(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_window(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_scale(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_softcap(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_block_size(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_block_density(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_strides(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_bias(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_params(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_want_dbias(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_want_dsinks(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_want_dparams(const attune_problem_field *field, const attune_problem *problem);
attune_status attune_check_expressions(const attune_problem_field *field, const attune_problem *problem);

/* ---- canonical.c, strides.c ---- */
void attune_canonical_mask(attune_problem *problem);          /* with the window */
void attune_canonical_lse(attune_problem *problem);           /* which the backward pass reads */
void attune_canonical_deterministic(attune_problem *problem); /* forward is it always */
void attune_canonical_gradients(attune_problem *problem);     /* which forward has none of */
void attune_canonical_scale(attune_problem *problem);
void attune_canonical_strides(attune_problem *problem); /* of all tensors of the operation; sizes are checked */

/* ---- class.c ---- */
void attune_class_print_window(attune_buffer *out, const attune_problem *canonical);
const char *attune_class_parse_window(attune_problem *problem, attune_text *text);
void attune_class_print_density(attune_buffer *out, const attune_problem *canonical);
const char *attune_class_parse_density(attune_problem *problem, attune_text *text);
void attune_class_print_mask_expr(attune_buffer *out, const attune_problem *canonical);
const char *attune_class_parse_mask_expr(attune_problem *problem, attune_text *text);
void attune_class_print_softcap(attune_buffer *out, const attune_problem *canonical);
const char *attune_class_parse_softcap(attune_problem *problem, attune_text *text);
void attune_class_print_scale(attune_buffer *out, const attune_problem *canonical);
const char *attune_class_parse_scale(attune_problem *problem, attune_text *text);
void attune_class_print_score_expr(attune_buffer *out, const attune_problem *canonical);
const char *attune_class_parse_score_expr(attune_problem *problem, attune_text *text);
void attune_class_print_hash(attune_buffer *out, const attune_problem *canonical);
const char *attune_class_parse_hash(attune_problem *problem, attune_text *text);

/* ---- distance.c ---- */
double attune_distance_axis(int32_t a, int32_t b); /* |log2(a / b)| */
/* Adds what the functions below want to be the same, and gives the window's size. */
void attune_distance_place(attune_buffer *out, int32_t *window, const attune_problem *canonical);
double attune_distance_window(const attune_problem *wanted, const attune_problem *tuned);
double attune_distance_deterministic(const attune_problem *wanted, const attune_problem *tuned);
double attune_distance_score(const attune_problem *wanted, const attune_problem *tuned);
double attune_distance_density(const attune_problem *wanted, const attune_problem *tuned);
double attune_distance_expressions(const attune_problem *wanted, const attune_problem *tuned);

#endif
