/* The tuner's interface, and the parts of the `attune` command. It may call every other module; none of them calls it.
 */
#ifndef ATTUNE_TUNER_H
#define ATTUNE_TUNER_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>

#include "runtime/runtime.h"

/* ---- verify/inputs.c ---- */

/* Which length of a sequence. */
typedef enum { ATTUNE_QUERIES, ATTUNE_KEYS } attune_side;

/* What a kernel is given, in host memory, and the texts that a problem borrows: a problem that was read with inputs
 * lives as long as they do at their place. What is NULL is drawn where the problem has it. Pointers are to the caller's
 * memory, which must outlive it. */
enum { ATTUNE_GIVEN_ELEMENTS = 4096 };
typedef struct {
  char mask_expr[ATTUNE_EXPRESSION_MAX], score_expr[ATTUNE_EXPRESSION_MAX];
  char names[ATTUNE_PARAMS_MAX][ATTUNE_PARAM_NAME_MAX];
  attune_param declared[ATTUNE_PARAMS_MAX]; /* which have these names */
  struct {
    const void *array; /* of a file; NULL: from `first` on in elements */
    int64_t count;
    int32_t first, integer;
    float real;
  } params[ATTUNE_PARAMS_MAX];
  union {
    int32_t integer;
    float real;
  } elements[ATTUNE_GIVEN_ELEMENTS];
  int32_t used;
  const uint16_t *q, *k, *v; /* elements of the problem's dtype at its strides */
  const uint16_t *bias;      /* likewise */
  const float *sinks;        /* (heads_q) */
  const uint16_t *d_o;       /* backward: as q */
  const float *dlse;         /* backward: (batch, heads_q, seqlen_q) */
  const uint16_t *o;         /* backward: what forward wrote, which the verifier computes */
  const float *lse;
  struct {
    const int32_t *array; /* (batch); NULL: `count` elements from `first` on, or none if count is 0 */
    int32_t first, count;
  } seqlens[2];                 /* by attune_side; none: every sequence is as long as the problem's bound */
  attune_block_mask block_mask; /* in host memory; row_offsets is NULL: drawn with the problem's density */
} attune_inputs;
/* As attune_tensors has them; arrays lie in `inputs`. */
void attune_inputs_values(attune_value out[ATTUNE_PARAMS_MAX], const attune_inputs *inputs);
/* (batch), inside `inputs` or the caller's; NULL: none. */
const int32_t *attune_inputs_seqlens(const attune_inputs *inputs, attune_side side);
/* Keeps the lengths of `count` sequences, instead of those that there were. ATTUNE_BAD_SIZE if one is negative,
 * ATTUNE_BAD_ARGUMENT beyond ATTUNE_GIVEN_ELEMENTS in all arrays. */
attune_status attune_inputs_set_seqlens(attune_inputs *inputs, attune_side side, const int32_t *lengths, int count);
/* "name=3", "name=0.5", "name=1,2,3": declares a param of the problem and keeps its value. A comma makes an array. */
attune_status attune_inputs_param(attune_inputs *inputs, attune_problem *problem, const char *text);
/* The same of numbers; length: of the name. At most ATTUNE_GIVEN_ELEMENTS in all arrays; real: they are floats, else
 * ints. */
attune_status attune_inputs_numbers(attune_inputs *inputs, attune_problem *problem, const char *name, size_t length,
                                    bool array, bool real, const double *numbers, int count);
/* Declares an array param whose elements are the caller's. */
attune_status attune_inputs_array(attune_inputs *inputs, attune_problem *problem, const char *name,
                                  attune_param_type type, const void *array, int64_t count);

/* ---- verify/block_mask.c ---- */

/* Block masks in host memory; free them with attune_host_block_mask_free. */
typedef struct {
  attune_block_mask view;
  int32_t *rows, *blocks, *order;
} attune_host_block_mask;
/* What becomes of a block; called once for each, a row after the other. */
typedef attune_seen attune_block_seen(void *user, int32_t batch, int32_t head, int32_t row, int32_t column);
/* A mask for batch (1 or the problem's) and heads (likewise) of the problem's block_size. One mask
 * after the other, in each the longest rows first.
 * ATTUNE_BAD_SIZE beyond 2^31 - 1 blocks. */
