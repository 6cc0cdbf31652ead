/* The host primitives that compute: elements packed and unpacked bit for bit, and the matrix instructions against their
 * definition in the PTX ISA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/backend.h"
#include "runtime/simulator/matrix.h"
#include "runtime/simulator/runner.h"
#include "tests/unit/host_kernel.h"
#include "tuner/verify/reference.h"

typedef struct {
  void *object;
  unsigned (*pack)(float low, float high);
  float (*low)(unsigned word), (*high)(unsigned word), (*exp2)(float x), (*max)(float a, float b),
      (*max_nan)(float low, float x);
} primitives;

static primitives fp16, bf16;
static attune_simulator_runner *runner;

static void add_header(FILE *out, const char *path) {
  char *line = NULL;
  size_t size = 0;
  FILE *file = fopen(path, "r");
  if (!file) fail_msg("cannot read %s; run from the top of the checkout", path);
  while (getline(&line, &size, file) >= 0)
    if (strncmp(line, "#include", 8) != 0 && strncmp(line, "#pragma once", 12) != 0) fputs(line, out);
  free(line);
  fclose(file);
}

static void *symbol(void *object, const char *name) {
  void *address = dlsym(object, name);
  assert_non_null(address);
  return address;
}

/* A kernel that copies a tile out as it lies in shared memory, and for each N products from shared memory, with B in
 * both layouts and with A M-major, and one with A in registers; K is 64. */
