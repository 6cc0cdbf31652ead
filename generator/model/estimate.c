/* What a config should cost. A model of one SM and of the waves of blocks over all of them: good enough to choose where
 * nothing was measured and to order what is to be measured, and never taken for a measurement. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/families/family.h"
#include "generator/model/model.h"

/* Per SM and clock. matrix: 16-bit mma.sync with float accumulation, dense; on sm_90 and later it does not reach what
 * the architecture's own matrix instructions do: peak. A device that has less of both says so itself. floats: lanes for
 * float arithmetic. exponentials: results of the special function units. loaded: bytes from L2, as kernels see them.
 * (CUDA programming guide, "Arithmetic instructions"; architecture white papers.) Shared memory gives 128 bytes a clock
 * on all of them. */
typedef struct {
  int32_t arch;
  double matrix, peak, floats, exponentials, loaded;
} rates;

static const rates architecture_rates[] = {
    {80, 2048, 2048, 64, 16, 40},   {86, 1024, 1024, 128, 16, 24},  {87, 2048, 2048, 128, 16, 24},
    {89, 1024, 1024, 128, 16, 24},  {90, 2400, 4096, 128, 16, 36},  {100, 2048, 8192, 128, 16, 36},
    {103, 2048, 8192, 128, 32, 36}, {120, 1024, 1024, 128, 16, 24}, {121, 1024, 1024, 128, 16, 24},
};
enum {
  SHARED_RATE = 128,
  SCHEDULERS = 4,
  ARCHITECTURE_OF_HOST = 90,
  LAUNCH_MICROSECONDS = 2,
  CLEAR_MICROSECONDS = 1,
  COMBINE_MICROSECONDS = 4
};

static rates rates_of(const attune_device *device) {
  const int32_t arch = device->arch == 0 ? ARCHITECTURE_OF_HOST : device->arch;
  const rates *best = &architecture_rates[0];
  for (size_t i = 0; i < sizeof architecture_rates / sizeof *architecture_rates; i++) {
    if (architecture_rates[i].arch <= arch) best = &architecture_rates[i];
  }
  rates result = *best;
  if (device->matrix_rate > 0) {
    result.peak = device->matrix_rate;
    result.matrix = fmin(result.matrix, result.peak);
  }
  return result;
}

/* ---- occupancy ---- */

/* Registers are allocated to a warp in units of 256, so to a thread in units of 8. */
static int multiple_of_8(int registers) {
  return (registers + 7) / 8 * 8;
}

int attune_registers_estimate(const attune_config *config) {
  const attune_family_row *family = attune_family_find(config->family);
  return family == NULL || config->warps < 1 ? 0 : family->registers(config);
}

int attune_occupancy(const attune_config *config, const attune_device *device, int registers) {
  const attune_family_row *family = attune_family_find(config->family);
  if (family == NULL || config->warps < 1) return 0;
  const int threads = config->warps * 32;
  const int64_t shared = attune_shared_bytes(config);
  if (threads > device->threads_per_block || shared > device->shared_per_block) return 0;
  if (registers <= 0) {
    registers = attune_registers_estimate(config);
    const int cap = attune_register_cap(config, device);
    if (registers > cap) registers = cap; /* the rest is spilled */
  }
  const int64_t limits[4] = {
      device->blocks_per_sm,
      device->threads_per_sm / threads,
      device->shared_per_sm / (shared + device->shared_reserved),
      registers > ATTUNE_REGISTERS_MAX ? 0 : device->registers_per_sm / (multiple_of_8(registers) * threads),
  };
  int64_t blocks = limits[0];
  for (int i = 1; i < 4; i++) {
    if (limits[i] < blocks) blocks = limits[i];
  }
  return (int)blocks;
}

/* The compiler does without some forty of the registers that it would like to have; beyond that, what it spills it
 * spills in ever more places. */
static int spill_estimate(const attune_config *config, const attune_device *device) {
  enum { ELASTIC = 40, REGISTER_BYTES = 4 };
  const int excess = attune_registers_estimate(config) - ELASTIC - attune_register_cap(config, device);
  return excess > 0 ? REGISTER_BYTES * excess * (8 + excess) / 8 : 0;
}

/* ---- steps: how many tiles of keys a tile of queries sees, or of queries a tile of keys ---- */

typedef struct {
  double mean, longest;
} steps;

