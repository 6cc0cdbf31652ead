/* Family wgmma: Hopper's warpgroup products and tensor copy engine; sm_90 alone. The template is
 * templates/forward/wgmma.cu. */
#include "generator/base/status.h"
#include "generator/families/warpgroups.h"
#include "generator/families/wgmma_products.h"

/* Its own fields. */
enum {
  Q_PREFETCH,
  INTRA_WG_OVERLAP,
  PINGPONG, /* attune_pingpong */
  HALF_TILES,
  RESCALE_BEFORE_PV,
  P_IN_SMEM,
  O_STAGING, /* attune_o_staging */
  EXP2_EMULATION
};

enum {
  ROWS = ATTUNE_CONSUMER_ROWS,
  PRODUCER_REGISTERS = 32, /* at least */
  CONSUMERS_MAX = 3,
  TILE_N_MAX = 256,
  STAGES_MAX = 4,
  BLOCKS_MAX = 3,
  EXP2_EMULATION_MAX = 16,
  PACKED_MAX = 8, /* a thread's two rows are eight apart, and of one head */
  CLUSTER_MAX = 2,
  WORD_BYTES = 4
};

static int consumers(const attune_config *c) {
  return c->tile_m / ROWS;
}

/* Accumulators of S and O, and P where it lives beside S. */
static int accumulators(const attune_config *c) {
  return c->tile_n / 2 + c->head_dim_v / 2 + (c->own[INTRA_WG_OVERLAP] && !c->own[P_IN_SMEM] ? c->tile_n / 4 : 0);
}

static int registers_of_consumer(const attune_config *c) {
  return attune_registers_of_consumer(c, consumers(c), PRODUCER_REGISTERS);
}

/* ---- shared memory ---- */

static void add_words(attune_layout *out, const char *name, int count) {
  attune_layout_add(out, name, count, WORD_BYTES, WORD_BYTES);
}

static void add_pipelines(attune_layout *out, const attune_config *c, int q_stages) {
  const bool in_q = c->own[O_STAGING] == ATTUNE_O_IN_Q;
  attune_layout_barriers(out, "q_full", q_stages);
  attune_layout_barriers(out, "o_full", in_q ? q_stages : 1);
  attune_layout_barriers(out, "q_empty", in_q ? 0 : q_stages);
  attune_layout_barriers(out, "o_empty", in_q ? 0 : 1);
  attune_layout_add(out, "o_slot", c->own[O_STAGING] == ATTUNE_O_IN_V, 16, 8); /* which slot of V holds O */
  attune_layout_barriers(out, "k_full", c->stages);
  attune_layout_barriers(out, "k_empty", c->stages);
  attune_layout_barriers(out, "v_full", c->stages);
  attune_layout_barriers(out, "v_empty", c->stages);
  attune_layout_barriers(out, "v_landed", c->stages); /* a ragged V before its tail is zeroed */
}

static void layout(attune_layout *out, const attune_config *c) {
  enum { WORK_SLOTS = 2, QUEUE_SLOTS = 8 }; /* tiles of queries, of keys that a warp may be ahead */
  const int q_stages = 1 + c->own[Q_PREFETCH], k = attune_panels(c->head_dim), v = attune_panels(c->head_dim_v);
  const bool dynamic = c->persistent == ATTUNE_PERSISTENT_DYNAMIC, masks = c->has_mask_expr || c->sparse_block_size > 0;
  attune_layout_tiles(out, "q", q_stages, c->own[O_STAGING] == ATTUNE_O_IN_Q && v > k ? v : k, c->tile_m);
  attune_layout_tiles(out, "k", c->stages, k, c->tile_n);
  attune_layout_tiles(out, "v", c->stages, v, c->tile_n);
  attune_layout_tiles(out, "p", c->own[P_IN_SMEM], attune_panels(c->tile_n), c->tile_m);
  attune_layout_tiles(out, "o", c->own[O_STAGING] == ATTUNE_O_IN_OWN, v, c->tile_m);
  attune_layout_barriers(out, "work_full", dynamic ? WORK_SLOTS : 0);
  attune_layout_barriers(out, "work_empty", dynamic ? WORK_SLOTS : 0);
  add_words(out, "work_index", dynamic ? WORK_SLOTS : 0);
  attune_layout_barriers(out, "work_requested", dynamic);
  add_pipelines(out, c, q_stages);
  attune_layout_barriers(out, "queue_full", masks ? QUEUE_SLOTS : 0);
  attune_layout_barriers(out, "queue_empty", masks ? QUEUE_SLOTS : 0);
  add_words(out, "queue", masks ? QUEUE_SLOTS : 0);
  add_words(out, "k_tile", masks ? c->stages : 0); /* which tile a slot of K holds */
  attune_layout_constant(out, "work_slots", WORK_SLOTS, "tiles of queries that a warp may be ahead of another");
  attune_layout_constant(out, "queue_slots", QUEUE_SLOTS, "tiles of keys that the mask warp may be ahead");
  attune_layout_registers(out, c, consumers(c), PRODUCER_REGISTERS);
}

