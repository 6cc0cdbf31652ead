/* The command as a user meets it: run as a program, judged by its exit code, what it prints, and what it leaves. */
#include <sqlite3.h>

#include "tests/unit/command_case.h"

/* ---- tests ---- */

static void every_verb_explains_itself(void **state) {
  (void)state;
  static const char *const verbs[] = {"devices", "emit",    "compile", "run",  "verify",
                                      "tune",    "explain", "bench",   "store"};
  const result *found = run("--help");
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    assert_non_null(strstr(found->out, verbs[i]));
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
    found = run("%s --help", verbs[i]);
    expect(found, 0, "--json");
    assert_non_null(strstr(found->out, "usage: attune"));
    assert_string_equal(found->err, "");
    expect(run("%s --no-such-flag", verbs[i]), 2, "--no-such-flag");
    expect(run("%s --json --no-such-flag", verbs[i]), 2, "\"ATTUNE_BAD_ARGUMENT\"");
  }
  expect(run("--version"), 0, attune_version());
}

static void a_full_disk_is_no_success(void **state) {
  (void)state;
  expect(run("emit --arch sm_90 >/dev/full"), 1, "No space left");
}

static void devices_have_the_host(void **state) {
  (void)state;
  json_t *object = json_of(run("devices --json"));
  json_t *list = json_object_get(object, "devices"), *host = json_array_get(list, json_array_size(list) - 1);
  assert_string_equal(text_at(host, "name"), "host");
  assert_string_equal(text_at(host, "arch"), "host");
  json_decref(object);
  expect(run("devices"), 0, "host");
}

static void emit_prints_what_its_config_reproduces(void **state) {
  (void)state;
  char first[65536];
  json_t *object = json_of(run("emit --arch sm_90 --head-dim 128 --dtype bf16 --mask causal --json"));
  char config[ATTUNE_TEXT_MAX];
  snprintf(config, sizeof config, "%s", text_at(object, "config"));
  snprintf(first, sizeof first, "%s", text_at(object, "code"));
  json_decref(object);
  assert_non_null(strstr(config, "forward.wgmma.bf16.d128.causal."));
  const result *found = run("emit --arch sm_90 --config %s", config);
  assert_int_equal(found->exit_code, 0);
  assert_string_equal(found->out, first);
  found = run("emit --arch host --config %s", config);
  assert_int_equal(found->exit_code, 0);
  assert_string_not_equal(found->out, first);
  expect(run("emit --arch sm_90 --head-dim 64 --config %s", config), 2, "is for head_dim 128, the problem has 64");
  object = json_of(run("emit --arch sm_90 --head-dim 128 --density 0.1 --sinks --json"));
  found = run("emit --arch sm_90 --config %s", text_at(object, "config"));
  assert_non_null(strstr(text_at(object, "config"), "forward.wgmma.bf16.d128.block_mask128.sinks."));
  assert_string_equal(found->out, text_at(object, "code"));
  json_decref(object);
  expect(run("emit --arch sm_90 --config block_mask.warp.block_mask64.w4"), 0,
         "Launch: one warp for each row or column of blocks");
  expect(run("emit --arch sm_90 --head-dim 128 --mask causal --dtype fp16 --config %s", config), 2,
         "is for dtype bf16, the problem has fp16");
  expect(run("emit --arch sm_90 --family reference --config %s", config), 2, "contradict");
  expect(run("emit --arch sm_86 --config forward.mma.bf16.d256.m128.n128.w8.s2.b1"), 1, "shared memory");
  expect(run("emit --arch sm_90 --family reference"), 0, "forward.reference.");
}

static void compile_says_what_a_kernel_needs(void **state) {
  (void)state;
  json_t *object = json_of(run("compile --arch host --family reference --head-dim 16 --output out.so --json"));
  assert_string_equal(text_at(object, "arch"), "host");
  const json_int_t size = json_integer_value(json_object_get(object, "binary_bytes"));
  json_decref(object);
  char path[128];
  snprintf(path, sizeof path, "%s/out.so", folder);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  assert_int_equal(ftell(file), size);
  fclose(file);
  unlink(path);
}

