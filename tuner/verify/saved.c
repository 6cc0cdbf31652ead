/* What the backward pass reads of the forward pass: O and LSE. */
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/verify/parallel.h"
#include "tuner/verify/verifier.h"

enum { SAVED_O, SAVED_LSE };

typedef struct {
  const attune_verifier *v;
  const attune_inputs *inputs;
} computation;

static void compute_rows(void *user, int64_t begin, int64_t end) {
  const computation *self = user;
  const attune_problem *p = &self->v->problem;
  uint16_t *o = self->v->saved[SAVED_O];
  float *lses = self->v->saved[SAVED_LSE];
  double exact[256], lse;
  for (int64_t i = begin; i < end; i++) {
    const int batch = (int)(i / p->seqlen_q / p->heads_q), head = (int)(i / p->seqlen_q % p->heads_q),
              row = (int)(i % p->seqlen_q);
    if (row >= self->v->lengths[ATTUNE_QUERIES][batch]) continue;
    attune_reference_row(exact, &lse, p, self->inputs, batch, head, row);
    uint16_t *to = o + attune_layout_offset(&self->v->tensors[ATTUNE_TENSOR_O].layout, batch, row, head);
    for (int d = 0; d < p->head_dim_v; d++)
      to[d] = attune_to_element(p->dtype, exact[d]);
    lses[i] = (float)lse;
  }
}

static size_t size_of(const attune_verifier *v, attune_tensor_id id) {
  return (size_t)v->tensors[id].extent * v->tensors[id].element;
}

static attune_status run_forward(attune_verifier *v) {
  attune_problem forward = v->problem;
  attune_config config;
  forward.operation = ATTUNE_FORWARD;
  forward.want_lse = 1;
  attune_status status = attune_config_reference(&config, &forward);
  const attune_program_source from = {.backend = v->backend, .problem = &forward};
  if (status == ATTUNE_OK && v->forward == NULL) status = attune_program_create(&v->forward, &from, &config);
  if (status == ATTUNE_OK) status = attune_enqueue(v->forward, &v->run, NULL, 0, NULL);
  return status == ATTUNE_OK ? attune_backend_synchronize(v->backend) : status;
}

attune_status attune_verifier_save(attune_verifier *v, attune_inputs *inputs, bool here) {
  static const attune_tensor_id ids[] = {[SAVED_O] = ATTUNE_TENSOR_O, [SAVED_LSE] = ATTUNE_TENSOR_LSE};
  const attune_problem *p = &v->problem;
  computation self = {v, inputs};
  attune_status status = ATTUNE_OK;
  for (int i = 0; i < 2; i++) {
    const size_t size = size_of(v, ids[i]);
    if (v->saved[i] == NULL) v->saved[i] = malloc(size);
    if (v->saved[i] == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %zu bytes of O and LSE", size);
    memset(v->saved[i], ATTUNE_POISON, size); /* beyond lengths and between rows */
  }
  if (here)
    attune_parallel((int64_t)p->batch * p->heads_q * p->seqlen_q, 1, compute_rows, &self);
  else
    status = run_forward(v);
  for (int i = 0; i < 2 && status == ATTUNE_OK; i++) {
    char *device = v->tensors[ids[i]].memory + v->guard;
    status = here ? attune_memory_write(v->backend, device, v->saved[i], size_of(v, ids[i]))
                  : attune_memory_read(v->backend, v->saved[i], device, size_of(v, ids[i]));
  }
  inputs->o = v->saved[SAVED_O];
  inputs->lse = v->saved[SAVED_LSE];
  return status;
}
