/* The legal space: what is refused says why with both numbers, and what is legal fits. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "generator/generator.h"

static const char *const all_archs[] = {"sm_80", "sm_86", "sm_90", "sm_120", "host"};

static attune_device device_of(const char *arch) {
  attune_device d;
  assert_int_equal(attune_device_of_arch(&d, arch), ATTUNE_OK);
  return d;
}

static attune_problem problem_of(int head_dim, attune_mask mask) {
  attune_problem p;
  attune_problem_init(&p);
  p.head_dim = p.head_dim_v = head_dim;
  p.heads_q = p.heads_kv = 4;
  p.seqlen_q = p.seqlen_k = 1000;
  p.mask = mask;
  return p;
}

typedef struct {
  const attune_problem *problem;
  const attune_device *device;
  int count[ATTUNE_FAMILY_COUNT], legal[ATTUNE_FAMILY_COUNT];
  bool seen_order[5];
  attune_config last;
} tally;

/* What the launch and the SM need of a legal config, computed here again. */
static void check_fits(const attune_config *c, const attune_problem *p, const attune_device *d) {
  attune_launch launch;
  assert_int_equal(attune_launch_of(&launch, c, p), ATTUNE_OK);
  const int tiles = (p->seqlen_q + c->tile_m - 1) / c->tile_m;
  assert_int_equal(launch.tiles_m, (tiles + c->cluster - 1) / c->cluster * c->cluster);
  assert_int_equal(launch.cluster, c->cluster);
  assert_int_equal(launch.grid, launch.tiles_m * p->heads_q * p->batch * c->splits);
  assert_int_equal(launch.threads, c->warps * 32);
  assert_true(launch.threads <= d->threads_per_block);
  assert_true(launch.shared_bytes > 0 && launch.shared_bytes <= d->shared_per_block);
  assert_int_equal(launch.shared_bytes % 16, 0);
  assert_true(c->min_blocks_per_sm * launch.threads <= d->threads_per_sm);
  assert_true(c->min_blocks_per_sm * (launch.shared_bytes + d->shared_reserved) <= d->shared_per_sm);
  assert_true(attune_occupancy(c, d, 0) >= c->min_blocks_per_sm);
}

static bool visit(void *user, const attune_config *config, bool legal, const char *reason) {
  tally *t = user;
  t->count[config->family]++;
  t->last = *config;
  t->seen_order[config->order] = true;
  assert_int_equal(legal, reason[0] == '\0');
  assert_int_equal(legal, attune_config_legal(config, t->device) == ATTUNE_OK);
  if (legal) {
    t->legal[config->family]++;
    check_fits(config, t->problem, t->device);
  } else { /* both numbers */
    int numbers = 0;
    for (const char *c = reason; *c != '\0'; c++) {
      numbers += isdigit((unsigned char)*c) && !isalnum((unsigned char)c[-1]) && c[-1] != ',';
    }
    if (numbers < 2) fail_msg("a reason without two numbers: %s", reason);
  }
  return true;
}

static tally walk(const attune_problem *p, const attune_device *d, int family) {
  tally t = {.problem = p, .device = d};
  assert_int_equal(attune_space(p, d, family, visit, &t), ATTUNE_OK);
  return t;
}

static void test_everything_legal_fits(void **unused) {
  (void)unused;
  static const int head_dims[] = {8, 40, 64, 128, 256};
  for (size_t a = 0; a < sizeof all_archs / sizeof *all_archs; a++) {
    const attune_device d = device_of(all_archs[a]);
    for (size_t i = 0; i < sizeof head_dims / sizeof *head_dims; i++) {
      for (int mask = 0; mask < 2; mask++) {
        const attune_problem p = problem_of(head_dims[i], (attune_mask)mask);
        const tally t = walk(&p, &d, -1);
        assert_int_equal(t.count[ATTUNE_FAMILY_REFERENCE], 1);
        assert_int_equal(t.legal[ATTUNE_FAMILY_REFERENCE], 1);
        assert_true(t.legal[ATTUNE_FAMILY_MMA] > 100);
        assert_true(t.legal[ATTUNE_FAMILY_MMA] < t.count[ATTUNE_FAMILY_MMA]);
        assert_true(t.legal[ATTUNE_FAMILY_WGMMA] < t.count[ATTUNE_FAMILY_WGMMA]);
        assert_int_equal(t.legal[ATTUNE_FAMILY_WGMMA] > 100, d.arch == 90 || d.arch == 0);
        assert_int_equal(t.seen_order[ATTUNE_ORDER_LPT], mask == ATTUNE_MASK_CAUSAL);
      }
    }
  }
}