/* The output against float64, on the simulator. */
static void check_output(const char *name, const char *dtype, double allowed) {
  char path[128];
  attune_safetensors *file;
  attune_problem problem;
  uint16_t half_q[sizeof q / sizeof *q], half_k[sizeof k / sizeof *k], half_v[sizeof v / sizeof *v];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (attune_safetensors_read(&file, path) != ATTUNE_OK) fail_msg("%s", attune_message());
  const attune_tensor *o = attune_safetensors_find(file, "o"), *lse = attune_safetensors_find(file, "lse");
  assert_true(o != NULL && lse != NULL);
  assert_string_equal(o->dtype, dtype);
  assert_string_equal(lse->dtype, "F32");
  const int64_t shape[] = {1, SEQLEN_Q, HEADS_Q, WIDTH_V}, lse_shape[] = {1, HEADS_Q, SEQLEN_Q};
  assert_int_equal(o->rank, 4);
  assert_memory_equal(o->shape, shape, sizeof shape);
  assert_int_equal(lse->rank, 3);
  assert_memory_equal(lse->shape, lse_shape, sizeof lse_shape);

  problem = (attune_problem){.dtype = ATTUNE_FP16,
                             .head_dim = WIDTH,
                             .head_dim_v = WIDTH_V,
                             .batch = 1,
                             .heads_q = HEADS_Q,
                             .heads_kv = HEADS_KV,
                             .seqlen_q = SEQLEN_Q,
                             .seqlen_k = SEQLEN_K,
                             .mask = ATTUNE_MASK_CAUSAL,
                             .window_left = -1,
                             .window_right = -1,
                             .scale = 0.5f};
  problem.q = (attune_strides){0, HEADS_Q * WIDTH, WIDTH};
  problem.k = (attune_strides){0, HEADS_KV * WIDTH, WIDTH};
  problem.v = (attune_strides){0, HEADS_KV * WIDTH_V, WIDTH_V};
  for (size_t i = 0; i < sizeof q / sizeof *q; i++)
    half_q[i] = attune_to_element(ATTUNE_FP16, (double)q[i]);
  for (size_t i = 0; i < sizeof k / sizeof *k; i++)
    half_k[i] = attune_to_element(ATTUNE_FP16, (double)k[i]);
  for (size_t i = 0; i < sizeof v / sizeof *v; i++)
    half_v[i] = attune_to_element(ATTUNE_FP16, (double)v[i]);
  const attune_inputs inputs = {.q = half_q, .k = half_k, .v = half_v};
  for (int head = 0; head < HEADS_Q; head++)
    for (int row = 0; row < SEQLEN_Q; row++) {
      double exact[WIDTH_V], exact_lse;
      float value, found_lse;
      attune_reference_row(exact, &exact_lse, &problem, &inputs, 0, head, row);
      memcpy(&found_lse, (const char *)lse->data + 4 * (head * SEQLEN_Q + row), sizeof found_lse);
      assert_true(fabs((double)found_lse - exact_lse) < 1e-4);
      for (int d = 0; d < WIDTH_V; d++) {
        memcpy(&value, (const char *)o->data + 4 * ((row * HEADS_Q + head) * WIDTH_V + d), sizeof value);
        assert_true(fabs((double)value - exact[d]) < allowed);
      }
    }
  attune_safetensors_close(file);
  unlink(path);
}