attune_status attune_host_block_mask_make(attune_host_block_mask *out, const attune_problem *problem, int32_t batch,
                                          int32_t heads, attune_block_seen *seen, void *user);
/* Of a mask (batch, heads, rows, columns): not 0 is kept, and whole unless the problem has a mask expression. */
attune_status attune_host_block_mask_of_mask(attune_host_block_mask *out, const attune_problem *problem, int32_t batch,
                                             int32_t heads, const uint8_t *mask);
/* Every block by chance with the problem's density, or one in four where that is not known; for each head and batch. */
attune_status attune_host_block_mask_draw(attune_host_block_mask *out, const attune_problem *problem, uint64_t seed);
void attune_host_block_mask_free(attune_host_block_mask *block_mask);
/* The same in a backend's memory; what was allocated is released by the caller, also after a failure. */
attune_status attune_host_block_mask_upload(attune_block_mask *out, attune_backend *backend,
                                            const attune_problem *problem, const attune_block_mask *block_mask);
void attune_host_block_mask_release(attune_backend *backend, const attune_block_mask *block_mask);

/* ---- verify/sparsity.c ---- */

/* Blocks of block x block, or of the problem's block_size, over all heads; 0 where nothing is hidden, or only a
 * pattern's number is known. Whole ones hide nothing. rows: of blocks, that were looked at; longest: most that one
 * keeps. Takes about a second at most, in nodes of the mask that are evaluated, whatever the problem. */
typedef struct {
  int32_t block;
  int64_t blocks, kept, whole, rows, all_rows, columns, longest;
  bool sampled; /* too many to look at them all */
  bool drawn;   /* by a block mask that is drawn by chance, as a tuner does */
} attune_sparsity;
attune_status attune_sparsity_of(attune_sparsity *out, const attune_problem *problem, const attune_inputs *inputs,
                                 int32_t block);

/* ---- verify/reference.c ---- */

/* One query row in double precision: o has head_dim_v doubles, *lse natural log. The problem is resolved; inputs holds
 * all that the problem has. row is below the sequence's length. */
void attune_reference_row(double *o, double *lse, const attune_problem *problem, const attune_inputs *inputs, int batch,
                          int head, int row);
/* The same row as the unfused computation gives it in the problem's dtype: S, P and O each rounded to it. */
void attune_unfused_row(double *o, const attune_problem *problem, const attune_inputs *inputs, int batch, int head,
                        int row);
/* How many keys the row sees. */
int64_t attune_reference_keys(const attune_problem *problem, const attune_inputs *inputs, int batch, int head, int row);
uint16_t attune_to_element(attune_dtype dtype, double value); /* round to nearest even */
double attune_from_element(attune_dtype dtype, uint16_t element);

/* ---- verify/verifier.c: the tensors of one problem on one backend, and whether a kernel makes of them what it should
 * ---- */

typedef struct attune_verifier attune_verifier;

/* How inputs are drawn. Equal values draw equal inputs, on any number of cores. */
typedef struct {
  uint64_t seed;
  double magnitude, magnitude_v; /* standard deviation of Q and K, and of V; 0: 1 */
  bool lengths;    /* sequences have lengths of their own: 0, 1, the bound, and odd ones. Sequence i of the batch is of
                      kind (seed + i) % ATTUNE_LENGTH_KINDS */
  bool bias_masks; /* forward: bias hides keys: by the least finite number of the dtype and by -inf, of some rows all,
                      of some the last; and some elements are the largest number */
} attune_drawing;
enum { ATTUNE_LENGTH_KINDS = 8 };

typedef struct {
  bool passed;
  double error, error_bound; /* max abs error of O against float64 on the sampled rows; 2 * unfused + 1e-5 */
  double unfused_error;
  double lse_error;     /* max abs, 0 without LSE */
  int64_t rows_checked; /* against float64; where these are not all, every element is compared with the reference
                           family's as well */
  char worst[160];      /* where and what, or "" */
} attune_verdict;

/* Draws inputs and computes what they should become: see attune_verifier_draw. inputs may be NULL: all is drawn. What
 * it points to must outlive the verifier. ATTUNE_BAD_SIZE if a length is not in 0..bound. */
attune_status attune_verifier_create(attune_verifier **out, attune_backend *backend, const attune_problem *problem,
                                     const attune_inputs *inputs, const attune_drawing *drawing);
