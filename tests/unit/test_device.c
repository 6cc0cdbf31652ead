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

/* As other tools write an architecture; what is printed stays one text. */
static void test_spellings(void **unused) {
  (void)unused;
  static const struct {
    const char *text, *name;
  } rows[] = {{"sm_90", "sm_90"},      {"sm_90a", "sm_90"},      {"sm90", "sm_90"},       {"sm90a", "sm_90"},
              {"compute_90", "sm_90"}, {"compute_90a", "sm_90"}, {"90", "sm_90"},         {"90a", "sm_90"},
              {"9.0", "sm_90"},        {"8.6", "sm_86"},         {"compute_86", "sm_86"}, {"10.0", "sm_100"},
              {"sm_100f", "sm_100"},   {"sm_120a", "sm_120"},    {"12.1", "sm_121"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    attune_device d;
    if (attune_device_of_arch(&d, rows[i].text) != ATTUNE_OK) fail_msg("%s: %s", rows[i].text, attune_message());
    assert_string_equal(d.name, rows[i].name);
  }
}

static void test_unknown(void **unused) {
  (void)unused;
  static const char *const bad[] = {"",        "sm_",         "sm_80a", "sm_90x", "sm_90aa", "9",      "sm_0090",
                                    "sm_1200", "9.00",        "9.",     ".9",     "-90",     "sm_-90", "sm__90",
                                    "compute", "99999999999", "Host",   "cuda:0", "sm_90 "};
  attune_device d;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(attune_device_of_arch(&d, bad[i]), ATTUNE_BAD_ARGUMENT);
    assert_non_null(strstr(attune_message(), "sm_80, sm_86"));
  }
  assert_int_equal(attune_device_of_arch(&d, NULL), ATTUNE_BAD_ARGUMENT);
  /* As much as is said of such a card where it is present. */
  static const char *const old[] = {"sm_75", "7.5", "compute_70", "61"};
  for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
    assert_int_equal(attune_device_of_arch(&d, old[i]), ATTUNE_UNSUPPORTED);
    assert_non_null(strstr(attune_message(), "needs sm_80 or later, or use the device \"host\""));
  }
}

/* Sheets' dense TFLOP/s of 16-bit products with float accumulation, and their bandwidth in GB/s. */
static void test_cards(void **unused) {
  (void)unused;
  static const struct {
    const char *text, *name;
    int32_t arch;
    double tflops, bandwidth;
  } rows[] = {
      {"a10", "NVIDIA A10", 86, 125, 600},
      {"A10G", "NVIDIA A10G", 86, 70, 600},
      {"a40", "NVIDIA A40", 86, 149.7, 696},
      {"A100", "NVIDIA A100-SXM4-80GB", 80, 312, 2039},
      {"a100 40", "NVIDIA A100-SXM4-40GB", 80, 312, 1555},
      {"l4", "NVIDIA L4", 89, 121, 300},
      {"L40", "NVIDIA L40", 89, 181, 864},
      {"l40s", "NVIDIA L40S", 89, 362, 864},
      {"RTX 3090", "NVIDIA GeForce RTX 3090", 86, 71, 936},
      {"3090 ti", "NVIDIA GeForce RTX 3090 Ti", 86, 80, 1008},
      {"NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090", 89, 165.2, 1008},
      {"rtx-5090", "NVIDIA GeForce RTX 5090", 120, 209.5, 1792},
      {"rtx pro 6000", "NVIDIA RTX PRO 6000 Blackwell", 120, 503.8, 1792},
      {"h100", "NVIDIA H100 80GB HBM3", 90, 989, 3352},
      {"H100 PCIe", "NVIDIA H100 PCIe", 90, 756, 2000},
      {"h200", "NVIDIA H200", 90, 989, 4800},
      {"b200", "NVIDIA B200", 100, 2250, 8000},
      {"gb300", "NVIDIA GB300", 103, 2500, 8000},
      {"jetson orin", "Orin", 87, 42.5, 204.8},
      {"dgx spark", "NVIDIA GB10", 121, 125, 273},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    attune_device d;
    if (attune_device_of_card(&d, rows[i].text) != ATTUNE_OK) fail_msg("%s: %s", rows[i].text, attune_message());
    assert_string_equal(d.name, rows[i].name);
    assert_int_equal(d.arch, rows[i].arch);
    const double tflops = 1e-9 * d.sm_count * d.clock_khz * d.matrix_rate;
    if (tflops < 0.94 * rows[i].tflops || tflops > 1.02 * rows[i].tflops)
      fail_msg("%s: %.1f TFLOP/s, its sheet says %.1f", rows[i].text, tflops, rows[i].tflops);
    assert_in_range(d.memory_bandwidth, 0.98e9 * rows[i].bandwidth, 1.02e9 * rows[i].bandwidth);
    assert_int_equal(attune_card_matrix_rate(d.name, d.arch), d.matrix_rate);
  }
  /* What is not in the table is known by its kind, and names that begin alike are told apart. */
  assert_int_equal(attune_card_matrix_rate("NVIDIA GeForce RTX 4050 Laptop GPU", 89), 512);
  assert_int_equal(attune_card_matrix_rate("NVIDIA RTX 4000 Ada Generation", 89), 0);
  assert_int_equal(attune_card_matrix_rate("NVIDIA L40S", 89), 1024);
  assert_int_equal(attune_card_matrix_rate("NVIDIA L40", 89), 512);
}

static void test_unknown_cards(void **unused) {
  (void)unused;
  attune_device d;
  static const struct {
    const char *text, *near;
  } rows[] = {{"a11", "did you mean a10?"},
              {"rtx4091", "did you mean rtx4090?"},
              {"hl00", "did you mean h100 or h200?"},
              {"l40x", "did you mean l40 or l40s?"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_int_equal(attune_device_of_card(&d, rows[i].text), ATTUNE_BAD_ARGUMENT);
    if (strstr(attune_message(), rows[i].near) == NULL) fail_msg("%s: %s", rows[i].text, attune_message());
  }
  static const char *const far[] = {"", "?", "radeon",
                                    "a very long name that is the name of no card, and longer than all"};
  for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
    assert_int_equal(attune_device_of_card(&d, far[i]), ATTUNE_BAD_ARGUMENT);
    assert_null(strstr(attune_message(), "did you mean"));
    assert_non_null(strstr(attune_message(), "there are a100 ")); /* the whole list */
    assert_non_null(strstr(attune_message(), " rtxpro6000 spark"));
  }
  assert_int_equal(attune_device_of_card(&d, NULL), ATTUNE_BAD_ARGUMENT);
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
      cmocka_unit_test(test_limits), cmocka_unit_test(test_spellings),     cmocka_unit_test(test_unknown),
      cmocka_unit_test(test_cards),  cmocka_unit_test(test_unknown_cards), cmocka_unit_test(test_identity),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