/* Keys that mask and window leave to a tile of queries: from begin to end - 1. */
typedef struct {
  int64_t begin, end;
} key_span;

static key_span keys_of_rows(const attune_problem *p, int64_t begin, int64_t end) {
  const int64_t shift = p->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? (int64_t)p->seqlen_k - p->seqlen_q : 0;
  const int64_t first = begin + shift;
  const int64_t rows_end = end < p->seqlen_q ? end : p->seqlen_q;
  key_span keys = {0, p->seqlen_k};
  if (p->window_right != ATTUNE_UNBOUNDED && rows_end + shift + p->window_right < keys.end)
    keys.end = rows_end + shift + p->window_right;
  if (p->window_left != ATTUNE_UNBOUNDED && first - p->window_left > 0) keys.begin = first - p->window_left;
  return keys;
}

static key_span keys_of_tile(const attune_config *c, const attune_problem *p, int64_t tile) {
  const int64_t queries = c->tile_m / c->pack_gqa;
  return keys_of_rows(p, tile * queries, (tile + 1) * queries);
}

/* Where warpgroups leave out halves: nearly those of the one that leaves out least, for which the others wait at every
 * slot. A half passes by itself, without the overlap that whole tiles have, so that it counts for more than a half. */
static double steps_with_halves(const attune_config *c, const attune_problem *p, int64_t tile) {
  enum { ROWS = 64 };
  static const double half_costs = 0.7, of_slowest = 0.9; /* fitted on an H100, as what family wgmma says of a step */
  const int64_t half = c->tile_n / 2, groups = c->tile_m / ROWS;
  double sum = 0, most = 0;
  for (int64_t g = 0; g < groups; g++) {
    const int64_t row = (tile * c->tile_m + g * ROWS) / c->pack_gqa;
    const key_span keys = keys_of_rows(p, row, row + ROWS / c->pack_gqa);
    if (row >= p->seqlen_q || keys.end <= keys.begin) continue;
    const int64_t first = keys.begin / half, last = (keys.end - 1) / half; /* halves that are seen */
    const int64_t alone = first / 2 == last / 2 ? (first == last) : first % 2 + (last % 2 == 0);
    const double own = (double)(last - first + 1 - alone) / 2 + half_costs * (double)alone;
    sum += own;
    most = fmax(most, own);
  }
  return of_slowest * most + (1 - of_slowest) * sum / (double)groups;
}

static bool is_of_keys(const attune_config *config) {
  return attune_config_operation(config) == ATTUNE_OPERATION_BACKWARD;
}

/* Tiles of queries that see a key of the tile, of all heads that share it. */
static double steps_of_keys(const attune_config *c, const attune_problem *p, int64_t tile) {
  const int64_t shift = p->mask == ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT ? (int64_t)p->seqlen_k - p->seqlen_q : 0;
  const attune_range keys = attune_block_range(tile, c->tile_n, p->seqlen_k);
  int64_t begin = 0, end = p->seqlen_q;
  if (p->window_right != ATTUNE_UNBOUNDED && keys.low - shift - p->window_right > 0)
    begin = keys.low - shift - p->window_right;
  if (p->window_left != ATTUNE_UNBOUNDED && keys.high - shift + p->window_left + 1 < end)
    end = keys.high - shift + p->window_left + 1;
  if (end <= begin) return 0;
  const int64_t tiles = (end + c->tile_m - 1) / c->tile_m - begin / c->tile_m;
  return (double)tiles * (p->heads_q / p->heads_kv);
}

static double steps_of_tile(const attune_config *c, const attune_problem *p, bool half_tiles, int64_t tile) {
  if (is_of_keys(c)) return steps_of_keys(c, p, tile);
  const key_span keys = keys_of_tile(c, p, tile);
  if (keys.end <= keys.begin) return 0;
  if (half_tiles) return steps_with_halves(c, p, tile);
  return (double)((keys.end + c->tile_n - 1) / c->tile_n - keys.begin / c->tile_n);
}

/* From at most 8 tiles, evenly spread, the first and the last among them. */
static steps count_steps(const attune_config *config, const attune_problem *problem, bool half_tiles, int64_t tiles) {
  enum { SAMPLES = 8 };
  const int64_t count = config->mask_bounds == ATTUNE_MASK_BOUNDS_NONE ? 1 : tiles < SAMPLES ? tiles : SAMPLES;
  steps result = {0, 0};
  for (int64_t i = 0; i < count; i++) {
    const double n = steps_of_tile(config, problem, half_tiles, count == 1 ? 0 : i * (tiles - 1) / (count - 1));
    result.mean += n / (double)count;
    if (n > result.longest) result.longest = n;
  }
  return result;
}

