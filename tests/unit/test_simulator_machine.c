/* The simulator as a machine: its compiler, its kernels, what it refuses, and launches from several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/backend.h"
#include "tests/unit/enqueue_case.h"

enum { SEQLEN = 70, HEAD_DIM = 32, ELEMENTS = SEQLEN * 2 * HEAD_DIM };

static attune_config config;
static attune_problem problem;
static attune_kernel *kernel;

static int set_up(void **state) {
  (void)state;
  attune_problem p;
  attune_problem_init(&p);
  p.dtype = ATTUNE_BF16;
  p.head_dim = p.head_dim_v = HEAD_DIM;
  p.batch = 1;
  p.heads_q = p.heads_kv = 2;
  p.seqlen_q = p.seqlen_k = SEQLEN;
  assert_int_equal(attune_problem_resolve(&problem, &p), ATTUNE_OK);
  assert_int_equal(attune_config_parse(&config, "forward.mma.bf16.d32.m64.n32.w4.s2.b1"), ATTUNE_OK);
  if (attune_kernel_compile(&kernel, &config, NULL, "host") != ATTUNE_OK) fail_msg("%s", attune_message());
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  free(kernel);
  return 0;
}

static attune_backend *open_machine(uint64_t seed) {
  attune_backend *machine;
  if (attune_backend_open(&machine, "host", seed) != ATTUNE_OK) fail_msg("%s", attune_message());
  return machine;
}

/* One launch with its own tensors; ones in V give ones in O. */
typedef struct {
  attune_loaded *loaded;
  attune_status status;
  int wrong;
} job;

static void *launch(void *argument) {
  job *j = argument;
  uint16_t *data[4];
  for (int i = 0; i < 4; i++) {
    data[i] = aligned_alloc(16, ELEMENTS * sizeof *data[i]);
    for (int e = 0; data[i] && e < ELEMENTS; e++)
      data[i][e] = 0x3f80; /* 1 in bf16 */
  }
  memset(data[3], 0xff, ELEMENTS * sizeof *data[3]);
  attune_tensors tensors;
  attune_tensors_init(&tensors);
  tensors.q = data[0], tensors.k = data[1], tensors.v = data[2], tensors.o = data[3];
  j->status = enqueue_loaded(j->loaded, &config, &problem, &tensors);
  for (int e = 0; e < ELEMENTS; e++)
    j->wrong += data[3][e] != 0x3f80;
  for (int i = 0; i < 4; i++)
    free(data[i]);
  return NULL;
}

