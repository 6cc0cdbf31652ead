/* Files of tensors: what is written comes back, and every way of lying is refused with its numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/tuner.h"

static char folder[64];

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/attune-test-XXXXXX");
  return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
  (void)state;
  return rmdir(folder);
}

static void path_in(char out[128], const char *name) {
  snprintf(out, 128, "%s/%s", folder, name);
}

static void what_is_written_comes_back(void **state) {
  (void)state;
  char path[128];
  path_in(path, "tensors");
  const uint16_t half[3] = {1, 2, 3};
  const float wide[2] = {4.0f, -INFINITY};
  const attune_tensor tensors[] = {
      {.name = "o", .dtype = "BF16", .rank = 2, .shape = {1, 3}, .data = half, .size = sizeof half},
      {.name = "lse", .dtype = "F32", .rank = 1, .shape = {2}, .data = wide, .size = sizeof wide},
      {.name = "empty", .dtype = "U8", .rank = 1, .shape = {0}, .data = half, .size = 0}};
  attune_safetensors *file;
  assert_int_equal(attune_safetensors_write(path, tensors, 3), ATTUNE_OK);
  assert_int_equal(attune_safetensors_read(&file, path), ATTUNE_OK);
  for (int i = 0; i < 3; i++) {
    const attune_tensor *back = attune_safetensors_find(file, tensors[i].name);
    assert_non_null(back);
    assert_string_equal(back->dtype, tensors[i].dtype);
    assert_int_equal(back->rank, tensors[i].rank);
    assert_memory_equal(back->shape, tensors[i].shape, sizeof back->shape);
    assert_int_equal(back->size, tensors[i].size);
    assert_memory_equal(back->data, tensors[i].data, back->size);
  }
  assert_null(attune_safetensors_find(file, "q"));
  attune_safetensors_close(file);
  assert_int_equal(unlink(path), 0);
}

static void a_failed_write_leaves_nothing(void **state) {
  (void)state;
  char path[128];
  const attune_tensor tensor = {.name = "o", .dtype = "U8", .rank = 1, .shape = {1}, .data = "x", .size = 1};
  path_in(path, "absent/tensors");
  assert_int_equal(attune_safetensors_write(path, &tensor, 1), ATTUNE_BAD_FILE);
  /* A folder cannot be replaced by a file: the rename fails after all bytes are written. */
  path_in(path, "taken");
  assert_int_equal(mkdir(path, 0700), 0);
  assert_int_equal(attune_safetensors_write(path, &tensor, 1), ATTUNE_BAD_FILE);
  assert_int_equal(rmdir(path), 0);
  /* remove_folder fails if anything was left. */
}

static void absent_files_are_named(void **state) {
  (void)state;
  attune_safetensors *file;
  assert_int_equal(attune_safetensors_read(&file, "/nonexistent/x.safetensors"), ATTUNE_BAD_FILE);
  assert_null(file);
  assert_non_null(strstr(attune_message(), "/nonexistent/x.safetensors"));
  assert_int_equal(attune_safetensors_read(&file, "/tmp"), ATTUNE_BAD_FILE);
}

/* A file with this header and so many zero bytes of data, at an odd address. */
static attune_status parse(const char *header, size_t data_size) {
  static unsigned char memory[4096];
  unsigned char *bytes = memory + 1;
  const size_t length = strlen(header);
  memset(memory, 0, sizeof memory);
  bytes[0] = (unsigned char)length;
  bytes[1] = (unsigned char)(length >> 8);
  memcpy(bytes + 8, header, length);
  attune_safetensors *file;
  const attune_status status = attune_safetensors_parse(&file, bytes, 8 + length + data_size);
  if (status == ATTUNE_OK)
    attune_safetensors_close(file);
  else
    assert_null(file);
  return status;
}

#define TENSOR(name, dtype, shape, offsets)                                                                            \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void honest_files_are_read(void **state) {
  (void)state;
  assert_int_equal(parse("{}", 0), ATTUNE_OK);
  assert_int_equal(parse("{}   ", 0), ATTUNE_OK);
  assert_int_equal(parse("{\"__metadata__\":{\"format\":\"pt\"}}", 0), ATTUNE_OK);
  assert_int_equal(parse("{" TENSOR("q", "F32", "[]", "[0,4]") "}", 4), ATTUNE_OK);
  assert_int_equal(parse("{" TENSOR("k", "F16", "[3]", "[2,8]") "," TENSOR("q", "F16", "[1]", "[0,2]") "}", 8),
                   ATTUNE_OK);
}

