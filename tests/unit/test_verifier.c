/* The bed finds what is wrong: kernels here are plain C behind the runtime's functions, right but for one defect each.
 */
#include "tuner/verify/verifier.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tuner/verify/reference.h"

/* ---- a machine that is memory, and kernels with defects ---- */

typedef enum {
  RIGHT,
  SKIPS_A_ROW,
  SKIPS_AN_ELEMENT,
  WRITES_NAN,
  IS_OFF,
  WRITES_BETWEEN_ROWS,
  LSE_IS_OFF,
  LSE_IS_UNWRITTEN,
  LSE_OF_HIDDEN_ROW_IS_FINITE,
  OFF_IN_ONE_UNLIKELY_ROW,
  OFF_BY_LITTLE_IN_ONE_UNLIKELY_ROW,
  IGNORES_THE_WINDOW
} defect;

static struct {
  attune_problem problem; /* resolved */
  defect defect;
  bool uniform;        /* all rows are equal: computed once */
  bool uniform_so_far; /* row i is the mean of the first i + 1 rows of V, in all heads */
  bool reference_is_wrong;
} kernel;
static attune_backend *const machine = (void *)&kernel;

attune_status attune_memory_allocate(void **out, attune_backend *self, size_t size) {
  (void)self;
  *out = malloc(size);
  return ATTUNE_OK;
}

void attune_memory_free(attune_backend *self, void *memory) {
  (void)self;
  free(memory);
}

attune_status attune_memory_write(attune_backend *self, void *to, const void *from, size_t size) {
  (void)self;
  memcpy(to, from, size);
  return ATTUNE_OK;
}

attune_status attune_memory_read(attune_backend *self, void *to, const void *from, size_t size) {
  (void)self;
  memcpy(to, from, size);
  return ATTUNE_OK;
}

static struct {
  char *at; /* NULL: nothing is pinned */
  size_t size;
} pinned;

bool attune_memory_pin(attune_backend *self, void *host, size_t size) {
  (void)self;
  assert_null(pinned.at);
  pinned.at = host;
  pinned.size = size;
  return true;
}

void attune_memory_unpin(attune_backend *self, void *host) {
  (void)self;
  assert_ptr_equal(host, pinned.at);
  /* Not freed yet: a sanitizer sees it if it is. */
  pinned.at[0] = pinned.at[pinned.size - 1] = 0;
  pinned.at = NULL;
}

attune_status attune_memory_fill(attune_backend *self, void *to, int byte, size_t size) {
  (void)self;
  memset(to, byte, size);
  return ATTUNE_OK;
}

attune_status attune_backend_synchronize(attune_backend *self) {
  (void)self;
  return ATTUNE_OK;
}

const attune_device *attune_backend_device(const attune_backend *self) {
  static const attune_device device = {.arch = 90};
  (void)self;
  return &device;
}

const char *attune_backend_arch(const attune_backend *self) {
  (void)self;
  return "host";
}

/* The program that is verified: its kernel is the one below, on the problem of the verifier that runs it. */
static attune_program tested;

static const attune_program *program_of(const attune_problem *problem) {
  assert_int_equal(attune_problem_resolve(&tested.problem, problem), ATTUNE_OK);
  return &tested;
}

/* The reference family's, as it is made for a check: the only one that is made here. */
attune_status attune_program_create(attune_program **out, const attune_program_source *from,
                                    const attune_config *config) {
  static attune_program reference;
  (void)config;
  reference.problem = *from->problem;
  *out = &reference;
  return ATTUNE_OK;
}

void attune_program_destroy(attune_program *program) {
  (void)program;
}