static void run_computes_attention_of_a_file(void **state) {
  (void)state;
  write_qkv("in", "");
  const char *flags = "--input in --output out --device host --mask causal --scale 0.5";
  expect(run("run %s", flags), 0, "forward.wgmma.bf16");
  check_output("out", "F32", 0.02);
  expect(run("run %s --dtype fp16", flags), 0, "forward.wgmma.fp16");
  check_output("out", "F32", 0.003);
  expect(run("run %s --dtype fp16 --family reference", flags), 0, "forward.reference.fp16");
  check_output("out", "F32", 0.003);
  json_t *object = json_of(run("run %s --dtype fp16 --json", flags));
  char config[ATTUNE_TEXT_MAX];
  snprintf(config, sizeof config, "%s", text_at(object, "config"));
  assert_string_equal(text_at(object, "class"), "forward.fp16.d8.v16.b1.h4.kv2.q5.k7.causal.lse");
  json_decref(object);
  expect(run("run %s --dtype fp16 --config %s", flags, config), 0, "(named)");
  check_output("out", "F32", 0.003);
}

static double element_of(const attune_tensor *tensor, int row, int head, int column) {
  float value;
  const int64_t index = (row * tensor->shape[2] + head) * tensor->shape[3] + column;
  memcpy(&value, (const char *)tensor->data + index * 4, sizeof value);
  return (double)value;
}

/* What all gradients have in common with their inputs: a row's weights add up to 1, so that the gradients of V are
 * those of O, added up; and the scores' gradients times the scores are those of Q times Q, and of K times K. */
static void check_gradients(const char *name) {
  attune_safetensors *file = open_file(name);
  const attune_tensor *dq = attune_safetensors_find(file, "dq"), *dk = attune_safetensors_find(file, "dk"),
                      *dv = attune_safetensors_find(file, "dv");
  assert_true(dq != NULL && dk != NULL && dv != NULL);
  const int64_t of_q[] = {1, SEQLEN_Q, HEADS_Q, WIDTH}, of_k[] = {1, SEQLEN_K, HEADS_KV, WIDTH},
                of_v[] = {1, SEQLEN_K, HEADS_KV, WIDTH_V};
  assert_memory_equal(dq->shape, of_q, sizeof of_q);
  assert_memory_equal(dk->shape, of_k, sizeof of_k);
  assert_memory_equal(dv->shape, of_v, sizeof of_v);
  const int group = HEADS_Q / HEADS_KV;
  for (int head = 0; head < HEADS_KV; head++) {
    double by_q = 0, by_k = 0, size = 0;
    for (int d = 0; d < WIDTH_V; d++) {
      double given = 0, found = 0;
      for (int i = 0; i < SEQLEN_Q; i++)
        for (int h = head * group; h < (head + 1) * group; h++)
          given += (double)d_o[(i * HEADS_Q + h) * WIDTH_V + d];
      for (int j = 0; j < SEQLEN_K; j++)
        found += element_of(dv, j, head, d);
      if (!(fabs(given - found) < 0.02)) fail_msg("dv adds up to %g, do to %g", found, given);
    }
    for (int d = 0; d < WIDTH; d++) {
      for (int i = 0; i < SEQLEN_Q; i++)
        for (int h = head * group; h < (head + 1) * group; h++) {
          by_q += element_of(dq, i, h, d) * (double)q[(i * HEADS_Q + h) * WIDTH + d];
          size += fabs(element_of(dq, i, h, d));
        }
      for (int j = 0; j < SEQLEN_K; j++)
        by_k += element_of(dk, j, head, d) * (double)k[(j * HEADS_KV + head) * WIDTH + d];
    }
    if (!(size > 0.1 && fabs(by_q - by_k) < 0.02)) fail_msg("dq.q is %g, dk.k %g, of %g", by_q, by_k, size);
  }
  attune_safetensors_close(file);
}

static void expect_same_tensor(const char *a, const char *b, const char *name) {
  attune_safetensors *files[] = {open_file(a), open_file(b)};
  const attune_tensor *one = attune_safetensors_find(files[0], name), *other = attune_safetensors_find(files[1], name);
  assert_true(one != NULL && other != NULL && one->size == other->size);
  assert_memory_equal(one->data, other->data, one->size);
  attune_safetensors_close(files[0]);
  attune_safetensors_close(files[1]);
}

