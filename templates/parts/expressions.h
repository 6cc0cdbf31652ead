/* Stand-ins for what the generator writes from the problem's expressions, so that an editor can parse the templates. */
#pragma once
#include "arithmetic.h"

/* mask: (k <= q) */
template <class index, class real>
ATTUNE_DEVICE auto is_seen(const attune_arguments &problem, index batch, index head, index q, index k, index seqlen_q,
                           index seqlen_k) {
  return (k <= q);
}

/* score: (score + param_slope[head]) */
constexpr bool uses_bias = false;
struct item_constants {
  float c0;
};
ATTUNE_DEVICE item_constants constants_of(const attune_arguments &problem, integer batch, integer head,
                                          integer seqlen_q, integer seqlen_k) {
  const reals param_slope(problem, 0);
  item_constants item = {};
  item.c0 = param_slope[head];
  return item;
}
ATTUNE_DEVICE float changed_score(const attune_arguments &problem, const item_constants &item, float score, float bias,
                                  integer batch, integer head, integer q, integer k, integer seqlen_q,
                                  integer seqlen_k) {
  return (score + item.c0);
}
