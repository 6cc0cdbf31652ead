/* Configs: the table of fields is the text, and every field changes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "generator/generator.h"
#include "tests/unit/store_renamed.h"

static const attune_config usual = {
    .family = ATTUNE_FAMILY_MMA,
    .dtype = ATTUNE_BF16,
    .head_dim = 128,
    .head_dim_v = 128,
    .mask_bounds = ATTUNE_MASK_BOUNDS_CAUSAL,
    .tile_m = 128,
    .tile_n = 64,
    .warps = 4,
    .stages = 1,
    .order = ATTUNE_ORDER_LPT,
    .pack_gqa = 1,
    .splits = 1,
    .cluster = 1,
    .min_blocks_per_sm = 2,
};

static void set_named(attune_config *config, const char *name, int32_t value) {
  const attune_config_field *field = attune_config_field_named(config->family, name);
  assert_non_null(field);
  attune_config_set(config, field, value);
}

static int32_t values_of(const attune_config_field *field) {
  int32_t count = 0;
  if (field->flag) return 2;
  if (field->words == NULL) return 300;
  while (field->words[count] != NULL)
    count++;
  return count;
}

static void check_round_trip(const attune_config *config) {
  char text[ATTUNE_TEXT_MAX], again[ATTUNE_TEXT_MAX];
  attune_config parsed;
  assert_int_equal(attune_config_print(text, config), ATTUNE_OK);
  if (attune_config_parse(&parsed, text) != ATTUNE_OK) fail_msg("%s", attune_message());
  assert_memory_equal(&parsed, config, sizeof parsed);
  assert_int_equal(attune_config_print(again, &parsed), ATTUNE_OK);
  assert_string_equal(again, text);
}

static void test_text(void **unused) {
  (void)unused;
  char text[ATTUNE_TEXT_MAX], symbol[ATTUNE_TEXT_MAX + 8];
  attune_config config = usual;
  assert_int_equal(attune_config_print(text, &config), ATTUNE_OK);
  assert_string_equal(text, "forward.mma.bf16.d128.causal.m128.n64.w4.s1.lpt.b2");
  assert_int_equal(attune_config_symbol(symbol, &config), ATTUNE_OK);
  assert_string_equal(symbol, "attune_forward_mma_bf16_d128_causal_m128_n64_w4_s1_lpt_b2");
  config.head_dim_v = 64;
  config.mask_bounds = ATTUNE_MASK_BOUNDS_WINDOW;
  config.score = ATTUNE_SCORE_SOFTCAP;
  config.lse = 1;
  set_named(&config, "q_in_regs", 1);
  config.lazy_rescale = 1;
  config.order = ATTUNE_ORDER_LINEAR;
  assert_int_equal(attune_config_print(text, &config), ATTUNE_OK);
  assert_string_equal(text, "forward.mma.bf16.d128.v64.window.softcap.lse.m128.n64.w4.s1.q_in_regs.lazy.b2");
}

/* What stores and workloads hold stays what it was. */
static void test_persistent_text(void **unused) {
  (void)unused;
  static const char *const texts[] = {
      "forward.wgmma.bf16.d128.m128.n128.w12.s2.lazy.q_prefetch.intra_wg_overlap.b1",
      "forward.wgmma.bf16.d128.m128.n128.w12.s2.lazy.q_prefetch.intra_wg_overlap.persistent_static.b1",
      "forward.wgmma.bf16.d128.m128.n128.w12.s2.lazy.q_prefetch.intra_wg_overlap.persistent_dynamic.lpt.b1"};
  for (int32_t i = ATTUNE_PERSISTENT_NONE; i <= ATTUNE_PERSISTENT_DYNAMIC; i++) {
    attune_config config;
    assert_int_equal(attune_config_parse(&config, texts[i]), ATTUNE_OK);
    assert_int_equal(config.persistent, i);
    check_round_trip(&config);
  }
}

/* No two fields of a family share a name or a place, and what follows from the problem comes first. */
static void test_tables_are_sound(void **unused) {
  (void)unused;
  for (int32_t family = 0; family <= ATTUNE_FAMILY_LAST; family++) {
    const int count = attune_config_field_count(family);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
      const attune_config_field *field = attune_config_field_at(family, i);
      assert_true(field->offset + sizeof(int32_t) <= sizeof(attune_config));
      assert_true(strlen(field->meaning) > 0);
      assert_true(field->schedule || i == 0 || !attune_config_field_at(family, i - 1)->schedule);
      assert_ptr_equal(attune_config_field_named(family, field->name), field);
      for (int j = 0; j < i; j++)
        assert_int_not_equal(attune_config_field_at(family, j)->offset, field->offset);
    }
    assert_null(attune_config_field_at(family, count));
    assert_null(attune_config_field_named(family, "no such field"));
  }
  assert_int_equal(attune_config_field_count(-1), 0);
  assert_int_equal(attune_config_value(&usual, "cluster_size"), 0);
  assert_int_equal(attune_config_value(&usual, "tile_n"), 64);
}

