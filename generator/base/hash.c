#include "generator/base/hash.h"

#include <sys/types.h> /* before sha256.h, which uses its types */

#include <sha256.h>

void attune_sha256(char out[65], const void *bytes, size_t size) {
  SHA256Data(bytes, size, out);
}
