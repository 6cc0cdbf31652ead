/* For tests of the command: running it in a folder of its own, and what it printed. */
#ifndef ATTUNE_TESTS_COMMAND_CASE_H
#define ATTUNE_TESTS_COMMAND_CASE_H

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/command/table.h"
#include "tuner/command/verbs.h"

static char command[4096]; /* beside this test's folder */
static char folder[32];

/* ---- running ---- */

typedef struct {
  int exit_code;
  char out[1 << 18], err[16384];
} result;

static inline void read_back(char *out, size_t size, const char *name) {
  FILE *file = fopen(name, "r");
  assert_non_null(file);
  out[fread(out, 1, size - 1, file)] = '\0';
  fclose(file);
}

/* In the folder, with its own store. */
static inline const result *run(const char *format, ...) {
  static result last;
  char arguments[1024], line[8192];
  va_list list;
  va_start(list, format);
  vsnprintf(arguments, sizeof arguments, format, list);
  va_end(list);
  snprintf(line, sizeof line, "cd %s && ATTUNE_DATABASE=%s.db sh -c '%s %s' >%s.out 2>%s.err </dev/null", folder,
           folder, command, arguments, folder, folder);
  const int status = system(line);
  last.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  snprintf(line, sizeof line, "%s.out", folder);
  read_back(last.out, sizeof last.out, line);
  snprintf(line, sizeof line, "%s.err", folder);
  read_back(last.err, sizeof last.err, line);
  return &last;
}

static inline void expect(const result *found, int exit_code, const char *says) {
  if (found->exit_code != exit_code || (strstr(found->out, says) == NULL && strstr(found->err, says) == NULL))
    fail_msg("expected exit code %d and \"%s\", found %d, stdout \"%.500s\", stderr \"%.500s\"", exit_code, says,
             found->exit_code, found->out, found->err);
}

static inline json_t *json_of(const result *found) {
  json_error_t error;
  json_t *value = json_loads(found->out, 0, &error);
  if (value == NULL) fail_msg("no JSON: %s: %.500s %.500s", error.text, found->out, found->err);
  return value;
}

static inline const char *text_at(json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

/* The file is not there, and nothing half-written is beside it. */
static inline void expect_nothing_written(void) {
  DIR *listing = opendir(folder);
  assert_non_null(listing);
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
    if (strncmp(entry->d_name, "out", 3) == 0) fail_msg("%s was written", entry->d_name);
  closedir(listing);
}

static inline int set_up(void **state) {
  (void)state;
  const ssize_t length = readlink("/proc/self/exe", command, sizeof command - sizeof "attune");
  if (length < 0) return 1;
  command[length] = '\0';
  for (int i = 0; i < 2; i++) { /* build/tests/test_command -> build/attune */
    char *slash = strrchr(command, '/');
    if (slash == NULL) return 1;
    *slash = '\0';
  }
  strcat(command, "/attune");
  strcpy(folder, "/tmp/attune-test-XXXXXX");
  return mkdtemp(folder) == NULL;
}

static inline int tear_down(void **state) {
  (void)state;
  char line[256];
  snprintf(line, sizeof line, "rm -rf %s %s.out %s.err %s.db*", folder, folder, folder, folder);
  return system(line);
}

/* ---- files ---- */

enum { SEQLEN_Q = 5, SEQLEN_K = 7, HEADS_Q = 4, HEADS_KV = 2, WIDTH = 8, WIDTH_V = 16 };
static float q[SEQLEN_Q * HEADS_Q * WIDTH], k[SEQLEN_K * HEADS_KV * WIDTH], v[SEQLEN_K * HEADS_KV * WIDTH_V],
    d_o[SEQLEN_Q * HEADS_Q * WIDTH_V];

/* Multiples of 1/8, so that every dtype holds them. */
static inline void fill(float *to, size_t count, int step) {
  for (size_t i = 0; i < count; i++)
    to[i] = (float)((int)(i * (size_t)step % 31) - 15) / 8.0f;
}

static inline void write_qkv(const char *name, const char *change) {
  char path[128];
  fill(q, sizeof q / sizeof *q, 7);
  fill(k, sizeof k / sizeof *k, 11);
  fill(v, sizeof v / sizeof *v, 13);
  if (strcmp(change, "huge") == 0) q[3] = 1e6f;
  fill(d_o, sizeof d_o / sizeof *d_o, 5);
  attune_tensor tensors[] = {
      {.name = "q", .dtype = "F32", .rank = 4, .shape = {1, SEQLEN_Q, HEADS_Q, WIDTH}, .data = q, .size = sizeof q},
      {.name = "k", .dtype = "F32", .rank = 4, .shape = {1, SEQLEN_K, HEADS_KV, WIDTH}, .data = k, .size = sizeof k},
      {.name = "v", .dtype = "F32", .rank = 4, .shape = {1, SEQLEN_K, HEADS_KV, WIDTH_V}, .data = v, .size = sizeof v},
      {.name = "do",
       .dtype = "F32",
       .rank = 4,
       .shape = {1, SEQLEN_Q, HEADS_Q, WIDTH_V},
       .data = d_o,
       .size = sizeof d_o}};
  if (strcmp(change, "dtype") == 0) strcpy(tensors[1].dtype, "I32");
  if (strcmp(change, "rank") == 0)
    tensors[0] = (attune_tensor){"q", "F32", 2, {SEQLEN_Q, HEADS_Q * WIDTH}, q, sizeof q};
  if (strcmp(change, "head_dim") == 0) {
    tensors[0].shape[2] = tensors[1].shape[2] = 8;
    tensors[0].shape[3] = 4;
    tensors[1].shape[2] = 4;
    tensors[1].shape[3] = 4;
    tensors[2].shape[2] = 4;
    tensors[2].shape[3] = 8;
  }
  if (strcmp(change, "heads") == 0) tensors[1].shape[2] = 1, tensors[1].shape[3] = 2 * WIDTH;
  if (strcmp(change, "empty") == 0) tensors[0].shape[1] = 0, tensors[0].size = 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_int_equal(attune_safetensors_write(path, tensors,
                                            strcmp(change, "absent") == 0 ? 2
                                            : strcmp(change, "do") == 0   ? 4
                                                                          : 3),
                   ATTUNE_OK);
}

static inline void truncate_file(const char *name, off_t by) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "r+");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  assert_int_equal(ftruncate(fileno(file), ftell(file) - by), 0);
  fclose(file);
}

/* Of a document, the problem at that place. */
static inline json_t *problem_of(const json_t *document, size_t place) {
  return json_array_get(json_object_get(document, "problems"), place);
}

/* The caller closes it. */
static inline attune_safetensors *open_file(const char *name) {
  char path[128];
  attune_safetensors *file;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (attune_safetensors_read(&file, path) != ATTUNE_OK) fail_msg("%s", attune_message());
  return file;
}

#endif
