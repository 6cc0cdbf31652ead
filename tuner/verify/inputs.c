/* The values of a problem's params, from flags, JSON and files. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/tuner.h"

void attune_inputs_values(attune_value out[ATTUNE_PARAMS_MAX], const attune_inputs *given) {
  for (int i = 0; i < ATTUNE_PARAMS_MAX; i++) {
    const void *array = given->params[i].array;
    if (array == NULL && given->params[i].count > 0) array = &given->elements[given->params[i].first];
    out[i] = (attune_value){array, given->params[i].count, given->params[i].integer, given->params[i].real};
  }
}

/* The place of the next param of that name and type. */
static attune_status declare(int *out, attune_problem *problem, const char *name, size_t length,
                             attune_param_type type) {
  int i = 0;
  while (i < ATTUNE_PARAMS_MAX && problem->params[i].type != ATTUNE_PARAM_NONE)
    i++;
  if (i == ATTUNE_PARAMS_MAX) return attune_fail(ATTUNE_BAD_ARGUMENT, "more than %d params", ATTUNE_PARAMS_MAX);
  if (length == 0 || length >= sizeof problem->params[i].name)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "param \"%.*s\": a name has from 1 to %zu letters", (int)length, name,
                       sizeof problem->params[i].name - 1);
  memcpy(problem->params[i].name, name, length);
  problem->params[i].name[length] = '\0';
  problem->params[i].type = type;
  *out = i;
  return ATTUNE_OK;
}

attune_status attune_inputs_array(attune_inputs *given, attune_problem *problem, const char *name,
                                  attune_param_type type, const void *array, int64_t count) {
  int place;
  const attune_status status = declare(&place, problem, name, strlen(name), type);
  if (status != ATTUNE_OK) return status;
  given->params[place].array = array;
  given->params[place].count = count;
  return ATTUNE_OK;
}

static attune_status bad_value(const char *text) {
  return attune_fail(ATTUNE_BAD_ARGUMENT,
                     "param \"%.80s\": expected name=3, name=0.5 or name=1,2,3 (a comma makes an array: name=1,)",
                     text);
}

attune_status attune_inputs_numbers(attune_inputs *given, attune_problem *problem, const char *name, size_t length,
                                    bool array, bool real, const double *numbers, int count) {
  int place;
  if (array && given->used + count > ATTUNE_GIVEN_ELEMENTS)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "param \"%.*s\": more than %d values in all; take a file's tensor",
                       (int)length, name, ATTUNE_GIVEN_ELEMENTS);
  const attune_param_type type = array ? (real ? ATTUNE_PARAM_FLOAT_ARRAY : ATTUNE_PARAM_INT_ARRAY)
                                       : (real ? ATTUNE_PARAM_FLOAT : ATTUNE_PARAM_INT);
  const attune_status status = declare(&place, problem, name, length, type);
  if (status != ATTUNE_OK) return status;
  if (!array && real) given->params[place].real = (float)numbers[0];
  if (!array && !real) given->params[place].integer = (int32_t)numbers[0];
  if (!array) return ATTUNE_OK;
  given->params[place].count = count;
  given->params[place].first = given->used;
  for (int i = 0; i < count; i++, given->used++) {
    if (real)
      given->elements[given->used].real = (float)numbers[i];
    else
      given->elements[given->used].integer = (int32_t)numbers[i];
  }
  return ATTUNE_OK;
}

attune_status attune_inputs_param(attune_inputs *given, attune_problem *problem, const char *text) {
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
      return attune_inputs_numbers(given, problem, text, length, true, real, numbers, count + 1); /* too many */
    numbers[count++] = value;
    at = *end == ',' ? end + 1 : end;
  }
  return attune_inputs_numbers(given, problem, text, length, strchr(equals, ',') != NULL, real, numbers, count);
}
