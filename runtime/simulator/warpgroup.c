/* What the four warps of a warpgroup do together: products that run by themselves until they are waited for, and moving
 * registers from one warpgroup to another.
 *
 * A product is performed by its wait, with what shared memory holds then. Until then the accumulators are kept apart
 * and the threads' own are poison: whoever reads them finds that, and whoever writes them is found out at the wait. */
#include <stdlib.h>
#include <string.h>

#include "runtime/simulator/product.h"
#include "runtime/simulator/state.h"

enum { IN_FLIGHT_MAX = 64, REGISTERS = 65536, SUMS_MAX = 4, SUM_MAX = ATTUNE_SIMULATOR_PRODUCT_N_MAX / 2 };

/* Accumulators of products in flight: those of each thread, and what they hold behind the poison. */
typedef struct {
  float *c[128];
  int n, products; /* columns; products that add to them, 0: free */
  float values[128][SUM_MAX];
} sum;

typedef struct {
  uint32_t number, batch; /* of the block's products; of the group's batches */
  int line, n, a_count, count;
  bool accumulate, bf16, registers, n_major, m_major; /* A in registers; B N-major; A M-major */
  sum *sum;
  const unsigned *a[128];
  unsigned a_words[128][4];                                  /* as they were when it was issued */
  uint32_t chunks[128 + 2 * ATTUNE_SIMULATOR_PRODUCT_N_MAX]; /* shared offsets: A's, then B's */
} product;

struct attune_simulator_queue {
  attune_simulator_numbers numbers;
  product products[IN_FLIGHT_MAX]; /* a ring */
  int first, count;
  uint32_t batches; /* closed so far */
  sum sums[SUMS_MAX];
};

static void empty(attune_simulator_queue *queue) {
  queue->first = queue->count = 0;
  for (int i = 0; i < SUMS_MAX; i++)
    queue->sums[i].products = 0;
}

void attune_simulator_groups_reset(attune_simulator_block *block) {
  block->mbarrier_count = block->tile_count = block->store_count = 0;
  block->products = 0;
  memset(block->named, 0, sizeof block->named);
  const int pool = REGISTERS / (block->grid->on_an_sm > 0 ? block->grid->on_an_sm : 1);
  int registers = pool / block->part_threads / 8 * 8;
  if (registers > 255) registers = 255;
  for (int part = 0; part < ATTUNE_SIMULATOR_PARTS_MAX; part++)
    block->free_registers[part] = pool - registers * block->part_threads;
  for (int g = 0; g < ATTUNE_SIMULATOR_GROUPS_MAX; g++) {
    attune_simulator_queue *queue = block->groups[g].queue;
    if (queue) empty(queue);
    block->groups[g] = (attune_simulator_group){.registers = registers, .queue = queue};
  }
}

void attune_simulator_groups_release(attune_simulator_block *block) {
  for (int g = 0; g < ATTUNE_SIMULATOR_GROUPS_MAX; g++)
    free(block->groups[g].queue);
}

static product *in_flight(attune_simulator_queue *queue, int index) {
  return &queue->products[(queue->first + index) % IN_FLIGHT_MAX];
}

/* Whether one of the part's threads knows of what the thread has done up to the time. */
static bool is_known(const attune_simulator_block *block, int part, int thread, uint32_t time) {
  for (int t = part * block->part_threads; t < (part + 1) * block->part_threads; t++) {
    const attune_simulator_viewer viewer = attune_simulator_view_of(t);
    if (attune_simulator_order_bound(&block->shared.order, &viewer, ATTUNE_SIMULATOR_OF_THREAD + thread) >= time)
      return true;
  }
  return false;
}

/* With its last thread a block's shared memory goes. */
static void check_block_exit(attune_simulator_block *block, int part) {
  for (int i = 0; i < block->tile_count; i++)
    if ((int)(block->tiles[i].to / block->shared.pitch) == part)
      attune_simulator_fault(block, block->tiles[i].thread, block->tiles[i].line,
                             "the block ends with this tile's load under way: nobody there has waited for it");
  for (int t = 0; t < block->threads; t++)
    if (block->lanes[t].part != part && block->sent[t].time > 0 && !is_known(block, part, t, block->sent[t].time))
      attune_simulator_fault(
          block, t, block->sent[t].line,
          "an arrival for block %d, which may have left the kernel by then: nobody there has waited for it",
          block->index + part);
}

void attune_simulator_check_exit(attune_simulator_block *block) {
  const attune_simulator_lane *lane = block->running;
  attune_simulator_queue *queue = block->groups[lane->index / 128].queue;
  if (queue && queue->count > 0)
    attune_simulator_fault(block, lane->index, in_flight(queue, 0)->line,
                           "leaves the kernel with a product in flight that was not waited for");
  for (int i = 0; i < block->store_count; i++)
    if (block->stores[i].thread == lane->index)
      attune_simulator_fault(block, lane->index, block->stores[i].line,
                             "leaves the kernel with a tile's store under way that may still read shared memory:"
                             " tma_store_wait_read is missing");
  if (block->exited[lane->part] == block->part_threads - 1) check_block_exit(block, lane->part);
}

