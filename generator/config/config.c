/* How a kernel computes it, as a value. The tables of fields drive everything here: the one below says what follows
 * from the problem, each family's file has the rows of its schedule. */
#include <stdio.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/base/text.h"
#include "generator/config/config.h"
#include "generator/families/family.h"

static const char *const dtype_words[] = {"fp16", "bf16", NULL};
static const char *const mask_bounds_words[] = {"none", "causal", "window", NULL};
static const char *const score_words[] = {"plain", "negated", "softcap", "expression", NULL};

#define AT(member) .name = #member, .offset = offsetof(attune_config, member)
enum {
  DTYPE,
  HEAD_DIM,
  HEAD_DIM_V,
  MASK_BOUNDS,
  SPARSE_BLOCK_SIZE,
  HAS_MASK_EXPR,
  SCORE,
  SINKS,
  EXPRESSION_HASH,
  LSE,
  DBIAS,
  DSINKS,
  DPARAMS,
  ACCUMULATE
};
static const attune_config_field of_problem[] = {
    [DTYPE] = {AT(dtype), .prefix = "", .absent = ATTUNE_NEVER_ABSENT, .words = dtype_words, .meaning = "element type"},
    [HEAD_DIM] = {AT(head_dim), .prefix = "d", .absent = ATTUNE_NEVER_ABSENT,
                  .meaning = "elements of a row of Q and K"},
    [HEAD_DIM_V] = {AT(head_dim_v), .prefix = "v", .absent = ATTUNE_ABSENT_AS_HEAD_DIM,
                    .meaning = "elements of a row of V and O"},
    [MASK_BOUNDS] = {AT(mask_bounds), .prefix = "", .absent = ATTUNE_MASK_BOUNDS_NONE, .words = mask_bounds_words,
                     .meaning = "which sides hide keys"},
    [SPARSE_BLOCK_SIZE] = {AT(sparse_block_size), .prefix = "block_mask", .absent = 0,
                           .meaning = "queries and keys of a block of the block mask"},
    [HAS_MASK_EXPR] = {AT(has_mask_expr), .prefix = "mask_expr", .absent = 0, .flag = true,
                       .meaning = "a mask expression chooses tiles and keys"},
    [SCORE] = {AT(score), .prefix = "", .absent = ATTUNE_SCORE_PLAIN, .words = score_words,
               .meaning = "from score to exponent"},
    [SINKS] = {AT(sinks), .prefix = "sinks", .absent = 0, .flag = true,
               .meaning = "each head has one more key without a value"},
    [EXPRESSION_HASH] = {AT(expression_hash), .prefix = "x", .absent = 0,
                         .meaning = "hash of the expressions that are compiled in"},
    [LSE] = {AT(lse), .prefix = "lse", .absent = 0, .flag = true,
             .meaning = "also writes the log-sum-exp of every row"},
    [DBIAS] = {AT(dbias), .prefix = "dbias", .absent = 0, .flag = true, .meaning = "also the gradient of the bias"},
    [DSINKS] = {AT(dsinks), .prefix = "dsinks", .absent = 0, .flag = true, .meaning = "also the gradient of the sinks"},
    [DPARAMS] = {AT(dparams), .prefix = "dparams", .absent = 0, .flag = true,
                 .meaning = "also the gradients of arrays of floats that the expression reads"},
    [ACCUMULATE] = {AT(accumulate), .prefix = "accumulate", .absent = 0, .flag = true,
                    .meaning = "gradients are added to what their memory holds"},
};
#undef AT