static const char kernels[] =
    "ATTUNE_DEVICE int begin(const attune_tensor_map &map, int column, int row, int head, int batch, int rows) {\n"
    "  const shared_address bar = shared_memory(), to = shared_memory() + 1024;\n"
    "  if (thread_index() == 0) { mbarrier_init(bar, 1); mbarrier_init(bar + 8, 1); mbarrier_init_fence(); }\n"
    "  barrier();\n"
    "  if (thread_index() == 0) {\n"
    "    mbarrier_arrive_expect_tx(bar, rows * 128);\n"
    "    tma_load(to, map, column, row, head, batch, bar, 0);\n"
    "  }\n"
    "  mbarrier_wait(bar, 0);\n"
    "  return thread_index();\n"
    "}\n"
    "ATTUNE_KERNEL(32, 1) test_tile(const attune_arguments p, ATTUNE_MAPS(m)) {\n"
    "  const int lane = begin(m.q, p.seqlen_k, p.group, p.align_end, p.tiles_m, 64);\n"
    "  for (int i = lane; i < 2048; i += 32)\n"
    "    store_global_float(p.lse + i, load_shared_float(shared_memory() + 1024 + i * 4));\n"
    "}\n"
    "ATTUNE_KERNEL(32, 1) test_count(const attune_arguments p, ATTUNE_MAPS(m)) {\n"
    "  store_global_float(p.lse + atomic_increment(p.counter), float(block_index() * 32 + thread_index()));\n"
    "}\n"
    "ATTUNE_KERNEL(32, 1) test_add(const attune_arguments p, ATTUNE_MAPS(m)) {\n"
    "  const int lane = thread_index(), first = block_index() * 7 + lane * 3;\n"
    "  float x[4];\n"
    "  for (int i = 0; i < 4; i++) x[i] = float((first + i * 5) % 31 - 15);\n"
    "  for (int i = 0; i < 100; i++) reduce_add_128(p.o_partial + lane % 4 * 4, x[0], x[1], x[2], x[3]);\n"
    "}\n"
    "ATTUNE_KERNEL(32, 1) test_store(const attune_arguments p, ATTUNE_MAPS(m)) {\n"
    "  for (int i = thread_index(); i < 2048; i += 32)\n"
    "    store_shared_32(shared_memory() + i * 4, (unsigned)(2 * i) | (unsigned)(2 * i + 1) << 16);\n"
    "  fence_proxy_async();\n"
    "  warp_barrier();\n"
    "  if (thread_index() == 0) {\n"
    "    tma_store(m.o, p.seqlen_k, p.group, p.align_end, p.tiles_m, shared_memory(), 0);\n"
    "    tma_store_wait_read();\n"
    "  }\n"
    "}\n"
    "template <int n> ATTUNE_DEVICE void put(float *to, const float (&c)[n]) {\n"
    "  const int t = thread_index(), row = t / 32 * 16 + t % 32 / 4, column = t % 4 * 2;\n"
    "  for (int i = 0; i < n; i++)\n"
    "    store_global_float(to + (row + i % 4 / 2 * 8) * 2 * n + i / 4 * 8 + column + i % 2, c[i]);\n"
    "}\n"
    "template <int n> ATTUNE_DEVICE void product(const attune_arguments &p, const attune_tensor_maps &m) {\n"
    "  const shared_address bar = shared_memory(), a = bar + 1024, b = bar + 1024 + 8192;\n"
    "  begin(m.q, 0, 0, 0, 0, 64);\n"
    "  if (thread_index() == 0) {\n"
    "    mbarrier_arrive_expect_tx(bar + 8, 2 * n * 128);\n"
    "    tma_load(b, m.k, 0, 0, 0, 0, bar + 8, 0);\n"
    "  }\n"
    "  mbarrier_wait(bar + 8, 0);\n"
    "  float c[n];\n"
    "  wgmma_fence();\n"
    "  for (int k = 0; k < 4; k++) wgmma_ss(c, descriptor_k_major(a) + 2 * k, descriptor_k_major(b) + 2 * k, k > "
    "0);\n"
    "  wgmma_commit();\n"
    "  wgmma_wait<0>();\n"
    "  put(p.lse, c);\n"
    "}\n"
    "template <int n> ATTUNE_DEVICE void product_n_major(const attune_arguments &p, const attune_tensor_maps &m) {\n"
    "  const shared_address bar = shared_memory(), a = bar + 1024, b = bar + 1024 + 8192;\n"
    "  const int panels = (2 * n + 63) / 64;\n"
    "  begin(m.q, 0, 0, 0, 0, 64);\n"
    "  if (thread_index() == 0) {\n"
    "    mbarrier_arrive_expect_tx(bar + 8, panels * 8192);\n"
    "    for (int i = 0; i < panels; i++) tma_load(b + i * 8192, m.v, i * 64, 0, 0, 0, bar + 8, 0);\n"
    "  }\n"
    "  mbarrier_wait(bar + 8, 0);\n"
    "  float c[n];\n"
    "  wgmma_fence();\n"
    "  for (int k = 0; k < 4; k++)\n"
    "    wgmma_ss_n_major(c, descriptor_k_major(a) + 2 * k, descriptor_n_major(b, 8192) + 128 * k, k > 0);\n"
    "  wgmma_commit();\n"
    "  wgmma_wait<0>();\n"
    "  put(p.lse, c);\n"
    "}\n"
    "template <int n> ATTUNE_DEVICE void product_m_major(const attune_arguments &p, const attune_tensor_maps &m) {\n"
    "  const shared_address bar = shared_memory(), a = bar + 1024, b = bar + 1024 + 8192;\n"
    "  const int panels = (2 * n + 63) / 64;\n"
    "  begin(m.o, 0, 0, 0, 0, 64);\n"
    "  if (thread_index() == 0) {\n"
    "    mbarrier_arrive_expect_tx(bar + 8, panels * 8192);\n"
    "    for (int i = 0; i < panels; i++) tma_load(b + i * 8192, m.v, i * 64, 0, 0, 0, bar + 8, 0);\n"
    "  }\n"
    "  mbarrier_wait(bar + 8, 0);\n"
    "  float c[n];\n"
    "  wgmma_fence();\n"
    "  wgmma_ss_m_major_first(c, descriptor_n_major(a, 8192), descriptor_n_major(b, 8192));\n"
    "  for (int k = 1; k < 4; k++)\n"
    "    wgmma_ss_m_major(c, descriptor_n_major(a, 8192) + 128 * k, descriptor_n_major(b, 8192) + 128 * k, true);\n"
    "  wgmma_commit();\n"
    "  wgmma_wait<0>();\n"
    "  put(p.lse, c);\n"
    "}\n"
    "ATTUNE_KERNEL(32, 1) test_store_matrix(const attune_arguments p, ATTUNE_MAPS(m)) {\n"
    "  const int lane = thread_index();\n"
    "  unsigned fragment[4];\n"
    "  for (int m = 0; m < 4; m++) {\n"
    "    const unsigned low = 1000 * m + 10 * (lane / 4) + 2 * (lane % 4);\n"
    "    fragment[m] = low | (low + 1) << 16;\n"
    "  }\n"
    "  stmatrix_x4(shared_memory() + lane * 16, fragment);\n"
    "  barrier();\n"
    "  for (int i = 0; i < 4; i++)\n"
    "    store_global_float(p.lse + lane * 4 + i, float(load_shared_int(shared_memory() + lane * 16 + i * 4)));\n"
    "}\n"
    "ATTUNE_DEVICE float a_of(int row, int k) { return float((row * 7 + k * 3) % 11 - 5); }\n"
    "template <int n> ATTUNE_DEVICE void product_registers(const attune_arguments &p, const attune_tensor_maps &m) {\n"
    "  const shared_address bar = shared_memory(), b = bar + 1024;\n"
    "  const int panels = (2 * n + 63) / 64;\n"
    "  begin(m.v, 0, 0, 0, 0, 64);\n"
    "  if (thread_index() == 0) {\n"
    "    mbarrier_arrive_expect_tx(bar + 8, panels * 8192 - 8192);\n"
    "    for (int i = 1; i < panels; i++) tma_load(b + i * 8192, m.v, i * 64, 0, 0, 0, bar + 8, 0);\n"
    "  }\n"
    "  mbarrier_wait(bar + 8, 0);\n"
    "  const int t = thread_index(), row = t / 32 * 16 + t % 32 / 4, column = t % 4 * 2;\n"
    "  unsigned a[4][4];\n"
    "  for (int k = 0; k < 4; k++)\n"
    "    for (int i = 0; i < 4; i++) {\n"
    "      const int r = row + i % 2 * 8, c = k * 16 + i / 2 * 8 + column;\n"
    "      a[k][i] = pack(a_of(r, c), a_of(r, c + 1));\n"
    "    }\n"
    "  float c[n];\n"
    "  fence_registers(a);\n"
    "  wgmma_fence();\n"
    "  for (int k = 0; k < 4; k++) {\n"
    "    wgmma_rs(c, a[k], descriptor_n_major(b, 8192) + 128 * k, k > 0);\n"
    "    if (k == 1) wgmma_commit();\n"
    "  }\n"
    "  wgmma_commit();\n"
    "  wgmma_wait<1>();\n"
    "  wgmma_wait<0>();\n"
    "  put(p.lse, c);\n"
    "}\n"
    "#define ALL(n) \\\n"
    "  ATTUNE_KERNEL(128, 1) test_m_major_##n(const attune_arguments p, ATTUNE_MAPS(m)) { product_m_major<n / 2>(p, "
    "m); } "
    "\\\n"
    "  ATTUNE_KERNEL(128, 1) test_n_major_##n(const attune_arguments p, ATTUNE_MAPS(m)) { product_n_major<n / 2>(p, "
    "m); } "
    "\\\n"
    "  ATTUNE_KERNEL(128, 1) test_product_##n(const attune_arguments p, ATTUNE_MAPS(m)) { product<n / 2>(p, m); } \\\n"
    "  ATTUNE_KERNEL(128, 1) test_registers_##n(const attune_arguments p, ATTUNE_MAPS(m)) { product_registers<n / "
    "2>(p, m); }\n"
    "ALL(8) ALL(24) ALL(64) ALL(80) ALL(128) ALL(256)\n";

