/* What is to be computed, as a value: each function here walks the table of fields. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "generator/base/sized.h"
#include "generator/base/status.h"
#include "generator/problem/rules.h"

/* Bytes of the struct in its first version. */
enum { FIRST_SIZE = 232 };
_Static_assert(sizeof(attune_problem) >= FIRST_SIZE, "a struct only grows");

static const void *place_of(const attune_problem_field *field, const attune_problem *problem) {
  return (const char *)problem + field->offset;
}

static int32_t int_of(const attune_problem_field *field, const attune_problem *problem) {
  int32_t value;
  memcpy(&value, place_of(field, problem), sizeof value);
  return value;
}

static void set_int(const attune_problem_field *field, attune_problem *problem, int32_t value) {
  memcpy((char *)problem + field->offset, &value, sizeof value);
}

/* ---- defaults ---- */

static void set_defaults(attune_problem *problem) {
  *problem = (attune_problem){.struct_size = sizeof *problem};
  for (int i = 0; i < attune_problem_field_count; i++) {
    const attune_problem_field *field = &attune_problem_fields[i];
    const float real = (float)field->preset;
    if (field->kind == ATTUNE_FIELD_FLOAT)
      memcpy((char *)problem + field->offset, &real, sizeof real);
    else if (field->kind == ATTUNE_FIELD_INT || field->kind == ATTUNE_FIELD_WORD || field->kind == ATTUNE_FIELD_FLAG)
      set_int(field, problem, (int32_t)field->preset);
    else if (field->kind == ATTUNE_FIELD_WINDOW)
      problem->window_left = problem->window_right = (int32_t)field->preset;
  }
}

void attune_problem_init_sized(attune_problem *problem, size_t struct_size) {
  attune_problem defaults;
  set_defaults(&defaults);
  attune_sized_init(problem, struct_size, &defaults, sizeof defaults);
}

attune_status attune_problem_read(attune_problem *out, const attune_problem *problem) {
  if (problem == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "the problem is a null pointer");
  set_defaults(out);
  return attune_sized_read(out, sizeof *out, FIRST_SIZE, problem, "problem");
}

/* ---- check and canonical form ---- */

static attune_status check_fields(const attune_problem *problem) {
  attune_status status = ATTUNE_OK;
  for (int i = 0; i < attune_problem_field_count && status == ATTUNE_OK; i++)
    if (attune_problem_fields[i].check != NULL)
      status = attune_problem_fields[i].check(&attune_problem_fields[i], problem);
  return status;
}

static void make_canonical(attune_problem *problem) {
  for (int i = 0; i < attune_problem_field_count; i++)
    if (attune_problem_fields[i].canonical != NULL) attune_problem_fields[i].canonical(problem);
}

attune_status attune_problem_check(const attune_problem *problem) {
  attune_problem own;
  const attune_status status = attune_problem_read(&own, problem);
  return status == ATTUNE_OK ? check_fields(&own) : status;
}

attune_status attune_problem_resolve(attune_problem *out, const attune_problem *problem) {
  attune_problem own;
  if (out == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "the place for the resolved problem is a null pointer");
  attune_status status = attune_problem_read(&own, problem);
  if (status == ATTUNE_OK) status = check_fields(&own);
  if (status != ATTUNE_OK) return status;
  make_canonical(&own);
  *out = own;
  return ATTUNE_OK;
}

/* ---- the class as text ---- */

static const attune_problem_field *field_at(int place) {
  for (int i = 0; i < attune_problem_field_count; i++)
    if (attune_problem_fields[i].place == place) return &attune_problem_fields[i];
  return NULL;
}

/* What an int has where the text leaves it out. */
static int32_t usual(const attune_problem_field *field, const attune_problem *problem) {
  return field->follows != NULL ? int_of(attune_problem_field_of(field->follows), problem) : (int32_t)field->preset;
}

