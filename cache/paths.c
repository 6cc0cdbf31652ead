/* Where the file is, and how a damaged one is set aside. */
#include "cache/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static attune_status join(char **out, const char *head, const char *tail) {
  size_t size = strlen(head) + strlen(tail) + 1;
  *out = malloc(size);
  if (!*out) return attune_fail(ATTUNE_OUT_OF_MEMORY, "needs %zu bytes for a path", size);
  snprintf(*out, size, "%s%s", head, tail);
  return ATTUNE_OK;
}

static const char *setting(const char *name) {
  const char *value = secure_getenv(name);
  return value && *value ? value : NULL;
}

attune_status attune_path_choose(char **out, const char *explicit_path) {
  *out = NULL;
  const char *path = explicit_path && *explicit_path ? explicit_path : setting("ATTUNE_DATABASE");
  /* SQLite would read "file:x?..." as an address. */
  if (path) return join(out, strncmp(path, "file:", 5) == 0 ? "./" : "", path);
  const char *folder = setting("XDG_CACHE_HOME");
  if (folder && *folder == '/') return join(out, folder, "/attune/attune.db"); /* the standard ignores relative ones */
  folder = setting("HOME");
  return folder ? join(out, folder, "/.cache/attune/attune.db") : ATTUNE_OK;
}

int attune_path_make_folders(const char *path) {
  char *folder = strdup(path);
  if (!folder) return ENOMEM;
  int error = 0;
  for (char *slash = strchr(folder + 1, '/'); slash && !error; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    /* Only what is missing is made: mkdir on a folder of a read-only file system need not say EEXIST. */
    struct stat status;
    if (stat(folder, &status) != 0 && mkdir(folder, 0700) != 0 && errno != EEXIST) error = errno;
    *slash = '/';
  }
  free(folder);
  return error;
}

/* Opens the folder of path, or -1. */
static int open_folder(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char *folder = strndup(path, (size_t)(slash - path + 1));
  int descriptor = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  free(folder);
  return descriptor;
}

bool attune_path_on_network(const char *path) {
  static const unsigned int types[] = {
      0x6969,     /* NFS */
      0x517b,     /* SMB */
      0xff534d42, /* CIFS */
      0xfe534d42, /* SMB2 */
      0x65735546, /* FUSE: sshfs and the like; a local one only loses some speed */
      0x01021997, /* 9p */
      0x0bd00bd0, /* Lustre */
      0x47504653, /* GPFS */
      0x00c36400, /* Ceph */
      0x19830326, /* BeeGFS */
      0xaad7aaea, /* PanFS */
      0x5346414f, /* AFS */
      0x73757245, /* Coda */
      0x7461636f, /* OCFS2 */
      0x01161970, /* GFS2 */
  };
  int folder = open_folder(path);
  struct statfs status;
  bool known = folder >= 0 && fstatfs(folder, &status) == 0;
  if (folder >= 0) close(folder);
  if (!known) return false;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if ((unsigned int)status.f_type == types[i]) return true;
  }
  return false;
}

const char *attune_path_not_a_file(const char *path) {
  struct stat file;
  if (stat(path, &file) != 0 || S_ISREG(file.st_mode)) return NULL;
  if (S_ISDIR(file.st_mode)) return "a folder";
  return S_ISFIFO(file.st_mode) ? "a FIFO, not a file" : "a device or a socket, not a file";
}

/* As SQLite sees it: the log may have what the file has not yet. */
static bool has_our_identity(sqlite3 *db) {
  sqlite3_stmt *statement;
  bool ours = false;
  if (sqlite3_prepare_v2(db, "PRAGMA application_id", -1, &statement, NULL) == SQLITE_OK)
    ours = sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int(statement, 0) == 0x4174756e;
  sqlite3_finalize(statement);
  return ours;
}

bool attune_path_is_ours(sqlite3 *db, const char *path) {
  enum { HEADER = 8192, IDENTITY = 68 }; /* the schema begins in the first page, which has 4,096 bytes */
  static const unsigned char identity[] = {0x41, 0x74, 0x75, 0x6e};
  static const char kernels[] = "CREATE TABLE kernels", measurements[] = "CREATE TABLE measurements";
  unsigned char header[HEADER];
  if (has_our_identity(db)) return true;
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const ssize_t size = file >= 0 ? read(file, header, sizeof header) : 0;
  if (file >= 0) close(file);
  if (size <= 0) return false;
  if (size >= IDENTITY + 4 && memcmp(header, "SQLite format 3", 16) == 0 &&
      memcmp(header + IDENTITY, identity, sizeof identity) == 0)
    return true;
  return memmem(header, (size_t)size, kernels, sizeof kernels - 1) &&
         memmem(header, (size_t)size, measurements, sizeof measurements - 1);
}

