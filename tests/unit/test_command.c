/* The command as a user meets it: run as a program, judged by its exit code, what it prints, and what it leaves. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/command/table.h"
#include "tuner/command/verbs.h"

static char command[4096]; /* beside this test's folder */
static char folder[32];

/* ---- running ---- */

typedef struct {
  int exit_code;
  char out[65536], err[16384];
} result;

static void read_back(char *out, size_t size, const char *name) {
  FILE *file = fopen(name, "r");
  assert_non_null(file);
  out[fread(out, 1, size - 1, file)] = '\0';
  fclose(file);
}

/* In the folder, with its own store. */
static const result *run(const char *format, ...) {
  static result last;
  char arguments[1024], line[8192];
  va_list list;
  va_start(list, format);
  vsnprintf(arguments, sizeof arguments, format, list);
  va_end(list);
  snprintf(line, sizeof line, "cd %s && ATTUNE_DATABASE=%s.db sh -c '%s %s' >%s.out 2>%s.err </dev/null", folder,
           folder, command, arguments, folder, folder);
  const int status = system(line);
  last.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  snprintf(line, sizeof line, "%s.out", folder);
  read_back(last.out, sizeof last.out, line);
  snprintf(line, sizeof line, "%s.err", folder);
  read_back(last.err, sizeof last.err, line);
  return &last;
}

static void expect(const result *found, int exit_code, const char *says) {
  if (found->exit_code != exit_code || (strstr(found->out, says) == NULL && strstr(found->err, says) == NULL))
    fail_msg("expected exit code %d and \"%s\", found %d, stdout \"%.500s\", stderr \"%.500s\"", exit_code, says,
             found->exit_code, found->out, found->err);
}

static json_t *json_of(const result *found) {
  json_error_t error;
  json_t *value = json_loads(found->out, 0, &error);
  if (value == NULL) fail_msg("no JSON: %s: %.500s %.500s", error.text, found->out, found->err);
  return value;
}

static const char *text_at(json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

/* The file is not there, and nothing half-written is beside it. */
static void expect_nothing_written(void) {
  DIR *listing = opendir(folder);
  assert_non_null(listing);
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
    if (strncmp(entry->d_name, "out", 3) == 0) fail_msg("%s was written", entry->d_name);
  closedir(listing);
}

static int set_up(void **state) {
  (void)state;
  const ssize_t length = readlink("/proc/self/exe", command, sizeof command - sizeof "attune");
  if (length < 0) return 1;
  command[length] = '\0';
  for (int i = 0; i < 2; i++) { /* build/tests/test_command -> build/attune */
    char *slash = strrchr(command, '/');
    if (slash == NULL) return 1;
    *slash = '\0';
  }
  strcat(command, "/attune");
  strcpy(folder, "/tmp/attune-test-XXXXXX");
  return mkdtemp(folder) == NULL;
}

static int tear_down(void **state) {
  (void)state;
  char line[256];
  snprintf(line, sizeof line, "rm -rf %s %s.out %s.err %s.db*", folder, folder, folder, folder);
  return system(line);
}

/* ---- files ---- */

enum { SEQLEN_Q = 5, SEQLEN_K = 7, HEADS_Q = 4, HEADS_KV = 2, WIDTH = 8, WIDTH_V = 16 };
static float q[SEQLEN_Q * HEADS_Q * WIDTH], k[SEQLEN_K * HEADS_KV * WIDTH], v[SEQLEN_K * HEADS_KV * WIDTH_V];

/* Multiples of 1/8, so that every dtype holds them. */
static void fill(float *to, size_t count, int step) {
  for (size_t i = 0; i < count; i++)
    to[i] = (float)((int)(i * (size_t)step % 31) - 15) / 8.0f;
}

static void write_qkv(const char *name, const char *change) {
  char path[128];
  fill(q, sizeof q / sizeof *q, 7);
  fill(k, sizeof k / sizeof *k, 11);
  fill(v, sizeof v / sizeof *v, 13);
  if (strcmp(change, "huge") == 0) q[3] = 1e6f;
  attune_tensor tensors[] = {
      {.name = "q", .dtype = "F32", .rank = 4, .shape = {1, SEQLEN_Q, HEADS_Q, WIDTH}, .data = q, .size = sizeof q},
      {.name = "k", .dtype = "F32", .rank = 4, .shape = {1, SEQLEN_K, HEADS_KV, WIDTH}, .data = k, .size = sizeof k},
      {.name = "v", .dtype = "F32", .rank = 4, .shape = {1, SEQLEN_K, HEADS_KV, WIDTH_V}, .data = v, .size = sizeof v}};
  if (strcmp(change, "dtype") == 0) strcpy(tensors[1].dtype, "I32");
  if (strcmp(change, "rank") == 0)
    tensors[0] = (attune_tensor){"q", "F32", 2, {SEQLEN_Q, HEADS_Q * WIDTH}, q, sizeof q};
  if (strcmp(change, "head_dim") == 0) {
    tensors[0].shape[2] = tensors[1].shape[2] = 8;
    tensors[0].shape[3] = 4;
    tensors[1].shape[2] = 4;
    tensors[1].shape[3] = 4;
    tensors[2].shape[2] = 4;
    tensors[2].shape[3] = 8;
  }
  if (strcmp(change, "heads") == 0) tensors[1].shape[2] = 1, tensors[1].shape[3] = 2 * WIDTH;
  if (strcmp(change, "empty") == 0) tensors[0].shape[1] = 0, tensors[0].size = 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_int_equal(attune_safetensors_write(path, tensors, strcmp(change, "absent") == 0 ? 2 : 3), ATTUNE_OK);
}

static void truncate_file(const char *name, off_t by) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "r+");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  assert_int_equal(ftruncate(fileno(file), ftell(file) - by), 0);
  fclose(file);
}

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

