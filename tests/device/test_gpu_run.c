/* Running on a GPU: captured into a CUDA graph, by threads that share a plan, tensors beyond 2^31 elements, 65,536
 * tokens, what a run takes of memory and of the CPU. A line a case. Exit 77: no GPU. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/driver.h"
#include "tests/device/device_case.h"

/* What the library itself never calls. */
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;
static struct {
  CUresult (*stream_create)(CUstream *, unsigned);
  CUresult (*stream_synchronize)(CUstream);
  CUresult (*stream_destroy)(CUstream);
  CUresult (*begin_capture)(CUstream, int);
  CUresult (*end_capture)(CUstream, CUgraph *);
  CUresult (*instantiate)(CUgraphExec *, CUgraph, unsigned long long);
  CUresult (*graph_launch)(CUgraphExec, CUstream);
  CUresult (*graph_exec_destroy)(CUgraphExec);
  CUresult (*graph_destroy)(CUgraph);
  CUresult (*memory_info)(size_t *, size_t *);
} cuda;
enum { CAPTURE_MODE_GLOBAL = 0, NON_BLOCKING = 1 };

static attune_context *context;
static attune_backend *machine;
static const attune_driver *driver;
static int failed, cases;

static void load_cuda(void) {
  const struct {
    void *to;
    const char *name;
  } functions[] = {{&cuda.stream_create, "cuStreamCreate"},      {&cuda.stream_synchronize, "cuStreamSynchronize"},
                   {&cuda.stream_destroy, "cuStreamDestroy_v2"}, {&cuda.begin_capture, "cuStreamBeginCapture_v2"},
                   {&cuda.end_capture, "cuStreamEndCapture"},    {&cuda.instantiate, "cuGraphInstantiateWithFlags"},
                   {&cuda.graph_launch, "cuGraphLaunch"},        {&cuda.graph_exec_destroy, "cuGraphExecDestroy"},
                   {&cuda.graph_destroy, "cuGraphDestroy"},      {&cuda.memory_info, "cuMemGetInfo_v2"}};
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *function = library ? dlsym(library, functions[i].name) : NULL;
    if (!function) {
      printf("FAIL libcuda has no %s\n", functions[i].name);
      exit(1);
    }
    memcpy(functions[i].to, &function, sizeof function);
  }
}

