/* Problems and configs as JSON. Keys are those of the table of problem fields; what a problem leaves out has its usual
 * value: one batch, one head, keys as many as queries, head_dim_v as head_dim. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/nearest.h"
#include "generator/base/status.h"
#include "tuner/files/problem_parts.h"

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

/* "a", "b" or "c" */
static void list_words(char *out, size_t size, const char *const *words) {
  size_t length = 0;
  out[0] = '\0';
  for (int i = 0; words[i] != NULL && length < size; i++) {
    const char *join = i == 0 ? "" : words[i + 1] != NULL ? ", " : " or ";
    length += (size_t)snprintf(out + length, size - length, "%s\"%s\"", join, words[i]);
  }
}

static attune_status read_word(int32_t *out, const json_place *place, const char *const *words) {
  const char *word = json_string_value(place->value);
  const int index = word == NULL ? -1 : attune_word_index(words, word);
  char choices[256], nearest[160] = "";
  if (index < 0) {
    list_words(choices, sizeof choices, words);
    if (word != NULL) attune_did_you_mean(nearest, word, words, "");
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be %s%s", place->where, place->key, choices, nearest);
  }
  *out = index;
  return ATTUNE_OK;
}

/* [left, right]; null or a negative number: unbounded. */
static attune_status read_window(int32_t sides[2], const json_place *place) {
  if (json_array_size(place->value) != 2)
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"window\" must be [left, right]", place->where);
  for (size_t i = 0; i < 2; i++) {
    const json_place side = {place->where, "window", json_array_get(place->value, i)};
    sides[i] = -1;
    if (json_is_null(side.value)) continue;
    const attune_status status = read_int32(&sides[i], &side);
    if (status != ATTUNE_OK) return status;
    if (sides[i] < 0) sides[i] = -1;
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

static attune_status read_text(const char **out, const json_place *place) {
  *out = json_string_value(place->value);
  if (*out != NULL && strlen(*out) < ATTUNE_EXPRESSION_MAX) return ATTUNE_OK;
  return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be a text of at most %d bytes", place->where, place->key,
                     ATTUNE_EXPRESSION_MAX - 1);
}

static attune_status read_flag(int32_t *out, const json_place *place) {
  if (!json_is_boolean(place->value))
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"%s\" must be true or false", place->where, place->key);
  *out = json_is_true(place->value);
  return ATTUNE_OK;
}

static attune_status read_param(attune_problem *problem, attune_inputs *inputs, const json_place *place) {
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
  return attune_inputs_numbers(inputs, problem, place->key, strlen(place->key), array, real, numbers, (int)count);
}

/* {"name": number or [numbers], ...} */
static attune_status read_params(attune_problem *problem, attune_inputs *inputs, const json_place *place) {
  json_place param = {.where = place->where};
  if (!json_is_object(place->value))
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"params\" must be an object of numbers and arrays of numbers",
                       place->where);
  json_object_foreach(place->value, param.key, param.value) {
    const attune_status status = read_param(problem, inputs, &param);
    if (status != ATTUNE_OK) return status;
  }
  return ATTUNE_OK;
}

