/* Kernels: keys, hits, damage, eviction. */
#include "tests/unit/store_test.h"

static void every_field_changes_the_key(void **state) {
  (void)state;
  attune_kernel kernels[7];
  for (int i = 0; i < 7; i++)
    kernels[i] = kernel("config", "b", 1);
  kernels[1].config = "confi";
  kernels[2].arch = "sm_80";
  kernels[3].compiler = "nvrtc 12.9";
  kernels[4].options = "";
  kernels[5].source_sha256 = "00fe";
  /* Runs together to the bytes of kernels[0]. */
  kernels[6].config = "configs";
  kernels[6].arch = "m_90";
  for (int i = 0; i < 7; i++) {
    attune_kernel_key(&kernels[i]);
    assert_int_equal(strlen(kernels[i].key), 64);
    for (int j = 0; j < i; j++)
      assert_string_not_equal(kernels[i].key, kernels[j].key);
  }
  attune_kernel nothing = {0}, empty = {.config = "", .arch = "", .compiler = "", .options = "", .source_sha256 = ""};
  attune_kernel_key(&nothing);
  attune_kernel_key(&empty);
  assert_string_equal(nothing.key, empty.key);
}

/* A key that changes would make every stored kernel a miss. */
static void the_key_is_the_hash_of_netstrings(void **state) {
  (void)state;
  attune_kernel one = {.config = "a", .arch = "bc", .compiler = "", .options = "d", .source_sha256 = "e"};
  attune_kernel_key(&one);
  /* printf '1:a,2:bc,0:,1:d,1:e,' | sha256sum */
  assert_string_equal(one.key, "7f80f0becffe8c6d6cbf994ccea2ab553e3e957f65ed0c22484b7cdc9c8b9121");
}

static void a_kernel_comes_back_as_it_went_in(void **state) {
  (void)state;
  static const char binary[] = "\x7f"
                               "ELF\0\0\1\2";
  attune_kernel in = kernel("config", binary, sizeof binary), *out;
  attune_store *store = open_store("x.db");
  assert_int_equal(attune_store_find_kernel(store, &out, in.key), ATTUNE_OK);
  assert_null(out);
  put_kernel(store, in);
  attune_store_close(store);
  store = open_store("x.db");
  assert_int_equal(attune_store_find_kernel(store, &out, in.key), ATTUNE_OK);
  assert_non_null(out);
  attune_store_close(store); /* out owns what it points to */
  assert_string_equal(out->key, in.key);
  assert_string_equal(out->config, in.config);
  assert_string_equal(out->arch, in.arch);
  assert_string_equal(out->compiler, in.compiler);
  assert_string_equal(out->options, in.options);
  assert_string_equal(out->source_sha256, in.source_sha256);
  assert_string_equal(out->log, in.log);
  assert_int_equal(out->binary_size, in.binary_size);
  assert_memory_equal(out->binary, in.binary, in.binary_size);
  assert_int_equal((uintptr_t)out->binary % 16, 0);
  assert_int_equal(out->registers, 168);
  assert_int_equal(out->shared_static, -1);
  assert_int_equal(out->spill_bytes, 0);
  assert_true(out->compile_seconds == 0.75);
  free(out);
}

static void a_kernel_put_again_replaces_the_first(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  put_kernel(store, kernel("a", "first", 5));
  put_kernel(store, kernel("a", "second", 6));
  assert_int_equal(count(store).kernels, 1);
  assert_int_equal(count(store).kernel_bytes, 6);
  attune_store_close(store);
}