__attribute__((format(printf, 3, 4))) static void report(const char *name, bool passed, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  printf("%-4s %-28s %s\n", passed ? "ok" : "FAIL", name, text);
  fflush(stdout);
  cases++;
  failed += !passed;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* A plan and the tensors of a class; false, with a line, where that fails. config: NULL, or of the plan. */
static bool prepare(const char *name, attune_plan **plan, bed *b, const char *class, const char *config) {
  attune_problem problem;
  *plan = NULL;
  attune_status status = attune_problem_parse(&problem, class);
  if (status == ATTUNE_OK)
    status =
        config ? attune_plan_create_with(plan, context, &problem, config) : attune_plan_create(plan, context, &problem);
  if (status == ATTUNE_OK) status = bed_create(b, machine, &problem, NULL, NULL, 1);
  if (status == ATTUNE_OK) return true;
  report(name, false, "%s: %s", attune_status_name(status), attune_message());
  attune_plan_destroy(*plan);
  return false;
}

static void finish(attune_plan *plan, bed *b) {
  attune_plan_destroy(plan);
  bed_destroy(b);
}

static void judge(const char *name, const attune_plan *plan, bed *b, int rows, bool whole, double seconds) {
  bed_verdict verdict;
  attune_status status = bed_judge(b, &verdict, rows, whole);
  if (status != ATTUNE_OK)
    report(name, false, "%s: %s", attune_status_name(status), attune_message());
  else
    report(name, verdict.passed, "%s error %.2e of %.2e, lse %.1e, %d rows, %.2f ms%s%s", attune_plan_config(plan),
           verdict.error, verdict.bound, verdict.lse_error, verdict.rows, seconds * 1e3, verdict.passed ? "" : "; ",
           verdict.passed ? "" : verdict.why);
}

static attune_status timed_run(const attune_plan *plan, const bed *b, double *seconds) {
  attune_timer *timer;
  attune_status status = attune_timer_create(&timer, machine);
  if (status != ATTUNE_OK) return status;
  status = attune_timer_start(timer);
  if (status == ATTUNE_OK) status = attune_run(plan, &b->tensors, b->workspace, BED_WORKSPACE, NULL);
  if (status == ATTUNE_OK) status = attune_timer_stop(timer);
  if (status == ATTUNE_OK) status = attune_timer_seconds(timer, seconds);
  attune_timer_destroy(timer);
  return status;
}

/* ---- graphs ---- */

static CUresult capture(CUgraphExec *exec, CUstream stream, const attune_plan *plan, const bed *b) {
  CUgraph graph;
  CUresult result = cuda.begin_capture(stream, CAPTURE_MODE_GLOBAL);
  if (result != CUDA_SUCCESS) return result;
  attune_status status = attune_run(plan, &b->tensors, b->workspace, BED_WORKSPACE, stream);
  result = cuda.end_capture(stream, &graph);
  if (status != ATTUNE_OK || result != CUDA_SUCCESS) return result ? result : -1;
  result = cuda.instantiate(exec, graph, 0);
  cuda.graph_destroy(graph);
  return result;
}

/* Captured before it ever ran; capture runs nothing, and each replay writes everything. */
static void test_graph(const char *name, const char *config) {
  attune_plan *plan;
  bed b;
  CUstream stream;
  CUgraphExec exec;
  if (!prepare(name, &plan, &b, "forward.bf16.d128.b2.h8.kv8.q1000.k1000.causal.lse", config)) return;
  CUresult result = cuda.stream_create(&stream, NON_BLOCKING);
  attune_backend_synchronize(machine);
  if (result == CUDA_SUCCESS) result = capture(&exec, stream, plan, &b);
  for (int replay = 0; replay < 3 && result == CUDA_SUCCESS; replay++) {
    attune_status status = bed_poison(&b);
    if (status == ATTUNE_OK) status = attune_backend_synchronize(machine);
    result = status == ATTUNE_OK ? cuda.graph_launch(exec, stream) : -1;
    if (result == CUDA_SUCCESS) result = cuda.stream_synchronize(stream);
    if (result == CUDA_SUCCESS) judge(name, plan, &b, 64, true, 0);
  }
  if (result == CUDA_SUCCESS)
    cuda.graph_exec_destroy(exec);
  else
    report(name, false, "CUDA error %d, %s", result, attune_message());
  cuda.stream_destroy(stream);
  finish(plan, &b);
}

/* ---- threads ---- */

typedef struct {
  const attune_plan *plan;
  attune_tensors tensors;
  void *workspace;
  CUstream stream;
  attune_status status;
} runner;

/* No context is current on this thread: run sees to it. */
static void *run_thread(void *user) {
  runner *r = user;
  for (int i = 0; i < 50 && r->status == ATTUNE_OK; i++)
    r->status = attune_run(r->plan, &r->tensors, r->workspace, BED_WORKSPACE, r->stream);
  CUcontext current;
  if (driver->context_current(&current) != CUDA_SUCCESS || current) r->status = ATTUNE_DRIVER_FAILED;
  return NULL;
}

static void test_threads(const char *name, const char *config) {
  enum { THREADS = 8 };
  attune_plan *plan;
  bed b;
  runner runners[THREADS] = {0};
  pthread_t threads[THREADS];
  if (!prepare(name, &plan, &b, "forward.fp16.d64.b2.h8.kv8.q700.k700.causal", config)) return;
  attune_status status = attune_run(plan, &b.tensors, b.workspace, BED_WORKSPACE, NULL);
  bed_verdict verdict;
  if (status == ATTUNE_OK) status = bed_judge(&b, &verdict, 64, true);
  uint16_t *other = malloc(b.o_count * 2);
  int different = 0;
  for (int i = 0; i < THREADS && status == ATTUNE_OK; i++) {
    runners[i].plan = plan;
    runners[i].tensors = b.tensors;
    status = attune_memory_allocate(&runners[i].tensors.o, machine, b.o_count * 2);
    if (status == ATTUNE_OK) status = attune_memory_allocate(&runners[i].workspace, machine, BED_WORKSPACE);
    if (cuda.stream_create(&runners[i].stream, NON_BLOCKING) != CUDA_SUCCESS) status = ATTUNE_DRIVER_FAILED;
  }
  if (status != ATTUNE_OK || !other) {
    report(name, false, "%s: %s", attune_status_name(status), attune_message());
    exit(1);
  }
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, run_thread, &runners[i]) != 0) exit(1);
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  attune_backend_synchronize(machine);
  for (int i = 0; i < THREADS; i++) {
    if (runners[i].status != ATTUNE_OK) status = runners[i].status;
    memset(other, 0, b.o_count * 2);
    if (attune_memory_read(machine, other, runners[i].tensors.o, b.o_count * 2) != ATTUNE_OK) different++;
    different += memcmp(other, b.o, b.o_count * 2) != 0;
    attune_memory_free(machine, runners[i].tensors.o);
    attune_memory_free(machine, runners[i].workspace);
    cuda.stream_destroy(runners[i].stream);
  }
  report(name, status == ATTUNE_OK && !different && verdict.passed, "50 runs each, %d results differ, %s", different,
         attune_status_name(status));
  free(other);
  finish(plan, &b);
}

