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

#include "runtime/host_matrix.h"
#include "runtime/machine.h"
#include "tuner/reference.h"

typedef struct {
  void *object;
  unsigned (*pack)(float low, float high);
  float (*low)(unsigned word), (*high)(unsigned word), (*exp2)(float x), (*max)(float a, float b);
} primitives;

static primitives fp16, bf16;

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

static void build(primitives *out, int is_bf16) {
  char *source = NULL, path[] = "/tmp/attune-test-XXXXXX";
  size_t size = 0;
  FILE *text = open_memstream(&source, &size);
  assert_non_null(text);
  fprintf(text, "#define DTYPE_BF16 %d\n", is_bf16);
  add_header(text, "templates/arguments.h");
  add_header(text, "templates/host_interface.h");
  add_header(text, "templates/primitives.host.h");
  fprintf(text, "extern \"C\" {\n"
                "unsigned test_pack(float low, float high) { return pack(low, high); }\n"
                "float test_low(unsigned word) { return unpack_low(word); }\n"
                "float test_high(unsigned word) { return unpack_high(word); }\n"
                "float test_exp2(float x) { return exp2_approximate(x); }\n"
                "float test_max(float a, float b) { return maximum(a, b); }\n"
                "}\n");
  fclose(text);
  attune_compiled compiled;
  if (attune_compile_host(&compiled, source, "primitives") != ATTUNE_OK) fail_msg("%s", attune_message());
  int file = mkstemp(path);
  assert_true(file >= 0);
  assert_int_equal(write(file, compiled.binary, compiled.size), compiled.size);
  close(file);
  out->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  unlink(path);
  assert_non_null(out->object);
  *(void **)&out->pack = symbol(out->object, "test_pack");
  *(void **)&out->low = symbol(out->object, "test_low");
  *(void **)&out->high = symbol(out->object, "test_high");
  *(void **)&out->exp2 = symbol(out->object, "test_exp2");
  *(void **)&out->max = symbol(out->object, "test_max");
  free(compiled.binary);
  free(compiled.log);
  free(source);
}

static int set_up(void **state) {
  (void)state;
  build(&fp16, 0);
  build(&bf16, 1);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
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
  attune_host_load_matrix(out, rows, false);
  for (int lane = 0; lane < 32; lane++)
    for (int m = 0; m < 4; m++) {
      int want = 1000 * m + 10 * (lane / 4) + 2 * (lane % 4);
      assert_int_equal(words[lane][m], want | (want + 1) << 16);
    }
  attune_host_load_matrix(out, rows, true);
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
    attune_host_multiply(out, in, is_bf16);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(elements_unpack_exactly),
      cmocka_unit_test(elements_pack_to_nearest_even),
      cmocka_unit_test(ends_of_the_scale_are_as_on_the_gpu),
      cmocka_unit_test(matrix_loads_put_elements_in_their_lanes),
      cmocka_unit_test(multiplies_follow_the_definition),
  };
  return cmocka_run_group_tests_name("host_primitives", tests, set_up, tear_down);
}
