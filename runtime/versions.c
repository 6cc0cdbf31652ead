/* attune_tensors and attune_options as callers of any version have them. */
#include "generator/base/sized.h"
#include "runtime/plan.h"

/* Bytes of the structs in their first version. */
enum { FIRST_OPTIONS = 40, FIRST_TENSORS = 408 };
_Static_assert(sizeof(attune_options) >= FIRST_OPTIONS && sizeof(attune_tensors) >= FIRST_TENSORS,
               "a struct only grows");

void attune_options_init_sized(attune_options *options, size_t struct_size) {
  const attune_options defaults = {0};
  attune_sized_init(options, struct_size, &defaults, sizeof defaults);
}

void attune_tensors_init_sized(attune_tensors *tensors, size_t struct_size) {
  const attune_tensors defaults = {0};
  attune_sized_init(tensors, struct_size, &defaults, sizeof defaults);
}

attune_status attune_options_read(attune_options *out, const attune_options *options) {
  *out = (attune_options){.struct_size = sizeof *out};
  return options ? attune_sized_read(out, sizeof *out, FIRST_OPTIONS, options, "options") : ATTUNE_OK;
}

attune_status attune_tensors_read(attune_tensors *out, const attune_tensors *tensors) {
  *out = (attune_tensors){.struct_size = sizeof *out};
  return attune_sized_read(out, sizeof *out, FIRST_TENSORS, tensors, "tensors");
}
