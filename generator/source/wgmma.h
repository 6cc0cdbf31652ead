/* Private to generator/: primitives whose text depends on a width. */
#ifndef ATTUNE_WGMMA_H
#define ATTUNE_WGMMA_H

#include "generator/base/buffer.h"

typedef enum {
  ATTUNE_WGMMA_K_MAJOR,  /* warpgroup_multiply: A and B in shared memory, both K-major */
  ATTUNE_WGMMA_N_MAJOR,  /* warpgroup_multiply_n_major: the same with B N-major */
  ATTUNE_WGMMA_REGISTERS /* warpgroup_multiply_registers: A in registers, B N-major */
} attune_wgmma_kind;

/* The primitive for products `width` columns wide (a multiple of 8 from 8 to 256), as a section of primitives.cuda.h.
 * dtype: attune_dtype. */
void attune_print_wgmma(attune_buffer *out, int width, int dtype, attune_wgmma_kind product);

#endif