static void misuse_is_exit_code_2(void **state) {
  (void)state;
  expect(run(" "), 2, "usage: attune VERB");
  expect(run("rum"), 2, "did you mean run?");
  expect(run("complie"), 2, "did you mean compile?");
  expect(run("store lst"), 2, "did you mean list?");
  expect(run("store list row"), 2, "usage: attune store list [rows]");
  expect(run("tune --workload gtp2"), 1, "did you mean gpt2?");
  expect(run("quantize"), 2, "no verb \"quantize\"; see attune --help");
  expect(run("emit --arch sm_90 --head-dim 0"), 2, "head_dim is 0");
  expect(run("emit --arch sm_90 --heads-q 3 --heads-kv 2"), 2, "heads_q is 3, heads_kv is 2");
  expect(run("emit --arch sm_90 --scale inf"), 2, "--scale inf");
  expect(run("emit --arch sm_90 --mask causal --window 3,4"), 2, "window_right is 4");
  expect(run("emit --arch sm_90 --device host"), 2, "one of them");
  expect(run("emit --arch sm_12345"), 1, "sm_12345");
  expect(run("emit --arch sm_75"), 1, "needs sm_80 or later, or use the device \"host\"");
  expect(run("emit --arch sm_90a --head-dim 64"), 0, "--arch sm_90");
  expect(run("explain --like a11"), 2, "did you mean a10?");
  expect(run("explain --like a10 --arch sm_86"), 2, "one of them says for what");
  expect(run("tune --like a10 --device cuda:0"), 2, "give one of them");
  expect(run("emit --like a10 --device host"), 2, "--like a10 and --device host");
  expect(run("explain --clock 1000"), 2, "with --like CARD or --arch");
  /* One fault has one exit code, whatever verb meets it. */
  const char *const with_family[] = {"emit", "compile", "run", "verify", "tune", "bench"};
  for (size_t i = 0; i < sizeof with_family / sizeof *with_family; i++)
    expect(run("%s --family wgma", with_family[i]), 2, "expected reference|mma|wgmma (did you mean wgmma?)");
  expect(run("emit --arch sm_90 --config forward.mma.nonsense"), 2, "nonsense");
  expect(run("run --output out"), 2, "--input is missing");
  expect(run("run --input in"), 2, "--output is missing");
}

