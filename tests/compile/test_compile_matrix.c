/* Every architecture that NVRTC 13.0 knows from sm_80 up, times a sample of configs that covers every value of every
 * field, compiled for real, on two threads, within budgets: registers, shared memory, spills of what is chosen by
 * default, warnings. Needs NVRTC and no GPU; prints a line an architecture. Exit 77: no NVRTC. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/backend.h"
#include "runtime/runtime.h"
#include "tests/unit/walk_kernel.h"

enum { REGISTERS = 255, SPILL_BYTES = 256, MAX_JOBS = 512, MAX_VALUES = 512, THREADS = 2 };
static const char *const archs[] = {"sm_80",  "sm_86",  "sm_87",  "sm_89", "sm_90",
                                    "sm_100", "sm_103", "sm_120", "sm_121"};
enum { ARCHS = sizeof archs / sizeof *archs };

/* Where family mma alone runs, the source is the same for all: these compile every class, the others a third each. */
static bool compiles_all(const char *arch) {
  return !strcmp(arch, "sm_80") || !strcmp(arch, "sm_90");
}

/* These compile every class of the backward pass, and what is chosen for it; the others one. */
static bool judges_gradients(const char *arch) {
  return !strcmp(arch, "sm_80") || !strcmp(arch, "sm_90");
}

static const char *const classes[] = {
    "forward.bf16.d128.b4.h16.kv16.q4096.k4096.causal",
    "forward.fp16.d64.b8.h32.kv8.q2048.k2048.lse",
    "forward.bf16.d64.b1.h12.kv12.q1000.k1000.w256,16.softcap",
    "forward.fp16.d40.v72.b2.h8.kv1.q77.k4096.causal-bottom-right.negated.lse",
    "forward.bf16.d256.b8.h8.kv8.q2048.k2048",
    "forward.fp16.d8.b1.h1.kv1.q300.k500.causal.softcap",
    "forward.bf16.d192.v128.b2.h16.kv16.q4096.k4096.causal.lse",
    "forward.fp16.d96.b1.h16.kv16.q8192.k8192.causal.w1024,0.negated",
    "forward.bf16.d128.b1.h16.kv16.q4096.k4096.causal.block_mask128.in8",
};
enum { CLASSES = sizeof classes / sizeof *classes };

/* Of the backward pass, which compiles several kernels a config: fewer of them on each architecture. */
static const char *const backward_classes[] = {
    "backward.bf16.d128.b4.h16.kv16.q4096.k4096.causal",
    "backward.fp16.d64.b8.h32.kv8.q2048.k2048",
    "backward.bf16.d64.b1.h12.kv12.q1000.k1000.w256,16.softcap",
    "backward.bf16.d256.b8.h8.kv8.q2048.k2048",
    "backward.bf16.d192.v128.b2.h16.kv16.q4096.k4096.causal",
    "backward.fp16.d40.v72.b2.h8.kv1.q77.k4096.causal-bottom-right.negated",
};
enum { BACKWARD_CLASSES = sizeof backward_classes / sizeof *backward_classes };

typedef struct {
  attune_config config;
  attune_problem problem;
  const char *arch;
  attune_device device;
  attune_launch launch;
  bool by_default; /* what a plan would take: the model lets it spill a few words where the larger tile is worth it */
  attune_kernel *kernel;
  char fault[2048];
} job;

static job jobs[MAX_JOBS];
static int job_count, next_job;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* ---- the sample ---- */

/* Values of fields that the sample has already. */
typedef struct {
  int32_t value;
  int field;
} seen_value;
static seen_value seen[MAX_VALUES];
static int seen_count;

static bool is_seen(int field, int32_t value) {
  for (int i = 0; i < seen_count; i++)
    if (seen[i].field == field && seen[i].value == value) return true;
  return false;
}

/* What an architecture compiles besides; the turn decides which. */
typedef struct {
  const char *class, *mask, *score;
} expressed;
static const expressed expressions[] = {
    {"forward.bf16.d128.b4.h16.kv16.q4096.k4096.causal", "doc[q] == doc[k]", "score - slope[head] * abs(q - k)"},
    {"forward.fp16.d64.b4.h16.kv4.q1000.k1000.lse",
     "abs(q / 128 - k / 128) <= 1 || ((q / 128 ^ k / 128) & ((q / 128 ^ k / 128) - 1)) == 0", ""},
    {"forward.bf16.d128.b4.h16.kv16.q4096.k4096", "", "30 * tanh(score / 30) + bias"},
    {"backward.bf16.d64.b4.h16.kv16.q4096.k4096.causal", "doc[q] == doc[k]", "score - slope[head] * abs(q - k) + bias"},
};
enum { EXPRESSIONS = sizeof expressions / sizeof *expressions };

