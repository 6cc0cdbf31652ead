/* What the mask expression says of a tile, evaluated on ranges (arithmetic.h): nothing of it is visible, all is, or
 * perhaps some. */
#pragma once
#include "parameters.h"
#if HAS_MASK_EXPR
#include "expressions.h"

ATTUNE_DEVICE verdict classify_tile(const attune_arguments &problem, int batch, int head, int first_row, int last_row,
                                    int first_key, int last_key, int seqlen_q, int seqlen_k) {
  return is_seen<range, unknown>(problem, range(batch), range(head), range(first_row, last_row),
                                 range(first_key, last_key), range(seqlen_q), range(seqlen_k));
}
#endif