static void build(primitives *out, int is_bf16) {
  char *source = NULL;
  size_t size = 0;
  FILE *text = open_memstream(&source, &size);
  assert_non_null(text);
  fprintf(text, "#define DTYPE_BF16 %d\n", is_bf16);
  add_header(text, "templates/parts/arguments.h");
  add_header(text, "templates/primitives/simulator_interface.h");
  add_header(text, "templates/primitives/simulator.h");
  fprintf(text, "extern \"C\" {\n"
                "unsigned test_pack(float low, float high) { return pack(low, high); }\n"
                "float test_low(unsigned word) { return unpack_low(word); }\n"
                "float test_high(unsigned word) { return unpack_high(word); }\n"
                "float test_exp2(float x) { return exp2_approximate(x); }\n"
                "float test_max_nan(float low, float x) { return max_nan(low, x); }\n"
                "float test_max(float a, float b) { return maximum(a, b); }\n"
                "}\n");
  fputs(kernels, text);
  fclose(text);
  out->object = load_host_kernels(source, "primitives");
  *(void **)&out->pack = symbol(out->object, "test_pack");
  *(void **)&out->low = symbol(out->object, "test_low");
  *(void **)&out->high = symbol(out->object, "test_high");
  *(void **)&out->exp2 = symbol(out->object, "test_exp2");
  *(void **)&out->max_nan = symbol(out->object, "test_max_nan");
  *(void **)&out->max = symbol(out->object, "test_max");
}