/* What of the problem each operation depends on. */
#define FIELDS(list) .fields = list, .count = sizeof list / sizeof *list
static const unsigned char of_forward[] = {DTYPE,         HEAD_DIM, HEAD_DIM_V, MASK_BOUNDS,     SPARSE_BLOCK_SIZE,
                                           HAS_MASK_EXPR, SCORE,    SINKS,      EXPRESSION_HASH, LSE},
                           of_combine[] = {DTYPE, HEAD_DIM_V, SINKS, LSE},
                           of_block_mask[] = {MASK_BOUNDS, SPARSE_BLOCK_SIZE, HAS_MASK_EXPR, EXPRESSION_HASH},
                           of_backward[] = {DTYPE,         HEAD_DIM,  HEAD_DIM_V,      MASK_BOUNDS, SPARSE_BLOCK_SIZE,
                                            HAS_MASK_EXPR, SCORE,     EXPRESSION_HASH, DBIAS,       DSINKS,
                                            DPARAMS,       ACCUMULATE},
                           of_dq[] = {DTYPE,         HEAD_DIM, HEAD_DIM_V,      MASK_BOUNDS, SPARSE_BLOCK_SIZE,
                                      HAS_MASK_EXPR, SCORE,    EXPRESSION_HASH, ACCUMULATE},
                           of_dbias[] = {DTYPE,         HEAD_DIM, HEAD_DIM_V,      MASK_BOUNDS, SPARSE_BLOCK_SIZE,
                                         HAS_MASK_EXPR, SCORE,    EXPRESSION_HASH, DBIAS,       DPARAMS,
                                         ACCUMULATE},
                           of_delta[] = {DTYPE, HEAD_DIM_V, DPARAMS, ACCUMULATE}, of_dsinks[] = {ACCUMULATE};
static const struct {
  const char *name;
  const unsigned char *fields;
  int count;
} operations[ATTUNE_OPERATION_COUNT] = {
    [ATTUNE_OPERATION_FORWARD] = {"forward", FIELDS(of_forward)},
    [ATTUNE_OPERATION_COMBINE] = {"combine", FIELDS(of_combine)},
    [ATTUNE_OPERATION_BLOCK_MASK] = {"block_mask", FIELDS(of_block_mask)},
    [ATTUNE_OPERATION_BACKWARD] = {"backward", FIELDS(of_backward)},
    [ATTUNE_OPERATION_DELTA] = {"delta", FIELDS(of_delta)},
    [ATTUNE_OPERATION_DQ] = {"dq", FIELDS(of_dq)},
    [ATTUNE_OPERATION_DBIAS] = {"dbias", FIELDS(of_dbias)},
    [ATTUNE_OPERATION_DSINKS] = {"dsinks", FIELDS(of_dsinks)},
};
#undef FIELDS

const char *attune_operation_name(attune_kernel_operation operation) {
  return operation < ATTUNE_OPERATION_COUNT ? operations[operation].name : "unknown";
}

int attune_config_field_count(int32_t family) {
  const attune_family_row *row = attune_family_find(family);
  return row != NULL ? operations[row->operation].count + row->schedule_count : 0;
}

const attune_config_field *attune_config_field_at(int32_t family, int index) {
  const attune_family_row *row = attune_family_find(family);
  if (row == NULL || index < 0) return NULL;
  const int computed = operations[row->operation].count;
  if (index < computed) return &of_problem[operations[row->operation].fields[index]];
  return index - computed < row->schedule_count ? &row->schedule[index - computed] : NULL;
}

const attune_config_field *attune_config_field_named(int32_t family, const char *name) {
  for (int i = 0; i < attune_config_field_count(family); i++)
    if (strcmp(attune_config_field_at(family, i)->name, name) == 0) return attune_config_field_at(family, i);
  return NULL;
}

int32_t attune_config_get(const attune_config *config, const attune_config_field *field) {
  int32_t value;
  memcpy(&value, (const char *)config + field->offset, sizeof value);
  return value;
}

void attune_config_set(attune_config *config, const attune_config_field *field, int32_t value) {
  memcpy((char *)config + field->offset, &value, sizeof value);
}

int32_t attune_config_value(const attune_config *config, const char *name) {
  const attune_config_field *field = attune_config_field_named(config->family, name);
  return field != NULL ? attune_config_get(config, field) : 0;
}

