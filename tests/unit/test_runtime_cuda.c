/* CUDA devices without a GPU: opening them, plans, memory and timers. */
#include <sys/wait.h>

#include "tests/unit/cuda_case.h"

/* ---- devices ---- */

static void test_device(void **state) {
  fixture *f = *state;
  attune_backend *machine = attune_context_machine(f->context);
  const attune_device *device = attune_backend_device(machine);
  assert_string_equal(attune_context_device(f->context), "cuda:0 Fake GPU 0 sm_90, 132 SMs");
  assert_int_equal(attune_backend_count(), 2);
  assert_int_equal(device->arch, 90);
  assert_int_equal(device->shared_per_block, 232448);
  assert_int_equal(device->memory_bandwidth / 1000000000, 3352);
  assert_non_null(strstr(attune_backend_driver(machine), "CUDA 13.0"));
}

static void test_bad_devices(void **state) {
  (void)state;
  attune_backend *machine;
  assert_int_equal(attune_backend_open(&machine, "cuda:7", 0), ATTUNE_NO_DEVICE);
  assert_says("cuda:7");
  assert_says("has 2 GPUs");
  assert_int_equal(attune_backend_open(&machine, "cuda:1", 0), ATTUNE_UNSUPPORTED);
  assert_says("sm_75");
  assert_says("sm_80");
}

static void test_default_is_cuda(void **state) {
  (void)state;
  attune_context *context = context_on(NULL, ":memory:");
  assert_non_null(strstr(attune_context_device(context), "cuda:0"));
  attune_context_destroy(context);
}

static void test_current_context_is_used(void **state) {
  (void)state;
  void *popped;
  int retains = record().retains;
  assert_int_equal(push(primary(0)), 0);
  attune_context *context = context_on(NULL, ":memory:");
  assert_int_equal(record().retains, retains);
  attune_context_destroy(context);
  assert_int_equal(depth(), 1);
  assert_int_equal(pop(&popped), 0);
}

static void test_primary_context_is_released(void **state) {
  (void)state;
  reset();
  attune_context_destroy(context_on("cuda:0", ":memory:"));
  assert_int_equal(record().retains, 1);
  assert_int_equal(record().releases, 1);
}

/* What opening a device says where cuInit fails; in a child, since a process initialises once. */
static int open_with_init(const char *device, const char *result, attune_status expected, const char *words) {
  int code = 1;
  pid_t child = fork();
  if (child == 0) {
    attune_backend *machine = NULL;
    setenv("FAKE_CUDA_INIT", result, 1);
    attune_status status = attune_backend_open(&machine, device, 0);
    bool said = status == ATTUNE_OK ? !strcmp(attune_backend_name(machine), words) : !!strstr(attune_message(), words);
    _exit(status != expected || !said);
  }
  return child > 0 && waitpid(child, &code, 0) == child ? code : 1;
}

