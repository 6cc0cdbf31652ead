/* Problems and configs as JSON. Keys are the fields' names; what a problem leaves out has its usual value: one batch,
 * one head, keys as many as queries, head_dim_v as head_dim. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/command/flags.h"

const char *const attune_dtype_words[] = {"fp16", "bf16", NULL};
const char *const attune_mask_words[] = {"none", "causal", "causal-bottom-right", NULL};

int attune_word_index(const char *const *words, const char *word) {
  for (int i = 0; words[i] != NULL; i++)
    if (strcmp(words[i], word) == 0) return i;
  return -1;
}

/* ---- reading ---- */

/* A key, its value and where they stand, for messages. */
typedef struct {
  const char *where, *key;
  json_t *value;
} json_place;

static attune_status read_integer(int64_t *out, const json_place *place, int64_t low, int64_t high) {
  const json_int_t value = json_integer_value(place->value);
  if (!json_is_integer(place->value))
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be an integer", place->where, place->key);
  if (value < low || value > high)
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" is %lld; it must be from %lld to %lld", place->where, place->key,
                       (long long)value, (long long)low, (long long)high);
  *out = value;
  return ATTUNE_OK;
}

static attune_status read_int32(int32_t *out, const json_place *place) {
  int64_t value = 0;
  const attune_status status = read_integer(&value, place, INT32_MIN, INT32_MAX);
  if (status == ATTUNE_OK) *out = (int32_t)value;
  return status;
}

static attune_status read_float(float *out, const json_place *place) {
  const float value = (float)json_number_value(place->value);
  if (!json_is_number(place->value) || !isfinite(value))
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be a number in the range of a float", place->where,
                       place->key);
  *out = value;
  return ATTUNE_OK;
}

static attune_status read_word(int *out, const json_place *place, const char *const *words, const char *choices) {
  const char *word = json_string_value(place->value);
  const int index = word == NULL ? -1 : attune_word_index(words, word);
  if (index < 0) return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be %s", place->where, place->key, choices);
  *out = index;
  return ATTUNE_OK;
}

/* [left, right]; null or a negative number: unbounded. */
static attune_status read_window(attune_problem *problem, const json_place *place) {
  int32_t *sides[] = {&problem->window_left, &problem->window_right};
  if (json_array_size(place->value) != 2)
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"window\" must be [left, right]", place->where);
  for (size_t i = 0; i < 2; i++) {
    const json_place side = {place->where, "window", json_array_get(place->value, i)};
    *sides[i] = -1;
    if (json_is_null(side.value)) continue;
    const attune_status status = read_int32(sides[i], &side);
    if (status != ATTUNE_OK) return status;
    if (*sides[i] < 0) *sides[i] = -1;
  }
  return ATTUNE_OK;
}

/* [batch, seqlen, heads], in elements. */
static attune_status read_strides(attune_strides *strides, const json_place *place) {
  int64_t *sides[] = {&strides->batch, &strides->seqlen, &strides->heads};
  if (json_array_size(place->value) != 3)
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be [batch, seqlen, heads], in elements", place->where,
                       place->key);
  for (size_t i = 0; i < 3; i++) {
    const json_place side = {place->where, place->key, json_array_get(place->value, i)};
    const attune_status status = read_integer(sides[i], &side, INT64_MIN, INT64_MAX);
    if (status != ATTUNE_OK) return status;
  }
  return ATTUNE_OK;
}

static attune_status read_text(char *out, size_t size, const json_place *place) {
  const char *text = json_string_value(place->value);
  if (text == NULL || strlen(text) >= size)
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be a text of at most %zu bytes", place->where, place->key,
                       size - 1);
  strcpy(out, text);
  return ATTUNE_OK;
}

static attune_status read_flag(int32_t *out, const json_place *place) {
  if (!json_is_boolean(place->value))
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be true or false", place->where, place->key);
  *out = json_is_true(place->value);
  return ATTUNE_OK;
}

