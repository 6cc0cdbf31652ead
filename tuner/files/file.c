#include "tuner/files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "generator/base/status.h"

attune_status attune_file_create(attune_file *out, const char *path) {
  *out = (attune_file){.beside = malloc(strlen(path) + sizeof ".XXXXXX"), .descriptor = -1};
  if (out->beside == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a path");
  sprintf(out->beside, "%s.XXXXXX", path);
  out->descriptor = mkostemp(out->beside, O_CLOEXEC);
  if (out->descriptor >= 0) return ATTUNE_OK;
  const int reason = errno;
  free(out->beside);
  out->beside = NULL;
  return attune_fail(ATTUNE_BAD_FILE, "%s: cannot create a file there: %s", path, strerror(reason));
}

attune_status attune_file_append(const attune_file *file, const void *bytes, size_t size) {
  const unsigned char *next = bytes;
  while (size > 0) {
    const ssize_t step = write(file->descriptor, next, size);
    if (step < 0 && errno == EINTR) continue;
    if (step < 0)
      return attune_fail(ATTUNE_BAD_FILE, "%s: cannot write, %zu bytes are left: %s", file->beside, size,
                         strerror(errno));
    next += step;
    size -= (size_t)step;
  }
  return ATTUNE_OK;
}

attune_status attune_file_finish(attune_file *file, const char *path, attune_status status) {
  /* mkostemp makes it private; a result is as readable as any other new file. */
  const mode_t mask = umask(0);
  umask(mask);
  if (status == ATTUNE_OK && (fchmod(file->descriptor, 0666 & ~mask) != 0 || fsync(file->descriptor) != 0))
    status = attune_fail(ATTUNE_BAD_FILE, "%s: cannot write it through: %s", path, strerror(errno));
  if (close(file->descriptor) != 0 && status == ATTUNE_OK)
    status = attune_fail(ATTUNE_BAD_FILE, "%s: cannot write: %s", path, strerror(errno));
  if (status == ATTUNE_OK && rename(file->beside, path) != 0)
    status = attune_fail(ATTUNE_BAD_FILE, "%s: cannot put the file in its place: %s", path, strerror(errno));
  if (status != ATTUNE_OK) unlink(file->beside);
  free(file->beside);
  *file = (attune_file){.descriptor = -1};
  return status;
}

attune_status attune_file_write(const char *path, const void *bytes, size_t size) {
  attune_file file;
  const attune_status status = attune_file_create(&file, path);
  return status != ATTUNE_OK ? status : attune_file_finish(&file, path, attune_file_append(&file, bytes, size));
}

attune_status attune_file_read(char **out, size_t *size, const char *path, size_t most) {
  *out = NULL;
  *size = 0;
  FILE *file = fopen(path, "rb");
  if (file == NULL) return attune_fail(ATTUNE_BAD_FILE, "%s: cannot read: %s", path, strerror(errno));
  attune_status status = ATTUNE_OK;
  size_t capacity = 0;
  char *text = NULL;
  do {
    capacity = capacity == 0 ? 1 << 16 : 2 * capacity;
    char *larger = realloc(text, capacity);
    if (larger == NULL) {
      status = attune_fail(ATTUNE_OUT_OF_MEMORY, "%s: no memory for %zu bytes", path, capacity);
      break;
    }
    text = larger;
    *size += fread(text + *size, 1, capacity - 1 - *size, file);
  } while (*size == capacity - 1 && *size <= most);
  if (status == ATTUNE_OK && ferror(file))
    status = attune_fail(ATTUNE_BAD_FILE, "%s: cannot read: %s", path, strerror(errno));
  if (status == ATTUNE_OK && *size > most)
    status = attune_fail(ATTUNE_BAD_FILE, "%s: has more than %zu bytes, the most it may have", path, most);
  fclose(file);
  if (status != ATTUNE_OK) {
    free(text);
    return status;
  }
  text[*size] = '\0';
  *out = text;
  return ATTUNE_OK;
}