static void spoil_row(defect kind, const attune_row *row, uint16_t *o, double *lse) {
  const attune_problem *p = &kernel.problem;
  const bool last = row->batch == p->batch - 1 && row->head == p->heads_q - 1 && row->row == p->seqlen_q - 1;
  const bool unlikely = row->batch == p->batch - 1 && row->head == p->heads_q - 1 && row->row == p->seqlen_q / 2 + 3;
  if (last && kind == SKIPS_A_ROW) memset(o, 0xff, (size_t)p->head_dim_v * sizeof *o);
  if (last && kind == SKIPS_AN_ELEMENT) o[p->head_dim_v - 1] = 0xffff;
  if (last && kind == WRITES_NAN) o[0] = 0x7fff;
  if (last && kind == IS_OFF) o[1] = attune_to_element(p->dtype, attune_from_element(p->dtype, o[1]) + 0.5);
  if (last && kind == WRITES_BETWEEN_ROWS) o[-1] = 0;
  if (last && kind == LSE_IS_OFF) *lse += 0.01;
  if (kind == LSE_OF_HIDDEN_ROW_IS_FINITE && isinf(*lse)) *lse = -1e30;
  if (unlikely && kind == OFF_IN_ONE_UNLIKELY_ROW) o[0] ^= 0x8000;
  if (unlikely && kind == OFF_BY_LITTLE_IN_ONE_UNLIKELY_ROW)
    o[0] = attune_to_element(p->dtype, attune_from_element(p->dtype, o[0]) + 0.01);
}

static void compute_mean(const attune_tensors *arguments, int index, double *o) {
  const attune_problem *p = &kernel.problem;
  const uint16_t *v = (const uint16_t *)arguments->v + index * p->v.seqlen;
  for (int d = 0; d < p->head_dim_v; d++)
    o[d] = ((index > 0 ? o[d] * index : 0.0) + attune_from_element(p->dtype, v[d])) / (index + 1);
}

static void compute_row(const attune_tensors *arguments, defect kind, const attune_row *row, double *o, double *lse) {
  attune_problem problem = kernel.problem;
  if (kind == IGNORES_THE_WINDOW) problem.window_left = ATTUNE_UNBOUNDED;
  if (kernel.uniform_so_far)
    compute_mean(arguments, row->row, o);
  else if (!kernel.uniform || isnan(o[0]))
    attune_reference_row(o, lse, &problem, arguments->q, arguments->k, arguments->v, row->batch, row->head, row->row,
                         NULL);
}

attune_status attune_enqueue(const attune_program *program, const attune_run_inputs *run, void *workspace,
                             size_t workspace_size, attune_stream stream) {
  const attune_tensors *arguments = &run->tensors;
  kernel.problem = program->problem;
  const attune_problem *p = &kernel.problem;
  const attune_layout layout = attune_layout_o(p);
  const defect kind = program == &tested ? kernel.defect : kernel.reference_is_wrong ? IS_OFF : RIGHT;
  double o[256] = {NAN}, lse = 0.0;
  (void)workspace, (void)workspace_size, (void)stream;
  for (int batch = 0; batch < p->batch; batch++)
    for (int head = 0; head < p->heads_q; head++)
      for (int index = 0; index < p->seqlen_q; index++) {
        const attune_row row = {.batch = batch, .head = head, .row = index};
        uint16_t *to = (uint16_t *)arguments->o + attune_layout_offset(&layout, batch, index, head);
        compute_row(arguments, kind, &row, o, &lse);
        double written_lse = lse;
        for (int d = 0; d < p->head_dim_v; d++)
          to[d] = attune_to_element(p->dtype, o[d]);
        spoil_row(kind, &row, to, &written_lse);
        if (arguments->lse == NULL) continue;
        float *lse_to = &arguments->lse[((int64_t)batch * p->heads_q + head) * p->seqlen_q + index];
        if (kind != LSE_IS_UNWRITTEN || index != p->seqlen_q - 1) *lse_to = (float)written_lse;
      }
  return ATTUNE_OK;
}

/* ---- small problems: every row in double precision ---- */

