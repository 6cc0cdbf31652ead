/* Private to tuner/: the table of flags and the table of verbs. Parsing, --help, the man page and the shells'
 * completion all come from them. */
#ifndef ATTUNE_TABLE_H
#define ATTUNE_TABLE_H

#include "tuner/tuner.h"

/* Groups of flags that a verb takes or does not. */
enum {
  ATTUNE_TAKES_SCORE = 1 << 0, /* what is computed of given tensors */
  ATTUNE_TAKES_SHAPE = 1 << 1, /* and of which sizes */
  ATTUNE_TAKES_PROBLEM = ATTUNE_TAKES_SCORE | ATTUNE_TAKES_SHAPE,
  ATTUNE_TAKES_BLOCKS = 1 << 2,
  ATTUNE_TAKES_LENGTHS = 1 << 3, /* of each sequence */
  ATTUNE_TAKES_DEVICE = 1 << 4,
  ATTUNE_TAKES_ARCH = 1 << 5,
  ATTUNE_TAKES_FAMILY = 1 << 6,
  ATTUNE_TAKES_CONFIG = 1 << 7,
  ATTUNE_TAKES_DATABASE = 1 << 8,
  ATTUNE_TAKES_INPUT = 1 << 9,
  ATTUNE_TAKES_OUTPUT = 1 << 10,
  ATTUNE_TAKES_WORKLOAD = 1 << 11,
  ATTUNE_TAKES_SEARCH = 1 << 12, /* how long and how hard */
  ATTUNE_TAKES_SEED = 1 << 13,
  ATTUNE_TAKES_COMMON = 1 << 14,
  ATTUNE_TAKES_CARD = 1 << 15 /* that need not be present */
};

/* The flags that are no fields of a problem. */
typedef enum {
  ATTUNE_FLAG_PROBLEM,
  ATTUNE_FLAG_BLOCK_SIZE,
  ATTUNE_FLAG_SEQLENS_Q,
  ATTUNE_FLAG_SEQLENS_K,
  ATTUNE_FLAG_DEVICE,
  ATTUNE_FLAG_ARCH,
  ATTUNE_FLAG_LIKE,
  ATTUNE_FLAG_SM_COUNT,
  ATTUNE_FLAG_BANDWIDTH,
  ATTUNE_FLAG_CLOCK,
  ATTUNE_FLAG_FAMILY,
  ATTUNE_FLAG_CONFIG,
  ATTUNE_FLAG_DATABASE,
  ATTUNE_FLAG_INPUT,
  ATTUNE_FLAG_OUTPUT,
  ATTUNE_FLAG_WORKLOAD,
  ATTUNE_FLAG_BUDGET,
  ATTUNE_FLAG_EFFORT,
  ATTUNE_FLAG_FORCE,
  ATTUNE_FLAG_SEED,
  ATTUNE_FLAG_JOBS,
  ATTUNE_FLAG_JSON,
  ATTUNE_FLAG_HELP,
  ATTUNE_FLAG_COUNT
} attune_flag_id;

typedef struct {
  const char *name, *argument; /* name NULL: a field that has no flag; argument NULL: none */
  int groups;                  /* any of them lets a verb take it */
  const char *meaning;
  const char *const *words; /* the values that there are, NULL-terminated; NULL: others */
} attune_flag;

/* Flags by number: the fields of a problem, then those of attune_flag_id. */
attune_flag attune_flag_at(int number);
int attune_flag_count(void);
attune_flag attune_flag_of(attune_flag_id id);
/* Writes the names of the flags that are of one of the groups, NULL-terminated. */
enum { ATTUNE_FLAGS_MAX = 96 };
void attune_flag_names(const char *out[ATTUNE_FLAGS_MAX], int groups);

/* What may follow a verb beside flags. */
typedef struct {
  const char *name, *arguments, *meaning;
  int least, most; /* words, the name included */
} attune_action;

typedef struct {
  const char *name, *meaning;
  int groups;
  /* Paragraphs, a line each; lines that begin with a blank are printed as they are. */
  const char *text;
  const attune_action *actions; /* ends with a name that is NULL; NULL: flags only */
} attune_verb;
extern const attune_verb attune_verbs[];             /* ends with a name that is NULL */
const attune_verb *attune_verb_of(const char *name); /* NULL: there is none */
/* Writes the names, NULL-terminated. */
void attune_verb_names(const char *out[ATTUNE_FLAGS_MAX]);
void attune_action_names(const char *out[ATTUNE_FLAGS_MAX], const attune_verb *verb);
/* What holds for all verbs, in the form of attune_verb.text. */
extern const char attune_exit_codes[], attune_environment[], attune_many_lengths[], attune_shipping[],
    attune_workload_format[], attune_config_format[];

/* ---- help.c ---- */

void attune_help_all(FILE *to);
void attune_help_verb(const attune_verb *verb); /* to stdout, as the rest */
void attune_help_workloads(void);
void attune_help_stores(void);
void attune_help_configs(void);
void attune_help_man(void);
/* ATTUNE_BAD_ARGUMENT for a shell that there is no completion for. */
attune_status attune_help_completion(const char *shell);

#endif
