/* What Attune costs on the CPU, beside the same work without it; tests/bench/latency.py runs it and makes the figures.
 *
 *   latency cuda             starts CUDA, moves the tensors, copies O back
 *   latency attune DATABASE  the same, with a context, a plan and a run between
 *   latency warm DATABASE    prints the CPU seconds of one attune_run, and of one whose launch call does nothing:
 *                            the median of batches, and of the latter also its interval
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/attune.h"
#include "runtime/driver.h"

enum { SEQLEN = 512, HEADS = 8, HEAD_DIM = 64, ELEMENTS = SEQLEN * HEADS * HEAD_DIM, BYTES = 2 * ELEMENTS };
enum { BATCH = 256, BATCHES = 101, LOW = 40, HIGH = 60 }; /* of the sorted batches: the median's interval, about 95% */
enum { ONE = 0x3c00 } /* in fp16 */;

typedef unsigned long long device_pointer;
static struct {
  int (*init)(unsigned);
  int (*device_get)(int *, int);
  int (*retain)(void **, int);
  int (*set_current)(void *);
  int (*allocate)(device_pointer *, size_t);
  int (*fill)(device_pointer, unsigned short, size_t);
  int (*read)(void *, device_pointer, size_t);
  int (*synchronize)(void);
} cuda;

static void need(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "latency: %s failed\n", what);
  exit(1);
}

static void need_attune(attune_status status) {
  if (status == ATTUNE_OK) return;
  fprintf(stderr, "latency: %s: %s\n", attune_status_name(status), attune_message());
  exit(1);
}

static void load_driver(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  need(library != NULL, "dlopen of libcuda.so.1");
  const struct {
    void *to;
    const char *name;
  } functions[] = {
      {&cuda.init, "cuInit"},
      {&cuda.device_get, "cuDeviceGet"},
      {&cuda.retain, "cuDevicePrimaryCtxRetain"},
      {&cuda.set_current, "cuCtxSetCurrent"},
      {&cuda.allocate, "cuMemAlloc_v2"},
      {&cuda.fill, "cuMemsetD16_v2"},
      {&cuda.read, "cuMemcpyDtoH_v2"},
      {&cuda.synchronize, "cuCtxSynchronize"},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *function = dlsym(library, functions[i].name);
    need(function != NULL, functions[i].name);
    memcpy(functions[i].to, &function, sizeof function);
  }
}

static void start_cuda(void) {
  int device;
  void *context;
  load_driver();
  need(cuda.init(0) == 0, "cuInit");
  need(cuda.device_get(&device, 0) == 0, "cuDeviceGet");
  need(cuda.retain(&context, device) == 0, "cuDevicePrimaryCtxRetain");
  need(cuda.set_current(context) == 0, "cuCtxSetCurrent");
}

static void *allocate_tensor(unsigned short element) {
  device_pointer memory;
  need(cuda.allocate(&memory, BYTES) == 0, "cuMemAlloc");
  need(cuda.fill(memory, element, ELEMENTS) == 0, "cuMemsetD16");
  return (void *)(uintptr_t)memory;
}

static double cpu_seconds(void) {
  struct timespec now;
  need(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0, "clock_gettime");
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

typedef struct {
  attune_context *context;
  attune_plan *plan;
  attune_tensors tensors;
  void *workspace;
} session;

static void make_plan(session *s, const char *database, int seqlen) {
  attune_options options;
  attune_options_init(&options);
  options.database = database;
  need_attune(attune_context_create(&s->context, &options));
  attune_problem problem;
  attune_problem_init(&problem);
  problem.dtype = ATTUNE_FP16;
  problem.head_dim = problem.head_dim_v = HEAD_DIM;
  problem.batch = 1;
  problem.heads_q = problem.heads_kv = HEADS;
  problem.seqlen_q = problem.seqlen_k = seqlen;
  need_attune(attune_plan_create(&s->plan, s->context, &problem));
  device_pointer workspace = 0;
  const size_t size = attune_plan_workspace(s->plan);
  need(size == 0 || cuda.allocate(&workspace, size) == 0, "cuMemAlloc");
  s->workspace = (void *)(uintptr_t)workspace;
}

static void run_plan(session *s) {
  need_attune(attune_run(s->plan, &s->tensors, s->workspace, attune_plan_workspace(s->plan), NULL));
}

/* The driver's launch call, replaced. */
static CUresult no_launch(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra) {
  (void)config, (void)function, (void)parameters, (void)extra;
  return CUDA_SUCCESS;
}

/* CPU seconds of one run, sorted; batches are short enough that the driver's queue never makes a call wait. */
static void time_runs(session *s, double samples[BATCHES]) {
  for (int i = -3; i < BATCHES; i++) { /* the first ones warm up */
    double start = cpu_seconds();
    for (int n = 0; n < BATCH; n++)
      run_plan(s);
    double seconds = (cpu_seconds() - start) / BATCH;
    if (i >= 0) samples[i] = seconds;
    need(cuda.synchronize() == 0, "cuCtxSynchronize");
  }
  qsort(samples, BATCHES, sizeof *samples, by_value);
}

/* A run without its launch is timed as such: as a difference of two times it would be lost in their noise. */
static void print_warm(session *s) {
  const attune_driver *driver;
  double run[BATCHES], beyond[BATCHES];
  time_runs(s, run);
  need_attune(attune_driver_get(&driver));
  ((attune_driver *)driver)->launch = no_launch; /* the object is no constant */
  time_runs(s, beyond);
  printf("{\"run\": %.4g, \"beyond\": %.4g, \"beyond_low\": %.4g, \"beyond_high\": %.4g, \"config\": \"%s\"}\n",
         run[BATCHES / 2], beyond[BATCHES / 2], beyond[LOW], beyond[HIGH], attune_plan_config(s->plan));
}

int main(int argc, char **argv) {
  static unsigned short result[ELEMENTS];
  static session s;
  const char *mode = argc > 1 ? argv[1] : "";
  int is_cuda = strcmp(mode, "cuda") == 0, is_warm = strcmp(mode, "warm") == 0;
  if (!is_cuda && ((!is_warm && strcmp(mode, "attune") != 0) || argc != 3)) {
    fprintf(stderr, "usage: latency cuda | latency attune DATABASE | latency warm DATABASE\n");
    return 2;
  }
  start_cuda();
  attune_tensors_init(&s.tensors);
  s.tensors.q = allocate_tensor(ONE);
  s.tensors.k = allocate_tensor(ONE);
  s.tensors.v = allocate_tensor(ONE);
  s.tensors.o = allocate_tensor(is_cuda ? ONE : 0);
  if (!is_cuda) {
    make_plan(&s, argv[2], is_warm ? 16 : SEQLEN);
    run_plan(&s);
  }
  need(cuda.synchronize() == 0, "cuCtxSynchronize");
  need(cuda.read(result, (device_pointer)(uintptr_t)s.tensors.o, BYTES) == 0, "cuMemcpyDtoH");
  need(result[0] == ONE, "the first result"); /* of q, k and v that are all ones */
  if (is_warm) print_warm(&s);
  attune_plan_destroy(s.plan);
  attune_context_destroy(s.context);
  return 0;
}