static attune_problem small_problem(void) {
  attune_problem problem;
  attune_problem_init(&problem);
  problem.head_dim = 16;
  problem.head_dim_v = 8;
  problem.batch = 2;
  problem.heads_q = 4;
  problem.heads_kv = 2;
  problem.seqlen_q = 20;
  problem.seqlen_k = 12;
  problem.mask = ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT; /* the first rows see nothing */
  problem.want_lse = 1;
  return problem;
}

static attune_verdict verdict_of(const attune_problem *problem, defect kind) {
  attune_verifier *bed;
  attune_config config;
  attune_verdict verdict;
  kernel.defect = kind;
  kernel.uniform = false;
  assert_int_equal(attune_config_reference(&config, problem), ATTUNE_OK);
  assert_int_equal(attune_verifier_create(&bed, machine, problem, NULL, 7, 1.0), ATTUNE_OK);
  assert_int_equal(attune_verifier_check(bed, program_of(problem), &verdict), ATTUNE_OK);
  attune_verifier_destroy(bed);
  assert_null(pinned.at);
  return verdict;
}

static void expect(const attune_problem *problem, defect kind, const char *says) {
  const attune_verdict verdict = verdict_of(problem, kind);
  assert_false(verdict.passed);
  if (strstr(verdict.worst, says) == NULL) fail_msg("expected \"%s\" in \"%s\"", says, verdict.worst);
}

static void a_right_kernel_passes(void **state) {
  (void)state;
  attune_problem problem = small_problem();
  for (int dtype = ATTUNE_FP16; dtype <= ATTUNE_BF16; dtype++) {
    problem.dtype = (attune_dtype)dtype;
    const attune_verdict verdict = verdict_of(&problem, RIGHT);
    assert_true(verdict.passed);
    assert_int_equal(verdict.rows_checked, 2 * 4 * 20);
    assert_true(verdict.error > 0.0 && verdict.error < verdict.bound);
    assert_true(verdict.unfused_error > 0.0 && fabs(verdict.bound - 2.0 * verdict.unfused_error - 1e-5) < 1e-12);
    assert_true(verdict.lse_error < 1e-5);
    assert_string_equal(verdict.worst, "");
  }
}

static void defects_are_named_with_their_place(void **state) {
  (void)state;
  const attune_problem problem = small_problem();
  expect(&problem, SKIPS_A_ROW, "8 elements of o are unwritten or NaN, the first at [batch 1, row 19, head 3, 0]");
  expect(&problem, SKIPS_AN_ELEMENT, "1 elements of o are unwritten or NaN, the first at [batch 1, row 19, head 3, 7]");
  expect(&problem, WRITES_NAN, "o[batch 1, row 19, head 3, 0] is nan");
  expect(&problem, IS_OFF, "o[batch 1, row 19, head 3, 1] is ");
  expect(&problem, LSE_IS_OFF, "lse[batch 1, head 3, row 19] is ");
  expect(&problem, LSE_IS_UNWRITTEN, "lse is unwritten or NaN 19 elements after its start");
  expect(&problem, LSE_OF_HIDDEN_ROW_IS_FINITE, "lse[batch 0, head 0, row 0] is -1.00000002e+30, exact -inf");
}

static void what_lies_between_rows_is_kept(void **state) {
  (void)state;
  attune_problem problem = small_problem();
  problem.o = (attune_strides){.batch = 20 * 64, .seqlen = 64, .heads = 16};
  problem.q = (attune_strides){.batch = 20 * 128, .seqlen = 128, .heads = 32};
  problem.k = (attune_strides){.batch = 0, .seqlen = 32, .heads = 16}; /* one for the whole batch */
  assert_true(verdict_of(&problem, RIGHT).passed);
  expect(&problem, WRITES_BETWEEN_ROWS, "between the rows of o");
  expect(&problem, SKIPS_A_ROW, "8 elements of o are unwritten");
}

/* Rows that see 2000 keys are 0.03 where those that see one are 3: what is off in the former is less than what rounding
 * does to the latter. */
