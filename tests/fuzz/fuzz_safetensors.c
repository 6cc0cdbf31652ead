/* libFuzzer: any bytes are a safetensors file or are refused, and what a tensor points to is there. The header's length
 * is taken from two bytes instead of eight, since almost every length of eight bytes is refused at once. */
#include <stdlib.h>
#include <string.h>

#include "tuner/tuner.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  attune_safetensors *file;
  if (size < 2) return 0;
  uint8_t *whole = calloc(1, size + 6);
  if (whole == NULL) return 0;
  memcpy(whole, bytes, 2);
  memcpy(whole + 8, bytes + 2, size - 2);
  if (attune_safetensors_parse(&file, whole, size + 6) == ATTUNE_OK) {
    const attune_tensor *q = attune_safetensors_find(file, "q");
    for (size_t i = 0; q != NULL && i < q->size; i++)
      (void)((const volatile unsigned char *)q->data)[i];
    attune_safetensors_close(file);
  }
  free(whole);
  return 0;
}
