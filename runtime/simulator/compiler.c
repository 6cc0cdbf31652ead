/* Compiles for the simulator with the C++17 compiler of the machine: a shared object, whose bytes are the binary. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/backend.h"

extern char **environ;

/* -O1: these kernels are run a few times each, so that compiling them is most of the wait. Nothing is fused that the
 * source does not fuse (multiply_add): where it does, the GPU does too. */
static const char *const options[] = {"-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-shared", "-w", "-x", "c++"};
enum { OPTIONS = sizeof options / sizeof options[0] };

/* Stands behind the options, so that machines of several kinds can share a store. No option asks for more than every
 * processor of a kind has, so the kind is enough. */
static const char processor[] =
#if defined __x86_64__
    "for x86_64";
#elif defined __aarch64__
    "for aarch64";
#elif defined __riscv
    "for riscv";
#elif defined __powerpc64__
    "for ppc64";
#else
    "for this machine";
#endif

/* Runs argv without a shell; its stdout and stderr go to the descriptor. In a process group of its own, so that Ctrl-C
 * on a terminal ends what the application decides to end and never a compilation alone. *exit_code is -1 if it did not
 * exit by itself, and 0 where an application that ignores SIGCHLD keeps the answer from us: the output then tells. */
static attune_status run(char *const argv[], int output, int *exit_code) {
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0)
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to start %s", argv[0]);
  int error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, output, 1);
  if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, output, 2);
  posix_spawnattr_t attributes;
  if (posix_spawnattr_init(&attributes) != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to start %s", argv[0]);
  }
  if (error == 0) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t child = -1;
  if (error == 0) error = posix_spawnp(&child, argv[0], &actions, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return attune_fail(ATTUNE_NO_COMPILER, "cannot start %s: %s", argv[0], strerror(error));
  int status;
  while (waitpid(child, &status, 0) < 0) {
    if (errno == EINTR) continue;
    if (errno != ECHILD) return attune_fail(ATTUNE_COMPILE_FAILED, "waiting for %s: %s", argv[0], strerror(errno));
    status = 0; /* it has ended: with SIGCHLD ignored waitpid returns only then */
    break;
  }
  *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ATTUNE_OK;
}

/* All that the descriptor's file holds, NUL-terminated; *out is malloc'ed. */
static attune_status read_all(char **out, size_t *size, int file, const char *name) {
  *out = NULL;
  off_t length = lseek(file, 0, SEEK_END);
  if (length < 0) return attune_fail(ATTUNE_COMPILE_FAILED, "cannot read %s: %s", name, strerror(errno));
  *size = (size_t)length;
  char *bytes = malloc(*size + 1);
  if (!bytes) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %s (%zu bytes)", name, *size);
  for (size_t done = 0; done < *size;) {
    ssize_t n = pread(file, bytes + done, *size - done, (off_t)done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      free(bytes);
      return attune_fail(ATTUNE_COMPILE_FAILED, "cannot read all %zu bytes of %s", *size, name);
    }
    done += (size_t)n;
  }
  bytes[*size] = '\0';
  *out = bytes;
  return ATTUNE_OK;
}

static attune_status read_file(char **out, size_t *size, const char *path) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return attune_fail(ATTUNE_COMPILE_FAILED, "cannot read %s: %s", path, strerror(errno));
  attune_status status = read_all(out, size, file, path);
  close(file);
  return status;
}

static attune_status write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "wb");
  bool written = file && fputs(text, file) >= 0;
  if (file && fclose(file) != 0) written = false;
  return written ? ATTUNE_OK
                 : attune_fail(ATTUNE_COMPILE_FAILED, "cannot write %s: %s; set TMPDIR to a folder with free space",
                               path, strerror(errno));
}

/* A private folder with what one compilation needs. */
typedef struct {
  char folder[512], source[560], object[560];
} workshop;

static attune_status workshop_open(workshop *out) {
  const char *root = getenv("TMPDIR");
  if (!root || !*root) root = "/tmp";
  /* A name that begins with '-' would be an option to the compiler. */
  int n = snprintf(out->folder, sizeof out->folder, "%s%s/attune-XXXXXX", *root == '/' ? "" : "./", root);
  if (n < 0 || n >= (int)sizeof out->folder || !mkdtemp(out->folder)) {
    out->folder[0] = '\0';
    return attune_fail(ATTUNE_COMPILE_FAILED, "cannot make a folder in %s: %s; set TMPDIR to a writable one", root,
                       strerror(errno));
  }
  snprintf(out->source, sizeof out->source, "%s/kernel.cc", out->folder);
  snprintf(out->object, sizeof out->object, "%s/kernel.so", out->folder);
  return ATTUNE_OK;
}

