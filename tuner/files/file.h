/* Private to tuner/: files that are there whole or not at all. */
#ifndef ATTUNE_FILE_H
#define ATTUNE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/attune.h"

typedef struct {
  char *beside; /* path of the temporary file in the same folder; NULL: the descriptor is a stream */
  int descriptor;
} attune_file;

/* "-" is standard output. A regular file is created or replaced. A FIFO, a terminal or a device such as /dev/null is
 * written into. All else is refused: folders, sockets, disks, and symbolic links to files. */
attune_status attune_file_create(attune_file *out, const char *path);
attune_status attune_file_append(const attune_file *file, const void *bytes, size_t size);
/* Written through and renamed if status is ATTUNE_OK, else removed; returns status, or why it could not. Always ends
 * the file. */
attune_status attune_file_finish(attune_file *file, const char *path, attune_status status);
/* All three. */
attune_status attune_file_write(const char *path, const void *bytes, size_t size);
/* The whole file, malloc'ed, with a NUL behind it. "-" is standard input. Pipes are read to their end; a FIFO that
 * nobody writes into fails at once. most: bytes that it may have. */
attune_status attune_file_read(char **out, size_t *size, const char *path, size_t most);
bool attune_file_is_standard(const char *path);
/* Also by another name, such as /dev/stdout. */
bool attune_file_is_standard_output(const char *path);

#endif
