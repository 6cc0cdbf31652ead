/* For the verifier's tests: a backend that is memory, and a kernel in plain C that is right but for one defect.
 * Included after cmocka. */
#ifndef ATTUNE_TESTS_VERIFIER_CASE_H
#define ATTUNE_TESTS_VERIFIER_CASE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tuner/verify/verifier.h"

/* ---- a backend that is memory, and kernels with defects ---- */

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
  LSE_IS_OFF_IN_ONE_UNLIKELY_ROW,
  IGNORES_THE_WINDOW,
  IGNORES_SEQLENS_K,
  USES_THE_FIRST_SEQLEN_K,
  IGNORES_SEQLENS_Q,
  READS_A_GAP_OF_V,
  READS_BEHIND_K,
  READS_BEHIND_SINKS,
  READS_BEHIND_AN_ARRAY,
  READS_BIAS_PAST_THE_KEYS,
  WRITES_BEHIND_O,
  WRITES_BEFORE_LSE,
  WRITES_BEHIND_THE_WORKSPACE,
  TRUSTS_THE_WORKSPACE,
} defect;

static struct {
  attune_problem problem; /* resolved */
  defect defect;
  bool uniform;        /* all rows are equal: computed once */
  bool uniform_so_far; /* row i is the mean of the first i + 1 rows of V, in all heads */
  bool reference_is_wrong;
} kernel;
static attune_backend *const backend = (void *)&kernel;

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

static int pinned_count;

bool attune_memory_pin(attune_backend *self, void *host, size_t size) {
  (void)self, (void)host, (void)size;
  pinned_count++;
  return true;
}