/* More memory, more legal configs; the enumeration itself does not depend on the device. */
static void test_counts(void **unused) {
  (void)unused;
  const attune_problem p = problem_of(128, ATTUNE_MASK_NONE);
  const attune_device d80 = device_of("sm_80"), d86 = device_of("sm_86"), d90 = device_of("sm_90"),
                      d120 = device_of("sm_120"), host = device_of("host");
  const tally t80 = walk(&p, &d80, ATTUNE_FAMILY_MMA), t86 = walk(&p, &d86, ATTUNE_FAMILY_MMA),
              t90 = walk(&p, &d90, ATTUNE_FAMILY_MMA), t120 = walk(&p, &d120, ATTUNE_FAMILY_MMA),
              thost = walk(&p, &host, ATTUNE_FAMILY_MMA);
  assert_int_equal(t80.count[ATTUNE_FAMILY_REFERENCE], 0);
  assert_int_equal(t80.count[ATTUNE_FAMILY_MMA], t90.count[ATTUNE_FAMILY_MMA]);
  assert_true(t86.legal[ATTUNE_FAMILY_MMA] < t80.legal[ATTUNE_FAMILY_MMA]);
  assert_true(t80.legal[ATTUNE_FAMILY_MMA] < t90.legal[ATTUNE_FAMILY_MMA]);
  assert_int_equal(t86.legal[ATTUNE_FAMILY_MMA], t120.legal[ATTUNE_FAMILY_MMA]);
  assert_int_equal(t90.legal[ATTUNE_FAMILY_MMA], thost.legal[ATTUNE_FAMILY_MMA]);
}

typedef struct {
  int left;
} countdown;
static bool stop_soon(void *user, const attune_config *config, bool legal, const char *reason) {
  (void)config;
  (void)legal;
  (void)reason;
  return --((countdown *)user)->left > 0;
}

static void test_stops(void **unused) {
  (void)unused;
  const attune_problem p = problem_of(64, ATTUNE_MASK_NONE);
  const attune_device d = device_of("sm_90");
  for (int n = 1; n < 4; n++) {
    countdown c = {n};
    assert_int_equal(attune_space(&p, &d, -1, stop_soon, &c), ATTUNE_OK);
    assert_int_equal(c.left, 0);
  }
  countdown c = {1};
  assert_int_equal(attune_space(&p, &d, ATTUNE_FAMILY_COUNT, stop_soon, &c), ATTUNE_BAD_ARGUMENT);
}

static void refuse(const char *text, const char *arch, const char *says) {
  attune_config config;
  const attune_device d = device_of(arch);
  if (attune_config_parse(&config, text) != ATTUNE_OK) fail_msg("%s", attune_message());
  assert_int_equal(attune_config_legal(&config, &d), ATTUNE_ILLEGAL_CONFIG);
  if (strstr(attune_message(), says) == NULL) fail_msg("\"%s\" does not say \"%s\"", attune_message(), says);
}

