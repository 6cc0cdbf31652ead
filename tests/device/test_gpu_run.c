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

/* A plan and the verifier of a class; false, with a line, where that fails. config: NULL, or of the plan. */
static bool prepare(const char *name, attune_plan **plan, attune_verifier **verifier, const char *class,
                    const char *config) {
  attune_problem problem;
  *plan = NULL;
  attune_status status = attune_problem_parse(&problem, class);
  if (status == ATTUNE_OK)
    status =
        config ? attune_plan_create_with(plan, context, &problem, config) : attune_plan_create(plan, context, &problem);
  if (status == ATTUNE_OK)
    status = attune_verifier_create(verifier, machine, &problem, NULL, &(attune_drawing){.seed = 1});
  if (status == ATTUNE_OK) status = attune_verifier_prepare(*verifier, attune_plan_workspace(*plan));
  if (status == ATTUNE_OK) return true;
  report(name, false, "%s: %s", attune_status_name(status), attune_message());
  attune_plan_destroy(*plan);
  return false;
}

static void finish(attune_plan *plan, attune_verifier *verifier) {
  attune_plan_destroy(plan);
  attune_verifier_destroy(verifier);
}

static void compare(const char *name, const attune_plan *plan, attune_verifier *verifier, double seconds) {
  attune_verdict verdict;
  attune_status status = attune_verifier_compare(verifier, &verdict);
  if (status != ATTUNE_OK)
    report(name, false, "%s: %s", attune_status_name(status), attune_message());
  else
    report(name, verdict.passed, "%s error %.2e of %.2e, lse %.1e, %lld rows, %.2f ms%s%s", attune_plan_config(plan),
           verdict.error, verdict.error_bound, verdict.lse_error, (long long)verdict.rows_checked, seconds * 1e3,
           verdict.passed ? "" : "; ", verdict.worst);
}

static attune_status timed_run(const attune_plan *plan, attune_verifier *verifier, double *seconds) {
  attune_timer *timer;
  attune_status status = attune_timer_create(&timer, machine);
  if (status != ATTUNE_OK) return status;
  status = attune_timer_start(timer);
  if (status == ATTUNE_OK) status = case_run(verifier, plan, NULL);
  if (status == ATTUNE_OK) status = attune_timer_stop(timer);
  if (status == ATTUNE_OK) status = attune_timer_seconds(timer, seconds);
  attune_timer_destroy(timer);
  return status;
}

/* ---- graphs ---- */

static CUresult capture(CUgraphExec *exec, CUstream stream, const attune_plan *plan, attune_verifier *verifier) {
  CUgraph graph;
  CUresult result = cuda.begin_capture(stream, CAPTURE_MODE_GLOBAL);
  if (result != CUDA_SUCCESS) return result;
  attune_status status = case_run(verifier, plan, stream);
  result = cuda.end_capture(stream, &graph);
  if (status != ATTUNE_OK || result != CUDA_SUCCESS) return result ? result : -1;
  result = cuda.instantiate(exec, graph, 0);
  cuda.graph_destroy(graph);
  return result;
}

/* Captured before it ever ran; capture runs nothing, and each replay writes everything. */
static void test_graph(const char *name, const char *config) {
  attune_plan *plan;
  attune_verifier *verifier;
  CUstream stream;
  CUgraphExec exec;
  if (!prepare(name, &plan, &verifier, "forward.bf16.d128.b2.h8.kv8.q1000.k1000.causal.lse", config)) return;
  CUresult result = cuda.stream_create(&stream, NON_BLOCKING);
  attune_backend_synchronize(machine);
  if (result == CUDA_SUCCESS) result = capture(&exec, stream, plan, verifier);
  for (int replay = 0; replay < 3 && result == CUDA_SUCCESS; replay++) {
    attune_status status = attune_verifier_prepare(verifier, attune_plan_workspace(plan));
    if (status == ATTUNE_OK) status = attune_backend_synchronize(machine);
    result = status == ATTUNE_OK ? cuda.graph_launch(exec, stream) : -1;
    if (result == CUDA_SUCCESS) result = cuda.stream_synchronize(stream);
    if (result == CUDA_SUCCESS) compare(name, plan, verifier, 0);
  }
  if (result == CUDA_SUCCESS)
    cuda.graph_exec_destroy(exec);
  else
    report(name, false, "CUDA error %d, %s", result, attune_message());
  cuda.stream_destroy(stream);
  finish(plan, verifier);
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
    r->status = attune_run(r->plan, &r->tensors, r->workspace, attune_plan_workspace(r->plan), r->stream);
  CUcontext current;
  if (driver->context_current(&current) != CUDA_SUCCESS || current) r->status = ATTUNE_DRIVER_FAILED;
  return NULL;
}

