/* Private to generator/: primitives whose text depends on a width. */
#ifndef ATTUNE_PRODUCTS_H
#define ATTUNE_PRODUCTS_H

#include <stdbool.h>

#include "generator/buffer.h"

/* The primitive warpgroup_multiply or, with A in registers, warpgroup_multiply_registers for products `width` columns
 * wide (a multiple of 8 from 8 to 256), as a section of primitives.cuda.h. dtype: attune_dtype. */
void attune_print_product(attune_buffer *out, int width, int dtype, bool a_registers);

#endif