/* The first test: the driver is not initialised yet. */
static void test_init_failures(void **state) {
  (void)state;
  assert_int_equal(open_with_init("cuda:0", "100", ATTUNE_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"), 0);
  assert_int_equal(open_with_init("cuda:0", "34", ATTUNE_NO_DRIVER, "cuInit failed"), 0);
  assert_int_equal(open_with_init("cuda:0", "999", ATTUNE_DRIVER_FAILED, "nvidia-smi"), 0);
  assert_int_equal(open_with_init(NULL, "100", ATTUNE_NO_DEVICE, "set the device to \"host\""), 0);
  assert_int_equal(open_with_init(NULL, "999", ATTUNE_DRIVER_FAILED, "\"host\""),
                   0); /* a broken GPU is not passed over */
}

/* ---- plans ---- */

static void test_launch(void **state) {
  fixture *f = *state;
  int stream;
  f->problem.mask = ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT;
  f->problem.window_left = 100;
  f->problem.want_lse = 1;
  f->problem.scale = -0.5f;
  attune_plan *plan = plan_of(f);
  attune_config config;
  attune_launch launch;
  attune_problem resolved;
  assert_int_equal(attune_config_parse(&config, attune_plan_config(plan)), ATTUNE_OK);
  assert_int_equal(attune_problem_resolve(&resolved, &f->problem), ATTUNE_OK);
  assert_int_equal(attune_launch_of(&launch, &config, &resolved), ATTUNE_OK);
  int lengths[2] = {0};
  float lse[4];
  f->tensors.lse = lse;
  f->tensors.seqlens_k = lengths;
  assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, &stream), ATTUNE_OK);
  fake_record seen = record();
  assert_int_equal(seen.launches, 1);
  assert_int_equal(seen.last.grid, launch.grid);
  assert_int_equal(seen.last.threads, launch.threads);
  assert_int_equal(seen.last.shared_bytes, launch.shared_bytes);
  assert_ptr_equal(seen.last.stream, &stream);
  assert_ptr_equal(seen.last.context, primary(0));
  assert_int_equal(seen.dynamic_limit, 232448 - 448);
  const attune_arguments *arguments = &seen.last.arguments;
  assert_ptr_equal(arguments->q, memory);
  assert_ptr_equal(arguments->lse, lse);
  assert_ptr_equal(arguments->seqlens_k, lengths);
  assert_null(arguments->seqlens_q);
  assert_int_equal(arguments->group, 4);
  assert_int_equal(arguments->align_end, 1);
  assert_int_equal(arguments->window_left, 100);
  assert_int_equal(arguments->window_right, 0);
  assert_int_equal(arguments->tiles_m, launch.tiles_m);
  assert_true(arguments->q_batch == 300LL * 8 * 64);
  assert_true(arguments->k_seqlen == 2LL * 64);
  assert_true(arguments->log2_scale > 0.7213f && arguments->log2_scale < 0.7214f);
  attune_plan_destroy(plan);
}

static void test_scales(void **state) {
  fixture *f = *state;
  struct {
    float scale, softcap, log2_scale, cap_scale;
  } rows[] = {{0, 0, 1.17549435e-38f, 0},
              {3e38f, 0, 3.40282347e38f, 0},
              {2, 0, 2.88539008f, 0},
              {-0.25f, 50, 72.1347520f, -0.005f},
              {1e30f, 1e-30f, 1.44269504e-30f, 3.40282347e38f}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    f->problem.scale = rows[i].scale;
    f->problem.softcap = rows[i].softcap;
    attune_plan *plan = plan_of(f);
    assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_OK);
    fake_record seen = record();
    assert_true(seen.last.arguments.log2_scale == rows[i].log2_scale);
    assert_true(seen.last.arguments.cap_scale == rows[i].cap_scale);
    assert_int_equal(seen.last.arguments.window_left, ATTUNE_UNBOUNDED);
    assert_int_equal(seen.last.arguments.window_right, ATTUNE_UNBOUNDED);
    attune_plan_destroy(plan);
  }
}

static void test_second_plan_compiles_nothing(void **state) {
  fixture *f = *state;
  attune_plan *first = plan_of(f);
  int before = compilations();
  f->problem.scale = 0.5f; /* another problem for the same kernel */
  attune_plan *second = plan_of(f);
  assert_ptr_not_equal(first, second);
  assert_int_equal(compilations(), before);
  assert_string_equal(attune_plan_config(first), attune_plan_config(second));
  attune_plan_destroy(first);
  attune_plan_destroy(second);
  fake_record seen = record();
  assert_int_equal(seen.modules_loaded, 2);
  assert_int_equal(seen.modules_unloaded, 0); /* the context remembers both */
  assert_int_equal(seen.pushes, seen.pops);
}

static void test_refused_cubin_is_compiled_again(void **state) {
  fixture *f = *state;
  attune_plan_destroy(plan_of(f));
  int before = compilations();
  inject("cuModuleLoadData", 200, 1);
  f->problem.scale = 0.5f; /* another problem for the same kernel */
  attune_plan *plan = plan_of(f);
  assert_int_equal(compilations(), before + 1);
  assert_string_equal(attune_plan_source(plan), "model");
  attune_plan_destroy(plan);
}

