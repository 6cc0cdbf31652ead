#include "tests/fake/backend.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/backend.h"

attune_fake attune_fake_gpu;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t noise_state;
static double clock_seconds;
static attune_backend fake_machine;

typedef struct {
  attune_loaded base;
  attune_config config;
} fake_loaded;

typedef struct {
  attune_timer base;
  double start, stop;
} fake_timer;

struct attune_verifier {
  attune_backend *machine;
  attune_drawing drawing;
};

/* ---- time: only what kernels, compilers and checks take passes, so that no test depends on this machine's speed ----
 */

static void pass(double seconds) {
  pthread_mutex_lock(&lock);
  clock_seconds += seconds;
  pthread_mutex_unlock(&lock);
}

double attune_now(void) {
  pthread_mutex_lock(&lock);
  const double now = clock_seconds;
  pthread_mutex_unlock(&lock);
  return now;
}

static double noise(void) {
  noise_state = noise_state * 6364136223846793005u + 1442695040888963407u;
  return attune_fake_gpu.noise * (double)(noise_state >> 40) / (double)(1 << 24);
}

static bool answers(bool (*question)(const attune_config *), const attune_config *config) {
  return question && question(config);
}

/* ---- the machine ---- */

static attune_status load(attune_loaded **out, attune_backend *machine, const attune_kernel *kernel,
                          const attune_config *config) {
  (void)kernel;
  fake_loaded *loaded = calloc(1, sizeof *loaded);
  loaded->base.machine = machine;
  loaded->config = *config;
  *out = &loaded->base;
  return ATTUNE_OK;
}

static void unload(attune_loaded *loaded) {
  free(loaded);
}

static attune_status launch(const attune_loaded *loaded, const attune_call *call, attune_stream stream) {
  attune_fake *gpu = &attune_fake_gpu;
  const attune_config *config = &((const fake_loaded *)loaded)->config;
  (void)call, (void)stream;
  gpu->launches++;
  if (gpu->interrupt_at && gpu->launches >= gpu->interrupt_at) gpu->interrupted = 1;
  if (gpu->lost || answers(gpu->fails, config)) {
    gpu->lost = gpu->lost || gpu->fatal;
    return attune_fail(ATTUNE_DRIVER_FAILED, "cuLaunchKernelEx: an illegal memory access was encountered");
  }
  if (gpu->timing && gpu->logged < (int)(sizeof gpu->log / sizeof *gpu->log)) gpu->log[gpu->logged++] = *config;
  pass((gpu->seconds ? gpu->seconds(config) : 1e-3) * (1 + noise()));
  return ATTUNE_OK;
}

static attune_status allocate(void **out, attune_backend *machine, size_t size) {
  (void)machine, (void)size;
  *out = malloc(1);
  return ATTUNE_OK;
}

static void release(attune_backend *machine, void *memory) {
  (void)machine;
  free(memory);
}

static attune_status fill(attune_backend *machine, void *to, int byte, size_t size, attune_stream stream) {
  (void)machine, (void)to, (void)byte, (void)stream;
  attune_fake_gpu.fills++;
  pass((double)size * 1e-12);
  return ATTUNE_OK;
}

static attune_status synchronize(attune_backend *machine) {
  (void)machine;
  return attune_fake_gpu.lost ? attune_fail(ATTUNE_DRIVER_FAILED, "cuCtxSynchronize: illegal memory access")
                              : ATTUNE_OK;
}

static attune_status create_timer(attune_timer **out, attune_backend *machine) {
  fake_timer *timer = calloc(1, sizeof *timer);
  timer->base.machine = machine;
  *out = &timer->base;
  return ATTUNE_OK;
}

static void timer_destroy(attune_timer *timer) {
  free(timer);
}

static attune_status timer_start(attune_timer *timer) {
  ((fake_timer *)timer)->start = attune_now();
  attune_fake_gpu.timing = true;
  return ATTUNE_OK;
}

static attune_status timer_stop(attune_timer *timer) {
  ((fake_timer *)timer)->stop = attune_now();
  attune_fake_gpu.timing = false;
  return ATTUNE_OK;
}

static attune_status timer_seconds(attune_timer *timer, double *seconds) {
  *seconds = ((fake_timer *)timer)->stop - ((fake_timer *)timer)->start;
  return ATTUNE_OK;
}

static void machine_close(attune_backend *machine) {
  (void)machine;
}

static const attune_backend_operations operations = {.load = load,
                                                     .unload = unload,
                                                     .launch = launch,
                                                     .allocate = allocate,
                                                     .free = release,
                                                     .fill = fill,
                                                     .synchronize = synchronize,
                                                     .timer_create = create_timer,
                                                     .timer_destroy = timer_destroy,
                                                     .timer_start = timer_start,
                                                     .timer_stop = timer_stop,
                                                     .timer_seconds = timer_seconds,
                                                     .close = machine_close};

