/* The tensors of one problem on one backend: drawn, uploaded, poisoned, given to kernels.
 *
 * What decides: float64 on rows (rows.c), by the rule that the error is at most twice that of the unfused computation
 * in the same dtype, plus 1e-5. Outputs and errors shrink with the number of keys that a row sees, so that the unfused
 * error is that of rows that see about as many (their bucket). Where the rows are not all, every element is also
 * compared with the reference family's output, which is itself checked on the rows first. compare.c compares. */
#include "tuner/verify/verifier.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"

enum { VALUES = 1 << 16 };

/* ---- memory on the device, between guards ---- */

static attune_status allocate(char **out, attune_verifier *v, size_t size) {
  void *memory = NULL;
  attune_status status = attune_memory_allocate(&memory, v->backend, size + 2 * v->guard);
  if (status != ATTUNE_OK) return status;
  *out = memory;
  return attune_memory_fill(v->backend, memory, ATTUNE_POISON, size + 2 * v->guard);
}

static size_t size_of(const attune_verified_tensor *tensor) {
  return (size_t)tensor->extent * tensor->element;
}

/* What a run is given for the tensor: NULL, unless `memory` says where it is. */
static void set_pointer(attune_verifier *v, attune_tensor_id id, const char *memory) {
  const void *pointer = memory != NULL ? memory + v->guard : NULL;
  memcpy((char *)&v->run + attune_tensor_table[id].run, &pointer, sizeof pointer);
}

static attune_status make_output(attune_verifier *v, attune_verified_tensor *tensor) {
  const size_t size = size_of(tensor) + 2 * v->guard;
  tensor->host = malloc(size);
  if (tensor->host == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for an output of %zu bytes", size);
  tensor->pinned = attune_memory_pin(v->backend, tensor->host, size);
  return ATTUNE_OK;
}

static attune_status make_tensors(attune_verifier *v) {
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++) {
    const attune_tensor_row *row = &attune_tensor_table[id];
    attune_verified_tensor *tensor = &v->tensors[id];
    tensor->layout = attune_layout_in(&v->problem, id, &v->run);
    tensor->extent = attune_layout_extent(&tensor->layout);
    tensor->element = (size_t)attune_element_bytes(row->element);
    if (tensor->extent == 0) continue;
    attune_status status = allocate(&tensor->memory, v, size_of(tensor));
    if (status == ATTUNE_OK && attune_tensor_role_of(id, &v->problem) == ATTUNE_TENSOR_OUTPUT)
      status = make_output(v, tensor);
    if (status != ATTUNE_OK) return status;
    if (row->element != ATTUNE_ELEMENT_INT) set_pointer(v, id, tensor->memory); /* lengths: if there are any */
  }
  return ATTUNE_OK;
}

static attune_status make_arrays(attune_verifier *v) {
  attune_inputs_values(v->run.tensors.values, &v->inputs);
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++) {
    attune_value *value = &v->run.tensors.values[i];
    const size_t size = value->count > 0 ? (size_t)value->count * sizeof(int32_t) : 0;
    attune_status status = ATTUNE_OK;
    if (size > 0) status = allocate(&v->arrays[i], v, size);
    if (status == ATTUNE_OK && size > 0)
      status = attune_memory_write(v->backend, v->arrays[i] + v->guard, value->array, size);
    value->array = size > 0 && status == ATTUNE_OK ? v->arrays[i] + v->guard : NULL;
    if (status != ATTUNE_OK) return status;
  }
  return ATTUNE_OK;
}

/* ---- drawing ---- */

static attune_status check_lengths(const attune_verifier *v) {
  static const char *const names[] = {"seqlens_q", "seqlens_k"};
  const int32_t bounds[] = {v->problem.seqlen_q, v->problem.seqlen_k};
  for (int side = 0; side < 2; side++) {
    const int32_t *lengths = attune_inputs_seqlens(&v->inputs, (attune_side)side);
    if (lengths == NULL) continue;
    if (v->inputs.seqlens[side].array == NULL && v->inputs.seqlens[side].count != v->problem.batch)
      return attune_fail(ATTUNE_BAD_SIZE, "%s has %d lengths for a batch of %d; give one for each sequence",
                         names[side], v->inputs.seqlens[side].count, v->problem.batch);
    for (int i = 0; i < v->problem.batch; i++)
      if (lengths[i] < 0 || lengths[i] > bounds[side])
        return attune_fail(ATTUNE_BAD_SIZE, "%s[%d] is %d; it must be from 0 to the problem's bound, %d", names[side],
                           i, lengths[i], bounds[side]);
  }
  return ATTUNE_OK;
}