void attune_memory_unpin(attune_backend *self, void *host) {
  (void)self;
  /* Not freed yet: a sanitizer sees it if it is. */
  *(char *)host = 0;
  pinned_count--;
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

static const attune_program *program_of(const attune_problem *problem, const char *config_text) {
  attune_config config;
  assert_int_equal(attune_problem_resolve(&tested.problem, problem), ATTUNE_OK);
  assert_int_equal(config_text ? attune_config_parse(&config, config_text) : attune_config_reference(&config, problem),
                   ATTUNE_OK);
  if (attune_steps_of(&tested.steps, &config, &tested.problem) != ATTUNE_OK) fail_msg("%s", attune_message());
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

void attune_tensors_init_sized(attune_tensors *tensors, size_t struct_size) {
  *tensors = (attune_tensors){.struct_size = struct_size};
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
  if (last && kind == WRITES_BEHIND_O) o[p->head_dim_v] = 0;
  if (last && kind == LSE_IS_OFF) *lse += 0.01;
  if (unlikely && kind == LSE_IS_OFF_IN_ONE_UNLIKELY_ROW) *lse += 0.01;
  if (kind == LSE_OF_HIDDEN_ROW_IS_FINITE && isinf(*lse)) *lse = -1e30;
  if (unlikely && kind == OFF_IN_ONE_UNLIKELY_ROW) o[0] ^= 0x8000;
  if (unlikely && kind == OFF_BY_LITTLE_IN_ONE_UNLIKELY_ROW)
    o[0] = attune_to_element(p->dtype, attune_from_element(p->dtype, o[0]) + 0.01);
}

/* What a kernel adds to its output that multiplies by 0 what it should not have read. */
static double read_in_error(const attune_tensors *tensors, defect kind, const attune_row *row) {
  const attune_problem *p = &kernel.problem;
  const attune_layout k = attune_layout_of(p, ATTUNE_TENSOR_K), v = attune_layout_of(p, ATTUNE_TENSOR_V);
  const int64_t row_of_v = attune_layout_offset(&v, row->batch, 0, row->head / (p->heads_q / p->heads_kv));
  switch (kind) {
  case READS_A_GAP_OF_V:
    return attune_from_element(p->dtype, ((const uint16_t *)tensors->v)[row_of_v + p->head_dim_v]);
  case READS_BEHIND_K:
    return attune_from_element(p->dtype, ((const uint16_t *)tensors->k)[attune_layout_extent(&k)]);
  case READS_BEHIND_SINKS:
    return (double)tensors->sinks[p->heads_q];
  case READS_BEHIND_AN_ARRAY:
    return (double)((const float *)tensors->values[0].array)[tensors->values[0].count];
  case READS_BIAS_PAST_THE_KEYS:
    return attune_from_element(p->dtype,
                               ((const uint16_t *)tensors->bias)[row->batch * p->bias.batch + p->seqlen_k - 1]);
  default:
    return 0.0;
  }
}

static void compute_mean(const attune_tensors *tensors, int index, double *o) {
  const attune_problem *p = &kernel.problem;
  const uint16_t *v = (const uint16_t *)tensors->v + index * p->v.seqlen;
  for (int d = 0; d < p->head_dim_v; d++)
    o[d] = ((index > 0 ? o[d] * index : 0.0) + attune_from_element(p->dtype, v[d])) / (index + 1);
}

/* As reference.c reads them. Lengths that are too long are cut to the problem's bound. */
static attune_inputs inputs_of(const attune_tensors *tensors, defect kind, int32_t seqlens_k[8]) {
  const attune_problem *p = &kernel.problem;
  attune_inputs inputs = {
      .q = tensors->q, .k = tensors->k, .v = tensors->v, .bias = tensors->bias, .sinks = tensors->sinks};
  inputs.params[0].array = tensors->values[0].array;
  inputs.params[0].count = tensors->values[0].count;
  inputs.seqlens[ATTUNE_QUERIES].array = tensors->seqlens_q;
  for (int batch = 0; batch < p->batch && tensors->seqlens_k != NULL; batch++)
    seqlens_k[batch] = tensors->seqlens_k[kind == USES_THE_FIRST_SEQLEN_K ? 0 : batch];
  if (tensors->seqlens_k != NULL && kind != IGNORES_SEQLENS_K) inputs.seqlens[ATTUNE_KEYS].array = seqlens_k;
  return inputs;
}

static void compute_row(const attune_tensors *tensors, const attune_inputs *inputs, defect kind, const attune_row *row,
                        double *o, double *lse) {
  attune_problem problem = kernel.problem;
  if (kind == IGNORES_THE_WINDOW) problem.window_left = ATTUNE_UNBOUNDED;
  if (kernel.uniform_so_far)
    compute_mean(tensors, row->row, o);
  else if (!kernel.uniform || isnan(o[0]))
    attune_reference_row(o, lse, &problem, inputs, row->batch, row->head, row->row);
  if (kernel.uniform_so_far) *lse = log(row->row + 1);
  o[0] += 0.0 * read_in_error(tensors, kind, row);
}

static void spoil_memory(defect kind, const attune_tensors *tensors, char *workspace, size_t workspace_size) {
  if (kind == WRITES_BEFORE_LSE) tensors->lse[-1] = 0.0f;
  if (kind == TRUSTS_THE_WORKSPACE) memset(workspace, 0, workspace_size);
  if (kind == WRITES_BEHIND_THE_WORKSPACE) workspace[workspace_size] = 0;
}

/* The workspace is not cleared here, so that a kernel meets what the verifier put there. */
attune_status attune_enqueue(const attune_program *program, const attune_run_inputs *run, void *workspace,
                             size_t workspace_size, attune_stream stream) {
  const attune_tensors *tensors = &run->tensors;
  kernel.problem = program->problem;
  const attune_problem *p = &kernel.problem;
  const attune_layout layout = attune_layout_of(p, ATTUNE_TENSOR_O);
  const defect kind = program == &tested ? kernel.defect : kernel.reference_is_wrong ? IS_OFF : RIGHT;
  double o[256] = {NAN}, lse = 0.0;
  int32_t seqlens_k[8];
  (void)stream;
  const attune_inputs inputs = inputs_of(tensors, kind, seqlens_k);
  for (int batch = 0; batch < p->batch; batch++)
    for (int head = 0; head < p->heads_q; head++)
      for (int index = 0; index < p->seqlen_q; index++) {
        const attune_row row = {.batch = batch, .head = head, .row = index};
        uint16_t *to = (uint16_t *)tensors->o + attune_layout_offset(&layout, batch, index, head);
        if (tensors->seqlens_q != NULL && index >= tensors->seqlens_q[batch] && kind != IGNORES_SEQLENS_Q) continue;
        compute_row(tensors, &inputs, kind, &row, o, &lse);
        double written_lse = lse;
        for (int d = 0; d < p->head_dim_v; d++)
          to[d] = attune_to_element(p->dtype, o[d]);
        spoil_row(kind, &row, to, &written_lse);
        if (kind == TRUSTS_THE_WORKSPACE) to[0] ^= *(const uint16_t *)workspace & 0x8000;
        if (tensors->lse == NULL) continue;
        float *lse_to = &tensors->lse[((int64_t)batch * p->heads_q + head) * p->seqlen_q + index];
        if (kind != LSE_IS_UNWRITTEN || index != p->seqlen_q - 1) *lse_to = (float)written_lse;
      }
  spoil_memory(kind, tensors, workspace, workspace_size);
  return ATTUNE_OK;
}

/* ---- verdicts ---- */

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

/* Of inputs that the problem needs and lengths, if they are not NULL, or drawn ones. */
static attune_verdict verdict_with(const attune_problem *problem, const attune_inputs *inputs,
                                   const attune_drawing *drawing, const char *config_text, defect kind) {
  attune_verifier *verifier;
  attune_verdict verdict;
  kernel.defect = kind;
  kernel.uniform = false;
  if (attune_verifier_create(&verifier, backend, problem, inputs, drawing) != ATTUNE_OK)
    fail_msg("%s", attune_message());
  assert_int_equal(attune_verifier_check(verifier, program_of(problem, config_text), &verdict), ATTUNE_OK);
  attune_verifier_destroy(verifier);
  assert_int_equal(pinned_count, 0);
  return verdict;
}

static attune_verdict verdict_of(const attune_problem *problem, defect kind) {
  return verdict_with(problem, NULL, &(attune_drawing){.seed = 7}, NULL, kind);
}

static void expect_in(const attune_verdict *verdict, const char *says) {
  assert_false(verdict->passed);
  if (strstr(verdict->worst, says) == NULL) fail_msg("expected \"%s\" in \"%s\"", says, verdict->worst);
}

static void expect(const attune_problem *problem, defect kind, const char *says) {
  const attune_verdict verdict = verdict_of(problem, kind);
  expect_in(&verdict, says);
}

#endif
