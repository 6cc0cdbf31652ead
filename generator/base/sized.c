#include "generator/base/sized.h"

#include <string.h>

#include "generator/base/status.h"

/* No version of a struct is larger; beyond it, struct_size was never written, and what follows may be no memory. */
enum { SIZE_MAX_PLAUSIBLE = 1 << 14, ALIGNMENT = 8 /* of every version, of which no field is cut through */ };

void attune_sized_init(void *callers, size_t size, const void *defaults, size_t own_size) {
  if (callers == NULL || size < sizeof size) return;
  memset(callers, 0, size);
  memcpy(callers, defaults, size < own_size ? size : own_size);
  memcpy(callers, &size, sizeof size);
}

attune_status attune_sized_read(void *own, size_t own_size, size_t first_size, const void *callers, const char *name) {
  size_t size;
  memcpy(&size, callers, sizeof size);
  if (size < first_size || size > SIZE_MAX_PLAUSIBLE || size % ALIGNMENT != 0)
    return attune_fail(
        ATTUNE_BAD_ARGUMENT,
        "%s.struct_size is %zu; every version of attune_%s has from %zu bytes on, a multiple of %d: call "
        "attune_%s_init first",
        name, size, name, first_size, ALIGNMENT, name);
  const unsigned char *bytes = callers;
  for (size_t i = own_size; i < size; i++)
    if (bytes[i] != 0)
      return attune_fail(ATTUNE_UNSUPPORTED,
                         "a field of attune_%s at byte %zu is set, which this library (version %s, %zu bytes) does not "
                         "know: use the library of the header that the program was compiled with",
                         name, i, attune_version(), own_size);
  memcpy(own, callers, size < own_size ? size : own_size);
  memcpy(own, &own_size, sizeof own_size);
  return ATTUNE_OK;
}