void attune_verifier_destroy(attune_verifier *verifier);
/* Draws anew what was not given to create; everything that no kernel may read becomes NaN. Chooses rows (all of a small
 * problem; else the ends, tile edges, some of every bucket and random ones), computes them in double precision and
 * unfused on all cores, and runs the reference family over the whole problem unless the rows are all. */
attune_status attune_verifier_draw(attune_verifier *verifier, const attune_drawing *drawing);
/* Prepare, launch, compare. A wrong result is a verdict, not a failure. */
attune_status attune_verifier_check(attune_verifier *verifier, const attune_program *program, attune_verdict *out);
attune_status attune_verifier_launch(attune_verifier *verifier, const attune_program *program);

/* The steps of a check, for a caller that launches in its own way: prepare poisons outputs and workspace; compare waits
 * for the device and reads the outputs back. */
attune_status attune_verifier_prepare(attune_verifier *verifier, size_t workspace_size);
attune_status attune_verifier_compare(attune_verifier *verifier, attune_verdict *out);
/* Device pointers; valid until the verifier is destroyed, those of block masks until it draws. */
const attune_tensors *attune_verifier_tensors(const attune_verifier *verifier);
/* Of the size that was prepared; valid until another size is. */
void *attune_verifier_workspace(const attune_verifier *verifier);
/* Copies O (head_dim_v fastest, contiguous (batch, seqlen_q, heads_q, head_dim_v)) and LSE (may be NULL) to host
 * memory. */
attune_status attune_verifier_outputs(attune_verifier *verifier, uint16_t *o, float *lse);
/* The same of the gradients, each contiguous (batch, seqlen, heads, width). */
attune_status attune_verifier_gradients(attune_verifier *verifier, uint16_t *dq, uint16_t *dk, uint16_t *dv);

/* ---- safetensors.c ---- */

typedef struct {
  char name[64];
  char dtype[8]; /* "F32", "F16", "BF16", "U8", ... */
  int rank;
  int64_t shape[8];
  const void *data; /* inside the file's memory */
  size_t size;
} attune_tensor;
typedef struct attune_safetensors attune_safetensors;
attune_status attune_safetensors_read(attune_safetensors **out, const char *path);
attune_status attune_safetensors_parse(attune_safetensors **out, const void *bytes, size_t size); /* borrows bytes */
const attune_tensor *attune_safetensors_find(const attune_safetensors *file, const char *name);   /* NULL: absent */
const attune_tensor *attune_safetensors_at(const attune_safetensors *file, int index); /* NULL: past the end */
void attune_safetensors_close(attune_safetensors *file);
/* Written beside and renamed: never half a file. */
attune_status attune_safetensors_write(const char *path, const attune_tensor *tensors, int count);

/* ---- flags.c: the same problem flags for every verb ---- */

typedef struct {
  attune_problem problem; /* of the flags in the table of problem fields, and of --problem FILE.json or CLASS-TEXT */
  attune_inputs given;
  int32_t block_size; /* --block-size: of block masks, and of what explain counts */
  const char *device, *arch, *database, *family, *config, *input, *output, *workload;
  const char *like; /* --like: a card that need not be present */
  double sm_count, bandwidth,
      clock; /* --sm-count, --bandwidth in GB/s, --clock in MHz: what it has instead; 0: its own */
  bool json, help;
  bool force;            /* --force: measure again what the store has */
  double budget_seconds; /* --budget 10m */
  const char *effort;    /* --effort quick|normal|sample|exhaustive */
  uint64_t seed;
  int jobs;    /* --jobs: compile threads, 0: all cores */
  char **rest; /* positional arguments */
  int rest_count;
  uint64_t seen; /* which problem flags were given: attune_flags_seen */
} attune_flags;
/* And-s a mask expression to the one that the problem has, in the inputs' memory. */
attune_status attune_problem_add_mask(attune_problem *problem, attune_inputs *given, const char *text);
/* The same of a named pattern. */
attune_status attune_problem_add_pattern(attune_problem *problem, attune_inputs *given, const char *text);
attune_status attune_problem_set_score(attune_problem *problem, attune_inputs *given, const char *text);
/* Where bias has these sizes, each 1 or the problem's: its strides, contiguous. ATTUNE_BAD_SIZE else. */
attune_status attune_bias_of_sizes(attune_problem *problem, int64_t batch, int64_t heads, int64_t seqlen_q);
/* Parses argv[1..] (argv[0] is the verb). A fault leaves a message that names the flag. */
attune_status attune_flags_parse(attune_flags *out, int argc, char **argv);
attune_status attune_problem_of_json(attune_problem *out, attune_inputs *given, json_t *object, const char *where);
/* given may be NULL: without the values of params. */
json_t *attune_problem_to_json(const attune_problem *problem, const attune_inputs *given);
json_t *attune_config_to_json(const attune_config *config);

