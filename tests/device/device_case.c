#include "tests/device/device_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/driver.h"

static bool make_primary_current(void) {
  const attune_driver *driver;
  CUdevice device;
  CUcontext primary;
  return attune_driver_get(&driver) == ATTUNE_OK && driver->device_get(&device, 0) == CUDA_SUCCESS &&
         driver->primary_retain(&primary, device) == CUDA_SUCCESS && driver->context_push(primary) == CUDA_SUCCESS;
}

bool case_open(attune_context **out, const char *device, const char *database) {
  attune_options options;
  attune_options_init(&options);
  options.device = device;
  options.database = database;
  if (strcmp(device, "host") != 0 && !make_primary_current()) {
    printf("skipped: no GPU: %s\n", attune_message());
    return false;
  }
  attune_status status = attune_context_create(out, &options);
  if (status != ATTUNE_OK) {
    printf("FAIL %s: %s\n", attune_status_name(status), attune_message());
    exit(1);
  }
  printf("%s %s\n", attune_context_device(*out), attune_backend_driver(attune_context_machine(*out)));
  return true;
}

attune_status case_run(attune_verifier *verifier, const attune_plan *plan, attune_stream stream) {
  return attune_run(plan, attune_verifier_tensors(verifier), attune_verifier_workspace(verifier),
                    attune_plan_workspace(plan), stream);
}

attune_status case_check(attune_verifier *verifier, const attune_plan *plan, attune_verdict *out) {
  attune_status status = attune_verifier_prepare(verifier, attune_plan_workspace(plan));
  if (status == ATTUNE_OK) status = case_run(verifier, plan, NULL);
  return status == ATTUNE_OK ? attune_verifier_compare(verifier, out) : status;
}