/* ---- what a thread lacks ---- */

/* That a consumer would like to have beyond what it has. */
static int lacking_registers(const attune_config *c) {
  enum { ADDRESSES_AND_STATE = 32 };
  return accumulators(c) + ADDRESSES_AND_STATE - registers_of_consumer(c);
}

/* The model takes a thread to have what it has before the exchange: what its consumers lack after it is added to that.
 */
static int registers(const attune_config *c) {
  enum { ELASTIC = 40 /* estimate.c does without so many */ };
  const int lacks = lacking_registers(c);
  return attune_registers_at_entry(c) + (lacks > 0 ? ELASTIC + lacks : 0);
}

/* ---- legal ---- */

static attune_status check_shape(const attune_config *c) {
  if (c->tile_m % ROWS != 0 || c->tile_n % 16 != 0) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "tile_m is %d and tile_n %d; they must be multiples of %d and 16",
                       c->tile_m, c->tile_n, ROWS);
  }
  if (c->warps != 4 * (consumers(c) + 1)) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "warps is %d; tile_m %d needs %d: four load, four for each %d rows",
                       c->warps, c->tile_m, 4 * (consumers(c) + 1), ROWS);
  }
  return ATTUNE_OK;
}

/* The blocks of a cluster go through the same tiles of keys, step by step. */
static bool sees_all_keys(const attune_config *c) {
  return c->mask_bounds == ATTUNE_MASK_BOUNDS_NONE && !c->has_mask_expr && c->sparse_block_size == 0;
}

static attune_status check_cluster(const attune_config *c) {
  if (c->cluster > 1 && c->persistent == ATTUNE_PERSISTENT_DYNAMIC) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "cluster is %d; it must be 1 with persistent %d, where each block takes tiles by itself",
                       c->cluster, c->persistent);
  }
  if (c->cluster == 1 || sees_all_keys(c)) return ATTUNE_OK;
  return attune_fail(
      ATTUNE_ILLEGAL_CONFIG,
      "cluster is %d; it must be 1 with a causal, window, expression or block mask, where neighbouring tiles"
      " of queries see different keys",
      c->cluster);
}

static attune_status check_o_place(const attune_config *c) {
  if (c->own[O_STAGING] != ATTUNE_O_IN_V || c->tile_m <= c->tile_n) return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG, "O has tile_m %d rows; V's slot, through which it is to leave, has %d",
                     c->tile_m, c->tile_n);
}

/* What tells tiles and keys apart by head and query, or by a block mask, takes a tile to be of one head. */
static attune_status check_packing(const attune_config *c) {
  const int32_t n = c->pack_gqa;
  if (n == 1) return ATTUNE_OK;
  if ((n & (n - 1)) != 0) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "pack_gqa is %d; it must be 1, 2, 4 or %d", n, PACKED_MAX);
  }
  if (!c->has_mask_expr && c->sparse_block_size == 0 && c->score != ATTUNE_SCORE_EXPRESSION) return ATTUNE_OK;
  return attune_fail(
      ATTUNE_ILLEGAL_CONFIG,
      "pack_gqa is %d; it must be 1 with expressions or a block mask, which take a tile to be of one head", n);
}

