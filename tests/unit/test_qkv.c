/* What a file's tensors become: a block mask of bytes as a sparse one, and what is wrong with one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/files/qkv.h"

enum { SEQLEN_Q = 40, SEQLEN_K = 50, HEADS = 2, HEAD_DIM = 8, ROWS = 3, COLUMNS = 4 }; /* blocks of 16 */

static char path[] = "/tmp/attune-qkv-XXXXXX";

static int set_up(void **state) {
  (void)state;
  const int file = mkstemp(path);
  return file < 0 ? -1 : close(file);
}

static int tear_down(void **state) {
  (void)state;
  return unlink(path);
}

/* Reads a file with that block mask. */
static attune_status read_masked(attune_qkv *out, const attune_tensor *mask, int32_t block_size,
                                 const char *mask_expr) {
  static float elements[SEQLEN_K * HEADS * HEAD_DIM];
  const size_t size_q = sizeof(float) * SEQLEN_Q * HEADS * HEAD_DIM;
  const attune_tensor tensors[] = {
      {"q", "F32", 4, {1, SEQLEN_Q, HEADS, HEAD_DIM}, elements, size_q},
      {"k", "F32", 4, {1, SEQLEN_K, HEADS, HEAD_DIM}, elements, sizeof elements},
      {"v", "F32", 4, {1, SEQLEN_K, HEADS, HEAD_DIM}, elements, sizeof elements},
      *mask,
  };
  attune_flags flags = {.block_size = block_size};
  attune_problem_init(&flags.problem);
  flags.problem.mask_expr = mask_expr;
  assert_int_equal(attune_safetensors_write(path, tensors, 4), ATTUNE_OK);
  return attune_qkv_read(out, path, &flags);
}

static void block_mask_is_read(void **state) {
  static const uint8_t kept[HEADS][ROWS][COLUMNS] = {{{1, 0, 0, 1}, {0, 0, 0, 0}, {0, 255, 1, 1}}, {{0}, {1}, {1, 1}}};
  static const int32_t rows[] = {0, 2, 2, 5, 5, 6, 8}, columns[] = {0, 3, 1, 2, 3, 0, 0, 1},
                       order[] = {2, 0, 1, 5, 4, 3};
  (void)state;
  for (int partly = 0; partly < 2; partly++) {
    attune_tensor mask = {"block_mask", "U8", 4, {1, HEADS, ROWS, COLUMNS}, kept, sizeof kept};
    if (partly) strcpy(mask.dtype, "BOOL");
    attune_qkv qkv;
    if (read_masked(&qkv, &mask, 16, partly ? "k % 2" : "") != ATTUNE_OK) fail_msg("%s", attune_message());
    const attune_block_mask *block_mask = &qkv.given.block_mask;
    assert_int_equal(qkv.problem.block_size, 16);
    assert_true(qkv.problem.block_density == 8.0f / 24.0f);
    assert_int_equal(block_mask->batch, 1);
    assert_int_equal(block_mask->heads, HEADS);
    assert_int_equal(block_mask->capacity, 8);
    assert_memory_equal(block_mask->row_offsets, rows, sizeof rows);
    assert_memory_equal(block_mask->row_order, order, sizeof order);
    for (int i = 0; i < 8; i++)
      assert_int_equal(block_mask->indices[i], 2 * columns[i] + !partly);
    attune_qkv_free(&qkv);
  }
}

static void bad_block_masks(void **state) {
  static const uint8_t kept[4 * ROWS * COLUMNS];
  const struct {
    attune_tensor mask;
    int32_t block_size;
    const char *says;
  } cases[] = {
      {{"block_mask", "U8", 4, {1, 1, ROWS, COLUMNS}, kept, ROWS * COLUMNS}, 32, "blocks of 32 x 32 (--block-size)"},
      {{"block_mask", "U8", 4, {1, 3, ROWS, COLUMNS}, kept, 3 * ROWS * COLUMNS}, 16, "(1 or 1, 2 or 1, 3, 4)"},
      {{"block_mask", "U8", 2, {ROWS, COLUMNS}, kept, ROWS * COLUMNS}, 16, "must be U8 or BOOL"},
      {{"block_mask", "F32", 4, {1, 1, ROWS, 1}, kept, 4 * ROWS}, 50, "must be U8 or BOOL"},
      {{"block_mask", "U8", 4, {1, 1, 2, 3}, kept, 6}, 20, "block_size is 20; it must be a multiple of 16"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_qkv qkv;
    assert_int_not_equal(read_masked(&qkv, &cases[i].mask, cases[i].block_size, ""), ATTUNE_OK);
    if (strstr(attune_message(), cases[i].says) == NULL) fail_msg("%zu: %s", i, attune_message());
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(block_mask_is_read), cmocka_unit_test(bad_block_masks)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