static void incomplete_kernels_are_refused(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  attune_kernel row = kernel("a", "x", 1);
  row.key[0] = 0;
  assert_int_equal(attune_store_put_kernel(store, &row), ATTUNE_BAD_ARGUMENT);
  row = kernel("a", "x", 0);
  assert_int_equal(attune_store_put_kernel(store, &row), ATTUNE_BAD_ARGUMENT);
  row = kernel("a", NULL, 1);
  assert_int_equal(attune_store_put_kernel(store, &row), ATTUNE_BAD_ARGUMENT);
  row = kernel("a", "x", 1);
  row.compile_seconds = NAN;
  assert_int_equal(attune_store_put_kernel(store, &row), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_store_put_kernel(store, NULL), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(count(store).kernels, 0);
  attune_store_close(store);
}

static void a_damaged_row_is_deleted_and_a_miss(void **state) {
  (void)state;
  static const char *const damages[] = {
      "UPDATE kernels SET binary = x'00' || substr(binary, 2) WHERE config = 'a'",
      "UPDATE kernels SET binary = substr(binary, 1, 3) WHERE config = 'a'",
      "UPDATE kernels SET binary_size = 5 WHERE config = 'a'",
      "UPDATE kernels SET binary = zeroblob(0) WHERE config = 'a'",
  };
  for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
    attune_store *store = open_store("x.db");
    put_kernel(store, kernel("a", "binary", 6));
    put_kernel(store, kernel("b", "binary", 6));
    sql("x.db", damages[i]);
    assert_false(has_kernel(store, "a"));
    assert_true(has_kernel(store, "b"));
    assert_string_equal(sql("x.db", "SELECT config FROM kernels"), "b");
    assert_int_equal(count(store).damaged, 1);
    put_kernel(store, kernel("a", "binary", 6));
    assert_true(has_kernel(store, "a"));
    assert_string_equal(attune_store_warning(store), "");
    attune_store_close(store);
  }
}

static void the_least_recently_used_make_room(void **state) {
  (void)state;
  setenv("ATTUNE_CACHE_LIMIT", "20", 1);
  attune_store *store = open_store("x.db");
  put_kernel(store, kernel("a", "binary", 6));
  put_kernel(store, kernel("b", "binary", 6));
  put_kernel(store, kernel("c", "binary", 6));
  sql("x.db", "UPDATE kernels SET last_used = last_used - 10000");
  assert_true(has_kernel(store, "a")); /* noted as a use */
  put_kernel(store, kernel("d", "binary", 6));
  assert_string_equal(sql("x.db", "SELECT config FROM kernels ORDER BY config"), "a\nc\nd");
  put_kernel(store, kernel("e", "0123456789", 10));
  assert_string_equal(sql("x.db", "SELECT config FROM kernels ORDER BY config"), "d\ne");
  put_kernel(store, kernel("f", "012345678901234567890", 21)); /* fits nowhere */
  assert_false(has_kernel(store, "f"));
  attune_store_close(store);
}

static void a_limit_that_is_no_number_is_the_default(void **state) {
  (void)state;
  static const char *const limits[] = {"", "12 MB", "-1", "99999999999999999999"};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    setenv("ATTUNE_CACHE_LIMIT", limits[i], 1);
    attune_store *store = open_memory();
    put_kernel(store, kernel("a", "0123456789012345", 16));
    assert_true(has_kernel(store, "a"));
    attune_store_close(store);
  }
}

/* Config, architecture, compiler, options and library are enough, without a source. */
static void a_library_finds_its_kernels_without_a_source(void **state) {
  (void)state;
  attune_store *store = open_store("x.db");
  attune_kernel stored = kernel("a", "binary", 6), *found;
  stored.library = "one";
  put_kernel(store, stored);
  attune_kernel wanted[7];
  for (int i = 0; i < 7; i++) {
    wanted[i] = stored;
    wanted[i].source_sha256 = NULL;
  }
  wanted[1].config = "b";
  wanted[2].arch = "sm_80";
  wanted[3].compiler = "nvrtc 12.9";
  wanted[4].options = "";
  wanted[5].library = "two";
  for (int i = 0; i < 6; i++) {
    assert_int_equal(attune_store_find_kernel_of_library(store, &found, &wanted[i]), ATTUNE_OK);
    assert_int_equal(found != NULL, i == 0);
    if (found) assert_string_equal(found->library, "one");
    free(found);
  }
  wanted[6].library = "";
  assert_int_equal(attune_store_find_kernel_of_library(store, &found, &wanted[6]), ATTUNE_BAD_ARGUMENT);
  assert_int_equal(attune_store_claim_kernel(store, stored.key, "two"), ATTUNE_OK);
  assert_int_equal(attune_store_find_kernel_of_library(store, &found, &wanted[5]), ATTUNE_OK);
  assert_non_null(found);
  free(found);
  attune_store_close(store);
}