/* A length for each sequence. */
static attune_status read_lengths(attune_inputs *inputs, attune_side side, const json_place *place) {
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
  return attune_inputs_set_seqlens(inputs, side, lengths, (int)count);
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

static attune_status read_expression(attune_problem *problem, attune_inputs *inputs, const json_place *place,
                                     attune_field_kind kind) {
  const char *text;
  const attune_status status = read_text(&text, place);
  if (status != ATTUNE_OK) return status;
  if (kind == ATTUNE_FIELD_PATTERN) return attune_problem_add_pattern(problem, inputs, text);
  if (text[0] == '\0') return ATTUNE_OK;
  return kind == ATTUNE_FIELD_MASK_EXPR ? attune_problem_add_mask(problem, inputs, text)
                                        : attune_problem_set_score(problem, inputs, text);
}

static attune_status read_field(attune_problem *problem, attune_inputs *inputs, const attune_problem_field *field,
                                const json_place *place) {
  char *member = (char *)problem + field->offset;
  int32_t integers[2] = {0};
  attune_strides strides;
  float real = 0;
  attune_status status;
  switch (field->kind) {
  case ATTUNE_FIELD_INT:
    status = read_int32(integers, place);
    break;
  case ATTUNE_FIELD_WORD:
    status = read_word(integers, place, field->words);
    break;
  case ATTUNE_FIELD_FLAG:
    status = read_flag(integers, place);
    break;
  case ATTUNE_FIELD_WINDOW:
    status = read_window(integers, place);
    if (status == ATTUNE_OK) memcpy(member, integers, sizeof integers);
    return status;
  case ATTUNE_FIELD_FLOAT:
    status = read_float(&real, place);
    if (status == ATTUNE_OK) memcpy(member, &real, sizeof real);
    return status;
  case ATTUNE_FIELD_STRIDES:
    status = read_strides(&strides, place);
    if (status == ATTUNE_OK) memcpy(member, &strides, sizeof strides);
    return status;
  case ATTUNE_FIELD_BIAS:
    return read_bias(problem, place);
  case ATTUNE_FIELD_PARAMS:
    return read_params(problem, inputs, place);
  default:
    return read_expression(problem, inputs, place, field->kind);
  }
  if (status == ATTUNE_OK) memcpy(member, integers, sizeof *integers);
  return status;
}

static attune_status unknown_key(const json_place *place) {
  const char *words[72];
  char keys[768] = "", nearest[160];
  int count = 0;
  for (int i = 0; i < attune_problem_field_count; i++)
    if (attune_problem_fields[i].json != NULL) words[count++] = attune_problem_fields[i].json;
  words[count++] = "seqlens_q";
  words[count++] = "seqlens_k";
  words[count] = NULL;
  for (int i = 0; i < count; i++)
    snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "%s%s", i > 0 ? ", " : "", words[i]);
  return attune_fail(ATTUNE_BAD_JSON, "%s: \"%.40s\" is no field of a problem%s; there are %s", place->where,
                     place->key, attune_did_you_mean(nearest, place->key, words, ""), keys);
}

static attune_status read_key(attune_problem *problem, attune_inputs *inputs, const json_place *place) {
  if (strcmp(place->key, "name") == 0) return ATTUNE_OK; /* a workload's; it says nothing about the problem */
  if (strcmp(place->key, "seqlens_q") == 0) return read_lengths(inputs, ATTUNE_QUERIES, place);
  if (strcmp(place->key, "seqlens_k") == 0) return read_lengths(inputs, ATTUNE_KEYS, place);
  for (int i = 0; i < attune_problem_field_count; i++) {
    const attune_problem_field *field = &attune_problem_fields[i];
    if (field->json != NULL && strcmp(place->key, field->json) == 0) return read_field(problem, inputs, field, place);
  }
  return unknown_key(place);
}

attune_status attune_problem_of_json(attune_problem *out, attune_inputs *inputs, json_t *object, const char *where) {
  attune_problem problem;
  memset(inputs, 0, sizeof *inputs);
  attune_problem_init(&problem);
  if (!json_is_object(object)) return attune_fail(ATTUNE_BAD_JSON, "%s: a problem must be a JSON object", where);
  json_place place = {.where = where};
  json_object_foreach(object, place.key, place.value) {
    const attune_status status = read_key(&problem, inputs, &place);
    if (status != ATTUNE_OK) return status;
  }
  for (int i = 0; i < attune_problem_field_count; i++) {
    const attune_problem_field *field = &attune_problem_fields[i];
    if (field->follows != NULL && json_object_get(object, field->json) == NULL)
      memcpy((char *)&problem + field->offset, (const char *)&problem + attune_problem_field_of(field->follows)->offset,
             sizeof(int32_t));
  }
  const attune_strides sizes = problem.bias;
  attune_status status =
      problem.want_bias ? attune_bias_of_sizes(&problem, sizes.batch, sizes.heads, sizes.seqlen) : ATTUNE_OK;
  if (status == ATTUNE_OK) status = attune_problem_check(&problem);
  if (status != ATTUNE_OK) return attune_fail(status, "%s: %s", where, attune_message());
  *out = problem;
  return ATTUNE_OK;
}

/* ---- writing ---- */

static json_t *strides_to_json(const attune_strides *strides) {
  if (strides->batch == 0 && strides->seqlen == 0 && strides->heads == 0) return NULL;
  return json_pack("[I,I,I]", (json_int_t)strides->batch, (json_int_t)strides->seqlen, (json_int_t)strides->heads);
}

static json_t *bias_to_json(const attune_problem *problem) {
  if (!problem->want_bias) return NULL;
  return json_pack("[i,i,i]", problem->bias.batch > 0 ? problem->batch : 1,
                   problem->bias.heads > 0 ? problem->heads_q : 1, problem->bias.seqlen > 0 ? problem->seqlen_q : 1);
}

