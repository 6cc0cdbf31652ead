/* Which configs there are for a problem: the product of the axes of each family's table. */
#include "generator/base/status.h"
#include "generator/families/family.h"

typedef struct {
  const attune_family_row *family;
  const attune_problem *problem; /* or NULL */
  /* Returns false to stop. */
  bool (*visit)(void *user, const attune_config *config);
  void *user;
} walk;

static void axis_of(attune_axis *out, const attune_config_field *field, const attune_config *config,
                    const attune_problem *problem) {
  *out = field->axis.count > 0 ? field->axis : (attune_axis){.values = {field->low}, .count = 1};
  if (field->axis_of != NULL) field->axis_of(out, config, problem);
}

/* The product of the family's axes, the table's last field fastest. */
static bool walk_fields(const walk *w, attune_config *config, int field) {
  if (field == w->family->schedule_count) return w->visit(w->user, config);
  const attune_config_field *row = &w->family->schedule[field];
  attune_axis axis;
  axis_of(&axis, row, config, w->problem);
  for (int i = 0; i < axis.count; i++) {
    attune_config_set(config, row, axis.values[i]);
    if (!walk_fields(w, config, field + 1)) return false;
  }
  return true;
}

static bool has(const attune_axis *axis, int32_t value) {
  for (int i = 0; i < axis->count; i++)
    if (axis->values[i] == value) return true;
  return false;
}

/* The axis of the space, and what refines it. */
static void long_axis(attune_axis *out, const attune_config_field *field, const attune_config *config) {
  attune_axis more = {.count = 0};
  axis_of(out, field, config, NULL);
  if (field->refine != NULL) field->refine(&more, config);
  for (int i = 0; i < more.count && out->count < ATTUNE_AXIS_MAX; i++)
    out->values[out->count++] = more.values[i];
}

/* With another value of one field. Where that leaves a later or an earlier one without its own, as a tile of other rows
 * does the warps for them, it takes the first there is. */
static bool visit_moved(const walk *w, const attune_config *config, int moved, int32_t value) {
  attune_config other = *config;
  attune_config_set(&other, &w->family->schedule[moved], value);
  for (int i = 0; i < w->family->schedule_count; i++) {
    const attune_config_field *field = &w->family->schedule[i];
    attune_axis axis;
    if (i == moved) continue;
    long_axis(&axis, field, &other);
    if (!has(&axis, attune_config_get(&other, field))) attune_config_set(&other, field, axis.values[0]);
  }
  return w->visit(w->user, &other);
}

static bool walk_near(const walk *w, const attune_config *config) {
  for (int i = 0; i < w->family->schedule_count; i++) {
    const attune_config_field *field = &w->family->schedule[i];
    attune_axis axis;
    long_axis(&axis, field, config);
    for (int v = 0; v < axis.count; v++)
      if (axis.values[v] != attune_config_get(config, field) && !visit_moved(w, config, i, axis.values[v]))
        return false;
  }
  return true;
}

static bool walk_family(const attune_problem *problem, int family, bool (*visit)(void *, const attune_config *),
                        void *user) {
  const walk w = {.family = attune_family_find(family), .problem = problem, .visit = visit, .user = user};
  attune_config config;
  attune_config_of_problem(&config, (attune_family)family, problem);
  return walk_fields(&w, &config, 0);
}

typedef struct {
  const attune_device *device;
  attune_visit *visit;
  void *user;
} space_visitor;

static bool visit_space(void *user, const attune_config *config) {
  const space_visitor *visitor = user;
  const bool legal = attune_config_legal(config, visitor->device) == ATTUNE_OK;
  return visitor->visit(visitor->user, config, legal, legal ? "" : attune_message());
}

attune_status attune_space(const attune_problem *problem, const attune_device *device, int family, attune_visit *visit,
                           void *user) {
  if (device == NULL || visit == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "space: null pointer");
  attune_problem resolved;
  const attune_status status = attune_problem_resolve(&resolved, problem);
  if (status) return status;
  const attune_kernel_operation operation = attune_problem_operation(&resolved);
  if (family >= 0 && (family > ATTUNE_FAMILY_LAST || attune_family_find(family)->operation != operation)) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "family is %d, which is none of operation %s", family,
                       attune_operation_name(operation));
  }
  space_visitor visitor = {.device = device, .visit = visit, .user = user};
  for (int f = 0; f <= ATTUNE_FAMILY_LAST; f++) {
    if (family >= 0 && family != f) continue;
    if (attune_family_find(f)->operation == operation && !walk_family(&resolved, f, visit_space, &visitor)) break;
  }
  return ATTUNE_OK;
}

void attune_space_near(const attune_config *config, const attune_device *device, attune_visit *visit, void *user) {
  space_visitor visitor = {.device = device, .visit = visit, .user = user};
  const attune_family_row *family = attune_family_find(config->family);
  const walk w = {.family = family, .visit = visit_space, .user = &visitor};
  if (family != NULL) (void)walk_near(&w, config);
}

static bool visit_only(void *user, const attune_config *config) {
  *(attune_config *)user = *config;
  return false;
}

attune_status attune_config_reference(attune_config *out, const attune_problem *problem) {
  if (out == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "reference config: null pointer");
  const attune_status status = attune_problem_check(problem);
  if (status) return status;
  attune_problem own;
  (void)attune_problem_read(&own, problem); /* which the check has done */
  const int family = own.operation == ATTUNE_BACKWARD ? ATTUNE_FAMILY_BACKWARD_REFERENCE : ATTUNE_FAMILY_REFERENCE;
  (void)walk_family(&own, family, visit_only, out);
  return ATTUNE_OK;
}
