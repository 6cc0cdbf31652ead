/* A machine with neither driver nor NVRTC: both are asked for in one place that does not exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/runtime.h"

static void assert_says(const char *words) {
  if (!strstr(attune_message(), words)) fail_msg("\"%s\" does not say \"%s\"", attune_message(), words);
}

static void test_no_driver(void **state) {
  (void)state;
  attune_machine *machine;
  assert_int_equal(attune_machine_open(&machine, "cuda:0", 0), ATTUNE_NO_DRIVER);
  assert_null(machine);
  assert_says("/nowhere/libcuda.so.1");
  assert_says("\"host\"");
  assert_int_equal(attune_machine_count(), 0);
}

static void test_context_without_driver(void **state) {
  (void)state;
  attune_options options;
  attune_options_init(&options);
  options.device = "cuda:0";
  options.database = ":memory:";
  attune_context *context;
  assert_int_equal(attune_context_create(&context, &options), ATTUNE_NO_DRIVER);
  assert_null(context);
}

static void test_unknown_device(void **state) {
  (void)state;
  attune_machine *machine;
  const char *const names[] = {"gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999", "hosts"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    assert_int_equal(attune_machine_open(&machine, names[i], 0), ATTUNE_BAD_ARGUMENT);
    assert_says(names[i]);
  }
}

static void test_no_nvrtc(void **state) {
  (void)state;
  char version[32];
  attune_kernel *kernel;
  attune_problem problem;
  attune_config config;
  attune_problem_init(&problem);
  assert_int_equal(attune_config_reference(&config, &problem), ATTUNE_OK);
  assert_int_equal(attune_nvrtc_version(version), ATTUNE_NO_NVRTC);
  assert_says("/nowhere/libnvrtc.so");
  assert_int_equal(attune_kernel_compile(&kernel, &config, "sm_90"), ATTUNE_NO_NVRTC);
  assert_null(kernel);
}

int main(void) {
  setenv("ATTUNE_LIBCUDA", "/nowhere/libcuda.so.1", 1);
  setenv("ATTUNE_NVRTC", "/nowhere/libnvrtc.so", 1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_no_driver),
      cmocka_unit_test(test_context_without_driver),
      cmocka_unit_test(test_unknown_device),
      cmocka_unit_test(test_no_nvrtc),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
