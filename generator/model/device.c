/* Devices as values: what a compute capability limits, and the key under which measurements are kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/model/cards.h"
#include "generator/model/model.h"

enum { KILOBYTE = 1024, MEGABYTE = 1 << 20, OLDEST_ARCH = 80 };

/* Limits: CUDA programming guide, "Compute capabilities", technical specifications. Shared memory of a block is that of
 * an SM less the 1 KB that the driver takes per block. The card is a typical one: its figures feed the model where
 * nothing else is known, and limit nothing. */
typedef struct {
  int32_t arch;
  int32_t shared_kilobytes; /* of an SM */
  int32_t threads_per_sm, blocks_per_sm;
  const char *card; /* its key in cards.c */
} architecture;

static const architecture architectures[] = {
    {80, 164, 2048, 32, "a100"},    {86, 100, 1536, 16, "rtx3090"},  {87, 164, 1536, 16, "orin"},
    {89, 100, 1536, 24, "rtx4090"}, {90, 228, 2048, 32, "h100"},     {100, 228, 2048, 32, "b200"},
    {103, 228, 2048, 32, "b300"},   {120, 100, 1536, 24, "rtx5090"}, {121, 100, 1536, 24, "spark"},
};
enum { ARCHITECTURE_COUNT = sizeof architectures / sizeof *architectures, ARCHITECTURE_OF_HOST = 90 };

const char *const attune_architectures[] = {"sm_80",  "sm_86",  "sm_87",  "sm_89",  "sm_90",
                                            "sm_100", "sm_103", "sm_120", "sm_121", NULL};

static const architecture *find_architecture(int32_t arch) {
  for (int i = 0; i < ARCHITECTURE_COUNT; i++) {
    if (architectures[i].arch == arch) return &architectures[i];
  }
  return NULL;
}

static void fill(attune_device *out, const attune_card *card) {
  const architecture *row = find_architecture(card->arch);
  *out = (attune_device){
      .arch = row->arch,
      .sm_count = card->sm_count,
      .shared_per_block = (row->shared_kilobytes - 1) * KILOBYTE,
      .shared_per_sm = row->shared_kilobytes * KILOBYTE,
      .shared_reserved = KILOBYTE,
      .registers_per_sm = 65536,
      .threads_per_sm = row->threads_per_sm,
      .threads_per_block = 1024,
      .blocks_per_sm = row->blocks_per_sm,
      .l2_bytes = (int64_t)card->l2_megabytes * MEGABYTE,
      .memory_bytes = (int64_t)card->memory_gigabytes << 30,
      .clock_khz = card->clock_mhz * 1000,
      .memory_bandwidth = (int64_t)card->bandwidth_gigabytes * 1000000000,
      .matrix_rate = card->matrix_rate,
  };
  snprintf(out->card, sizeof out->card, "%s", card->name);
}

static const attune_card *typical(const architecture *row) {
  return attune_card_of_key(row->card);
}

/* The number of "sm_90", "sm_90a", "sm90", "compute_90", "90" and "9.0"; 0 of other texts. */
static int32_t arch_number(const char *text) {
  static const char *const prefixes[] = {"sm_", "sm", "compute_", "compute"};
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
    const size_t length = strlen(prefixes[i]);
    if (strncmp(text, prefixes[i], length) != 0) continue;
    text += length;
    break;
  }
  char *end;
  if (text[0] < '1' || text[0] > '9') return 0;
  const long major = strtol(text, &end, 10);
  long number = major;
  if (*end == '.' && end[1] >= '0' && end[1] <= '9') {
    number = 10 * major + end[1] - '0';
    end += 2;
  }
  const bool alone = (*end == 'a' && number >= 90) || (*end == 'f' && number >= 100); /* of that architecture alone */
  return end[alone ? 1 : 0] == '\0' && number >= 10 && number < 1000 ? (int32_t)number : 0;
}