static void workshop_close(const workshop *shop) {
  if (!shop->folder[0]) return;
  unlink(shop->source);
  unlink(shop->object);
  rmdir(shop->folder);
}

/* Runs argv; *log receives what it says. */
static attune_status run_logged(char *const argv[], int *exit_code, char **log) {
  size_t size;
  *log = NULL;
  int output = memfd_create("log", MFD_CLOEXEC);
  if (output < 0) return attune_fail(ATTUNE_COMPILE_FAILED, "memfd_create: %s", strerror(errno));
  attune_status status = run(argv, output, exit_code);
  if (status == ATTUNE_OK) status = read_all(log, &size, output, "the compiler's log");
  close(output);
  return status;
}

static attune_status ask_version(char *compiler, char version[64]) {
  char *log, *argv[] = {compiler, "--version", NULL};
  int exit_code = -1;
  attune_status status = run_logged(argv, &exit_code, &log);
  if (status == ATTUNE_OK && exit_code != 0)
    status = attune_fail(ATTUNE_NO_COMPILER, "%s --version exits with %d", compiler, exit_code);
  if (status == ATTUNE_OK) {
    log[strcspn(log, "\r\n")] = '\0';
    snprintf(version, 64, "%.63s", log);
  }
  free(log);
  return status;
}

/* The program to run; version may not be NULL: a compiler that cannot say its version is none. */
static attune_status find_compiler(char name[512], char version[64]) {
  static const char *const usual[] = {"c++", "g++", "clang++"};
  const char *asked = getenv("ATTUNE_HOST_CXX");
  if (asked && *asked) {
    snprintf(name, 512, "%s", asked);
    if (ask_version(name, version) == ATTUNE_OK) return ATTUNE_OK;
    char why[256];
    snprintf(why, sizeof why, "%s", attune_message());
    return attune_fail(ATTUNE_NO_COMPILER, "ATTUNE_HOST_CXX names %s, which is no working C++ compiler: %s", name, why);
  }
  for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
    snprintf(name, 512, "%s", usual[i]);
    if (ask_version(name, version) == ATTUNE_OK) return ATTUNE_OK;
  }
  return attune_fail(
      ATTUNE_NO_COMPILER,
      "the simulator compiles kernels with a C++17 compiler and found none of c++, g++, clang++ on the PATH;"
      " install one (Debian, Ubuntu: apt install g++), or name it in ATTUNE_HOST_CXX");
}

attune_status attune_compiler_host(char compiler[64], char text[256]) {
  char name[512];
  text[0] = '\0';
  for (int i = 0; i < OPTIONS; i++) {
    strcat(text, options[i]);
    strcat(text, " ");
  }
  strcat(text, processor);
  return find_compiler(name, compiler);
}

static const char *end_of(const char *log) {
  size_t length = strlen(log);
  return length > 1500 ? log + length - 1500 : log;
}

attune_status attune_compile_host(attune_compiled *out, const char *source, const char *symbol) {
  *out = (attune_compiled){.registers = -1, .shared_static = -1, .spill_bytes = -1};
  workshop shop = {.folder = ""};
  char name[512], version[64], *log = NULL, *binary = NULL;
  int exit_code = -1;
  attune_status status = find_compiler(name, version);
  if (status == ATTUNE_OK) status = workshop_open(&shop);
  if (status == ATTUNE_OK) status = write_file(shop.source, source);
  if (status != ATTUNE_OK) goto out;
  char *argv[OPTIONS + 5] = {name};
  int argc = 1;
  for (int i = 0; i < OPTIONS; i++)
    argv[argc++] = (char *)(uintptr_t)options[i];
  argv[argc++] = shop.source;
  argv[argc++] = "-o";
  argv[argc++] = shop.object;
  status = run_logged(argv, &exit_code, &log);
  if (status != ATTUNE_OK) goto out;
  if (exit_code != 0) {
    status = attune_fail(ATTUNE_COMPILE_FAILED, "%s (%s) cannot compile %s: %s", name, version, symbol, end_of(log));
    goto out;
  }
  status = read_file(&binary, &out->size, shop.object);
  if (status != ATTUNE_OK) goto out;
  out->binary = binary;
  out->log = log;
  log = NULL;
out:
  workshop_close(&shop);
  free(log);
  return status;
}