static void help_fits_a_terminal(void **state) {
  (void)state;
  for (const attune_verb *verb = attune_verbs; verb->name != NULL; verb++) {
    const result found = *run("%s --help", verb->name);
    expect(&found, 0, "usage: attune");
    for (const char *line = found.out; *line != 0; line += strcspn(line, "\n") + 1)
      if (strcspn(line, "\n") > 80) fail_msg("%s: wider than 80: %.90s", verb->name, line);
    assert_string_equal(run("help %s", verb->name)->out, found.out);
  }
  expect(run("help vrify"), 2, "did you mean verify?");
  expect(run("tune --help"), 0, "--effort: quick tries");
  expect(run("bench --help"), 0, "floor: the least time");
  expect(run("store --help"), 0, "import FILE");
  expect(run("help workloads"), 0, "\"format\": \"attune-workload-1\"");
  expect(run("help workloads"), 0, "llama3-8b");
  expect(run("help stores"), 0, "ATTUNE_SYSTEM_DATABASE");
  /* All of it is in the man page, as troff wants it. */
  const result man = *run("help man");
  expect(&man, 0, ".TH ATTUNE 1");
  for (const attune_verb *verb = attune_verbs; verb->name != NULL; verb++) {
    char heading[64];
    snprintf(heading, sizeof heading, "\n.SS attune %s\n", verb->name);
    expect(&man, 0, heading);
  }
  expect(&man, 0, "\\fB\\-\\-head\\-dim\\-v\\fR N");
}

/* What bash offers for the last of the words. */
static const result *completed(const char *words, int count) {
  char line[256];
  snprintf(line, sizeof line, "COMP_WORDS=(%s); COMP_CWORD=%d; _attune; echo \\${COMPREPLY[*]}", words, count - 1);
  return run("completion bash > completion.bash && bash -c \"source ./completion.bash; %s\"", line);
}

static void bash_completes_what_the_tables_have(void **state) {
  (void)state;
  if (system("bash -c : 2>/dev/null") != 0) skip();
  assert_string_equal(completed("attune ver", 2)->out, "verify\n");
  assert_string_equal(completed("attune tune --eff", 3)->out, "--effort\n");
  assert_string_equal(completed("attune tune --effort s", 4)->out, "sample\n");
  assert_string_equal(completed("attune emit --family w", 4)->out, "wgmma\n");
  assert_string_equal(completed("attune emit --mask c", 4)->out, "causal causal-bottom-right\n");
  assert_string_equal(completed("attune emit --eff", 3)->out, "\n");
  assert_string_equal(completed("attune store exp", 3)->out, "export\n");
  expect(run("completion zsh"), 0, "bashcompinit");
  expect(run("completion fish"), 2, "bash and zsh");
}

/* SIGTERM, since shells let what runs in the background ignore SIGINT; both have the same handler. */
static void an_interrupted_search_says_so_at_once(void **state) {
  (void)state;
  const result found =
      *run("tune --arch sm_90 --head-dim 128 --effort exhaustive --database stopped.db & p=$!; "
           "sleep 2; kill -TERM $p; t=$(date +%%s); wait $p; c=$?; echo took $(($(date +%%s) - t)); exit $c");
  expect(&found, 130, "attune: interrupted: what was found is stored");
  const char *took = strstr(found.out, "took ");
  assert_non_null(took);
  assert_in_range(strtol(took + strlen("took "), NULL, 10), 0, 4);
  expect(run("store --database stopped.db"), 0, "measurements"); /* the file is whole */
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
  assert_non_null(strstr(text_at(object, "config"), "forward.wgmma.bf16.d128.list128.sinks."));
  assert_string_equal(found->out, text_at(object, "code"));
  json_decref(object);
  expect(run("emit --arch sm_90 --config block_mask.warp.list64.w4"), 0, "Launch: one warp for each row of blocks");
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

static void bad_input_writes_nothing(void **state) {
  (void)state;
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
  expect(run("run --input nowhere --output out --device host"), 1, "nowhere: cannot open: No such file");
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
  assert_int_equal(json_array_size(cases), 4);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(cases, 0), "rows_checked")), 80);
  json_decref(object);
  write_qkv("in", "");
  expect(run("verify --device host --input in --family reference --softcap 5"), 0, "right");
  static const char lengths[] =
      "verify --device host --head-dim 16 --batch 2 --seqlen-q 20 --family reference --seqlens-q";
  expect(run("%s 20,3 --seqlens-k 0,11", lengths), 0, "       23  right");
  expect(run("%s 20,21", lengths), 2, "seqlens_q[1] is 21; it must be from 0 to the problem's bound, 20");
  expect(run("%s 20", lengths), 2, "seqlens_q has 1 lengths for a batch of 2; give one for each sequence");
}

