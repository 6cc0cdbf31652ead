/* For tests of the walks of templates/parts: a kernel that notes which tiles each walk visits. */
#ifndef ATTUNE_TESTS_WALK_KERNEL_H
#define ATTUNE_TESTS_WALK_KERNEL_H

#include <stdio.h>

#include "tests/unit/kernel_source.h"

enum { WALK_TILE_M = 4, WALK_TILE_N = 8, WALK_TILES = 70 /* of a sequence, at most */ };
typedef enum { WALK_UNBOUNDED, WALK_RIGHT, WALK_WINDOW } walk_bound; /* which sides of the mask are bounded */

/* What the kernel is compiled for. */
typedef struct {
  walk_bound bound;
  bool expression;
  int block_size; /* 0: no block mask */
  int pack;       /* as pack_gqa */
} walk_variant;

/* The expression of those that have one, in C and as text. */
#define WALK_SEEN (k / 16 % 3 == q / 8 % 3 || k < 5)
#define WALK_TEXT_OF(expression) #expression
#define WALK_TEXT(expression) WALK_TEXT_OF(expression)
#define WALK_EXPRESSION WALK_TEXT(WALK_SEEN)

/* lse: (2, batch * heads_q / pack_gqa, WALK_TILES, WALK_TILES); of each tile of queries the tiles of keys, then of each
 * tile of keys the tiles of queries: 1 + full. The grid is batch * heads_q / pack_gqa * WALK_TILES warps. */
static const char walk_kernel_text[] =
    "#include \"tile_walk.h\"\n"
    "constexpr int all_tiles = 70;\n"
    "template <class tile_of>\n"
    "ATTUNE_DEVICE void mark(const attune_arguments &problem, const tile_of &at, float *row) {\n"
    "  if (at.tiles <= 0) return;\n"
    "  for (tile_walk walk = first_of_walk(problem, at);; step_walk(walk, problem, at)) {\n"
    "    if (thread_index() == 0) store_global_float(row + walk.tile, 1.0f + walk.full);\n"
    "    if (!walk.more) return;\n"
    "  }\n"
    "}\n"
    "ATTUNE_KERNEL(32, 1) KERNEL_NAME(const attune_arguments problem) {\n"
    "  const int t = block_index() % all_tiles, item = block_index() / all_tiles;\n"
    "  const int groups = problem.heads_q / pack_gqa;\n"
    "  float *row = problem.lse + block_index() * all_tiles;\n"
    "  query_tile rows = {};\n"
    "  key_tile keys = {};\n"
    "  rows.batch = keys.batch = item / groups;\n"
    "  rows.head = keys.head = item % groups * pack_gqa;\n"
    "  if (find_keys(rows, problem, t)) mark(problem, rows, row);\n"
    "  row += problem.batch * groups * all_tiles * all_tiles;\n"
    "  if (find_rows(keys, problem, t)) mark(problem, keys, row);\n"
    "}\n";

static const char walk_expression_text[] =
    "#include \"arithmetic.h\"\n"
    "template <class index, class real>\n"
    "ATTUNE_DEVICE auto is_seen(const attune_arguments &problem, index batch, index head, index q, index k,\n"
    "                           index seqlen_q, index seqlen_k) {\n"
    "  return " WALK_EXPRESSION ";\n"
    "}\n";

/* Malloc'ed; NULL with a message. */
static inline char *walk_source(const walk_variant *variant, attune_target target) {
  char constants[256];
  snprintf(constants, sizeof constants,
           "constexpr int tile_m = %d;\nconstexpr int tile_n = %d;\nconstexpr int pack_gqa = %d;\n"
           "constexpr int sparse_block_size = %d;\n",
           WALK_TILE_M, WALK_TILE_N, variant->pack, variant->block_size);
  const attune_parameter parameters[] = {
      {"DTYPE_BF16", 1},
      {"MASK_BOUNDS_CAUSAL", variant->bound == WALK_RIGHT},
      {"MASK_BOUNDS_WINDOW", variant->bound == WALK_WINDOW},
      {"HAS_MASK_EXPR", variant->expression},
      {"SPARSE_BLOCK_SIZE", variant->block_size},
      {"OPERATION_FORWARD", 0},
      {"OPERATION_COMBINE", 0},
      {"SCORE_EXPRESSION", 0},
      {"SPLITS", 1},
      {"TILE_M", WALK_TILE_M},
  };
  attune_source_file files[ATTUNE_SOURCE_FILES_MAX] = {
      {"kernel", "the test's kernel", walk_kernel_text},
      {"parameters.h", "the test's parameters", constants},
      {"expressions.h", "the test's expression", walk_expression_text},
  };
  return kernel_source_of(files, 3, parameters, sizeof parameters / sizeof *parameters, target);
}

#endif