/* Where the driver refuses even a fresh cubin, the next source is tried. */
static void test_refused_kernel_gives_way(void **state) {
  fixture *f = *state;
  inject("cuModuleLoadData", 200, 1);
  attune_plan *plan = plan_of(f);
  assert_string_equal(attune_plan_source(plan), "reference");
  assert_non_null(strstr(attune_plan_explain(plan), "CUDA_ERROR_INVALID_IMAGE"));
  attune_plan_destroy(plan);
}

static void test_frozen(void **state) {
  fixture *f = *state;
  char path[] = "/tmp/attune-test-XXXXXX", database[64];
  assert_non_null(mkdtemp(path));
  snprintf(database, sizeof database, "%s/attune.db", path);
  attune_plan *plan;
  setenv("ATTUNE_FROZEN", "1", 1);
  attune_context *frozen = context_on("cuda:0", database);
  assert_int_equal(attune_plan_create(&plan, frozen, &f->problem), ATTUNE_WOULD_COMPILE);
  assert_null(plan);
  assert_says("frozen");
  assert_says("reference: always there");
  attune_context_destroy(frozen);
  assert_int_equal(access(database, F_OK), -1);
  unsetenv("ATTUNE_FROZEN");

  /* A kernel of the last source alone: the others are passed over. */
  attune_context *warm = context_on("cuda:0", database);
  attune_config reference;
  char text[ATTUNE_TEXT_MAX];
  assert_int_equal(attune_config_reference(&reference, &f->problem), ATTUNE_OK);
  assert_int_equal(attune_config_print(text, &reference), ATTUNE_OK);
  assert_int_equal(attune_plan_create_with(&plan, warm, &f->problem, text), ATTUNE_OK);
  assert_string_equal(attune_plan_source(plan), "named");
  attune_plan_destroy(plan);
  attune_context_destroy(warm);
  setenv("ATTUNE_FROZEN", "1", 1);
  frozen = context_on("cuda:0", database);
  unsetenv("ATTUNE_FROZEN");
  int before = compilations();
  assert_int_equal(attune_plan_create(&plan, frozen, &f->problem), ATTUNE_OK);
  assert_string_equal(attune_plan_source(plan), "reference");
  assert_int_equal(compilations(), before);
  attune_plan_destroy(plan);
  attune_context_destroy(frozen);
  unlink(database);
  strcat(database, "-wal");
  unlink(database);
  strcpy(strrchr(database, '-'), "-shm");
  unlink(database);
  rmdir(path);
}

static void test_named_configs(void **state) {
  fixture *f = *state;
  attune_plan *plan;
  attune_problem other = f->problem;
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  assert_int_equal(attune_plan_create_with(&plan, f->context, &f->problem, "forward.mma.?"), ATTUNE_BAD_CONFIG);
  other.head_dim = other.head_dim_v = 128;
  assert_int_equal(attune_config_reference(&config, &other), ATTUNE_OK);
  assert_int_equal(attune_config_print(text, &config), ATTUNE_OK);
  assert_int_equal(attune_plan_create_with(&plan, f->context, &f->problem, text), ATTUNE_ILLEGAL_CONFIG);
  assert_says("head_dim 128");
  assert_null(plan);
}

/* ---- memory and time ---- */

