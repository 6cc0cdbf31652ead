/* attune: the table of verbs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tuner/tuner.h"

static const struct {
  const char *name, *meaning;
  int (*run)(int argc, char **argv);
} verbs[] = {
    {"devices", "where kernels can run here, and within which limits", attune_verb_devices},
    {"emit", "the source of a kernel", attune_verb_emit},
    {"compile", "a kernel for an architecture: registers, shared memory, spills, seconds", attune_verb_compile},
    {"run", "attention of the tensors of a file", attune_verb_run},
    {"verify", "whether a kernel is right, against float64", attune_verb_verify},
    {"tune", "the fastest kernel for a problem or a workload, measured and stored", attune_verb_tune},
    {"explain", "which kernel a problem gets, and why", attune_verb_explain},
    {"bench", "how fast kernels are", attune_verb_bench},
    {"store", "what is stored; in and out as JSON", attune_verb_store},
};
enum { VERB_COUNT = sizeof verbs / sizeof *verbs, MISUSED = 2 };

static void print_help(FILE *to) {
  fprintf(to, "usage: attune VERB [flags]\n\n"
              "Exact attention, generated and tuned for the GPU at hand.\n\n");
  for (int i = 0; i < VERB_COUNT; i++)
    fprintf(to, "  %-9s %s\n", verbs[i].name, verbs[i].meaning);
  fprintf(
      to,
      "\nattune VERB --help says which flags a verb takes; --json has results as JSON. Exit code 0: done, 1: failed,\n"
      "2: misused.\n");
}

/* Letters to insert, delete or replace to make one word of the other. */
static size_t edits(const char *a, const char *b) {
  enum { LONGEST = 16 };
  size_t row[LONGEST + 1];
  const size_t width = strlen(b);
  if (width > LONGEST) return SIZE_MAX;
  for (size_t j = 0; j <= width; j++)
    row[j] = j;
  for (size_t i = 1; i <= strlen(a); i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= width; j++) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      const size_t inserted = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      diagonal = row[j];
      row[j] = replaced < inserted ? replaced : inserted;
    }
  }
  return row[width];
}

static int unknown(const char *word) {
  int nearest = 0;
  for (int i = 1; i < VERB_COUNT; i++)
    if (edits(word, verbs[i].name) < edits(word, verbs[nearest].name)) nearest = i;
  if (edits(word, verbs[nearest].name) <= 2)
    fprintf(stderr, "attune: no verb \"%.40s\"; did you mean \"%s\"? See attune --help\n", word, verbs[nearest].name);
  else
    fprintf(stderr, "attune: no verb \"%.40s\"; see attune --help\n", word);
  return MISUSED;
}

/* Results that do not reach stdout (a full disk, a closed pipe) are not done. */
static int finish(int exit_code) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return exit_code;
  perror("attune: stdout");
  return exit_code != 0 ? exit_code : 1;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    print_help(stderr);
    return MISUSED;
  }
  const char *word = argv[1];
  if (strcmp(word, "--version") == 0) {
    printf("attune %s\n", attune_version());
    return finish(0);
  }
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
    print_help(stdout);
    return finish(0);
  }
  for (int i = 0; i < VERB_COUNT; i++)
    if (strcmp(verbs[i].name, word) == 0) return finish(verbs[i].run(argc - 1, argv + 1));
  return unknown(word);
}