/* ---- products ---- */

static bool is_poison(const float *c, int count) {
  const uint32_t bits = ATTUNE_SIMULATOR_POISON;
  for (int i = 0; i < count; i++)
    if (memcmp(c + i, &bits, sizeof bits) != 0) return false;
  return true;
}

static void poison(sum *s) {
  const uint32_t bits = ATTUNE_SIMULATOR_POISON;
  for (int t = 0; t < 128; t++)
    for (int i = 0; i < s->n / 2; i++)
      memcpy(s->c[t] + i, &bits, sizeof bits);
}

static void check_untouched(attune_simulator_block *block, int group, const product *p) {
  for (int t = 0; t < 128; t++) {
    if (!is_poison(p->sum->c[t], p->n / 2))
      attune_simulator_fault(block, group * 128 + t, p->line,
                             "the accumulators of this product are written while it is in flight: wgmma_wait is missing"
                             " before that");
    if (p->registers && memcmp(p->a[t], p->a_words[t], sizeof p->a_words[t]) != 0)
      attune_simulator_fault(block, group * 128 + t, p->line,
                             "the registers of A are written while this product, in flight, reads them: wgmma_wait is"
                             " missing before that");
  }
}

static attune_simulator_holds *holds_of(attune_simulator_block *block, attune_simulator_lane *lane, int line) {
  if (!lane->holds && !(lane->holds = attune_simulator_holds_create()))
    attune_simulator_fault(block, lane->index, line, "out of memory for the registers that a thread holds");
  return lane->holds;
}

/* With the last product the threads get their accumulators, which need no fence as long as nobody writes them. */
static void give_sum(attune_simulator_block *block, int group, sum *s, int line) {
  if (--s->products > 0) return;
  for (int t = 0; t < 128; t++) {
    memcpy(s->c[t], s->values[t], (size_t)s->n / 2 * sizeof *s->values[t]);
    attune_simulator_hold(holds_of(block, &block->lanes[group * 128 + t], line), s->c[t], s->n / 2, true);
  }
}

static void perform(attune_simulator_block *block, int group, product *p) {
  attune_simulator_queue *queue = block->groups[group].queue;
  float *values[128];
  check_untouched(block, group, p);
  for (int t = 0; t < 128; t++)
    values[t] = p->sum->values[t];
  if (p->registers)
    attune_simulator_numbers_registers(&queue->numbers, p->a, p->bf16);
  else
    attune_simulator_numbers_a(&queue->numbers, block->shared.bytes, p->chunks, p->m_major, p->bf16);
  attune_simulator_numbers_b(&queue->numbers, block->shared.bytes, p->chunks + p->a_count, p->n, p->n_major, p->bf16);
  attune_simulator_numbers_sum(&queue->numbers, values, p->n, p->accumulate);
  give_sum(block, group, p->sum, p->line);
}

/* All lanes ask for the same. */
static void check_lanes(attune_simulator_block *block, int group, int line) {
  const attune_simulator_lane *lanes = &block->lanes[group * 128];
  const struct attune_simulator_product *p = &lanes[0].product;
  if (p->n < 4 || p->n > ATTUNE_SIMULATOR_PRODUCT_N_MAX / 2 || p->n % 4 != 0)
    attune_simulator_fault(block, group * 128, line, "a product of N %d; it is a multiple of 8 from 8 to 256",
                           2 * p->n);
  for (int i = 1; i < 128; i++) {
    const struct attune_simulator_product *other = &lanes[i].product;
    if (other->a_matrix != p->a_matrix || other->b_matrix != p->b_matrix || !other->accumulate != !p->accumulate ||
        other->n != p->n || !other->a != !p->a || !other->a_m_major != !p->a_m_major)
      attune_simulator_fault(block, lanes[i].index, line,
                             "divergence: the warpgroup's threads ask for different products");
  }
}

static void locate(attune_simulator_block *block, product *p, const struct attune_simulator_product *of, int group) {
  int line = p->line, b_count;
  const char *wrong = NULL;
  p->a_count = 0;
  if (!p->registers)
    wrong =
        (p->m_major ? attune_simulator_n_major : attune_simulator_k_major)(p->chunks, &p->a_count, of->a_matrix, 64);
  if (wrong) attune_simulator_fault(block, group * 128, line, "a product's descriptor of A: %s", wrong);
  wrong = (p->n_major ? attune_simulator_n_major : attune_simulator_k_major)(p->chunks + p->a_count, &b_count,
                                                                             of->b_matrix, p->n);
  if (wrong) attune_simulator_fault(block, group * 128, line, "a product's descriptor of B: %s", wrong);
  p->count = p->a_count + b_count;
  for (int i = 0; i < p->count; i++)
    p->chunks[i] = attune_simulator_offset(block, block->lanes[group * 128].part, p->chunks[i]);
}