static int32_t absent_value(const attune_config *config, const attune_config_field *field) {
  return field->absent == ATTUNE_ABSENT_AS_HEAD_DIM ? config->head_dim : field->absent;
}

/* ---- text ---- */

static int word_count(const char *const *words) {
  int count = 0;
  while (words[count] != NULL)
    count++;
  return count;
}

static attune_status print_field(char *out, size_t size, const attune_config_field *field, int32_t value) {
  const int32_t limit = field->words != NULL ? word_count(field->words) - 1 : field->flag ? 1 : INT32_MAX;
  if (value < 0 || value > limit) {
    return attune_fail(ATTUNE_BAD_CONFIG, "config field %s is %d; it must be from 0 to %d", field->name, value, limit);
  }
  if (field->words != NULL) {
    snprintf(out, size, ".%s%s", field->prefix, field->words[value]);
  } else if (field->flag) {
    snprintf(out, size, ".%s", field->prefix);
  } else {
    snprintf(out, size, ".%s%d", field->prefix, value);
  }
  return ATTUNE_OK;
}

attune_status attune_config_print(char out[ATTUNE_TEXT_MAX], const attune_config *config) {
  if (out == NULL || config == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "config text: null pointer");
  char text[ATTUNE_TEXT_MAX];
  const attune_family_row *family = attune_family_find(config->family);
  if (family == NULL)
    return attune_fail(ATTUNE_BAD_CONFIG, "config field family is %d; it must be from 0 to %d", config->family,
                       ATTUNE_FAMILY_LAST);
  size_t length = (size_t)snprintf(text, sizeof text, "%s.%s", operations[family->operation].name, family->name);
  const int count = attune_config_field_count(config->family);
  for (int i = 0; i < count; i++) {
    const attune_config_field *field = attune_config_field_at(config->family, i);
    const int32_t value = attune_config_get(config, field);
    if (field->absent != ATTUNE_NEVER_ABSENT && value == absent_value(config, field)) continue;
    const attune_status status = print_field(text + length, sizeof text - length, field, value);
    if (status) return status;
    length += strlen(text + length);
  }
  memcpy(out, text, length + 1);
  return ATTUNE_OK;
}

/* What may stand where a field stands, for the message of a refusal. */
static void describe_field(char *out, size_t size, const attune_config_field *field) {
  if (field->words == NULL) {
    snprintf(out, size, field->flag ? "%s" : "%s<%s>", field->prefix, field->name);
    return;
  }
  size_t length = 0;
  for (int32_t i = 0; field->words[i] != NULL; i++) {
    if (i == field->absent) continue;
    length +=
        (size_t)snprintf(out + length, size - length, "%s%s%s", length > 0 ? "|" : "", field->prefix, field->words[i]);
  }
}

static attune_status bad_config(const attune_text *text, int32_t family, int first, int last) {
  char expected[256] = "";
  for (int i = first; i <= last && i < attune_config_field_count(family); i++) {
    char one[64];
    describe_field(one, sizeof one, attune_config_field_at(family, i));
    const size_t length = strlen(expected);
    snprintf(expected + length, sizeof expected - length, "%s%s", length > 0 ? ", " : "", one);
  }
  return attune_fail(ATTUNE_BAD_CONFIG, "config \"%.160s\", column %d: expected %s", text->start,
                     attune_text_column(text), expected[0] != '\0' ? expected : "the end");
}

static bool parse_field(attune_text *text, const attune_config_field *field, int32_t *value) {
  if (field->words != NULL) return attune_text_one_of(text, field->prefix, field->words, value);
  if (!field->flag) return attune_text_number(text, field->prefix, value);
  if (!attune_text_word(text, field->prefix)) return false;
  *value = 1;
  return true;
}

