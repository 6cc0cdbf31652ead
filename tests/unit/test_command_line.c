/* The command line: what is misused, helped with, interrupted, and printed as JSON. */
#include "tests/unit/command_case.h"

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
  expect(run("emit --arch sm_12345"), 2, "sm_12345");
  expect(run("emit --arch sm_75"), 1, "needs sm_80 or later, or use the device \"host\"");
  expect(run("emit --arch sm_90a --head-dim 64"), 0, "--arch sm_90");
  expect(run("explain --like a11"), 2, "did you mean a10?");
  expect(run("explain --like a10 --arch sm_86"), 2, "one of them says for what");
  expect(run("tune --like a10 --device cuda:0"), 2, "give one of them");
  expect(run("emit --like a10 --device host"), 2, "--like a10 and --device host");
  expect(run("explain --clock 1000"), 2, "with --like CARD or --arch");
  expect(run("explain --like a10 --sm-count 3.5"), 2, "a whole number of SMs from 1 to 1024");
  expect(run("explain --like a10 --sm-count 99999999999"), 2, "a whole number of SMs from 1 to 1024");
  static const char packed[] = "forward.wgmma.bf16.d128.m128.n128.w12.s2.lazy.pack_gqa4.b1";
  expect(run("emit --arch sm_90 --head-dim 128 --config %s", packed), 2, "must divide the 1 query heads");
  expect(run("emit --arch sm_90 --config %s", packed), 0, "grid of tiles_m x heads_q x batch / 4");
  expect(run("emit --arch sm_90 --config forward.wgmma.bf16.d256.m128.n128.w12.s4.lazy.b1"), 1, "use fewer stages");
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
  expect(run("help configs"), 0, "pingpong_mma, pingpong_softmax");
  expect(run("help configs"), 0, "Family mma, backward:");
  expect(run("help configs"), 0, "dq_tile_m: query rows of a block of the kernel for dQ");
  expect(run("explain --like ?"), 0, "h100         NVIDIA H100 80GB HBM3: 132 SMs");
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
  assert_string_equal(completed("attune store list r", 4)->out, "rows\n");
  assert_string_equal(completed("attune store forget --data", 4)->out, "--database\n");
  assert_string_equal(completed("attune help ver", 3)->out, "verify\n");
  assert_string_equal(completed("attune help work", 3)->out, "workloads\n");
  assert_string_equal(completed("attune tune --like rtx40", 4)->out, "rtx4060ti rtx4070 rtx4070ti rtx4080 rtx4090\n");
  assert_string_equal(completed("attune emit --arch ho", 4)->out, "host\n");
  assert_string_equal(completed("attune emit --arch sm_10", 4)->out, "sm_100 sm_103\n");
  assert_string_equal(completed("attune emit --family = w", 5)->out, "wgmma\n"); /* as bash splits it */
  assert_string_equal(completed("attune emit --family =", 4)->out, "reference mma wgmma\n");
  assert_string_equal(completed("attune emit --family=w", 3)->out, "--family=wgmma\n"); /* as zsh does */
  expect(run("completion zsh"), 0, "bashcompinit");
  expect(run("completion fish"), 2, "bash and zsh");
}

/* SIGTERM, since shells let what runs in the background ignore SIGINT; both have the same handler. */
static void an_interrupted_search_says_so_at_once(void **state) {
  (void)state;
  const result found =
      *run("tune --arch sm_90 --head-dim 128 --effort exhaustive --database stopped.db & p=$!; "
           "sleep 2; kill -TERM $p; t=$(date +%%s); wait $p; c=$?; echo took $(($(date +%%s) - t)); exit $c");
  expect(&found, 130, "attune: interrupted: what was measured or verified is stored");
  const char *took = strstr(found.out, "took ");
  assert_non_null(took);
  assert_in_range(strtol(took + strlen("took "), NULL, 10), 0, 4);
  expect(run("store --database stopped.db"), 0, "measurements"); /* the file is whole */
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
  /* A fault is a document, whatever its message holds and however early it is met. */
  static const char *const faults[] = {"emit --problem $(printf \"a\\377\")",
                                       "rum",
                                       "help",
                                       "help rum",
                                       "tune --help",
                                       "completion bash",
                                       "completion fish",
                                       "--help"};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    json_t *fault = json_of(run("%s --json", faults[i]));
    assert_true(*text_at(fault, "message") != 0);
    json_decref(fault);
  }
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
  write_qkv("in", "do");
  static const char *const lines[] = {"devices",
                                      "emit --family reference",
                                      "compile --family reference",
                                      "verify --family reference",
                                      "tune --effort quick --family reference",
                                      "explain --mask causal",
                                      "compile --backward --family reference",
                                      "explain --backward",
                                      "bench --family reference",
                                      "store",
                                      "store list rows",
                                      "store path",
                                      "store import rows.json",
                                      "store forget all"};
  expect(run("run --device host --input in --output made.safetensors"), 0, "written");
  json_t *gradients = json_of(run("run --device host --input in --output made.safetensors --json --backward"));
  expect_documented(gradients, readme);
  json_decref(gradients);
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
        "{\"name\": \"small blocks\", \"head_dim\": 16, \"seqlen_q\": 20, \"block_size\": 16},\n"
        "{\"name\": \"last\", \"head_dim\": 16, \"seqlen_q\": 30, \"mask_expr\": \"k <= q\"}]}\n",
        file);
  fclose(file);
  const result *found = run("bench --device host --family wgmma --workload three.json --json");
  json_t *object = json_of(found);
  assert_int_equal(json_array_size(json_object_get(object, "problems")), 3);
  assert_int_equal(found->exit_code, 1);
  for (size_t i = 0; i < 3; i++) {
    const json_t *problem = problem_of(object, i);
    assert_int_equal(strcmp(text_at((json_t *)(uintptr_t)problem, "status"), "ATTUNE_OK") == 0, i != 1);
    assert_int_equal(json_is_null(json_object_get(problem, "message")), i != 1);
    assert_int_equal(json_is_null(json_object_get(problem, "time_us")), i == 1);
    assert_int_equal(json_is_null(json_object_get(problem, "error")), i == 1);
    assert_int_equal(json_is_null(json_object_get(problem, "tflops")), i > 0); /* what an expression hides is unknown */
  }
  json_decref(object);
}