/* q, k, v and do, with o and, unless changed, lse of a file that was written. */
static void write_with_saved(const char *name, const char *saved, bool lse) {
  char path[128];
  attune_tensor tensors[6];
  attune_safetensors *in = open_file("in"), *out = open_file(saved);
  static const char *const names[] = {"q", "k", "v", "do", "o", "lse"};
  for (int i = 0; i < 6; i++)
    tensors[i] = *attune_safetensors_find(i < 4 ? in : out, names[i]);
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_int_equal(attune_safetensors_write(path, tensors, lse ? 6 : 5), ATTUNE_OK);
  attune_safetensors_close(in);
  attune_safetensors_close(out);
}

static void run_computes_gradients_of_a_file(void **state) {
  (void)state;
  const char *flags = "--output out --device host --mask causal --scale 0.5 --dtype fp16 --backward";
  write_qkv("in", "");
  expect(run("run --input in %s", flags), 1, "no tensor \"do\"");
  expect_nothing_written();
  write_qkv("in", "do");
  expect(run("run --input in %s", flags), 0, "forward  forward.wgmma.fp16");
  check_gradients("out");
  write_with_saved("saved", "out", true);
  expect(run("run --input saved %s", flags), 0, "config   backward.wgmma.fp16");
  check_gradients("out");
  expect_same_tensor("saved", "out", "o");
  expect_same_tensor("saved", "out", "lse");
  check_output("out", "F32", 0.003);
  json_t *object = json_of(run("run --input saved %s --family reference --json", flags));
  assert_true(json_is_null(json_object_get(object, "forward_config")));
  assert_non_null(strstr(text_at(object, "config"), "backward.reference.fp16"));
  json_decref(object);
  check_gradients("out");
  check_output("out", "F32", 0.003);
  write_with_saved("half", "saved", false);
  expect(run("run --input half %s", flags), 1, "there is a tensor \"o\" and no \"lse\"");
  expect_nothing_written();
  expect(run("verify --input in --device host --mask causal --backward --family mma"), 0, "of the file");
}

