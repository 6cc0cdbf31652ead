/* --help, the man page and the shells' completion, all from the tables of flags and verbs. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "generator/problem/field.h"
#include "tuner/command/columns.h"
#include "tuner/command/table.h"

enum { WIDTH = 80, FLAG_COLUMN = 25 };

/* ---- plain text ---- */

/* Paragraphs, one a line; lines that begin with a blank are printed as they are. */
static void paragraphs(FILE *to, const char *text) {
  bool as_it_is = false;
  for (const char *at = text; *at != '\0';) {
    const size_t length = strcspn(at, "\n");
    const bool next_as_it_is = *at == ' ';
    if (at != text && !(as_it_is && next_as_it_is)) fputc('\n', to);
    as_it_is = next_as_it_is;
    if (as_it_is)
      fprintf(to, " %.*s\n", (int)length, at);
    else
      attune_fill(to, at, length, 0, 0, WIDTH);
    at += length + (at[length] == '\n');
  }
}

/* What is too wide to stand beside the meaning. */
static void begin_row(FILE *to, const char *left) {
  fputs("  ", to);
  attune_fill(to, left, strlen(left), 2, 2, WIDTH);
  fprintf(to, "%*s", FLAG_COLUMN, "");
}

static void print_row(FILE *to, const char *left, const char *right) {
  const bool beside = strlen(left) + 4 <= FLAG_COLUMN;
  if (beside)
    fprintf(to, "  %-*s", FLAG_COLUMN - 2, left);
  else
    begin_row(to, left);
  attune_fill(to, right, strlen(right), FLAG_COLUMN, FLAG_COLUMN, WIDTH);
}

void attune_help_all(FILE *to) {
  fputs("usage: attune VERB [flags]\n\nExact attention, generated and tuned for the GPU at hand.\n\n", to);
  for (const attune_verb *verb = attune_verbs; verb->name != NULL; verb++) {
    fprintf(to, "  %-11s", verb->name);
    attune_fill(to, verb->meaning, strlen(verb->meaning), 13, 13, WIDTH);
  }
  fputs("\nattune VERB --help says which flags a verb takes; --json has results as JSON.\n\nExit code ", to);
  attune_fill(to, attune_exit_codes, strlen(attune_exit_codes), 0, 10, WIDTH);
  fputs("\nEnvironment:\n", to);
  paragraphs(to, attune_environment);
}

void attune_help_verb(const attune_verb *verb) {
  const int groups = verb->groups | ATTUNE_TAKES_COMMON;
  printf("usage: attune %s%s [flags]\n\n", verb->name, verb->actions != NULL ? " WORD" : "");
  paragraphs(stdout, verb->text);
  putchar('\n');
  for (const attune_action *action = verb->actions; action != NULL && action->name != NULL; action++) {
    char left[64];
    snprintf(left, sizeof left, "%s %s", action->name, action->arguments);
    print_row(stdout, left, action->meaning);
  }
  if (verb->actions != NULL) putchar('\n');
  for (int i = 0; i < attune_flag_count(); i++) {
    const attune_flag flag = attune_flag_at(i);
    char left[80];
    if ((flag.groups & groups) == 0) continue;
    snprintf(left, sizeof left, "--%s %s", flag.name, flag.argument != NULL ? flag.argument : "");
    print_row(stdout, left, flag.meaning);
  }
}

void attune_help_workloads(void) {
  const char *names[ATTUNE_FLAGS_MAX];
  char ship[512] = "Workloads that ship:";
  attune_workload_names(names, ATTUNE_FLAGS_MAX);
  for (int i = 0; names[i] != NULL; i++)
    snprintf(ship + strlen(ship), sizeof ship - strlen(ship), " %s", names[i]);
  paragraphs(stdout, attune_workload_format);
  putchar('\n');
  paragraphs(stdout, ship);
  putchar('\n');
  paragraphs(stdout, attune_many_lengths);
}

typedef void row_printer(const char *left, const char *right);

static void print_plain(const char *left, const char *right) {
  print_row(stdout, left, right);
}

/* As it stands in a config's text: what is left out of it stands for the usual value. */
static void config_word(char *out, size_t size, const attune_config_field *field) {
  out[0] = '\0';
  if (field->flag) snprintf(out, size, "%s", field->prefix);
  for (int i = 0; field->words != NULL && field->words[i] != NULL; i++) {
    const size_t used = strlen(out);
    if (i != field->absent)
      snprintf(out + used, size - used, "%s%s%s", used > 0 ? ", " : "", field->prefix, field->words[i]);
  }
  if (!field->flag && field->words == NULL) snprintf(out, size, "%sN", field->prefix);
}

static void config_words(int family, bool schedule, row_printer *print) {
  const attune_config_field *field;
  for (int i = 0; (field = attune_config_field_at(family, i)) != NULL; i++) {
    char left[256], right[256];
    if (field->schedule != schedule) continue;
    config_word(left, sizeof left, field);
    snprintf(right, sizeof right, "%s: %s", field->name, field->meaning);
    print(left, right);
  }
}