/* ---- the same with a mask expression: tiles that it leaves, as kernels find them ---- */

/* Of all tiles of queries, evenly spread ones. */
static double pattern_steps_of_keys(const attune_config *c, const attune_problem *p, const attune_expression *mask,
                                    int64_t tile) {
  enum { MOST = 512 };
  const int64_t end = attune_blocks_of(p->seqlen_q, c->tile_m), step = end <= MOST ? 1 : end / MOST | 1;
  attune_range_scope scope = {.k = attune_block_range(tile, c->tile_n, p->seqlen_k),
                              .seqlen_q = {p->seqlen_q, p->seqlen_q},
                              .seqlen_k = {p->seqlen_k, p->seqlen_k}};
  int64_t seen = 0;
  for (int64_t i = 0; i < end; i += step) {
    const key_span keys = keys_of_rows(p, i * c->tile_m, (i + 1) * c->tile_m);
    scope.q = attune_block_range(i, c->tile_m, p->seqlen_q);
    if (keys.begin > scope.k.high || keys.end <= scope.k.low) continue;
    seen += attune_expression_seen(mask, &scope) != ATTUNE_SEEN_NONE;
  }
  return (double)(seen * step) * (p->heads_q / p->heads_kv);
}

/* Of a long row every so many tiles; the step is odd, so that it falls in with no power of two. */
static double pattern_steps_of_tile(const attune_config *c, const attune_problem *p, const attune_expression *mask,
                                    int64_t tile) {
  enum { MOST = 512 };
  if (is_of_keys(c)) return pattern_steps_of_keys(c, p, mask, tile);
  const key_span keys = keys_of_tile(c, p, tile);
  const int64_t first = keys.begin / c->tile_n, end = (keys.end + c->tile_n - 1) / c->tile_n;
  const int64_t step = end - first <= MOST ? 1 : (end - first) / MOST | 1;
  attune_range_scope scope = {.q = attune_block_range(tile, c->tile_m, p->seqlen_q),
                              .seqlen_q = {p->seqlen_q, p->seqlen_q},
                              .seqlen_k = {p->seqlen_k, p->seqlen_k}};
  int64_t seen = 0;
  for (int64_t i = first; i < end; i += step) {
    scope.k = attune_block_range(i, c->tile_n, p->seqlen_k);
    seen += attune_expression_seen(mask, &scope) != ATTUNE_SEEN_NONE;
  }
  return (double)(seen * step);
}

static steps count_pattern_steps(const attune_config *config, const attune_problem *problem, int64_t tiles,
                                 const attune_expression *mask) {
  static const double places[] = {0.19, 0.47, 0.63, 0.91};
  enum { SAMPLES = sizeof places / sizeof *places };
  steps result = {0, 0};
  for (int i = 0; i < SAMPLES; i++) {
    const double n = fmax(1, pattern_steps_of_tile(config, problem, mask, (int64_t)((double)tiles * places[i])));
    result.mean += n / SAMPLES;
    if (n > result.longest) result.longest = n;
  }
  return result;
}

static steps steps_of(const attune_config *config, const attune_problem *problem, bool half_tiles,
                      const attune_launch *launch, attune_estimate_memo *memo) {
  attune_expression *mask = NULL;
  const bool of_keys = is_of_keys(config);
  const int64_t tiles = of_keys ? attune_blocks_of(problem->seqlen_k, config->tile_n) : launch->tiles_m;
  if (!attune_problem_has_mask_expr(problem)) return count_steps(config, problem, half_tiles, tiles);
  for (int i = 0; i < memo->count; i++)
    if (memo->shapes[i].tile_m == config->tile_m && memo->shapes[i].tile_n == config->tile_n &&
        memo->shapes[i].of_keys == of_keys)
      return (steps){memo->shapes[i].mean, memo->shapes[i].longest};
  (void)attune_problem_expression(&mask, ATTUNE_EXPRESSION_MASK, problem);
  /* Only its number may be known. */
  const steps result = mask != NULL ? count_pattern_steps(config, problem, tiles, mask)
                                    : count_steps(config, problem, half_tiles, tiles);
  free(mask);
  if (memo->count < ATTUNE_TILE_SHAPES_MAX) {
    memo->shapes[memo->count].tile_m = config->tile_m;
    memo->shapes[memo->count].tile_n = config->tile_n;
    memo->shapes[memo->count].of_keys = of_keys;
    memo->shapes[memo->count].mean = result.mean;
    memo->shapes[memo->count++].longest = result.longest;
  }
  return result;
}

