#include "tuner/files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "generator/base/status.h"

bool attune_file_is_standard(const char *path) {
  return strcmp(path, "-") == 0;
}

static bool is_standard_output(const struct stat *file) {
  struct stat standard;
  return fstat(STDOUT_FILENO, &standard) == 0 && standard.st_dev == file->st_dev && standard.st_ino == file->st_ino;
}

bool attune_file_is_standard_output(const char *path) {
  struct stat file;
  return attune_file_is_standard(path) || (stat(path, &file) == 0 && is_standard_output(&file));
}

/* ---- writing ---- */

static attune_status open_beside(attune_file *out, const char *path) {
  out->beside = malloc(strlen(path) + sizeof ".XXXXXX");
  if (out->beside == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a path");
  sprintf(out->beside, "%s.XXXXXX", path);
  out->descriptor = mkostemp(out->beside, O_CLOEXEC);
  if (out->descriptor >= 0) return ATTUNE_OK;
  const int reason = errno;
  free(out->beside);
  out->beside = NULL;
  return attune_fail(ATTUNE_BAD_FILE, "%s: cannot create a file there: %s", path, strerror(reason));
}

static attune_status own_stream(attune_file *out, const char *path, int descriptor) {
  out->descriptor = descriptor;
  return descriptor >= 0 ? ATTUNE_OK : attune_fail(ATTUNE_BAD_FILE, "%s: cannot write: %s", path, strerror(errno));
}

/* O_NONBLOCK: a FIFO without a reader would block for ever. */
static attune_status open_stream(attune_file *out, const char *path) {
  const int descriptor = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (descriptor < 0 && errno == ENXIO) return attune_fail(ATTUNE_BAD_FILE, "%s: no process reads from it", path);
  if (descriptor >= 0) (void)fcntl(descriptor, F_SETFL, O_WRONLY);
  return own_stream(out, path, descriptor);
}

attune_status attune_file_create(attune_file *out, const char *path) {
  struct stat link, file;
  *out = (attune_file){.descriptor = -1};
  if (attune_file_is_standard(path)) return own_stream(out, path, fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
  if (lstat(path, &link) != 0) return open_beside(out, path);
  if (stat(path, &file) != 0)
    return attune_fail(ATTUNE_BAD_FILE, "%s is a symbolic link that leads to no file; name the file itself", path);
  if (is_standard_output(&file)) return own_stream(out, path, fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
  if (S_ISFIFO(file.st_mode) || S_ISCHR(file.st_mode)) return open_stream(out, path);
  if (!S_ISREG(file.st_mode))
    return attune_fail(ATTUNE_BAD_FILE, "%s is no regular file, and is not replaced; name another", path);
  if (S_ISLNK(link.st_mode))
    return attune_fail(ATTUNE_BAD_FILE, "%s is a symbolic link, and is not replaced; name the file itself", path);
  return open_beside(out, path);
}

attune_status attune_file_append(const attune_file *file, const void *bytes, size_t size) {
  const unsigned char *next = bytes;
  while (size > 0) {
    const ssize_t step = write(file->descriptor, next, size);
    if (step < 0 && errno == EINTR) continue;
    if (step < 0)
      return attune_fail(ATTUNE_BAD_FILE, "%s: cannot write, %zu bytes are left: %s",
                         file->beside ? file->beside : "output", size, strerror(errno));
    next += step;
    size -= (size_t)step;
  }
  return ATTUNE_OK;
}

/* mkostemp makes it private: it gets the mode of the file that it replaces, else that of any new file. */
static mode_t mode_of(const char *path) {
  struct stat replaced;
  const mode_t mask = umask(0);
  umask(mask);
  return stat(path, &replaced) == 0 ? replaced.st_mode & 0777 : 0666 & ~mask;
}

attune_status attune_file_finish(attune_file *file, const char *path, attune_status status) {
  const bool stream = file->beside == NULL;
  if (status == ATTUNE_OK && !stream && (fchmod(file->descriptor, mode_of(path)) != 0 || fsync(file->descriptor) != 0))
    status = attune_fail(ATTUNE_BAD_FILE, "%s: cannot write it through: %s", path, strerror(errno));
  if (close(file->descriptor) != 0 && status == ATTUNE_OK)
    status = attune_fail(ATTUNE_BAD_FILE, "%s: cannot write: %s", path, strerror(errno));
  if (status == ATTUNE_OK && !stream && rename(file->beside, path) != 0)
    status = attune_fail(ATTUNE_BAD_FILE, "%s: cannot put the file in its place: %s", path, strerror(errno));
  if (status != ATTUNE_OK && !stream) unlink(file->beside);
  free(file->beside);
  *file = (attune_file){.descriptor = -1};
  return status;
}

attune_status attune_file_write(const char *path, const void *bytes, size_t size) {
  attune_file file;
  const attune_status status = attune_file_create(&file, path);
  return status != ATTUNE_OK ? status : attune_file_finish(&file, path, attune_file_append(&file, bytes, size));
}

/* ---- reading ---- */

/* O_NONBLOCK: opening a FIFO that nobody writes into would block for ever; its read then ends at once. */
static attune_status open_input(int *out, struct stat *about, const char *path) {
  *out = attune_file_is_standard(path) ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                       : open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (*out < 0 || fstat(*out, about) != 0)
    return attune_fail(ATTUNE_BAD_FILE, "%s: cannot read: %s", path, strerror(errno));
  if (attune_file_is_standard(path) || S_ISREG(about->st_mode)) return ATTUNE_OK;
  if (!S_ISFIFO(about->st_mode))
    return attune_fail(ATTUNE_BAD_FILE, "%s: cannot read: it is neither a regular file nor a FIFO", path);
  (void)fcntl(*out, F_SETFL, O_RDONLY);
  return ATTUNE_OK;
}

/* Appends until the end or one byte more than most. capacity: of the first block. */
static attune_status read_to_end(char **text, size_t *size, int descriptor, size_t capacity, size_t most) {
  for (;;) {
    if (*text == NULL || *size + 1 >= capacity) {
      if (*text != NULL) capacity *= 2;
      char *larger = realloc(*text, capacity);
      if (larger == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %zu bytes", capacity);
      *text = larger;
    }
    const ssize_t step = read(descriptor, *text + *size, capacity - 1 - *size);
    if (step < 0 && errno == EINTR) continue;
    if (step < 0) return attune_fail(ATTUNE_BAD_FILE, "cannot read: %s", strerror(errno));
    *size += (size_t)step;
    if (*size > most) return attune_fail(ATTUNE_BAD_FILE, "has more than %zu bytes, the most it may have", most);
    if (step == 0) return ATTUNE_OK;
  }
}

attune_status attune_file_read(char **out, size_t *size, const char *path, size_t most) {
  enum { FIRST = 1 << 16 };
  struct stat about;
  char *text = NULL;
  int descriptor;
  *out = NULL;
  *size = 0;
  attune_status status = open_input(&descriptor, &about, path);
  if (status == ATTUNE_OK) {
    const bool known = S_ISREG(about.st_mode) && about.st_size > 0 && (size_t)about.st_size < most;
    status = read_to_end(&text, size, descriptor, known ? (size_t)about.st_size + 2 : FIRST, most);
    if (status == ATTUNE_OK && *size == 0 && S_ISFIFO(about.st_mode) && !attune_file_is_standard(path))
      status = attune_fail(ATTUNE_BAD_FILE, "is a FIFO that nobody writes into");
    if (status != ATTUNE_OK) status = attune_fail(status, "%s: %s", path, attune_message());
  }
  if (descriptor >= 0) close(descriptor);
  if (status != ATTUNE_OK) {
    free(text);
    return status;
  }
  text[*size] = '\0';
  *out = text;
  return ATTUNE_OK;
}
