#include "runtime/simulator/matrix.h"

#include <string.h>

typedef float vector __attribute__((vector_size(32))); /* eight columns */

static float float_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static float float_of_half(uint32_t element) {
  uint32_t magnitude = element & 0x7fff, bits;
  float x = float_of_bits(magnitude << 13) * 0x1p112f; /* moves the exponent, subnormals included */
  memcpy(&bits, &x, sizeof bits);
  return float_of_bits(bits | (magnitude >= 0x7c00 ? 0x7f800000u : 0u) | (element & 0x8000) << 16);
}

void attune_simulator_unpack(float out[2], uint32_t word, bool bf16) {
  out[0] = bf16 ? float_of_bits(word << 16) : float_of_half(word & 0xffff);
  out[1] = bf16 ? float_of_bits(word & 0xffff0000u) : float_of_half(word >> 16);
}

void attune_simulator_load_matrix(uint32_t *const out[32], const unsigned char *const rows[32], bool transposed) {
  for (int m = 0; m < 4; m++) {
    uint16_t matrix[8][8];
    for (int r = 0; r < 8; r++)
      memcpy(matrix[r], rows[8 * m + r], 16);
    for (int lane = 0; lane < 32; lane++) {
      int g = lane / 4, t = 2 * (lane % 4);
      uint32_t low = transposed ? matrix[t][g] : matrix[g][t], high = transposed ? matrix[t + 1][g] : matrix[g][t + 1];
      out[lane][m] = low | high << 16;
    }
  }
}

void attune_simulator_multiply(uint32_t *const out[32], const uint32_t *const in[32], bool bf16) {
  float a[16][16];
  union {
    vector row;
    float x[8];
  } b[16], c[16];
  for (int lane = 0; lane < 32; lane++) {
    int g = lane / 4, t = 2 * (lane % 4);
    const uint32_t *words = in[lane];
    attune_simulator_unpack(&a[g][t], words[0], bf16);
    attune_simulator_unpack(&a[g + 8][t], words[1], bf16);
    attune_simulator_unpack(&a[g][t + 8], words[2], bf16);
    attune_simulator_unpack(&a[g + 8][t + 8], words[3], bf16);
    for (int half = 0; half < 2; half++) {
      float pair[2];
      attune_simulator_unpack(pair, words[4 + half], bf16);
      b[t + 8 * half].x[g] = pair[0];
      b[t + 8 * half + 1].x[g] = pair[1];
      memcpy(&c[g + 8 * half].x[t], &words[6 + 2 * half], sizeof pair);
    }
  }
  for (int r = 0; r < 16; r++) {
    vector sum = c[r].row;
    for (int k = 0; k < 16; k++)
      sum += a[r][k] * b[k].row;
    c[r].row = sum;
  }
  for (int lane = 0; lane < 32; lane++) {
    int g = lane / 4, t = 2 * (lane % 4);
    memcpy(out[lane], &c[g].x[t], 2 * sizeof(float));
    memcpy(out[lane] + 2, &c[g + 8].x[t], 2 * sizeof(float));
  }
}
