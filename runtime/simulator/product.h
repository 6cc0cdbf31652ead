/* The arithmetic of a warpgroup's product: where its operands lie in shared memory, and their sum. */
#ifndef ATTUNE_SIMULATOR_PRODUCT_H
#define ATTUNE_SIMULATOR_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

enum { ATTUNE_SIMULATOR_PRODUCT_N_MAX = 256 };

/* Shared addresses of the sixteen-byte chunks of an operand, swizzled; *count of them. Returns NULL, or what is wrong
 * with the descriptor. K-major: rows x 16, two chunks a row. N-major (A: M-major, n is 64): 16 x n, n / 8 chunks a
 * row. */
const char *attune_simulator_k_major(uint32_t *chunks, int *count, uint64_t descriptor, int rows);
const char *attune_simulator_n_major(uint32_t *chunks, int *count, uint64_t descriptor, int n);

/* Room for one product's numbers. */
typedef struct {
  _Alignas(32) float a[64][16];
  _Alignas(32) float b[16][ATTUNE_SIMULATOR_PRODUCT_N_MAX];
  _Alignas(32) float c[64][ATTUNE_SIMULATOR_PRODUCT_N_MAX];
} attune_simulator_numbers;

/* From the chunks, in the order above. */
void attune_simulator_numbers_a(attune_simulator_numbers *numbers, const unsigned char *bytes, const uint32_t *chunks,
                                bool m_major, bool bf16);
void attune_simulator_numbers_b(attune_simulator_numbers *numbers, const unsigned char *bytes, const uint32_t *chunks,
                                int n, bool n_major, bool bf16);
/* A's fragments: four words of each of the 128 threads. */
void attune_simulator_numbers_registers(attune_simulator_numbers *numbers, const unsigned *const a[128], bool bf16);
/* C's fragments: n / 2 floats of each thread; read first where they are added to. */
void attune_simulator_numbers_sum(attune_simulator_numbers *numbers, float *const c[128], int n, bool accumulate);

#endif