/* The caller's lengths, else drawn ones, else the bounds, of which runs are not told. */
static attune_status draw_lengths(attune_verifier *v, const attune_drawing *drawing) {
  const attune_problem *p = &v->problem;
  attune_draw_lengths(v->lengths[ATTUNE_QUERIES], v->lengths[ATTUNE_KEYS], p->batch, p->seqlen_q, p->seqlen_k,
                      drawing->seed);
  for (int side = 0; side < 2; side++) {
    const attune_tensor_id id = side == ATTUNE_QUERIES ? ATTUNE_TENSOR_SEQLENS_Q : ATTUNE_TENSOR_SEQLENS_K;
    const int32_t *own = attune_inputs_seqlens(&v->inputs, (attune_side)side);
    const size_t size = (size_t)p->batch * sizeof *own;
    const bool told = own != NULL || drawing->lengths;
    if (own != NULL) memcpy(v->lengths[side], own, size);
    for (int i = 0; i < p->batch && !told; i++)
      v->lengths[side][i] = side == ATTUNE_QUERIES ? p->seqlen_q : p->seqlen_k;
    set_pointer(v, id, told ? v->tensors[id].memory : NULL);
    const attune_status status =
        attune_memory_write(v->backend, v->tensors[id].memory + v->guard, v->lengths[side], size);
    if (status != ATTUNE_OK) return status;
  }
  return ATTUNE_OK;
}

static attune_status draw_block_mask(attune_verifier *v, attune_inputs *inputs, uint64_t seed) {
  const attune_problem *p = &v->problem;
  if (p->block_size == 0) return ATTUNE_OK;
  attune_host_block_mask_release(v->backend, &v->run.tensors.block_mask);
  attune_host_block_mask_free(&v->block_mask);
  v->run.tensors.block_mask = (attune_block_mask){0};
  if (inputs->block_mask.row_offsets == NULL) {
    const attune_status status = attune_host_block_mask_draw(&v->block_mask, p, seed);
    if (status != ATTUNE_OK) return status;
    inputs->block_mask = v->block_mask.view;
  }
  return attune_host_block_mask_upload(&v->run.tensors.block_mask, v->backend, p, &inputs->block_mask);
}

static double magnitude_of(attune_magnitude of, const attune_drawing *drawing) {
  const double magnitude = of == ATTUNE_MAGNITUDE_QK  ? drawing->magnitude
                           : of == ATTUNE_MAGNITUDE_V ? drawing->magnitude_v
                                                      : 1.0;
  return magnitude > 0.0 ? magnitude : 1.0;
}

/* Gradients of larger scores than these are worse than those of the unfused computation (attune.h, "Gradients"), which
 * is no fault of a kernel: q and k are then drawn smaller. A score is a sum of head_dim products of normal numbers, and
 * six times their deviation is more than any. Nor are there biases of the largest numbers, or rows that a
 * finite "minus infinity" hides as a whole. */
static attune_drawing drawing_of_gradients(const attune_problem *problem, attune_drawing drawing) {
  const double largest = problem->dtype == ATTUNE_FP16 ? 0x1p8 : 0x1p11;
  const double most = sqrt(largest / (6.0 * sqrt((double)problem->head_dim) * fabs((double)problem->scale)));
  drawing.magnitude = fmin(magnitude_of(ATTUNE_MAGNITUDE_QK, &drawing), most);
  drawing.bias_masks = false;
  return drawing;
}