static void test_reasons(void **unused) {
  (void)unused;
  /* Q 128 x 272 bytes, K and V 2 x 64 x 272 each. */
  refuse("forward.mma.bf16.d128.m128.n64.w8.s2.b1", "sm_86",
         "needs 104,448 bytes of shared memory, this device allows 101,376");
  refuse("forward.mma.bf16.d128.m128.n64.w8.s3.b2", "sm_90",
         "needs 280,576 bytes of shared memory for 2 blocks on an SM, this device has 233,472");
  refuse("forward.mma.bf16.d256.m64.n64.w2.s1.b1", "sm_90", "a thread needs 320 registers for S, O and Q alone");
  refuse("forward.mma.bf16.d128.m128.n32.w8.s1.b4", "sm_90", "4 blocks of 256 threads leave it 64 of this SM's 65536");
  refuse("forward.mma.bf16.d64.m72.n64.w4.s1.b1", "sm_90", "tile_m is 72; with 4 warps it must be a multiple of 64");
  refuse("forward.mma.bf16.d64.m128.n64.w1.s1.b1", "sm_90", "gives a warp 128 rows, it holds 64");
  refuse("forward.mma.bf16.d64.m64.n40.w4.s1.b1", "sm_90", "tile_n is 40; it must be a multiple of 16");
  refuse("forward.mma.bf16.d64.m64.n272.w4.s1.b1", "sm_90", "tile_n is 272; family mma takes it from 16 to 256");
  refuse("forward.mma.bf16.d64.m64.n64.w4.s5.b1", "sm_90", "stages is 5; family mma takes it from 1 to 4");
  refuse("forward.mma.bf16.d64.m64.n64.w9.s1.b1", "sm_90", "warps is 9; family mma takes it from 1 to 8");
  refuse("forward.mma.bf16.d64.m64.n64.w4.s1.b0", "sm_90", "min_blocks_per_sm is 0");
  refuse("forward.mma.bf16.d16.m16.n16.w1.s1.b33", "sm_90", "an SM of this device holds from 1 to 32");
  refuse("forward.mma.bf16.d68.m64.n64.w4.s1.b1", "sm_90", "head_dim is 68; it must be a multiple of 8");
  refuse("forward.wgmma.bf16.d64.m64.n64.w8.s1.q_prefetch.b1", "sm_90",
         "q_prefetch is 1; family wgmma takes it from 0 to 0");
  refuse("forward.wgmma.bf16.d64.m64.n64.w8.s1.persistent_dynamic.c2.b1", "sm_90",
         "cluster is 2; it must be 1 with persistent 2");
  refuse("forward.reference.bf16.d64.m8.n32.w4.s1.b1", "sm_90", "tile_m is 8; family reference takes it from 4 to 4");
  refuse("forward.wgmma.bf16.d64.m64.n64.w8.s1.pingpong_softmax.b1", "sm_90",
         "pingpong is 2; family wgmma takes it from 0 to 0");
  refuse("forward.wgmma.bf16.d64.m64.n64.w8.s1.rescale_before_pv.b1", "sm_90", "rescale_before_pv is 1");
  refuse("forward.wgmma.bf16.d64.m64.n64.w8.s1.exp2_emulation17.b1", "sm_90",
         "exp2_emulation is 17; family wgmma takes it from 0 to 16");
  refuse("forward.wgmma.bf16.d64.m64.n64.w8.s1.pack_gqa3.b1", "sm_90", "pack_gqa is 3; it must be 1, 2, 4 or 8");
  refuse("forward.wgmma.bf16.d64.m64.n64.w8.s1.pack_gqa16.b1", "sm_90",
         "pack_gqa is 16; family wgmma takes it from 1 to 8");
  refuse("forward.wgmma.bf16.d64.block_mask64.m64.n64.w8.s1.pack_gqa2.b1", "sm_90",
         "pack_gqa is 2; it must be 1 with expressions");
  refuse("forward.wgmma.bf16.d64.m64.n64.w8.s1.c3.b1", "sm_90", "cluster is 3; family wgmma takes it from 1 to 2");
  refuse("forward.wgmma.bf16.d64.causal.m64.n64.w8.s1.c2.b1", "sm_90",
         "it must be 1 with a causal, window, expression or block mask");
  refuse("forward.wgmma.bf16.d64.block_mask64.m64.n64.w8.s1.c2.b1", "sm_90",
         "it must be 1 with a causal, window, expression or block mask");
  attune_config config;
  attune_device old = device_of("sm_80");
  old.arch = 75;
  assert_int_equal(attune_config_parse(&config, "forward.mma.bf16.d64.m64.n64.w4.s1.b1"), ATTUNE_OK);
  assert_int_equal(attune_config_legal(&config, &old), ATTUNE_ILLEGAL_CONFIG);
  assert_non_null(strstr(attune_message(), "needs sm_80 or later, this device is sm_75"));
  config.family = ATTUNE_FAMILY_COUNT;
  assert_int_equal(attune_config_legal(&config, &old), ATTUNE_ILLEGAL_CONFIG);
}

