#include "generator/model/cards.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "generator/base/nearest.h"

/* SMs, clocks, caches, memory and bandwidths: NVIDIA's data sheets of the cards and its white papers of the
 * architectures (A100, GA102, Ada, H100, RTX Blackwell; Jetson AGX Orin technical brief). The clock is the one at which
 * SMs, clock and rate give the sheet's dense 16-bit TFLOP/s with float accumulation, in most cases the boost clock;
 * Hopper's SXM parts have the 1,755 MHz that they keep under this load (tests/data/measured-h100.txt) of 1,830. GeForce
 * cards, the A10G and the L40 sum products in float at half the rate of their siblings: see "FP16 Tensor TFLOPS with
 * FP32 Accumulate" in the white papers. The sheets of GB200, B300 and GB300 give no count of SMs; 148 and 152 are what
 * their drivers report. The sheet of the DGX Spark gives FP4 operations only: a quarter of a quarter of those, sparse,
 * is 16-bit and dense. */
static const attune_card cards[] = {
    {"a100 a10080 a100sxm", "NVIDIA A100-SXM4-80GB", 80, 108, 1410, 40, 80, 2039, 2048},
    {"a100-40", "NVIDIA A100-SXM4-40GB", 80, 108, 1410, 40, 40, 1555, 2048},
    {"a100-pcie", "NVIDIA A100 80GB PCIe", 80, 108, 1410, 40, 80, 1935, 2048},
    {"a30", "NVIDIA A30", 80, 56, 1440, 24, 24, 933, 2048},
    {"a10", "NVIDIA A10", 86, 72, 1695, 6, 24, 600, 1024},
    {"a10g", "NVIDIA A10G", 86, 80, 1710, 6, 24, 600, 512},
    {"a40", "NVIDIA A40", 86, 84, 1740, 6, 48, 696, 1024},
    {"a5000", "NVIDIA RTX A5000", 86, 64, 1695, 6, 24, 768, 1024},
    {"a6000", "NVIDIA RTX A6000", 86, 84, 1800, 6, 48, 768, 1024},
    {"rtx3070", "NVIDIA GeForce RTX 3070", 86, 46, 1725, 4, 8, 448, 512},
    {"rtx3080", "NVIDIA GeForce RTX 3080", 86, 68, 1710, 5, 10, 760, 512},
    {"rtx3090", "NVIDIA GeForce RTX 3090", 86, 82, 1695, 6, 24, 936, 512},
    {"rtx3090ti", "NVIDIA GeForce RTX 3090 Ti", 86, 84, 1860, 6, 24, 1008, 512},
    {"orin agxorin", "Orin", 87, 16, 1300, 4, 64, 205, 2048},
    {"l4", "NVIDIA L4", 89, 58, 2040, 48, 24, 300, 1024},
    {"l40", "NVIDIA L40", 89, 142, 2490, 96, 48, 864, 512},
    {"l40s", "NVIDIA L40S", 89, 142, 2490, 96, 48, 864, 1024},
    {"rtx6000ada 6000ada", "NVIDIA RTX 6000 Ada Generation", 89, 142, 2505, 96, 48, 960, 1024},
    {"rtx4060ti", "NVIDIA GeForce RTX 4060 Ti", 89, 34, 2535, 32, 16, 288, 512},
    {"rtx4070", "NVIDIA GeForce RTX 4070", 89, 46, 2475, 36, 12, 504, 512},
    {"rtx4070ti", "NVIDIA GeForce RTX 4070 Ti", 89, 60, 2610, 48, 12, 504, 512},
    {"rtx4080", "NVIDIA GeForce RTX 4080", 89, 76, 2505, 64, 16, 717, 512},
    {"rtx4090", "NVIDIA GeForce RTX 4090", 89, 128, 2520, 72, 24, 1008, 512},
    {"h100 h100sxm", "NVIDIA H100 80GB HBM3", 90, 132, 1755, 50, 80, 3352, 4096},
    {"h100-pcie", "NVIDIA H100 PCIe", 90, 114, 1620, 50, 80, 2039, 4096},
    {"h100-nvl", "NVIDIA H100 NVL", 90, 132, 1545, 50, 94, 3938, 4096},
    {"gh200", "NVIDIA GH200", 90, 132, 1755, 50, 96, 4000, 4096},
    {"h200 h200sxm", "NVIDIA H200", 90, 132, 1755, 50, 141, 4800, 4096},
    {"b200", "NVIDIA B200", 100, 148, 1860, 126, 180, 8000, 8192},
    {"gb200", "NVIDIA GB200", 100, 152, 2000, 126, 186, 8000, 8192},
    {"b300", "NVIDIA B300", 103, 148, 1860, 126, 270, 8000, 8192},
    {"gb300", "NVIDIA GB300", 103, 152, 2000, 126, 279, 8000, 8192},
    {"rtx5060ti", "NVIDIA GeForce RTX 5060 Ti", 120, 36, 2572, 32, 16, 448, 512},
    {"rtx5070", "NVIDIA GeForce RTX 5070", 120, 48, 2512, 48, 12, 672, 512},
    {"rtx5070ti", "NVIDIA GeForce RTX 5070 Ti", 120, 70, 2452, 48, 16, 896, 512},
    {"rtx5080", "NVIDIA GeForce RTX 5080", 120, 84, 2617, 64, 16, 960, 512},
    {"rtx5090", "NVIDIA GeForce RTX 5090", 120, 170, 2407, 96, 32, 1792, 512},
    {"rtxpro6000 rtxpro6000blackwell", "NVIDIA RTX PRO 6000 Blackwell", 120, 188, 2617, 128, 96, 1792, 1024},
    {"spark dgxspark gb10", "NVIDIA GB10", 121, 48, 2418, 24, 128, 273, 1024},
};
enum { CARD_COUNT = sizeof cards / sizeof *cards, KEY_MAX = 64 };