static int set_up(void **state) {
  (void)state;
  build(&fp16, 0);
  build(&bf16, 1);
  return attune_simulator_runner_create(&runner) == ATTUNE_OK ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  attune_simulator_runner_destroy(runner);
  dlclose(fp16.object);
  dlclose(bf16.object);
  return 0;
}

/* ---- elements ---- */

static void check_unpack(const primitives *p, attune_dtype dtype) {
  for (uint32_t e = 0; e < 0x10000; e++) {
    double want = attune_from_element(dtype, (uint16_t)e);
    float low = p->low(e | 0x12340000), high = p->high(e << 16 | 0x1234);
    if (isnan(want) ? !isnan(low) || !isnan(high) : (double)low != want || (double)high != want)
      fail_msg("element %04x unpacks to %g and %g, not %g", e, (double)low, (double)high, want);
    if (!signbit(low) != !signbit(want) || !signbit(high) != !signbit(want)) fail_msg("element %04x loses its sign", e);
  }
}

/* Every element, the middle between it and the next, and a little to either side. */
static void check_pack(const primitives *p, attune_dtype dtype) {
  for (uint32_t e = 0; e < 0x7fff; e++) {
    double here = attune_from_element(dtype, (uint16_t)e), next = attune_from_element(dtype, (uint16_t)(e + 1));
    if (!isfinite(here)) break;
    if (isinf(next)) next = 2 * here - attune_from_element(dtype, (uint16_t)(e - 1)); /* where infinity begins */
    float middle = (float)((here + next) / 2);
    const float values[] = {(float)here, middle, nextafterf(middle, 0.0f), nextafterf(middle, INFINITY)};
    for (int i = 0; i < 4; i++) {
      unsigned word = p->pack(values[i], -values[i]);
      unsigned want = attune_to_element(dtype, (double)values[i]);
      if (word != (want | (want | 0x8000) << 16)) fail_msg("%a packs to %08x, not %04x", (double)values[i], word, want);
    }
  }
  unsigned infinity = attune_to_element(dtype, INFINITY);
  assert_int_equal(p->pack(INFINITY, -INFINITY), infinity | (infinity | 0x8000) << 16);
  assert_int_equal(p->pack(3e38f * 10, 0.0f), infinity);
  assert_true(isnan(p->low(p->pack(NAN, 0.0f))));
}