/* Every value of every field: round trip, another text, another symbol, another place in the order. */
static void check_fields_of(const char *usual_text) {
  attune_config base;
  char text[ATTUNE_TEXT_MAX], symbol[ATTUNE_TEXT_MAX + 8];
  assert_int_equal(attune_config_parse(&base, usual_text), ATTUNE_OK);
  assert_int_equal(attune_config_print(text, &base), ATTUNE_OK);
  assert_int_equal(attune_config_symbol(symbol, &base), ATTUNE_OK);
  for (int i = 0; i < attune_config_field_count(base.family); i++) {
    const attune_config_field *field = attune_config_field_at(base.family, i);
    for (int32_t value = 0; value < values_of(field); value++) {
      attune_config changed = base;
      attune_config_set(&changed, field, value);
      assert_int_equal(attune_config_get(&changed, field), value);
      check_round_trip(&changed);
      const bool same = value == attune_config_get(&base, field);
      char changed_text[ATTUNE_TEXT_MAX], changed_symbol[ATTUNE_TEXT_MAX + 8];
      assert_int_equal(attune_config_print(changed_text, &changed), ATTUNE_OK);
      assert_int_equal(attune_config_symbol(changed_symbol, &changed), ATTUNE_OK);
      assert_int_equal(strcmp(changed_text, text) == 0, same);
      assert_int_equal(strcmp(changed_symbol, symbol) == 0, same);
      assert_int_equal(attune_config_compare(&changed, &base) == 0, same);
      assert_int_equal(attune_config_compare(&changed, &base), -attune_config_compare(&base, &changed));
    }
  }
}

static void test_every_field_matters(void **unused) {
  (void)unused;
  check_fields_of("forward.mma.bf16.d128.causal.m128.n64.w4.s1.lpt.b2");
  check_fields_of("forward.wgmma.bf16.d128.m128.n128.w12.s2.lazy.q_prefetch.intra_wg_overlap.persistent_static.b1");
  check_fields_of("forward.reference.bf16.d64.m4.n32.w4.s1.b1");
  check_fields_of("combine.warp.bf16.v128.w4.split8");
  check_fields_of("block_mask.warp.block_mask64.w4");
}

static void test_random_round_trips(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int n = 0; n < 20000; n++) {
    attune_config config = {
        .family = n % ATTUNE_FAMILY_COUNT, .pack_gqa = 1, .splits = 1, .cluster = 1, .min_blocks_per_sm = 1};
    for (int i = 0; i < attune_config_field_count(config.family); i++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const int32_t random = (int32_t)(state >> 34);
      const attune_config_field *field = attune_config_field_at(config.family, i);
      attune_config_set(&config, field, random % (field->words == NULL && !field->flag ? INT32_MAX : values_of(field)));
    }
    check_round_trip(&config);
  }
}

/* Whatever is not printed is not parsed: every text with one character changed, added or taken either is canonical
 * itself or is refused. */
static void test_only_canonical_text(void **unused) {
  (void)unused;
  static const char base[] = "forward.mma.bf16.d128.v64.causal.negated.lse.m128.n64.w4.s1.q_in_regs.lazy.lpt.b2";
  static const char characters[] = ".0129 -+adfhlmnqrsvwxz,_";
  char text[sizeof base + 2], printed[ATTUNE_TEXT_MAX];
  attune_config config;
  assert_int_equal(attune_config_parse(&config, base), ATTUNE_OK);
  for (size_t at = 0; at < sizeof base; at++) {
    for (size_t c = 0; c < sizeof characters; c++) {
      for (int edit = 0; edit < 3; edit++) { /* put in the place of, insert, delete */
        const size_t skip = edit == 1 ? 0 : 1, put = edit == 2 ? 0 : 1;
        if (at + skip > sizeof base - 1 && skip > 0) continue;
        memcpy(text, base, at);
        if (put) text[at] = characters[c];
        strcpy(text + at + put, base + at + skip);
        if (attune_config_parse(&config, text) != ATTUNE_OK) {
          assert_non_null(strstr(attune_message(), "column"));
          continue;
        }
        assert_int_equal(attune_config_print(printed, &config), ATTUNE_OK);
        assert_string_equal(printed, text);
      }
    }
  }
}