/* ---- registers of products ---- */

void attune_simulator_hold_registers(const void *at, int words, int line) {
  attune_simulator_block *block = attune_simulator_current;
  attune_simulator_hold(holds_of(block, block->running, line), at, words, false);
}

/* What the product reads must not be moved behind its start. */
static void check_held(attune_simulator_block *block, int group, const void *at, int thread, int words,
                       const char *what, int line) {
  attune_simulator_lane *lane = &block->lanes[group * 128 + thread];
  const char *missing = attune_simulator_holds_missing(holds_of(block, lane, line), at, words);
  if (missing)
    attune_simulator_fault(block, lane->index, line,
                           "a product reads registers of %s that the compiler may write after its start: %s before"
                           " wgmma_fence",
                           what, missing);
}

/* Those that are in flight go on; others are taken from the threads. */
static sum *take_sum(attune_simulator_block *block, int group, int line) {
  attune_simulator_queue *queue = block->groups[group].queue;
  const attune_simulator_lane *lanes = &block->lanes[group * 128];
  const int n = 2 * lanes[0].product.n;
  sum *s = NULL;
  for (int i = 0; i < SUMS_MAX; i++) {
    if (queue->sums[i].products == 0)
      s = &queue->sums[i];
    else if (queue->sums[i].c[0] == lanes[0].product.c && queue->sums[i].n == n) {
      queue->sums[i].products++;
      return &queue->sums[i];
    }
  }
  if (!s)
    attune_simulator_fault(block, group * 128, line,
                           "products in flight for more than %d sets of accumulators, which the simulator cannot model",
                           SUMS_MAX);
  s->n = n;
  s->products = 1;
  for (int t = 0; t < 128; t++) {
    s->c[t] = lanes[t].product.c;
    if (!lanes[t].product.accumulate) continue;
    check_held(block, group, s->c[t], t, n / 2, "C", line);
    memcpy(s->values[t], s->c[t], (size_t)n / 2 * sizeof *s->c[t]);
  }
  poison(s);
  return s;
}

static void take_operand(attune_simulator_block *block, int group, product *p) {
  for (int t = 0; t < 128; t++) {
    p->a[t] = block->lanes[group * 128 + t].product.a;
    check_held(block, group, p->a[t], t, 4, "A", p->line);
    memcpy(p->a_words[t], p->a[t], sizeof p->a_words[t]);
  }
}

static void issue(attune_simulator_block *block, int group, int line) {
  attune_simulator_group *g = &block->groups[group];
  attune_simulator_queue *queue = g->queue;
  attune_simulator_lane *lanes = &block->lanes[group * 128];
  const struct attune_simulator_product *of = &lanes[0].product;
  attune_simulator_conflict conflict;
  block->running = lanes; /* whoever came last, the report names the first */
  check_lanes(block, group, line);
  if (!g->fenced)
    attune_simulator_fault(block, lanes->index, line, "a product without wgmma_fence before the warpgroup's first");
  if (queue->count == IN_FLIGHT_MAX)
    attune_simulator_fault(block, lanes->index, line,
                           "more than %d products in flight, which the simulator cannot model", IN_FLIGHT_MAX);
  product *p = in_flight(queue, queue->count++);
  *p = (product){.number = ++block->products,
                 .batch = queue->batches,
                 .line = line,
                 .n = 2 * of->n,
                 .accumulate = of->accumulate != 0,
                 .bf16 = of->bf16 != 0,
                 .registers = of->a != NULL,
                 .n_major = of->b_n_major != 0,
                 .m_major = of->a_m_major != 0};
  locate(block, p, of, group);
  if (!attune_simulator_shared_start_product(&block->shared, &conflict, p->chunks, p->count, group, p->number, line))
    attune_simulator_fault_conflict(block, &conflict, line, "a product",
                                    conflict.offset % block->shared.pitch + ATTUNE_SIMULATOR_SHARED_BASE, 16);
  if (p->registers) take_operand(block, group, p);
  p->sum = take_sum(block, group, line);
}

static void wait(attune_simulator_block *block, int group, int pending, int line) {
  attune_simulator_queue *queue = block->groups[group].queue;
  if (pending < 0)
    attune_simulator_fault(block, group * 128, line, "waits until at most %d batches are in flight", pending);
  for (; queue->count > 0; queue->count--) {
    product *p = in_flight(queue, 0);
    if (p->batch + (uint32_t)pending >= queue->batches) break;
    perform(block, group, p);
    attune_simulator_shared_end_product(&block->shared, p->chunks, p->count, group, p->number);
    queue->first = (queue->first + 1) % IN_FLIGHT_MAX;
  }
  attune_simulator_order_products_done(&block->shared.order, group);
}