static void elements_unpack_exactly(void **state) {
  (void)state;
  check_unpack(&fp16, ATTUNE_FP16);
  check_unpack(&bf16, ATTUNE_BF16);
}

static void elements_pack_to_nearest_even(void **state) {
  (void)state;
  check_pack(&fp16, ATTUNE_FP16);
  check_pack(&bf16, ATTUNE_BF16);
}

static void ends_of_the_scale_are_as_on_the_gpu(void **state) {
  (void)state;
  assert_true(bf16.exp2(-INFINITY) == 0.0f);
  assert_true(bf16.exp2(0.0f) == 1.0f);
  assert_true(isinf(bf16.exp2(INFINITY)));
  assert_true(bf16.max(NAN, 1.0f) == 1.0f);
  assert_true(bf16.max(1.0f, NAN) == 1.0f);
  assert_true(bf16.max(-INFINITY, -2.0f) == -2.0f);
  assert_true(bf16.max_nan(-127.0f, -INFINITY) == -127.0f);
  assert_true(bf16.max_nan(-127.0f, 3.0f) == 3.0f);
  assert_true(isnan(bf16.max_nan(-127.0f, NAN)));
}

/* ---- matrices ---- */

static void matrix_loads_put_elements_in_their_lanes(void **state) {
  (void)state;
  uint16_t matrices[4][8][8];
  const unsigned char *rows[32];
  uint32_t words[32][4], *out[32];
  for (int m = 0; m < 4; m++)
    for (int r = 0; r < 8; r++)
      for (int c = 0; c < 8; c++)
        matrices[m][r][c] = (uint16_t)(1000 * m + 10 * r + c);
  for (int i = 0; i < 32; i++) {
    rows[i] = (const unsigned char *)matrices[i / 8][i % 8];
    out[i] = words[i];
  }
  attune_simulator_load_matrix(out, rows, false);
  for (int lane = 0; lane < 32; lane++)
    for (int m = 0; m < 4; m++) {
      int want = 1000 * m + 10 * (lane / 4) + 2 * (lane % 4);
      assert_int_equal(words[lane][m], want | (want + 1) << 16);
    }
  attune_simulator_load_matrix(out, rows, true);
  for (int lane = 0; lane < 32; lane++)
    for (int m = 0; m < 4; m++) {
      int want = 1000 * m + 10 * (2 * (lane % 4)) + lane / 4;
      assert_int_equal(words[lane][m], want | (want + 10) << 16);
    }
}

/* Row and column of element i of a lane's A, B and C, by the formulas of the PTX ISA. */
static int row_a(int lane, int i) {
  return lane / 4 + (i % 4 >= 2 ? 8 : 0);
}
static int column_a(int lane, int i) {
  return lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0);
}
static int row_b(int lane, int i) {
  return lane % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0);
}

static void multiplies_follow_the_definition(void **state) {
  (void)state;
  for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
    attune_dtype dtype = is_bf16 ? ATTUNE_BF16 : ATTUNE_FP16;
    double a[16][16], b[16][8], c[16][8]; /* small integers: exact in every order */
    for (int r = 0; r < 16; r++)
      for (int k = 0; k < 16; k++)
        a[r][k] = (r * 7 + k * 3) % 11 - 5;
    for (int k = 0; k < 16; k++)
      for (int n = 0; n < 8; n++)
        b[k][n] = (k * 5 + n * 13) % 17 - 8;
    for (int r = 0; r < 16; r++)
      for (int n = 0; n < 8; n++)
        c[r][n] = r * 100 + n;
    uint32_t words[32][10], results[32][4], *out[32];
    const uint32_t *in[32];
    for (int lane = 0; lane < 32; lane++) {
      uint16_t elements[12];
      float sums[4];
      for (int i = 0; i < 8; i++)
        elements[i] = attune_to_element(dtype, a[row_a(lane, i)][column_a(lane, i)]);
      for (int i = 0; i < 4; i++) {
        elements[8 + i] = attune_to_element(dtype, b[row_b(lane, i)][lane / 4]);
        sums[i] = (float)c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
      }
      memcpy(words[lane], elements, sizeof elements);
      memcpy(words[lane] + 6, sums, sizeof sums);
      in[lane] = words[lane];
      out[lane] = results[lane];
    }
    attune_simulator_multiply(out, in, is_bf16);
    for (int lane = 0; lane < 32; lane++)
      for (int i = 0; i < 4; i++) {
        int r = lane / 4 + i / 2 * 8, n = lane % 4 * 2 + i % 2;
        double want = c[r][n];
        float have;
        for (int k = 0; k < 16; k++)
          want += a[r][k] * b[k][n];
        memcpy(&have, &results[lane][i], sizeof have);
        assert_true((double)have == want);
      }
  }
}