static attune_status read_param(attune_problem *problem, attune_inputs *given, const json_place *place) {
  double numbers[ATTUNE_GIVEN_ELEMENTS];
  const bool array = json_is_array(place->value);
  const size_t count = array ? json_array_size(place->value) : 1;
  bool real = false, fits = count > 0 && count <= ATTUNE_GIVEN_ELEMENTS;
  for (size_t i = 0; i < count && fits; i++) {
    const json_t *number = array ? json_array_get(place->value, i) : place->value;
    numbers[i] = json_number_value(number);
    fits = json_is_number(number) && fabs(numbers[i]) <= 3.4e38;
    real = real || !json_is_integer(number) || numbers[i] < INT32_MIN || numbers[i] > INT32_MAX;
  }
  if (!fits)
    return attune_fail(ATTUNE_BAD_JSON,
                       "%s: param \"%.40s\" must be a number or an array of 1 to %d numbers, each a float's",
                       place->where, place->key, ATTUNE_GIVEN_ELEMENTS);
  return attune_inputs_numbers(given, problem, place->key, strlen(place->key), array, real, numbers, (int)count);
}

/* {"name": number or [numbers], ...} */
static attune_status read_params(attune_problem *problem, attune_inputs *given, const json_place *place) {
  json_place param = {.where = place->where};
  if (!json_is_object(place->value))
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"params\" must be an object of numbers and arrays of numbers",
                       place->where);
  json_object_foreach(place->value, param.key, param.value) {
    const attune_status status = read_param(problem, given, &param);
    if (status != ATTUNE_OK) return status;
  }
  return ATTUNE_OK;
}

/* A length for each sequence. */
static attune_status read_lengths(attune_inputs *given, attune_side side, const json_place *place) {
  int32_t lengths[ATTUNE_GIVEN_ELEMENTS];
  const size_t count = json_array_size(place->value);
  if (count == 0 || count > ATTUNE_GIVEN_ELEMENTS)
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be an array of 1 to %d lengths", place->where, place->key,
                       ATTUNE_GIVEN_ELEMENTS);
  for (size_t i = 0; i < count; i++) {
    int64_t length = 0;
    const json_place element = {place->where, place->key, json_array_get(place->value, i)};
    const attune_status status = read_integer(&length, &element, 0, INT32_MAX);
    if (status != ATTUNE_OK) return status;
    lengths[i] = (int32_t)length;
  }
  return attune_inputs_set_seqlens(given, side, lengths, (int)count);
}

/* [batch, heads, queries], each 1 or the problem's; strides once these are known. */
static attune_status read_bias(attune_problem *problem, const json_place *place) {
  const attune_status status = read_strides(&problem->bias, place);
  if (status != ATTUNE_OK)
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"bias\" must be [batch, heads, queries]", place->where);
  const int64_t heads = problem->bias.seqlen; /* read_strides has them as (batch, seqlen, heads) */
  problem->bias.seqlen = problem->bias.heads;
  problem->bias.heads = heads;
  problem->want_bias = 1;
  return ATTUNE_OK;
}

