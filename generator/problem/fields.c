/* The table of problem fields, in the order of JSON and of --help. */
#include <math.h>
#include <string.h>

#include "generator/problem/rules.h"

/* A row of the last tile, with rows to spare, plus an unbounded side still fits 32 bits. */
enum { SEQLEN_MAX = (1 << 30) - 512 };

static const char *const dtype_words[] = {"fp16", "bf16", NULL};
const char *const attune_operation_words[] = {"forward", "backward", NULL};
static const char *const mask_words[] = {"none", "causal", "causal-bottom-right", NULL};

#define MEMBER(field) .member = #field, .offset = offsetof(attune_problem, field)
#define SAME(text) .name = text, .json = text

const attune_problem_field attune_problem_fields[] = {
    {SAME("operation"), MEMBER(operation), .kind = ATTUNE_FIELD_WORD, .words = attune_operation_words,
     .flag = "backward", .meaning = "the gradients of Q, K and V, from that of O", .check = attune_check_operation},
    {SAME("dtype"), MEMBER(dtype), .kind = ATTUNE_FIELD_WORD, .words = dtype_words, .preset = ATTUNE_BF16,
     .json_always = true, .flag = "dtype", .argument = "fp16|bf16", .meaning = "type of the elements (bf16)",
     .check = attune_check_word, .place = 1, .kernel = true},
    {SAME("head_dim"), MEMBER(head_dim), .kind = ATTUNE_FIELD_INT, .preset = 64, .json_always = true,
     .flag = "head-dim", .argument = "N", .size = true,
     .meaning = "elements of a row of Q and K: a multiple of 8 up to 256 (64)", .check = attune_check_head_dim,
     .place = 2, .prefix = "d", .kernel = true},
    {SAME("head_dim_v"), MEMBER(head_dim_v), .kind = ATTUNE_FIELD_INT, .preset = 64, .follows = "head_dim",
     .json_always = true, .flag = "head-dim-v", .argument = "N", .size = true,
     .meaning = "elements of a row of V and O (as --head-dim)", .check = attune_check_head_dim, .place = 3,
     .prefix = "v", .optional = true, .kernel = true},
    {SAME("batch"), MEMBER(batch), .kind = ATTUNE_FIELD_INT, .preset = 1, .json_always = true, .flag = "batch",
     .argument = "N", .size = true, .meaning = "sequences (1)", .check = attune_check_size, .limit = INT32_MAX,
     .place = 4, .prefix = "b", .scales = true},
    {SAME("heads_q"), MEMBER(heads_q), .kind = ATTUNE_FIELD_INT, .preset = 1, .json_always = true, .flag = "heads-q",
     .argument = "N", .size = true, .meaning = "query heads (1)", .check = attune_check_size, .limit = INT32_MAX,
     .place = 5, .prefix = "h", .scales = true},
    {SAME("heads_kv"), MEMBER(heads_kv), .kind = ATTUNE_FIELD_INT, .preset = 1, .follows = "heads_q",
     .json_always = true, .flag = "heads-kv", .argument = "N", .size = true,
     .meaning = "key heads; divides --heads-q (as --heads-q)", .check = attune_check_heads_kv, .limit = INT32_MAX,
     .place = 6, .prefix = "kv", .scales = true},
    {SAME("seqlen_q"), MEMBER(seqlen_q), .kind = ATTUNE_FIELD_INT, .preset = 1, .json_always = true, .flag = "seqlen-q",
     .argument = "N", .size = true, .meaning = "queries of a sequence, at most (512)", .check = attune_check_seqlen_q,
     .limit = SEQLEN_MAX, .place = 7, .prefix = "q", .scales = true},
    {SAME("seqlen_k"), MEMBER(seqlen_k), .kind = ATTUNE_FIELD_INT, .preset = 1, .follows = "seqlen_q",
     .json_always = true, .flag = "seqlen-k", .argument = "N", .size = true,
     .meaning = "keys of a sequence, at most (as --seqlen-q)", .check = attune_check_size, .limit = SEQLEN_MAX,
     .place = 8, .prefix = "k", .scales = true},
    {SAME("mask"), MEMBER(mask), .kind = ATTUNE_FIELD_WORD, .words = mask_words, .json_always = true, .flag = "mask",
     .argument = "none|causal|causal-bottom-right", .meaning = "which keys a query sees (none)",
     .check = attune_check_word, .place = 9, .optional = true},
    {SAME("window"), MEMBER(window_left), .kind = ATTUNE_FIELD_WINDOW, .preset = -1, .json_always = true,
     .flag = "window", .argument = "L,R", .meaning = "keys from i-L to i+R only; a negative side is unbounded",
     .check = attune_check_window, .canonical = attune_canonical_mask, .place = 10, .print = attune_class_print_window,
     .parse = attune_class_parse_window, .distance = attune_distance_window},
    {SAME("softcap"), MEMBER(softcap), .kind = ATTUNE_FIELD_FLOAT, .json_always = true, .flag = "softcap",
     .argument = "X", .meaning = "scores become X*tanh(score/X); 0: they do not (0)", .check = attune_check_softcap,
     .place = 14, .print = attune_class_print_softcap, .parse = attune_class_parse_softcap},
    {.name = "want_lse",
     .json = "lse",
     MEMBER(want_lse),
     .kind = ATTUNE_FIELD_FLAG,
     .json_always = true,
     .flag = "lse",
     .meaning = "also the log-sum-exp of every row",
     .check = attune_check_flag,
     .canonical = attune_canonical_lse,
     .place = 19,
     .prefix = "lse",
     .kernel = true},
    {SAME("scale"), MEMBER(scale), .kind = ATTUNE_FIELD_FLOAT, .preset = NAN, .flag = "scale", .argument = "X",
     .meaning = "of the scores (1/sqrt(head_dim))", .check = attune_check_scale, .canonical = attune_canonical_scale,
     .place = 15, .print = attune_class_print_scale, .parse = attune_class_parse_scale,
     .distance = attune_distance_score},
    {.name = "q", .json = "q_strides", MEMBER(q), .kind = ATTUNE_FIELD_STRIDES, .check = attune_check_strides},
    {.name = "k", .json = "k_strides", MEMBER(k), .kind = ATTUNE_FIELD_STRIDES, .check = attune_check_strides},
    {.name = "v", .json = "v_strides", MEMBER(v), .kind = ATTUNE_FIELD_STRIDES, .check = attune_check_strides},
    {.name = "o",
     .json = "o_strides",
     MEMBER(o),
     .kind = ATTUNE_FIELD_STRIDES,
     .check = attune_check_strides,
     .canonical = attune_canonical_strides},
    {.name = "do", .json = "do_strides", MEMBER(d_o), .kind = ATTUNE_FIELD_STRIDES, .check = attune_check_strides},
    {.name = "dq", .json = "dq_strides", MEMBER(dq), .kind = ATTUNE_FIELD_STRIDES, .check = attune_check_strides},
    {.name = "dk", .json = "dk_strides", MEMBER(dk), .kind = ATTUNE_FIELD_STRIDES, .check = attune_check_strides},
    {.name = "dv", .json = "dv_strides", MEMBER(dv), .kind = ATTUNE_FIELD_STRIDES, .check = attune_check_strides},
    {SAME("pattern"), .kind = ATTUNE_FIELD_PATTERN, .flag = "pattern", .argument = "TEXT",
     .meaning = "butterfly, window:1024 & prefix:64, bigbird:128 ...: which keys are seen"},
    {SAME("mask_expr"), MEMBER(mask_expr), .kind = ATTUNE_FIELD_MASK_EXPR, .flag = "mask-expr", .argument = "EXPR",
     .meaning = "true where query q sees key k, in C syntax", .place = 13, .print = attune_class_print_mask_expr,
     .parse = attune_class_parse_mask_expr, .distance = attune_distance_expressions},
    {SAME("score_expr"), MEMBER(score_expr), .kind = ATTUNE_FIELD_SCORE_EXPR, .flag = "score-expr", .argument = "EXPR",
     .meaning = "the new score, of score, q, k, head, ... in C syntax", .place = 16,
     .print = attune_class_print_score_expr, .parse = attune_class_parse_score_expr},
    {.name = "want_sinks",
     .json = "sinks",
     MEMBER(want_sinks),
     .kind = ATTUNE_FIELD_FLAG,
     .flag = "sinks",
     .size = true,
     .meaning = "each head has one more key, with a score of its own and no value",
     .check = attune_check_flag,
     .place = 17,
     .prefix = "sinks",
     .kernel = true},
    {SAME("block_size"), MEMBER(block_size), .kind = ATTUNE_FIELD_INT, .check = attune_check_block_size, .place = 11,
     .prefix = "block_mask", .optional = true, .kernel = true},
    {SAME("block_density"), MEMBER(block_density), .kind = ATTUNE_FIELD_FLOAT, .flag = "density", .argument = "X",
     .size = true,
     .meaning = "a block mask of --block-size keeps about this share of the blocks; tuning draws such masks",
     .check = attune_check_block_density, .place = 12, .print = attune_class_print_density,
     .parse = attune_class_parse_density, .distance = attune_distance_density},
    {SAME("bias"), MEMBER(bias), .kind = ATTUNE_FIELD_BIAS, .flag = "bias", .argument = "B,H,Q", .size = true,
     .meaning = "a tensor is added to the scores, of these sizes (each 1 or the problem's) and all keys",
     .check = attune_check_bias},
    {SAME("params"), MEMBER(params), .kind = ATTUNE_FIELD_PARAMS, .flag = "param", .argument = "NAME=VALUE",
     .meaning = "a name for expressions: a number, or a list as 1,2,3; again for more", .check = attune_check_params},
    {.name = "expression_hash",
     MEMBER(expression_hash),
     .kind = ATTUNE_FIELD_INT,
     .check = attune_check_expressions,
     .place = 18,
     .print = attune_class_print_hash,
     .parse = attune_class_parse_hash},
};
const int attune_problem_field_count = sizeof attune_problem_fields / sizeof *attune_problem_fields;

const attune_problem_field *attune_problem_field_of(const char *member) {
  for (int i = 0; i < attune_problem_field_count; i++)
    if (attune_problem_fields[i].member != NULL && strcmp(attune_problem_fields[i].member, member) == 0)
      return &attune_problem_fields[i];
  return NULL;
}
