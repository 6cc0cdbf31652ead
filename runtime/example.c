/* Causal attention of four heads over 64 tokens and its gradients, on the simulator:
 * cc example.c $(pkg-config --cflags --libs attune)
 * With .device = "cuda:0" the pointers are device pointers, and attune_run enqueues the kernels on the stream. */
#include <attune.h>
#include <stdio.h>
#include <stdlib.h>

#define ELEMENTS (64 * 4 * 32) /* batch 1, seqlen 64, heads 4, head_dim 32 */
static _Alignas(16) uint16_t q[ELEMENTS], k[ELEMENTS], v[ELEMENTS], o[ELEMENTS];
static _Alignas(16) uint16_t d_o[ELEMENTS], dq[ELEMENTS], dk[ELEMENTS], dv[ELEMENTS];
static float lse[4 * 64];

/* A program keeps its plans; this one makes each for one run. */
static attune_status run(attune_context *context, const attune_problem *problem, const attune_tensors *tensors) {
  attune_plan *plan = NULL;
  attune_status status = attune_plan_create(&plan, context, problem);
  const size_t workspace_size = attune_plan_workspace(plan);
  void *workspace = malloc(workspace_size);
  if (status == ATTUNE_OK) status = attune_run(plan, tensors, workspace, workspace_size, NULL);
  if (status == ATTUNE_OK)
    printf("%s on %s\n", attune_plan_config(plan), attune_context_device(context));
  else
    fprintf(stderr, "%s: %s\n", attune_status_name(status), attune_message());
  free(workspace);
  attune_plan_destroy(plan);
  return status;
}

int main(void) {
  attune_context *context = NULL;
  attune_options options;
  attune_problem problem;
  attune_tensors tensors;
  for (int i = 0; i < ELEMENTS; i++)
    v[i] = d_o[i] = 0x3f80; /* 1.0 as bf16; q and k are 0: every row of O is a mean of ones */

  attune_options_init(&options);
  options.device = "host";
  attune_problem_init(&problem);
  problem.dtype = ATTUNE_BF16;
  problem.head_dim = problem.head_dim_v = 32;
  problem.heads_q = problem.heads_kv = 4;
  problem.seqlen_q = problem.seqlen_k = 64;
  problem.mask = ATTUNE_MASK_CAUSAL;
  problem.want_lse = 1; /* the gradients need it */
  attune_tensors_init(&tensors);
  tensors.q = q, tensors.k = k, tensors.v = v, tensors.o = o, tensors.lse = lse;

  attune_status status = attune_context_create(&context, &options);
  if (status != ATTUNE_OK) return fprintf(stderr, "%s\n", attune_message()), 1;
  status = run(context, &problem, &tensors);

  problem.operation = ATTUNE_BACKWARD;
  tensors.d_o = d_o, tensors.dq = dq, tensors.dk = dk, tensors.dv = dv;
  if (status == ATTUNE_OK) status = run(context, &problem, &tensors);
  attune_context_destroy(context);
  printf("o[0] = 0x%04x, the last of dv = 0x%04x\n", o[0], dv[ELEMENTS - 1]);
  return status != ATTUNE_OK || o[0] != 0x3f80 || dv[ELEMENTS - 1] != 0x3c80; /* 1/64: one query of 64 keys sees it */
}
