#include "tests/device/device_case.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/driver.h"
#include "tuner/tuner.h"

enum { POISON_BYTE = 0xff, POISON = 0xffff, BLOCK = 1000003, JUDGES = 8 };

static bool make_primary_current(void) {
  const attune_driver *driver;
  CUdevice device;
  CUcontext primary;
  return attune_driver_get(&driver) == ATTUNE_OK && driver->device_get(&device, 0) == CUDA_SUCCESS &&
         driver->primary_retain(&primary, device) == CUDA_SUCCESS && driver->context_push(primary) == CUDA_SUCCESS;
}

bool bed_open(attune_context **out, const char *device, const char *database) {
  attune_options options;
  attune_options_init(&options);
  options.device = device;
  options.database = database;
  if (strcmp(device, "host") != 0 && !make_primary_current()) {
    printf("skipped: no GPU: %s\n", attune_message());
    return false;
  }
  attune_status status = attune_context_create(out, &options);
  if (status != ATTUNE_OK) {
    printf("FAIL %s: %s\n", attune_status_name(status), attune_message());
    exit(1);
  }
  printf("%s %s\n", attune_context_device(*out), attune_backend_driver(attune_context_machine(*out)));
  return true;
}

/* ---- tensors ---- */

static size_t extent(const attune_strides *strides, int batch, int seqlen, int heads, int head_dim) {
  return (size_t)((batch - 1) * strides->batch + (seqlen - 1) * strides->seqlen + (heads - 1) * strides->heads +
                  head_dim);
}

static double uniform(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return ((double)(*seed >> 11) + 0.5) * 0x1p-53;
}

/* A block of normal numbers, repeated: its length is a prime, so that no two rows are alike. */
static uint16_t *draw(size_t count, attune_dtype dtype, double magnitude, uint64_t seed) {
  uint16_t *elements = malloc(count * sizeof *elements);
  if (!elements) return NULL;
  size_t block = count < BLOCK ? count : BLOCK;
  for (size_t i = 0; i < block; i++) {
    double normal = sqrt(-2 * log(uniform(&seed))) * cos(6.283185307179586 * uniform(&seed));
    elements[i] = attune_to_element(dtype, magnitude * normal);
  }
  for (size_t done = block; done < count; done += block)
    memcpy(elements + done, elements, (count - done < block ? count - done : block) * sizeof *elements);
  return elements;
}

static attune_status upload(const void **out, attune_backend *machine, const void *from, size_t size) {
  void *memory;
  attune_status status = attune_memory_allocate(&memory, machine, size);
  if (status == ATTUNE_OK) *out = memory;
  return status == ATTUNE_OK && from ? attune_memory_write(machine, memory, from, size) : status;
}

static int32_t *copy_lengths(const int32_t *lengths, int batch) {
  int32_t *copy = lengths ? malloc((size_t)batch * sizeof *copy) : NULL;
  return copy ? memcpy(copy, lengths, (size_t)batch * sizeof *copy) : NULL;
}

static attune_status upload_all(bed *b) {
  attune_tensors *t = &b->tensors;
  size_t lengths = (size_t)b->problem.batch * sizeof *b->lengths_q;
  attune_status status = upload(&t->q, b->machine, b->q, b->q_count * 2);
  if (status == ATTUNE_OK) status = upload(&t->k, b->machine, b->k, b->k_count * 2);
  if (status == ATTUNE_OK) status = upload(&t->v, b->machine, b->v, b->v_count * 2);
  if (status == ATTUNE_OK) status = upload((const void **)&t->o, b->machine, NULL, b->o_count * 2);
  if (status == ATTUNE_OK && b->lse) status = upload((const void **)&t->lse, b->machine, NULL, b->lse_count * 4);
  if (status == ATTUNE_OK) status = attune_memory_allocate(&b->workspace, b->machine, BED_WORKSPACE);
  if (status == ATTUNE_OK && b->lengths_q)
    status = upload((const void **)&t->seqlens_q, b->machine, b->lengths_q, lengths);
  if (status == ATTUNE_OK && b->lengths_k)
    status = upload((const void **)&t->seqlens_k, b->machine, b->lengths_k, lengths);
  return status;
}

