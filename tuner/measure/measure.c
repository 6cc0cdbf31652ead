/* The race: candidates take turns round by round, each run with a cold L2, until their medians are known well enough.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/random.h"
#include "tuner/measure/measure.h"

const char attune_policy[] = "cold-l2.event.median";

enum {
  WARM_UP_LAUNCHES = 2,
  SCREEN_ROUNDS = 5,  /* before anyone may leave the race */
  LEAST_ROUNDS = 10,  /* before the race may end */
  MOST_ROUNDS = 1000, /* keeps 0.5^rounds a normal double */
  LEAST_FLUSH = 128 << 20
};
static const double slower_by = 1.15; /* clearly slower: leaves the race */
static const double narrow = 0.01;    /* width of the interval, of the median */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Index of the order statistic below the median that with its mirror image covers it with 95%: the greatest i with
 * 2 P(Binomial(count, 1/2) <= i) <= 5%. Below six samples there is none, and the extremes have to do. */
static int interval_index(int count) {
  double term = pow(0.5, count), sum = term;
  int index = 0;
  for (int i = 1; i < count / 2; i++) {
    term *= (double)(count - i + 1) / i;
    sum += term;
    if (2 * sum > 0.05) break;
    index = i;
  }
  return index;
}

static void summarize(attune_timing *timing, double *scratch) {
  int count = timing->count, index = interval_index(count);
  memcpy(scratch, timing->samples, (size_t)count * sizeof *scratch);
  qsort(scratch, (size_t)count, sizeof *scratch, by_value);
  timing->median = (scratch[(count - 1) / 2] + scratch[count / 2]) / 2;
  timing->low = scratch[index];
  timing->high = scratch[count - 1 - index];
}

typedef struct {
  attune_verifier *verifier;
  attune_backend *machine;
  attune_timer *timer;
  void *flush;
  size_t flush_size;
} bench;

static attune_status bench_open(bench *out, attune_verifier *verifier, attune_backend *machine) {
  const attune_device *device = attune_backend_device(machine);
  *out = (bench){.verifier = verifier, .machine = machine};
  if (device->arch != 0) { /* the simulator models no cache */
    out->flush_size = device->l2_bytes > LEAST_FLUSH / 2 ? 2 * (size_t)device->l2_bytes : LEAST_FLUSH;
    attune_status status = attune_memory_allocate(&out->flush, machine, out->flush_size);
    if (status != ATTUNE_OK) return status;
  }
  return attune_timer_create(&out->timer, machine);
}

static void bench_close(bench *bench) {
  if (bench->timer) attune_timer_destroy(bench->timer);
  if (bench->flush) attune_memory_free(bench->machine, bench->flush);
}

static attune_status warm_up(bench *bench, attune_candidate *candidate) {
  for (int i = 0; i < WARM_UP_LAUNCHES; i++) {
    candidate->status = attune_verifier_launch(bench->verifier, candidate->program);
    if (candidate->status != ATTUNE_OK) return candidate->status;
  }
  return candidate->status = attune_backend_synchronize(bench->machine);
}

static attune_status sample(bench *bench, attune_candidate *candidate) {
  attune_status status = ATTUNE_OK;
  double seconds = 0;
  if (bench->flush) status = attune_memory_fill(bench->machine, bench->flush, 0, bench->flush_size);
  if (status == ATTUNE_OK) status = attune_timer_start(bench->timer);
  if (status == ATTUNE_OK) status = attune_verifier_launch(bench->verifier, candidate->program);
  if (status == ATTUNE_OK) status = attune_timer_stop(bench->timer);
  if (status == ATTUNE_OK) status = attune_timer_seconds(bench->timer, &seconds);
  if (status == ATTUNE_OK) candidate->timing.samples[candidate->timing.count++] = seconds;
  return candidate->status = status;
}

static void shuffle(int *order, int count, uint64_t *random) {
  for (int i = count - 1; i > 0; i--) {
    int j = (int)(attune_random_next(random) % (uint64_t)(i + 1)), swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
}

/* Summarises who raced, and returns how many go on. *settled: all of their intervals are narrow. */
static int drop_slow(attune_candidate *candidates, int *order, int racers, int round, double *scratch, bool *settled) {
  double best = INFINITY;
  for (int i = 0; i < racers; i++) {
    attune_timing *timing = &candidates[order[i]].timing;
    summarize(timing, scratch);
    if (timing->high < best) best = timing->high;
  }
  int staying = 0;
  *settled = true;
  for (int i = 0; i < racers; i++) {
    const attune_timing *timing = &candidates[order[i]].timing;
    if (round >= SCREEN_ROUNDS && timing->low > slower_by * best) continue;
    if (timing->high - timing->low > narrow * timing->median) *settled = false;
    order[staying++] = order[i];
  }
  return staying;
}

void attune_timing_free(attune_timing *timing) {
  free(timing->samples);
  *timing = (attune_timing){0};
}

attune_status attune_measure(attune_verifier *verifier, attune_backend *machine, attune_candidate *candidates,
                             int count, int max_rounds, double max_seconds) {
  attune_status status = ATTUNE_OK;
  bench bench = {0};
  int *order = NULL, racers = count;
  double *scratch = NULL;
  uint64_t random = 1;
  bool settled = false;

  if (count < 1) return attune_fail(ATTUNE_BAD_ARGUMENT, "nothing to measure: %d candidates", count);
  if (max_rounds < 1 || max_rounds > MOST_ROUNDS)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "rounds must be in 1..%d, not %d", MOST_ROUNDS, max_rounds);
  for (int i = 0; i < count; i++) {
    candidates[i].timing = (attune_timing){0};
    candidates[i].status = ATTUNE_OK;
  }
  order = malloc((size_t)count * sizeof *order);
  scratch = malloc((size_t)max_rounds * sizeof *scratch);
  if (!order || !scratch) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to race %d candidates", count);
    goto out;
  }
  for (int i = 0; i < count; i++) {
    order[i] = i;
    candidates[i].timing.samples = malloc((size_t)max_rounds * sizeof *scratch);
    if (!candidates[i].timing.samples) {
      status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %d samples", max_rounds);
      goto out;
    }
  }
  status = bench_open(&bench, verifier, machine);
  for (int i = 0; i < count && status == ATTUNE_OK; i++)
    status = warm_up(&bench, &candidates[i]);
  double deadline = attune_now() + max_seconds;
  for (int round = 1; round <= max_rounds && status == ATTUNE_OK; round++) {
    shuffle(order, racers, &random);
    for (int i = 0; i < racers && status == ATTUNE_OK; i++)
      status = sample(&bench, &candidates[order[i]]);
    if (status != ATTUNE_OK) break;
    racers = drop_slow(candidates, order, racers, round, scratch, &settled);
    if ((settled && round >= LEAST_ROUNDS) || attune_now() >= deadline) break;
  }
out:
  bench_close(&bench);
  free(order);
  free(scratch);
  return status;
}
