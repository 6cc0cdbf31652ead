/* A machine with neither driver nor NVRTC: both are asked for in one place that does not exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "generator/base/hash.h"
#include "runtime/runtime.h"

static void assert_says(const char *words) {
  if (!strstr(attune_message(), words)) fail_msg("\"%s\" does not say \"%s\"", attune_message(), words);
}

static void test_no_driver(void **state) {
  (void)state;
  attune_backend *machine;
  assert_int_equal(attune_backend_open(&machine, "cuda:0", 0), ATTUNE_NO_DRIVER);
  assert_null(machine);
  assert_says("/nowhere/libcuda.so.1");
  assert_says("\"host\"");
  assert_int_equal(attune_backend_count(), 0);
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
  /* A program that passes device pointers never gets the simulator without having named it. */
  options.device = NULL;
  assert_int_equal(attune_context_create(&context, &options), ATTUNE_NO_DEVICE);
  assert_null(context);
  assert_says("/nowhere/libcuda.so.1");
  assert_says("set the device to \"host\"");
}

static void test_unknown_device(void **state) {
  (void)state;
  attune_backend *machine;
  const char *const names[] = {"gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999", "hosts"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    assert_int_equal(attune_backend_open(&machine, names[i], 0), ATTUNE_BAD_ARGUMENT);
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
  assert_int_equal(attune_kernel_compile(&kernel, &config, NULL, "sm_90"), ATTUNE_NO_NVRTC);
  assert_null(kernel);
}

/* An application that carries its store needs no NVRTC: the source names the kernel well enough. */
static void test_stored_kernel_without_nvrtc(void **state) {
  (void)state;
  attune_store *store;
  attune_kernel *found;
  attune_problem problem;
  attune_config config;
  attune_problem_init(&problem);
  assert_int_equal(attune_store_open(&store, &(attune_store_options){.path = ":memory:"}), ATTUNE_OK);
  assert_int_equal(attune_config_reference(&config, &problem), ATTUNE_OK);
  assert_int_equal(attune_kernel_get(&found, NULL, store, &config, NULL, "sm_90", false), ATTUNE_NO_NVRTC);
  assert_int_equal(attune_kernel_get(&found, NULL, store, &config, NULL, "sm_90", true), ATTUNE_WOULD_COMPILE);

  char text[ATTUNE_TEXT_MAX], sha256[65], *source;
  assert_int_equal(attune_config_print(text, &config), ATTUNE_OK);
  assert_int_equal(attune_emit(&source, &config, NULL, ATTUNE_TARGET_CUDA), ATTUNE_OK);
  attune_sha256(sha256, source, strlen(source));
  attune_kernel kernel = {.config = text,
                          .arch = "sm_90",
                          .compiler = "nvrtc 12.9",
                          .source_sha256 = sha256,
                          .binary = "cubin",
                          .binary_size = 5};
  attune_kernel_key(&kernel);
  assert_int_equal(attune_store_put_kernel(store, &kernel), ATTUNE_OK);
  for (int frozen = 0; frozen < 2; frozen++) {
    bool hit = false;
    assert_int_equal(attune_kernel_get(&found, &hit, store, &config, NULL, "sm_90", frozen), ATTUNE_OK);
    assert_true(hit);
    assert_string_equal(found->compiler, "nvrtc 12.9");
    free(found);
  }
  assert_int_equal(attune_kernel_get(&found, NULL, store, &config, NULL, "sm_80", false), ATTUNE_NO_NVRTC);
  assert_null(found);
  free(source);
  attune_store_close(store);
}

int main(void) {
  setenv("ATTUNE_LIBCUDA", "/nowhere/libcuda.so.1", 1);
  setenv("ATTUNE_NVRTC", "/nowhere/libnvrtc.so", 1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_no_driver),
      cmocka_unit_test(test_context_without_driver),
      cmocka_unit_test(test_unknown_device),
      cmocka_unit_test(test_no_nvrtc),
      cmocka_unit_test(test_stored_kernel_without_nvrtc),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