static json_t *expression_to_json(const attune_problem *problem, const char *text) {
  if (text[0] == '\0') return NULL;
  if (attune_expression_is_unknown(text)) return json_sprintf("%s%d", text, problem->expression_hash);
  return json_string(text);
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

static json_t *params_to_json(const attune_problem *problem, const attune_inputs *inputs) {
  attune_value values[ATTUNE_PARAMS_MAX];
  if (inputs == NULL || problem->param_count == 0) return NULL;
  json_t *params = json_object();
  attune_inputs_values(values, inputs);
  for (int i = 0; i < problem->param_count; i++)
    json_object_set_new(params, problem->params[i].name, param_to_json(problem->params[i].type, &values[i]));
  return params;
}

static void write_lengths(json_t *object, const attune_inputs *inputs) {
  static const char *const keys[] = {"seqlens_q", "seqlens_k"};
  for (int side = 0; side < 2; side++) {
    const int32_t *lengths = attune_inputs_seqlens(inputs, (attune_side)side);
    if (lengths == NULL) continue;
    json_t *array = json_array();
    for (int32_t i = 0; i < inputs->seqlens[side].count; i++)
      json_array_append_new(array, json_integer(lengths[i]));
    json_object_set_new(object, keys[side], array);
  }
}

static json_int_t window_side(int32_t side) {
  return side < 0 || side >= ATTUNE_UNBOUNDED ? -1 : side;
}

/* A number that is its preset is left out unless JSON always has it. */
static json_t *number_to_json(const attune_problem_field *field, const void *member) {
  int32_t integer;
  float real;
  memcpy(&integer, member, sizeof integer);
  memcpy(&real, member, sizeof real);
  if (field->kind == ATTUNE_FIELD_FLOAT) {
    const bool usual = isnan(field->preset) ? !isfinite(real) : (double)real == field->preset;
    return usual && !field->json_always ? NULL : json_real((double)real);
  }
  if (!field->json_always && integer == (int32_t)field->preset) return NULL;
  if (field->kind == ATTUNE_FIELD_FLAG) return json_boolean(integer);
  return field->kind == ATTUNE_FIELD_WORD ? json_string(field->words[integer]) : json_integer(integer);
}

/* NULL where there is nothing to write. */
static json_t *field_to_json(const attune_problem_field *field, const attune_problem *problem,
                             const attune_inputs *inputs) {
  const void *member = (const char *)problem + field->offset;
  switch (field->kind) {
  case ATTUNE_FIELD_WINDOW:
    return json_pack("[I,I]", window_side(problem->window_left), window_side(problem->window_right));
  case ATTUNE_FIELD_STRIDES:
    return strides_to_json(member);
  case ATTUNE_FIELD_BIAS:
    return bias_to_json(problem);
  case ATTUNE_FIELD_PATTERN:
    return NULL;
  case ATTUNE_FIELD_MASK_EXPR:
    return expression_to_json(problem, attune_problem_mask_expr(problem));
  case ATTUNE_FIELD_SCORE_EXPR:
    return expression_to_json(problem, attune_problem_score_expr(problem));
  case ATTUNE_FIELD_PARAMS:
    return params_to_json(problem, inputs);
  default:
    return number_to_json(field, member);
  }
}

json_t *attune_problem_to_json(const attune_problem *problem, const attune_inputs *inputs) {
  json_t *object = json_object();
  for (int i = 0; i < attune_problem_field_count && object != NULL; i++) {
    const attune_problem_field *field = &attune_problem_fields[i];
    json_t *value = field->json != NULL ? field_to_json(field, problem, inputs) : NULL;
    if (value != NULL) json_object_set_new(object, field->json, value);
  }
  if (object != NULL && inputs != NULL) write_lengths(object, inputs);
  return object;
}

json_t *attune_config_to_json(const attune_config *config) {
  json_t *object = json_object();
  json_object_set_new(object, "operation", json_string(attune_operation_name(attune_config_operation(config))));
  json_object_set_new(object, "family", json_string(attune_family_name((attune_family)config->family)));
  for (int i = 0; i < attune_config_field_count(config->family); i++) {
    const attune_config_field *field = attune_config_field_at(config->family, i);
    const int32_t value = attune_config_get(config, field);
    json_object_set_new(object, field->name,
                        field->words != NULL ? json_string(field->words[value]) : json_integer(value));
  }
  return object;
}
