/* Private to tuner/: files that are there whole or not at all. */
#ifndef ATTUNE_FILE_H
#define ATTUNE_FILE_H

#include <stddef.h>

#include "runtime/attune.h"

typedef struct {
  char *beside; /* path of the temporary file in the same folder */
  int descriptor;
} attune_file;

attune_status attune_file_create(attune_file *out, const char *path);
attune_status attune_file_append(const attune_file *file, const void *bytes, size_t size);
/* Written through and renamed if status is ATTUNE_OK, else removed; returns status, or why it could not. Always ends
 * the file. */
attune_status attune_file_finish(attune_file *file, const char *path, attune_status status);
/* All three. */
attune_status attune_file_write(const char *path, const void *bytes, size_t size);
/* The whole file, malloc'ed, with a NUL behind it; pipes too. most: bytes that it may have. */
attune_status attune_file_read(char **out, size_t *size, const char *path, size_t most);

#endif