/* drawn[id] becomes what is uploaded, malloc'ed, and where `inputs` points. */
static attune_status draw_tensors(attune_verifier *v, attune_inputs *inputs, void *drawn[ATTUNE_VERIFIED_TENSORS],
                                  const attune_drawing *drawing) {
  const attune_lengths lengths = {{v->lengths[ATTUNE_QUERIES], v->lengths[ATTUNE_KEYS]}};
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++) {
    enum { SEEDS = 16 }; /* of one drawing */
    const attune_tensor_row *row = &attune_tensor_table[id];
    const attune_verified_row *known = &attune_verified_table[id];
    const attune_verified_tensor *tensor = &v->tensors[id];
    const void *from;
    if (known->host == 0 || tensor->extent == 0) continue;
    memcpy(&from, (const char *)&v->inputs + known->host, sizeof from);
    if (row->need(&v->problem) == ATTUNE_NEED_OPTIONAL) { /* every other time */
      const bool given = from != NULL || drawing->seed % 2 == 1;
      set_pointer(v, id, given ? tensor->memory : NULL);
      if (!given) continue;
    }
    drawn[id] =
        attune_draw_tensor(row, &tensor->layout, &lengths, v->problem.dtype, from, drawing->seed * SEEDS + (uint64_t)id,
                           magnitude_of(known->magnitude, drawing), drawing->bias_masks && id == ATTUNE_TENSOR_BIAS);
    if (drawn[id] == NULL)
      return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %zu bytes of %s", size_of(tensor), row->name);
    memcpy((char *)inputs + known->host, &drawn[id], sizeof drawn[id]);
    const attune_status status = attune_memory_write(v->backend, tensor->memory + v->guard, drawn[id], size_of(tensor));
    if (status != ATTUNE_OK) return status;
  }
  return ATTUNE_OK;
}

/* What the outputs hold before a run that adds to them. */
static attune_status draw_before(attune_verifier *v, const attune_drawing *drawing) {
  const attune_lengths lengths = {{v->lengths[ATTUNE_QUERIES], v->lengths[ATTUNE_KEYS]}};
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS && v->problem.accumulate; id++) {
    attune_verified_tensor *tensor = &v->tensors[id];
    if (tensor->host == NULL) continue;
    free(tensor->before);
    tensor->before = attune_draw_tensor(&attune_tensor_table[id], &tensor->layout, &lengths, v->problem.dtype, NULL,
                                        ~(drawing->seed * ATTUNE_VERIFIED_TENSORS + (uint64_t)id), 1.0, false);
    if (tensor->before == NULL)
      return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %zu bytes of %s", size_of(tensor),
                         attune_tensor_table[id].name);
  }
  return ATTUNE_OK;
}

/* Where a value is not finite, rows that do not see its key may be NaN (attune.h). Drawn ones are all finite. */
static attune_status find_spoiled(attune_verifier *v, const attune_inputs *inputs) {
  const attune_problem *p = &v->problem;
  free(v->spoiled);
  v->spoiled = NULL;
  if (v->inputs.v == NULL) return ATTUNE_OK;
  v->spoiled = calloc((size_t)p->batch * (size_t)p->heads_kv * (size_t)p->head_dim_v, sizeof *v->spoiled);
  if (v->spoiled == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a verifier");
  for (int64_t batch = 0; batch < p->batch; batch++)
    for (int64_t key = 0; key < v->lengths[ATTUNE_KEYS][batch]; key++)
      for (int64_t head = 0; head < p->heads_kv; head++) {
        const int64_t from = attune_layout_offset(&v->tensors[ATTUNE_TENSOR_V].layout, batch, key, head);
        bool *spoiled = v->spoiled + (batch * p->heads_kv + head) * p->head_dim_v;
        for (int d = 0; d < p->head_dim_v; d++)
          spoiled[d] |= !isfinite(v->values[inputs->v[from + d]]);
      }
  return ATTUNE_OK;
}

/* ---- the reference family ---- */

/* The element that differs from the reference family's is one of millions, not one that the bound was taken from: each
 * of the two has its bound, and the bound is that of the bucket, of the one below, and of all above. Where errors
 * shrink from bucket to bucket that is little more, by the root of two; where a few keys have all the weight, errors
 * are rare and do not shrink, and one bucket's sample may have missed them. */
static void set_reference_apart(attune_verifier *v, attune_tensor_id id) {
  double above = 0.0;
  v->reference_apart[id][0] = 2.0 * attune_bound_of_bucket(v, id, 0);
  for (int bucket = ATTUNE_BUCKETS - 1; bucket > 0; bucket--) {
    above = fmax(above, attune_bound_of_bucket(v, id, bucket));
    v->reference_apart[id][bucket] =
        2.0 * (bucket > 1 ? fmax(above, attune_bound_of_bucket(v, id, bucket - 1)) : above);
  }
}

static void forget_reference(attune_verifier *v) {
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++) {
    free(v->tensors[id].reference);
    v->tensors[id].reference = NULL;
  }
}

/* Sums over all pairs of queries and keys, too many for the host: what is known of them is the reference family's. */
static void set_sums_apart(attune_verifier *v, attune_tensor_id id) {
  const float *sums = (const float *)(const void *)(v->tensors[id].reference + v->guard);
  double largest = 0.0;
  for (int64_t i = 0; i < v->tensors[id].extent; i++)
    largest = fmax(largest, fabs((double)sums[i]));
  v->reference_apart[id][1] = 2e-5 + 1e-3 * largest;
}