/* Operation and family, which decide what follows. */
static attune_status parse_family(attune_text *text, int32_t *family) {
  char expected[256] = "";
  const attune_text begin = *text;
  bool known = false; /* the operation */
  for (*family = 0; *family <= ATTUNE_FAMILY_LAST; ++*family) {
    const attune_family_row *row = attune_family_find(*family);
    attune_text rest = begin;
    if (!attune_text_word(&rest, operations[row->operation].name)) continue;
    if (!known) *text = rest;
    known = true;
    if (attune_text_word(&rest, row->name)) {
      *text = rest;
      return ATTUNE_OK;
    }
    const size_t length = strlen(expected);
    snprintf(expected + length, sizeof expected - length, "%s%s", length > 0 ? "|" : "", row->name);
  }
  for (int i = 0; i < ATTUNE_OPERATION_COUNT && !known; i++) {
    const size_t length = strlen(expected);
    snprintf(expected + length, sizeof expected - length, "%s%s", length > 0 ? "|" : "", operations[i].name);
  }
  return attune_fail(ATTUNE_BAD_CONFIG, "config \"%.160s\", column %d: expected %s", text->start,
                     attune_text_column(text), expected);
}

attune_status attune_config_parse(attune_config *out, const char *config_text) {
  if (out == NULL || config_text == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "config text: null pointer");
  attune_config config = {0};
  attune_text text = attune_text_of(config_text);
  const attune_status found = parse_family(&text, &config.family);
  if (found != ATTUNE_OK) return found;
  int first_possible = 0; /* the fields that could have stood here */
  for (int i = 0; i < attune_config_field_count(config.family); i++) {
    const attune_config_field *field = attune_config_field_at(config.family, i);
    const int32_t absent = absent_value(&config, field);
    const attune_text before = text;
    int32_t value = absent;
    if (parse_field(&text, field, &value)) {
      if (value == absent) {
        return attune_fail(ATTUNE_BAD_CONFIG, "config \"%.160s\", column %d: leave this part out: it is %s's default",
                           config_text, attune_text_column(&before), field->name);
      }
      first_possible = i + 1;
    } else if (absent == ATTUNE_NEVER_ABSENT) {
      return bad_config(&text, config.family, first_possible, i);
    }
    attune_config_set(&config, field, value);
  }
  if (!attune_text_done(&text))
    return bad_config(&text, config.family, first_possible, attune_config_field_count(config.family) - 1);
  attune_config_complete(&config);
  *out = config;
  return ATTUNE_OK;
}

attune_status attune_config_symbol(char out[ATTUNE_TEXT_MAX + 8], const attune_config *config) {
  if (out == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "the place for the kernel's symbol is a null pointer");
  char text[ATTUNE_TEXT_MAX];
  const attune_status status = attune_config_print(text, config);
  if (status) return status;
  for (char *c = text; *c != '\0'; c++) {
    if (*c == '.') *c = '_';
  }
  snprintf(out, ATTUNE_TEXT_MAX + 8, "attune_%s", text);
  return ATTUNE_OK;
}

/* ---- values ---- */

static int compare_field(const attune_config *a, const attune_config *b, const attune_config_field *field) {
  const int32_t x = attune_config_get(a, field), y = attune_config_get(b, field);
  return (x > y) - (x < y);
}

/* What is computed first, as the table has it; then the schedule from its last field to its first, since the later ones
 * are the tricks and the earlier ones only sizes. */
int attune_config_compare(const attune_config *a, const attune_config *b) {
  if (a->family != b->family) return a->family < b->family ? -1 : 1;
  const int count = attune_config_field_count(a->family);
  for (int i = 0; i < count; i++) {
    const attune_config_field *field = attune_config_field_at(a->family, i);
    const int order = field->schedule ? 0 : compare_field(a, b, field);
    if (order != 0) return order;
  }
  for (int i = count - 1; i >= 0; i--) {
    const attune_config_field *field = attune_config_field_at(a->family, i);
    const int order = field->schedule ? compare_field(a, b, field) : 0;
    if (order != 0) return order;
  }
  return 0;
}

