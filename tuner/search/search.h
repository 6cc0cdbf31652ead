/* Private to tuner/search/: what the search is made of. */
#ifndef ATTUNE_SEARCH_H
#define ATTUNE_SEARCH_H

#include <stdio.h>

#include "tuner/measure/measure.h"
#include "tuner/tuner.h"

/* ---- trials.c: the legal space of a problem, and what is known of each config in it ---- */

typedef struct {
  attune_config config;
  char text[ATTUNE_TEXT_MAX];
  int32_t complexity; /* place in the order of configs; 0 for the default, so that it wins ties */
  double seconds;     /* what it is ranked by: the measured median, else the model's estimate */
  bool tried;         /* has a row, of this run or of an earlier one */
  bool verified;
  bool verified_widely; /* on inputs of every kind */
  bool finalist;        /* was in the final race, or in one against its winner */
  attune_measured status;
  attune_timing timing;
  double error, error_bound;
  double compile_seconds, verify_seconds, measure_seconds;
  char result_hash[65]; /* "" until somebody asks */
  char compiler[64];
  char note[512];
  attune_kernel *kernels[ATTUNE_STEPS_MAX]; /* while its batch is tried: of each step, or none */
  attune_program *program;
} attune_trial;

typedef struct {
  attune_trial *all;   /* of the space, least estimate first; then those that were met around the best */
  int count, capacity; /* allocated for all from the start: trials do not move */
  int space;           /* the first so many are of the space */
  int candidates;      /* of the space, legal or not */
  int family;          /* -1: every one but the reference */
  attune_trial *initial;
} attune_trials;

/* Legal configs of the family, or of every family but the reference (which others are compared with, and which stays
 * where nothing else is legal). The problem is resolved. */
attune_status attune_trials_collect(attune_trials *out, const attune_problem *problem, const attune_device *device,
                                    const char *family);
void attune_trials_free(attune_trials *trials);
/* Frees its kernels, if it has them. */
void attune_trial_drop_kernels(attune_trial *trial);
/* Bytes a thread that its kernels spill, together. */
int attune_trial_spills(const attune_trial *trial);
/* attune_kernel_remark of the first of its kernels that has one. */
bool attune_trial_remark(char *out, size_t size, const attune_trial *trial);
/* attune_result_hash of the trial, which remembers it; "" if its source cannot be emitted. */
const char *attune_trial_hash(attune_trial *trial, const attune_problem *problem, const char *arch);
/* What the store has of a problem on a device. */
typedef struct {
  const attune_problem *problem;
  const char *problem_text, *device, *arch, *policy;
  bool take; /* take over the newest row of each config of that policy, if it is what would run now; those that an
                earlier search met around its best included */
} attune_recall_options;
/* Counts the trials that were taken over and the rows that another version's kernels left, and marks these in the store
 * as outdated (and those that are not, as good), so that none of them is chosen. */
attune_status attune_trials_recall(attune_trials *trials, attune_store *store, const attune_recall_options *options,
                                   int *recalled, int *outdated);
/* Usable results, fastest first; returns how many of `most` there are. */
int attune_trials_best(const attune_trials *trials, attune_trial **out, int most);
/* What to try next, at most `most`: the least estimates; the least estimates of tile shapes that nothing was tried of;
 * untried configs one step along one axis from the best of each of the `around` best shapes (attune_space_near), those
 * of them that the space lacks included. */
int attune_trials_next(const attune_trials *trials, attune_trial **out, int most);
int attune_trials_diverse(const attune_trials *trials, attune_trial **out, int most);
/* Of about `size` configs of the space that seed draws, the untried ones, of which `out` gets `most`; returns how many
 * there are. */
int attune_trials_sample(const attune_trials *trials, uint64_t seed, int size, attune_trial **out, int most);
int attune_trials_near(attune_trials *trials, const attune_problem *problem, const attune_device *device, int around,
                       attune_trial **out, int most);

/* ---- compile_all.c: many kernels at once ---- */

typedef struct {
  const attune_config *config;
  const attune_problem *problem;
  attune_kernel *kernel; /* NULL: failed, or not begun (status ATTUNE_OK) */
  attune_status status;
  double seconds;
  char message[512];
} attune_compile_job;
/* Called now and then by the calling thread; true: begin no further job. */
typedef bool attune_compile_tick(void *user, int done);
void attune_compile_all(attune_compile_job *jobs, int count, attune_store *store, const char *arch, int threads,
                        attune_compile_tick *tick, void *user);