static attune_status read_field(attune_problem *problem, attune_inputs *given, const json_place *place) {
  const struct {
    const char *key;
    int32_t *field;
  } integers[] = {{"head_dim", &problem->head_dim}, {"head_dim_v", &problem->head_dim_v},
                  {"batch", &problem->batch},       {"heads_q", &problem->heads_q},
                  {"heads_kv", &problem->heads_kv}, {"seqlen_q", &problem->seqlen_q},
                  {"seqlen_k", &problem->seqlen_k}};
  const struct {
    const char *key;
    attune_strides *field;
  } strides[] = {
      {"q_strides", &problem->q}, {"k_strides", &problem->k}, {"v_strides", &problem->v}, {"o_strides", &problem->o}};
  for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
    if (strcmp(place->key, integers[i].key) == 0) return read_int32(integers[i].field, place);
  for (size_t i = 0; i < sizeof strides / sizeof *strides; i++)
    if (strcmp(place->key, strides[i].key) == 0) return read_strides(strides[i].field, place);

  attune_status status = ATTUNE_OK;
  char mask[ATTUNE_EXPRESSION_MAX], text[ATTUNE_EXPRESSION_MAX];
  int index = 0;
  if (strcmp(place->key, "dtype") == 0) {
    status = read_word(&index, place, attune_dtype_words, "\"fp16\" or \"bf16\"");
    if (status == ATTUNE_OK) problem->dtype = (attune_dtype)index;
  } else if (strcmp(place->key, "mask") == 0) {
    status = read_word(&index, place, attune_mask_words, "\"none\", \"causal\" or \"causal-bottom-right\"");
    if (status == ATTUNE_OK) problem->mask = (attune_mask)index;
  } else if (strcmp(place->key, "window") == 0) {
    status = read_window(problem, place);
  } else if (strcmp(place->key, "scale") == 0) {
    status = read_float(&problem->scale, place);
  } else if (strcmp(place->key, "softcap") == 0) {
    status = read_float(&problem->softcap, place);
  } else if (strcmp(place->key, "lse") == 0) {
    status = read_flag(&problem->want_lse, place);
  } else if (strcmp(place->key, "sinks") == 0) {
    status = read_flag(&problem->want_sinks, place);
  } else if (strcmp(place->key, "block_size") == 0) {
    status = read_int32(&problem->block_size, place);
  } else if (strcmp(place->key, "block_density") == 0) {
    status = read_float(&problem->block_density, place);
  } else if (strcmp(place->key, "mask_expr") == 0) {
    status = read_text(mask, sizeof mask, place);
    if (status == ATTUNE_OK && mask[0] != '\0') status = attune_problem_add_mask(problem, mask);
  } else if (strcmp(place->key, "pattern") == 0) {
    status = read_text(text, sizeof text, place);
    if (status == ATTUNE_OK) status = attune_pattern_expression(mask, text);
    if (status == ATTUNE_OK) status = attune_problem_add_mask(problem, mask);
  } else if (strcmp(place->key, "score_expr") == 0) {
    status = read_text(problem->score_expr, sizeof problem->score_expr, place);
  } else if (strcmp(place->key, "params") == 0) {
    status = read_params(problem, given, place);
  } else if (strcmp(place->key, "seqlens_q") == 0) {
    status = read_lengths(given, ATTUNE_QUERIES, place);
  } else if (strcmp(place->key, "seqlens_k") == 0) {
    status = read_lengths(given, ATTUNE_KEYS, place);
  } else if (strcmp(place->key, "bias") == 0) {
    status = read_bias(problem, place);
  } else if (strcmp(place->key, "name") != 0) { /* a workload's; it says nothing about the problem */
    status =
        attune_fail(ATTUNE_BAD_JSON,
                    "%s: \"%.40s\" is no field of a problem; there are dtype, head_dim, head_dim_v, batch, heads_q, "
                    "heads_kv, seqlen_q, seqlen_k, mask, window, scale, softcap, lse, pattern or mask_expr, "
                    "score_expr, params, bias, "
                    "sinks, seqlens_q, seqlens_k, block_size, block_density and {q,k,v,o}_strides",
                    place->where, place->key);
  }
  return status;
}

attune_status attune_problem_of_json(attune_problem *out, attune_inputs *given, json_t *object, const char *where) {
  attune_problem problem;
  memset(given, 0, sizeof *given);
  attune_problem_init(&problem);
  problem.head_dim_v = problem.heads_kv = problem.seqlen_k = 0;
  if (!json_is_object(object)) return attune_fail(ATTUNE_BAD_JSON, "%s: a problem must be a JSON object", where);
  json_place place = {.where = where};
  json_object_foreach(object, place.key, place.value) {
    const attune_status status = read_field(&problem, given, &place);
    if (status != ATTUNE_OK) return status;
  }
  if (json_object_get(object, "head_dim_v") == NULL) problem.head_dim_v = problem.head_dim;
  if (json_object_get(object, "heads_kv") == NULL) problem.heads_kv = problem.heads_q;
  if (json_object_get(object, "seqlen_k") == NULL) problem.seqlen_k = problem.seqlen_q;
  const attune_strides sizes = problem.bias;
  attune_status status =
      problem.want_bias ? attune_bias_of_sizes(&problem, sizes.batch, sizes.heads, sizes.seqlen) : ATTUNE_OK;
  if (status == ATTUNE_OK) status = attune_problem_check(&problem);
  if (status != ATTUNE_OK) return attune_fail(status, "%s: %s", where, attune_message());
  *out = problem;
  return ATTUNE_OK;
}

/* ---- writing ---- */

static void write_strides(json_t *object, const char *key, const attune_strides *strides) {
  if (strides->batch == 0 && strides->seqlen == 0 && strides->heads == 0) return;
  json_object_set_new(
      object, key,
      json_pack("[I,I,I]", (json_int_t)strides->batch, (json_int_t)strides->seqlen, (json_int_t)strides->heads));
}