/* ---- kernels ---- */

enum { SUMS = 16 };
static float results[64 * 256];

static void launch(const primitives *p, const char *name, const struct attune_tensor_maps *maps,
                   struct attune_arguments arguments, int blocks, int threads, uint64_t seed) {
  arguments.lse = results;
  const attune_shape floats = {64 * 256, {1, 1, 1}, {0}}, word = {1, {1, 1, 1}, {0}}, sums = {SUMS, {1, 1, 1}, {0}};
  attune_simulator_memory memory = {.count = 0};
  assert_int_equal(attune_simulator_memory_add(&memory, "results", results, ATTUNE_SIMULATOR_WRITE, 4, &floats),
                   ATTUNE_OK);
  assert_int_equal(attune_simulator_memory_add(&memory, "counter", arguments.counter, ATTUNE_SIMULATOR_COUNT, 4, &word),
                   ATTUNE_OK);
  assert_int_equal(attune_simulator_memory_add(&memory, "sums", arguments.o_partial, ATTUNE_SIMULATOR_ADD, 4, &sums),
                   ATTUNE_OK);
  attune_simulator_grid grid = {.name = name,
                                .blocks = blocks,
                                .threads = threads,
                                .shared_bytes = 1024 + 8192 + 32768,
                                .arguments = &arguments,
                                .maps = maps,
                                .memory = &memory,
                                .seed = seed};
  *(void **)&grid.kernel_with_maps = symbol(p->object, name);
  if (attune_simulator_run(runner, &grid) != ATTUNE_OK) fail_msg("%s", attune_message());
}

/* Boxes that lie inside the tensor, and that leave it on every side. */
static void tiles_are_swizzled_and_zero_outside(void **state) {
  (void)state;
  enum { COLUMNS = 88, ROWS = 70, HEADS = 2, BATCH = 2, PITCH = 96 };
  static uint16_t tensor[BATCH][ROWS][HEADS][PITCH];
  for (int i = 0; i < BATCH * ROWS * HEADS * PITCH; i++)
    (&tensor[0][0][0][0])[i] = (uint16_t)(1 + i % 60000);
  struct attune_tensor_maps maps;
  const int64_t size[4] = {COLUMNS, ROWS, HEADS, BATCH},
                stride[3] = {HEADS * PITCH * 2, PITCH * 2, ROWS * HEADS * PITCH * 2};
  attune_simulator_tensor_map_fill(&maps.q, tensor, size, stride, 64, 64);
  static const int places[][4] = {{0, 0, 0, 0},  {64, 16, 1, 1}, {-8, -3, 0, 1},
                                  {88, 0, 0, 0}, {0, 64, 2, 0},  {3, 5, 1, -1}};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    const int *at = places[i];
    const struct attune_arguments arguments = {.seqlen_k = at[0], .group = at[1], .align_end = at[2], .tiles_m = at[3]};
    launch(&bf16, "test_tile", &maps, arguments, 1, 32, i);
    for (int r = 0; r < 64; r++)
      for (int c = 0; c < 64; c++) {
        int row = at[1] + r, column = at[0] + c;
        bool inside = row >= 0 && row < ROWS && column >= 0 && column < COLUMNS && at[2] >= 0 && at[2] < HEADS &&
                      at[3] >= 0 && at[3] < BATCH;
        uint16_t have;
        memcpy(&have, (const char *)results + r * 128 + (c / 8 ^ r % 8) * 16 + c % 8 * 2, sizeof have);
        assert_int_equal(have, inside ? tensor[at[3]][row][at[2]][column] : 0);
      }
  }
}

