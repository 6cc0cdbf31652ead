/* Compilation through a stand-in for NVRTC: what is asked, what is read from the log, and what a store saves. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/nvrtc.h"
#include "tests/fake/use.h"

static fake_count_function *compilations;
static fake_broken_function *broken;

static void assert_says(const char *words) {
  if (!strstr(attune_message(), words)) fail_msg("\"%s\" does not say \"%s\"", attune_message(), words);
}

static attune_config config_for(int head_dim) {
  attune_problem problem;
  attune_config config;
  attune_problem_init(&problem);
  problem.head_dim = problem.head_dim_v = head_dim;
  assert_int_equal(attune_config_reference(&config, &problem), ATTUNE_OK);
  return config;
}

static attune_store *memory_store(void) {
  attune_store *store;
  attune_store_options options = {.path = ":memory:"};
  assert_int_equal(attune_store_open(&store, &options), ATTUNE_OK);
  return store;
}

static void test_version(void **state) {
  (void)state;
  char version[32], compiler[64], options[256];
  assert_int_equal(attune_nvrtc_version(version), ATTUNE_OK);
  assert_string_equal(version, "13.0");
  assert_int_equal(attune_compiler_nvrtc(compiler, options), ATTUNE_OK);
  assert_string_equal(compiler, "nvrtc 13.0");
  assert_non_null(strstr(options, "-std=c++17"));
}

static void test_resources(void **state) {
  (void)state;
  attune_resources resources =
      attune_resources_of_log("ptxas info    : 0 bytes gmem\n"
                              "ptxas info    : Compiling entry function 'attune_forward' for 'sm_90'\n"
                              "ptxas info    : Function properties for attune_forward\n"
                              "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                              "ptxas info    : Used 168 registers, used 1 barriers\n");
  assert_int_equal(resources.registers, 168);
  assert_int_equal(resources.spill_bytes, 0);
  assert_int_equal(resources.shared_static, 0);
  resources = attune_resources_of_log("    32 bytes stack frame, 20 bytes spill stores, 24 bytes spill loads\n"
                                      "ptxas info    : Used 255 registers, 1024 bytes smem\n");
  assert_int_equal(resources.registers, 255);
  assert_int_equal(resources.spill_bytes, 32);
  assert_int_equal(resources.shared_static, 1024);
  resources = attune_resources_of_log("");
  assert_int_equal(resources.registers, -1);
  assert_int_equal(resources.spill_bytes, -1);
}

static void test_remarks(void **state) {
  static const struct {
    const char *log, *remark; /* NULL: none */
  } cases[] = {
      {"", NULL},
      {"ptxas info    : Used 168 registers, used 1 barriers\n", NULL},
      {"ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to wgmma "
       "pipeline crossing function boundary at a function call in the function 'f'\n"
       "ptxas info    : Used 168 registers\n",
       "(C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to wgmma pipeline crossing "
       "function boundary at a function call in the function 'f'"},
      {"ptxas info    : 0 bytes gmem\n"
       "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "
       "insufficient register resources for the wgmma pipeline in the function 'f'\n",
       "(C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient register "
       "resources for the wgmma pipeline in the function 'f'"},
      {"ptxas info : (C7508) Potential Performance Loss: 'setmaxnreg' ignored; unable to determine register count at "
       "entry.\nptxas info : (C7514) Potential Performance Loss: wgmma.mma_async instructions are serialized\n",
       "(C7508) Potential Performance Loss: 'setmaxnreg' ignored; unable to determine register count at entry."},
      {"Potential Performance Loss: x", "Potential Performance Loss: x"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_kernel kernel = {.log = cases[i].log};
    char remark[256] = "old", cut[8];
    assert_int_equal(attune_kernel_remark(remark, sizeof remark, &kernel), cases[i].remark != NULL);
    assert_string_equal(remark, cases[i].remark ? cases[i].remark : "");
    attune_kernel_remark(cut, sizeof cut, &kernel);
    assert_memory_equal(cut, remark, strlen(cut));
  }
}

static void test_compile(void **state) {
  (void)state;
  attune_kernel *named, *kernel;
  char *source;
  attune_config config = config_for(64);
  assert_int_equal(attune_kernel_name(&named, &source, &config, NULL, "sm_90"), ATTUNE_OK);
  assert_non_null(source);
  assert_null(named->binary);
  assert_int_equal(attune_kernel_compile(&kernel, &config, NULL, "sm_90"), ATTUNE_OK);
  assert_string_equal(kernel->key, named->key);
  assert_int_equal(kernel->registers, 96);
  assert_int_equal(kernel->shared_static, 448);
  assert_int_equal(kernel->spill_bytes, 16);
  assert_memory_equal(kernel->binary, "\177ELF", 4);
  assert_int_equal((uintptr_t)kernel->binary % 16, 0);
  assert_true(kernel->compile_seconds > 0);
  assert_string_equal(kernel->arch, "sm_90");
  free(source);
  free(named);
  free(kernel);
}