/* ---- time ---- */

/* Clocks for one step of each of `resident` blocks on an SM. Matrix work, shared memory and L2 run beside each other;
 * the softmax between two products runs beside them as far as other warps have products to do. */
static double round_clocks(const attune_cost *step, const rates *r, int warps, double resident, double spilled_bytes) {
  const double matrix = step->matrix_flops / (step->serial_share > 0 ? r->peak : r->matrix);
  const double shared = (step->shared_bytes + 2 * spilled_bytes) / SHARED_RATE;
  const double loaded = step->loaded_bytes / r->loaded;
  const double softmax = step->exponentials / r->exponentials + step->float_operations / r->floats;
  if (step->serial_share > 0) { /* a pipeline of its own: the shorter part hides behind the longer, but for a share */
    const double products = fmax(fmax(matrix, shared), loaded);
    return resident * (fmax(products, softmax) + step->serial_share * fmin(products, softmax)) + step->latency_clocks;
  }
  const double warps_per_scheduler = resident * warps / SCHEDULERS;
  /* Warps of one block meet at barriers, which holds them in step with each other. */
  const double in_step = 1 + 1.1 / resident;
  const double exposed = warps_per_scheduler > 1 ? fmin(in_step / warps_per_scheduler, 1) : 1;
  /* Fewer than four warps leave schedulers, and their matrix units, without work. */
  const double idle = warps_per_scheduler < 1 ? 1 / warps_per_scheduler : 1;
  const double products = fmax(fmax(matrix * idle, shared), loaded);
  const double rest = 0.15 * (matrix + shared + loaded - fmax(fmax(matrix, shared), loaded));
  return resident * (products + rest + softmax * idle * exposed) + step->latency_clocks;
}

/* Bytes that pass from memory: each tensor once, and K and V again where the blocks at work together spread over more
 * heads than L2 holds. */
static double traffic_bytes(const attune_config *config, const attune_problem *problem, const attune_device *device,
                            double tiles, double slots) {
  const double heads = (double)problem->batch * problem->heads_q;
  const double once = attune_problem_bytes(problem);
  const double kv =
      2.0 * problem->batch * problem->heads_kv * problem->seqlen_k * (double)(problem->head_dim + problem->head_dim_v);
  const bool heads_first = config->order == ATTUNE_ORDER_HEADS || config->order == ATTUNE_ORDER_LPT;
  if (!heads_first || kv < 0.8 * (double)device->l2_bytes) return once;
  const double sharing = fmin(tiles, fmax(1, slots / heads)); /* blocks of one head at work at once */
  const double visible = attune_problem_flops(problem) / (2.0 * (problem->head_dim + problem->head_dim_v) * heads *
                                                          problem->seqlen_q * (double)problem->seqlen_k);
  return once + kv * fmax(0, tiles * visible / sharing - 1);
}

/* Each split writes its O and LSE in floats, and they are read once. */
static double partial_bytes(const attune_config *config, const attune_problem *p) {
  if (config->splits == 1) return 0;
  return 2.0 * 4 * (p->head_dim_v + 1) * config->splits * p->batch * p->heads_q * (double)p->seqlen_q;
}

/* How much of the longest block's time passes at the end while SMs run empty, for blocks of unequal length. */
static double tail_share(int32_t order) {
  switch (order) {
  case ATTUNE_ORDER_LPT:
  case ATTUNE_ORDER_L2_SECTIONS:
    return 0.1;
  case ATTUNE_ORDER_REVERSED:
    return 0.35;
  case ATTUNE_ORDER_LINEAR:
    return 0.5;
  default:
    return 0.6;
  }
}

typedef struct {
  double sms, hertz, bandwidth;
} speeds;

static speeds speeds_of(const attune_device *device) {
  attune_device typical;
  attune_device_typical(&typical, device);
  if (device->arch == 0) device = &typical; /* the simulator's counts are those of the CPU */
  return (speeds){
      .sms = device->sm_count > 0 ? device->sm_count : typical.sm_count,
      .hertz = 1000.0 * (device->clock_khz > 0 ? device->clock_khz : typical.clock_khz),
      .bandwidth = (double)(device->memory_bandwidth > 0 ? device->memory_bandwidth : typical.memory_bandwidth),
  };
}

