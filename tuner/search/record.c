/* Rows of the store: what became of a trial. */
#include <stdio.h>

#include "generator/base/status.h"
#include "tuner/search/search.h"

attune_status attune_search_record(attune_search *search, attune_trial *trial, const char *clocks) {
  bool ranked = trial->status == ATTUNE_MEASURED_OK, timed = ranked && trial->timing.count > 0;
  attune_measurement row = {.problem = search->problem_text,
                            .device = search->identity,
                            .arch = search->arch,
                            .policy = search->policy,
                            .generator = attune_generator_hash((attune_family)trial->config.family),
                            .config = trial->text,
                            .complexity = trial->complexity,
                            .status = trial->status,
                            .verified = trial->verified,
                            .samples = timed ? trial->timing.samples : NULL,
                            .sample_count = timed ? trial->timing.count : 0,
                            .median = ranked ? trial->seconds : 0,
                            .low = timed    ? trial->timing.low
                                   : ranked ? trial->seconds
                                            : 0,
                            .high = timed    ? trial->timing.high
                                    : ranked ? trial->seconds
                                             : 0,
                            .error = trial->error,
                            .error_bound = trial->bound,
                            .compiler = trial->compiler,
                            .driver = search->machine ? attune_backend_driver(search->machine) : "",
                            .clocks = clocks,
                            .tool = attune_version(),
                            .note = trial->note,
                            .compile_seconds = trial->compile_seconds,
                            .verify_seconds = trial->verify_seconds,
                            .measure_seconds = trial->measure_seconds};
  trial->tried = true;
  return attune_store_put_measurement(search->store, &row);
}

attune_status attune_search_record_failure(attune_search *search, attune_trial *trial, attune_measured status) {
  trial->status = status;
  trial->verified = false;
  search->result->failed++;
  if (trial->note[0] == '\0' || status == ATTUNE_MEASURED_LAUNCH_FAILED) /* weightier than what the compiler remarked */
    snprintf(trial->note, sizeof trial->note, "%s", attune_message());
  return attune_search_record(search, trial, "");
}
