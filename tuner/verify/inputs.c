/* What a kernel is inputs besides Q, K and V: values of params, and lengths of sequences, from flags, JSON and files.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/tuner.h"

void attune_inputs_values(attune_value out[ATTUNE_PARAMS_MAX], const attune_inputs *inputs) {
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++) {
    const void *array = inputs->params[i].array;
    if (array == NULL && inputs->params[i].count > 0) array = &inputs->elements[inputs->params[i].first];
    out[i] = (attune_value){.array = array,
                            .count = inputs->params[i].count,
                            .integer = inputs->params[i].integer,
                            .real = inputs->params[i].real};
  }
}

/* The place of the next param of that name and type. */
static attune_status declare(int *out, attune_inputs *inputs, attune_problem *problem, const char *name, size_t length,
                             attune_param_type type) {
  const int i = problem->param_count;
  if (i == ATTUNE_PARAMS_MAX) return attune_fail(ATTUNE_BAD_ARGUMENT, "more than %d params", ATTUNE_PARAMS_MAX);
  if (length == 0 || length >= sizeof inputs->names[i])
    return attune_fail(ATTUNE_BAD_ARGUMENT, "param \"%.*s\": a name has from 1 to %zu letters", (int)length, name,
                       sizeof inputs->names[i] - 1);
  memcpy(inputs->names[i], name, length);
  inputs->names[i][length] = '\0';
  inputs->declared[i].type = type;
  for (int j = 0; j <= i; j++) /* the inputs may be a copy */
    inputs->declared[j].name = inputs->names[j];
  problem->params = inputs->declared;
  problem->param_count = i + 1;
  *out = i;
  return ATTUNE_OK;
}

attune_status attune_inputs_array(attune_inputs *inputs, attune_problem *problem, const char *name,
                                  attune_param_type type, const void *array, int64_t count) {
  int place;
  const attune_status status = declare(&place, inputs, problem, name, strlen(name), type);
  if (status != ATTUNE_OK) return status;
  inputs->params[place].array = array;
  inputs->params[place].count = count;
  return ATTUNE_OK;
}

static attune_status bad_value(const char *text) {
  return attune_fail(ATTUNE_BAD_ARGUMENT,
                     "param \"%.80s\": expected name=3, name=0.5 or name=1,2,3 (a comma makes an array: name=1,)",
                     text);
}

attune_status attune_inputs_numbers(attune_inputs *inputs, attune_problem *problem, const char *name, size_t length,
                                    bool array, bool real, const double *numbers, int count) {
  int place;
  if (array && inputs->used + count > ATTUNE_GIVEN_ELEMENTS)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "param \"%.*s\": more than %d values in all; take a file's tensor",
                       (int)length, name, ATTUNE_GIVEN_ELEMENTS);
  const attune_param_type type = array ? (real ? ATTUNE_PARAM_FLOAT_ARRAY : ATTUNE_PARAM_INT_ARRAY)
                                       : (real ? ATTUNE_PARAM_FLOAT : ATTUNE_PARAM_INT);
  const attune_status status = declare(&place, inputs, problem, name, length, type);
  if (status != ATTUNE_OK) return status;
  if (!array && real) inputs->params[place].real = (float)numbers[0];
  if (!array && !real) inputs->params[place].integer = (int32_t)numbers[0];
  if (!array) return ATTUNE_OK;
  inputs->params[place].count = count;
  inputs->params[place].first = inputs->used;
  for (int i = 0; i < count; i++, inputs->used++) {
    if (real)
      inputs->elements[inputs->used].real = (float)numbers[i];
    else
      inputs->elements[inputs->used].integer = (int32_t)numbers[i];
  }
  return ATTUNE_OK;
}

attune_status attune_inputs_param(attune_inputs *inputs, attune_problem *problem, const char *text) {
  const char *equals = strchr(text, '=');
  double numbers[ATTUNE_GIVEN_ELEMENTS];
  int count = 0;
  bool real = false; /* any number of the list is no int */
  if (equals == NULL || equals[1] == '\0') return bad_value(text);
  const size_t length = (size_t)(equals - text);
  for (const char *at = equals + 1; *at != '\0';) {
    char *end, *integer_end;
    errno = 0;
    const double value = strtod(at, &end);
    const long long integer = strtoll(at, &integer_end, 10);
    if (end == at || (*end != ',' && *end != '\0') || !isfinite(value) || fabs(value) > 3.4e38) return bad_value(text);
    if (integer_end != end || integer < INT32_MIN || integer > INT32_MAX) real = true;
    if (count == ATTUNE_GIVEN_ELEMENTS)
      return attune_inputs_numbers(inputs, problem, text, length, true, real, numbers, count + 1); /* too many */
    numbers[count++] = value;
    at = *end == ',' ? end + 1 : end;
  }
  return attune_inputs_numbers(inputs, problem, text, length, strchr(equals, ',') != NULL, real, numbers, count);
}

/* ---- lengths ---- */

const int32_t *attune_inputs_seqlens(const attune_inputs *inputs, attune_side side) {
  if (inputs->seqlens[side].array != NULL) return inputs->seqlens[side].array;
  return inputs->seqlens[side].count > 0 ? &inputs->elements[inputs->seqlens[side].first].integer : NULL;
}

attune_status attune_inputs_set_seqlens(attune_inputs *inputs, attune_side side, const int32_t *lengths, int count) {
  static const char *const names[] = {"seqlens_q", "seqlens_k"};
  if (inputs->used + count > ATTUNE_GIVEN_ELEMENTS)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "%s: more than %d values in all", names[side], ATTUNE_GIVEN_ELEMENTS);
  for (int i = 0; i < count; i++)
    if (lengths[i] < 0)
      return attune_fail(ATTUNE_BAD_SIZE, "%s[%d] is %d; a length is 0 or more", names[side], i, lengths[i]);
  inputs->seqlens[side].array = NULL;
  inputs->seqlens[side].count = count;
  inputs->seqlens[side].first = inputs->used;
  for (int i = 0; i < count; i++)
    inputs->elements[inputs->used++].integer = lengths[i];
  return ATTUNE_OK;
}