attune_backend *attune_fake_machine(const char *arch) {
  memset(&attune_fake_gpu, 0, sizeof attune_fake_gpu);
  fake_machine = (attune_backend){.operations = &operations};
  noise_state = 1;
  if (attune_device_of_arch(&fake_machine.device, arch) != ATTUNE_OK) abort();
  strcpy(fake_machine.arch, arch);
  strcpy(fake_machine.name, fake_machine.device.arch ? "fake" : "host");
  strcpy(fake_machine.driver, "580.1");
  return &fake_machine;
}

attune_program *attune_fake_program(attune_backend *machine, const attune_config *config) {
  attune_program *program = calloc(1, sizeof *program);
  program->backend = machine;
  program->steps.count = 1;
  program->steps.steps[0].config = *config;
  (void)load(&program->loaded[0], machine, NULL, config);
  return program;
}

/* ---- in place of the verifier and the compilers; the linker takes these before it looks into the archives ---- */

attune_status attune_verifier_create(attune_verifier **out, attune_backend *machine, const attune_problem *problem,
                                     const attune_inputs *inputs, const attune_drawing *drawing) {
  (void)problem, (void)inputs;
  attune_fake_gpu.verifiers++;
  *out = calloc(1, sizeof **out);
  (*out)->machine = machine;
  return drawing ? attune_verifier_draw(*out, drawing) : ATTUNE_OK;
}

attune_status attune_verifier_draw(attune_verifier *verifier, const attune_drawing *drawing) {
  verifier->drawing = *drawing;
  if (attune_fake_gpu.drawn < (int)(sizeof attune_fake_gpu.drawings / sizeof *attune_fake_gpu.drawings))
    attune_fake_gpu.drawings[attune_fake_gpu.drawn++] = *drawing;
  return ATTUNE_OK;
}

void attune_verifier_destroy(attune_verifier *verifier) {
  free(verifier);
}

attune_status attune_verifier_launch(attune_verifier *verifier, const attune_program *program) {
  (void)verifier;
  attune_status status = ATTUNE_OK;
  for (int i = 0; i < program->steps.count && status == ATTUNE_OK; i++)
    status = operations.launch(program->loaded[i], NULL, NULL);
  return status;
}

attune_status attune_verifier_check(attune_verifier *verifier, const attune_program *program, attune_verdict *out) {
  attune_status status = attune_verifier_launch(verifier, program);
  pass(attune_fake_gpu.check_seconds);
  if (status != ATTUNE_OK) return status;
  bool wrong = false;
  for (int i = 0; i < program->steps.count; i++) {
    const attune_config *config = &((const fake_loaded *)program->loaded[i])->config;
    wrong = wrong || answers(attune_fake_gpu.wrong, config) ||
            (verifier->drawing.lengths && answers(attune_fake_gpu.wrong_with_lengths, config));
  }
  *out = (attune_verdict){.passed = !wrong, .error = 1e-3, .error_bound = 2e-3};
  if (!out->passed) strcpy(out->worst, "batch 0, head 0, row 3: 7 instead of 1");
  return ATTUNE_OK;
}

attune_status attune_kernel_compile(attune_kernel **out, const attune_config *config, const attune_problem *problem,
                                    const char *arch) {
  (void)problem;
  attune_kernel *kernel = NULL;
  attune_status status = ATTUNE_OK;
  pass(attune_fake_gpu.compile_seconds);
  pthread_mutex_lock(&lock);
  if (strcmp(arch, "host") == 0 && attune_fake_gpu.no_host_compiler) {
    status = attune_fail(ATTUNE_NO_COMPILER, "no C++ compiler");
  } else if (strcmp(arch, "host") != 0 && attune_fake_gpu.no_nvrtc) {
    status = attune_fail(ATTUNE_NO_NVRTC, "no NVRTC");
  } else if (answers(attune_fake_gpu.uncompilable, config)) {
    status = attune_fail(ATTUNE_COMPILE_FAILED, "ptxas: out of luck");
  } else {
    kernel = calloc(1, sizeof *kernel);
    kernel->compiler = "fake 1.0";
    kernel->config = kernel->options = kernel->source_sha256 = kernel->log = "";
    if (answers(attune_fake_gpu.serialised, config))
      kernel->log = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized\n";
    kernel->arch = fake_machine.arch;
    kernel->registers = 128;
    kernel->spill_bytes = attune_fake_gpu.spills ? attune_fake_gpu.spills(config) : 0;
    attune_fake_gpu.compiled++;
  }
  pthread_mutex_unlock(&lock);
  *out = kernel;
  return status;
}

attune_status attune_kernel_get(attune_kernel **out, bool *hit, attune_store *store, const attune_config *config,
                                const attune_problem *problem, const char *arch, bool frozen) {
  (void)store, (void)frozen;
  if (hit) *hit = false;
  return attune_kernel_compile(out, config, problem, arch);
}

/* The linker's --wrap sends attune_backend_open here: the simulator that verifies models is this one too. */
attune_status __wrap_attune_backend_open(attune_backend **out, const char *name, uint64_t seed);
attune_status __wrap_attune_backend_open(attune_backend **out, const char *name, uint64_t seed) {
  static attune_backend host;
  (void)name, (void)seed;
  host = (attune_backend){.operations = &operations, .arch = "host", .name = "host"};
  *out = &host;
  return attune_device_of_arch(&host.device, "host");
}