static void long_rows_have_their_own_bound(void **state) {
  (void)state;
  attune_problem problem;
  attune_problem_init(&problem);
  problem.head_dim = 16;
  problem.head_dim_v = 64;
  problem.seqlen_q = problem.seqlen_k = 2048;
  problem.mask = ATTUNE_MASK_CAUSAL;
  problem.window_left = 1984;
  const attune_verdict right = verdict_of(&problem, RIGHT);
  assert_true(right.passed);
  assert_true(right.error <= right.bound && fabs(right.bound - 2.0 * right.unfused_error - 1e-5) < 1e-12);
  const attune_verdict wrong = verdict_of(&problem, IGNORES_THE_WINDOW);
  assert_false(wrong.passed);
  assert_true(wrong.error > wrong.bound && wrong.bound < 0.01);
}

static void buckets_are_powers_of_two_of_visible_keys(void **state) {
  (void)state;
  attune_problem problem = small_problem(), resolved;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  const int causal[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3};
  for (int row = 0; row < 20; row++)
    assert_int_equal(attune_bucket(&resolved, row), causal[row]);
  problem.mask = ATTUNE_MASK_NONE; /* row 0 sees 0..4, row 19 nothing any more */
  problem.window_left = 3;
  problem.window_right = 4;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  const int window[] = {2, 2, 2, 3, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0};
  for (int row = 0; row < 20; row++)
    assert_int_equal(attune_bucket(&resolved, row), window[row]);
}

static void outputs_are_contiguous(void **state) {
  (void)state;
  attune_problem problem = small_problem(), resolved;
  problem.o = (attune_strides){.batch = 16, .seqlen = 32, .heads = 20 * 32};
  attune_verifier *bed;
  attune_config config;
  uint16_t o[2 * 20 * 4 * 8];
  float lse[2 * 4 * 20];
  double exact[8], exact_lse;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  const attune_layout layouts[] = {attune_layout_q(&resolved), attune_layout_k(&resolved), attune_layout_v(&resolved)};
  uint16_t *inputs[3];
  for (uint64_t i = 0; i < 3; i++)
    assert_non_null(inputs[i] = attune_draw(&layouts[i], problem.dtype, i, 1.0));
  kernel.defect = RIGHT;
  assert_int_equal(attune_config_reference(&config, &problem), ATTUNE_OK);
  assert_int_equal(attune_verifier_create_with(&bed, machine, &problem, NULL, inputs[0], inputs[1], inputs[2]),
                   ATTUNE_OK);
  assert_int_equal(attune_verifier_launch(bed, program_of(&problem)), ATTUNE_OK);
  assert_int_equal(attune_verifier_outputs(bed, o, lse), ATTUNE_OK);
  attune_reference_row(exact, &exact_lse, &resolved, inputs[0], inputs[1], inputs[2], 1, 2, 13, NULL);
  assert_true((double)lse[(1 * 4 + 2) * 20 + 13] == (double)(float)exact_lse);
  for (int d = 0; d < 8; d++)
    assert_int_equal(o[((1 * 20 + 13) * 4 + 2) * 8 + d], attune_to_element(problem.dtype, exact[d]));
  attune_verifier_destroy(bed);
  for (int i = 0; i < 3; i++)
    free(inputs[i]);
}

/* ---- large problems: some rows, and the reference family ---- */

/* Queries are zero, so that every row is the mean of V as far as it sees it, and V is the same in all heads. */
static attune_status large_bed(attune_verifier **bed, attune_problem *problem, attune_mask mask) {
  attune_problem_init(problem);
  problem->heads_q = problem->heads_kv = 16;
  problem->seqlen_q = problem->seqlen_k = 2048;
  problem->v = (attune_strides){.batch = 2048 * 64, .seqlen = 64, .heads = 0};
  const size_t elements = 16 * 2048 * 64;
  uint16_t *zero = calloc(elements, sizeof *zero);
  const attune_layout layout = {problem->v, 1, 2048, 16, 64};
  uint16_t *v = attune_draw(&layout, problem->dtype, 3, 1.0);
  assert_true(zero != NULL && v != NULL);
  problem->mask = mask;
  kernel.uniform = true;
  kernel.uniform_so_far = mask == ATTUNE_MASK_CAUSAL;
  const attune_status status = attune_verifier_create_with(bed, machine, problem, NULL, zero, zero, v);
  free(zero);
  free(v);
  return status;
}