typedef struct {
  const attune_config *centre;
  int met, refined, rows_changed;
} surroundings;

static bool look_around(void *user, const attune_config *config, bool legal, const char *reason) {
  surroundings *s = user;
  (void)reason;
  assert_int_not_equal(attune_config_compare(config, s->centre), 0);
  s->met++;
  s->refined += attune_config_value(config, "pingpong") == ATTUNE_PINGPONG_SOFTMAX ||
                attune_config_value(config, "rescale_before_pv") || attune_config_value(config, "p_in_smem") ||
                attune_config_value(config, "o_staging") || attune_config_value(config, "exp2_emulation") > 0 ||
                config->persistent == ATTUNE_PERSISTENT_DYNAMIC || config->pack_gqa > 1;
  if (config->tile_m != s->centre->tile_m) {
    s->rows_changed++;
    assert_int_equal(config->warps, 4 * (config->tile_m / 64 + 1)); /* they follow */
    assert_int_equal(attune_config_value(config, "pingpong") == ATTUNE_PINGPONG_MMA, config->tile_m > 64);
  }
  if (config->tile_n % 32 != 0) assert_int_equal(attune_config_value(config, "half_tiles"), 0);
  if (!legal) assert_string_not_equal(reason, "");
  return true;
}

static void test_near(void **unused) {
  (void)unused;
  const attune_device d = device_of("sm_90");
  attune_config centre;
  surroundings s = {.centre = &centre};
  assert_int_equal(
      attune_config_parse(&centre,
                          "forward.wgmma.bf16.d64.causal.m128.n64.w12.s2.lazy.q_prefetch.intra_wg_overlap.pingpong_mma."
                          "half_tiles.persistent_static.reversed.b1"),
      ATTUNE_OK);
  attune_space_near(&centre, &d, look_around, &s);
  assert_int_equal(s.rows_changed, 2);
  assert_int_equal(s.refined, 11); /* tokens, before, ps, ob, ov, poly4, poly8, dynamic, pack2, pack4, pack8 */
  /* and tile_m 2, tile_n 13, stages 3, lazy, q_prefetch, intra_wg_overlap, no ping-pong, half_tiles, persistent_static,
   * lpt, b2 */
  assert_int_equal(s.met, s.refined + 26);
}

/* Packed heads make tiles of fewer queries, and fewer items; they must be there. */
static void test_packing(void **unused) {
  (void)unused;
  attune_problem p = problem_of(64, ATTUNE_MASK_NONE);
  attune_config config;
  attune_launch launch;
  p.batch = 3, p.heads_q = 16, p.heads_kv = 4, p.seqlen_q = 70;
  assert_int_equal(attune_config_parse(&config, "forward.wgmma.bf16.d64.m128.n64.w12.s2.pack_gqa4.b1"), ATTUNE_OK);
  assert_int_equal(attune_launch_of(&launch, &config, &p), ATTUNE_OK);
  assert_int_equal(launch.tiles_m, 3); /* of 32 queries */
  assert_int_equal(launch.grid, 3 * 4 * 3);
  p.heads_kv = 8;
  assert_int_equal(attune_launch_of(&launch, &config, &p), ATTUNE_ILLEGAL_CONFIG);
  assert_non_null(strstr(attune_message(), "pack_gqa is 4; it must divide the 2 query heads on a key head"));
}