static attune_status make_runner(runner *out, const attune_plan *plan, const attune_verifier *verifier, size_t size) {
  const size_t workspace = attune_plan_workspace(plan);
  *out = (runner){.plan = plan, .tensors = *attune_verifier_tensors(verifier)};
  attune_status status = attune_memory_allocate(&out->tensors.o, machine, size);
  if (status == ATTUNE_OK && workspace > 0) status = attune_memory_allocate(&out->workspace, machine, workspace);
  if (status == ATTUNE_OK && cuda.stream_create(&out->stream, NON_BLOCKING) != CUDA_SUCCESS)
    status = ATTUNE_DRIVER_FAILED;
  return status;
}

/* Ends the runner; whether its O is other than the expected one. */
static bool ends_otherwise(runner *r, const uint16_t *expected, uint16_t *other, size_t size) {
  memset(other, 0, size);
  const bool differs =
      attune_memory_read(machine, other, r->tensors.o, size) != ATTUNE_OK || memcmp(other, expected, size) != 0;
  attune_memory_free(machine, r->tensors.o);
  if (r->workspace) attune_memory_free(machine, r->workspace);
  cuda.stream_destroy(r->stream);
  return differs;
}

static void test_threads(const char *name, const char *config) {
  enum { THREADS = 8 };
  const size_t size = (size_t)2 * 700 * 8 * 64 * sizeof(uint16_t); /* of O, contiguous */
  attune_plan *plan;
  attune_verifier *verifier;
  attune_verdict verdict;
  runner runners[THREADS] = {0};
  pthread_t threads[THREADS];
  if (!prepare(name, &plan, &verifier, "forward.fp16.d64.b2.h8.kv8.q700.k700.causal", config)) return;
  uint16_t *expected = malloc(size), *other = malloc(size);
  attune_status status = expected && other ? case_check(verifier, plan, &verdict) : ATTUNE_OUT_OF_MEMORY;
  if (status == ATTUNE_OK) status = attune_verifier_outputs(verifier, expected, NULL);
  int different = 0;
  for (int i = 0; i < THREADS && status == ATTUNE_OK; i++)
    status = make_runner(&runners[i], plan, verifier, size);
  if (status != ATTUNE_OK) {
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
    different += ends_otherwise(&runners[i], expected, other, size);
  }
  report(name, status == ATTUNE_OK && !different && verdict.passed, "50 runs each, %d results differ, %s", different,
         attune_status_name(status));
  free(expected);
  free(other);
  finish(plan, verifier);
}

/* ---- large ---- */

static void test_large(const char *name, const char *class) {
  attune_plan *plan;
  attune_verifier *verifier;
  double seconds = 0;
  if (!prepare(name, &plan, &verifier, class, NULL)) return;
  attune_status status = timed_run(plan, verifier, &seconds);
  if (status == ATTUNE_OK)
    compare(name, plan, verifier, seconds);
  else
    report(name, false, "%s: %s", attune_status_name(status), attune_message());
  finish(plan, verifier);
}

/* ---- memory ---- */

