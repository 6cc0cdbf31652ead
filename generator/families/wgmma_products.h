/* Private to generator/: primitives whose text depends on a width. */
#ifndef ATTUNE_WGMMA_H
#define ATTUNE_WGMMA_H

#include "generator/base/buffer.h"

typedef enum {
  ATTUNE_WGMMA_K_MAJOR,   /* wgmma_ss: A and B in shared memory, both K-major */
  ATTUNE_WGMMA_N_MAJOR,   /* wgmma_ss_n_major: the same with B N-major */
  ATTUNE_WGMMA_REGISTERS, /* wgmma_rs: A in registers, B N-major */
  ATTUNE_WGMMA_M_MAJOR    /* wgmma_ss_m_major: A M-major, B N-major */
} attune_wgmma_kind;

/* The primitive for products `width` columns wide (a multiple of 8 from 8 to 256), to follow those of
 * templates/primitives/cuda.h. dtype: attune_dtype. */
void attune_print_wgmma(attune_buffer *out, int width, int dtype, attune_wgmma_kind product);

/* The same, its name ending in _first, for the first product of a sum. */
void attune_print_wgmma_first(attune_buffer *out, int width, int dtype, attune_wgmma_kind product);

#endif