/* Few queries leave a tile's rows to other heads of the group: the most that divide it. */
static void test_packing_by_default(void **unused) {
  (void)unused;
  const attune_device d = device_of("sm_90");
  attune_problem p = problem_of(128, ATTUNE_MASK_NONE);
  attune_config config;
  p.batch = 32, p.heads_q = 32, p.seqlen_q = 8, p.seqlen_k = 4096;
  static const struct { int heads_kv, packed; } groups[] = {{8, 4}, {4, 8}, {32, 1}, {1, 8}};
  for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
    p.heads_kv = groups[i].heads_kv;
    assert_int_equal(attune_config_default(&config, &p, &d), ATTUNE_OK);
    assert_int_equal(config.pack_gqa, groups[i].packed);
  }
  p.seqlen_q = 4096;
  assert_int_equal(attune_config_default(&config, &p, &d), ATTUNE_OK);
  assert_int_equal(config.pack_gqa, 1);
}

static void test_shared_bytes(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    int bytes;
  } cases[] = {
      {"forward.mma.bf16.d128.m128.n64.w4.s1.b1", 128 * 272 + 64 * 272 * 2},
      {"forward.mma.bf16.d64.v128.m64.n32.w4.s2.b1", 64 * 144 + 2 * 32 * (144 + 272)},
      {"forward.mma.bf16.d8.v256.m128.n16.w4.s1.b1", 128 * 528}, /* O is staged over all */
      {"forward.reference.bf16.d64.m4.n32.w4.s1.b1", 4608},
  };
  const attune_problem p = problem_of(64, ATTUNE_MASK_NONE);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_config config;
    attune_launch launch;
    assert_int_equal(attune_config_parse(&config, cases[i].text), ATTUNE_OK);
    assert_int_equal(attune_launch_of(&launch, &config, &p), ATTUNE_OK);
    assert_int_equal(launch.shared_bytes, cases[i].bytes);
  }
}

/* Whole clusters, also where the tiles of queries are odd in number or the SMs are. */
static void test_clusters(void **unused) {
  (void)unused;
  attune_problem p = problem_of(64, ATTUNE_MASK_NONE);
  p.batch = 7;
  p.heads_q = p.heads_kv = 3;
  p.seqlen_q = 130;
  attune_config config;
  attune_launch launch;
  assert_int_equal(attune_config_parse(&config, "forward.wgmma.bf16.d64.m64.n64.w8.s1.persistent_static.c2.b1"),
                   ATTUNE_OK);
  assert_int_equal(attune_launch_of(&launch, &config, &p), ATTUNE_OK);
  assert_int_equal(launch.tiles_m, 4);
  assert_int_equal(launch.grid, 84);
  static const int cases[][2] = {{1, 2}, {2, 2}, {33, 32}, {83, 82}, {84, 84}, {132, 84}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_device d = device_of("sm_90");
    d.sm_count = cases[i][0];
    assert_int_equal(attune_launch_blocks(&launch, &d), cases[i][1]);
  }
  config.cluster = 0;
  assert_int_equal(attune_launch_of(&launch, &config, &p), ATTUNE_ILLEGAL_CONFIG);
}

static bool count_clusters(void *user, const attune_config *config, bool legal, const char *reason) {
  (void)reason;
  *(int *)user += legal && config->cluster == 2;
  return true;
}