attune_status attune_device_of_arch(attune_device *out, const char *arch) {
  if (out == NULL || arch == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "architecture: null pointer");
  if (strcmp(arch, "host") == 0) {
    /* The simulator computes what any architecture would; it borrows Hopper's limits. */
    fill(out, typical(find_architecture(ARCHITECTURE_OF_HOST)));
    out->arch = 0;
    snprintf(out->name, sizeof out->name, "host");
    return ATTUNE_OK;
  }
  const int32_t number = arch_number(arch);
  const architecture *row = find_architecture(number);
  if (row == NULL && number > 0 && number < OLDEST_ARCH)
    return attune_fail(ATTUNE_UNSUPPORTED, "sm_%d is too old; needs sm_%d or later, or use the device \"host\"", number,
                       OLDEST_ARCH);
  if (row == NULL) {
    char known[128] = "";
    for (int i = 0; i < ARCHITECTURE_COUNT; i++) {
      const size_t used = strlen(known);
      snprintf(known + used, sizeof known - used, "sm_%d, ", architectures[i].arch);
    }
    return attune_fail(ATTUNE_BAD_ARGUMENT, "no architecture \"%.32s\" is known; there are %sand host", arch, known);
  }
  fill(out, typical(row));
  snprintf(out->name, sizeof out->name, "sm_%d", row->arch);
  return ATTUNE_OK;
}

attune_status attune_device_of_card(attune_device *out, const char *card) {
  if (out == NULL || card == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "card: null pointer");
  const attune_card *row = attune_card_of_text(card);
  if (row == NULL) {
    char known[384], suggestion[160];
    attune_card_list(known, sizeof known);
    return attune_fail(ATTUNE_BAD_ARGUMENT, "no card \"%.32s\" is known%s; there are %s", card,
                       attune_card_suggestion(suggestion, card), known);
  }
  fill(out, row);
  snprintf(out->name, sizeof out->name, "%s", row->name);
  return ATTUNE_OK;
}

bool attune_device_of_card_at(attune_device *out, char key[ATTUNE_CARD_KEY_MAX], int number) {
  const attune_card *row = attune_card_at(number);
  if (row == NULL) return false;
  snprintf(key, ATTUNE_CARD_KEY_MAX, "%.*s", (int)strcspn(row->keys, " "), row->keys);
  fill(out, row);
  snprintf(out->name, sizeof out->name, "%s", row->name);
  return true;
}

int32_t attune_card_matrix_rate(const char *name, int32_t arch) {
  enum { GEFORCE_RATE = 512 };
  const attune_card *card = attune_card_of_name(name);
  if (card != NULL && card->arch == arch) return card->matrix_rate;
  const bool geforce = strstr(name, "GeForce") != NULL || strstr(name, "TITAN") != NULL;
  return geforce && (arch == 86 || arch == 89 || arch == 120) ? GEFORCE_RATE : 0;
}

attune_status attune_device_identity(char out[256], const attune_device *device) {
  if (out == NULL || device == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "device identity: null pointer");
  char arch[16] = "host";
  if (device->arch != 0) snprintf(arch, sizeof arch, "sm_%d", device->arch);
  /* Shared memory and the like follow from the architecture. Drivers differ in a few MiB of the memory they report. */
  snprintf(out, 256, "%.127s|%s|%d SMs|%lld MiB L2|%lld GiB", device->name, arch, device->sm_count,
           (long long)(device->l2_bytes + MEGABYTE / 2) / MEGABYTE,
           (long long)((device->memory_bytes + (1 << 29)) >> 30));
  return ATTUNE_OK;
}

void attune_device_typical(attune_device *out, const attune_device *device) {
  const int32_t arch = device->arch == 0 ? ARCHITECTURE_OF_HOST : device->arch;
  const architecture *best = &architectures[0];
  for (int i = 0; i < ARCHITECTURE_COUNT; i++) {
    if (architectures[i].arch <= arch) best = &architectures[i];
  }
  fill(out, typical(best));
}

void attune_device_figures(char out[256], const attune_device *device) {
  attune_device typical;
  attune_device_typical(&typical, device);
  if (device->arch == 0) device = &typical; /* estimates on the simulator are for that card */
  const char *card = device->card[0] != '\0' ? device->card : device->name;
  snprintf(out, 256, "%.127s: %d SMs at %.0f MHz, %.0f GB/s", card, device->sm_count, device->clock_khz * 1e-3,
           (double)device->memory_bandwidth * 1e-9);
}
