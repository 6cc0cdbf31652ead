#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plan.h"

bool attune_frozen_by_environment(void) {
  const char *value = getenv("ATTUNE_FROZEN");
  return value && *value && strcmp(value, "0") != 0;
}

static void describe(attune_context *context) {
  const attune_device *device = attune_backend_device(context->machine);
  const char *name = attune_backend_name(context->machine);
  if (device->arch)
    snprintf(context->description, sizeof context->description, "%s %s %s, %d SMs", name, device->name,
             attune_backend_arch(context->machine), device->sm_count);
  else
    snprintf(context->description, sizeof context->description, "%s", name);
}

attune_status attune_context_create(attune_context **out, const attune_options *options) {
  attune_options own;
  attune_kept_message before;
  if (!out) return attune_fail(ATTUNE_BAD_ARGUMENT, "out is NULL; pass the address of an attune_context *");
  *out = NULL;
  attune_status status = attune_options_read(&own, options);
  if (status != ATTUNE_OK) return status;
  attune_message_keep(&before);
  attune_context *context = calloc(1, sizeof *context);
  if (!context) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a context");
  atomic_init(&context->references, 1);
  context->frozen = own.frozen || attune_frozen_by_environment();
  attune_store_options store = {.path = own.database,
                                .frozen = context->frozen,
                                .locate = attune_problem_locate,
                                .translate = attune_text_renamed};
  context->plans = attune_plan_cache_create();
  if (!context->plans) status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a context");
  if (status == ATTUNE_OK) status = attune_backend_open(&context->machine, own.device, own.host_seed);
  if (status == ATTUNE_OK) status = attune_store_open(&context->store, &store);
  if (status != ATTUNE_OK) {
    attune_context_destroy(context);
    return status;
  }
  describe(context);
  attune_message_restore(&before);
  *out = context;
  return ATTUNE_OK;
}

attune_context *attune_context_retain(attune_context *context) {
  atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
  return context;
}

void attune_context_destroy(attune_context *context) {
  if (!context || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) > 1) return;
  attune_plan_cache_destroy(context->plans); /* which unloads: before the backend is closed */
  if (context->store) attune_store_close(context->store);
  attune_backend_close(context->machine);
  free(context);
}

const char *attune_context_device(const attune_context *context) {
  return context ? context->description : "";
}

const char *attune_context_warning(const attune_context *context) {
  return context ? attune_store_warning(context->store) : "";
}

attune_backend *attune_context_machine(attune_context *context) {
  return context->machine;
}

attune_store *attune_context_store(attune_context *context) {
  return context->store;
}