attune_status bed_create(bed *out, attune_backend *machine, const attune_problem *problem, const int32_t *lengths_q,
                         const int32_t *lengths_k, double magnitude) {
  *out = (bed){.machine = machine};
  attune_problem *p = &out->problem;
  attune_status status = attune_problem_resolve(p, problem);
  if (status != ATTUNE_OK) return status;
  attune_tensors_init(&out->tensors);
  out->q_count = extent(&p->q, p->batch, p->seqlen_q, p->heads_q, p->head_dim);
  out->k_count = extent(&p->k, p->batch, p->seqlen_k, p->heads_kv, p->head_dim);
  out->v_count = extent(&p->v, p->batch, p->seqlen_k, p->heads_kv, p->head_dim_v);
  out->o_count = extent(&p->o, p->batch, p->seqlen_q, p->heads_q, p->head_dim_v);
  out->lse_count = p->want_lse ? (size_t)p->batch * (size_t)p->heads_q * (size_t)p->seqlen_q : 0;
  out->q = draw(out->q_count, p->dtype, magnitude, 1);
  out->k = draw(out->k_count, p->dtype, magnitude, 2);
  out->v = draw(out->v_count, p->dtype, magnitude, 3);
  out->o = malloc(out->o_count * sizeof *out->o);
  out->lse = p->want_lse ? malloc(out->lse_count * sizeof *out->lse) : NULL;
  out->lengths_q = copy_lengths(lengths_q, p->batch);
  out->lengths_k = copy_lengths(lengths_k, p->batch);
  if (!out->q || !out->k || !out->v || !out->o || (p->want_lse && !out->lse) || (lengths_q && !out->lengths_q) ||
      (lengths_k && !out->lengths_k))
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no host memory for the tensors");
  if (status == ATTUNE_OK) status = upload_all(out);
  if (status == ATTUNE_OK) status = bed_poison(out);
  if (status != ATTUNE_OK) bed_destroy(out);
  return status;
}

void bed_destroy(bed *b) {
  const void *device[] = {b->tensors.q,   b->tensors.k,         b->tensors.v,        b->tensors.o,
                          b->tensors.lse, b->tensors.seqlens_q, b->tensors.seqlens_k};
  void *host[] = {b->q, b->k, b->v, b->o, b->lse, b->lengths_q, b->lengths_k};
  for (int i = 0; i < 7; i++) {
    attune_memory_free(b->machine, (void *)(uintptr_t)device[i]);
    free(host[i]);
  }
  attune_memory_free(b->machine, b->workspace);
  *b = (bed){0};
}

attune_status bed_poison(bed *b) {
  attune_status status = attune_memory_fill(b->machine, b->tensors.o, POISON_BYTE, b->o_count * 2);
  if (status == ATTUNE_OK && b->lse)
    status = attune_memory_fill(b->machine, b->tensors.lse, POISON_BYTE, b->lse_count * 4);
  return status;
}

/* ---- the judge ---- */

typedef struct {
  const bed *bed;
  bed_verdict *verdict;
  double unfused;
  int rows, next;
  uint64_t total; /* rows there are */
  pthread_mutex_t mutex;
} hearing;

static int rows_of(const bed *b, int batch) {
  return b->lengths_q ? b->lengths_q[batch] : b->problem.seqlen_q;
}

static const uint16_t *row_of_o(const bed *b, int batch, int head, int row) {
  return b->o + batch * b->problem.o.batch + row * b->problem.o.seqlen + head * b->problem.o.heads;
}

/* Which row the index-th sample is: all of them where they are few; else ends, tile edges, and rows all over. */
static void sample(const hearing *h, int index, int *batch, int *head, int *row) {
  const attune_problem *p = &h->bed->problem;
  static const int edges[] = {0, -1, 15, 16, 63, 64, 127, 128};
  enum { EDGES = sizeof edges / sizeof *edges };
  uint64_t seed = (uint64_t)index * 7919 + 17, at = (uint64_t)index;
  if ((uint64_t)h->rows < h->total)
    for (int i = 0; i < 3; i++)
      at = (uint64_t)(uniform(&seed) * (double)h->total);
  *row = (int)(at % (uint64_t)p->seqlen_q);
  *head = (int)(at / (uint64_t)p->seqlen_q % (uint64_t)p->heads_q);
  *batch = (int)(at / (uint64_t)p->seqlen_q / (uint64_t)p->heads_q);
  if ((uint64_t)h->rows == h->total || index >= 2 * EDGES) return;
  int edge = edges[index % EDGES];
  *row = edge < 0 || edge >= p->seqlen_q ? p->seqlen_q - 1 : edge;
  if (index < EDGES) {
    *batch = p->batch - 1; /* the farthest offsets */
    *head = p->heads_q - 1;
  }
}

static double worst_of(const double *a, const double *b, int count) {
  double worst = 0;
  for (int i = 0; i < count; i++)
    if (!(fabs(a[i] - b[i]) <= worst)) worst = fabs(a[i] - b[i]);
  return worst;
}