static void bad_input_writes_nothing(void **state) {
  (void)state;
  expect(run("emit --arch sm_90 --json --output /dev/stdout"), 2, "both write to standard output");
  static const struct {
    const char *change, *status, *says;
    int exit_code;
  } cases[] = {
      {"absent", "ATTUNE_BAD_FILE", "no tensor \\\"v\\\"", 1},
      {"dtype", "ATTUNE_BAD_FILE", "\\\"k\\\" is I32", 1},
      {"rank", "ATTUNE_BAD_FILE", "\\\"q\\\" has 2 dimensions", 1},
      {"heads", "ATTUNE_BAD_FILE", "the number of heads of \\\"k\\\" is 1, that of \\\"v\\\" is 2", 1},
      {"head_dim", "ATTUNE_UNSUPPORTED", "head_dim is 4", 1},
      {"empty", "ATTUNE_BAD_SIZE", "seqlen_q is 0", 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_qkv("in", cases[i].change);
    const result *found = run("run --input in --output out --device host --json");
    expect(found, cases[i].exit_code, cases[i].status);
    expect(found, cases[i].exit_code, cases[i].says);
    expect_nothing_written();
  }
  write_qkv("in", "huge");
  expect(run("run --input in --output out --device host --dtype fp16"), 1, "q has 1 elements beyond the largest fp16");
  write_qkv("in", "");
  truncate_file("in", 1);
  expect(run("run --input in --output out --device host --json"), 1, "ATTUNE_BAD_FILE");
  truncate_file("in", 1000);
  expect(run("run --input in --output out --device host"), 1, "attune: in: ");
  expect(run("run --input nowhere --output out --device host"), 1, "nowhere: cannot read: No such file");
  write_qkv("in", "");
  expect(run("run --input in --output nowhere/out --device host"), 1, "nowhere/out: cannot create");
  expect(run("run --input in --output out --device cuda:99 --json"), 1, "ATTUNE_NO_");
  expect(run("run --input in --output out --device abacus"), 2, "abacus");
  expect(run("run --input in --output out --device host --config forward.mma.bf16.d64.m64.n64.w4.s1.b1"), 2,
         "head_dim");
  expect(run("run --input in --output out --device host --window 3,3 --mask causal --json"), 2, "ATTUNE_BAD_WINDOW");
  expect_nothing_written();
}

static void files_of_problems_are_refused_with_their_line(void **state) {
  (void)state;
  char path[128];
  snprintf(path, sizeof path, "%s/problem.json", folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("{\n  \"head_dim\": 64,\n  \"batch\" 2\n}\n", file);
  fclose(file);
  expect(run("verify --problem problem.json --json"), 1, "ATTUNE_BAD_JSON");
  expect(run("verify --problem problem.json"), 1, "problem.json, line 3");
  expect(run("verify --problem - <problem.json"), 1, "-, line 3");
  expect(run("verify --problem nowhere.json"), 1,
         "nowhere.json: cannot read: No such file or directory; expected a JSON");
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0);
  expect(run("verify --problem problem.json"), 1, "a FIFO that nobody writes into");
  unlink(path);
}

/* A mistyped --database: the run goes on without, and says so. */
static void a_file_of_others_is_no_store(void **state) {
  (void)state;
  char path[128];
  snprintf(path, sizeof path, "%s/in", folder);
  write_qkv("in", "");
  struct stat before, after;
  assert_int_equal(stat(path, &before), 0);
  expect(run("run --input in --output out --device host --family reference --database in"), 0,
         "attune: in is not a store of Attune and was left alone");
  expect(run("tune --arch sm_90 --database in"), 1, "in is not a store of Attune and was left alone\n");
  expect(run("store list --database in"), 1, "in is not a store of Attune; nothing is read from it\n");
  assert_int_equal(stat(path, &after), 0);
  assert_true(before.st_ino == after.st_ino && before.st_size == after.st_size);
  expect(run("store list --database no/such/folder/a.db"), 0, "nothing stored");
  snprintf(path, sizeof path, "%s/no", folder);
  assert_int_equal(access(path, F_OK), -1);
  snprintf(path, sizeof path, "%s/out", folder);
  unlink(path);
}

static void verify_finds_kernels_right(void **state) {
  (void)state;
  const result *found =
      run("verify --device host --head-dim 16 --heads-q 2 --heads-kv 1 --seqlen-q 40 --seqlen-k 50 --lse "
          "--mask causal-bottom-right --seed 3 --json");
  json_t *object = json_of(found);
  assert_int_equal(found->exit_code, 0);
  assert_true(json_is_true(json_object_get(object, "passed")));
  json_t *cases = json_object_get(object, "cases");
  assert_int_equal(json_array_size(cases), 5);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(cases, 0), "rows_checked")), 80);
  json_decref(object);
  write_qkv("in", "");
  expect(run("verify --device host --input in --family reference --softcap 5"), 0, "right");
  /* Scores that cancel to a fraction of their terms: LSE is right to what float sums give. */
  expect(run("verify --device host --head-dim 128 --seqlen-q 64 --seqlen-k 1 --heads-q 2 --lse --seed 8 --family "
             "reference"),
         0, "extreme");
  static const char lengths[] =
      "verify --device host --head-dim 16 --batch 2 --seqlen-q 20 --family reference --seqlens-q";
  expect(run("%s 20,3 --seqlens-k 0,11", lengths), 0, "        23\n");
  expect(run("%s 20,21", lengths), 2, "seqlens_q[1] is 21; it must be from 0 to the problem's bound, 20");
  expect(run("%s 20", lengths), 2, "seqlens_q has 1 lengths for a batch of 2; give one for each sequence");
}