/* Tried around the best where all rows see the same keys. */
static void test_clusters_near(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    int clusters;
  } cases[] = {
      {"forward.wgmma.bf16.d64.m128.n64.w12.s2.lazy.q_prefetch.intra_wg_overlap.persistent_static.b1", 1},
      {"forward.wgmma.bf16.d64.causal.m128.n64.w12.s2.lazy.q_prefetch.intra_wg_overlap.persistent_static.reversed.b1",
       0},
      {"forward.wgmma.bf16.d64.block_mask128.m128.n64.w12.s2.lazy.b1", 0},
      {"forward.mma.bf16.d64.m128.n64.w4.s1.b1", 0}};
  const attune_device d = device_of("sm_90");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_config centre;
    int clusters = 0;
    assert_int_equal(attune_config_parse(&centre, cases[i].text), ATTUNE_OK);
    attune_space_near(&centre, &d, count_clusters, &clusters);
    assert_int_equal(clusters, cases[i].clusters);
  }
}

static void test_grid_overflow(void **unused) {
  (void)unused;
  attune_problem p = problem_of(64, ATTUNE_MASK_NONE);
  p.batch = INT32_MAX / 4;
  p.seqlen_q = 8;
  attune_config config;
  attune_launch launch;
  assert_int_equal(attune_config_parse(&config, "forward.reference.bf16.d64.m4.n32.w4.s1.b1"), ATTUNE_OK);
  assert_int_equal(attune_launch_of(&launch, &config, &p), ATTUNE_UNSUPPORTED);
  assert_non_null(strstr(attune_message(), "2147483647 blocks of a grid"));
}

static bool look_for_dynamic(void *user, const attune_config *config, bool legal, const char *reason) {
  (void)reason;
  bool *seen = user;
  if (legal && config->persistent == ATTUNE_PERSISTENT_DYNAMIC) seen[config->order] = true;
  return true;
}

/* Counting is tried where some tiles have more to do than others, whatever makes them. */
static void test_dynamic_where_uneven(void **unused) {
  (void)unused;
  static const struct {
    const char *before, *after;
    bool seen;
  } cases[] = {{"", "persistent_static.b1", false},
               {"", "b1", false},
               {"causal.", "persistent_static.lpt.b1", true},
               {"causal.", "lpt.b1", true},
               {"window.", "persistent_static.reversed.b1", true},
               {"mask_expr.x7.", "persistent_static.b1", true},
               {"block_mask128.", "persistent_static.b1", true}};
  const attune_device d = device_of("sm_90");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[ATTUNE_TEXT_MAX];
    attune_config config;
    bool seen[5] = {false};
    snprintf(text, sizeof text, "forward.wgmma.bf16.d128.%sm128.n64.w12.s2.lazy.%s", cases[i].before, cases[i].after);
    if (attune_config_parse(&config, text) != ATTUNE_OK) fail_msg("%s", attune_message());
    attune_space_near(&config, &d, look_for_dynamic, seen);
    assert_int_equal(seen[config.order], cases[i].seen);
  }
  /* The long ones first, in sections too. */
  attune_config config;
  bool seen[5] = {false};
  assert_int_equal(
      attune_config_parse(&config, "forward.wgmma.bf16.d128.causal.m128.n64.w12.s2.lazy.persistent_dynamic.lpt.b1"),
      ATTUNE_OK);
  attune_space_near(&config, &d, look_for_dynamic, seen);
  assert_true(seen[ATTUNE_ORDER_REVERSED] && seen[ATTUNE_ORDER_LPT] && seen[ATTUNE_ORDER_L2_SECTIONS]);
  assert_false(seen[ATTUNE_ORDER_LINEAR] || seen[ATTUNE_ORDER_HEADS]);
}

