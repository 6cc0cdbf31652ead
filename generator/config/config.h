/* Private to generator/: what the files of this folder share. */
#ifndef ATTUNE_CONFIG_H
#define ATTUNE_CONFIG_H

#include "generator/generator.h"

/* Sets shared fields that the family's table lacks. */
void attune_config_complete(attune_config *config);
/* The config of a kernel that runs beside another: what follows from the problem as that has it, and the least value of
 * each field of its schedule. */
void attune_config_beside(attune_config *out, int32_t family, const attune_config *config);
/* The arguments but pointers and tiles: what every kernel has of the problem. */
void attune_arguments_of_problem(struct attune_arguments *out, const attune_problem *problem);
/* How the grid's blocks become tiles: of the forward pass. */
void attune_arguments_of_tiles(struct attune_arguments *out, const attune_config *config, const attune_problem *problem,
                               const attune_launch *launch);
/* What the kernels of the backward pass have besides, but pointers. */
void attune_arguments_of_gradients(struct attune_gradients *out, const attune_config *config,
                                   const attune_problem *problem);
/* attune_gradients.rows_padded */
int32_t attune_rows_padded(const attune_problem *problem);
/* Q's, K's, V's and O's maps; their number. */
int attune_tensor_map_boxes(attune_tensor_map_box out[ATTUNE_TENSOR_MAPS], const attune_config *config,
                            const attune_problem *problem);
/* The same of the backward pass: Q's, K's, V's and dO's. */
int attune_gradient_map_boxes(attune_tensor_map_box out[ATTUNE_TENSOR_MAPS], const attune_config *config,
                              const attune_problem *problem);

#endif