/* Fields by their place in the config, which is the same in all families; own fields are told apart by the family. */
static int number_of(const attune_config *config, const attune_config_field *field) {
  return config->family * (int)sizeof(attune_config) + (int)field->offset;
}

static int count_new(const attune_config *config) {
  int count = 0;
  for (int i = 0; i < attune_config_field_count(config->family); i++) {
    const attune_config_field *field = attune_config_field_at(config->family, i);
    count += !is_seen(number_of(config, field), attune_config_get(config, field));
  }
  return count;
}

static void see(const attune_config *config) {
  for (int i = 0; i < attune_config_field_count(config->family); i++) {
    const attune_config_field *field = attune_config_field_at(config->family, i);
    const seen_value one = {.field = number_of(config, field), .value = attune_config_get(config, field)};
    if (!is_seen(one.field, one.value) && seen_count < MAX_VALUES) seen[seen_count++] = one;
  }
}

typedef struct {
  const attune_problem *problem;
  attune_config best;
  int most, turn, legal;
} cover;

/* The config with the most values that are new; among equals one that changes with the turn. */
static bool consider(void *user, const attune_config *config, bool legal, const char *reason) {
  cover *c = user;
  attune_launch launch;
  (void)reason;
  if (!legal || attune_launch_of(&launch, config, c->problem) != ATTUNE_OK) return true;
  int count = count_new(config);
  c->legal++;
  if (count > c->most || (count == c->most && c->legal % 13 == c->turn)) {
    c->most = count;
    c->best = *config;
  }
  return true;
}

static bool is_job(const attune_config *config, const char *arch) {
  for (int i = 0; i < job_count; i++)
    if (jobs[i].arch == arch && attune_config_compare(&jobs[i].config, config) == 0) return true;
  return false;
}

static bool add_kernel(const attune_config *kernel, const char *arch, const attune_device *device,
                       const attune_problem *problem, bool by_default) {
  if (is_job(kernel, arch)) return true;
  if (job_count == MAX_JOBS) return false;
  job *j = &jobs[job_count++];
  *j = (job){.config = *kernel, .problem = *problem, .arch = arch, .device = *device, .by_default = by_default};
  return attune_launch_of(&j->launch, kernel, problem) == ATTUNE_OK;
}

/* All kernels of a config, unless the architecture has them already. */
static bool add(const attune_config *config, const char *arch, const attune_device *device,
                const attune_problem *problem, bool by_default) {
  attune_config kernels[ATTUNE_STEPS_MAX];
  const int count = attune_config_kernels(kernels, config);
  see(config);
  for (int i = 0; i < count; i++)
    if (!add_kernel(&kernels[i], arch, device, problem, by_default)) return false;
  return true;
}

/* One config of each family of the problem's operation but the reference. */
static bool add_families(const attune_problem *problem, const char *arch, const attune_device *device, int turn) {
  const attune_kernel_operation operation = attune_problem_operation(problem);
  const int32_t mma = attune_family_named(operation, "mma");
  for (int32_t family = 0; family <= ATTUNE_FAMILY_LAST; family++) {
    cover c = {.problem = problem, .most = -1, .turn = turn % 13};
    if (attune_config_operation(&(attune_config){.family = family}) != operation) continue;
    if (attune_family_is_reference(family)) continue;
    if (attune_space(problem, device, family, consider, &c) != ATTUNE_OK) return false;
    if (c.most < 0 && family == mma) return false;
    const attune_config met = c.best;
    if (c.most >= 0) attune_space_near(&met, device, consider, &c); /* the refinements' values */
    if (c.most >= 0 && !add(&c.best, arch, device, problem, false)) return false;
  }
  return true;
}

static bool add_class(const char *text, const char *arch, const attune_device *device, int turn) {
  attune_problem parsed, problem;
  attune_config config;
  if (attune_problem_parse(&parsed, text) != ATTUNE_OK || attune_problem_resolve(&problem, &parsed) != ATTUNE_OK)
    return false;
  if (!add_families(&problem, arch, device, turn)) return false;
  const bool backward = problem.operation == ATTUNE_BACKWARD;
  const bool defaults = backward ? judges_gradients(arch) : !strcmp(arch, "sm_90") || turn % 4 == 0;
  if (defaults) {
    if (attune_config_default(&config, &problem, device) != ATTUNE_OK) return false;
    if (!add(&config, arch, device, &problem, true)) return false;
  }
  if (turn % 3) return true;
  return attune_config_reference(&config, &problem) == ATTUNE_OK && add(&config, arch, device, &problem, false);
}

