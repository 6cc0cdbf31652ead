/* Which block of a grid wrote what of the outputs. Blocks have no order, so that two of them must never write the same
 * bytes. */
#ifndef ATTUNE_SIMULATOR_OUTPUTS_H
#define ATTUNE_SIMULATOR_OUTPUTS_H

#include "runtime/simulator/memory.h"

typedef struct attune_simulator_outputs attune_simulator_outputs;

/* For one launch, which may outlive nothing of memory. Destroy takes NULL. */
attune_status attune_simulator_outputs_create(attune_simulator_outputs **out, const attune_simulator_memory *memory);
void attune_simulator_outputs_destroy(attune_simulator_outputs *outputs);
/* Notes that a block writes size bytes, a multiple of two; from any thread. What lies in no output is not noted. */
void attune_simulator_outputs_write(attune_simulator_outputs *outputs, const void *address, int size, int block,
                                    int thread, int line);
/* After the launch: false where two blocks wrote the same; message (1024 bytes) says which and where, the same for
 * every order in which blocks ran. kernel: its name. */
bool attune_simulator_outputs_apart(const attune_simulator_outputs *outputs, char *message, const char *kernel);

#endif
