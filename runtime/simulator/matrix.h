/* What the matrix instructions compute, for a whole warp at once. Fragment layouts: PTX ISA, "Matrix fragments for
 * mma.m16n8k16" and "ldmatrix". */
#ifndef ATTUNE_SIMULATOR_MATRIX_H
#define ATTUNE_SIMULATOR_MATRIX_H

#include <stdbool.h>
#include <stdint.h>

/* rows[i] is where lane i points: row i % 8 of matrix i / 8. out[i] is lane i's fragment, four words. */
void attune_simulator_load_matrix(uint32_t *const out[32], const unsigned char *const rows[32], bool transposed);
/* m16n8k16: in[i] is lane i's ten words, a (4), b (2), c (4); out[i] its four of c + a b, accumulated in float. */
void attune_simulator_multiply(uint32_t *const out[32], const uint32_t *const in[32], bool bf16);

/* The two elements of a word. */
void attune_simulator_unpack(float out[2], uint32_t word, bool bf16);

#endif