static attune_status keep_reference(attune_verifier *v) {
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++) {
    attune_verified_tensor *tensor = &v->tensors[id];
    if (tensor->host == NULL) continue;
    tensor->reference = malloc(size_of(tensor) + 2 * v->guard);
    if (tensor->reference == NULL)
      return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %zu bytes of reference %s", size_of(tensor),
                         attune_tensor_table[id].name);
    memcpy(tensor->reference, tensor->host, size_of(tensor) + 2 * v->guard);
    if (attune_param_of(id) >= 0) set_sums_apart(v, id);
  }
  return ATTUNE_OK;
}

/* Runs the reference family over the whole problem, and checks it on the rows as any other. */
static attune_status run_reference(attune_verifier *v) {
  attune_config config;
  attune_verdict verdict;
  attune_status status = attune_config_reference(&config, &v->problem);
  const attune_program_source from = {.backend = v->backend, .problem = &v->problem};
  if (status == ATTUNE_OK && v->reference == NULL) status = attune_program_create(&v->reference, &from, &config);
  if (status == ATTUNE_OK) status = attune_verifier_check(v, v->reference, &verdict);
  if (status == ATTUNE_OK && !verdict.passed)
    status = attune_fail(ATTUNE_WRONG_RESULT, "the reference family itself is wrong on this device: %s", verdict.worst);
  return status == ATTUNE_OK ? keep_reference(v) : status;
}

/* attune.h, "Large scores": the unfused computation subtracts the maximum first, so that a row's largest weight is 1.
 * Of drawn values that are no farther from 0 than 8 times their magnitude. */
static double weight_rounding(const attune_problem *problem, const attune_drawing *drawing) {
  enum { LARGE = 64 }; /* of q and k; scores are its square and more */
  if (attune_problem_changes_score(problem) || !(drawing->magnitude >= LARGE)) return 0.0;
  return 8.0 * drawing->magnitude_v * (problem->dtype == ATTUNE_FP16 ? 0x1p-10 : 0x1p-7);
}

/* Each of head_dim sums of drawn terms is rounded by 2^-24 of what it has come to: a quarter of the sum of all terms,
 * as it is not the worst case. */
static double score_rounding(const attune_problem *problem, const attune_drawing *drawing) {
  const double terms = problem->head_dim * drawing->magnitude * drawing->magnitude * fabs((double)problem->scale);
  return isfinite(terms) ? 0x1p-26 * terms : 0.0;
}

static attune_status create_rows(attune_verifier *v, const attune_inputs *inputs, uint64_t seed, bool all) {
  attune_status status = attune_rows_create(&v->rows[ATTUNE_QUERIES], &v->problem, ATTUNE_QUERIES, inputs, seed, all);
  if (status != ATTUNE_OK || v->problem.operation == ATTUNE_FORWARD) return status;
  status = attune_rows_create(&v->rows[ATTUNE_KEYS], &v->problem, ATTUNE_KEYS, inputs, seed, all);
  return status == ATTUNE_OK ? attune_score_gradients_create(v->rows, &v->problem, inputs, seed, all) : status;
}

static void free_rows(attune_verifier *v) {
  for (int i = 0; i < ATTUNE_ROWS_COUNT; i++)
    attune_rows_free(&v->rows[i]);
}

attune_status attune_verifier_draw(attune_verifier *v, const attune_drawing *wanted) {
  const attune_drawing smaller = drawing_of_gradients(&v->problem, *wanted);
  const attune_drawing *drawing = v->problem.operation == ATTUNE_BACKWARD ? &smaller : wanted;
  void *drawn[ATTUNE_VERIFIED_TENSORS] = {NULL};
  attune_inputs inputs = v->inputs;
  bool all = v->guard == 0; /* the simulator, where a run costs more than float64 does */
  if (v->problem.operation == ATTUNE_BACKWARD) all = all || attune_rows_affordable(&v->problem);
  forget_reference(v);
  free_rows(v);
  v->score_rounding = score_rounding(&v->problem, drawing);
  v->weight_rounding = weight_rounding(&v->problem, drawing);
  attune_status status = draw_lengths(v, drawing);
  inputs.seqlens[ATTUNE_QUERIES].array = v->lengths[ATTUNE_QUERIES];
  inputs.seqlens[ATTUNE_KEYS].array = v->lengths[ATTUNE_KEYS];
  if (status == ATTUNE_OK) status = draw_tensors(v, &inputs, drawn, drawing);
  if (status == ATTUNE_OK) status = draw_before(v, drawing);
  if (status == ATTUNE_OK) status = find_spoiled(v, &inputs);
  if (status == ATTUNE_OK) status = draw_block_mask(v, &inputs, drawing->seed);
  if (status == ATTUNE_OK && v->problem.operation == ATTUNE_BACKWARD) status = attune_verifier_save(v, &inputs, all);
  if (status == ATTUNE_OK) status = create_rows(v, &inputs, drawing->seed, all);
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++)
    free(drawn[id]);
  if (status != ATTUNE_OK) return status;
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++)
    set_reference_apart(v, id);
  return v->rows[ATTUNE_QUERIES].all ? ATTUNE_OK : run_reference(v);
}