/* ptxas holds one product's accumulators and addresses against what a thread has before the exchange (C7602). */
static attune_status check_product(const attune_config *c) {
  enum { OPERANDS = 26 };
  const int width = c->tile_n > c->head_dim_v ? c->tile_n : c->head_dim_v;
  const int needs = width / 2 + OPERANDS, has = attune_registers_at_entry(c);
  if (needs <= has) return ATTUNE_OK;
  return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                     "a product %d columns wide needs %d registers, a block of %d threads starts with %d for each",
                     width, needs, c->warps * 32, has);
}

static attune_status legal(const attune_config *c, const attune_device *device) {
  enum { ADDRESSES_AND_STATE = 16 };
  if (device->arch != ATTUNE_WARPGROUPS_ARCH && device->arch != 0) { /* 0: the simulator */
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "family wgmma needs sm_%d, this device is sm_%d", ATTUNE_WARPGROUPS_ARCH,
                       device->arch);
  }
  attune_status status = check_shape(c);
  if (status == ATTUNE_OK) status = check_cluster(c);
  if (status == ATTUNE_OK) status = check_o_place(c);
  if (status == ATTUNE_OK) status = check_packing(c);
  if (status == ATTUNE_OK) status = check_product(c);
  if (status) return status;
  const int needs = accumulators(c) + ADDRESSES_AND_STATE;
  if (needs > registers_of_consumer(c)) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "a thread needs %d registers for S, O and P, it has %d: use a smaller tile_n or fewer rows",
                       needs, registers_of_consumer(c));
  }
  return ATTUNE_OK;
}

/* Whether tensor maps can say the strides, and there are heads to pack. */
static attune_status serves(const attune_config *config, const attune_problem *p) {
  if (p->heads_q / p->heads_kv % config->pack_gqa != 0) {
    return attune_fail(ATTUNE_ILLEGAL_CONFIG, "pack_gqa is %d; it must divide the %d query heads on a key head",
                       config->pack_gqa, p->heads_q / p->heads_kv);
  }
  attune_status status = attune_tensor_map_takes("q", &p->q, p->seqlen_q, p->heads_q, p->batch);
  if (status == ATTUNE_OK) status = attune_tensor_map_takes("k", &p->k, p->seqlen_k, p->heads_kv, p->batch);
  if (status == ATTUNE_OK) status = attune_tensor_map_takes("v", &p->v, p->seqlen_k, p->heads_kv, p->batch);
  return status == ATTUNE_OK ? attune_tensor_map_takes("o", &p->o, p->seqlen_q, p->heads_q, p->batch) : status;
}

/* ---- space ---- */

#define AXIS(name) static void name(attune_axis *out, const attune_config *config, const attune_problem *problem)
#define REFINE(name) static void name(attune_axis *out, const attune_config *config)

static bool has_bound(const attune_config *c) {
  return c->mask_bounds != ATTUNE_MASK_BOUNDS_NONE;
}

AXIS(warps_axis) {
  (void)problem;
  out->values[0] = 4 * (consumers(config) + 1);
}

/* It comes before `persistent` in the table, without which it is refused. */
static int32_t q_prefetch_high(const attune_config *c) {
  return c->persistent != ATTUNE_PERSISTENT_NONE;
}

static int32_t pingpong_high(const attune_config *c) {
  return c->tile_m > ROWS ? ATTUNE_PINGPONG_SOFTMAX : 0;
}
AXIS(pingpong_axis) {
  (void)problem;
  if (config->tile_m > ROWS) *out = (attune_axis){.values = {ATTUNE_PINGPONG_NONE, ATTUNE_PINGPONG_MMA}, .count = 2};
}
REFINE(refine_pingpong) {
  if (config->tile_m > ROWS) *out = (attune_axis){.values = {ATTUNE_PINGPONG_SOFTMAX}, .count = 1};
}