/* Beyond the tensors, LSE among them, a run takes nothing; what the first plan loads is shown apart. */
static void test_memory(void) {
  const char *name = "memory of 65,536 tokens";
  enum { ALLOWED = 2 << 20 };
  attune_plan *plan;
  attune_verifier *verifier;
  size_t total, before, planned, after;
  attune_problem problem;
  if (!prepare(name, &plan, &verifier, "forward.bf16.d128.b1.h16.kv16.q65536.k65536.causal.lse", NULL)) return;
  attune_plan_destroy(plan);
  attune_problem_parse(&problem, "forward.bf16.d128.b1.h16.kv16.q65536.k65536.causal.lse");
  attune_backend_synchronize(machine);
  CUresult result = cuda.memory_info(&before, &total);
  attune_status status = attune_plan_create(&plan, context, &problem);
  if (result == CUDA_SUCCESS) result = cuda.memory_info(&planned, &total);
  if (status == ATTUNE_OK) status = case_run(verifier, plan, NULL);
  if (status == ATTUNE_OK) status = attune_backend_synchronize(machine);
  if (result == CUDA_SUCCESS) result = cuda.memory_info(&after, &total);
  if (status != ATTUNE_OK || result != CUDA_SUCCESS) {
    report(name, false, "CUDA error %d, %s: %s", result, attune_status_name(status), attune_message());
    exit(1);
  }
  long long loaded = (long long)before - (long long)planned, taken = (long long)planned - (long long)after;
  report(name, taken <= ALLOWED, "LSE %zu bytes, workspace %zu, the plan %lld, the run %lld, %d allowed",
         (size_t)65536 * 16 * sizeof(float), attune_plan_workspace(plan), loaded, taken, ALLOWED);
  finish(plan, verifier);
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

/* What attune_run of a kernel takes beyond cuLaunchKernelEx, tensor maps included if it has them. */
static void test_cost(const char *name, const char *config_text) {
  enum { BATCH = 100, BATCHES = 101 };
  static const char class[] = "forward.fp16.d64.b1.h8.kv8.q128.k128.causal";
  attune_plan *plan, *chosen;
  attune_verifier *verifier;
  attune_config config;
  attune_steps steps;
  CUmodule module;
  CUfunction function;
  double run[BATCHES], bare[BATCHES];
  if (!prepare(name, &chosen, &verifier, class, NULL)) return;
  attune_plan_destroy(chosen);
  attune_problem problem;
  attune_problem_parse(&problem, class);
  attune_status status = attune_problem_resolve(&problem, &problem);
  if (status == ATTUNE_OK) status = attune_plan_create_with(&plan, context, &problem, config_text);
  if (status == ATTUNE_OK) status = attune_verifier_prepare(verifier, attune_plan_workspace(plan));
  if (status == ATTUNE_OK)
    status = load_bare(&module, &function, &config, "forward.mma.fp16.d64.causal.m64.n64.w4.s1.lazy.b1");
  if (status == ATTUNE_OK) status = attune_steps_of(&steps, &config, &problem);
  attune_step *step = &steps.steps[0];
  const attune_run_inputs run_inputs = {.tensors = *attune_verifier_tensors(verifier)};
  for (attune_tensor_id id = ATTUNE_TENSOR_Q; id <= ATTUNE_TENSOR_O; id++)
    attune_tensor_bind(&step->arguments, id, attune_tensor_of_run(&run_inputs, id));
  void *parameters[] = {&step->arguments};
  const CUlaunchConfig launch = {.grid_x = (unsigned)step->launch.grid,
                                 .grid_y = 1,
                                 .grid_z = 1,
                                 .block_x = (unsigned)step->launch.threads,
                                 .block_y = 1,
                                 .block_z = 1,
                                 .shared_bytes = (unsigned)step->launch.shared_bytes};
  CUresult result = CUDA_SUCCESS;
  for (int i = 0; i < BATCHES && status == ATTUNE_OK && result == CUDA_SUCCESS; i++) {
    status = attune_backend_synchronize(machine);
    double start = now();
    for (int j = 0; j < BATCH && status == ATTUNE_OK; j++)
      status = case_run(verifier, plan, NULL);
    run[i] = (now() - start) / BATCH;
    attune_backend_synchronize(machine);
    start = now();
    for (int j = 0; j < BATCH && result == CUDA_SUCCESS; j++)
      result = driver->launch(&launch, function, parameters, NULL);
    bare[i] = (now() - start) / BATCH;
  }
  if (status != ATTUNE_OK || result != CUDA_SUCCESS) {
    report(name, false, "CUDA error %d, %s: %s", result, attune_status_name(status), attune_message());
    exit(1);
  }
  qsort(run, BATCHES, sizeof *run, compare_doubles);
  qsort(bare, BATCHES, sizeof *bare, compare_doubles);
  double ours = run[BATCHES / 2] * 1e6, theirs = bare[BATCHES / 2] * 1e6;
  report(name, ours - theirs <= 2, "attune_run %.2f us, cuLaunchKernelEx %.2f us, beyond it %.2f us, 2 allowed", ours,
         theirs, ours - theirs);
  attune_backend_synchronize(machine);
  driver->module_unload(module);
  finish(plan, verifier);
}

int main(void) {
  if (!case_open(&context, "cuda:0", ":memory:")) return CASE_SKIPPED;
  machine = attune_context_machine(context);
  if (attune_driver_get(&driver) != ATTUNE_OK) return 1;
  load_cuda();
  test_graph("CUDA graph", NULL);
  test_threads("8 threads share a plan", NULL);
  if (attune_backend_device(machine)->arch == 90) { /* blocks that count in a workspace */
    test_graph(
        "CUDA graph with a counter",
        "forward.wgmma.bf16.d128.causal.lse.m64.n64.w8.s2.lazy.q_prefetch.intra_wg_overlap.persistent_dynamic.lpt.b1");
    test_graph("CUDA graph with splits",
               "forward.wgmma.bf16.d128.causal.lse.m64.n64.w8.s2.lazy.intra_wg_overlap.split3.b1");
    test_threads(
        "8 threads, 8 counters",
        "forward.wgmma.fp16.d64.causal.m64.n64.w8.s2.lazy.q_prefetch.intra_wg_overlap.persistent_dynamic.lpt.b1");
  }
  test_cost("CPU of a run", "forward.mma.fp16.d64.causal.m64.n64.w4.s1.lazy.b1");
  test_cost("CPU of a run, tensor maps", "forward.wgmma.fp16.d64.causal.m64.n64.w8.s2.lazy.b1");
  test_memory();
  test_large("65,536 tokens", "forward.bf16.d128.b1.h16.kv16.q65536.k65536.causal.lse");
  test_large("65,536 tokens, fp16, no mask", "forward.fp16.d64.b1.h4.kv4.q65536.k65536.lse");
  test_large("K and V beyond 2^31", "forward.bf16.d128.b1.h16.kv16.q200.k1100000.lse");
  test_large("Q and O beyond 2^31", "forward.bf16.d128.b1.h16.kv16.q1100000.k200.lse");
  test_large("K beyond 2^31, bottom right", "forward.fp16.d64.b2.h32.kv32.q100.k600000.causal-bottom-right");
  attune_context_destroy(context);
  printf("%d cases, %d failed\n", cases, failed);
  return failed != 0;
}
