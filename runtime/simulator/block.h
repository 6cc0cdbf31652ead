/* One block at a time, or the blocks of one cluster together: their threads as coroutines, their barriers and
 * collectives, their asynchronous copies, and the judgement of everything they do. */
#ifndef ATTUNE_SIMULATOR_BLOCK_H
#define ATTUNE_SIMULATOR_BLOCK_H

#include "runtime/simulator/outputs.h"
#include "templates/primitives/simulator_interface.h"

typedef void attune_simulator_kernel(struct attune_arguments arguments);
typedef void attune_simulator_kernel_of_block_masks(struct attune_block_mask_arguments arguments);
typedef void attune_simulator_kernel_of_gradients(struct attune_backward_arguments arguments);
typedef void attune_simulator_kernel_of_gradients_with_maps(struct attune_backward_arguments arguments,
                                                            const struct attune_tensor_maps *maps);
typedef void attune_simulator_kernel_with_maps(struct attune_arguments arguments,
                                               const struct attune_tensor_maps *maps);

/* One launch. */
typedef struct {
  /* The kernel, as what it takes: block_mask or gradients if one is given, else arguments; and maps, if they are. */
  attune_simulator_kernel *kernel;
  attune_simulator_kernel_with_maps *kernel_with_maps;
  attune_simulator_kernel_of_block_masks *kernel_of_block_masks;
  attune_simulator_kernel_of_gradients *kernel_of_gradients;
  attune_simulator_kernel_of_gradients_with_maps *kernel_of_gradients_with_maps;
  const char *name;
  int blocks, threads, shared_bytes;
  int cluster;  /* blocks of a cluster, which run together; 0: as 1 */
  int on_an_sm; /* blocks that share an SM's registers; 0: as 1 */
  const struct attune_arguments *arguments;
  const struct attune_tensor_maps *maps;
  const struct attune_block_mask_arguments *block_mask;
  const struct attune_backward_arguments *gradients;
  const attune_simulator_memory *memory;
  uint64_t seed;
  attune_simulator_outputs *outputs; /* of attune_simulator_run; NULL: who writes what is not noted */
} attune_simulator_grid;

typedef struct attune_simulator_block attune_simulator_block;

/* What kernels call; the same for all. */
extern const struct attune_simulator_calls attune_simulator_runner_calls;

/* A place to run blocks of up to `threads` threads, used by one operating-system thread at a time. */
attune_status attune_simulator_block_create(attune_simulator_block **out, int threads);
void attune_simulator_block_destroy(attune_simulator_block *block);
int attune_simulator_block_threads(const attune_simulator_block *block);
/* Runs the grid's cluster `index` to its end, which without clusters is the block. ATTUNE_KERNEL_FAULT, or
 * ATTUNE_OUT_OF_MEMORY: message has 1024 bytes. */
attune_status attune_simulator_block_run(attune_simulator_block *block, char *message,
                                         const attune_simulator_grid *grid, int index);

#endif
