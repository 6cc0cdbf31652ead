/* Config -> kernel: named by what determines its bytes, compiled, or taken from a store. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "generator/base/hash.h"
#include "runtime/backend.h"

/* What names a kernel, before it is packed into one block. */
typedef struct {
  char config[ATTUNE_TEXT_MAX], symbol[ATTUNE_TEXT_MAX + 8], compiler[64], options[256], sha256[65], target[16];
  char *source;
} kernel_name;

static bool is_host(const char *arch) {
  return !strcmp(arch, "host");
}

static attune_status name_config(kernel_name *out, const attune_config *config, const char *arch) {
  *out = (kernel_name){0};
  attune_config_target(out->target, config, arch);
  const attune_status status = attune_config_print(out->config, config);
  return status == ATTUNE_OK ? attune_config_symbol(out->symbol, config) : status;
}

static attune_status name_compiler(kernel_name *out, const char *arch) {
  return is_host(arch) ? attune_compiler_host(out->compiler, out->options)
                       : attune_compiler_nvrtc(out->compiler, out->options);
}

attune_status attune_compiler_of(char out[64], const char *arch) {
  char options[256];
  return is_host(arch) ? attune_compiler_host(out, options) : attune_compiler_nvrtc(out, options);
}

/* The compiler last, so that the rest is named where there is none. */
static attune_status name_of(kernel_name *out, const attune_config *config, const attune_problem *problem,
                             const char *arch) {
  attune_status status = name_config(out, config, arch);
  if (status == ATTUNE_OK)
    status = attune_emit(&out->source, config, problem, is_host(arch) ? ATTUNE_TARGET_SIMULATOR : ATTUNE_TARGET_CUDA);
  if (status != ATTUNE_OK) return status;
  attune_sha256(out->sha256, out->source, strlen(out->source));
  return name_compiler(out, arch);
}

static const char *append(char **at, const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = memcpy(*at, text, size);
  *at += size;
  return copy;
}

