/* Devices as values: what a compute capability limits, and the key under which measurements are kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/families/family.h"

enum { KILOBYTE = 1024, MEGABYTE = 1 << 20 };

/* Limits: CUDA programming guide, "Compute capabilities", technical specifications. The last five columns are those of
 * a typical part, which is named; they feed the model where no device is at hand and limit nothing. Shared memory of a
 * block is that of an SM less the 1 KB that the driver takes per block. */
typedef struct {
  int32_t arch;
  int32_t shared_kilobytes; /* of an SM */
  int32_t threads_per_sm, blocks_per_sm;
  int32_t sm_count, clock_khz, l2_megabytes, memory_gigabytes, bandwidth_gigabytes;
} architecture;

static const architecture architectures[] = {
    {80, 164, 2048, 32, 108, 1410000, 40, 80, 2039},    /* A100 SXM 80 GB */
    {86, 100, 1536, 16, 82, 1695000, 6, 24, 936},       /* GeForce RTX 3090 */
    {87, 164, 1536, 16, 16, 1300000, 4, 64, 205},       /* Jetson AGX Orin */
    {89, 100, 1536, 24, 128, 2520000, 72, 24, 1008},    /* GeForce RTX 4090 */
    {90, 228, 2048, 32, 132, 1755000, 50, 80, 3352},    /* H100 SXM */
    {100, 228, 2048, 32, 148, 1965000, 126, 180, 8000}, /* B200 */
    {103, 228, 2048, 32, 148, 1920000, 126, 270, 8000}, /* B300 */
    {120, 100, 1536, 24, 170, 2407000, 96, 32, 1792},   /* GeForce RTX 5090 */
    {121, 100, 1536, 24, 48, 2418000, 24, 119, 273},    /* DGX Spark */
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

static void fill(attune_device *out, const architecture *row) {
  *out = (attune_device){
      .arch = row->arch,
      .sm_count = row->sm_count,
      .shared_per_block = (row->shared_kilobytes - 1) * KILOBYTE,
      .shared_per_sm = row->shared_kilobytes * KILOBYTE,
      .shared_reserved = KILOBYTE,
      .registers_per_sm = 65536,
      .threads_per_sm = row->threads_per_sm,
      .threads_per_block = 1024,
      .blocks_per_sm = row->blocks_per_sm,
      .l2_bytes = (int64_t)row->l2_megabytes * MEGABYTE,
      .memory_bytes = (int64_t)row->memory_gigabytes << 30,
      .clock_khz = row->clock_khz,
      .memory_bandwidth = (int64_t)row->bandwidth_gigabytes * 1000000000,
  };
  snprintf(out->name, sizeof out->name, "sm_%d", row->arch);
}

attune_status attune_device_of_arch(attune_device *out, const char *arch) {
  if (out == NULL || arch == NULL) return attune_fail(ATTUNE_BAD_ARGUMENT, "architecture: null pointer");
  if (strcmp(arch, "host") == 0) {
    /* The simulator computes what any architecture would; it borrows Hopper's limits. */
    fill(out, find_architecture(ARCHITECTURE_OF_HOST));
    out->arch = 0;
    snprintf(out->name, sizeof out->name, "host");
    return ATTUNE_OK;
  }
  const char *digits = strncmp(arch, "sm_", 3) == 0 ? arch + 3 : arch;
  const size_t length = strspn(digits, "0123456789");
  const bool number = length >= 2 && length <= 3 && digits[length] == '\0' && digits[0] != '0';
  const architecture *row = number ? find_architecture((int32_t)strtol(digits, NULL, 10)) : NULL;
  if (row == NULL) {
    char known[128] = "";
    for (int i = 0; i < ARCHITECTURE_COUNT; i++) {
      const size_t used = strlen(known);
      snprintf(known + used, sizeof known - used, "sm_%d, ", architectures[i].arch);
    }
    return attune_fail(ATTUNE_NO_DEVICE, "no architecture \"%.32s\" is known; there are %sand host", arch, known);
  }
  fill(out, row);
  return ATTUNE_OK;
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
  fill(out, best);
}