/* As a wrong kernel leaves it: JSON has no infinity, and the row that tells of the fault must not be the one that is
 * left out. */
static void infinite_errors_are_null_in_json(void **state) {
  (void)state;
  char path[64];
  attune_store *store;
  const attune_measurement row = {.problem = "forward.bf16.d64.b1.h1.kv1.q8.k8",
                                  .device = "host",
                                  .arch = "host",
                                  .policy = "wall-clock",
                                  .result_hash = "g",
                                  .config = "c",
                                  .status = ATTUNE_MEASURED_WRONG_RESULT,
                                  .error = INFINITY,
                                  .error_bound = NAN,
                                  .compiler = "",
                                  .driver = "",
                                  .clocks = "",
                                  .tool = "",
                                  .note = "",
                                  .date = "2026-01-01T00:00:00Z"};
  json_t *object = attune_measurement_to_json(&row);
  assert_true(json_is_null(json_object_get(object, "error")));
  assert_true(json_is_null(json_object_get(object, "error_bound")));
  assert_true(json_is_null(json_object_get(object, "time_us"))); /* it was not timed */
  json_decref(object);

  snprintf(path, sizeof path, "%s/infinite.db", folder);
  assert_int_equal(attune_store_open(&store, &(attune_store_options){.path = path}), ATTUNE_OK);
  if (attune_store_put_measurement(store, &row) != ATTUNE_OK) fail_msg("%s", attune_message());
  attune_store_close(store);
  object = json_of(run("store list rows --json --database infinite.db"));
  json_t *list = json_object_get(object, "rows");
  assert_int_equal(json_array_size(list), 1);
  assert_string_equal(text_at(json_array_get(list, 0), "measured"), "wrong_result");
  assert_true(json_is_null(json_object_get(json_array_get(list, 0), "error")));
  json_decref(object);
}

static void what_does_not_become_json_is_a_failure(void **state) {
  (void)state;
  json_t *list = json_array();
  assert_int_equal(attune_json_append(list, json_pack("{s:f}", "error", INFINITY)), ATTUNE_BAD_JSON);
  assert_int_equal(json_array_size(list), 0);
  assert_int_equal(attune_json_append(list, attune_json_number(0.5)), ATTUNE_OK);
  assert_int_equal(json_array_size(list), 1);
  json_decref(list);
  assert_int_equal(attune_print_json(NULL), ATTUNE_BAD_JSON);
  expect(run("store path --json --database $(printf \"\\377\")"), 1, "ATTUNE_BAD_JSON");
}

/* Of a document, the problem at that place. */
static json_t *problem_of(const json_t *document, size_t place) {
  return json_array_get(json_object_get(document, "problems"), place);
}

/* Every key, also inside; what a problem and a config have is said by their tables. */
static void expect_documented(const json_t *value, const char *readme) {
  const char *key;
  json_t *inner;
  size_t i;
  char quoted[64];
  if (json_is_array(value)) json_array_foreach(value, i, inner) expect_documented(inner, readme);
  if (!json_is_object(value)) return;
  json_object_foreach((json_t *)(uintptr_t)value, key, inner) {
    snprintf(quoted, sizeof quoted, "`%s`", key);
    if (strstr(readme, quoted) == NULL) fail_msg("tuner/command/README.md does not have %s", quoted);
    if (strcmp(key, "problem") != 0 && strcmp(key, "fields") != 0) expect_documented(inner, readme);
  }
}

