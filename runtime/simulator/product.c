#include "runtime/simulator/product.h"

#include <string.h>

#include "runtime/simulator/matrix.h"

typedef float vector __attribute__((vector_size(32)));

/* Bits 4-6 of an address are exchanged by bits 7-9: the row's number among eight. */
static uint32_t swizzle(uint32_t address) {
  return address ^ (address >> 3 & 0x70);
}

/* Fields of the descriptor (PTX ISA, matrix descriptor), in bytes. */
static uint32_t start_of(uint64_t descriptor) {
  return (uint32_t)(descriptor & 0x3fff) << 4;
}
static uint32_t leading_of(uint64_t descriptor) {
  return (uint32_t)(descriptor >> 16 & 0x3fff) << 4;
}

static const char *check(uint64_t descriptor) {
  if (descriptor >> 62 != 1) return "its swizzle is not that of 128 bytes";
  if ((descriptor >> 32 & 0x3fff) != 64) return "its groups of eight rows are not 1024 bytes apart";
  if (descriptor & ~(3ull << 62 | 0x3fffull << 32 | 0x3fffull << 16 | 0x3fff)) return "it has bits outside its fields";
  return NULL;
}

const char *attune_simulator_k_major(uint32_t *chunks, int *count, uint64_t descriptor, int rows) {
  uint32_t start = start_of(descriptor);
  const char *wrong = check(descriptor);
  if (wrong) return wrong;
  if (leading_of(descriptor) != 16) return "it is not of a K-major operand (its leading offset is not 1)";
  if (start % 32 != 0 || start % 1024 >= 128) return "its start is not 0, 32, 64 or 96 bytes behind a multiple of 1024";
  *count = 0;
  for (int r = 0; r < rows; r++)
    for (uint32_t c = 0; c < 2; c++)
      chunks[(*count)++] = swizzle(start + (uint32_t)r * 128 + c * 16);
  return NULL;
}

const char *attune_simulator_n_major(uint32_t *chunks, int *count, uint64_t descriptor, int n) {
  uint32_t start = start_of(descriptor), panel = leading_of(descriptor);
  const char *wrong = check(descriptor);
  if (wrong) return wrong;
  if (panel % 1024 != 0)
    return "it is not of an M-major or N-major operand (its panels are not a multiple of 1024 bytes apart)";
  if (start % 1024 != 0) return "its start is not a multiple of 1024";
  *count = 0;
  for (uint32_t k = 0; k < 16; k++)
    for (uint32_t c = 0; c < (uint32_t)n / 8; c++)
      chunks[(*count)++] = swizzle(start + c / 8 * panel + k * 128 + c % 8 * 16);
  return NULL;
}

static void unpack_chunk(float out[8], const unsigned char *from, bool bf16) {
  uint32_t words[4];
  memcpy(words, from, sizeof words);
  for (int i = 0; i < 4; i++)
    attune_simulator_unpack(out + 2 * i, words[i], bf16);
}

void attune_simulator_numbers_a(attune_simulator_numbers *numbers, const unsigned char *bytes, const uint32_t *chunks,
                                bool m_major, bool bf16) {
  for (int i = 0; i < 128 && !m_major; i++)
    unpack_chunk(&numbers->a[i / 2][i % 2 * 8], bytes + chunks[i], bf16);
  for (int i = 0; i < 128 && m_major; i++) {
    float x[8];
    unpack_chunk(x, bytes + chunks[i], bf16);
    for (int row = 0; row < 8; row++)
      numbers->a[i % 8 * 8 + row][i / 8] = x[row];
  }
}

void attune_simulator_numbers_b(attune_simulator_numbers *numbers, const unsigned char *bytes, const uint32_t *chunks,
                                int n, bool n_major, bool bf16) {
  for (int i = 0; i < 2 * n; i++) {
    float x[8];
    unpack_chunk(x, bytes + chunks[i], bf16);
    if (n_major)
      memcpy(&numbers->b[i / (n / 8)][i % (n / 8) * 8], x, sizeof x);
    else
      for (int k = 0; k < 8; k++)
        numbers->b[i % 2 * 8 + k][i / 2] = x[k];
  }
}

void attune_simulator_numbers_registers(attune_simulator_numbers *numbers, const unsigned *const a[128], bool bf16) {
  for (int t = 0; t < 128; t++) {
    int row = t / 32 * 16 + t % 32 / 4, k = t % 4 * 2;
    for (int i = 0; i < 4; i++)
      attune_simulator_unpack(&numbers->a[row + i % 2 * 8][k + i / 2 * 8], a[t][i], bf16);
  }
}

/* Moves every thread's accumulators out of, or into, the rows of c. */
static void move(attune_simulator_numbers *numbers, float *const c[128], int n, bool out) {
  for (int t = 0; t < 128; t++) {
    int row = t / 32 * 16 + t % 32 / 4;
    for (int i = 0; i < n / 2; i += 2) {
      float *at = &numbers->c[row + (i & 2) * 4][i / 4 * 8 + t % 4 * 2];
      if (out)
        memcpy(c[t] + i, at, 2 * sizeof *at);
      else
        memcpy(at, c[t] + i, 2 * sizeof *at);
    }
  }
}

void attune_simulator_numbers_sum(attune_simulator_numbers *numbers, float *const c[128], int n, bool accumulate) {
  if (accumulate) move(numbers, c, n, false);
  for (int r = 0; r < 64; r++)
    for (int at = 0; at < n; at += 8) {
      vector sum = {0};
      if (accumulate) sum = *(const vector *)(const void *)&numbers->c[r][at];
      for (int k = 0; k < 16; k++)
        sum += numbers->a[r][k] * *(const vector *)(const void *)&numbers->b[k][at];
      *(vector *)(void *)&numbers->c[r][at] = sum;
    }
  move(numbers, c, n, true);
}