static int32_t half_tiles_high(const attune_config *c) {
  return c->tile_n % 32 == 0;
}
/* Bounds reach into tiles differently for each warpgroup; without one, only a ragged end leaves half a tile. */
AXIS(half_tiles_axis) {
  (void)problem;
  if (has_bound(config) && config->tile_n % 32 == 0) *out = (attune_axis){.values = {0, 1}, .count = 2};
}

static int32_t rescale_before_pv_high(const attune_config *c) {
  return c->own[INTRA_WG_OVERLAP];
}
REFINE(refine_rescale_before_pv) {
  if (config->own[INTRA_WG_OVERLAP]) *out = (attune_axis){.values = {1}, .count = 1};
}

REFINE(refine_p_in_smem) {
  (void)config;
  *out = (attune_axis){.values = {1}, .count = 1};
}

REFINE(refine_o_staging) {
  (void)config;
  *out = (attune_axis){.values = {ATTUNE_O_IN_OWN, ATTUNE_O_IN_V}, .count = 2};
}

REFINE(refine_exp2_emulation) {
  (void)config;
  *out = (attune_axis){.values = {4, 8}, .count = 2};
}

/* Where all tiles of queries have as much to do, fixed rounds are fair, and no counter has to be cleared. */
REFINE(refine_persistent) {
  if (!sees_all_keys(config)) *out = (attune_axis){.values = {ATTUNE_PERSISTENT_DYNAMIC}, .count = 1};
}

AXIS(order_axis) {
  (void)problem;
  /* Without a bound all tiles are equally long: only the order of heads matters. */
  if (!has_bound(config)) out->count = 2;
  /* Blocks that take their tiles in fixed rounds need rounds that are alike, or that shrink from first to last. Those
   * that count are best off with the long ones first, too. */
  if (has_bound(config) && config->persistent)
    *out = (attune_axis){.values = {ATTUNE_ORDER_REVERSED, ATTUNE_ORDER_LPT}, .count = 2};
}
/* In fixed rounds the same blocks would get the longest tile of every section. */
REFINE(refine_order) {
  if (has_bound(config) && config->persistent == ATTUNE_PERSISTENT_DYNAMIC)
    *out = (attune_axis){.values = {ATTUNE_ORDER_L2_SECTIONS}, .count = 1};
}

/* The most of a group: a power of two. */
static int heads_to_pack(const attune_problem *p) {
  int most = PACKED_MAX;
  while (p->heads_q / p->heads_kv % most != 0)
    most /= 2;
  return most;
}
/* Few queries leave a tile's rows empty, unless other heads' fill them. */
AXIS(pack_gqa_axis) {
  if (problem != NULL && problem->seqlen_q < config->tile_m && heads_to_pack(problem) > 1)
    *out = (attune_axis){.values = {1, heads_to_pack(problem)}, .count = 2};
}
REFINE(refine_pack_gqa) {
  (void)config;
  *out = (attune_axis){.values = {2, 4, 8}, .count = 3};
}

REFINE(refine_cluster) {
  if (sees_all_keys(config)) *out = (attune_axis){.values = {2}, .count = 1};
}

/* Of one warpgroup up to three blocks, of two two: what is more leaves too few registers for each. */
AXIS(min_blocks_per_sm_axis) {
  (void)problem;
  *out = (attune_axis){.values = {1, 2, 3}, .count = BLOCKS_MAX + 1 - consumers(config)};
}

static const char *const pingpong_words[] = {"none", "mma", "softmax", NULL};
static const char *const o_staging_words[] = {"q", "own", "v", NULL};