static long long number_at(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

static void explain_counts_what_masks_leave(void **state) {
  (void)state;
  static const struct {
    const char *flags;
    int blocks, kept, whole, most; /* kept < 0: by chance */
  } cases[] = {{"--mask causal", 32, 20, 12, 4},
               {"--window 0,0 --seqlen-k 512", 32, 8, 0, 1},
               {"--pattern blocks:128,0", 32, 8, 8, 1},
               {"--density 1", 32, 32, 32, 4},
               {"--density 1 --mask causal", 32, 20, 12, 4},
               {"--density 1 --pattern blocks:128,0", 32, 8, 8, 1},
               {"--density 1 --block-size 64", 128, 128, 128, 8},
               {"--density 0.5", 32, -1, -1, 4}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *object =
        json_of(run("explain --json --arch sm_90 --database counts.db --heads-q 2 --seqlen-q 500 %s", cases[i].flags));
    const json_t *census = json_object_get(problem_of(object, 0), "blocks");
    assert_int_equal(number_at(census, "counted"), cases[i].blocks);
    assert_true(number_at(census, "row_most") <= cases[i].most);
    const long long kept = number_at(census, "kept"), whole = number_at(census, "whole");
    if (cases[i].kept < 0) {
      assert_in_range(kept, 4, 28);
    } else {
      assert_int_equal(kept, cases[i].kept);
      assert_int_equal(whole, cases[i].whole);
      assert_int_equal(number_at(census, "row_most"), cases[i].most);
    }
    assert_int_equal(kept, whole + number_at(census, "partial"));
    assert_int_equal(json_is_true(json_object_get(census, "drawn")), strstr(cases[i].flags, "density") != NULL);
    json_decref(object);
  }
  /* Not cells alone are bounded but the nodes that are evaluated for them. */
  char mask[ATTUNE_EXPRESSION_MAX] = "k != 5";
  for (int i = 0; i < 20; i++)
    snprintf(mask + strlen(mask), sizeof mask - strlen(mask), " && (q*%d+k)%%97 != k%%%d", i % 7 + 1, i % 9 + 2);
  json_t *sample = json_of(run(
      "explain --json --arch sm_90 --database counts.db --seqlen-q 65536 --block-size 16 --mask-expr \"%s\"", mask));
  const json_t *few = json_object_get(problem_of(sample, 0), "blocks");
  assert_true(json_is_true(json_object_get(few, "sampled")));
  assert_int_equal(number_at(few, "all_rows"), 4096);
  assert_in_range(number_at(few, "rows"), 1, 200);
  assert_int_equal(number_at(few, "counted"), 4096 * number_at(few, "rows"));
  json_decref(sample);
  json_t *object = json_of(run("explain --json --arch sm_90 --database counts.db"));
  assert_true(json_is_null(json_object_get(problem_of(object, 0), "blocks")));
  json_decref(object);
  expect(run("explain --arch sm_90 --database counts.db --density 0.5"), 0, "block mask drawn by chance");
}

/* All verbs but run and verify: what is tuned is found again, also by another store. */
static void gradients_are_tuned(void **state) {
  (void)state;
  static const char problem[] =
      "--backward --device host --head-dim 16 --heads-q 2 --heads-kv 1 --seqlen-q 40 --seqlen-k 40";
  expect(run("tune %s --effort quick --family mma --database grad.db", problem), 0, "stored in grad.db");
  expect(run("explain %s --database grad.db", problem), 0, "1 choice estimated by a tuner");
  expect(run("store list --database grad.db"), 0, "backward.bf16.d16.b1.h2.kv1.q40.k40");
  expect(run("store export grad.json --database grad.db"), 0, "");
  expect(run("store import grad.json --database other.db"), 0, "");
  expect(run("explain %s --database other.db", problem), 0, "1 choice estimated by a tuner");
  expect(run("bench %s --family mma --database grad.db", problem), 0, "backward.mma.bf16.d16");
  expect(run("bench --device host --config forward.reference.bf16.d8.causal.m4.n32.w4.s1.b1"), 0, "(named)");
  json_t *object = json_of(run("explain %s --database grad.db --json", problem));
  json_t *work = json_object_get(problem_of(object, 0), "work");
  json_t *steps = json_object_get(work, "steps");
  assert_int_equal(json_array_size(steps), 3);
  static const char *const kernels[] = {"delta.warp.", "backward.mma.", "dq.mma."};
  for (size_t i = 0; i < 3; i++)
    assert_memory_equal(text_at(json_array_get(steps, i), "config"), kernels[i], strlen(kernels[i]));
  assert_true(json_number_value(json_object_get(work, "flops")) == 2.0 * 5 * 16 * 40 * 40 * 2);
  json_decref(object);
  object = json_of(run("compile --backward --arch host --head-dim 16 --family reference --json"));
  assert_memory_equal(text_at(object, "config"), "backward.reference.", 19);
  assert_int_equal(json_array_size(json_object_get(object, "steps")), 3);
  json_decref(object);
  expect(run("compile --arch host --config dq.reference.bf16.d16.m4.n32.w4"), 0, "dq.reference.bf16.d16");
  expect(run("emit --backward --arch sm_90 --head-dim 64"), 0, "Runs after delta.warp.bf16.v64.w4");
  expect(run("emit --backward --arch sm_90 --family tcgen05"), 2, "expected reference|mma|wgmma");
}

static void frozen_compiles_nothing_and_leaves_nothing(void **state) {
  (void)state;
  static const char problem[] = "--device host --head-dim 16 --seqlen-q 8 --database frozen.db";
  char path[64];
  snprintf(path, sizeof path, "%s/frozen.db", folder);
  write_qkv("in", "");
  assert_int_equal(setenv("ATTUNE_FROZEN", "1", 1), 0);
  expect(run("verify %s --json", problem), 1, "ATTUNE_WOULD_COMPILE");
  expect(run("bench %s --json", problem), 1, "ATTUNE_WOULD_COMPILE");
  expect(run("run --input in --output out --device host --database frozen.db --json"), 1, "ATTUNE_WOULD_COMPILE");
  expect(run("tune %s --json", problem), 1, "ATTUNE_WOULD_COMPILE");
  expect(run("tune %s", problem), 1, "unset it");
  assert_int_equal(access(path, F_OK), -1);
  expect_nothing_written();
  assert_int_equal(unsetenv("ATTUNE_FROZEN"), 0);
}

/* Which card an estimate means, how wrong it may be, and no gain that is smaller than that. */
static void estimates_say_for_what(void **state) {
  (void)state;
  const char *problem = "--head-dim 64 --heads-q 16 --batch 4 --seqlen-q 2048 --database cards.db";
  const result *found = run("explain --like rtx-4090 %s", problem);
  expect(found, 0, "ms on NVIDIA GeForce RTX 4090: 128 SMs at 2520 MHz, 1008 GB/s; +- 30%");
  expect(found, 0, "nothing was measured on sm_89");
  expect(run("explain --arch 8.9 %s", problem), 0, "ms on NVIDIA GeForce RTX 4090: 128 SMs");
  expect(run("explain --like a10 --sm-count 40 --clock 1000 --bandwidth 300 %s", problem), 0,
         "on NVIDIA A10, changed: 40 SMs at 1000 MHz, 300 GB/s");
  expect(run("explain --device host %s", problem), 0, "on NVIDIA H100 80GB HBM3: 132 SMs");
  found = run("tune --like l4 --effort quick %s", problem);
  expect(found, 0, "model: estimated for NVIDIA L4: 58 SMs at 2040 MHz, 300 GB/s; not measured");
  expect(found, 0, "Estimates are off by +- 30% or more");
  if (strstr(found->out, "1.00x") != NULL) fail_msg("a gain within the error: %s", found->out);
  found = run("explain --like l4 %s", problem);
  expect(found, 0, "device: NVIDIA L4, sm_89, 58 SMs");
  expect(found, 0, "older rows of these configs: attune store list rows");
  expect(run("tune --like l4 --effort quick --force --budget 0.01s %s", problem), 0, "of a budget of 10.000 ms");
  json_t *object = json_of(run("tune --like l4 --effort quick --json %s", problem));
  assert_non_null(strstr(text_at(object, "device"), "NVIDIA L4: 58 SMs"));
  const json_t *outcome = json_array_get(json_object_get(object, "problems"), 0);
  assert_true(json_number_value(json_object_get(outcome, "estimate_error")) > 0.29);
  json_decref(object);
}

/* What attune help stores promises of container images. */
static void a_shipped_store_answers_without_a_compiler(void **state) {
  (void)state;
  static const char problem[] = "--device host --family reference --head-dim 16 --seqlen-q 8";
  char path[64];
  snprintf(path, sizeof path, "%s/shipped.db", folder);
  expect(run("tune %s --effort quick --database shipped.db", problem), 0, "stored in shipped.db");
  assert_int_equal(chmod(path, 0444), 0);
  assert_int_equal(setenv("ATTUNE_FROZEN", "1", 1), 0);
  assert_int_equal(setenv("ATTUNE_SYSTEM_DATABASE", path, 1), 0);
  expect(run("verify --device host --head-dim 16 --seqlen-q 8 --database own.db"), 0, "forward.reference");
  assert_int_equal(unsetenv("ATTUNE_SYSTEM_DATABASE"), 0);
  expect(run("verify --device host --head-dim 16 --seqlen-q 8 --database own.db"), 1, "frozen");
  assert_int_equal(unsetenv("ATTUNE_FROZEN"), 0);
}

/* As if another Attune had filled the store. */
static void upgrade_store(const char *name) {
  char path[64];
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "UPDATE measurements SET tool = 'older', result_hash = 'older'", NULL, NULL, NULL),
                   SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "UPDATE choices SET tool = 'older', result_hash = 'older'", NULL, NULL, NULL),
                   SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void what_an_upgrade_outdates_is_told(void **state) {
  (void)state;
  static const char problem[] = "--device host --family reference --head-dim 16 --seqlen-q 8 --database upgraded.db";
  static const char asked[] = "--device host --head-dim 16 --seqlen-q 8 --database upgraded.db";
  static const char says[] = "1 of the 1 choices for this device are outdated";
  expect(run("tune %s --effort quick", problem), 0, "stored in upgraded.db");
  assert_null(strstr(run("explain %s", asked)->err, "outdated"));
  upgrade_store("upgraded.db");
  expect(run("store --database upgraded.db"), 0, "outdated      1 of the choices");
  expect(run("explain %s", asked), 0, says);
  json_t *object = json_of(run("explain --json %s", asked));
  assert_int_equal(json_integer_value(json_object_get(object, "outdated")), 1);
  json_decref(object);
  expect(run("tune %s --effort quick", problem), 0, says);
  assert_null(strstr(run("store --database upgraded.db")->out, "outdated"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_verb_explains_itself),
      cmocka_unit_test(a_full_disk_is_no_success),
      cmocka_unit_test(devices_have_the_host),
      cmocka_unit_test(emit_prints_what_its_config_reproduces),
      cmocka_unit_test(compile_says_what_a_kernel_needs),
      cmocka_unit_test(run_computes_attention_of_a_file),
      cmocka_unit_test(run_computes_gradients_of_a_file),

      cmocka_unit_test(gradients_are_tuned),
      cmocka_unit_test(bad_input_writes_nothing),
      cmocka_unit_test(files_of_problems_are_refused_with_their_line),
      cmocka_unit_test(a_file_of_others_is_no_store),
      cmocka_unit_test(verify_finds_kernels_right),
      cmocka_unit_test(explain_counts_what_masks_leave),
      cmocka_unit_test(frozen_compiles_nothing_and_leaves_nothing),
      cmocka_unit_test(estimates_say_for_what),
      cmocka_unit_test(a_shipped_store_answers_without_a_compiler),
      cmocka_unit_test(what_an_upgrade_outdates_is_told),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