/* Of those that a config's text may name for a problem: forward's, then backward's. */
static bool is_offered(int family, char title[64]) {
  attune_config config = {.family = family};
  const attune_kernel_operation operation = attune_config_operation(&config);
  const bool backward = operation == ATTUNE_OPERATION_BACKWARD;
  snprintf(title, 64, "Family %s%s", attune_family_name((attune_family)family), backward ? ", backward" : "");
  return operation == ATTUNE_OPERATION_FORWARD || backward;
}

void attune_help_configs(void) {
  char title[64];
  paragraphs(stdout, attune_config_format);
  puts("\nWhat follows from the problem:");
  config_words(ATTUNE_FAMILY_REFERENCE, false, print_plain);
  puts("\nWhat follows from the problem, backward:");
  config_words(ATTUNE_FAMILY_BACKWARD_REFERENCE, false, print_plain);
  for (int family = 0; family <= ATTUNE_FAMILY_LAST; family++) {
    if (!is_offered(family, title)) continue;
    printf("\n%s:\n", title);
    config_words(family, true, print_plain);
  }
}

void attune_help_stores(void) {
  paragraphs(stdout, attune_shipping);
}

/* ---- the man page ---- */

/* What troff takes for its own is escaped; lines that begin with a blank keep their form. */
static void man_text(const char *text) {
  bool as_it_is = false;
  for (const char *at = text; *at != '\0';) {
    const size_t length = strcspn(at, "\n");
    if ((*at == ' ') != as_it_is)
      puts(as_it_is ? ".fi" : ".nf");
    else if (at != text && !as_it_is)
      puts(".PP");
    as_it_is = *at == ' ';
    if (*at == '.' || *at == '\'') fputs("\\&", stdout);
    for (size_t i = 0; i < length; i++)
      if (at[i] == '\\')
        fputs("\\e", stdout);
      else if (at[i] == '-')
        fputs("\\-", stdout);
      else
        putchar(at[i]);
    putchar('\n');
    at += length + (at[length] == '\n');
  }
  if (as_it_is) puts(".fi");
}

static void man_row(const char *name, const char *argument, const char *meaning) {
  puts(".TP");
  fputs("\\fB", stdout);
  for (; *name != '\0'; name++)
    fputs(*name == '-' ? "\\-" : (char[]){*name, '\0'}, stdout);
  printf("\\fR %s\n", argument != NULL ? argument : "");
  man_text(meaning);
}

static void man_word(const char *left, const char *right) {
  man_row(left, NULL, right);
}

static void man_configs(void) {
  puts(".SH CONFIGS");
  man_text(attune_config_format);
  config_words(ATTUNE_FAMILY_REFERENCE, false, man_word);
  config_words(ATTUNE_FAMILY_BACKWARD_REFERENCE, false, man_word);
  for (int family = 0; family <= ATTUNE_FAMILY_LAST; family++) {
    char title[64];
    if (!is_offered(family, title)) continue;
    printf(".SS %s\n", title);
    config_words(family, true, man_word);
  }
}

static void man_verb(const attune_verb *verb) {
  const char *names[ATTUNE_FLAGS_MAX];
  printf(".SS attune %s\n", verb->name);
  man_text(verb->text);
  for (const attune_action *action = verb->actions; action != NULL && action->name != NULL; action++)
    man_row(action->name, action->arguments, action->meaning);
  attune_flag_names(names, verb->groups);
  puts(".PP");
  for (int i = 0; names[i] != NULL; i++) {
    fputs(i == 0 ? "Flags: " : ", ", stdout);
    for (const char *c = names[i]; *c != '\0'; c++)
      fputs(*c == '-' ? "\\-" : (char[]){*c, '\0'}, stdout);
  }
  putchar('\n');
}

void attune_help_man(void) {
  printf(".TH ATTUNE 1 \"\" \"attune %s\"\n.SH NAME\nattune \\- exact attention kernels, generated and tuned\n",
         attune_version());
  puts(".SH SYNOPSIS\n.B attune\n.I VERB\n[flags]\n.SH VERBS");
  for (const attune_verb *verb = attune_verbs; verb->name != NULL; verb++)
    man_verb(verb);
  puts(".SH FLAGS");
  for (int i = 0; i < attune_flag_count(); i++) {
    const attune_flag flag = attune_flag_at(i);
    char name[64];
    if (flag.name == NULL) continue;
    snprintf(name, sizeof name, "--%s", flag.name);
    man_row(name, flag.argument, flag.meaning);
  }
  puts(".SH WORKLOADS");
  man_text(attune_workload_format);
  puts(".PP");
  man_text(attune_many_lengths);
  man_configs();
  puts(".SH STORES");
  man_text(attune_shipping);
  puts(".SH ENVIRONMENT");
  man_text(attune_environment);
  puts(".SH EXIT STATUS");
  man_text(attune_exit_codes);
}