/* Backward with all the gradients that there are. */
static bool read_expressed(attune_problem *problem, const expressed *e) {
  static const attune_param params[] = {{"slope", ATTUNE_PARAM_FLOAT_ARRAY, 0}, {"doc", ATTUNE_PARAM_INT_ARRAY, 0}};
  attune_problem parsed;
  if (attune_problem_parse(&parsed, e->class) != ATTUNE_OK) return false;
  parsed.mask_expr = e->mask;
  parsed.score_expr = e->score;
  parsed.params = params;
  parsed.param_count = sizeof params / sizeof *params;
  parsed.want_bias = strstr(e->score, "bias") != NULL;
  parsed.want_sinks = parsed.want_bias;
  if (parsed.operation == ATTUNE_BACKWARD)
    parsed.want_dbias = parsed.want_dsinks = parsed.want_dparams = parsed.accumulate = 1;
  return attune_problem_resolve(problem, &parsed) == ATTUNE_OK;
}

static bool add_expressed(const expressed *e, const char *arch, const attune_device *device, int turn) {
  attune_problem problem;
  return read_expressed(&problem, e) && add_families(&problem, arch, device, turn);
}

/* The kernels for the gradients of bias and arrays, which have one schedule for every head_dim. */
static bool add_score_gradients(const char *arch, const attune_device *device) {
  static const expressed of[] = {
      {"backward.bf16.d64.b4.h16.kv16.q4096.k4096", "", "score - slope[head] * abs(q - k) + bias"},
      {"backward.fp16.d128.b4.h16.kv4.q4096.k4096.causal", "", "score + slope[q % 64] * bias"},
      {"backward.bf16.d256.b4.h16.kv16.q4096.k4096", "doc[q] == doc[k]", "score + slope[k] + bias"},
  };
  for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
    attune_problem problem;
    attune_config config, dbias;
    if (!read_expressed(&problem, &of[i])) return false;
    if (attune_config_default(&config, &problem, device) != ATTUNE_OK) return false;
    attune_config_dbias(&dbias, &config);
    if (dbias.family != ATTUNE_FAMILY_DBIAS_MMA) return false;
    if (!add_kernel(&dbias, arch, device, &problem, true)) return false;
  }
  return true;
}

/* What builds and checks block masks. */
static bool add_block_mask(const char *arch, const attune_device *device) {
  attune_problem problem, mask;
  attune_config config;
  attune_problem_init(&problem);
  problem.seqlen_q = problem.seqlen_k = 4096;
  problem.block_size = 64;
  problem.mask_expr = expressions[1].mask;
  return attune_config_block_mask(&config, &mask, &problem) == ATTUNE_OK && add(&config, arch, device, &mask, false);
}

static bool make_jobs(void) {
  for (int a = 0; a < ARCHS; a++) {
    attune_device device;
    if (attune_device_of_arch(&device, archs[a]) != ATTUNE_OK) return false;
    const bool all = compiles_all(archs[a]);
    for (int c = all ? 0 : (ARCHS - a) % 3; c < CLASSES; c += all ? 1 : 3)
      if (!add_class(classes[c], archs[a], &device, a + c)) return false;
    const bool judges = judges_gradients(archs[a]);
    for (int c = judges ? 0 : a % BACKWARD_CLASSES; c < BACKWARD_CLASSES; c += judges ? 1 : BACKWARD_CLASSES)
      if (!add_class(backward_classes[c], archs[a], &device, a + c)) return false;
    if (!add_expressed(&expressions[a % EXPRESSIONS], archs[a], &device, a)) return false;
    if (!add_block_mask(archs[a], &device)) return false;
    if ((judges || !strcmp(archs[a], "sm_120")) && !add_score_gradients(archs[a], &device)) return false;
  }
  return true;
}

/* ---- compile and judge ---- */

static void judge(job *j) {
  const attune_kernel *kernel = j->kernel;
  int shared = j->launch.shared_bytes + (kernel->shared_static > 0 ? kernel->shared_static : 0);
  if (kernel->registers < 1 || kernel->registers > REGISTERS)
    snprintf(j->fault, sizeof j->fault, "%d registers, %d allowed", kernel->registers, REGISTERS);
  else if (shared > j->device.shared_per_block)
    snprintf(j->fault, sizeof j->fault, "%d bytes of shared memory, %d allowed", shared, j->device.shared_per_block);
  else if (j->by_default && kernel->spill_bytes > SPILL_BYTES)
    snprintf(j->fault, sizeof j->fault, "a default config spills %d bytes a thread, %d allowed (%d registers)",
             kernel->spill_bytes, SPILL_BYTES, kernel->registers);
  /* Of two configs that differ in nothing but size one may be serialised: the tuner passes over it, no default is it.
   */
  else if (strstr(kernel->log, "warning") || (j->by_default && strstr(kernel->log, "Potential Performance Loss")))
    snprintf(j->fault, sizeof j->fault, "warnings:\n%.1500s", kernel->log);
}