/* Blocks that go through many tiles are no more than an SM holds; where they count, they need a word for it. */
static void test_persistent_launch(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    int resident, blocks, workspace;
  } cases[] = {
      {"forward.wgmma.bf16.d64.m64.n64.w8.s1.b2", 0, 16 * 4 * 20, 0},
      {"forward.wgmma.bf16.d64.m64.n64.w8.s1.q_prefetch.persistent_static.b2", 2, 264, 0},
      {"forward.wgmma.bf16.d64.m64.n64.w8.s1.q_prefetch.persistent_dynamic.b2", 2, 264, 4},
  };
  const attune_device d = device_of("sm_90");
  attune_problem p = problem_of(64, ATTUNE_MASK_NONE);
  p.batch = 20;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_config config;
    attune_launch launch;
    assert_int_equal(attune_config_parse(&config, cases[i].text), ATTUNE_OK);
    assert_int_equal(attune_config_legal(&config, &d), ATTUNE_OK);
    assert_int_equal(attune_launch_of(&launch, &config, &p), ATTUNE_OK);
    assert_int_equal(launch.resident, cases[i].resident);
    assert_int_equal(attune_launch_blocks(&launch, &d), cases[i].blocks);
    attune_steps steps;
    attune_problem resolved;
    assert_int_equal(attune_problem_resolve(&resolved, &p), ATTUNE_OK);
    assert_int_equal(attune_steps_of(&steps, &config, &resolved), ATTUNE_OK);
    assert_int_equal(steps.workspace_bytes, cases[i].workspace);
  }
}

/* The default is legal for whatever problem on whatever device, and is the family that is fastest there. */
static void test_default(void **unused) {
  (void)unused;
  for (size_t a = 0; a < sizeof all_archs / sizeof *all_archs; a++) {
    const attune_device d = device_of(all_archs[a]);
    for (int head_dim = 8; head_dim <= 256; head_dim += 31 / 8 * 8 + 8) {
      attune_problem p = problem_of(head_dim, ATTUNE_MASK_CAUSAL);
      p.window_left = head_dim % 16 == 0 ? 100 : -1;
      p.head_dim_v = 264 - head_dim;
      attune_config config, again, reference;
      assert_int_equal(attune_config_default(&config, &p, &d), ATTUNE_OK);
      assert_int_equal(attune_config_default(&again, &p, &d), ATTUNE_OK);
      assert_memory_equal(&config, &again, sizeof config);
      assert_int_equal(config.family, d.arch == 90 || d.arch == 0 ? ATTUNE_FAMILY_WGMMA : ATTUNE_FAMILY_MMA);
      assert_int_equal(config.mask_bounds, attune_problem_mask_bounds(&p));
      assert_int_equal(attune_config_legal(&config, &d), ATTUNE_OK);
      assert_int_equal(attune_config_reference(&reference, &p), ATTUNE_OK);
      assert_int_equal(attune_config_legal(&reference, &d), ATTUNE_OK);
    }
  }
  attune_device old = device_of("sm_80");
  old.arch = 75;
  attune_config config;
  const attune_problem p = problem_of(64, ATTUNE_MASK_NONE);
  assert_int_equal(attune_config_default(&config, &p, &old), ATTUNE_OK);
  assert_int_equal(config.family, ATTUNE_FAMILY_REFERENCE);

  /* A broadcast batch, which no tensor map describes. */
  attune_device hopper = device_of("sm_90");
  attune_problem broadcast = problem_of(64, ATTUNE_MASK_NONE);
  broadcast.batch = 2;
  broadcast.k = (attune_strides){.batch = 0, .seqlen = 256, .heads = 64};
  assert_int_equal(attune_config_default(&config, &broadcast, &hopper), ATTUNE_OK);
  assert_int_equal(config.family, ATTUNE_FAMILY_MMA);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_everything_legal_fits),
      cmocka_unit_test(test_counts),
      cmocka_unit_test(test_stops),
      cmocka_unit_test(test_reasons),
      cmocka_unit_test(test_near),
      cmocka_unit_test(test_packing),
      cmocka_unit_test(test_shared_bytes),
      cmocka_unit_test(test_clusters),
      cmocka_unit_test(test_clusters_near),
      cmocka_unit_test(test_grid_overflow),
      cmocka_unit_test(test_dynamic_where_uneven),
      cmocka_unit_test(test_persistent_launch),
      cmocka_unit_test(test_default),
      cmocka_unit_test(test_packing_by_default),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