/* ---- workload.c: a JSON list of problems, with names and weights ---- */

typedef struct {
  char name[ATTUNE_TEXT_MAX];
  attune_problem problem;
  attune_inputs given;
} attune_workload_item;
/* path, or the name of one that ships (tuner/workloads: "gpt2", "flash-grid", ...). *items is malloc'ed. */
attune_status attune_workload_read(attune_workload_item **items, int *count, const char *path_or_name);
/* Writes the names of those that ship, NULL-terminated, `most` at most with the NULL; static texts. */
void attune_workload_names(const char **out, int most);
/* where: what messages call the text. */
attune_status attune_workload_parse(attune_workload_item **items, int *count, const char *text, size_t size,
                                    const char *where);

/* ---- measure.c, search.c ---- */

typedef struct {
  double *samples; /* seconds, malloc'ed */
  int count;
  double median, low, high; /* low..high: order-statistic interval for the median, about 95% */
} attune_timing;
/* Candidates interleaved round by round, L2 flushed before every run, until the interval is narrow or the rounds are
 * used up. */
typedef struct {
  const attune_program *program;
  attune_timing timing; /* of the caller: attune_timing_free */
  attune_status status; /* of its last launch */
} attune_candidate;
void attune_timing_free(attune_timing *timing);
/* The first launch that fails ends the race with its status; the samples taken until then stay. */
attune_status attune_measure(attune_verifier *verifier, attune_backend *machine, attune_candidate *candidates,
                             int count, int max_rounds, double max_seconds);

typedef struct {
  const char *effort;    /* "quick", "normal", "sample", "exhaustive" */
  double budget_seconds; /* per problem, 0: none */
  int jobs;
  uint64_t seed;
  const char *family;         /* NULL: all */
  bool progress;              /* to stderr */
  const char *label;          /* what the progress line calls the problem; NULL: its class */
  bool force;                 /* try again what the store already has rows of */
  const attune_inputs *given; /* NULL: none */
} attune_tune_options;
typedef struct {
  attune_config best, initial;
  char method[16]; /* "measured" or "model" */
  double best_seconds, default_seconds, worst_seconds, spent_seconds;
  double error, error_bound;
  int candidates, legal, compiled, verified, measured, failed, reused;
  int outdated; /* rows of the problem that other kernels left than would run now; they are never chosen */
} attune_tune_result;
/* Fills the store for one problem. machine may be NULL: then device is an architecture and candidates are ranked by the
 * model. interrupted, if not NULL, is polled: everything measured so far is kept, ATTUNE_INTERRUPTED. */
attune_status attune_tune(attune_tune_result *out, attune_store *store, attune_backend *machine,
                          const attune_device *device, const attune_problem *problem,
                          const attune_tune_options *options, const volatile sig_atomic_t *interrupted);
extern const char attune_policy[]; /* of measurements made by attune_measure */

/* ---- verbs: command/NAME.c, one each; main.c has the table ---- */

/* 0 done, 1 failed, 2 misused. */
int attune_verb_devices(int argc, char **argv);
int attune_verb_emit(int argc, char **argv);
int attune_verb_compile(int argc, char **argv);
int attune_verb_run(int argc, char **argv);
int attune_verb_verify(int argc, char **argv);
int attune_verb_tune(int argc, char **argv);
int attune_verb_explain(int argc, char **argv);
int attune_verb_bench(int argc, char **argv);
int attune_verb_store(int argc, char **argv);
/* Prints attune_message() to stderr (or {"status":…,"message":…} with --json to stdout) and returns the exit code. */
int attune_verb_failed(const attune_flags *flags, attune_status status);

#endif