static void *work(void *unused) {
  for (;;) {
    pthread_mutex_lock(&mutex);
    int index = next_job++;
    pthread_mutex_unlock(&mutex);
    if (index >= job_count) return unused;
    job *j = &jobs[index];
    if (attune_kernel_compile(&j->kernel, &j->config, &j->problem, j->arch) == ATTUNE_OK)
      judge(j);
    else
      snprintf(j->fault, sizeof j->fault, "%s", attune_message());
  }
}

/* A line an architecture, and one a fault. Returns the number of faults. */
static int report(void) {
  int faults = 0, start = 0;
  for (int i = 0; i <= job_count; i++) {
    if (i < job_count && jobs[i].arch == jobs[start].arch) continue;
    int registers = 0, spilling = 0, serialised = 0, failed = 0;
    double longest = 0, sum = 0;
    for (job *j = jobs + start; j < jobs + i; j++) {
      char text[ATTUNE_TEXT_MAX] = "";
      (void)attune_config_print(text, &j->config);
      failed += *j->fault != '\0';
      if (*j->fault) printf("FAIL %s %s: %s\n", j->arch, text, j->fault);
      if (!j->kernel) continue;
      sum += j->kernel->compile_seconds;
      longest = j->kernel->compile_seconds > longest ? j->kernel->compile_seconds : longest;
      registers = j->kernel->registers > registers ? j->kernel->registers : registers;
      spilling += j->kernel->spill_bytes > 0;
      serialised += strstr(j->kernel->log, "Potential Performance Loss") != NULL;
    }
    printf("%-7s %3d kernels, %d failed; at most %d registers, %d spilling, %d serialised; %.2f s in the mean, %.2f s "
           "at most\n",
           jobs[start].arch, i - start, failed, registers, spilling, serialised, sum / (i - start), longest);
    faults += failed;
    start = i;
  }
  return faults;
}

/* ---- what no config has yet: walks over the queries of a tile of keys ---- */

static int compile_walk(const walk_variant *variant, const char *arch) {
  attune_compiled compiled = {0};
  char *source = walk_source(variant, ATTUNE_TARGET_CUDA);
  const attune_status status =
      source != NULL ? attune_compile_nvrtc(&compiled, source, "walk", arch) : ATTUNE_COMPILE_FAILED;
  const bool failed = status != ATTUNE_OK || strstr(compiled.log, "warning") != NULL || compiled.spill_bytes > 0;
  if (failed)
    printf("FAIL %s walk, bound %d, expression %d, block_size %d, pack %d: %s\n", arch, (int)variant->bound,
           variant->expression, variant->block_size, variant->pack,
           status != ATTUNE_OK ? attune_message() : compiled.log);
  free(source);
  free(compiled.binary);
  free(compiled.log);
  return failed;
}

static int compile_walks(void) {
  static const char *const of[] = {"sm_80", "sm_90", "sm_100", "sm_120"};
  static const walk_variant variants[] = {
      {WALK_RIGHT, true, 0, 1}, {WALK_RIGHT, false, 64, 1}, {WALK_WINDOW, true, 64, 1}, {WALK_UNBOUNDED, false, 64, 2}};
  enum { OF = sizeof of / sizeof *of, VARIANTS = sizeof variants / sizeof *variants };
  int faults = 0;
  for (int i = 0; i < OF * VARIANTS; i++)
    faults += compile_walk(&variants[i % VARIANTS], of[i / VARIANTS]);
  printf("%d walks, %d failed\n", OF * VARIANTS, faults);
  return faults;
}

static double clock_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(void) {
  char version[32];
  if (attune_nvrtc_version(version) != ATTUNE_OK) {
    printf("skipped: %s\n", attune_message());
    return 77;
  }
  if (!make_jobs()) {
    printf("FAIL the sample cannot be made: %s\n", attune_message());
    return 1;
  }
  double start = clock_seconds();
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, work, NULL) != 0) return 1;
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  double wall = clock_seconds() - start;
  const int faults = compile_walks() + report();
  double sum = 0;
  for (int i = 0; i < job_count; i++) {
    if (jobs[i].kernel) sum += jobs[i].kernel->compile_seconds;
    free(jobs[i].kernel);
  }
  printf("nvrtc %s: %d kernels in %.1f s on %d threads, %.1f s of compiling; %d values of fields; %d faults\n", version,
         job_count, wall, THREADS, sum, seen_count, faults);
  return faults != 0;
}