static void one_kernel_serves_several_threads(void **state) {
  (void)state;
  attune_backend *machine = open_machine(3);
  attune_loaded *loaded;
  assert_int_equal(attune_load(&loaded, machine, kernel, &config), ATTUNE_OK);
  for (int round = 0; round < 3; round++) {
    job jobs[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
      jobs[i] = (job){.loaded = loaded};
      assert_int_equal(pthread_create(&threads[i], NULL, launch, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
      pthread_join(threads[i], NULL);
      assert_int_equal(jobs[i].status, ATTUNE_OK);
      assert_int_equal(jobs[i].wrong, 0);
    }
  }
  attune_unload(loaded);
  attune_backend_close(machine);
}

/* A launch with too little shared memory faults; the next one is as if nothing had been. */
static void a_fault_leaves_nothing_behind(void **state) {
  (void)state;
  attune_backend *machine = open_machine(0);
  attune_loaded *loaded;
  assert_int_equal(attune_load(&loaded, machine, kernel, &config), ATTUNE_OK);
  uint16_t *data = aligned_alloc(16, ELEMENTS * sizeof *data);
  uint16_t *o = aligned_alloc(16, ELEMENTS * sizeof *o);
  assert_true(data && o);
  memset(data, 0, ELEMENTS * sizeof *data);
  attune_tensors tensors;
  attune_tensors_init(&tensors);
  tensors.q = tensors.k = tensors.v = data, tensors.o = o;
  attune_program program = {.backend = machine, .problem = problem, .loaded = {loaded}};
  const attune_run_inputs run = {.tensors = tensors};
  assert_int_equal(attune_steps_of(&program.steps, &config, &problem), ATTUNE_OK);
  program.steps.steps[0].launch.shared_bytes /= 2;
  assert_int_equal(attune_enqueue(&program, &run, NULL, 0, NULL), ATTUNE_KERNEL_FAULT);
  assert_non_null(strstr(attune_message(), "out of bounds"));
  assert_non_null(strstr(attune_message(), "attune_forward_mma_bf16_d32_m64_n32_w4_s2_b1: line "));
  program.steps.steps[0].launch.threads = 100;
  assert_int_equal(attune_enqueue(&program, &run, NULL, 0, NULL), ATTUNE_KERNEL_FAULT);
  assert_non_null(strstr(attune_message(), "whole warps"));
  job good = {.loaded = loaded};
  launch(&good);
  assert_int_equal(good.status, ATTUNE_OK);
  assert_int_equal(good.wrong, 0);
  free(data);
  free(o);
  attune_unload(loaded);
  attune_backend_close(machine);
}

static void a_damaged_binary_is_refused(void **state) {
  (void)state;
  attune_backend *machine = open_machine(0);
  attune_loaded *loaded;
  attune_kernel damaged = *kernel;
  damaged.binary_size = 100;
  assert_int_equal(attune_load(&loaded, machine, &damaged, &config), ATTUNE_DRIVER_FAILED);
  assert_null(loaded);
  attune_config other = config;
  other.tile_n = 64; /* its symbol is not in this binary */
  assert_int_equal(attune_load(&loaded, machine, kernel, &other), ATTUNE_DRIVER_FAILED);
  assert_non_null(strstr(attune_message(), "n64"));
  attune_backend_close(machine);
}

static void memory_and_time(void **state) {
  (void)state;
  attune_backend *machine = open_machine(0);
  assert_string_equal(attune_backend_name(machine), "host");
  assert_string_equal(attune_backend_arch(machine), "host");
  assert_true(attune_backend_device(machine)->sm_count >= 1);
  void *memory;
  char back[100];
  assert_int_equal(attune_memory_allocate(&memory, machine, 100), ATTUNE_OK);
  assert_int_equal((uintptr_t)memory % 256, 0);
  assert_int_equal(attune_memory_fill(machine, memory, 7, 100), ATTUNE_OK);
  assert_int_equal(attune_memory_write(machine, memory, "abc", 3), ATTUNE_OK);
  assert_int_equal(attune_memory_read(machine, back, memory, 100), ATTUNE_OK);
  assert_memory_equal(back, "abc\7\7", 5);
  attune_memory_free(machine, memory);
  assert_int_equal(attune_memory_allocate(&memory, machine, SIZE_MAX - 100), ATTUNE_OUT_OF_MEMORY);
  attune_timer *timer;
  double seconds = -1;
  assert_int_equal(attune_timer_create(&timer, machine), ATTUNE_OK);
  assert_int_equal(attune_timer_start(timer), ATTUNE_OK);
  assert_int_equal(attune_timer_stop(timer), ATTUNE_OK);
  assert_int_equal(attune_timer_seconds(timer, &seconds), ATTUNE_OK);
  assert_true(seconds >= 0 && seconds < 10);
  attune_timer_destroy(timer);
  attune_backend_close(machine);
}

static void the_seed_can_come_from_outside(void **state) {
  (void)state;
  attune_backend *machine;
  setenv("ATTUNE_HOST_SEED", "12x", 1);
  assert_int_equal(attune_backend_open(&machine, "host", 0), ATTUNE_BAD_ARGUMENT);
  assert_non_null(strstr(attune_message(), "12x"));
  setenv("ATTUNE_HOST_SEED", "12", 1);
  assert_int_equal(attune_backend_open(&machine, "host", 0), ATTUNE_OK);
  attune_backend_close(machine);
  unsetenv("ATTUNE_HOST_SEED");
}

static void a_missing_compiler_is_named(void **state) {
  (void)state;
  char compiler[64], options[256], *path = strdup(getenv("PATH"));
  setenv("ATTUNE_HOST_CXX", "/nowhere/c++", 1);
  assert_int_equal(attune_compiler_host(compiler, options), ATTUNE_NO_COMPILER);
  assert_non_null(strstr(attune_message(), "/nowhere/c++"));
  unsetenv("ATTUNE_HOST_CXX");
  setenv("PATH", "/nowhere", 1);
  assert_int_equal(attune_compiler_host(compiler, options), ATTUNE_NO_COMPILER);
  assert_non_null(strstr(attune_message(), "apt install g++"));
  setenv("PATH", path, 1);
  assert_int_equal(attune_compiler_host(compiler, options), ATTUNE_OK);
  assert_non_null(strstr(options, "-std=c++17"));
  free(path);
}

static void a_log_comes_back_and_no_file_stays(void **state) {
  (void)state;
  char folder[] = "/tmp/attune-test-XXXXXX";
  assert_non_null(mkdtemp(folder));
  setenv("TMPDIR", folder, 1);
  attune_compiled compiled;
  assert_int_equal(attune_compile_host(&compiled, "int x = unknown_name;\n", "nonsense"), ATTUNE_COMPILE_FAILED);
  assert_non_null(strstr(attune_message(), "unknown_name"));
  assert_non_null(strstr(attune_message(), "nonsense"));
  assert_int_equal(attune_compile_host(&compiled, "int x;\n", "fine"), ATTUNE_OK);
  assert_true(compiled.size > 100);
  free(compiled.binary);
  free(compiled.log);
  assert_int_equal(rmdir(folder), 0); /* empty again */
  assert_int_equal(attune_compile_host(&compiled, "int x;\n", "fine"), ATTUNE_COMPILE_FAILED);
  assert_non_null(strstr(attune_message(), "TMPDIR"));
  unsetenv("TMPDIR");
}

/* Whatever ends the process, and even where nothing can be caught. */
static void a_killed_process_leaves_no_folder(void **state) {
  (void)state;
  enum { TRIES = 6000 };
  const struct timespec step = {.tv_nsec = 10000000};
  char folder[] = "/tmp/attune-test-XXXXXX", pattern[64];
  glob_t found;
  assert_non_null(mkdtemp(folder));
  snprintf(pattern, sizeof pattern, "%s/attune-*", folder);
  const pid_t child = fork();
  if (child == 0) {
    attune_compiled compiled;
    setenv("TMPDIR", folder, 1);
    for (;;)
      (void)attune_compile_host(&compiled, "int x;\n", "fine");
  }
  while (glob(pattern, 0, NULL, &found) != 0)
    nanosleep(&step, NULL);
  globfree(&found);
  assert_int_equal(kill(child, SIGKILL), 0);
  assert_int_equal(waitpid(child, NULL, 0), child);
  int tries = 0;
  while (rmdir(folder) != 0 && tries++ < TRIES)
    nanosleep(&step, NULL);
  assert_true(tries < TRIES);
}

static void a_folder_with_a_dash_is_no_option(void **state) {
  (void)state;
  char folder[] = "/tmp/attune-test-XXXXXX";
  assert_non_null(mkdtemp(folder));
  const int before = open(".", O_RDONLY | O_DIRECTORY);
  attune_compiled compiled;
  assert_int_equal(chdir(folder), 0);
  assert_int_equal(mkdir("-E", 0700), 0);
  setenv("TMPDIR", "-E", 1);
  assert_int_equal(attune_compile_host(&compiled, "int x;\n", "fine"), ATTUNE_OK);
  unsetenv("TMPDIR");
  free(compiled.binary);
  free(compiled.log);
  assert_int_equal(rmdir("-E"), 0);
  assert_int_equal(fchdir(before), 0);
  close(before);
  assert_int_equal(rmdir(folder), 0);
}

/* As servers do; the kernel's exit code is then lost, its file is not. */
static void an_application_may_ignore_its_children(void **state) {
  (void)state;
  attune_kernel *again;
  signal(SIGCHLD, SIG_IGN);
  const attune_status status = attune_kernel_compile(&again, &config, NULL, "host");
  signal(SIGCHLD, SIG_DFL);
  if (status != ATTUNE_OK) fail_msg("%s", attune_message());
  assert_true(again->binary_size > 0);
  free(again);
}

/* As kernels divide: at the edges of every quotient, for small, large and random divisors. */
static void divisors_are_exact(void **state) {
  (void)state;
  uint64_t random = 1;
  for (int i = 0; i < 4000; i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const int32_t d = i < 1000   ? i + 1
                      : i < 1031 ? (int32_t)(((uint32_t)1 << (i - 1000)) - (i > 1000))
                      : i < 1062 ? (int32_t)(((uint32_t)1 << (i - 1031)) + (i < 1061))
                                 : (int32_t)(random >> 34) + 1;
    if (d < 1) continue;
    const struct attune_divisor by = attune_divisor_of(d);
    const int64_t last = INT32_MAX, multiples[] = {1, 2, 3, last / d / 2, last / d - 1, last / d};
    for (int m = 0; m < 6; m++)
      for (int64_t n = multiples[m] * d - 1; n <= multiples[m] * d + 1; n++)
        if (n >= 0 && n <= last) assert_int_equal((uint64_t)n * by.multiplier >> by.shift, n / d);
    assert_int_equal((uint64_t)last * by.multiplier >> by.shift, last / d);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(divisors_are_exact),
      cmocka_unit_test(one_kernel_serves_several_threads),
      cmocka_unit_test(a_fault_leaves_nothing_behind),
      cmocka_unit_test(a_damaged_binary_is_refused),
      cmocka_unit_test(memory_and_time),
      cmocka_unit_test(the_seed_can_come_from_outside),
      cmocka_unit_test(a_missing_compiler_is_named),
      cmocka_unit_test(a_log_comes_back_and_no_file_stays),
      cmocka_unit_test(a_killed_process_leaves_no_folder),
      cmocka_unit_test(a_folder_with_a_dash_is_no_option),
      cmocka_unit_test(an_application_may_ignore_its_children),
  };
  return cmocka_run_group_tests_name("simulator_machine", tests, set_up, tear_down);
}
