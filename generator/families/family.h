/* Private to generator/: what a family of kernels is. Each file NAME.c fills one row; a new family is one more file,
 * its row in table.c and its template. */
#ifndef ATTUNE_FAMILY_H
#define ATTUNE_FAMILY_H

#include "generator/families/layout.h"
#include "generator/generator.h"

struct attune_buffer;

enum { ATTUNE_REGISTERS_MAX = 255 };

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
  bool half_tiles;         /* a warpgroup leaves out half a tile of which its rows see no key */
  double serial_share;     /* families with the architecture's own matrix instructions: the share of the shorter of
                              products and softmax that does not run beside the longer; else 0 */
} attune_cost;

typedef struct {
  const char *name;
  attune_kernel_operation operation;
  const char *template_path;
  /* Families of a space are tried for the default in falling order of speed; the slowest has 0. */
  int speed;
  /* ATTUNE_ILLEGAL_CONFIG with the limit. The caller has checked the fields that follow from the problem, and the
   * ranges of the table. */
  attune_status (*legal)(const attune_config *config, const attune_device *device);
  const attune_config_field *schedule; /* its rows of the table of fields, after those that follow from the problem */
  int schedule_count;
  /* Of its dynamic shared memory, and registers where warps exchange them. layout: zero. */
  void (*layout)(attune_layout *layout, const attune_config *config);
  int (*registers)(const attune_config *config); /* that a thread would like to have */
  /* Adds what the primitives of the CUDA target lack for the config; NULL: nothing. */
  void (*print_primitives)(struct attune_buffer *out, const attune_config *config);
  /* ATTUNE_ILLEGAL_CONFIG where the problem is beyond the family; NULL: none is. */
  attune_status (*serves)(const attune_config *config, const attune_problem *problem);
  /* Operation backward: makes of *out, which has the problem's fields, the config of the kernel for dQ. */
  void (*dq)(attune_config *out, const attune_config *config);
  bool tensor_maps; /* the kernel's second argument is attune_tensor_maps */
  int32_t own_arch; /* the only architecture whose instructions it uses, 0: any from its first one on */
  /* NULL: the model does not know it, and takes it to be the slowest. */
  void (*cost)(attune_cost *out, const attune_config *config, const attune_problem *problem);
} attune_family_row;

extern const attune_family_row attune_family_reference_row, attune_family_mma_row, attune_family_wgmma_row,
    attune_family_block_mask_row, attune_family_combine_row, attune_family_backward_reference_row,
    attune_family_backward_mma_row, attune_family_delta_row, attune_family_dq_reference_row, attune_family_dq_mma_row,
    attune_family_backward_wgmma_row, attune_family_dq_convert_row, attune_family_dbias_reference_row,
    attune_family_dbias_mma_row, attune_family_dsinks_row;

/* What rows of several families have in common. */
extern const char *const attune_persistent_words[], *const attune_order_words[];
#define ATTUNE_FIELD(member) .name = #member, .offset = offsetof(attune_config, member), .schedule = true
#define ATTUNE_FIELD_TILE_M                                                                                            \
  ATTUNE_FIELD(tile_m), .prefix = "m", .absent = ATTUNE_NEVER_ABSENT, .meaning = "query rows of a block"
#define ATTUNE_FIELD_TILE_N                                                                                            \
  ATTUNE_FIELD(tile_n), .prefix = "n", .absent = ATTUNE_NEVER_ABSENT, .meaning = "key rows of a step"
#define ATTUNE_FIELD_WARPS                                                                                             \
  ATTUNE_FIELD(warps), .prefix = "w", .absent = ATTUNE_NEVER_ABSENT, .meaning = "warps of a block"
#define ATTUNE_FIELD_STAGES                                                                                            \
  ATTUNE_FIELD(stages), .prefix = "s", .absent = ATTUNE_NEVER_ABSENT, .meaning = "K tiles and V tiles in shared memory"
#define ATTUNE_FIELD_LAZY_RESCALE                                                                                      \
  ATTUNE_FIELD(lazy_rescale), .prefix = "lazy", .flag = true, .high = 1,                                               \
                              .meaning = "O is rescaled only when a row's maximum has grown by 2^8"
#define ATTUNE_FIELD_ORDER                                                                                             \
  ATTUNE_FIELD(order), .prefix = "", .words = attune_order_words, .meaning = "which tile a block takes"
#define ATTUNE_FIELD_MIN_BLOCKS_PER_SM                                                                                 \
  ATTUNE_FIELD(min_blocks_per_sm), .prefix = "b", .absent = ATTUNE_NEVER_ABSENT, .low = 1,                             \
                                   .meaning = "blocks that an SM should hold"
#define ATTUNE_FIELD_SPLITS                                                                                            \
  ATTUNE_FIELD(splits), .prefix = "split", .absent = 1, .low = 1, .high = ATTUNE_SPLITS_MAX,                           \
                        .axis_of = attune_splits_axis, .refine = attune_splits_refine,                                 \
                        .meaning = "parts of the keys, each worked on by a block of its own, and combined"
enum { ATTUNE_SPLITS_MAX = 256 };
void attune_splits_axis(attune_axis *out, const attune_config *config, const attune_problem *problem);
void attune_splits_refine(attune_axis *out, const attune_config *config);
#define ATTUNE_FIELD_NATURAL_LSE                                                                                       \
  .prefix = "natural_lse", .flag = true, .high = 1,                                                                    \
  .meaning = "LSE stays natural, for score expressions, whose scores times log2(e) may overflow"
/* A field of the family alone: config->own[index]. */
#define ATTUNE_OWN_FIELD(index, name_)                                                                                 \
  .name = name_, .offset = offsetof(attune_config, own) + (index) * sizeof(int32_t), .schedule = true

/* Dynamic shared memory of a block: a multiple of 16. */
int64_t attune_shared_bytes(const attune_config *config);

/* ATTUNE_ILLEGAL_CONFIG where a tensor map cannot say the strides (CUDA driver API, cuTensorMapEncodeTiled). */
attune_status attune_tensor_map_takes(const char *name, const attune_strides *strides, int32_t seqlen, int32_t heads,
                                      int32_t batch);
/* Family wgmma backward, and the kernel that converts its dQ: parts of the sums that a tile of queries has, and floats.
 */
int attune_dq_parts(const attune_config *config);
int64_t attune_dq_partial_floats(const attune_config *config);

/* Keys of a tile of operation dbias, family mma, for the config's head dims. */
int32_t attune_dbias_tile_n(const attune_config *config);

/* Query rows that a warp of the kernel for delta works on. */
enum { ATTUNE_DELTA_ROWS_OF_WARP = 4 };

/* NULL if there is none. */
const attune_family_row *attune_family_find(int32_t family);

/* What a family has to work with: 255, less where several blocks share an SM's registers. */
int attune_register_cap(const attune_config *config, const attune_device *device);

#endif
