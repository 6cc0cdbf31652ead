/* Problems and configs as JSON. Keys are the fields' names; what a problem leaves out has its usual value: one batch,
 * one head, keys as many as queries, head_dim_v as head_dim. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "runtime/fail.h"
#include "tuner/flags.h"

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

static attune_status read_field(attune_problem *problem, const json_place *place) {
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
    if (!json_is_boolean(place->value))
      return attune_fail(ATTUNE_BAD_JSON, "%s: \"lse\" must be true or false", place->where);
    problem->want_lse = json_is_true(place->value);
  } else if (strcmp(place->key, "name") != 0) { /* a workload's; it says nothing about the problem */
    status =
        attune_fail(ATTUNE_BAD_JSON,
                    "%s: \"%.40s\" is no field of a problem; there are dtype, head_dim, head_dim_v, batch, heads_q, "
                    "heads_kv, seqlen_q, seqlen_k, mask, window, scale, softcap, lse and {q,k,v,o}_strides",
                    place->where, place->key);
  }
  return status;
}

attune_status attune_problem_of_json(attune_problem *out, json_t *object, const char *where) {
  attune_problem problem;
  attune_problem_init(&problem);
  problem.head_dim_v = problem.heads_kv = problem.seqlen_k = 0;
  if (!json_is_object(object)) return attune_fail(ATTUNE_BAD_JSON, "%s: a problem must be a JSON object", where);
  json_place place = {.where = where};
  json_object_foreach(object, place.key, place.value) {
    const attune_status status = read_field(&problem, &place);
    if (status != ATTUNE_OK) return status;
  }
  if (json_object_get(object, "head_dim_v") == NULL) problem.head_dim_v = problem.head_dim;
  if (json_object_get(object, "heads_kv") == NULL) problem.heads_kv = problem.heads_q;
  if (json_object_get(object, "seqlen_k") == NULL) problem.seqlen_k = problem.seqlen_q;
  const attune_status status = attune_problem_check(&problem);
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

static json_int_t window_side(int32_t side) {
  return side < 0 || side >= ATTUNE_UNBOUNDED ? -1 : side;
}

json_t *attune_problem_to_json(const attune_problem *problem) {
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
  return object;
}

json_t *attune_config_to_json(const attune_config *config) {
  json_t *object = json_object();
  for (int i = 0; i < attune_config_field_count; i++) {
    const attune_config_field *field = &attune_config_fields[i];
    int32_t value;
    memcpy(&value, (const char *)config + field->offset, sizeof value);
    json_object_set_new(object, field->name,
                        field->words != NULL ? json_string(field->words[value]) : json_integer(value));
  }
  return object;
}