static void test_memory(void **state) {
  fixture *f = *state;
  attune_backend *machine = attune_context_machine(f->context);
  void *device;
  char bytes[5] = "";
  assert_int_equal(attune_memory_allocate(&device, machine, 5), ATTUNE_OK);
  assert_int_equal(attune_memory_fill(machine, device, 'x', 5), ATTUNE_OK);
  assert_int_equal(attune_memory_write(machine, device, "ab", 2), ATTUNE_OK);
  assert_int_equal(attune_memory_read(machine, bytes, device, 5), ATTUNE_OK);
  assert_memory_equal(bytes, "abxxx", 5);
  assert_int_equal(attune_backend_synchronize(machine), ATTUNE_OK);
  attune_memory_free(machine, device);
  assert_true(attune_memory_pin(machine, bytes, sizeof bytes));
  assert_int_equal(record().pinned, 1);
  attune_memory_unpin(machine, bytes);
  assert_int_equal(record().pinned, 0);
  inject("cuMemHostRegister_v2", 2, 1);
  assert_false(attune_memory_pin(machine, bytes, sizeof bytes));
  inject("cuMemAlloc_v2", 2, 1);
  assert_int_equal(attune_memory_allocate(&device, machine, 12345), ATTUNE_OUT_OF_MEMORY);
  assert_null(device);
  assert_says("12345 bytes");
  assert_says("CUDA_ERROR_OUT_OF_MEMORY");
  assert_int_equal(record().pushes, record().pops);
}

static void test_timer(void **state) {
  fixture *f = *state;
  attune_backend *machine = attune_context_machine(f->context);
  attune_timer *timer;
  double seconds;
  assert_int_equal(attune_timer_create(&timer, machine), ATTUNE_OK);
  assert_int_equal(attune_timer_start(timer), ATTUNE_OK);
  assert_int_equal(attune_timer_stop(timer), ATTUNE_OK);
  assert_int_equal(attune_timer_seconds(timer, &seconds), ATTUNE_OK);
  assert_true(seconds > 0.00149 && seconds < 0.00151);
  inject("cuEventSynchronize", 700, 1);
  assert_int_equal(attune_timer_seconds(timer, &seconds), ATTUNE_DRIVER_FAILED);
  assert_says("CUDA_ERROR_ILLEGAL_ADDRESS");
  attune_timer_destroy(timer);
  inject("cuEventCreate", 2, 1);
  assert_int_equal(attune_timer_create(&timer, machine), ATTUNE_OUT_OF_MEMORY);
  assert_null(timer);
}

/* Every driver call of opening and planning may fail: a status, a message, and nothing left pushed. */
static void test_every_call_may_fail(void **state) {
  fixture *f = *state;
  const char *const opening[] = {"cuDeviceGetCount",        "cuDeviceGet",          "cuDeviceGetName",
                                 "cuDeviceTotalMem_v2",     "cuDeviceGetAttribute", "cuCtxGetCurrent",
                                 "cuDevicePrimaryCtxRetain"};
  const char *const loading[] = {"cuCtxPushCurrent_v2", "cuModuleLoadData", "cuModuleGetFunction", "cuFuncGetAttribute",
                                 "cuFuncSetAttribute"};
  attune_backend *machine;
  attune_plan *plan;
  for (size_t i = 0; i < sizeof opening / sizeof *opening; i++) {
    inject(opening[i], 999, 1);
    assert_int_equal(attune_backend_open(&machine, "cuda:0", 0), ATTUNE_DRIVER_FAILED);
    assert_says("CUDA_ERROR_FAKE");
  }
  for (size_t i = 0; i < sizeof loading / sizeof *loading; i++) {
    inject(loading[i], 999, 1000);
    assert_int_equal(attune_plan_create(&plan, f->context, &f->problem), ATTUNE_DRIVER_FAILED);
    assert_null(plan);
    inject("", 0, 0);
    assert_int_equal(depth(), 0);
  }
  fake_record seen = record();
  assert_int_equal(seen.modules_loaded, seen.modules_unloaded);
}

int main(void) {
  use_stand_ins();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_init_failures),
      TEST(test_device),
      TEST(test_bad_devices),
      TEST(test_default_is_cuda),
      TEST(test_current_context_is_used),
      TEST(test_primary_context_is_released),
      TEST(test_launch),
      TEST(test_scales),
      TEST(test_second_plan_compiles_nothing),
      TEST(test_refused_cubin_is_compiled_again),
      TEST(test_refused_kernel_gives_way),
      TEST(test_frozen),
      TEST(test_named_configs),
      TEST(test_memory),
      TEST(test_timer),
      TEST(test_every_call_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