/* What a processor runs is taken from no file that somebody else can write, whatever its rows say they are. */
static void code_from_files_of_others_is_not_run(void **state) {
  (void)state;
  attune_kernel host = kernel("host", "binary", 6), *found;
  host.arch = "host";
  attune_kernel_key(&host);
  attune_store *store = open_store("x.db");
  put_kernel(store, host);
  put_kernel(store, kernel("device", "binary", 6));
  const struct {
    const char *name;
    mode_t mode;
    bool taken;
  } cases[] = {{"x.db", 0644, true}, {"x.db", 0664, false}, {"x.db", 0646, false}, {"x.db", 0600, true},
               {".", 0720, false},   {".", 0702, false},    {".", 0755, true},     {"x.db-wal", 0666, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(chmod(in_folder("x.db"), 0600), 0);
    assert_int_equal(chmod(in_folder("."), 0700), 0);
    assert_int_equal(chmod(in_folder(cases[i].name), cases[i].mode), 0);
    assert_int_equal(attune_store_find_kernel(store, &found, host.key), ATTUNE_OK);
    assert_int_equal(found != NULL, cases[i].taken);
    free(found);
    assert_true(has_kernel(store, "device"));
    if (!cases[i].taken) assert_non_null(strstr(attune_store_warning(store), "others can write"));
  }
  sql("x.db", "UPDATE kernels SET arch = 'sm_90' WHERE config = 'host'");
  assert_int_equal(attune_store_find_kernel(store, &found, host.key), ATTUNE_OK);
  assert_null(found);
  attune_store_close(store);
}

/* Who can rename a folder above can put another one in its place. */
static void the_folders_above_are_private_too(void **state) {
  (void)state;
  attune_kernel host = kernel("host", "binary", 6), *found;
  host.arch = "host";
  attune_kernel_key(&host);
  attune_store *store = open_store("above/below/x.db");
  put_kernel(store, host);
  const struct {
    mode_t mode;
    bool taken;
  } cases[] = {{0755, true}, {0775, false}, {0757, false}, {01777, true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(chmod(in_folder("above"), cases[i].mode), 0);
    assert_int_equal(attune_store_find_kernel(store, &found, host.key), ATTUNE_OK);
    assert_int_equal(found != NULL, cases[i].taken);
    free(found);
  }
  attune_store_close(store);
  static const char *const files[] = {"above/below/x.db", "above/below/x.db-wal", "above/below/x.db-shm"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    unlink(in_folder(files[i]));
  assert_int_equal(rmdir(in_folder("above/below")), 0);
  assert_int_equal(rmdir(in_folder("above")), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_field_changes_the_key),
      cmocka_unit_test(the_key_is_the_hash_of_netstrings),
      TEST(a_kernel_comes_back_as_it_went_in),
      TEST(a_kernel_put_again_replaces_the_first),
      TEST(incomplete_kernels_are_refused),
      TEST(a_damaged_row_is_deleted_and_a_miss),
      TEST(the_least_recently_used_make_room),
      TEST(a_limit_that_is_no_number_is_the_default),
      TEST(code_from_files_of_others_is_not_run),
      TEST(the_folders_above_are_private_too),
      TEST(a_library_finds_its_kernels_without_a_source),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