/* ---- large ---- */

static void test_large(const char *name, const char *class, int rows) {
  attune_plan *plan;
  bed b;
  double seconds = 0;
  if (!prepare(name, &plan, &b, class, NULL)) return;
  attune_status status = timed_run(plan, &b, &seconds);
  if (status == ATTUNE_OK)
    judge(name, plan, &b, rows, false, seconds);
  else
    report(name, false, "%s: %s", attune_status_name(status), attune_message());
  finish(plan, &b);
}

/* ---- memory ---- */

/* Beyond the tensors, LSE among them, a run takes nothing; what the first plan loads is shown apart. */
static void test_memory(void) {
  const char *name = "memory of 65,536 tokens";
  enum { ALLOWED = 2 << 20 };
  attune_plan *plan;
  bed b;
  size_t total, before, planned, after;
  attune_problem problem;
  if (!prepare(name, &plan, &b, "forward.bf16.d128.b1.h16.kv16.q65536.k65536.causal.lse", NULL)) return;
  attune_plan_destroy(plan);
  attune_problem_parse(&problem, "forward.bf16.d128.b1.h16.kv16.q65536.k65536.causal.lse");
  attune_backend_synchronize(machine);
  CUresult result = cuda.memory_info(&before, &total);
  attune_status status = attune_plan_create(&plan, context, &problem);
  if (result == CUDA_SUCCESS) result = cuda.memory_info(&planned, &total);
  if (status == ATTUNE_OK) status = attune_run(plan, &b.tensors, b.workspace, BED_WORKSPACE, NULL);
  if (status == ATTUNE_OK) status = attune_backend_synchronize(machine);
  if (result == CUDA_SUCCESS) result = cuda.memory_info(&after, &total);
  if (status != ATTUNE_OK || result != CUDA_SUCCESS) {
    report(name, false, "CUDA error %d, %s: %s", result, attune_status_name(status), attune_message());
    exit(1);
  }
  long long loaded = (long long)before - (long long)planned, taken = (long long)planned - (long long)after;
  report(name, taken <= ALLOWED, "LSE %zu bytes, workspace %zu, the plan %lld, the run %lld, %d allowed",
         b.lse_count * 4, attune_plan_workspace(plan), loaded, taken, ALLOWED);
  finish(plan, &b);
}

/* ---- the CPU ---- */

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* A kernel that takes its arguments alone, loaded so that it can be launched without the library. */
static attune_status load_bare(CUmodule *module, CUfunction *function, attune_config *config, const char *text) {
  attune_kernel *kernel;
  char symbol[ATTUNE_TEXT_MAX + 8];
  attune_status status = attune_config_parse(config, text);
  if (status == ATTUNE_OK) status = attune_config_symbol(symbol, config);
  if (status == ATTUNE_OK)
    status = attune_kernel_get(&kernel, NULL, attune_context_store(context), config, NULL, attune_backend_arch(machine),
                               true);
  if (status != ATTUNE_OK) return status;
  CUresult result = driver->module_load(module, kernel->binary);
  if (result == CUDA_SUCCESS) result = driver->module_function(function, *module, symbol);
  if (result == CUDA_SUCCESS)
    result = driver->function_set_attribute(*function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                            attune_backend_device(machine)->shared_per_block);
  free(kernel);
  return result == CUDA_SUCCESS ? ATTUNE_OK : attune_driver_failed(driver, result, "loading the kernel once more");
}

