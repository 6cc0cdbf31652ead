/* The config to use where nothing was measured. */
#include <math.h>

#include "generator/base/status.h"
#include "generator/families/family.h"
#include "generator/model/model.h"

typedef struct {
  const attune_problem *problem;
  const attune_device *device;
  attune_config best;
  double best_seconds;
  attune_estimate_memo memo;
} default_search;

static bool visit_default(void *user, const attune_config *config, bool legal, const char *reason) {
  default_search *search = user;
  (void)reason;
  if (!legal) return true;
  const double seconds = attune_estimate_resolved(config, search->problem, search->device, NULL, &search->memo);
  if (seconds < search->best_seconds ||
      (seconds == search->best_seconds && attune_config_compare(config, &search->best) < 0)) {
    search->best = *config;
    search->best_seconds = seconds;
  }
  return true;
}

attune_status attune_config_default(attune_config *out, const attune_problem *problem, const attune_device *device) {
  if (out == NULL || device == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "default config: null pointer");
  attune_problem resolved;
  const attune_status status = attune_problem_resolve(&resolved, problem);
  if (status) return status;
  default_search search = {.problem = &resolved, .device = device, .best_seconds = INFINITY};
  const attune_kernel_operation operation = attune_problem_operation(&resolved);
  for (int speed = ATTUNE_FAMILY_LAST; speed >= 0; speed--) {
    for (int f = 0; f <= ATTUNE_FAMILY_LAST; f++) {
      const attune_family_row *family = attune_family_find(f);
      if (family->operation == operation && family->speed == speed)
        (void)attune_space(&resolved, device, f, visit_default, &search);
    }
    if (isfinite(search.best_seconds)) break;
  }
  *out = search.best; /* the reference family is always legal */
  return ATTUNE_OK;
}