static void test_refused(void **unused) {
  (void)unused;
  static const struct {
    const char *text, *says;
  } cases[] = {
      {"", "column 1: expected forward|combine|block_mask"},
      {"combine.mma", "column 9: expected warp"},
      {"forward", "column 8: expected reference|mma|wgmma"},
      {"forward.cutlass.bf16", "column 9: expected reference|mma|wgmma"},
      {"forward.mma.bf16.d128.m128.n64.w4.s1",
       "column 37: expected q_in_regs, lazy, reversed|heads|lpt|l2_sections, split<splits>, b<min_blocks_per_sm>"},
      {"forward.mma.bf16.d128.m128.n64.w4.s1.b2.", "column 41: expected the end"},
      {"forward.mma.bf16.d128.m128.n64.w4.s1.b2.b2", "column 41: expected the end"},
      {"forward.mma.bf16.d128.v128.m128.n64.w4.s1.b2", "column 23: leave this part out"},
      {"forward.mma.bf16.d128.none.m128.n64.w4.s1.b2", "column 23: leave this part out"},
      {"forward.mma.bf16.d128.m128.n64.w4.s1.linear.b2", "column 38: leave this part out"},
      {"forward.wgmma.bf16.d128.m128.n64.w12.s1.c1.b1", "column 41: leave this part out"},
      {"forward.mma.bf16.d128.m128.n64.w4.s1.none.b2", "column 38: expected q_in_regs, lazy"},
      {"forward.mma.bf16.d64.m64.n64.w4.s1.persistent_dynamic.b1",
       "column 36: expected"}, /* other families have these */
      {"forward.mma.bf16.d64.m64.n64.w4.s1.pack_gqa2.b1", "column 36: expected"},
      {"forward.wgmma.bf16.d128.m128.n64.w12.s1.persistent_none.b2", "column 41: leave this part out"},
      {"forward.mma.bf16.d0128.m128.n64.w4.s1.b2", "column 18: expected d<head_dim>"},
      {"forward.mma.bf16.d128.m128.n64.w4.s1.b4294967298", "column 38"},
      {"forward.mma.bf16.d128.m128.n64.w4.s1.b-1", "column 38"},
      {"Forward.mma.bf16.d128.m128.n64.w4.s1.b2", "column 1"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attune_config config;
    assert_int_equal(attune_config_parse(&config, cases[i].text), ATTUNE_BAD_CONFIG);
    if (strstr(attune_message(), cases[i].says) == NULL) fail_msg("%s: %s", cases[i].text, attune_message());
  }
  /* Values that have no text. */
  for (int i = 0; i < attune_config_field_count(usual.family); i++) {
    const attune_config_field *field = attune_config_field_at(usual.family, i);
    const int32_t bad[] = {-1, INT32_MIN, field->words != NULL || field->flag ? values_of(field) : -2};
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
      attune_config config = usual;
      char text[ATTUNE_TEXT_MAX];
      attune_config_set(&config, field, bad[b]);
      assert_int_equal(attune_config_print(text, &config), ATTUNE_BAD_CONFIG);
    }
  }
}

/* A config has no more of the problem than its operation needs. */
static void test_operations(void **unused) {
  (void)unused;
  attune_problem problem, mask, other;
  attune_config config, one, two;
  char text[ATTUNE_TEXT_MAX];
  attune_problem_init(&problem);
  problem.block_size = 64;
  problem.seqlen_q = problem.seqlen_k = 512;
  problem.mask = ATTUNE_MASK_CAUSAL;
  other = problem;
  other.dtype = ATTUNE_FP16;
  other.head_dim = other.head_dim_v = 256;
  other.softcap = 30;
  other.want_lse = other.want_sinks = 1;
  assert_int_equal(attune_config_block_mask(&one, &mask, &problem), ATTUNE_OK);
  assert_int_equal(attune_config_block_mask(&two, &mask, &other), ATTUNE_OK);
  assert_int_equal(attune_config_compare(&one, &two), 0);
  assert_int_equal(attune_config_print(text, &one), ATTUNE_OK);
  assert_string_equal(text, "block_mask.warp.causal.block_mask64.w4");
  assert_int_equal(attune_config_operation(&one), ATTUNE_OPERATION_BLOCK_MASK);
  assert_int_equal(
      attune_config_parse(&config, "forward.mma.bf16.d64.v128.window.softcap.lse.m128.n64.w4.s1.split8.b2"), ATTUNE_OK);
  assert_int_equal(attune_config_operation(&config), ATTUNE_OPERATION_FORWARD);
  attune_config_combine(&one, &config);
  assert_int_equal(attune_config_print(text, &one), ATTUNE_OK);
  assert_string_equal(text, "combine.warp.bf16.v128.lse.w4.split8");
  assert_string_equal(attune_operation_name(attune_config_operation(&one)), "combine");
  attune_steps *steps = malloc(sizeof *steps);
  assert_non_null(steps);
  assert_int_equal(attune_steps_of(steps, &one, &problem), ATTUNE_ILLEGAL_CONFIG);
  assert_non_null(strstr(attune_message(), "operation combine"));
  free(steps);
}