static const attune_config_field schedule[] = {
    {ATTUNE_FIELD_TILE_M, .low = ROWS, .high = ROWS * CONSUMERS_MAX, .axis = {{64, 128, 192}, 3}},
    {ATTUNE_FIELD_TILE_N, .low = 16, .high = TILE_N_MAX,
     .axis = {{48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256}, 14}},
    {ATTUNE_FIELD_WARPS, .low = 8, .high = 4 * (CONSUMERS_MAX + 1), .axis_of = warps_axis},
    {ATTUNE_FIELD_STAGES, .low = 1, .high = STAGES_MAX, .axis = {{1, 2, 3, 4}, 4}},
    {ATTUNE_FIELD_LAZY_RESCALE, .axis = {{0, 1}, 2}},
    {ATTUNE_OWN_FIELD(Q_PREFETCH, "q_prefetch"), .prefix = "q_prefetch", .flag = true, .high_of = q_prefetch_high,
     .axis = {{0, 1}, 2}, .meaning = "the next tile's Q is loaded while this one's is worked on"},
    {ATTUNE_OWN_FIELD(INTRA_WG_OVERLAP, "intra_wg_overlap"), .prefix = "intra_wg_overlap", .flag = true, .high = 1,
     .axis = {{0, 1}, 2}, .meaning = "the softmax of a tile runs beside the products of its neighbours"},
    {ATTUNE_OWN_FIELD(PINGPONG, "pingpong"), .prefix = "pingpong_", .words = pingpong_words, .high_of = pingpong_high,
     .axis_of = pingpong_axis, .refine = refine_pingpong,
     .meaning = "what warpgroups take turns at: the matrix units (mma), the exponentials (softmax)"},
    {ATTUNE_OWN_FIELD(HALF_TILES, "half_tiles"), .prefix = "half_tiles", .flag = true, .high_of = half_tiles_high,
     .axis_of = half_tiles_axis, .meaning = "a warpgroup leaves out half a tile of which its rows see no key"},
    {ATTUNE_OWN_FIELD(RESCALE_BEFORE_PV, "rescale_before_pv"), .prefix = "rescale_before_pv", .flag = true,
     .high_of = rescale_before_pv_high, .refine = refine_rescale_before_pv,
     .meaning = "O is rescaled before P V is started, not once it has been"},
    {ATTUNE_OWN_FIELD(P_IN_SMEM, "p_in_smem"), .prefix = "p_in_smem", .flag = true, .high = 1,
     .refine = refine_p_in_smem, .meaning = "P passes through shared memory, else it stays in registers"},
    {ATTUNE_OWN_FIELD(O_STAGING, "o_staging"), .prefix = "o_staging_", .words = o_staging_words, .high = ATTUNE_O_IN_V,
     .refine = refine_o_staging,
     .meaning = "O leaves through Q's slot (q), shared memory of its own (own), the last V's slot (v)"},
    {ATTUNE_OWN_FIELD(EXP2_EMULATION, "exp2_emulation"), .prefix = "exp2_emulation", .high = EXP2_EMULATION_MAX,
     .refine = refine_exp2_emulation, .meaning = "one of so many exponentials is a polynomial on the FMA units"},
    {ATTUNE_FIELD(persistent), .prefix = "persistent_", .words = attune_persistent_words,
     .high = ATTUNE_PERSISTENT_DYNAMIC, .axis = {{ATTUNE_PERSISTENT_NONE, ATTUNE_PERSISTENT_STATIC}, 2},
     .refine = refine_persistent,
     .meaning = "a block goes through many tiles: of fixed rounds, or as a counter gives them out"},
    {ATTUNE_FIELD_ORDER, .high = ATTUNE_ORDER_L2_SECTIONS, .axis_of = order_axis, .refine = refine_order,
     .axis = {{ATTUNE_ORDER_LINEAR, ATTUNE_ORDER_HEADS, ATTUNE_ORDER_REVERSED, ATTUNE_ORDER_LPT,
               ATTUNE_ORDER_L2_SECTIONS},
              5}},
    {ATTUNE_FIELD(pack_gqa), .prefix = "pack_gqa", .absent = 1, .low = 1, .high = PACKED_MAX, .axis_of = pack_gqa_axis,
     .refine = refine_pack_gqa, .meaning = "query heads of a group whose rows share a tile"},
    {ATTUNE_FIELD_SPLITS},
    {ATTUNE_FIELD(cluster), .prefix = "c", .absent = 1, .low = 1, .high = CLUSTER_MAX, .refine = refine_cluster,
     .meaning = "blocks with neighbouring tiles that share out the loads of K and V"},
    {ATTUNE_FIELD_MIN_BLOCKS_PER_SM, .high = BLOCKS_MAX, .axis_of = min_blocks_per_sm_axis},
};

