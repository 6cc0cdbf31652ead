/* Architectures and the limits that follow from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "generator/generator.h"

static void test_limits(void **unused) {
  (void)unused;
  /* CUDA programming guide, technical specifications per compute capability. */
  static const struct {
    const char *arch;
    int number, shared_per_block, threads_per_sm, blocks_per_sm;
  } rows[] = {{"sm_80", 80, 163, 2048, 32},   {"sm_86", 86, 99, 1536, 16},   {"sm_87", 87, 163, 1536, 16},
              {"sm_89", 89, 99, 1536, 24},    {"sm_90", 90, 227, 2048, 32},  {"sm_100", 100, 227, 2048, 32},
              {"sm_103", 103, 227, 2048, 32}, {"sm_120", 120, 99, 1536, 24}, {"121", 121, 99, 1536, 24},
              {"host", 0, 227, 2048, 32}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    attune_device d;
    assert_int_equal(attune_device_of_arch(&d, rows[i].arch), ATTUNE_OK);
    assert_int_equal(d.arch, rows[i].number);
    assert_int_equal(d.shared_per_block, rows[i].shared_per_block * 1024);
    assert_int_equal(d.shared_per_sm, d.shared_per_block + d.shared_reserved);
    assert_int_equal(d.threads_per_sm, rows[i].threads_per_sm);
    assert_int_equal(d.blocks_per_sm, rows[i].blocks_per_sm);
    assert_int_equal(d.registers_per_sm, 65536);
    assert_true(d.sm_count > 0 && d.clock_khz > 0 && d.memory_bandwidth > 0 && d.l2_bytes > 0);
  }
  for (int i = 0; attune_architectures[i] != NULL; i++) {
    attune_device d;
    assert_int_equal(attune_device_of_arch(&d, attune_architectures[i]), ATTUNE_OK);
    assert_string_equal(d.name, attune_architectures[i]);
  }
}

static void test_unknown(void **unused) {
  (void)unused;
  static const char *const bad[] = {"", "sm_", "sm_70", "sm_90a", "90a", "9", "sm_0090", "sm_1200", "Host", "cuda:0"};
  attune_device d;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(attune_device_of_arch(&d, bad[i]), ATTUNE_NO_DEVICE);
    assert_non_null(strstr(attune_message(), "sm_80, sm_86"));
  }
  assert_int_equal(attune_device_of_arch(&d, NULL), ATTUNE_BAD_ARGUMENT);
}

static void test_identity(void **unused) {
  (void)unused;
  attune_device d;
  char text[256], other[256];
  assert_int_equal(attune_device_of_arch(&d, "sm_90"), ATTUNE_OK);
  assert_int_equal(attune_device_identity(text, &d), ATTUNE_OK);
  assert_string_equal(text, "sm_90|sm_90|132 SMs|50 MiB L2|80 GiB");
  /* Each of its parts makes another device; the clock and a few MiB of memory do not. */
  attune_device changed = d;
  changed.clock_khz++;
  changed.memory_bytes -= 400 << 20;
  changed.l2_bytes += 100000;
  assert_int_equal(attune_device_identity(other, &changed), ATTUNE_OK);
  assert_string_equal(other, text);
  changed = d;
  changed.sm_count--;
  assert_int_equal(attune_device_identity(other, &changed), ATTUNE_OK);
  assert_string_not_equal(other, text);
  memset(d.name, 'x', sizeof d.name); /* a name without an end */
  assert_int_equal(attune_device_identity(other, &d), ATTUNE_OK);
  assert_true(strlen(other) < sizeof other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_unknown),
      cmocka_unit_test(test_identity),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
