/* The runtime's internal interface, for the tuner and the tests: backends (a CUDA device, the simulator), compilation,
 * loading, launching, device memory and timing. Applications use attune.h alone. */
#ifndef ATTUNE_RUNTIME_H
#define ATTUNE_RUNTIME_H

#include <stdbool.h>

#include "cache/cache.h"
#include "generator/base/status.h"
#include "generator/generator.h"
#include "runtime/attune.h"
#include "templates/parts/arguments.h"

typedef struct attune_arguments attune_arguments;

/* ---- compile: config -> binary; thread-safe, no device needed ---- */

/* problem: whose expressions are compiled in; NULL where the config has none. arch: "sm_80" ... for NVRTC, "host" for
 * the C++17 compiler ($ATTUNE_HOST_CXX, else c++, g++, clang++). Fills everything that names the kernel (key included)
 * without compiling: what a store is asked for. *out is malloc'ed in one block (free()); binary is NULL. *source, if
 * not NULL, receives the malloc'ed source. Asks NVRTC's version at run time. */
attune_status attune_kernel_name(attune_kernel **out, char **source, const attune_config *config,
                                 const attune_problem *problem, const char *arch);
/* Emits and compiles. ATTUNE_COMPILE_FAILED has the end of the log in the message. */
attune_status attune_kernel_compile(attune_kernel **out, const attune_config *config, const attune_problem *problem,
                                    const char *arch);
/* From the store, else (unless frozen: ATTUNE_WOULD_COMPILE) compiled and stored. hit may be NULL. */
attune_status attune_kernel_get(attune_kernel **out, bool *hit, attune_store *store, const attune_config *config,
                                const attune_problem *problem, const char *arch, bool frozen);
/* What the compiler's log tells of speed that the kernel lost: wgmma that it serialised, setmaxnreg that it ignored.
 * The first such line, cut where out ends; "" and false if there is none. */
bool attune_kernel_remark(char *out, size_t size, const attune_kernel *kernel);
/* "13.0", or a failure that says where it looked. */
attune_status attune_nvrtc_version(char out[32]);
/* "nvrtc 13.0", or for "host" such as "g++ 12.2.0": what compiles for the architecture; it is looked for. */
attune_status attune_compiler_of(char out[64], const char *arch);

/* ---- machine: where kernels run ---- */

typedef struct attune_backend attune_backend;
typedef struct attune_loaded attune_loaded; /* a kernel on a machine */

/* name: "cuda:N", "host", or NULL as in attune_options. seed: the simulator's schedule. */
attune_status attune_backend_open(attune_backend **out, const char *name, uint64_t seed);
void attune_backend_close(attune_backend *machine);
const attune_device *attune_backend_device(const attune_backend *machine);
const char *attune_backend_name(const attune_backend *machine);   /* "cuda:0", "host" */
const char *attune_backend_arch(const attune_backend *machine);   /* "sm_90", "host" */
const char *attune_backend_driver(const attune_backend *machine); /* "580.159.04 (CUDA 13.0)" or "" */
/* Number of CUDA devices, 0 where there is no driver (never fails). */
int attune_backend_count(void);

/* Loads a binary. A binary that the driver refuses is ATTUNE_DRIVER_FAILED (the caller drops the row and recompiles).
 */
attune_status attune_load(attune_loaded **out, attune_backend *machine, const attune_kernel *kernel,
                          const attune_config *config);
void attune_unload(attune_loaded *loaded);
/* ---- programs: the loaded steps of a config ---- */

/* Where the kernels of a program come from. store: NULL, each is compiled. problem is resolved. All are borrowed for
 * the time of the call. */
typedef struct {
  attune_backend *backend;
  attune_store *store;
  const attune_problem *problem;
  attune_kernel *const *kernels; /* of each step, where the caller has them; or NULL */
  bool frozen;
} attune_program_source;

/* Immutable once loaded, and shared by threads. */
typedef struct {
  attune_backend *backend;
  attune_problem problem; /* whose texts are in `texts` */
  void *texts;
  attune_steps steps;
  attune_loaded *loaded[ATTUNE_STEPS_MAX];
} attune_program;