/* Of the shared fields, those that a family's table lacks are what they are without it. */
void attune_config_complete(attune_config *config) {
  if (attune_config_field_named(config->family, "pack_gqa") == NULL) config->pack_gqa = 1;
  if (attune_config_field_named(config->family, "cluster") == NULL) config->cluster = 1;
  if (attune_config_field_named(config->family, "splits") == NULL) config->splits = 1;
  if (attune_config_field_named(config->family, "min_blocks_per_sm") == NULL) config->min_blocks_per_sm = 1;
}

/* What follows from the problem, as another config has it. */
static void take_computed(attune_config *out, const attune_config *from) {
  const attune_config_field *field;
  for (int i = 0; (field = attune_config_field_at(out->family, i)) != NULL && !field->schedule; i++)
    attune_config_set(out, field, attune_config_get(from, field));
}

void attune_config_of_problem(attune_config *out, attune_family family, const attune_problem *problem) {
  const attune_config all = {
      .dtype = (int32_t)problem->dtype,
      .head_dim = problem->head_dim,
      .head_dim_v = problem->head_dim_v,
      .mask_bounds = (int32_t)attune_problem_mask_bounds(problem),
      .sparse_block_size = problem->block_size,
      .has_mask_expr = attune_problem_has_mask_expr(problem),
      .score = (int32_t)attune_problem_score(problem),
      .sinks = problem->want_sinks,
      .expression_hash = attune_problem_expression_hash(problem),
      .lse = problem->want_lse,
      .dbias = problem->want_dbias,
      .dsinks = problem->want_dsinks,
      .dparams = problem->want_dparams,
      .accumulate = problem->accumulate,
  };
  *out = (attune_config){.family = (int32_t)family};
  take_computed(out, &all);
  attune_config_complete(out);
}

void attune_config_dq(attune_config *out, const attune_config *config) {
  attune_config dq = {.family = ATTUNE_FAMILY_DQ_REFERENCE};
  take_computed(&dq, config);
  attune_family_find(config->family)->dq(&dq, config);
  attune_config_complete(&dq);
  *out = dq;
}

void attune_config_beside(attune_config *out, int32_t family, const attune_config *config) {
  attune_config beside = {.family = family};
  const attune_config_field *field;
  take_computed(&beside, config);
  for (int i = 0; (field = attune_config_field_at(family, i)) != NULL; i++)
    if (field->schedule) attune_config_set(&beside, field, field->low);
  attune_config_complete(&beside);
  *out = beside;
}

attune_status attune_config_fits(const attune_config *config, const attune_problem *problem) {
  attune_config wanted;
  const attune_kernel_operation operation = attune_config_operation(config), needed = attune_problem_operation(problem);
  if (operation != needed && (operation == ATTUNE_OPERATION_FORWARD || operation == ATTUNE_OPERATION_BACKWARD))
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "the config is of operation %s, the problem of %s; name a config for this problem",
                       attune_operation_name(operation), attune_operation_name(needed));
  attune_config_of_problem(&wanted, (attune_family)config->family, problem);
  const attune_config_field *field;
  for (int i = 0; (field = attune_config_field_at(config->family, i)) != NULL && !field->schedule; i++) {
    const int32_t has = attune_config_get(config, field), needs = attune_config_get(&wanted, field);
    if (has == needs) continue;
    if (field->words != NULL)
      return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                         "the config is for %s %s, the problem has %s; name a config for this problem", field->name,
                         field->words[has], field->words[needs]);
    return attune_fail(ATTUNE_ILLEGAL_CONFIG,
                       "the config is for %s %d, the problem has %d; name a config for this problem", field->name, has,
                       needs);
  }
  return ATTUNE_OK;
}

void attune_config_for_problem(attune_config *out, const attune_config *config, const attune_problem *problem) {
  attune_config result = *config, wanted;
  attune_config_of_problem(&wanted, (attune_family)config->family, problem);
  take_computed(&result, &wanted);
  *out = result;
}