/* Texts of stores of earlier versions parse once they are renamed, and not before; those of today stay. */
static void test_renamed(void **unused) {
  (void)unused;
  for (int i = 0; i < RENAMED_ROWS; i++) {
    const renamed_row *row = &renamed_rows[i];
    char problem_text[ATTUNE_TEXT_MAX], config_text[ATTUNE_TEXT_MAX];
    attune_problem problem;
    attune_config config;
    assert_true(attune_text_renamed(problem_text, sizeof problem_text, row->problem));
    assert_true(attune_text_renamed(config_text, sizeof config_text, row->config));
    assert_string_equal(problem_text, row->problem_now);
    assert_string_equal(config_text, row->config_now);
    if (attune_problem_parse(&problem, problem_text) != ATTUNE_OK) fail_msg("%s", attune_message());
    if (attune_config_parse(&config, config_text) != ATTUNE_OK) fail_msg("%s", attune_message());
    if (strcmp(row->config, config_text) != 0)
      assert_int_equal(attune_config_parse(&config, row->config), ATTUNE_BAD_CONFIG);
    assert_true(attune_text_renamed(config_text, sizeof config_text, row->config_now));
    assert_string_equal(config_text, row->config_now);
    const size_t size = strlen(row->config_now);
    assert_false(attune_text_renamed(config_text, size, row->config));
    assert_true(attune_text_renamed(config_text, size + 1, row->config));
  }
  char text[64];
  assert_true(attune_text_renamed(text, sizeof text, "before.turns.list5"));
  assert_string_equal(text, "before.turns.list5"); /* none of ours */
  assert_true(attune_text_renamed(text, sizeof text, "forward.list.turns2.pack.pack0x.list64"));
  assert_string_equal(text, "forward.list.turns2.pack.pack0x.block_mask64");
  assert_true(attune_text_renamed(text, sizeof text, ""));
  assert_string_equal(text, "");
  assert_false(attune_text_renamed(text, 0, ""));
}

static void test_simplest_first(void **unused) {
  (void)unused;
  attune_config plain = usual, tricky = usual;
  set_named(&tricky, "q_in_regs", 1);
  tricky.tile_m = 64; /* smaller, but the trick weighs more */
  assert_true(attune_config_compare(&plain, &tricky) < 0);
  tricky = usual;
  plain.family = ATTUNE_FAMILY_REFERENCE;
  assert_true(attune_config_compare(&plain, &tricky) < 0);
}

static void test_of_problem(void **unused) {
  (void)unused;
  attune_problem p;
  attune_problem_init(&p);
  p.dtype = ATTUNE_FP16;
  p.head_dim = 72;
  p.head_dim_v = 40;
  p.seqlen_q = p.seqlen_k = 64;
  p.mask = ATTUNE_MASK_CAUSAL;
  p.window_left = 3;
  p.scale = -1;
  p.want_lse = 1;
  attune_config config, expected = {.family = ATTUNE_FAMILY_MMA,
                                    .dtype = ATTUNE_FP16,
                                    .head_dim = 72,
                                    .head_dim_v = 40,
                                    .mask_bounds = ATTUNE_MASK_BOUNDS_WINDOW,
                                    .score = ATTUNE_SCORE_NEGATED,
                                    .lse = 1,
                                    .pack_gqa = 1, /* family mma has no such fields */
                                    .cluster = 1};
  attune_config_of_problem(&config, ATTUNE_FAMILY_MMA, &p);
  assert_memory_equal(&config, &expected, sizeof config);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text),
      cmocka_unit_test(test_persistent_text),
      cmocka_unit_test(test_tables_are_sound),
      cmocka_unit_test(test_every_field_matters),
      cmocka_unit_test(test_random_round_trips),
      cmocka_unit_test(test_only_canonical_text),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_operations),
      cmocka_unit_test(test_renamed),
      cmocka_unit_test(test_simplest_first),
      cmocka_unit_test(test_of_problem),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