enum { ATTUNE_WORKSPACE_ALIGNMENT = 16 };

/* Takes each kernel from the store, or (unless frozen: ATTUNE_WOULD_COMPILE) compiles and stores it, and loads it. A
 * stored kernel that the device refuses is compiled anew. */
attune_status attune_program_create(attune_program **out, const attune_program_source *from,
                                    const attune_config *config);
/* The same for given steps. */
attune_status attune_program_load(attune_program **out, const attune_program_source *from, const attune_steps *steps);
void attune_program_destroy(attune_program *program);
/* Clears what of the workspace begins with 0, then launches every step, all on the stream. workspace: at least
 * steps.workspace_bytes of device memory, aligned to ATTUNE_WORKSPACE_ALIGNMENT. Allocates nothing and never
 * synchronises. The simulator returns when it is done; ATTUNE_KERNEL_FAULT's message has kernel, line, block and
 * thread. The inputs are not checked (run.c does). */
attune_status attune_enqueue(const attune_program *program, const attune_run_inputs *run, void *workspace,
                             size_t workspace_size, attune_stream stream);

/* Memory of the machine; on the simulator plain memory that kernels may touch only inside what is registered
 * (allocations here, and the tensors of attune_run). */
attune_status attune_memory_allocate(void **out, attune_backend *machine, size_t size);
void attune_memory_free(attune_backend *machine, void *memory);
attune_status attune_memory_write(attune_backend *machine, void *to, const void *from, size_t size);
attune_status attune_memory_read(attune_backend *machine, void *to, const void *from, size_t size);
attune_status attune_memory_fill(attune_backend *machine, void *to, int byte, size_t size); /* on the default stream */
/* Pins host memory, so that it is read into at the speed of the link, until it is unpinned, which must be before it is
 * freed. False: it can't be pinned here, is read into as before, and needs no unpinning. */
bool attune_memory_pin(attune_backend *machine, void *host, size_t size);
void attune_memory_unpin(attune_backend *machine, void *host);

attune_status attune_backend_synchronize(attune_backend *machine);

/* Device time between two points of the default stream (CUDA events; the wall clock on the simulator). */
typedef struct attune_timer attune_timer;
attune_status attune_timer_create(attune_timer **out, attune_backend *machine);
void attune_timer_destroy(attune_timer *timer);
attune_status attune_timer_start(attune_timer *timer);
attune_status attune_timer_stop(attune_timer *timer);
attune_status attune_timer_seconds(attune_timer *timer, double *seconds); /* waits for stop */

/* ---- dispatch: which config for a problem ---- */

typedef struct {
  attune_config config;
  const char *source; /* static: "exact", "near-problem", "near-device", "model", "reference" */
  char *explanation;  /* malloc'ed lines */
} attune_choice;
/* device need not be present: explain works for an architecture alone. */
attune_status attune_choose(attune_choice *out, attune_store *store, const attune_problem *problem,
                            const attune_device *device);

/* For attune_store_options: every store that dispatch asks is opened with it. */
bool attune_problem_locate(attune_position *out, const char *problem);
/* SHA-256 in hex of all that decides the sources which this library emits: with it, a config has one source. */
extern const char attune_fingerprint[65];
/* What this library writes as a measurement's tool: version and fingerprint. Static. */
const char *attune_tool(void);
/* Whether what was measured is what this library would run for the row's problem and architecture; of a row, problem,
 * arch, result_hash and tool are read. like: a problem that has the same expressions; NULL where there are none. For
 * rows of another build it emits the kernels' sources, which costs milliseconds. */
bool attune_result_is_current(const attune_measurement *row, const attune_config *config, const attune_problem *like);

/* $ATTUNE_FROZEN: never compile, never write. */
bool attune_frozen_by_environment(void);

/* What a context is made of; the context keeps owning both. */
attune_backend *attune_context_machine(attune_context *context);
attune_store *attune_context_store(attune_context *context);

#endif
