/* Compiles for the simulator with the C++17 compiler of the machine: a shared object, whose bytes are the binary. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/backend.h"

extern char **environ;

/* -Og: these kernels are run a few times each, mostly in the simulator, so that compiling them is most of the wait.
 * Nothing is fused that the source does not fuse (multiply_add): where it does, the GPU does too. */
static const char *const options[] = {"-std=c++17", "-Og", "-ffp-contract=off", "-fPIC", "-shared", "-w", "-x", "c++"};
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

/* What a compiler process finds open; -1: /dev/null as input, nothing as object. */
typedef struct {
  int input, log, object;
} streams;
enum { OBJECT_DESCRIPTOR = 3, NO_FOLDER = 125 };

static int add_streams(posix_spawn_file_actions_t *actions, const streams *open) {
  int error = open->input < 0 ? posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0)
                              : posix_spawn_file_actions_adddup2(actions, open->input, 0);
  if (error == 0) error = posix_spawn_file_actions_adddup2(actions, open->log, 1);
  if (error == 0) error = posix_spawn_file_actions_adddup2(actions, open->log, 2);
  if (error == 0 && open->object >= 0)
    error = posix_spawn_file_actions_adddup2(actions, open->object, OBJECT_DESCRIPTOR);
  return error;
}

/* In a process group of its own, so that Ctrl-C on a terminal ends what the application decides to end and never a
 * compilation alone. An application may ignore SIGCHLD; the child does not. */
static int set_attributes(posix_spawnattr_t *attributes) {
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGCHLD);
  const int error = posix_spawnattr_setsigdefault(attributes, &defaults);
  return error ? error : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
}

static attune_status spawn(pid_t *child, char *const argv[], const streams *open) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  if (posix_spawn_file_actions_init(&actions) != 0)
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to start %s", argv[0]);
  if (posix_spawnattr_init(&attributes) != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory to start %s", argv[0]);
  }
  int error = add_streams(&actions, open);
  if (error == 0) error = set_attributes(&attributes);
  if (error == 0) error = posix_spawnp(child, argv[0], &actions, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return ATTUNE_OK;
  return attune_fail(error == ENOMEM ? ATTUNE_OUT_OF_MEMORY : ATTUNE_NO_COMPILER, "cannot start %s: %s", argv[0],
                     strerror(error));
}

/* Runs argv. *exit_code is -1 if it did not exit by itself, and 0 where an application that ignores SIGCHLD keeps the
 * answer from us: the output then tells. */
static attune_status run(char *const argv[], const streams *open, int *exit_code) {
  pid_t child;
  int result;
  const attune_status status = spawn(&child, argv, open);
  if (status != ATTUNE_OK) return status;
  while (waitpid(child, &result, 0) < 0) {
    if (errno == EINTR) continue;
    if (errno != ECHILD) return attune_fail(ATTUNE_COMPILE_FAILED, "waiting for %s: %s", argv[0], strerror(errno));
    result = 0; /* it has ended: with SIGCHLD ignored waitpid returns only then */
    break;
  }
  *exit_code = WIFEXITED(result) ? WEXITSTATUS(result) : -1;
  return ATTUNE_OK;
}

