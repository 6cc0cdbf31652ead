/* A machine whose kernels are only times: what measure.c and search.c are tested with where there is no GPU. It stands
 * in for the machine, the compiler and the verifier. */
#ifndef ATTUNE_FAKE_MACHINE_H
#define ATTUNE_FAKE_MACHINE_H

#include "tuner/tuner.h"

typedef struct {
  double (*seconds)(const attune_config *config); /* true time */
  double noise;                                   /* relative, uniform, one-sided as on a GPU */
  bool (*wrong)(const attune_config *config);     /* NULL: never */
  bool (*wrong_with_lengths)(const attune_config *config);
  bool (*fails)(const attune_config *config); /* launches fail */
  bool (*uncompilable)(const attune_config *config);
  int (*spills)(const attune_config *config);
  bool (*serialised)(const attune_config *config); /* so the compiler's log says */
  bool fatal;                                      /* a launch that fails takes the device with it */
  int interrupt_at;                                /* sets interrupted at that launch; 0: never */
  bool no_host_compiler;                           /* kernels for "host" do not compile */
  bool no_nvrtc;                                   /* kernels for anything else do not */
  double compile_seconds, check_seconds;           /* of the time that attune_now tells */
  /* what happened */
  volatile sig_atomic_t interrupted;
  int launches, fills, compiled, verifiers;
  attune_drawing drawings[64];
  int drawn;
  bool lost, timing;
  attune_config log[4096]; /* launches between start and stop of a timer */
  int logged;
} attune_fake;
extern attune_fake attune_fake_gpu;

/* An sm_90 where arch is 90, a simulator where it is 0. Resets attune_fake_gpu. */
attune_backend *attune_fake_machine(const char *arch);
/* A kernel of that config on the backend, as a program; attune_program_destroy ends it. */
attune_program *attune_fake_program(attune_backend *machine, const attune_config *config);

#endif