/* ---- progress.c ---- */

typedef struct {
  FILE *to;      /* NULL: silent */
  bool terminal; /* a bar that is drawn over; else a plain line every few seconds */
  bool color;
  int width;
  double drawn; /* when last */
  int known;    /* of what is done, from before the start */
  const char *label;
} attune_progress;
/* To stderr as the terminal and NO_COLOR say; quiet: silent. */
void attune_progress_open(attune_progress *progress, const char *label, bool quiet);
/* elapsed: seconds since the start; best: seconds, 0 for none; limit: seconds when the work ends at the latest, 0 for
 * none. */
void attune_progress_draw(attune_progress *progress, const char *doing, int done, int total, double best,
                          double elapsed, double limit);
void attune_progress_close(attune_progress *progress);
/* "1.234 ms", "12.30 us", "4.56 s", "2m05s"; "-" for zero. */
void attune_print_seconds(char out[24], double seconds);

/* ---- search.c: the effort, and what is shared by both ways to search ---- */

enum {
  ATTUNE_SEARCH_BATCH_MAX = 64,
  ATTUNE_SEARCH_SAMPLE = 500, /* configs that effort sample draws */
  ATTUNE_SEARCH_AROUND = 3    /* the search goes along the axes from that many best tile shapes */
};

typedef struct {
  attune_store *store;
  attune_backend *machine; /* may be NULL */
  const attune_device *device;
  attune_problem problem; /* resolved */
  const attune_tune_options *options;
  const volatile sig_atomic_t *interrupted;
  int target;    /* configs to try */
  int batch;     /* at a time */
  int finalists; /* of the head-to-head, or to verify */
  bool diverse;  /* start from different tile shapes, then go along the axes */
  bool sampled;  /* try about ATTUNE_SEARCH_SAMPLE configs by chance, to see what a search may have missed */
  bool exhaustive;
  char problem_text[ATTUNE_TEXT_MAX], identity[256], arch[16];
  const char *policy;
  double start;
  attune_trials trials;
  attune_progress progress;
  int tried; /* including recalled ones */
  attune_tune_result *result;
} attune_search;

/* ---- search_batch.c ---- */

int attune_search_near(attune_search *search, int around, attune_trial **out, int most); /* attune_trials_near */
bool attune_search_interrupted(const attune_search *search);
bool attune_search_over(const attune_search *search);   /* interrupted, or the budget is spent */
int attune_search_threads(const attune_search *search); /* that compile */
/* What rounds of as many trials as there are threads took so far. */
typedef struct {
  double seconds;
  int rounds;
} attune_pace;
void attune_pace_learn(attune_pace *pace, const attune_search *search, int trials, double seconds);
/* How many of `most` trials fit into the budget, less what has to be left of it; while the pace is not known, a round
 * of them. */
int attune_search_fitting(const attune_search *search, const attune_pace *pace, int most, double to_be_left);
void attune_search_show(attune_search *search, const char *doing, int done);
/* record.c: writes the trial's row; of a failure, with the message as its note. */
attune_status attune_search_record(attune_search *search, attune_trial *trial, const char *clocks);
/* A row of that status, with attune_message() as its note. */
attune_status attune_search_record_failure(attune_search *search, attune_trial *trial, attune_measured status);
/* How many configs count as tried: one that was not raced because of what the compiler said counts a third. */
int attune_search_tried(const attune_trials *trials);
/* The fastest config, its time and error, that the store chooses for the problem among measured rows, or among the
 * model's; *found: there is one. */
attune_status attune_search_choice(attune_tune_result *out, bool *found, const attune_search *search, bool by_model);
/* Compiles the kernels of all steps of the trials for the architecture, or sets status and note; fails only where no
 * kernel can be compiled at all. */
attune_status attune_search_compile(attune_search *search, attune_trial **trials, int count, const char *arch);

/* ---- search_measured.c: on a GPU; search_model.c: where nothing can be measured ---- */

attune_status attune_search_by_measuring(attune_search *search);
attune_status attune_search_by_model(attune_search *search);

#endif