/* A file in memory, beyond the descriptors that the child's own replace; -1 with errno. */
static int memory_file(const char *name) {
  const int file = memfd_create(name, MFD_CLOEXEC);
  if (file < 0 || file > OBJECT_DESCRIPTOR) return file;
  const int moved = fcntl(file, F_DUPFD_CLOEXEC, OBJECT_DESCRIPTOR + 1);
  close(file);
  return moved;
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

static attune_status write_all(int file, const char *text, const char *name) {
  for (size_t left = strlen(text); left > 0;) {
    const ssize_t n = write(file, text, left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for %s: %s", name, strerror(errno));
    text += n;
    left -= (size_t)n;
  }
  return lseek(file, 0, SEEK_SET) == 0 ? ATTUNE_OK : attune_fail(ATTUNE_COMPILE_FAILED, "lseek: %s", strerror(errno));
}

/* Runs argv; *log receives what it says. */
static attune_status run_logged(char *const argv[], int input, int object, int *exit_code, char **log) {
  size_t size;
  *log = NULL;
  const int output = memory_file("log");
  if (output < 0) return attune_fail(ATTUNE_COMPILE_FAILED, "memfd_create: %s", strerror(errno));
  attune_status status = run(argv, &(streams){input, output, object}, exit_code);
  if (status == ATTUNE_OK) status = read_all(log, &size, output, "the compiler's log");
  close(output);
  return status;
}

static attune_status ask_version(char *compiler, char version[64]) {
  char *log, *argv[] = {compiler, "--version", NULL};
  int exit_code = -1;
  attune_status status = run_logged(argv, -1, -1, &exit_code, &log);
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

/* Compilers want files. The shell makes their folder and removes it, so that none stays whatever ends this process:
 * the shell outlives it. The compiler's own temporary files go there too. The arguments: where folders go, and the
 * compiler with its options. */
static const char script[] = "folder=$(mktemp -d -- \"$1/attune-XXXXXX\") || exit 125\n"
                             "export TMPDIR=\"$folder\"\n"
                             "shift\n"
                             "trap 'rm -rf -- \"$folder\"' EXIT\n"
                             "trap 'exit 1' HUP INT TERM\n"
                             "cat >\"$folder/kernel.cc\" || exit 125\n"
                             "\"$@\" \"$folder/kernel.cc\" -o \"$folder/kernel.so\" </dev/null 3>&- || exit\n"
                             "cat \"$folder/kernel.so\" >&3\n";

/* Where folders go. A name that begins with '-' would be an option. */
static void temporary_root(char root[PATH_MAX]) {
  const char *asked = getenv("TMPDIR");
  if (!asked || !*asked) asked = "/tmp";
  snprintf(root, PATH_MAX, "%s%s", *asked == '/' ? "" : "./", asked);
}

static attune_status run_script(char *compiler, int source, int object, int *exit_code, char **log) {
  char root[PATH_MAX];
  temporary_root(root);
  char *argv[OPTIONS + 7] = {"sh", "-c", (char *)(uintptr_t)script, "sh", root, compiler};
  for (int i = 0; i < OPTIONS; i++)
    argv[6 + i] = (char *)(uintptr_t)options[i];
  const attune_status status = run_logged(argv, source, object, exit_code, log);
  if (status != ATTUNE_OK || *exit_code != NO_FOLDER) return status;
  return attune_fail(
      ATTUNE_COMPILE_FAILED,
      "cannot write a kernel's source to a folder in %s; set TMPDIR to a writable one with free space: %s", root,
      end_of(*log));
}

attune_status attune_compile_host(attune_compiled *out, const char *source, const char *symbol) {
  *out = (attune_compiled){.registers = -1, .shared_static = -1, .spill_bytes = -1};
  char name[512], version[64], *log = NULL, *binary = NULL;
  int exit_code = -1, input = -1, object = -1;
  attune_status status = find_compiler(name, version);
  if (status != ATTUNE_OK) return status;
  input = memory_file("source");
  object = memory_file("object");
  if (input < 0 || object < 0) status = attune_fail(ATTUNE_COMPILE_FAILED, "memfd_create: %s", strerror(errno));
  if (status == ATTUNE_OK) status = write_all(input, source, "a kernel's source");
  if (status == ATTUNE_OK) status = run_script(name, input, object, &exit_code, &log);
  if (status == ATTUNE_OK) status = read_all(&binary, &out->size, object, "the compiler's output");
  if (status == ATTUNE_OK && (exit_code != 0 || out->size == 0))
    status = attune_fail(ATTUNE_COMPILE_FAILED, "%s (%s) cannot compile %s: %s", name, version, symbol, end_of(log));
  if (status == ATTUNE_OK) {
    out->binary = binary;
    out->log = log;
  } else {
    free(binary);
    free(log);
  }
  if (input >= 0) close(input);
  if (object >= 0) close(object);
  return status;
}