static void print_primitives(struct attune_buffer *out, const attune_config *config) {
  attune_print_wgmma(out, config->tile_n, config->dtype, ATTUNE_WGMMA_K_MAJOR);
  if (config->own[HALF_TILES]) attune_print_wgmma(out, config->tile_n / 2, config->dtype, ATTUNE_WGMMA_K_MAJOR);
  attune_print_wgmma(out, config->head_dim_v, config->dtype,
                     config->own[P_IN_SMEM] ? ATTUNE_WGMMA_N_MAJOR : ATTUNE_WGMMA_REGISTERS);
}

/* ---- cost ---- */

/* Fitted on an H100 (templates/notes/model.md): three warpgroups hide more than two, and gain from ping-pong of the
 * MMAs, which costs two a little; from ping-pong of the softmax they lose, and two gain a little. */
static double serial_share(const attune_config *c) {
  enum { SERIALISED = 8 }; /* that many lacking: ptxas serialises all such (C7512; 166 of 166 compiled) */
  if (lacking_registers(c) >= SERIALISED) return 1;
  static const double shares[4] = {1, 0.5, 0.4, 0.3};
  const int together = consumers(c) * c->min_blocks_per_sm;
  static const double pingpong[3][2] = {{0, 0}, {0.05, -0.15}, {-0.02, 0.1}}; /* of up to two, of three */
  const double alternation = pingpong[c->own[PINGPONG]][consumers(c) == 3];
  return shares[together < 4 ? together - 1 : 3] + (c->own[INTRA_WG_OVERLAP] ? 0 : 0.2) + alternation;
}

static void cost(attune_cost *out, const attune_config *c, const attune_problem *problem) {
  const double depth = (c->head_dim + 15) / 16 * 16, width = c->head_dim_v;
  const double m = c->tile_m, n = c->tile_n;
  const bool softcap = problem->softcap > 0;
  const double emulated = c->own[EXP2_EMULATION] ? 1.0 / c->own[EXP2_EMULATION] : 0;
  const double q_panel_bytes = 2.0 * m * ATTUNE_PANEL * attune_panels(c->head_dim);
  *out = (attune_cost){
      .matrix_flops = 2 * m * n * (depth + width),
      /* Each warpgroup reads K and V for its own 64 rows, and Q at every tile. */
      .shared_bytes =
          2 * n * (depth + width) * (consumers(c) + 1) + 2 * m * depth + (c->own[P_IN_SMEM] ? 4 * m * n : 0),
      .loaded_bytes = 2 * n * (depth + width) / c->cluster,
      .exponentials = m * n * ((softcap ? 3 : 1) - emulated),
      .float_operations = m * n * ((softcap ? 7 : 4) + 9 * emulated) + (c->lazy_rescale ? 0.1 : 1) * m * width,
      /* Waits and descriptors are some 300 in the profile, whatever tile_n. */
      .latency_clocks = c->stages == 1   ? 800
                        : c->stages == 2 ? 320
                                         : 310,
      .half_tiles = c->own[HALF_TILES],
      .serial_share = serial_share(c),
      .outside_clocks = (c->persistent ? 1500 : 3700) + (c->own[Q_PREFETCH] ? 0 : q_panel_bytes / 32),
  };
}

const attune_family_row attune_family_wgmma_row = {
    .name = "wgmma",
    .operation = ATTUNE_OPERATION_FORWARD,
    .template_path = "templates/forward/wgmma.cu",
    .speed = 2,
    .legal = legal,
    .schedule = schedule,
    .schedule_count = sizeof schedule / sizeof *schedule,
    .layout = layout,
    .registers = registers,
    .print_primitives = print_primitives,
    .serves = serves,
    .tensor_maps = true,
    .own_arch = ATTUNE_WARPGROUPS_ARCH,
    .cost = cost,
};