double attune_estimate_error(double seconds) {
  static const double shortest = 5e-5; /* below it starting counts for as much as work */
  return seconds < shortest ? 1.0 : 0.3;
}

void attune_estimate_error_text(char out[96], double seconds, const attune_device *device) {
  enum { SIZE = 96, MEASURED_ARCH = 90 };
  const int written = snprintf(out, SIZE, "+- %.0f%%", 100 * attune_estimate_error(seconds));
  if (device->arch != MEASURED_ARCH && device->arch != 0)
    snprintf(out + written, SIZE - (size_t)written, " or more, nothing was measured on sm_%d", device->arch);
}

double attune_problem_floor(const attune_problem *problem, const attune_device *device) {
  const speeds speed = speeds_of(device);
  const double flops = attune_problem_is_sparse(problem) ? 0 : attune_problem_flops(problem);
  const double compute = flops / (rates_of(device).peak * speed.sms * speed.hertz);
  return fmax(compute, attune_problem_bytes(problem) / speed.bandwidth);
}

double attune_estimate(const attune_config *config, const attune_problem *problem, const attune_device *device,
                       const attune_footprint footprints[ATTUNE_STEPS_MAX]) {
  attune_estimate_memo memo = {.count = 0};
  return attune_estimate_with(config, problem, device, footprints, &memo);
}

double attune_estimate_with(const attune_config *config, const attune_problem *problem, const attune_device *device,
                            const attune_footprint footprints[ATTUNE_STEPS_MAX], attune_estimate_memo *memo) {
  attune_problem resolved;
  if (attune_problem_resolve(&resolved, problem)) return INFINITY;
  return attune_estimate_resolved(config, &resolved, device, footprints, memo);
}

/* Of a kernel that goes through tiles: without memory and the time to start it. INFINITY: it cannot run. */
static double kernel_seconds(const attune_config *config, const attune_problem *p, const attune_device *device,
                             const attune_footprint *footprint, attune_estimate_memo *memo) {
  attune_launch launch;
  const attune_family_row *family = attune_family_find(config->family);
  if (family == NULL || family->cost == NULL || attune_launch_of(&launch, config, p)) return INFINITY;
  const int occupancy = attune_occupancy(config, device, footprint->registers);
  if (occupancy == 0) return INFINITY;
  const int spill_bytes = footprint->registers > 0 ? footprint->spill_bytes : spill_estimate(config, device);

  const rates r = rates_of(device);
  const speeds speed = speeds_of(device);

  attune_cost step;
  family->cost(&step, config, p);
  steps n = steps_of(config, p, step.half_tiles, &launch, memo);
  n.mean = fmax(1, n.mean / config->splits);
  n.longest = fmax(1, ceil(n.longest / config->splits));
  const int32_t denominator = attune_problem_density_denominator(p);
  if (denominator > 1) {
    n.mean /= denominator;
    n.longest /= denominator;
  }
  const double grid = launch.grid, slots = speed.sms * occupancy;
  const double spilled = (double)spill_bytes * launch.threads;

  /* Whole waves, then a last one that shares the SMs more thinly. */
  const double waves = floor(grid / slots);
  const double last = ceil((grid - waves * slots) / speed.sms);
  double clocks = 0, longest = 0;
  if (waves > 0) {
    const double round = round_clocks(&step, &r, config->warps, occupancy, spilled);
    clocks += waves * (n.mean * round + step.outside_clocks);
    longest = n.longest * round + step.outside_clocks;
  }
  if (n.longest - n.mean < 1) {
    if (last > 0) {
      clocks += n.mean * round_clocks(&step, &r, config->warps, last, spilled) + step.outside_clocks;
    }
  } else {
    const double round = round_clocks(&step, &r, config->warps, fmax(last, 1), spilled);
    const double fraction = (grid - waves * slots) / (fmax(last, 1) * speed.sms);
    clocks += fraction * (n.mean * round + step.outside_clocks);
    if (waves == 0) longest = n.longest * round + step.outside_clocks;
    clocks = fmax(clocks + tail_share(config->order) * longest, longest);
  }
  return clocks / speed.hertz;
}

