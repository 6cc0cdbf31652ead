/* For tests of CUDA devices without a GPU: the public API over stand-ins for libcuda and NVRTC. */
#ifndef ATTUNE_TESTS_CUDA_CASE_H
#define ATTUNE_TESTS_CUDA_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/runtime.h"
#include "tests/fake/use.h"

static fake_reset_function *reset;
static fake_fail_function *inject;
static fake_read_function *record;
static fake_depth_function *depth;
static fake_count_function *compilations;
static fake_context_function *primary;
static int (*push)(void *context);
static int (*pop)(void **context);

/* Before the first test. */
static inline void use_stand_ins(void) {
  void *cuda = fake_use("ATTUNE_LIBCUDA", "fake_cuda.so"), *nvrtc = fake_use("ATTUNE_NVRTC", "fake_nvrtc.so");
  fake_find(&reset, cuda, "fake_reset");
  fake_find(&inject, cuda, "fake_fail");
  fake_find(&record, cuda, "fake_read");
  fake_find(&depth, cuda, "fake_depth");
  fake_find(&compilations, nvrtc, "fake_compilations");
  fake_find(&primary, cuda, "fake_context");
  fake_find(&push, cuda, "cuCtxPushCurrent_v2");
  fake_find(&pop, cuda, "cuCtxPopCurrent_v2");
}

/* ---- fixture: a context on cuda:0, a problem, tensors that are never touched ---- */

typedef struct {
  attune_context *context;
  attune_problem problem;
  attune_tensors tensors;
} fixture;

static _Alignas(16) char memory[512];

static inline attune_context *context_on(const char *device, const char *database) {
  attune_context *context;
  attune_options options;
  attune_options_init(&options);
  options.device = device;
  options.database = database;
  assert_int_equal(attune_context_create(&context, &options), ATTUNE_OK);
  return context;
}

static inline int set_up(void **state) {
  reset();
  fixture *f = calloc(1, sizeof *f);
  f->context = context_on("cuda:0", ":memory:");
  attune_problem_init(&f->problem);
  f->problem.batch = 2;
  f->problem.heads_q = 8;
  f->problem.heads_kv = 2;
  f->problem.seqlen_q = 300;
  f->problem.seqlen_k = 500;
  attune_tensors_init(&f->tensors);
  f->tensors.q = f->tensors.k = f->tensors.v = f->tensors.o = memory;
  *state = f;
  return 0;
}

static inline int tear_down(void **state) {
  fixture *f = *state;
  attune_context_destroy(f->context);
  free(f);
  return depth() != 0;
}

static inline attune_plan *plan_of(const fixture *f) {
  attune_plan *plan;
  attune_status status = attune_plan_create(&plan, f->context, &f->problem);
  if (status != ATTUNE_OK) fail_msg("%s: %s", attune_status_name(status), attune_message());
  return plan;
}

static inline void assert_says(const char *words) {
  if (!strstr(attune_message(), words)) fail_msg("\"%s\" does not say \"%s\"", attune_message(), words);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
