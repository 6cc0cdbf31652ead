/* first_result DATABASE: from the start of a process to a first result, step by step, as one line of JSON in
 * milliseconds. `cuda` is what any CUDA program pays (cuInit, the primary context); `beyond` is Attune's part, with
 * moving the tensors left out. The first call with a database compiles and stores; the second shows what a stored
 * kernel costs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/driver.h"
#include "runtime/runtime.h"

enum { SEQLEN = 1024, HEADS = 8, HEAD_DIM = 128, SIZE = 2 * SEQLEN * HEADS * HEAD_DIM };

static double lap(void) {
  static struct timespec last;
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  double milliseconds = 1e3 * (double)(time.tv_sec - last.tv_sec) + 1e-6 * (double)(time.tv_nsec - last.tv_nsec);
  last = time;
  return milliseconds;
}

static void need(attune_status status) {
  if (status == ATTUNE_OK) return;
  fprintf(stderr, "first_result: %s: %s\n", attune_status_name(status), attune_message());
  exit(status == ATTUNE_NO_DRIVER || status == ATTUNE_NO_DEVICE ? 77 : 1);
}

static void need_cuda(CUresult result) {
  if (result == CUDA_SUCCESS) return;
  fprintf(stderr, "first_result: CUDA error %d\n", result);
  exit(1);
}

static void *tensor(attune_machine *machine, int byte) {
  void *memory;
  need(attune_memory_allocate(&memory, machine, SIZE));
  need(attune_memory_fill(machine, memory, byte, SIZE));
  return memory;
}

int main(int argc, char **argv) {
  const attune_driver *driver;
  CUdevice device;
  CUcontext primary;
  attune_context *context;
  attune_plan *plan;
  attune_options options;
  attune_problem problem;
  attune_tensors tensors;
  static uint16_t o[SIZE / 2];
  if (argc != 2) {
    fprintf(stderr, "usage: first_result DATABASE\n");
    return 2;
  }
  attune_options_init(&options);
  options.device = "cuda:0";
  options.database = argv[1];
  attune_problem_init(&problem);
  problem.head_dim = problem.head_dim_v = HEAD_DIM;
  problem.heads_q = problem.heads_kv = HEADS;
  problem.seqlen_q = problem.seqlen_k = SEQLEN;
  problem.mask = ATTUNE_MASK_CAUSAL;
  attune_tensors_init(&tensors);

  lap();
  need(attune_driver_get(&driver));
  double init = lap();
  need_cuda(driver->device_get(&device, 0));
  need_cuda(driver->primary_retain(&primary, device));
  need_cuda(driver->context_push(primary));
  double primary_context = lap();
  need(attune_context_create(&context, &options));
  double attune_context_time = lap();
  need(attune_plan_create(&plan, context, &problem));
  double plan_time = lap();
  attune_machine *machine = attune_context_machine(context);
  tensors.q = tensor(machine, 0);
  tensors.k = tensor(machine, 0);
  tensors.v = tensor(machine, 0x3c);
  tensors.o = tensor(machine, 0);
  need(attune_machine_synchronize(machine));
  double tensors_time = lap();
  need(attune_run(plan, &tensors, NULL, 0, NULL));
  need(attune_machine_synchronize(machine));
  double run = lap();
  need(attune_memory_read(machine, o, tensors.o, SIZE));
  double beyond = attune_context_time + plan_time + run;
  printf("{\"config\": \"%s\", \"cuda_init_ms\": %.2f, \"cuda_context_ms\": %.2f, \"context_ms\": %.2f, \"plan_ms\": "
         "%.2f, "
         "\"tensors_ms\": %.2f, \"run_ms\": %.2f, \"beyond_cuda_ms\": %.2f, \"right\": %s}\n",
         attune_plan_config(plan), init, primary_context, attune_context_time, plan_time, tensors_time, run, beyond,
         o[0] == 0x3c3c ? "true" : "false");
  return o[0] != 0x3c3c;
}
