/* Private to generator/: what a family of kernels is. Each family_NAME.c fills one row; a new family is one more file,
 * its row in space.c, its name in config.c and its template. */
#ifndef ATTUNE_FAMILY_H
#define ATTUNE_FAMILY_H

#include "generator/generator.h"

struct attune_buffer;

enum { ATTUNE_PARTS_MAX = 4, ATTUNE_AXIS_MAX = 16, ATTUNE_REGISTERS_MAX = 255 };

/* The values of one field that are worth trying. */
typedef struct {
  int32_t values[ATTUNE_AXIS_MAX];
  int count;
} attune_axis;

/* What one block asks of an SM, for the model: in one step (a tile of queries against a tile of keys) and outside the
 * steps. */
typedef struct {
  double matrix_flops;     /* with all padding */
  double shared_bytes;     /* read and written in shared memory */
  double loaded_bytes;     /* from L2 */
  double exponentials;     /* special function results */
  double float_operations; /* other arithmetic instructions, of single threads */
  double latency_clocks;   /* waiting that only other blocks of the SM can hide */
  double outside_clocks;   /* before the first and after the last step, likewise */
  double serial_share;     /* families with the architecture's own matrix instructions: the share of the shorter of
                              products and softmax that does not run beside the longer; else 0 */
} attune_cost;

typedef struct {
  const char *template_path;
  const char *parts[ATTUNE_PARTS_MAX]; /* paths of what it includes beside what all share */
  /* Families are tried for the default in falling order of speed; the slowest has 0. */
  int speed;
  /* ATTUNE_ILLEGAL_CONFIG with the limit. The fields that follow from the problem are checked by the caller. */
  attune_status (*legal)(const attune_config *config, const attune_device *device);
  /* config has the fields that follow from the problem, and every schedule field before this one. problem: a resolved
   * one, or NULL: any of the config's class. */
  void (*axis)(attune_axis *out, const attune_config *config, const attune_config_field *field,
               const attune_problem *problem);
  /* Further values of a field of a whole config, for attune_space_near; NULL: there are none. */
  void (*refinements)(attune_axis *out, const attune_config *config, const attune_config_field *field);
  int64_t (*shared_bytes)(const attune_config *config);
  int (*registers)(const attune_config *config); /* that a thread would like to have */
  /* Adds what the primitives of the CUDA target lack for the config; NULL: nothing. */
  void (*print_primitives)(struct attune_buffer *out, const attune_config *config);
  /* ATTUNE_ILLEGAL_CONFIG where the problem is beyond the family; NULL: none is. */
  attune_status (*serves)(const attune_config *config, const attune_problem *problem);
  bool tensor_maps; /* the kernel's second argument is attune_tensor_maps */
  int32_t own_arch; /* the only architecture whose instructions it uses, 0: any from its first one on */
  void (*cost)(attune_cost *out, const attune_config *config, const attune_problem *problem);
} attune_family_row;

extern const attune_family_row attune_family_reference_row, attune_family_mma_row, attune_family_wgmma_row,
    attune_family_block_mask_row;

/* NULL if there is none. */
const attune_family_row *attune_family_find(int32_t family);

/* What a family has to work with: 255, less where several blocks share an SM's registers. */
int attune_register_cap(const attune_config *config, const attune_device *device);

/* All of the arguments but pointers, for a launch of the config. */
void attune_arguments_fill(struct attune_arguments *out, const attune_config *config, const attune_problem *problem,
                           const attune_launch *launch);
/* Q's, K's, V's and O's maps; their number. */
int attune_tensor_map_boxes(attune_tensor_map_box out[ATTUNE_TENSOR_MAPS], const attune_config *config,
                            const attune_problem *problem);

/* attune_estimate_with for a resolved problem. */
double attune_estimate_resolved(const attune_config *config, const attune_problem *problem, const attune_device *device,
                                int registers, int spill_bytes, attune_estimate_memo *memo);

/* The typical part of the device's architecture, or of the newest one before it. */
void attune_device_typical(attune_device *out, const attune_device *device);

#endif