static json_t *param_to_json(attune_param_type type, const attune_value *value) {
  if (type == ATTUNE_PARAM_INT) return json_integer(value->integer);
  if (type == ATTUNE_PARAM_FLOAT) return json_real((double)value->real);
  json_t *array = json_array();
  for (int64_t i = 0; i < value->count; i++)
    json_array_append_new(array, type == ATTUNE_PARAM_INT_ARRAY ? json_integer(((const int32_t *)value->array)[i])
                                                                : json_real((double)((const float *)value->array)[i]));
  return array;
}

static void write_expressions(json_t *object, const attune_problem *problem, const attune_inputs *given) {
  attune_value values[ATTUNE_PARAMS_MAX];
  if (problem->mask_expr[0] != '\0') json_object_set_new(object, "mask_expr", json_string(problem->mask_expr));
  if (problem->score_expr[0] != '\0') json_object_set_new(object, "score_expr", json_string(problem->score_expr));
  if (problem->want_sinks) json_object_set_new(object, "sinks", json_true());
  if (problem->block_size > 0) json_object_set_new(object, "block_size", json_integer(problem->block_size));
  if (problem->block_density > 0)
    json_object_set_new(object, "block_density", json_real((double)problem->block_density));
  if (problem->want_bias)
    json_object_set_new(object, "bias",
                        json_pack("[i,i,i]", problem->bias.batch > 0 ? problem->batch : 1,
                                  problem->bias.heads > 0 ? problem->heads_q : 1,
                                  problem->bias.seqlen > 0 ? problem->seqlen_q : 1));
  if (given == NULL || problem->params[0].type == ATTUNE_PARAM_NONE) return;
  json_t *params = json_object();
  attune_inputs_values(values, given);
  for (int i = 0; i < ATTUNE_PARAMS_MAX && problem->params[i].type != ATTUNE_PARAM_NONE; i++)
    json_object_set_new(params, problem->params[i].name, param_to_json(problem->params[i].type, &values[i]));
  json_object_set_new(object, "params", params);
}

static void write_lengths(json_t *object, const attune_inputs *given) {
  static const char *const keys[] = {"seqlens_q", "seqlens_k"};
  for (int side = 0; side < 2; side++) {
    const int32_t *lengths = attune_inputs_seqlens(given, (attune_side)side);
    if (lengths == NULL) continue;
    json_t *array = json_array();
    for (int32_t i = 0; i < given->seqlens[side].count; i++)
      json_array_append_new(array, json_integer(lengths[i]));
    json_object_set_new(object, keys[side], array);
  }
}

static json_int_t window_side(int32_t side) {
  return side < 0 || side >= ATTUNE_UNBOUNDED ? -1 : side;
}

json_t *attune_problem_to_json(const attune_problem *problem, const attune_inputs *given) {
  json_t *object = json_pack(
      "{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:[I,I], s:f, s:b}", "dtype", attune_dtype_words[problem->dtype],
      "head_dim", problem->head_dim, "head_dim_v", problem->head_dim_v, "batch", problem->batch, "heads_q",
      problem->heads_q, "heads_kv", problem->heads_kv, "seqlen_q", problem->seqlen_q, "seqlen_k", problem->seqlen_k,
      "mask", attune_mask_words[problem->mask], "window", window_side(problem->window_left),
      window_side(problem->window_right), "softcap", (double)problem->softcap, "lse", problem->want_lse);
  if (object == NULL) return NULL;
  if (isfinite(problem->scale)) json_object_set_new(object, "scale", json_real((double)problem->scale));
  write_strides(object, "q_strides", &problem->q);
  write_strides(object, "k_strides", &problem->k);
  write_strides(object, "v_strides", &problem->v);
  write_strides(object, "o_strides", &problem->o);
  write_expressions(object, problem, given);
  if (given != NULL) write_lengths(object, given);
  return object;
}

json_t *attune_config_to_json(const attune_config *config) {
  json_t *object = json_object();
  for (int i = 0; i < attune_config_field_count(config->family); i++) {
    const attune_config_field *field = attune_config_field_at(config->family, i);
    const int32_t value = attune_config_get(config, field);
    json_object_set_new(object, field->name,
                        field->words != NULL ? json_string(field->words[value]) : json_integer(value));
  }
  return object;
}