/* What lies outside of the tensor stays as it was. */
static void tiles_are_stored_inside(void **state) {
  (void)state;
  enum { COLUMNS = 88, ROWS = 70, HEADS = 2, BATCH = 2, PITCH = 96, UNTOUCHED = 0xffff };
  static uint16_t tensor[BATCH][ROWS][HEADS][PITCH];
  struct attune_tensor_maps maps;
  const int64_t size[4] = {COLUMNS, ROWS, HEADS, BATCH},
                stride[3] = {HEADS * PITCH * 2, PITCH * 2, ROWS * HEADS * PITCH * 2};
  attune_simulator_tensor_map_fill(&maps.o, tensor, size, stride, 64, 64);
  static const int places[][4] = {{0, 0, 0, 0}, {64, 16, 1, 1}, {64, 40, 0, 1}, {0, 64, 1, 0}};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    const int *at = places[i];
    const struct attune_arguments arguments = {.seqlen_k = at[0], .group = at[1], .align_end = at[2], .tiles_m = at[3]};
    memset(tensor, 0xff, sizeof tensor);
    launch(&bf16, "test_store", &maps, arguments, 1, 32, i);
    for (int b = 0; b < BATCH; b++)
      for (int row = 0; row < ROWS; row++)
        for (int h = 0; h < HEADS; h++)
          for (int column = 0; column < PITCH; column++) {
            const int r = row - at[1], c = column - at[0];
            const bool stored = b == at[3] && h == at[2] && column < COLUMNS && r >= 0 && r < 64 && c >= 0 && c < 64;
            assert_int_equal(tensor[b][row][h][column], stored ? r * 64 + (c / 8 ^ r % 8) * 8 + c % 8 : UNTOUCHED);
          }
  }
}

/* Every thread of every block gets a number of its own, and all numbers below their count are given. */
static void counting_gives_each_number_once(void **state) {
  (void)state;
  enum { BLOCKS = 40 };
  unsigned counter = 0;
  const struct attune_tensor_maps maps = {0};
  bool seen[BLOCKS * 32] = {false};
  launch(&bf16, "test_count", &maps, (struct attune_arguments){.counter = &counter}, BLOCKS, 32, 1);
  assert_int_equal(counter, BLOCKS * 32);
  for (int i = 0; i < BLOCKS * 32; i++) {
    const int thread = (int)results[i];
    assert_in_range(thread, 0, BLOCKS * 32 - 1);
    assert_false(seen[thread]);
    seen[thread] = true;
  }
}

/* Whichever blocks add at the same time: whole numbers of this size have one sum in every order. */
static void additions_of_blocks_are_all_there(void **state) {
  (void)state;
  enum { BLOCKS = 600 };
  const struct attune_tensor_maps maps = {0};
  for (uint64_t seed = 0; seed < 4; seed++) {
    static _Alignas(16) float sums[SUMS];
    int want[SUMS];
    for (int i = 0; i < SUMS; i++)
      sums[i] = (float)(want[i] = 1000 * i - 3);
    for (int b = 0; b < BLOCKS; b++)
      for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++)
          want[lane % 4 * 4 + i] += 100 * ((b * 7 + lane * 3 + i * 5) % 31 - 15);
    launch(&bf16, "test_add", &maps, (struct attune_arguments){.o_partial = sums}, BLOCKS, 32, seed);
    for (int i = 0; i < SUMS; i++)
      if (sums[i] != (float)want[i]) fail_msg("seed %d: sum %d is %g, not %d", (int)seed, i, (double)sums[i], want[i]);
  }
}