static void print_part(attune_buffer *out, const attune_problem_field *field, const attune_problem *p) {
  if (field->print != NULL) {
    field->print(out, p);
    return;
  }
  const int32_t value = int_of(field, p);
  if (field->kind == ATTUNE_FIELD_FLAG && value != 0) attune_buffer_print(out, ".%s", field->prefix);
  if (field->kind == ATTUNE_FIELD_FLAG || (field->optional && value == usual(field, p))) return;
  if (field->kind == ATTUNE_FIELD_WORD)
    attune_buffer_print(out, ".%s", field->words[value]);
  else
    attune_buffer_print(out, ".%s%d", field->prefix, value);
}

/* A checked problem's. */
static attune_status print(char out[ATTUNE_TEXT_MAX], const attune_problem *problem) {
  attune_problem p = *problem;
  attune_buffer text = {0};
  make_canonical(&p);
  attune_buffer_add_text(&text, attune_operation_words[p.operation]);
  const attune_problem_field *field;
  for (int place = 1; (field = field_at(place)) != NULL; place++)
    print_part(&text, field, &p);
  const bool fits = !text.failed && text.length < ATTUNE_TEXT_MAX;
  if (fits) memcpy(out, text.text, text.length + 1);
  attune_buffer_free(&text);
  return fits ? ATTUNE_OK : attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a problem's text");
}

attune_status attune_problem_print(char out[ATTUNE_TEXT_MAX], const attune_problem *problem) {
  attune_problem own;
  if (out == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "the place for the problem's text is a null pointer");
  attune_status status = attune_problem_read(&own, problem);
  if (status == ATTUNE_OK) status = check_fields(&own);
  return status == ATTUNE_OK ? print(out, &own) : status;
}

static attune_status bad_class(const attune_text *text, const char *expected) {
  return attune_fail(ATTUNE_BAD_ARGUMENT, "problem \"%.160s\", column %d: expected %s", text->start,
                     attune_text_column(text), expected);
}

static attune_status missing(const attune_text *text, const attune_problem_field *field) {
  char expected[128];
  if (field->kind == ATTUNE_FIELD_WORD)
    snprintf(expected, sizeof expected, "\"%s\", or another word for %s", field->words[0], field->name);
  else
    snprintf(expected, sizeof expected, "%s and %s, as in \"%s%d\"", field->prefix, field->name, field->prefix,
             (int)field->preset);
  return bad_class(text, expected);
}

static attune_status parse_part(attune_problem *p, attune_text *text, const attune_problem_field *field) {
  int32_t value = 0;
  bool found;
  if (field->parse != NULL) {
    const char *expected = field->parse(p, text);
    return expected == NULL ? ATTUNE_OK : bad_class(text, expected);
  }
  if (field->kind == ATTUNE_FIELD_FLAG) {
    set_int(field, p, attune_text_word(text, field->prefix));
    return ATTUNE_OK;
  }
  if (field->kind == ATTUNE_FIELD_WORD)
    found = attune_text_one_of(text, "", field->words, &value);
  else
    found = attune_text_number(text, field->prefix, &value);
  if (!found && !field->optional) return missing(text, field);
  set_int(field, p, found ? value : usual(field, p));
  return ATTUNE_OK;
}

attune_status attune_problem_parse(attune_problem *out, const char *class_text) {
  if (out == NULL || class_text == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "problem text: null pointer");
  attune_problem p;
  attune_text text = attune_text_of(class_text);
  const attune_problem_field *field;
  char canonical[ATTUNE_TEXT_MAX];
  int32_t operation;
  set_defaults(&p);
  if (!attune_text_one_of(&text, "", attune_operation_words, &operation))
    return bad_class(&text, "\"forward\" or \"backward\"");
  p.operation = (attune_operation)operation;
  for (int place = 1; (field = field_at(place)) != NULL; place++) {
    const attune_status status = parse_part(&p, &text, field);
    if (status != ATTUNE_OK) return status;
  }
  if (!attune_text_done(&text)) return bad_class(&text, "the end, or an optional part in its place");
  attune_status status = check_fields(&p);
  if (status == ATTUNE_OK) status = print(canonical, &p);
  if (status != ATTUNE_OK) return status;
  if (strcmp(canonical, class_text) != 0)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "problem \"%.160s\" is not in its canonical form: write \"%s\"", class_text,
                       canonical);
  *out = p;
  return ATTUNE_OK;
}