static void every_verb_prints_one_documented_object(void **state) {
  (void)state;
  static char readme[16384];
  static const char problem[] = "--device host --head-dim 16 --seqlen-q 40 --database schema.db";
  FILE *file = fopen("tuner/command/README.md", "r");
  assert_non_null(file);
  assert_in_range(fread(readme, 1, sizeof readme - 1, file), 1000, sizeof readme - 2);
  fclose(file);
  write_qkv("in", "");
  static const char *const lines[] = {"devices",
                                      "emit --family reference",
                                      "compile --family reference",
                                      "verify --family reference",
                                      "tune --effort quick --family reference",
                                      "explain --mask causal",
                                      "bench --family reference",
                                      "store",
                                      "store list rows",
                                      "store path",
                                      "store import rows.json",
                                      "store forget all"};
  expect(run("run --device host --input in --output made.safetensors"), 0, "written");
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    const bool wants_problem = strncmp(lines[i], "store", 5) != 0 && strcmp(lines[i], "devices") != 0;
    const bool wants_store = wants_problem && strncmp(lines[i], "emit", 4) != 0 && strncmp(lines[i], "compile", 7) != 0;
    if (strcmp(lines[i], "store import rows.json") == 0)
      assert_int_equal(run("store export rows.json --database schema.db")->exit_code, 0);
    const char *flags = wants_store ? problem : wants_problem ? "--device host --head-dim 16 --seqlen-q 40" : "";
    if (strncmp(lines[i], "store", 5) == 0) flags = "--database schema.db";
    json_t *object = json_of(run("%s %s --json", lines[i], flags));
    assert_string_equal(text_at(object, "status"), "ATTUNE_OK");
    assert_true(json_is_null(json_object_get(object, "message")));
    expect_documented(object, readme);
    json_decref(object);
  }
}

/* A problem that fails is told in its place; those after it are done. */
static void a_workload_is_benched_into_one_document(void **state) {
  (void)state;
  char path[128];
  snprintf(path, sizeof path, "%s/three.json", folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("{\"format\": \"attune-workload-1\", \"problems\": [\n"
        "{\"name\": \"first\", \"head_dim\": 16, \"seqlen_q\": 20},\n"
        "{\"name\": \"large scale\", \"head_dim\": 16, \"seqlen_q\": 20, \"scale\": 2000},\n"
        "{\"name\": \"last\", \"head_dim\": 16, \"seqlen_q\": 30, \"mask\": \"causal\"}]}\n",
        file);
  fclose(file);
  const result *found = run("bench --device host --family mma --workload three.json --json");
  json_t *object = json_of(found);
  assert_int_equal(json_array_size(json_object_get(object, "problems")), 3);
  assert_int_equal(found->exit_code, 1);
  for (size_t i = 0; i < 3; i++) {
    const json_t *problem = problem_of(object, i);
    assert_int_equal(strcmp(text_at((json_t *)(uintptr_t)problem, "status"), "ATTUNE_OK") == 0, i != 1);
    assert_int_equal(json_is_null(json_object_get(problem, "message")), i != 1);
    assert_int_equal(json_is_null(json_object_get(problem, "time_us")), i == 1);
    assert_int_equal(json_is_null(json_object_get(problem, "error")), i == 1);
  }
  json_decref(object);
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
  expect(run("explain --arch sm_90 --database counts.db --density 0.5"), 0, "lists drawn by chance");
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
  json_t *object = json_of(run("tune --like l4 --effort quick --json %s", problem));
  assert_non_null(strstr(text_at(object, "device"), "NVIDIA L4: 58 SMs"));
  const json_t *outcome = json_array_get(json_object_get(object, "problems"), 0);
  assert_true(json_number_value(json_object_get(outcome, "estimate_error")) > 0.29);
  json_decref(object);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_verb_explains_itself),
      cmocka_unit_test(misuse_is_exit_code_2),
      cmocka_unit_test(help_fits_a_terminal),
      cmocka_unit_test(bash_completes_what_the_tables_have),
      cmocka_unit_test(an_interrupted_search_says_so_at_once),
      cmocka_unit_test(a_full_disk_is_no_success),
      cmocka_unit_test(devices_have_the_host),
      cmocka_unit_test(emit_prints_what_its_config_reproduces),
      cmocka_unit_test(compile_says_what_a_kernel_needs),
      cmocka_unit_test(run_computes_attention_of_a_file),
      cmocka_unit_test(bad_input_writes_nothing),
      cmocka_unit_test(files_of_problems_are_refused_with_their_line),
      cmocka_unit_test(verify_finds_kernels_right),
      cmocka_unit_test(infinite_errors_are_null_in_json),
      cmocka_unit_test(what_does_not_become_json_is_a_failure),
      cmocka_unit_test(every_verb_prints_one_documented_object),
      cmocka_unit_test(a_workload_is_benched_into_one_document),
      cmocka_unit_test(explain_counts_what_masks_leave),
      cmocka_unit_test(frozen_compiles_nothing_and_leaves_nothing),
      cmocka_unit_test(estimates_say_for_what),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