static void matrix_stores_take_elements_from_their_lanes(void **state) {
  (void)state;
  const struct attune_tensor_maps maps = {0};
  launch(&bf16, "test_store_matrix", &maps, (struct attune_arguments){0}, 1, 32, 1);
  for (int row = 0; row < 32; row++)
    for (int i = 0; i < 4; i++) {
      const int low = 1000 * (row / 8) + 10 * (row % 8) + 2 * i;
      assert_true(results[row * 4 + i] == (float)(low | (low + 1) << 16));
    }
}

static double value_a(int row, int k) {
  return (row * 7 + k * 3) % 11 - 5;
}
static double value_b(int k, int n) {
  return (k * 5 + n * 13) % 17 - 8;
}

static void check_product(const char *name, int n) {
  for (int row = 0; row < 64; row++)
    for (int column = 0; column < n; column++) {
      double want = 0, have = (double)results[row * n + column];
      for (int k = 0; k < 64; k++)
        want += value_a(row, k) * value_b(k, column);
      if (have != want) fail_msg("%s: (%d, %d) is %g, not %g", name, row, column, have, want);
    }
}

static void products_follow_the_definition(void **state) {
  (void)state;
  static const int sizes[] = {8, 24, 64, 80, 128, 256};
  static uint16_t a[64][64], a_turned[64][64], b[256][64], transposed[64][256];
  for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
    attune_dtype dtype = is_bf16 ? ATTUNE_BF16 : ATTUNE_FP16;
    for (int k = 0; k < 64; k++) {
      for (int r = 0; r < 64; r++)
        a[r][k] = a_turned[k][r] = attune_to_element(dtype, value_a(r, k));
      for (int n = 0; n < 256; n++)
        b[n][k] = transposed[k][n] = attune_to_element(dtype, value_b(k, n));
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
      struct attune_tensor_maps maps;
      const int64_t narrow[4] = {64, 256, 1, 1}, wide[4] = {256, 64, 1, 1}, by_64[3] = {128, 0, 0},
                    by_256[3] = {512, 0, 0};
      attune_simulator_tensor_map_fill(&maps.q, a, (int64_t[]){64, 64, 1, 1}, by_64, 64, 64);
      attune_simulator_tensor_map_fill(&maps.o, a_turned, (int64_t[]){64, 64, 1, 1}, by_64, 64, 64);
      attune_simulator_tensor_map_fill(&maps.k, b, narrow, by_64, sizes[i], sizes[i]);
      attune_simulator_tensor_map_fill(&maps.v, transposed, wide, by_256, 64, 64);
      for (uint64_t seed = 0; seed < 3; seed++) {
        static const char *const kinds[] = {"product", "n_major", "m_major", "registers"};
        for (int kind = 0; kind < 4; kind++) {
          char name[32];
          snprintf(name, sizeof name, "test_%s_%d", kinds[kind], sizes[i]);
          launch(is_bf16 ? &bf16 : &fp16, name, &maps, (struct attune_arguments){.q = a}, 1, 128, seed);
          check_product(name, sizes[i]);
        }
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(elements_unpack_exactly),
      cmocka_unit_test(elements_pack_to_nearest_even),
      cmocka_unit_test(ends_of_the_scale_are_as_on_the_gpu),
      cmocka_unit_test(matrix_loads_put_elements_in_their_lanes),
      cmocka_unit_test(matrix_stores_take_elements_from_their_lanes),
      cmocka_unit_test(multiplies_follow_the_definition),
      cmocka_unit_test(tiles_are_swizzled_and_zero_outside),
      cmocka_unit_test(tiles_are_stored_inside),
      cmocka_unit_test(counting_gives_each_number_once),
      cmocka_unit_test(additions_of_blocks_are_all_there),
      cmocka_unit_test(products_follow_the_definition),
  };
  return cmocka_run_group_tests_name("simulator_primitives", tests, set_up, tear_down);
}
