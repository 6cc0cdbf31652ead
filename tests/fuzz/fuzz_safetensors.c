/* libFuzzer: any bytes are a safetensors file or are refused, and what a tensor points to is there. */
#include "tuner/tuner.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  attune_safetensors *file;
  if (attune_safetensors_parse(&file, bytes, size) != ATTUNE_OK) return 0;
  const attune_tensor *q = attune_safetensors_find(file, "q");
  for (size_t i = 0; q != NULL && i < q->size; i++)
    (void)((const volatile unsigned char *)q->data)[i];
  attune_safetensors_close(file);
  return 0;
}
