/* Private: names by content. */
#ifndef ATTUNE_HASH_H
#define ATTUNE_HASH_H

#include <stddef.h>

/* SHA-256 of bytes, in hex with a final NUL. */
void attune_sha256(char out[65], const void *bytes, size_t size);

#endif