/* Of floats; magnitudes: NULL, or where their sum without signs goes. */
static double sum_of(const attune_tensor *tensor, int first, int count, double *magnitudes) {
  double sum = 0;
  for (int i = first; i < first + count; i++) {
    float one;
    memcpy(&one, (const char *)tensor->data + (size_t)i * sizeof one, sizeof one);
    sum += (double)one;
    if (magnitudes != NULL) *magnitudes += fabs((double)one);
  }
  return sum;
}

/* The scores of a row, its sink's too, may all grow by the same without a change of O: their gradients add up to 0. */
static void run_computes_gradients_of_scores(void **state) {
  (void)state;
  static const float bias[HEADS_Q * SEQLEN_K] = {0.5f, -1.0f, 0.25f}, sinks[HEADS_Q] = {0.5f, -0.25f},
                                    table[3] = {0.1f, 0.2f, -0.3f};
  char path[128];
  attune_tensor tensors[7];
  write_qkv("in", "do");
  attune_safetensors *in = open_file("in");
  static const char *const names[] = {"q", "k", "v", "do"};
  for (int i = 0; i < 4; i++)
    tensors[i] = *attune_safetensors_find(in, names[i]);
  tensors[4] = (attune_tensor){"bias", "F32", 4, {1, HEADS_Q, 1, SEQLEN_K}, bias, sizeof bias};
  tensors[5] = (attune_tensor){"sinks", "F32", 1, {HEADS_Q}, sinks, sizeof sinks};
  tensors[6] = (attune_tensor){"param.table", "F32", 1, {3}, table, sizeof table};
  snprintf(path, sizeof path, "%s/scores", folder);
  assert_int_equal(attune_safetensors_write(path, tensors, 7), ATTUNE_OK);
  attune_safetensors_close(in);
  const char *flags = "--input scores --output sums --device host --backward --score-expr \"score+bias+table[k%3]\"";
  expect(run("run %s --accumulate", flags), 2, "run writes a new file");
  expect(run("run %s --dbias --dsinks --dparams", flags), 0, "dbias.dsinks.dparams");
  attune_safetensors *out = open_file("sums");
  const attune_tensor *dbias = attune_safetensors_find(out, "dbias"), *dsinks = attune_safetensors_find(out, "dsinks"),
                      *dtable = attune_safetensors_find(out, "dparam.table");
  assert_true(dbias != NULL && dsinks != NULL && dtable != NULL);
  assert_memory_equal(dbias->shape, ((int64_t[]){1, HEADS_Q, 1, SEQLEN_K}), 4 * sizeof(int64_t));
  assert_true(dsinks->rank == 1 && dsinks->shape[0] == HEADS_Q && dtable->rank == 1 && dtable->shape[0] == 3);
  double size = 0, all = sum_of(dbias, 0, HEADS_Q * SEQLEN_K, &size);
  for (int head = 0; head < HEADS_Q; head++) {
    const double of_head = sum_of(dbias, head * SEQLEN_K, SEQLEN_K, NULL), of_sink = sum_of(dsinks, head, 1, NULL);
    if (!(fabs(of_head + of_sink) < 0.05)) fail_msg("head %d: dbias is %g, dsinks %g", head, of_head, of_sink);
  }
  const double of_table = sum_of(dtable, 0, 3, NULL);
  if (!(size > 0.1 && fabs(all - of_table) < 0.1)) fail_msg("dbias is %g, dparam.table %g", all, of_table);
  attune_safetensors_close(out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(run_computes_gradients_of_scores),
      cmocka_unit_test(misuse_is_exit_code_2),
      cmocka_unit_test(help_fits_a_terminal),
      cmocka_unit_test(bash_completes_what_the_tables_have),
      cmocka_unit_test(an_interrupted_search_says_so_at_once),
      cmocka_unit_test(infinite_errors_are_null_in_json),
      cmocka_unit_test(what_does_not_become_json_is_a_failure),
      cmocka_unit_test(every_verb_prints_one_documented_object),
      cmocka_unit_test(a_workload_is_benched_into_one_document),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