/* ---- completion ---- */

static void print_words(const char *const *words, const char *prefix) {
  for (int i = 0; words[i] != NULL; i++)
    printf("%s%s%s", i > 0 ? " " : "", prefix, words[i]);
}

static bool is_literal(const char *arguments) { /* "[rows]", not "[FILE]" */
  return arguments[0] == '[' && islower((unsigned char)arguments[1]);
}

static void print_flag_values(attune_flag_id id, const attune_flag *flag) {
  const char *names[ATTUNE_FLAGS_MAX];
  attune_device device;
  char key[ATTUNE_CARD_KEY_MAX];
  if (flag->words != NULL) print_words(flag->words, "");
  if (id == ATTUNE_FLAG_WORKLOAD) {
    attune_workload_names(names, ATTUNE_FLAGS_MAX);
    print_words(names, "");
  }
  if (id == ATTUNE_FLAG_ARCH) print_words(attune_architectures, "");
  if (id == ATTUNE_FLAG_ARCH || id == ATTUNE_FLAG_DEVICE) fputs(" host", stdout);
  for (int i = 0; id == ATTUNE_FLAG_LIKE && attune_device_of_card_at(&device, key, i); i++)
    printf("%s%s", i > 0 ? " " : "", key);
}

static void complete_values(void) {
  puts("  case $before in");
  for (int i = 0; i < attune_flag_count(); i++) {
    const attune_flag flag = attune_flag_at(i);
    if (flag.name == NULL || flag.argument == NULL) continue;
    const bool file = strstr(flag.argument, "FILE") != NULL || strcmp(flag.argument, "PATH") == 0;
    const int id = i - attune_problem_field_count;
    printf("  --%s) COMPREPLY=($(compgen %s-P \"$prefix\" -W \"", flag.name, file ? "-f " : "");
    print_flag_values(id < 0 ? ATTUNE_FLAG_COUNT : (attune_flag_id)id, &flag);
    puts("\" -- \"$word\")); return ;;");
  }
  puts("  esac");
}

/* What may follow the word of a verb, such as rows after list. */
static void complete_actions(const attune_verb *verb) {
  for (const attune_action *action = verb->actions; action != NULL && action->name != NULL; action++)
    if (is_literal(action->arguments))
      printf("  %s:%s) COMPREPLY=($(compgen -W \"%.*s\" -- \"$word\")); [ -n \"$COMPREPLY\" ] && return ;;\n",
             verb->name, action->name, (int)strcspn(action->arguments + 1, "]"), action->arguments + 1);
}

static void complete_verb(const attune_verb *verb) {
  const char *names[ATTUNE_FLAGS_MAX];
  printf("  %s) COMPREPLY+=($(compgen %s-W \"", verb->name, strcmp(verb->name, "store") == 0 ? "-f " : "");
  for (const attune_action *action = verb->actions; action != NULL && action->name != NULL; action++)
    if (strcmp(action->name, "VERB") != 0) printf("%s ", action->name);
  if (strcmp(verb->name, "help") == 0) {
    attune_verb_names(names);
    print_words(names, "");
    fputs(" ", stdout);
  }
  attune_flag_names(names, verb->groups | ATTUNE_TAKES_COMMON);
  print_words(names, "--");
  puts("\" -- \"$word\")) ;;");
}

attune_status attune_help_completion(const char *shell) {
  const char *names[ATTUNE_FLAGS_MAX];
  const bool zsh = strcmp(shell, "zsh") == 0;
  if (!zsh && strcmp(shell, "bash") != 0)
    return attune_fail(ATTUNE_BAD_ARGUMENT, "attune completion knows bash and zsh, not \"%.40s\"", shell);
  if (zsh) puts("autoload -U +X compinit bashcompinit && compinit && bashcompinit");
  puts("_attune() {\n  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}");
  /* bash takes --flag=value for three words, zsh for one. */
  puts("  local prefix=\n  COMPREPLY=()\n  case $word in\n  =) word= ;;\n"
       "  --*=*) before=${word%%=*} prefix=${word%%=*}= word=${word#*=} ;;\n"
       "  *) [ \"$before\" = = ] && before=${COMP_WORDS[COMP_CWORD-2]} ;;\n  esac");
  fputs("  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W \"", stdout);
  attune_verb_names(names);
  print_words(names, "");
  puts(" --help --version\" -- \"$word\"))\n    return\n  fi");
  complete_values();
  puts("  case $verb:$before in");
  for (const attune_verb *verb = attune_verbs; verb->name != NULL; verb++)
    complete_actions(verb);
  puts("  esac\n  case $verb in");
  for (const attune_verb *verb = attune_verbs; verb->name != NULL; verb++)
    complete_verb(verb);
  puts("  esac\n}\ncomplete -F _attune attune");
  return ATTUNE_OK;
}