/* "NVIDIA GeForce RTX 4090" and "rtx-4090" become "rtx4090". */
static void normalise(char out[KEY_MAX], const char *text, size_t length) {
  size_t used = 0;
  for (size_t i = 0; i < length && used + 1 < KEY_MAX; i++) {
    if (isalnum((unsigned char)text[i])) out[used++] = (char)tolower((unsigned char)text[i]);
  }
  out[used] = '\0';
  static const char *const makers[] = {"nvidia", "geforce", "jetson"};
  for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
    const size_t maker = strlen(makers[i]);
    if (strncmp(out, makers[i], maker) == 0 && out[maker] != '\0') memmove(out, out + maker, strlen(out + maker) + 1);
  }
}

/* The next key at *at, normalised; false where there is none. */
static bool next_key(char out[KEY_MAX], const char **at) {
  const size_t length = strcspn(*at, " ");
  normalise(out, *at, length);
  *at += length + strspn(*at + length, " ");
  return length > 0;
}

/* "4090" is "rtx4090". */
static bool names(const char *wanted, const char *key) {
  return strcmp(wanted, key) == 0 || (strncmp(key, "rtx", 3) == 0 && strcmp(wanted, key + 3) == 0);
}

const attune_card *attune_card_at(int number) {
  return number >= 0 && number < CARD_COUNT ? &cards[number] : NULL;
}

const attune_card *attune_card_of_text(const char *text) {
  char wanted[KEY_MAX], key[KEY_MAX];
  normalise(wanted, text, strlen(text));
  for (int i = 0; i < CARD_COUNT; i++) {
    const char *keys = cards[i].keys;
    while (next_key(key, &keys))
      if (names(wanted, key)) return &cards[i];
    normalise(key, cards[i].name, strlen(cards[i].name));
    if (strcmp(wanted, key) == 0) return &cards[i];
  }
  return NULL;
}

const attune_card *attune_card_of_key(const char *key) {
  const size_t length = strlen(key);
  for (int i = 0; i < CARD_COUNT; i++) {
    const char end = strncmp(cards[i].keys, key, length) == 0 ? cards[i].keys[length] : 'x';
    if (end == '\0' || end == ' ') return &cards[i];
  }
  return NULL;
}

const attune_card *attune_card_of_name(const char *name) {
  const attune_card *best = NULL;
  size_t longest = 0;
  for (int i = 0; i < CARD_COUNT; i++) {
    const size_t length = strlen(cards[i].name);
    const bool begins = strncmp(name, cards[i].name, length) == 0 && !isalnum((unsigned char)name[length]);
    if (begins && length > longest) best = &cards[i], longest = length;
  }
  return best;
}

void attune_card_list(char *out, size_t size) {
  size_t used = 0;
  out[0] = '\0';
  for (int i = 0; i < CARD_COUNT && used < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s%.*s", i > 0 ? " " : "", (int)strcspn(cards[i].keys, " "),
                             cards[i].keys);
}

const char *attune_card_suggestion(char out[160], const char *text) {
  char wanted[KEY_MAX], keys[CARD_COUNT][KEY_MAX];
  const char *words[CARD_COUNT + 1] = {NULL};
  normalise(wanted, text, strlen(text));
  for (int i = 0; i < CARD_COUNT; i++) {
    const char *rest = cards[i].keys;
    next_key(keys[i], &rest);
    words[i] = keys[i];
  }
  return attune_did_you_mean(out, wanted, words, "");
}
