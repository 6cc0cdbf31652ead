/* What the GPU's clocks were while it was timed, through NVML, which comes with the driver. Where NVML is missing or
 * knows the device under another index, nothing is said. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tuner/measure/measure.h"

enum { NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2 };
typedef struct nvml_device nvml_device;

struct attune_clocks {
  void *library;
  nvml_device *device;
  int (*clock)(nvml_device *device, int kind, unsigned *mhz);
  unsigned low, high, memory;
};

/* CUDA counts the devices that CUDA_VISIBLE_DEVICES names (indices or UUIDs); NVML counts all. */
static bool visible_name(char *out, size_t size, int ordinal) {
  const char *list = getenv("CUDA_VISIBLE_DEVICES");
  if (!list) return snprintf(out, size, "%d", ordinal) > 0;
  for (; ordinal > 0 && list; ordinal--)
    list = (list = strchr(list, ',')) ? list + 1 : NULL;
  if (!list) return false;
  size_t length = strcspn(list, ",");
  if (length == 0 || length >= size) return false;
  memcpy(out, list, length);
  out[length] = '\0';
  return true;
}

attune_clocks *attune_clocks_open(const attune_backend *machine) {
  int ordinal;
  char name[96];
  if (!machine || sscanf(attune_backend_name(machine), "cuda:%d", &ordinal) != 1) return NULL;
  if (!visible_name(name, sizeof name, ordinal)) return NULL;
  attune_clocks *clocks = calloc(1, sizeof *clocks);
  if (!clocks) return NULL;
  clocks->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!clocks->library) goto none;
  int (*start)(void) = (int (*)(void))dlsym(clocks->library, "nvmlInit_v2");
  int (*by_index)(unsigned, nvml_device **) =
      (int (*)(unsigned, nvml_device **))dlsym(clocks->library, "nvmlDeviceGetHandleByIndex_v2");
  int (*by_uuid)(const char *, nvml_device **) =
      (int (*)(const char *, nvml_device **))dlsym(clocks->library, "nvmlDeviceGetHandleByUUID");
  clocks->clock = (int (*)(nvml_device *, int, unsigned *))dlsym(clocks->library, "nvmlDeviceGetClockInfo");
  if (!start || !by_index || !by_uuid || !clocks->clock || start() != 0) goto none;
  char *end;
  unsigned long index = strtoul(name, &end, 10);
  if (*end == '\0' ? by_index((unsigned)index, &clocks->device) : by_uuid(name, &clocks->device)) goto none;
  return clocks;
none:
  attune_clocks_close(clocks);
  return NULL;
}

void attune_clocks_close(attune_clocks *clocks) {
  if (!clocks) return;
  if (clocks->library) dlclose(clocks->library);
  free(clocks);
}

void attune_clocks_sample(attune_clocks *clocks) {
  unsigned mhz;
  if (!clocks) return;
  if (clocks->clock(clocks->device, NVML_CLOCK_SM, &mhz) == 0) {
    if (clocks->low == 0 || mhz < clocks->low) clocks->low = mhz;
    if (mhz > clocks->high) clocks->high = mhz;
  }
  if (clocks->clock(clocks->device, NVML_CLOCK_MEMORY, &mhz) == 0) clocks->memory = mhz;
}

void attune_clocks_print(char out[64], attune_clocks *clocks) {
  out[0] = '\0';
  if (!clocks || clocks->high == 0) return;
  if (clocks->low == clocks->high)
    snprintf(out, 64, "sm %u MHz, memory %u MHz", clocks->high, clocks->memory);
  else
    snprintf(out, 64, "sm %u..%u MHz, memory %u MHz", clocks->low, clocks->high, clocks->memory);
  clocks->low = clocks->high = 0;
}
