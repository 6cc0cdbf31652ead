/* Choices that dispatch will not take, because what would run is not what was measured. */
#include "tuner/command/verbs.h"

static bool count_row(void *user, const attune_measurement *row) {
  attune_upgrade *counts = user;
  attune_config config;
  attune_problem problem;
  counts->choices++;
  if (attune_config_parse(&config, row->config) != ATTUNE_OK ||
      attune_problem_parse(&problem, row->problem) != ATTUNE_OK)
    counts->outdated++;
  else if (!attune_result_is_current(row, &config, NULL)) {
    /* The class does not tell which expressions are compiled in. */
    if (attune_problem_expression_hash(&problem) != 0)
      counts->unknown++;
    else
      counts->outdated++;
  }
  return true;
}

attune_status attune_upgrade_count(attune_upgrade *out, attune_store *store, const attune_device *device) {
  char identity[256];
  attune_status status = ATTUNE_OK;
  *out = (attune_upgrade){0};
  if (device) status = attune_device_identity(identity, device);
  const attune_measurement_filter filter = {.device = device ? identity : NULL};
  return status == ATTUNE_OK ? attune_store_choices(store, &filter, count_row, out) : status;
}

void attune_upgrade_tell(FILE *to, const attune_upgrade *upgrade) {
  if (upgrade->outdated)
    fprintf(to,
            "attune: %lld of the %lld choices for this device are outdated: an upgrade of Attune changed\n"
            "  their kernels; attune tune measures anew\n",
            (long long)upgrade->outdated, (long long)upgrade->choices);
  if (upgrade->unknown)
    fprintf(to,
            "attune: %lld of the %lld choices for this device are unchecked: they are of problems with\n"
            "  expressions, each of which attune explain checks\n",
            (long long)upgrade->unknown, (long long)upgrade->choices);
}