/* Whatever may change the binary changes the key. */
static void test_key(void **state) {
  (void)state;
  attune_kernel *a, *b, *c;
  attune_config small = config_for(64), large = config_for(128);
  assert_int_equal(attune_kernel_name(&a, NULL, &small, NULL, "sm_90"), ATTUNE_OK);
  assert_int_equal(attune_kernel_name(&b, NULL, &large, NULL, "sm_90"), ATTUNE_OK);
  assert_int_equal(attune_kernel_name(&c, NULL, &small, NULL, "sm_80"), ATTUNE_OK);
  assert_string_not_equal(a->key, b->key);
  assert_string_not_equal(a->key, c->key);
  free(a);
  free(b);
  free(c);
}

static void test_unknown_arch(void **state) {
  (void)state;
  attune_kernel *kernel;
  attune_config config = config_for(64);
  assert_int_equal(attune_kernel_compile(&kernel, &config, NULL, "sm_130"), ATTUNE_NO_NVRTC);
  assert_says("sm_130");
  assert_says("sm_80 sm_90");
}

static void test_broken_source(void **state) {
  (void)state;
  attune_kernel *kernel;
  attune_config config = config_for(64);
  broken(1);
  assert_int_equal(attune_kernel_compile(&kernel, &config, NULL, "sm_90"), ATTUNE_COMPILE_FAILED);
  assert_null(kernel);
  assert_says("error: the test asked for this");
}

static void test_stored(void **state) {
  (void)state;
  attune_store *store = memory_store();
  attune_kernel *first, *second;
  attune_config config = config_for(32);
  bool hit = true;
  int before = compilations();
  assert_int_equal(attune_kernel_get(&first, &hit, store, &config, NULL, "sm_90", false), ATTUNE_OK);
  assert_false(hit);
  assert_int_equal(attune_kernel_get(&second, &hit, store, &config, NULL, "sm_90", true), ATTUNE_OK);
  assert_true(hit);
  assert_int_equal(compilations(), before + 1);
  assert_int_equal(first->binary_size, second->binary_size);
  assert_memory_equal(first->binary, second->binary, first->binary_size);
  free(first);
  free(second);
  attune_store_close(store);
}

static void test_frozen(void **state) {
  (void)state;
  attune_store *store = memory_store();
  attune_kernel *kernel;
  attune_config config = config_for(32);
  int before = compilations();
  assert_int_equal(attune_kernel_get(&kernel, NULL, store, &config, NULL, "sm_90", true), ATTUNE_WOULD_COMPILE);
  assert_null(kernel);
  assert_says("frozen");
  assert_int_equal(compilations(), before);
  attune_store_close(store);
}

/* A toolkit update must not take an application's kernels away. */
static void test_frozen_takes_another_compilers_kernel(void **state) {
  (void)state;
  attune_store *store = memory_store();
  attune_kernel *named, *found;
  attune_config config = config_for(32);
  assert_int_equal(attune_kernel_name(&named, NULL, &config, NULL, "sm_90"), ATTUNE_OK);
  named->compiler = "nvrtc 1.0";
  named->binary = "cubin";
  named->binary_size = 5;
  named->compile_seconds = 0;
  attune_kernel_key(named);
  assert_int_equal(attune_store_put_kernel(store, named), ATTUNE_OK);
  free(named);
  int before = compilations();
  assert_int_equal(attune_kernel_get(&found, NULL, store, &config, NULL, "sm_90", true), ATTUNE_OK);
  assert_string_equal(found->compiler, "nvrtc 1.0");
  free(found);
  assert_int_equal(compilations(), before);
  assert_int_equal(attune_kernel_get(&found, NULL, store, &config, NULL, "sm_90", false), ATTUNE_OK);
  assert_int_equal(compilations(), before + 1);
  free(found);
  attune_store_close(store);
}

typedef struct {
  attune_store *store;
  attune_config config;
  attune_status status;
} wanting;

static void *want(void *user) {
  wanting *w = user;
  attune_kernel *kernel;
  w->status = attune_kernel_get(&kernel, NULL, w->store, &w->config, NULL, "sm_90", false);
  free(kernel);
  return NULL;
}

static void test_threads_compile_once(void **state) {
  (void)state;
  enum { THREADS = 8 };
  pthread_t threads[THREADS];
  wanting wanted[THREADS];
  attune_store *store = memory_store();
  int before = compilations();
  for (int i = 0; i < THREADS; i++) {
    wanted[i] = (wanting){.store = store, .config = config_for(48)};
    assert_int_equal(pthread_create(&threads[i], NULL, want, &wanted[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(wanted[i].status, ATTUNE_OK);
  }
  assert_int_equal(compilations(), before + 1);
  attune_store_close(store);
}

int main(void) {
  void *library = fake_use("ATTUNE_NVRTC", "fake_nvrtc.so");
  fake_find(&compilations, library, "fake_compilations");
  fake_find(&broken, library, "fake_broken");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_version),
      cmocka_unit_test(test_resources),
      cmocka_unit_test(test_remarks),
      cmocka_unit_test(test_compile),
      cmocka_unit_test(test_key),
      cmocka_unit_test(test_unknown_arch),
      cmocka_unit_test(test_broken_source),
      cmocka_unit_test(test_stored),
      cmocka_unit_test(test_frozen),
      cmocka_unit_test(test_frozen_takes_another_compilers_kernel),
      cmocka_unit_test(test_threads_compile_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