/* ---- making ---- */

attune_status attune_verifier_create(attune_verifier **out, attune_backend *backend, const attune_problem *problem,
                                     const attune_inputs *inputs, const attune_drawing *drawing) {
  *out = NULL;
  attune_verifier *v = calloc(1, sizeof *v);
  if (v == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a verifier");
  v->backend = backend;
  v->guard = attune_backend_device(backend)->arch == 0 ? 0 : ATTUNE_GUARD;
  attune_tensors_init(&v->run.tensors);
  if (inputs != NULL) v->inputs = *inputs;
  attune_status status = attune_problem_resolve(&v->problem, problem);
  if (status == ATTUNE_OK) status = check_lengths(v);
  if (status == ATTUNE_OK) {
    for (int side = 0; side < 2; side++)
      v->lengths[side] = malloc((size_t)v->problem.batch * sizeof *v->lengths[side]);
    v->values = malloc(VALUES * sizeof *v->values);
    if (v->lengths[0] == NULL || v->lengths[1] == NULL || v->values == NULL)
      status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a verifier");
  }
  for (int bits = 0; bits < VALUES && status == ATTUNE_OK; bits++)
    v->values[bits] = (float)attune_from_element(v->problem.dtype, (uint16_t)bits);
  if (status == ATTUNE_OK) status = make_arrays(v);
  if (status == ATTUNE_OK) status = make_tensors(v);
  if (status == ATTUNE_OK) status = attune_verifier_draw(v, drawing);
  if (status == ATTUNE_OK)
    *out = v;
  else
    attune_verifier_destroy(v);
  return status;
}

void attune_verifier_destroy(attune_verifier *v) {
  if (v == NULL) return;
  forget_reference(v);
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS; id++) {
    attune_verified_tensor *tensor = &v->tensors[id];
    if (tensor->memory != NULL) attune_memory_free(v->backend, tensor->memory);
    if (tensor->pinned) attune_memory_unpin(v->backend, tensor->host);
    free(tensor->host);
    free(tensor->before);
  }
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++)
    if (v->arrays[i] != NULL) attune_memory_free(v->backend, v->arrays[i]);
  if (v->workspace != NULL) attune_memory_free(v->backend, v->workspace);
  attune_host_block_mask_release(v->backend, &v->run.tensors.block_mask);
  attune_host_block_mask_free(&v->block_mask);
  attune_program_destroy(v->reference);
  attune_program_destroy(v->forward);
  free_rows(v);
  free(v->saved[0]);
  free(v->saved[1]);
  free(v->lengths[0]);
  free(v->lengths[1]);
  free(v->values);
  free(v->spoiled);
  free(v);
}

/* ---- running ---- */

/* At least size; exactly on the simulator, so that it reports what lies beyond. */
static attune_status reserve_workspace(attune_verifier *v, size_t size) {
  if (v->workspace_capacity == size || (v->workspace_capacity > size && v->guard > 0)) return ATTUNE_OK;
  if (v->workspace != NULL) attune_memory_free(v->backend, v->workspace);
  v->workspace = NULL;
  v->workspace_capacity = 0;
  const attune_status status = size > 0 ? allocate(&v->workspace, v, size) : ATTUNE_OK;
  if (status == ATTUNE_OK) v->workspace_capacity = size;
  return status;
}

const attune_tensors *attune_verifier_tensors(const attune_verifier *v) {
  return &v->run.tensors;
}

void *attune_verifier_workspace(const attune_verifier *v) {
  return v->workspace_size > 0 ? v->workspace + v->guard : NULL;
}