/* ---- registers ---- */

static void release_group(attune_simulator_block *block, int group) {
  for (int w = group * 4; w < group * 4 + 4; w++) {
    block->warps[w].arrived = 0;
    attune_simulator_release_warp(block, w);
  }
}

static void check_registers(attune_simulator_block *block, int group, int registers, bool claims, int line) {
  int held = block->groups[group].registers;
  if (registers < 24 || registers > 256 || registers % 8 != 0)
    attune_simulator_fault(block, group * 128, line, "%d registers a thread; it is a multiple of 8 from 24 to 256",
                           registers);
  if (claims ? registers < held - held % 8 : registers > held)
    attune_simulator_fault(block, group * 128, line, "%s %d registers a thread, and it has %d",
                           claims ? "claims" : "keeps", registers, held);
}

static bool try_claim(attune_simulator_block *block, int group) {
  attune_simulator_group *g = &block->groups[group];
  int more = (g->claim - g->registers) * 128;
  int *const free_registers = &block->free_registers[block->lanes[group * 128].part];
  if (more > *free_registers) return false;
  *free_registers -= more;
  g->registers = g->claim;
  g->claim = 0;
  return true;
}

static void give_back(attune_simulator_block *block, int group, int registers) {
  block->free_registers[block->lanes[group * 128].part] += (block->groups[group].registers - registers) * 128;
  block->groups[group].registers = registers;
  for (int g = 0; g < block->threads / 128; g++)
    if (block->groups[g].claim > 0 && try_claim(block, g)) release_group(block, g);
}

/* ---- arrival ---- */

/* false: what it claims is not free yet. */
static bool act(attune_simulator_block *block, int group, int operation, int line) {
  attune_simulator_group *g = &block->groups[group];
  const attune_simulator_lane *lane = &block->lanes[group * 128];
  switch (operation) {
  case ATTUNE_SIMULATOR_PRODUCT:
    issue(block, group, line);
    return true;
  case ATTUNE_SIMULATOR_PRODUCT_FENCE:
    g->fenced = true;
    for (int t = 0; t < 128; t++)
      if (lane[t].holds) attune_simulator_holds_fence(lane[t].holds);
    return true;
  case ATTUNE_SIMULATOR_PRODUCT_COMMIT:
    g->queue->batches++;
    return true;
  case ATTUNE_SIMULATOR_PRODUCT_WAIT:
    wait(block, group, (int)lane->in[0], line);
    return true;
  case ATTUNE_SIMULATOR_RELEASE_REGISTERS:
    check_registers(block, group, (int)lane->in[0], false, line);
    give_back(block, group, (int)lane->in[0]);
    return true;
  default:
    check_registers(block, group, (int)lane->in[0], true, line);
    g->claim = (int)lane->in[0];
    return try_claim(block, group);
  }
}

/* A warpgroup keeps it for the blocks to come. */
static attune_simulator_queue *make_queue(attune_simulator_block *block, int warp, int line) {
  attune_simulator_queue *queue = aligned_alloc(64, (sizeof *queue + 63) / 64 * 64);
  if (!queue) attune_simulator_fault(block, warp * 32, line, "out of memory for a warpgroup's products");
  empty(queue);
  queue->batches = 0;
  return queue;
}

bool attune_simulator_group_arrive(attune_simulator_block *block, int warp) {
  int group = warp / 4, operation = block->warps[warp].operation, line = block->warps[warp].line;
  attune_simulator_group *g = &block->groups[group];
  attune_simulator_lane *last = block->running;
  if (group * 128 + 128 > block->threads) /* parts of a cluster are whole warpgroups */
    attune_simulator_fault(block, warp * 32, line, "%s needs four warps, and the block ends before the warpgroup does",
                           attune_simulator_operation_name(operation));
  if (g->arrived > 0 && (g->operation != operation || g->line != line))
    attune_simulator_fault(
        block, warp * 32, line, "divergence: comes to %s while other warps of its warpgroup wait at %s of line %d",
        attune_simulator_operation_name(operation), attune_simulator_operation_name(g->operation), g->line);
  g->operation = operation;
  g->line = line;
  if (++g->arrived < 4) return false;
  attune_simulator_start_order(block, line);
  if (!g->queue) g->queue = make_queue(block, warp, line);
  g->arrived = 0;
  bool done = act(block, group, operation, line);
  block->running = last;
  if (!done) return false;
  for (int w = group * 4; w < group * 4 + 4; w++) {
    if (w == warp) continue; /* its caller releases it */
    block->warps[w].arrived = 0;
    attune_simulator_release_warp(block, w);
  }
  return true;
}
