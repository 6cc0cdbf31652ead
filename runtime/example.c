/* Causal attention of four heads over 64 tokens, on the simulator: cc example.c $(pkg-config --cflags --libs attune)
 * With .device = "cuda:0" the pointers are device pointers and attune_run enqueues the kernel on the stream. */
#include <attune.h>
#include <stdio.h>
#include <stdlib.h>

#define ELEMENTS (64 * 4 * 32) /* batch 1, seqlen 64, heads 4, head_dim 32 */
static _Alignas(16) uint16_t q[ELEMENTS], k[ELEMENTS], v[ELEMENTS], o[ELEMENTS];

int main(void) {
  attune_context *context = NULL;
  attune_plan *plan = NULL;
  attune_options options;
  attune_problem problem;
  attune_tensors tensors;
  for (int i = 0; i < ELEMENTS; i++)
    v[i] = 0x3f80; /* 1.0 as bf16; q and k are 0: every row of O is a mean of ones */

  attune_options_init(&options);
  options.device = "host";
  attune_problem_init(&problem);
  problem.dtype = ATTUNE_BF16;
  problem.head_dim = problem.head_dim_v = 32;
  problem.heads_q = problem.heads_kv = 4;
  problem.seqlen_q = problem.seqlen_k = 64;
  problem.mask = ATTUNE_MASK_CAUSAL;
  attune_tensors_init(&tensors);
  tensors.q = q, tensors.k = k, tensors.v = v, tensors.o = o;

  attune_status status = attune_context_create(&context, &options);
  if (status == ATTUNE_OK) status = attune_plan_create(&plan, context, &problem);
  const size_t workspace_size = attune_plan_workspace(plan);
  void *workspace = malloc(workspace_size);
  if (status == ATTUNE_OK) status = attune_run(plan, &tensors, workspace, workspace_size, NULL);
  if (status == ATTUNE_OK)
    printf("%s on %s: o[0] = 0x%04x\n", attune_plan_config(plan), attune_context_device(context), o[0]);
  else
    fprintf(stderr, "%s: %s\n", attune_status_name(status), attune_message());
  free(workspace);
  attune_plan_destroy(plan);
  attune_context_destroy(context);
  return status != ATTUNE_OK || o[0] != 0x3f80;
}
