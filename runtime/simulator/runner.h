/* Grids on the simulator: blocks in parallel on the CPU's cores. */
#ifndef ATTUNE_HOST_RUNNER_H
#define ATTUNE_HOST_RUNNER_H

#include "runtime/simulator/block.h"

/* Keeps what blocks need (stacks, shared memory) from one launch to the next; shared by threads. */
typedef struct attune_host_runner attune_host_runner;

attune_status attune_host_runner_create(attune_host_runner **out);
void attune_host_runner_destroy(attune_host_runner *runner);
/* Returns when every block is done, or with the fault of the lowest block that has one: the same grid and seed give the
 * same report on any number of cores. */
attune_status attune_host_run(attune_host_runner *runner, const attune_host_grid *grid);
int attune_host_cores(void);

#endif
