/* attune: what runs each verb. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/nearest.h"
#include "tuner/command/command.h"
#include "tuner/command/table.h"

enum { MISUSED = 2 };

/* Results that do not reach stdout (a full disk, a closed pipe) are not done. */
static int finish(int exit_code) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return exit_code;
  perror("attune: stdout");
  return exit_code != 0 ? exit_code : 1;
}

/* So that a fault before the flags are parsed is told as asked. */
static attune_flags flags_of(int argc, char **argv) {
  attune_flags flags = {0};
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "--json") == 0) flags.json = true;
  return flags;
}

static int unknown(const attune_flags *flags, const char *what, const char *word) {
  const char *names[ATTUNE_FLAGS_MAX];
  char nearest[160];
  attune_verb_names(names);
  return attune_verb_failed(flags, attune_fail(ATTUNE_BAD_ARGUMENT, "no %s \"%.40s\"%s; see attune --help", what, word,
                                               attune_did_you_mean(nearest, word, names, "")));
}

static int refuse_json(const attune_flags *flags, const char *what) {
  return attune_verb_failed(flags, attune_fail(ATTUNE_BAD_ARGUMENT, "%s prints text: leave out --json", what));
}

/* attune help, attune help WORD */
static int help(int argc, char **argv) {
  const attune_flags flags = flags_of(argc, argv);
  if (flags.json) return refuse_json(&flags, "help");
  const char *word = argc > 1 ? argv[1] : "";
  if (strcmp(word, "--help") == 0) word = argv[0];
  const attune_verb *verb = attune_verb_of(word);
  if (*word == '\0')
    attune_help_all(stdout);
  else if (verb != NULL)
    attune_help_verb(verb);
  else if (strcmp(word, "workloads") == 0)
    attune_help_workloads();
  else if (strcmp(word, "stores") == 0)
    attune_help_stores();
  else if (strcmp(word, "configs") == 0)
    attune_help_configs();
  else if (strcmp(word, "man") == 0)
    attune_help_man();
  else
    return unknown(&flags, "help for", word);
  return 0;
}

static int completion(int argc, char **argv) {
  attune_flags flags;
  int exit_code;
  if (!attune_verb_begin(&flags, &exit_code, argc, argv)) return exit_code;
  if (flags.json) return refuse_json(&flags, "completion");
  const attune_status status = attune_help_completion(flags.rest_count == 1 ? flags.rest[0] : "");
  return status == ATTUNE_OK ? 0 : attune_verb_failed(&flags, status);
}

static const struct {
  const char *name;
  int (*run)(int argc, char **argv);
} runs[] = {
    {"devices", attune_verb_devices},
    {"emit", attune_verb_emit},
    {"compile", attune_verb_compile},
    {"run", attune_verb_run},
    {"verify", attune_verb_verify},
    {"tune", attune_verb_tune},
    {"explain", attune_verb_explain},
    {"bench", attune_verb_bench},
    {"store", attune_verb_store},
    {"completion", completion},
    {"help", help},
};

int main(int argc, char **argv) {
  signal(SIGXFSZ, SIG_IGN); /* a file that grows too large is an error like a full disk */
  if (argc < 2) {
    attune_help_all(stderr);
    return MISUSED;
  }
  const char *word = argv[1];
  if (strcmp(word, "--version") == 0) {
    printf("attune %s\n", attune_version());
    return finish(0);
  }
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) word = "help";
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
    if (strcmp(runs[i].name, word) == 0) return finish(runs[i].run(argc - 1, argv + 1));
  const attune_flags flags = flags_of(argc, argv);
  return unknown(&flags, "verb", word);
}