/* What attune_run of a kernel takes beyond cuLaunchKernel, tensor maps included if it has them. */
static void test_cost(const char *name, const char *config_text) {
  enum { BATCH = 100, BATCHES = 101 };
  attune_plan *plan, *chosen;
  bed b;
  attune_config config;
  attune_steps steps;
  attune_problem resolved;
  CUmodule module;
  CUfunction function;
  double run[BATCHES], bare[BATCHES];
  if (!prepare(name, &chosen, &b, "forward.fp16.d64.b1.h8.kv8.q128.k128.causal", NULL)) return;
  attune_plan_destroy(chosen);
  attune_status status = attune_plan_create_with(&plan, context, &b.problem, config_text);
  if (status == ATTUNE_OK)
    status = load_bare(&module, &function, &config, "forward.mma.fp16.d64.causal.m64.n64.w4.s1.lazy.b1");
  if (status == ATTUNE_OK) status = attune_problem_resolve(&resolved, &b.problem);
  if (status == ATTUNE_OK) status = attune_steps_of(&steps, &config, &resolved);
  attune_step *step = &steps.steps[0];
  attune_tensor_bind(&step->arguments, ATTUNE_TENSOR_Q, b.tensors.q);
  attune_tensor_bind(&step->arguments, ATTUNE_TENSOR_K, b.tensors.k);
  attune_tensor_bind(&step->arguments, ATTUNE_TENSOR_V, b.tensors.v);
  attune_tensor_bind(&step->arguments, ATTUNE_TENSOR_O, b.tensors.o);
  void *parameters[] = {&step->arguments};
  CUresult result = CUDA_SUCCESS;
  for (int i = 0; i < BATCHES && status == ATTUNE_OK && result == CUDA_SUCCESS; i++) {
    status = attune_backend_synchronize(machine);
    double start = now();
    for (int j = 0; j < BATCH && status == ATTUNE_OK; j++)
      status = attune_run(plan, &b.tensors, b.workspace, BED_WORKSPACE, NULL);
    run[i] = (now() - start) / BATCH;
    attune_backend_synchronize(machine);
    start = now();
    for (int j = 0; j < BATCH && result == CUDA_SUCCESS; j++)
      result = driver->launch(function, (unsigned)step->launch.grid, 1, 1, (unsigned)step->launch.threads, 1, 1,
                              (unsigned)step->launch.shared_bytes, NULL, parameters, NULL);
    bare[i] = (now() - start) / BATCH;
  }
  if (status != ATTUNE_OK || result != CUDA_SUCCESS) {
    report(name, false, "CUDA error %d, %s: %s", result, attune_status_name(status), attune_message());
    exit(1);
  }
  qsort(run, BATCHES, sizeof *run, compare_doubles);
  qsort(bare, BATCHES, sizeof *bare, compare_doubles);
  double ours = run[BATCHES / 2] * 1e6, theirs = bare[BATCHES / 2] * 1e6;
  report(name, ours - theirs <= 2, "attune_run %.2f us, cuLaunchKernel %.2f us, beyond it %.2f us, 2 allowed", ours,
         theirs, ours - theirs);
  attune_backend_synchronize(machine);
  driver->module_unload(module);
  finish(plan, &b);
}

int main(void) {
  if (!bed_open(&context, "cuda:0", ":memory:")) return BED_SKIPPED;
  machine = attune_context_machine(context);
  if (attune_driver_get(&driver) != ATTUNE_OK) return 1;
  load_cuda();
  test_graph("CUDA graph", NULL);
  test_threads("8 threads share a plan", NULL);
  if (attune_backend_device(machine)->arch == 90) { /* blocks that count in a workspace */
    test_graph("CUDA graph with a counter",
               "forward.wgmma.bf16.d128.causal.lse.m64.n64.w8.s2.lazy.qq.overlap.dynamic.longest.b1");
    test_threads("8 threads, 8 counters",
                 "forward.wgmma.fp16.d64.causal.m64.n64.w8.s2.lazy.qq.overlap.dynamic.longest.b1");
  }
  test_cost("CPU of a run", "forward.mma.fp16.d64.causal.m64.n64.w4.s1.lazy.b1");
  test_cost("CPU of a run, tensor maps", "forward.wgmma.fp16.d64.causal.m64.n64.w8.s2.lazy.b1");
  test_memory();
  test_large("65,536 tokens", "forward.bf16.d128.b1.h16.kv16.q65536.k65536.causal.lse", 64);
  test_large("65,536 tokens, fp16, no mask", "forward.fp16.d64.b1.h4.kv4.q65536.k65536.lse", 64);
  test_large("K and V beyond 2^31", "forward.bf16.d128.b1.h16.kv16.q200.k1100000.lse", 24);
  test_large("Q and O beyond 2^31", "forward.bf16.d128.b1.h16.kv16.q1100000.k200.lse", 64);
  test_large("K beyond 2^31, bottom right", "forward.fp16.d64.b2.h32.kv32.q100.k600000.causal-bottom-right", 24);
  attune_context_destroy(context);
  printf("%d cases, %d failed\n", cases, failed);
  return failed != 0;
}