static void every_element_of_a_large_problem_is_compared(void **state) {
  (void)state;
  attune_problem problem;
  attune_verifier *bed;
  attune_config config;
  attune_verdict verdict;
  assert_int_equal(large_bed(&bed, &problem, ATTUNE_MASK_NONE), ATTUNE_OK);
  assert_int_equal(attune_config_reference(&config, &problem), ATTUNE_OK);
  kernel.defect = RIGHT;
  assert_int_equal(attune_verifier_check(bed, program_of(&problem), &verdict), ATTUNE_OK);
  assert_true(verdict.passed);
  assert_true(verdict.rows_checked >= 48 && verdict.rows_checked < 16 * 2048);
  kernel.defect = OFF_IN_ONE_UNLIKELY_ROW;
  assert_int_equal(attune_verifier_check(bed, program_of(&problem), &verdict), ATTUNE_OK);
  assert_false(verdict.passed);
  assert_non_null(strstr(verdict.worst, "[batch 0, row 1027, head 15, 0]"));
  kernel.defect = SKIPS_A_ROW;
  assert_int_equal(attune_verifier_check(bed, program_of(&problem), &verdict), ATTUNE_OK);
  assert_non_null(strstr(verdict.worst, "64 elements of o are unwritten or NaN"));
  attune_verifier_destroy(bed);
}

static void every_element_has_the_bound_of_its_bucket(void **state) {
  (void)state;
  attune_problem problem;
  attune_verifier *bed;
  attune_config config;
  attune_verdict verdict;
  assert_int_equal(large_bed(&bed, &problem, ATTUNE_MASK_CAUSAL), ATTUNE_OK);
  assert_int_equal(attune_config_reference(&config, &problem), ATTUNE_OK);
  kernel.defect = RIGHT;
  assert_int_equal(attune_verifier_check(bed, program_of(&problem), &verdict), ATTUNE_OK);
  assert_true(verdict.passed);
  kernel.defect = OFF_BY_LITTLE_IN_ONE_UNLIKELY_ROW;
  assert_int_equal(attune_verifier_check(bed, program_of(&problem), &verdict), ATTUNE_OK);
  assert_false(verdict.passed);
  assert_non_null(strstr(verdict.worst, "[batch 0, row 1027, head 15, 0]"));
  attune_verifier_destroy(bed);
  kernel.uniform_so_far = false;
}

/* At least eight of each where there are as many. */
static void rows_of_every_bucket_are_judged(void **state) {
  (void)state;
  attune_problem problem, resolved;
  attune_rows rows;
  attune_problem_init(&problem);
  problem.heads_q = problem.heads_kv = 16;
  problem.head_dim = problem.head_dim_v = 64;
  problem.seqlen_q = problem.seqlen_k = 4096;
  problem.mask = ATTUNE_MASK_CAUSAL;
  assert_int_equal(attune_problem_resolve(&resolved, &problem), ATTUNE_OK);
  const attune_layout layout = attune_layout_q(&resolved);
  uint16_t *inputs[3];
  for (uint64_t i = 0; i < 3; i++)
    assert_non_null(inputs[i] = attune_draw(&layout, problem.dtype, i, 1.0));
  assert_int_equal(attune_rows_create(&rows, &resolved, NULL, inputs[0], inputs[1], inputs[2], 1, false), ATTUNE_OK);
  for (int bucket = 1; bucket <= 12; bucket++) {
    int judged = 0;
    bool first_half = false, second_half = false;
    for (int64_t i = 0; i < rows.count; i++) {
      if (attune_bucket(&resolved, rows.rows[i].row) != bucket) continue;
      judged++;
      first_half = first_half || rows.rows[i].head < 8;
      second_half = second_half || rows.rows[i].head >= 8;
    }
    assert_true(judged >= 8 && first_half && second_half);
    assert_true(rows.unfused_errors[bucket] > 0.0);
  }
  assert_true(rows.unfused_errors[0] == 0.0 && rows.unfused_errors[13] == 0.0);
  assert_true(rows.unfused_errors[11] < 0.2 * rows.unfused_errors[1]);
  attune_rows_free(&rows);
  for (int i = 0; i < 3; i++)
    free(inputs[i]);
}