/* One block: the struct, the binary (aligned as the struct is), the strings. compiled may be NULL. */
static attune_status pack(attune_kernel **out, const kernel_name *name, const char *arch,
                          const attune_compiled *compiled, double seconds) {
  enum { ALIGNMENT = 16 };
  size_t head = (sizeof(attune_kernel) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  size_t binary = compiled ? compiled->size : 0;
  const char *log = compiled && compiled->log ? compiled->log : "";
  size_t text = strlen(name->config) + strlen(arch) + strlen(name->compiler) + strlen(name->options) +
                strlen(name->sha256) + strlen(log) + strlen(attune_fingerprint) + 7;
  char *block = malloc(head + binary + text);
  if (!block) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a kernel of %zu bytes", head + binary + text);
  attune_kernel *kernel = (attune_kernel *)block;
  *kernel = (attune_kernel){.registers = -1, .shared_static = -1, .spill_bytes = -1, .compile_seconds = seconds};
  char *at = block + head + binary;
  kernel->config = append(&at, name->config);
  kernel->arch = append(&at, arch);
  kernel->compiler = append(&at, name->compiler);
  kernel->options = append(&at, name->options);
  kernel->source_sha256 = append(&at, name->sha256);
  kernel->log = append(&at, log);
  kernel->library = append(&at, attune_fingerprint);
  if (compiled) {
    kernel->binary = memcpy(block + head, compiled->binary, binary);
    kernel->binary_size = binary;
    kernel->registers = compiled->registers;
    kernel->shared_static = compiled->shared_static;
    kernel->spill_bytes = compiled->spill_bytes;
  }
  attune_kernel_key(kernel);
  *out = kernel;
  return ATTUNE_OK;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static attune_status compile(attune_kernel **out, const kernel_name *name, const char *arch) {
  attune_compiled compiled = {0};
  double start = now();
  attune_status status = is_host(arch) ? attune_compile_host(&compiled, name->source, name->symbol)
                                       : attune_compile_nvrtc(&compiled, name->source, name->symbol, name->target);
  if (status != ATTUNE_OK) return status;
  status = pack(out, name, arch, &compiled, now() - start);
  free(compiled.binary);
  free(compiled.log);
  return status;
}

attune_status attune_kernel_name(attune_kernel **out, char **source, const attune_config *config,
                                 const attune_problem *problem, const char *arch) {
  kernel_name name;
  *out = NULL;
  if (source) *source = NULL;
  attune_status status = name_of(&name, config, problem, arch);
  if (status == ATTUNE_OK) status = pack(out, &name, arch, NULL, 0);
  if (status == ATTUNE_OK && source)
    *source = name.source;
  else
    free(name.source);
  return status;
}

attune_status attune_kernel_compile(attune_kernel **out, const attune_config *config, const attune_problem *problem,
                                    const char *arch) {
  kernel_name name;
  *out = NULL;
  attune_status status = name_of(&name, config, problem, arch);
  if (status == ATTUNE_OK) status = compile(out, &name, arch);
  free(name.source);
  return status;
}

/* ---- one compilation at a time for one kernel of one store ---- */

typedef struct pending {
  struct pending *next;
  const attune_store *store;
  const char *key;
} pending;
static pthread_mutex_t pending_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t pending_change = PTHREAD_COND_INITIALIZER;
static pending *pending_first;

static bool is_pending(const attune_store *store, const char *key) {
  for (const pending *p = pending_first; p; p = p->next)
    if (p->store == store && !strcmp(p->key, key)) return true;
  return false;
}

static void begin(pending *own) {
  pthread_mutex_lock(&pending_mutex);
  while (is_pending(own->store, own->key))
    pthread_cond_wait(&pending_change, &pending_mutex);
  own->next = pending_first;
  pending_first = own;
  pthread_mutex_unlock(&pending_mutex);
}

static void end(pending *own) {
  pthread_mutex_lock(&pending_mutex);
  pending **at = &pending_first;
  while (*at != own)
    at = &(*at)->next;
  *at = own->next;
  pthread_cond_broadcast(&pending_change);
  pthread_mutex_unlock(&pending_mutex);
}

/* The wait may have been for a thread that stored this very kernel, so the store is asked again. */
static attune_status compile_once(attune_kernel **out, bool *hit, attune_store *store, const kernel_name *name,
                                  const char *key, const char *arch) {
  pending own = {.store = store, .key = key};
  begin(&own);
  attune_status status = attune_store_find_kernel(store, out, key);
  *hit = status == ATTUNE_OK && *out;
  if (!*hit) {
    status = compile(out, name, arch);
    if (status == ATTUNE_OK) status = attune_store_put_kernel(store, *out);
  }
  end(&own);
  return status;
}

static bool is_compiler_missing(attune_status status) {
  return status == ATTUNE_NO_NVRTC || status == ATTUNE_NO_COMPILER;
}

/* Another compiler's binary of this very source, for where this one may not or cannot compile: an application that
 * carries its store depends on no NVRTC. NULL if there is none. */
static attune_kernel *find_of_source(attune_store *store, const kernel_name *name, const char *arch) {
  attune_kernel named = {.config = name->config, .arch = arch, .source_sha256 = name->sha256};
  if (is_host(arch)) named.options = name->options; /* they name the processor */
  attune_kernel *found = NULL;
  return attune_store_find_kernel_of_source(store, &found, &named) == ATTUNE_OK ? found : NULL;
}

/* A binary whose source this very library emitted before, found without emitting it again. Not where expressions are
 * compiled in, since a config has but 31 bits of their hash. */
static attune_kernel *find_of_library(attune_store *store, const attune_config *config, const char *arch) {
  kernel_name name;
  attune_kernel *found = NULL;
  if (config->expression_hash != 0 || name_config(&name, config, arch) != ATTUNE_OK ||
      name_compiler(&name, arch) != ATTUNE_OK)
    return NULL;
  const attune_kernel named = {.config = name.config,
                               .arch = arch,
                               .compiler = name.compiler,
                               .options = name.options,
                               .library = attune_fingerprint};
  return attune_store_find_kernel_of_library(store, &found, &named) == ATTUNE_OK ? found : NULL;
}

attune_status attune_kernel_get(attune_kernel **out, bool *hit, attune_store *store, const attune_config *config,
                                const attune_problem *problem, const char *arch, bool frozen) {
  kernel_name name;
  attune_kernel *named = NULL;
  bool found = false;
  *out = find_of_library(store, config, arch);
  if (*out) {
    if (hit) *hit = true;
    return ATTUNE_OK;
  }
  attune_status status = name_of(&name, config, problem, arch);
  if (status == ATTUNE_OK) status = pack(&named, &name, arch, NULL, 0);
  if (status == ATTUNE_OK) status = attune_store_find_kernel(store, out, named->key);
  found = status == ATTUNE_OK && *out;
  if (found) (void)attune_store_claim_kernel(store, named->key, attune_fingerprint);
  if (frozen && !found && (status == ATTUNE_OK || is_compiler_missing(status)))
    status =
        attune_fail(ATTUNE_WOULD_COMPILE, "frozen, and %s holds no kernel %s for %s; tune or run once without frozen",
                    attune_store_path(store), name.config, arch);
  else if (status == ATTUNE_OK && !found)
    status = compile_once(out, &found, store, &name, named->key, arch);
  if (status == ATTUNE_WOULD_COMPILE || is_compiler_missing(status)) {
    *out = find_of_source(store, &name, arch);
    found = *out != NULL;
    if (found) status = ATTUNE_OK;
  }
  if (status != ATTUNE_OK) {
    free(*out);
    *out = NULL;
  }
  if (hit) *hit = found;
  free(named);
  free(name.source);
  return status;
}