/* The one place where the verifier launches. */
attune_status attune_verifier_launch(attune_verifier *v, const attune_program *program) {
  const size_t size = (size_t)program->steps.workspace_bytes;
  const attune_status status = reserve_workspace(v, size);
  if (status != ATTUNE_OK) return status;
  return attune_enqueue(program, &v->run, size > 0 ? v->workspace + v->guard : NULL, size, NULL);
}

static attune_status prepare_output(const attune_verifier *v, const attune_verified_tensor *tensor) {
  const attune_status status =
      attune_memory_fill(v->backend, tensor->memory, ATTUNE_POISON, size_of(tensor) + 2 * v->guard);
  if (status != ATTUNE_OK || tensor->before == NULL) return status;
  return attune_memory_write(v->backend, tensor->memory + v->guard, tensor->before, size_of(tensor));
}

attune_status attune_verifier_prepare(attune_verifier *v, size_t workspace_size) {
  attune_status status = reserve_workspace(v, workspace_size);
  v->workspace_size = workspace_size;
  if (status == ATTUNE_OK && v->workspace != NULL)
    status = attune_memory_fill(v->backend, v->workspace, ATTUNE_POISON, v->workspace_capacity + 2 * v->guard);
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS && status == ATTUNE_OK; id++)
    if (v->tensors[id].host != NULL) status = prepare_output(v, &v->tensors[id]);
  return status;
}

static attune_status read_outputs(attune_verifier *v) {
  attune_status status = attune_backend_synchronize(v->backend);
  for (attune_tensor_id id = 0; id < ATTUNE_VERIFIED_TENSORS && status == ATTUNE_OK; id++)
    if (v->tensors[id].host != NULL)
      status = attune_memory_read(v->backend, v->tensors[id].host, v->tensors[id].memory,
                                  size_of(&v->tensors[id]) + 2 * v->guard);
  return status;
}

attune_status attune_verifier_compare(attune_verifier *v, attune_verdict *out) {
  *out = (attune_verdict){.passed = true};
  for (int i = 0; i < ATTUNE_ROWS_COUNT; i++)
    out->rows_checked += v->rows[i].count;
  attune_status status = read_outputs(v);
  if (status != ATTUNE_OK) return status;
  attune_compare_outputs(v, out);
  return attune_compare_workspace(v, out);
}

attune_status attune_verifier_check(attune_verifier *v, const attune_program *program, attune_verdict *out) {
  attune_status status = attune_verifier_prepare(v, (size_t)program->steps.workspace_bytes);
  if (status == ATTUNE_OK) status = attune_verifier_launch(v, program);
  return status == ATTUNE_OK ? attune_verifier_compare(v, out) : status;
}

/* Contiguous in the order batch, seqlen, heads, width. */
static void copy_rows(uint16_t *to, const attune_verifier *v, attune_tensor_id id) {
  const attune_layout *layout = &v->tensors[id].layout;
  const uint16_t *from = (const uint16_t *)(const void *)attune_output_elements(v, id);
  for (int64_t batch = 0; batch < layout->batch; batch++)
    for (int64_t row = 0; row < layout->seqlen; row++)
      for (int64_t head = 0; head < layout->heads; head++, to += layout->width)
        memcpy(to, from + attune_layout_offset(layout, batch, row, head), (size_t)layout->width * sizeof *to);
}

attune_status attune_verifier_gradients(attune_verifier *v, uint16_t *dq, uint16_t *dk, uint16_t *dv) {
  const attune_status status = read_outputs(v);
  if (status != ATTUNE_OK) return status;
  copy_rows(dq, v, ATTUNE_TENSOR_DQ);
  copy_rows(dk, v, ATTUNE_TENSOR_DK);
  copy_rows(dv, v, ATTUNE_TENSOR_DV);
  return ATTUNE_OK;
}

/* LSE is contiguous in the order batch, heads, seqlen. */
attune_status attune_verifier_outputs(attune_verifier *v, uint16_t *o, float *lse) {
  const attune_status status = read_outputs(v);
  if (status != ATTUNE_OK) return status;
  copy_rows(o, v, ATTUNE_TENSOR_O);
  if (lse != NULL && v->tensors[ATTUNE_TENSOR_LSE].host != NULL)
    memcpy(lse, attune_output_elements(v, ATTUNE_TENSOR_LSE), size_of(&v->tensors[ATTUNE_TENSOR_LSE]));
  return ATTUNE_OK;
}