static void a_wrong_reference_family_is_no_judge(void **state) {
  (void)state;
  attune_problem problem;
  attune_verifier *bed;
  kernel.reference_is_wrong = true;
  /* Its last row is among those that are always looked at. */
  assert_int_equal(large_bed(&bed, &problem, ATTUNE_MASK_NONE), ATTUNE_WRONG_RESULT);
  assert_null(bed);
  kernel.reference_is_wrong = false;
}

/* ---- inputs ---- */

static void inputs_are_normal_and_repeatable(void **state) {
  (void)state;
  enum { COUNT = 1 << 20 };
  const attune_layout layout = {{COUNT, 64, 64}, 1, COUNT / 64, 1, 64};
  uint16_t *a = attune_draw(&layout, ATTUNE_FP16, 5, 2.0), *b = attune_draw(&layout, ATTUNE_FP16, 5, 2.0);
  uint16_t *c = attune_draw(&layout, ATTUNE_FP16, 6, 2.0);
  assert_true(a && b && c);
  assert_memory_equal(a, b, COUNT * sizeof *a);
  assert_memory_not_equal(a, c, COUNT * sizeof *a);
  double sum = 0.0, squares = 0.0, within = 0.0;
  for (int i = 0; i < COUNT; i++) {
    const double x = attune_from_element(ATTUNE_FP16, a[i]) / 2.0;
    sum += x;
    squares += x * x;
    within += fabs(x) < 1.0;
  }
  assert_true(fabs(sum / COUNT) < 0.005);
  assert_true(fabs(squares / COUNT - 1.0) < 0.01);
  assert_true(fabs(within / COUNT - 0.6827) < 0.005);
  free(a);
  free(b);
  free(c);
}

static void gaps_between_inputs_are_nan(void **state) {
  (void)state;
  const attune_layout layout = {{.batch = 0, .seqlen = 24, .heads = 8}, 3, 4, 2, 8};
  uint16_t *drawn = attune_draw(&layout, ATTUNE_BF16, 1, 1.0);
  assert_non_null(drawn);
  assert_int_equal(attune_layout_extent(&layout), 3 * 24 + 16);
  for (int i = 0; i < 3 * 24 + 16; i++)
    assert_int_equal(isnan(attune_from_element(ATTUNE_BF16, drawn[i])), i % 24 >= 16);
  free(drawn);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_right_kernel_passes),
      cmocka_unit_test(defects_are_named_with_their_place),
      cmocka_unit_test(what_lies_between_rows_is_kept),
      cmocka_unit_test(long_rows_have_their_own_bound),
      cmocka_unit_test(buckets_are_powers_of_two_of_visible_keys),
      cmocka_unit_test(outputs_are_contiguous),
      cmocka_unit_test(every_element_of_a_large_problem_is_compared),
      cmocka_unit_test(every_element_has_the_bound_of_its_bucket),
      cmocka_unit_test(rows_of_every_bucket_are_judged),
      cmocka_unit_test(a_wrong_reference_family_is_no_judge),
      cmocka_unit_test(inputs_are_normal_and_repeatable),
      cmocka_unit_test(gaps_between_inputs_are_nan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
