/* Grids on the simulator: blocks in parallel on the CPU's cores. */
#ifndef ATTUNE_SIMULATOR_RUNNER_H
#define ATTUNE_SIMULATOR_RUNNER_H

#include "runtime/simulator/block.h"

/* Keeps what blocks need (stacks, shared memory) from one launch to the next; shared by threads. */
typedef struct attune_simulator_runner attune_simulator_runner;

attune_status attune_simulator_runner_create(attune_simulator_runner **out);
void attune_simulator_runner_destroy(attune_simulator_runner *runner);
/* Returns when every block is done, or with the fault of the lowest block that has one: the same grid and seed give the
 * same report on any number of cores. */
attune_status attune_simulator_run(attune_simulator_runner *runner, const attune_simulator_grid *grid);
int attune_simulator_cores(void);

#endif
