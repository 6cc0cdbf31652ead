/* What tensor maps tell TMA, read by a stand-in for libcuda: every argument of cuTensorMapEncodeTiled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/attune.h"
#include "tests/fake/use.h"

static fake_reset_function *reset;
static fake_read_function *record;

/* A problem, and tensors that are never touched. */
typedef struct {
  attune_context *context;
  attune_problem problem;
  attune_tensors tensors;
} fixture;

static void set_up(fixture *f) {
  static _Alignas(16) char memory[512];
  attune_options options;
  reset();
  attune_options_init(&options);
  options.device = "cuda:0";
  options.database = ":memory:";
  assert_int_equal(attune_context_create(&f->context, &options), ATTUNE_OK);
  attune_problem_init(&f->problem);
  f->problem.batch = 2;
  f->problem.heads_q = 8;
  f->problem.heads_kv = 2;
  f->problem.seqlen_q = 300;
  f->problem.seqlen_k = 500;
  attune_tensors_init(&f->tensors);
  f->tensors.q = f->tensors.k = f->tensors.v = f->tensors.o = memory;
}

/* Numbers are those of the CUDA driver API: 16-bit elements, no interleave, the swizzle of 128 bytes that wgmma's
 * operands have, L2 promotion to 256 bytes, zeros out of bounds. */
static void assert_map(const fake_map *map, const unsigned box[4], const unsigned long long size[4],
                       const unsigned long long stride[3]) {
  assert_int_equal(map->type, 1);
  assert_int_equal(map->interleave, 0);
  assert_int_equal(map->swizzle, 3);
  assert_int_equal(map->promotion, 3);
  assert_int_equal(map->fill, 0);
  assert_int_equal(map->rank, 4);
  for (int d = 0; d < 4; d++) {
    assert_int_equal(map->element_strides[d], 1);
    assert_int_equal(map->box[d], box[d]);
    assert_int_equal(map->size[d], size[d]);
    if (d < 3) assert_int_equal(map->stride[d], stride[d]);
  }
}

/* The four maps of one run of a kernel. */
static fake_record maps_of_run(fixture *f, const char *config) {
  attune_plan *plan;
  const attune_status status = attune_plan_create_with(&plan, f->context, &f->problem, config);
  if (status != ATTUNE_OK) fail_msg("%s", attune_message());
  assert_int_equal(attune_run(plan, &f->tensors, NULL, 0, NULL), ATTUNE_OK);
  attune_plan_destroy(plan);
  attune_context_destroy(f->context);
  return record();
}

/* Tensors (batch, seqlen, heads, head_dim) are described as (head_dim, seqlen, heads, batch), boxes 64 elements wide:
 * of tile_m rows of Q and O, and tile_n of K and V. */
static void test_strided_tensors(void **state) {
  fixture f;
  (void)state;
  set_up(&f);
  f.problem.q = (attune_strides){.batch = 300 * 1024, .seqlen = 1024, .heads = 128};
  f.problem.v = (attune_strides){.batch = 64 * 500, .seqlen = 64, .heads = 128 * 500};
  const fake_record seen =
      maps_of_run(&f, "forward.wgmma.bf16.d64.m128.n96.w12.s2.q_prefetch.intra_wg_overlap.persistent_static.b1");
  const unsigned of_m[4] = {64, 128, 1, 1}, of_n[4] = {64, 96, 1, 1};
  const unsigned long long q[4] = {64, 300, 8, 2}, k[4] = {64, 500, 2, 2};
  assert_map(&seen.map[0], of_m, q, (const unsigned long long[]){2 * 1024, 2 * 128, 2 * 300 * 1024});
  assert_map(&seen.map[1], of_n, k, (const unsigned long long[]){2 * 2 * 64, 2 * 64, 2 * 500 * 2 * 64});
  assert_map(&seen.map[2], of_n, k, (const unsigned long long[]){2 * 64, 2 * 128 * 500, 2 * 64 * 500});
  assert_map(&seen.map[3], of_m, q, (const unsigned long long[]){2 * 8 * 64, 2 * 64, 2 * 300 * 8 * 64});
}

/* TMA wants positive strides that are multiples of 16 bytes. Where there is one batch or one head its stride says
 * nothing, and the caller may have left it at anything: then it is 16. */
static void test_one_batch_and_head(void **state) {
  fixture f;
  (void)state;
  set_up(&f);
  f.problem.batch = f.problem.heads_q = f.problem.heads_kv = 1;
  f.problem.q = (attune_strides){.batch = 0, .seqlen = 64, .heads = 0};
  const fake_record seen =
      maps_of_run(&f, "forward.wgmma.bf16.d64.m128.n96.w12.s2.q_prefetch.intra_wg_overlap.persistent_static.b1");
  for (int i = 0; i < 4; i++) {
    const bool of_queries = i == 0 || i == 3;
    assert_map(&seen.map[i], (const unsigned[]){64, of_queries ? 128 : 96, 1, 1},
               (const unsigned long long[]){64, of_queries ? 300 : 500, 1, 1},
               (const unsigned long long[]){2 * 64, 16, 16});
  }
}

/* Packed heads are the second dimension of Q's and O's maps, and the box takes all of them for each query. */
static void test_packed_heads(void **state) {
  fixture f;
  (void)state;
  set_up(&f);
  const fake_record seen = maps_of_run(
      &f, "forward.wgmma.bf16.d64.m128.n96.w12.s2.q_prefetch.intra_wg_overlap.persistent_static.pack_gqa4.b1");
  const unsigned of_m[4] = {64, 4, 32, 1}, of_n[4] = {64, 96, 1, 1};
  const unsigned long long q[4] = {64, 8, 300, 2}, k[4] = {64, 500, 2, 2};
  const unsigned long long of_q[3] = {2 * 64, 2 * 8 * 64, 2 * 300 * 8 * 64};
  assert_map(&seen.map[0], of_m, q, of_q);
  assert_map(&seen.map[1], of_n, k, (const unsigned long long[]){2 * 2 * 64, 2 * 64, 2 * 500 * 2 * 64});
  assert_map(&seen.map[3], of_m, q, of_q);
}

/* Each block of a cluster loads its part of a tile of K and V, for all. */
static void test_clusters(void **state) {
  fixture f;
  (void)state;
  set_up(&f);
  const fake_record seen =
      maps_of_run(&f, "forward.wgmma.bf16.d64.m128.n96.w12.s2.q_prefetch.intra_wg_overlap.persistent_static.c2.b1");
  assert_int_equal(seen.map[0].box[1], 128);
  assert_int_equal(seen.map[1].box[1], 48);
  assert_int_equal(seen.map[2].box[1], 48);
}

int main(void) {
  void *cuda = fake_use("ATTUNE_LIBCUDA", "fake_cuda.so");
  fake_use("ATTUNE_NVRTC", "fake_nvrtc.so");
  fake_find(&reset, cuda, "fake_reset");
  fake_find(&record, cuda, "fake_read");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_strided_tensors),
      cmocka_unit_test(test_one_batch_and_head),
      cmocka_unit_test(test_packed_heads),
      cmocka_unit_test(test_clusters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