static void lying_files_are_refused(void **state) {
  (void)state;
  const struct {
    const char *header;
    size_t data_size;
    const char *says;
  } cases[] = {
      {"", 0, "not a JSON object"},
      {"[]", 0, "not a JSON object"},
      {"{\"q\":", 0, "not a JSON object"},
      {"{} x", 0, "not a JSON object"},
      {"{}", 1, "has 1 bytes of data, its tensors cover 0"},
      {"{\"q\":1}", 0, "has no \"dtype\""},
      {"{\"q\":{\"dtype\":\"F16\"}}", 0, "no array \"shape\""},
      {"{" TENSOR("q", "F17", "[1]", "[0,2]") "}", 2, "unknown dtype \"F17\""},
      {"{" TENSOR("q", "F16", "[1.5]", "[0,2]") "}", 2, "dimension 0"},
      {"{" TENSOR("q", "F16", "[-1]", "[0,2]") "}", 2, "dimension 0"},
      {"{" TENSOR("q", "F16", "[1,1,1,1,1,1,1,1,1]", "[0,2]") "}", 2, "9 dimensions, at most 8"},
      {"{" TENSOR("q", "F16", "[4294967296,4294967296]", "[0,2]") "}", 2, "overflows at dimension 1"},
      {"{" TENSOR("q", "F32", "[4611686018427387904]", "[0,2]") "}", 2, "size in bytes overflows"},
      {"{" TENSOR("q", "F32", "[99999999999999999999]", "[0,2]") "}", 2, "not a JSON object"},
      {"{" TENSOR("q", "F16", "[2]", "[0]") "}", 4, "not two byte offsets"},
      {"{" TENSOR("q", "F16", "[2]", "[0,-4]") "}", 4, "not two byte offsets"},
      {"{" TENSOR("q", "F16", "[2]", "[0,\"4\"]") "}", 4, "not two byte offsets"},
      {"{" TENSOR("q", "F16", "[2]", "[0,6]") "}", 4, "reach to 6, the file has 4"},
      {"{" TENSOR("q", "F16", "[3]", "[0,4]") "}", 4, "need 6 bytes, its offsets 0 to 4"},
      {"{" TENSOR("q", "F16", "[2]", "[4,0]") "}", 4, "need 4 bytes, its offsets 4 to 0"},
      {"{" TENSOR("q", "F16", "[2]", "[0,4]") "," TENSOR("k", "F16", "[2]", "[2,6]") "}", 6, "inside another one"},
      {"{" TENSOR("q", "F16", "[2]", "[0,4]") "," TENSOR("k", "F16", "[1]", "[6,8]") "}", 8, "after a gap"},
      {"{" TENSOR("q", "F16", "[2]", "[0,4]") "," TENSOR("q", "F16", "[2]", "[0,4]") "}", 4, "duplicate"},
      {"{" TENSOR("0123456789012345678901234567890123456789012345678901234567890123", "F16", "[2]", "[0,4]") "}", 4,
       "64 bytes, at most 63"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(parse(cases[i].header, cases[i].data_size), ATTUNE_BAD_FILE);
    if (strstr(attune_message(), cases[i].says) == NULL) fail_msg("%s: %s", cases[i].header, attune_message());
  }
}

static void truncated_files_are_refused(void **state) {
  (void)state;
  unsigned char bytes[256] = {0};
  const char *header = "{" TENSOR("q", "F16", "[2]", "[0,4]") "}";
  const size_t size = 8 + strlen(header) + 4;
  bytes[0] = (unsigned char)strlen(header);
  memcpy(bytes + 8, header, strlen(header));
  attune_safetensors *file;
  for (size_t cut = 0; cut < size; cut++)
    assert_int_equal(attune_safetensors_parse(&file, bytes, cut), ATTUNE_BAD_FILE);
  assert_int_equal(attune_safetensors_parse(&file, bytes, size), ATTUNE_OK);
  attune_safetensors_close(file);
  memset(bytes, 0xff, 8);
  assert_int_equal(attune_safetensors_parse(&file, bytes, size), ATTUNE_BAD_FILE);
  assert_non_null(strstr(attune_message(), "18446744073709551615"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_written_comes_back), cmocka_unit_test(a_failed_write_leaves_nothing),
      cmocka_unit_test(absent_files_are_named),     cmocka_unit_test(honest_files_are_read),
      cmocka_unit_test(lying_files_are_refused),    cmocka_unit_test(truncated_files_are_refused),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
