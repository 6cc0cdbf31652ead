/* For tests of problems: one that is right, and that a wrong one is refused. */
#ifndef ATTUNE_TESTS_PROBLEM_CASE_H
#define ATTUNE_TESTS_PROBLEM_CASE_H

#include <string.h>

#include "generator/generator.h"

static inline attune_problem usual(void) {
  attune_problem p;
  attune_problem_init(&p);
  p.head_dim = p.head_dim_v = 128;
  p.batch = 2;
  p.heads_q = 8;
  p.heads_kv = 4;
  p.seqlen_q = 100;
  p.seqlen_k = 200;
  return p;
}

static inline void refuse(attune_problem p, attune_status status, const char *says) {
  assert_int_equal(attune_problem_check(&p), status);
  if (strstr(attune_message(), says) == NULL) fail_msg("\"%s\" does not say \"%s\"", attune_message(), says);
}

#define REFUSE(status, says, ...)                                                                                      \
  do {                                                                                                                 \
    attune_problem p = usual();                                                                                        \
    __VA_ARGS__;                                                                                                       \
    refuse(p, status, says);                                                                                           \
  } while (0)

#endif