/* Whether the file, where there is one, belongs to this user or root, and is written by no other. */
static bool is_private(const char *path) {
  struct stat file;
  if (stat(path, &file) != 0) return errno == ENOENT;
  return (file.st_uid == geteuid() || file.st_uid == 0) && (file.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Whether nobody else can rename what is in the folder and belongs to this user or root: S_ISVTX keeps others from it.
 */
static bool keeps_names(const char *folder) {
  struct stat file;
  if (stat(folder, &file) != 0) return false;
  return (file.st_uid == geteuid() || file.st_uid == 0) && ((file.st_mode & S_ISVTX) != 0 || is_private(folder));
}

/* The file's own folder gets logs, which nobody else may put there; above it names must last, up to the root. path is
 * cut. */
static bool has_private_folders(char *path) {
  strrchr(path, '/')[1] = 0;
  bool private = is_private(path);
  while (private && path[1] != 0) {
    path[strlen(path) - 1] = 0;
    strrchr(path, '/')[1] = 0;
    private = keeps_names(path);
  }
  return private;
}

bool attune_path_is_private(sqlite3 *db) {
  const char *path = sqlite3_db_filename(db, "main"); /* absolute, links followed */
  if (!path || !*path) return true;
  char *folders = strdup(path), *log = NULL;
  bool private = folders && join(&log, path, "-wal") == ATTUNE_OK;
  /* The folders first: nobody else can then put another file in the place of the one that is open. */
  if (private) private = has_private_folders(folders);
  if (private) private = is_private(path) && is_private(log) && !attune_path_moved(db);
  free(folders);
  free(log);
  return private;
}

/* Renames path + suffix to aside + suffix; a file that is not there is no fault. */
static int rename_part(const char *path, const char *aside, const char *suffix) {
  char *from = NULL, *to = NULL;
  int error = ENOMEM;
  if (join(&from, path, suffix) == ATTUNE_OK && join(&to, aside, suffix) == ATTUNE_OK) {
    error = rename(from, to) == 0 || errno == ENOENT ? 0 : errno;
  }
  free(from);
  free(to);
  return error;
}

static attune_status find_free_name(char **out, const char *path) {
  for (int n = 1; n < 10000; n++) {
    char suffix[32];
    snprintf(suffix, sizeof suffix, ".damaged-%d", n);
    attune_status status = join(out, path, suffix);
    if (status) return status;
    struct stat ignored;
    if (lstat(*out, &ignored) != 0) return ATTUNE_OK;
    free(*out);
    *out = NULL;
  }
  return attune_fail(ATTUNE_STORE_FAILED, "%s.damaged-1 to -9999 all exist; delete some", path);
}

/* Anybody who may read a folder can lock it, for ever: the wait is bounded. */
static bool take_turn(int folder) {
  enum { STEP_MILLISECONDS = 10 };
  const struct timespec step = {.tv_nsec = STEP_MILLISECONDS * 1000000};
  for (int waited = 0; flock(folder, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; waited += STEP_MILLISECONDS) {
    if (waited >= ATTUNE_BUSY_MILLISECONDS) return false;
    nanosleep(&step, NULL);
  }
  return true; /* also where the file system has no locks */
}

attune_status attune_path_set_aside(char **out, sqlite3 *db) {
  *out = NULL;
  attune_status status = ATTUNE_OK;
  char *path = NULL, *aside = NULL;
  int folder = -1;
  /* SQLite's own name for the file: links are followed, as they are for its log. */
  status = join(&path, sqlite3_db_filename(db, "main"), "");
  if (status) goto out;
  /* Processes that see the damage at once take turns, so that the second does not set aside what the first has rebuilt.
   */
  folder = open_folder(path);
  if (folder >= 0 && !take_turn(folder)) {
    status = attune_fail(ATTUNE_STORE_FAILED, "its folder is locked by another process");
    goto out;
  }
  if (attune_path_moved(db)) goto out;
  sqlite3_close(db);
  db = NULL;
  status = find_free_name(&aside, path);
  if (status) goto out;
  /* The log goes first: left behind, it would be played into the new file. */
  int error = rename_part(path, aside, "-wal");
  if (!error) error = rename_part(path, aside, "-shm");
  if (!error) error = rename_part(path, aside, "-journal");
  if (!error) error = rename_part(path, aside, "");
  if (error == ENOMEM) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "needs memory for a path");
  } else if (error) {
    status = attune_fail(ATTUNE_STORE_FAILED, "cannot rename %s: %s", path, strerrordesc_np(error));
  } else {
    *out = aside;
    aside = NULL;
  }
out:
  sqlite3_close(db);
  free(aside);
  free(path);
  if (folder >= 0) close(folder);
  return status;
}

bool attune_path_moved(sqlite3 *db) {
  int moved = 0;
  return sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved;
}