/* Products, bytes that pass from memory, and starts, of a kernel or of several that follow each other. */
static double together(double compute, double bytes, int start_microseconds, const attune_device *device) {
  const double memory = bytes / (0.85 * speeds_of(device).bandwidth);
  return fmax(compute, memory) + 0.1 * fmin(compute, memory) + 1e-6 * start_microseconds;
}

static double forward_seconds(const attune_config *config, const attune_problem *p, const attune_device *device,
                              const attune_footprint *footprints, attune_estimate_memo *memo) {
  attune_launch launch;
  const double compute = kernel_seconds(config, p, device, &footprints[0], memo);
  if (!isfinite(compute) || attune_launch_of(&launch, config, p)) return INFINITY;
  const double slots = speeds_of(device).sms * attune_occupancy(config, device, footprints[0].registers);
  const double bytes = traffic_bytes(config, p, device, launch.tiles_m, slots) + partial_bytes(config, p);
  const int start = LAUNCH_MICROSECONDS + (config->persistent == ATTUNE_PERSISTENT_DYNAMIC ? CLEAR_MICROSECONDS : 0) +
                    (config->splits > 1 ? COMBINE_MICROSECONDS : 0);
  return together(compute, bytes, start, device);
}

/* The kernel for the bias goes through the tiles that one of queries would; that for the sinks reads row terms. */
static double beside_seconds(const attune_config *config, const attune_problem *p, const attune_device *device,
                             const attune_footprint *footprint, attune_estimate_memo *memo) {
  const double rows_q = (double)p->batch * p->heads_q * p->seqlen_q;
  if (config->family == ATTUNE_FAMILY_DSINKS) return together(0, 8 * rows_q, LAUNCH_MICROSECONDS, device);
  return together(kernel_seconds(config, p, device, footprint, memo), 0, LAUNCH_MICROSECONDS, device);
}

/* The kernel for delta reads O and its gradient, and does next to nothing with them. Each of the other two reads Q, K,
 * V and the gradient of O, and writes its own gradients. Where the one of keys adds up dQ in floats, these are cleared
 * before, and the last kernel only converts them. */
static double backward_seconds(const attune_config *config, const attune_problem *p, const attune_device *device,
                               const attune_footprint *footprints, attune_estimate_memo *memo) {
  enum { DELTA, KEYS, DQ }; /* the first steps */
  attune_config kernels[ATTUNE_STEPS_MAX];
  const double rows_q = (double)p->batch * p->heads_q * p->seqlen_q;
  const double rows_k = (double)p->batch * p->heads_kv * p->seqlen_k;
  const double q = 2 * rows_q * p->head_dim, o = 2 * rows_q * p->head_dim_v;
  const double kv = 2 * rows_k * (p->head_dim + p->head_dim_v), terms = 8 * rows_q;
  const int count = attune_config_kernels(kernels, config);
  const bool converts = kernels[DQ].family == ATTUNE_FAMILY_DQ_CONVERT;
  const double tiles = q + o + kv + terms;
  const double written[] = {terms, kv, q}, read[] = {2 * o + 4 * rows_q, tiles, converts ? 2 * q : tiles};
  double seconds = converts ? together(0, 2 * q, CLEAR_MICROSECONDS, device) : 0;
  for (int i = DELTA; i <= DQ; i++) {
    const bool streams = i == DELTA || (i == DQ && converts); /* goes through no tiles */
    const double compute = streams ? 0 : kernel_seconds(&kernels[i], p, device, &footprints[i], memo);
    seconds += together(compute, read[i] + written[i], LAUNCH_MICROSECONDS, device);
  }
  for (int i = DQ + 1; i < count; i++)
    seconds += beside_seconds(&kernels[i], p, device, &footprints[i], memo);
  return seconds;
}

double attune_estimate_resolved(const attune_config *config, const attune_problem *p, const attune_device *device,
                                const attune_footprint footprints[ATTUNE_STEPS_MAX], attune_estimate_memo *memo) {
  static const attune_footprint estimated[ATTUNE_STEPS_MAX];
  if (footprints == NULL) footprints = estimated;
  const double seconds = attune_config_operation(config) == ATTUNE_OPERATION_BACKWARD
                             ? backward_seconds(config, p, device, footprints, memo)
                             : forward_seconds(config, p, device, footprints, memo);
  return attune_problem_is_sparse(p) ? seconds : fmax(seconds, attune_problem_floor(p, device));
}
