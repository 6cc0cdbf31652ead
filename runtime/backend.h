/* Private to runtime/: what a backend implements. backend_cuda.c and simulator/backend.c each fill one table;
 * backend.c forwards to it. */
#ifndef ATTUNE_BACKEND_H
#define ATTUNE_BACKEND_H

#include "runtime/runtime.h"

/* One launch. The simulator takes from problem and run which memory the kernel may touch. */
typedef struct {
  const attune_step *step;
  const union attune_kernel_arguments *arguments; /* complete, as attune_step's */
  const attune_problem *problem;
  const attune_run_inputs *run;
} attune_call;

typedef struct {
  attune_status (*load)(attune_loaded **out, attune_backend *machine, const attune_kernel *kernel,
                        const attune_config *config);
  void (*unload)(attune_loaded *loaded);
  attune_status (*launch)(const attune_loaded *loaded, const attune_call *call, attune_stream stream);
  attune_status (*allocate)(void **out, attune_backend *machine, size_t size);
  void (*free)(attune_backend *machine, void *memory);
  attune_status (*write)(attune_backend *machine, void *to, const void *from, size_t size);
  attune_status (*read)(attune_backend *machine, void *to, const void *from, size_t size);
  bool (*pin)(attune_backend *machine, void *host, size_t size);
  void (*unpin)(attune_backend *machine, void *host);
  attune_status (*fill)(attune_backend *machine, void *to, int byte, size_t size, attune_stream stream);
  attune_status (*synchronize)(attune_backend *machine);
  attune_status (*timer_create)(attune_timer **out, attune_backend *machine);
  void (*timer_destroy)(attune_timer *timer);
  attune_status (*timer_start)(attune_timer *timer);
  attune_status (*timer_stop)(attune_timer *timer);
  attune_status (*timer_seconds)(attune_timer *timer, double *seconds);
  void (*close)(attune_backend *machine);
} attune_backend_operations;

/* Each kind's structs begin with these. */
struct attune_backend {
  const attune_backend_operations *operations;
  attune_device device;
  char name[32], arch[16], driver[64];
};
struct attune_loaded {
  attune_backend *machine;
};
struct attune_timer {
  attune_backend *machine;
};

attune_status attune_backend_open_cuda(attune_backend **out, int ordinal); /* ordinal < 0: the current context */
attune_status attune_backend_open_host(attune_backend **out, uint64_t seed);

/* Compilers: source -> binary, registers, shared_static, spill_bytes, log; they fill the kernel's fields after its
 * name. The binary and log are malloc'ed. */
typedef struct {
  void *binary;
  size_t size;
  int32_t registers, shared_static, spill_bytes;
  char *log;
} attune_compiled;
attune_status attune_compile_nvrtc(attune_compiled *out, const char *source, const char *symbol, const char *arch);
attune_status attune_compile_host(attune_compiled *out, const char *source, const char *symbol);
/* "nvrtc 13.0", "g++ 12.2.0" and the options that enter the key. */
attune_status attune_compiler_nvrtc(char compiler[64], char options[256]);
attune_status attune_compiler_host(char compiler[64], char options[256]);

#endif