static double lse_error(const bed *b, int batch, int head, int row, double expected) {
  if (!b->lse) return 0;
  size_t at = ((size_t)batch * (size_t)b->problem.heads_q + (size_t)head) * (size_t)b->problem.seqlen_q + (size_t)row;
  double found = (double)b->lse[at];
  return isinf(expected) && found == expected ? 0 : fabs(found - expected);
}

static void judge_row(hearing *h, int batch, int head, int row) {
  const bed *b = h->bed;
  attune_problem p = b->problem;
  double exact[256], unfused[256], found[256], lse;
  if (row >= rows_of(b, batch)) return;
  if (b->lengths_q) p.seqlen_q = b->lengths_q[batch];
  if (b->lengths_k) p.seqlen_k = b->lengths_k[batch];
  attune_reference_row(exact, &lse, &p, b->q, b->k, b->v, batch, head, row, NULL);
  attune_unfused_row(unfused, &p, b->q, b->k, b->v, batch, head, row, NULL);
  const uint16_t *o = row_of_o(b, batch, head, row);
  for (int d = 0; d < p.head_dim_v; d++)
    found[d] = attune_from_element(p.dtype, o[d]);
  double error = worst_of(found, exact, p.head_dim_v), allowed = worst_of(unfused, exact, p.head_dim_v);
  double of_lse = lse_error(b, batch, head, row, lse);
  pthread_mutex_lock(&h->mutex);
  bed_verdict *v = h->verdict;
  v->rows++;
  if (allowed > h->unfused) h->unfused = allowed;
  if (!(of_lse <= v->lse_error)) v->lse_error = of_lse;
  if (!(error <= v->error)) {
    v->error = error;
    snprintf(v->why, sizeof v->why, "worst at batch %d, head %d, row %d", batch, head, row);
  }
  pthread_mutex_unlock(&h->mutex);
}

static void *judge_rows(void *user) {
  hearing *h = user;
  for (;;) {
    int batch, head, row;
    pthread_mutex_lock(&h->mutex);
    int index = h->next++;
    pthread_mutex_unlock(&h->mutex);
    if (index >= h->rows) return NULL;
    sample(h, index, &batch, &head, &row);
    judge_row(h, batch, head, row);
  }
}

/* Every row up to its length holds no poison, and everything else of the buffer nothing but. */
static bool judge_whole(const bed *b, bed_verdict *out) {
  const attune_problem *p = &b->problem;
  size_t poisoned = 0, written = 0;
  for (size_t i = 0; i < b->o_count; i++)
    poisoned += b->o[i] == POISON;
  for (int batch = 0; batch < p->batch; batch++)
    for (int head = 0; head < p->heads_q; head++)
      for (int row = 0; row < rows_of(b, batch); row++) {
        const uint16_t *o = row_of_o(b, batch, head, row);
        for (int d = 0; d < p->head_dim_v; d++) {
          if (o[d] == POISON) {
            snprintf(out->why, sizeof out->why, "batch %d, head %d, row %d, column %d was not written", batch, head,
                     row, d);
            return false;
          }
        }
        written += (size_t)p->head_dim_v;
      }
  if (poisoned + written == b->o_count) return true;
  snprintf(out->why, sizeof out->why, "%zu elements outside of the rows were written", b->o_count - poisoned - written);
  return false;
}

attune_status bed_judge(bed *b, bed_verdict *out, int max_rows, bool whole) {
  *out = (bed_verdict){0};
  attune_status status = attune_backend_synchronize(b->machine);
  if (status == ATTUNE_OK) status = attune_memory_read(b->machine, b->o, b->tensors.o, b->o_count * 2);
  if (status == ATTUNE_OK && b->lse) status = attune_memory_read(b->machine, b->lse, b->tensors.lse, b->lse_count * 4);
  if (status != ATTUNE_OK) return status;
  hearing h = {.bed = b, .verdict = out, .mutex = PTHREAD_MUTEX_INITIALIZER};
  h.total = (uint64_t)b->problem.batch * (uint64_t)b->problem.heads_q * (uint64_t)b->problem.seqlen_q;
  h.rows = h.total < (uint64_t)max_rows ? (int)h.total : max_rows;
  pthread_t threads[JUDGES];
  for (int i = 0; i < JUDGES; i++)
    if (pthread_create(&threads[i], NULL, judge_rows, &h) != 0) exit(1);
  for (int i = 0; i < JUDGES; i++)
    pthread_join(threads[i], NULL);
  out->bound = 2 * h.unfused + 1e-5;
  out->passed = out->error <= out->bound && out->lse_error <= 1e-3;
  if (whole && !judge_whole(b, out)) out->passed = false;
  return ATTUNE_OK;
}