/* ---- distance ---- */

double attune_problem_distance(const attune_problem *wanted, const attune_problem *tuned) {
  attune_problem a = *wanted, b = *tuned;
  double distance = 0;
  if (a.operation != b.operation) return INFINITY;
  make_canonical(&a);
  make_canonical(&b);
  for (int i = 0; i < attune_problem_field_count; i++) {
    const attune_problem_field *field = &attune_problem_fields[i];
    if (field->kernel && int_of(field, &a) != int_of(field, &b)) return INFINITY;
    if (field->scales) distance += attune_distance_axis(int_of(field, &a), int_of(field, &b));
    if (field->distance != NULL) distance += field->distance(&a, &b);
  }
  return distance;
}

attune_status attune_problem_place(char class[ATTUNE_TEXT_MAX], int32_t sizes[ATTUNE_PROBLEM_SIZES],
                                   const attune_problem *problem) {
  attune_problem p = *problem;
  attune_buffer text = {0};
  int count = 0;
  make_canonical(&p);
  attune_buffer_add_text(&text, attune_operation_words[p.operation]);
  for (int i = 0; i < attune_problem_field_count; i++) {
    const attune_problem_field *field = &attune_problem_fields[i];
    const char *prefix = field->prefix != NULL ? field->prefix : field->member;
    if (field->kernel) attune_buffer_print(&text, ".%s%d", prefix, int_of(field, &p));
    if (field->scales) sizes[count++] = int_of(field, &p);
  }
  attune_distance_place(&text, &sizes[count++], &p);
  assert(count == ATTUNE_PROBLEM_SIZES);
  const bool fits = !text.failed && text.length < ATTUNE_TEXT_MAX;
  if (fits) memcpy(class, text.text, text.length + 1);
  attune_buffer_free(&text);
  return fits ? ATTUNE_OK : attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a problem's place");
}

/* ---- the key ---- */

static void add_text(attune_buffer *out, const char *text) {
  attune_buffer_add(out, text, strlen(text) + 1);
}

static void add_params(attune_buffer *out, const attune_problem *p) {
  attune_buffer_add(out, (const char *)&p->param_count, sizeof p->param_count);
  if (p->param_count > ATTUNE_PARAMS_MAX || p->params == NULL) return; /* which no checked problem has, or no params */
  for (int i = 0; i < p->param_count; i++) {
    attune_buffer_add(out, (const char *)&p->params[i].type, sizeof p->params[i].type);
    add_text(out, p->params[i].name != NULL ? p->params[i].name : "");
  }
}

void attune_problem_key(attune_buffer *out, const attune_problem *problem) {
  static const size_t sizes[] = {
      [ATTUNE_FIELD_INT] = sizeof(int32_t),        [ATTUNE_FIELD_FLOAT] = sizeof(float),
      [ATTUNE_FIELD_WORD] = sizeof(int32_t),       [ATTUNE_FIELD_FLAG] = sizeof(int32_t),
      [ATTUNE_FIELD_WINDOW] = 2 * sizeof(int32_t), [ATTUNE_FIELD_STRIDES] = sizeof(attune_strides),
      [ATTUNE_FIELD_BIAS] = sizeof(attune_strides)};
  for (int i = 0; i < attune_problem_field_count; i++) {
    const attune_problem_field *field = &attune_problem_fields[i];
    switch (field->kind) {
    case ATTUNE_FIELD_PATTERN:
      break;
    case ATTUNE_FIELD_MASK_EXPR:
      add_text(out, attune_problem_mask_expr(problem));
      break;
    case ATTUNE_FIELD_SCORE_EXPR:
      add_text(out, attune_problem_score_expr(problem));
      break;
    case ATTUNE_FIELD_PARAMS:
      add_params(out, problem);
      break;
    default:
      attune_buffer_add(out, place_of(field, problem), sizes[field->kind]);
      if (field->kind == ATTUNE_FIELD_BIAS)
        attune_buffer_add(out, (const char *)&problem->want_bias, sizeof problem->want_bias);
    }
  }
}
