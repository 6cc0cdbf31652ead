/* The generator's interface: problems, configs and devices as values; the legal configs; the source of a kernel.
 * Pure functions: no GPU call, no file, no global state. All of them are thread-safe. */
#ifndef ATTUNE_GENERATOR_H
#define ATTUNE_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "generator/expressions.h"
#include "runtime/attune.h"
#include "templates/parts/arguments.h"

/* ---- problem ---- */

enum { ATTUNE_UNBOUNDED = (1 << 30) - 1, ATTUNE_TEXT_MAX = 448 }; /* i + shift + unbounded + 1 still fits 32 bits */

/* What the kernel must know of the mask at compile time. CAUSAL has a right bound only (also a window that is open to
 * the left); WINDOW has a left bound and perhaps a right one. */
typedef enum {
  ATTUNE_MASK_BOUNDS_NONE = 0,
  ATTUNE_MASK_BOUNDS_CAUSAL = 1,
  ATTUNE_MASK_BOUNDS_WINDOW = 2
} attune_mask_bounds;
/* How a score becomes an exponent. NEGATED is for a negative scale (the running maximum needs a positive one). */
typedef enum {
  ATTUNE_SCORE_PLAIN = 0,
  ATTUNE_SCORE_NEGATED = 1,
  ATTUNE_SCORE_SOFTCAP = 2,
  ATTUNE_SCORE_EXPRESSION = 3 /* of the natural score */
} attune_score;

/* Reads a problem of any version into one of this library's size; it is not checked otherwise. */
attune_status attune_problem_read(attune_problem *out, const attune_problem *problem);
/* "" for NULL. */
const char *attune_problem_mask_expr(const attune_problem *problem);
const char *attune_problem_score_expr(const attune_problem *problem);
/* A copy of a checked problem whose texts and params are in *owned: free() it. */
attune_status attune_problem_copy(attune_problem *out, void **owned, const attune_problem *problem);
/* Gives a problem the expressions, params and bias of another, whose texts it borrows. */
void attune_problem_take_expressions(attune_problem *out, const attune_problem *from);
/* Appends bytes that two problems share if and only if all their values, strides and texts are equal. */
struct attune_buffer;
void attune_problem_key(struct attune_buffer *out, const attune_problem *problem);

/* The functions below take problems of this library's size, as attune_problem_read, _resolve and _parse give them;
 * attune_problem_check, _resolve and _print take any version. */

/* Copies the problem with every default made explicit: scale, contiguous strides, window sides (ATTUNE_UNBOUNDED: none;
 * a causal mask is a right side of 0); checks it first. Mask and window become canonical: a side that hides no key is
 * unbounded. */
attune_status attune_problem_resolve(attune_problem *out, const attune_problem *problem);
/* All tensors but bias become contiguous. */
void attune_problem_drop_strides(attune_problem *problem);
attune_mask_bounds attune_problem_mask_bounds(const attune_problem *problem);
attune_score attune_problem_score(const attune_problem *problem);
/* Whether there is a mask expression, a score expression or a bias that does anything ("1" and "score" do not). */
bool attune_problem_has_mask_expr(const attune_problem *problem);
bool attune_problem_changes_score(const attune_problem *problem);
/* Whether an expression or a block mask leaves out keys, so that only a run can tell how many a query sees. */
bool attune_problem_is_sparse(const attune_problem *problem);
/* Blocks across seqlen, the last one ragged. */
int64_t attune_blocks_of(int32_t seqlen, int32_t block);
/* The queries or keys of one of them. */
attune_range attune_block_range(int64_t index, int32_t block, int32_t seqlen);
/* One block in so many is kept by the block mask: a power of two; 0: not known, or there is none. */
int32_t attune_problem_density_denominator(const attune_problem *problem);
/* What names the problem's expressions in keys: 31 bits of a hash over what they are compiled to; 0: it has none. A
 * problem that was parsed from the text of its class knows this number alone (expression_hash); it cannot be compiled.
 * The problem passed attune_problem_check. */
int32_t attune_problem_expression_hash(const attune_problem *problem);
/* The same, for who must tell a number from one that could not be made for want of memory. */
attune_status attune_problem_number_expressions(int32_t *out, const attune_problem *problem);
/* The problem class: everything that a tuned choice depends on, as text, e.g.
 *   forward.bf16.d128.b4.h16.kv16.q4096.k4096.causal
 * It begins with the operation. Optional parts: v64 (head_dim_v, after d), then causal | causal-bottom-right, wL,R
 * (window; -1: unbounded), block_maskN (block_size) and with it inM (block_density: about one in M, a power of two),
 * mask_expr, softcap | negated | expression, sinks, xN (attune_problem_expression_hash), lse, deterministic. Strides
 * and the values of scale and softcap are not part of it. Mask and window are in their canonical form: what hides no
 * key is left out. Parsing takes no other text than printing gives. */
attune_status attune_problem_print(char out[ATTUNE_TEXT_MAX], const attune_problem *problem);
attune_status attune_problem_parse(attune_problem *out, const char *text);
/* How far a tuned problem is from a wanted one; infinite where a kernel for one is not one for the other. Per-axis: the
 * sum of |log2| of the ratios of seqlens, batch and heads. */
double attune_problem_distance(const attune_problem *wanted, const attune_problem *tuned);
/* What the distance is made of: a text, which two problems share only if it is finite, and the sizes whose ratios
 * count; 0: the size does not apply. */
enum { ATTUNE_PROBLEM_SIZES = 6 };
attune_status attune_problem_place(char class[ATTUNE_TEXT_MAX], int32_t sizes[ATTUNE_PROBLEM_SIZES],
                                   const attune_problem *problem);
/* Two products, backward five, of the keys that bounds leave: what a mask expression or a block mask hides counts too.
 */
double attune_problem_flops(const attune_problem *problem);
double attune_problem_bytes(const attune_problem *problem); /* each tensor once */

/* ---- config ---- */

/* What a kernel computes. */
typedef enum {
  ATTUNE_OPERATION_FORWARD,
  ATTUNE_OPERATION_COMBINE,    /* adds up what splits of the keys gave */
  ATTUNE_OPERATION_BLOCK_MASK, /* builds and checks block masks */
  ATTUNE_OPERATION_BACKWARD,   /* the gradients of K and V */
  ATTUNE_OPERATION_DELTA,      /* what the others need of each query row: LSE, and the product of O and its gradient */
  ATTUNE_OPERATION_DQ,         /* the gradient of Q */
  ATTUNE_OPERATION_DBIAS,      /* the gradients of what changes scores: the bias, arrays of an expression */
  ATTUNE_OPERATION_DSINKS,     /* the gradient of the sinks */
  ATTUNE_OPERATION_COUNT
} attune_kernel_operation;

/* A way to compute one operation. The space of a problem are those of its operation, forward or backward; the others
 * compute steps of theirs. */
typedef enum {
  ATTUNE_FAMILY_REFERENCE = 0,
  ATTUNE_FAMILY_MMA = 1,
  ATTUNE_FAMILY_WGMMA = 2,
  ATTUNE_FAMILY_COUNT, /* of operation forward */
  ATTUNE_FAMILY_BLOCK_MASK = ATTUNE_FAMILY_COUNT,
  ATTUNE_FAMILY_COMBINE,
  ATTUNE_FAMILY_BACKWARD_REFERENCE,
  ATTUNE_FAMILY_BACKWARD_MMA,
  ATTUNE_FAMILY_BACKWARD_WGMMA,
  ATTUNE_FAMILY_DELTA,
  ATTUNE_FAMILY_DQ_REFERENCE,
  ATTUNE_FAMILY_DQ_MMA,
  ATTUNE_FAMILY_DQ_CONVERT,
  ATTUNE_FAMILY_DBIAS_REFERENCE,
  ATTUNE_FAMILY_DBIAS_MMA,
  ATTUNE_FAMILY_DSINKS,
  ATTUNE_FAMILY_LAST = ATTUNE_FAMILY_DSINKS
} attune_family;
/* Which (tile, head) a block takes. Within a head from the first row, from the last row; or all heads before the next
 * tile, again from the first row or from the last: with a causal mask the longest tiles then start first everywhere. */
typedef enum {
  ATTUNE_ORDER_LINEAR = 0,
  ATTUNE_ORDER_REVERSED = 1,
  ATTUNE_ORDER_HEADS = 2,
  ATTUNE_ORDER_LPT = 3,
  ATTUNE_ORDER_L2_SECTIONS = 4 /* family wgmma: longest, among so many heads at a time as L2 holds the keys of */
} attune_order;

/* What the warpgroups of a block take turns at. */
typedef enum {
  ATTUNE_PINGPONG_NONE = 0,
  ATTUNE_PINGPONG_MMA = 1,    /* the matrix units: one starts its products when the one before has started its own */
  ATTUNE_PINGPONG_SOFTMAX = 2 /* the exponentials: one begins its softmax when the one before has ended its own */
} attune_pingpong;
/* What O leaves through. */
typedef enum {
  ATTUNE_O_IN_Q = 0,   /* Q's slot */
  ATTUNE_O_IN_OWN = 1, /* one of its own */
  ATTUNE_O_IN_V = 2    /* that of the tile's last V */
} attune_o_staging;

/* How many tiles a block takes. Its own; or, of a grid as large as the device, one of every round; or the next one that
 * a counter in device memory gives. */
typedef enum {
  ATTUNE_PERSISTENT_NONE = 0,
  ATTUNE_PERSISTENT_STATIC = 1,
  ATTUNE_PERSISTENT_DYNAMIC = 2
} attune_persistent;

enum { ATTUNE_OWN_FIELDS_MAX = 12 };

/* How a kernel computes it. Every field is an int32_t. Its family's operation says which fields follow from the problem
 * (of those to accumulate), and the family's own table what its schedule is: the rest. These tables drive print, parse,
 * compare, the space, JSON and help; a field that a config does not have is 0, or 1 where it counts parts.
 * Canonical text: operation, family, fields; e.g. forward.mma.bf16.d128.causal.m128.n64.w4.s1.lpt.b2 */
typedef struct {
  int32_t family; /* attune_family */
  int32_t dtype;  /* attune_dtype */
  int32_t head_dim, head_dim_v;
  int32_t mask_bounds;       /* attune_mask_bounds */
  int32_t sparse_block_size; /* queries and keys of a block of the block mask; 0: none */
  int32_t has_mask_expr;     /* 1: a mask expression chooses tiles and keys */
  int32_t score;             /* attune_score */
  int32_t sinks;             /* 0, 1 */
  int32_t expression_hash;   /* attune_problem_expression_hash */
  int32_t lse;               /* 0, 1 */
  int32_t dbias, dsinks;     /* 0, 1: as attune_problem.want_dbias and want_dsinks */
  int32_t dparams;           /* 0, 1: as attune_problem.want_dparams */
  int32_t accumulate;        /* 0, 1: gradients are added to what there is */
  int32_t tile_m;            /* query rows of a block */
  int32_t tile_n;            /* key rows of a step */
  int32_t warps;             /* of a block */
  int32_t stages;            /* K tiles and V tiles in shared memory */
  int32_t lazy_rescale;      /* 1: O is rescaled only when a row's maximum has grown by 2^8, else at every tile */
  int32_t persistent;        /* attune_persistent */
  int32_t order;             /* attune_order */
  int32_t pack_gqa;          /* query heads of a group whose rows share a tile: row r is head r % pack_gqa; 1 */
  int32_t splits;            /* parts of the keys, each of which is worked on by a block of its own; 1 */
  int32_t cluster;           /* blocks with neighbouring tiles, each of which loads its part of K and V for all; 1 */
  int32_t min_blocks_per_sm; /* blocks an SM should hold: caps the registers of a thread */
  int32_t own[ATTUNE_OWN_FIELDS_MAX]; /* of the family alone; its file says what each is */
} attune_config;

/* The values of one field that are worth trying. */
enum { ATTUNE_AXIS_MAX = 16 };
typedef struct {
  int32_t values[ATTUNE_AXIS_MAX];
  int count;
} attune_axis;

enum { ATTUNE_NEVER_ABSENT = INT32_MIN, ATTUNE_ABSENT_AS_HEAD_DIM = INT32_MIN + 1 };
typedef struct {
  const char *name;         /* its key in JSON, and in capitals the templates' */
  const char *prefix;       /* what stands before the value in the canonical text */
  size_t offset;            /* in attune_config */
  bool schedule;            /* false: follows from the problem */
  bool flag;                /* 0 or 1; in the text the prefix alone says 1 */
  int32_t absent;           /* value that is left out of the text, or one of the enum above */
  const char *const *words; /* enum values as text, NULL-terminated, or NULL: a number */
  const char *meaning;      /* one line for --help and docs */
  /* Of the schedule: what is legal, and which values the space has. */
  int32_t low, high;
  int32_t (*high_of)(const attune_config *config); /* NULL: high */
  attune_axis axis;                                /* count 0: low alone */
  /* config has the fields that follow from the problem, and every schedule field before this one. problem: a resolved
   * one, or NULL: any of the config's class. NULL: axis. */
  void (*axis_of)(attune_axis *out, const attune_config *config, const attune_problem *problem);
  /* Further values for a whole config, which attune_space_near tries; NULL: there are none. */
  void (*refine)(attune_axis *out, const attune_config *config);
} attune_config_field;

/* The fields of a family's configs, in the order of the canonical text; NULL where there is no such family or field. */
int attune_config_field_count(int32_t family);
const attune_config_field *attune_config_field_at(int32_t family, int index);
/* NULL if the family has no such field. */
const attune_config_field *attune_config_field_named(int32_t family, const char *name);
int32_t attune_config_get(const attune_config *config, const attune_config_field *field);
void attune_config_set(attune_config *config, const attune_config_field *field, int32_t value);
/* By name; 0 where the family has no such field. */
int32_t attune_config_value(const attune_config *config, const char *name);

attune_status attune_config_print(char out[ATTUNE_TEXT_MAX], const attune_config *config);
attune_status attune_config_parse(attune_config *out, const char *text);
int attune_config_compare(const attune_config *a, const attune_config *b); /* total order, simplest schedule first */
/* Fills the fields that follow from the problem; the schedule is 0. */
void attune_config_of_problem(attune_config *out, attune_family family, const attune_problem *problem);
/* ATTUNE_ILLEGAL_CONFIG with the first field that the problem needs to be another: the config is for other problems. */
attune_status attune_config_fits(const attune_config *config, const attune_problem *problem);
/* The config's schedule for another problem. out may be config. */
void attune_config_for_problem(attune_config *out, const attune_config *config, const attune_problem *problem);
/* The text today of a problem or config that a store of version 1 or 2 has; any other text comes out as it is. false:
 * it needs more than size bytes. */
bool attune_text_renamed(char *out, size_t size, const char *text);
/* "attune_forward_mma_bf16_d128_causal_m128_n64_w4_s1_lpt_b2": the config's text as a C identifier. */
attune_status attune_config_symbol(char out[ATTUNE_TEXT_MAX + 8], const attune_config *config);
/* "mma"; unique among the families of an operation. "unknown" where there is no such family. */
const char *attune_family_name(attune_family family);
/* The family of the operation by that name; ATTUNE_FAMILY_LAST + 1 where there is none. */
int32_t attune_family_named(attune_kernel_operation operation, const char *name);
/* Whether it is one that is legal for every problem of its operation, and never tuned. */
bool attune_family_is_reference(int32_t family);
/* The operation whose families are the problem's space. */
attune_kernel_operation attune_problem_operation(const attune_problem *problem);
const char *attune_operation_name(attune_kernel_operation operation); /* "forward" */
/* Of the config's family; ATTUNE_OPERATION_COUNT where there is no such family. */
attune_kernel_operation attune_config_operation(const attune_config *config);

/* ---- device ---- */

/* The limits that a config must respect and the rates that a model needs. */
typedef struct {
  char name[128]; /* as the driver says, "sm_90" for an architecture alone, or "host" */
  int32_t arch;   /* 10 * major + minor: 80, 86, 87, 89, 90, 100, 103, 120, 121; 0 for host */
  int32_t sm_count;
  int32_t shared_per_block; /* bytes, opt-in limit */
  int32_t shared_per_sm;    /* bytes */
  int32_t shared_reserved;  /* bytes the driver takes per block */
  int32_t registers_per_sm;
  int32_t threads_per_sm, threads_per_block, blocks_per_sm;
  int64_t l2_bytes, memory_bytes;
  int32_t clock_khz;        /* SM clock; 0: unknown */
  int64_t memory_bandwidth; /* bytes a second; 0: unknown */
  int32_t matrix_rate;      /* operations of an SM and clock: 16-bit products summed in float; 0: the architecture's */
  char card[64];            /* whose counts and rates these are; "" where they are the device's own */
} attune_device;

/* "sm_80", ..., NULL: those that are known, without the host. */
extern const char *const attune_architectures[];
/* An architecture alone ("sm_90", also as "sm_90a", "sm90", "compute_90", "90" or "9.0"; "host"): limits from the CUDA
 * programming guide's table of compute capabilities; counts and rates of a typical card, for the model only.
 * ATTUNE_UNSUPPORTED before sm_80, ATTUNE_BAD_ARGUMENT for what is not known. */
attune_status attune_device_of_arch(attune_device *out, const char *arch);
/* A card that need not be present, as people write it: "a10", "rtx4090". ATTUNE_BAD_ARGUMENT with the known ones. */
attune_status attune_device_of_card(attune_device *out, const char *card);
/* The known cards by number: what attune_device_of_card takes, and the device; false beyond the last. */
enum { ATTUNE_CARD_KEY_MAX = 64 };
bool attune_device_of_card_at(attune_device *out, char key[ATTUNE_CARD_KEY_MAX], int number);
/* attune_device.matrix_rate for a device by the driver's name: GeForce cards have half of their architecture's. */
int32_t attune_card_matrix_rate(const char *name, int32_t arch);
/* "NVIDIA A10: 72 SMs at 1695 MHz, 600 GB/s": what an estimate is for. */
void attune_device_figures(char out[256], const attune_device *device);
/* What of a device decides speed: name, capability, SM count, L2 in MiB, memory in GiB; e.g. "NVIDIA H100 80GB
 * HBM3|sm_90|132 SMs|50 MiB L2|79 GiB". */
attune_status attune_device_identity(char out[256], const attune_device *device);

/* ---- space ---- */

/* ATTUNE_OK, or ATTUNE_ILLEGAL_CONFIG with the limit and both numbers. */
attune_status attune_config_legal(const attune_config *config, const attune_device *device);

/* Every combination of the families' axes for the problem, legal or not, in a fixed order. visit returns false to stop.
 * reason is "" for legal ones. family < 0: all of the problem's operation. */
typedef bool attune_visit(void *user, const attune_config *config, bool legal, const char *reason);
attune_status attune_space(const attune_problem *problem, const attune_device *device, int family, attune_visit *visit,
                           void *user);
/* Every config one step along one axis from this one. Here the axes are longer than in the space: the family's
 * refinements, which are worth trying around what is good already but would multiply the space, belong to them. */
void attune_space_near(const attune_config *config, const attune_device *device, attune_visit *visit, void *user);
/* The config to use where nothing was measured: the least estimate among the legal ones of the fastest family. */
attune_status attune_config_default(attune_config *out, const attune_problem *problem, const attune_device *device);
/* The config that builds and checks the problem's block mask; of the problem it has the mask alone, as *mask, which is
 * what compiles. ATTUNE_BAD_SIZE if it has no block_size. */
attune_status attune_config_block_mask(attune_config *out, attune_problem *mask, const attune_problem *problem);
/* The config of the kernel that combines the splits of a config. */
void attune_config_combine(attune_config *out, const attune_config *config);
/* Of a config of operation backward: the configs of its other steps. */
void attune_config_delta(attune_config *out, const attune_config *config);
void attune_config_dq(attune_config *out, const attune_config *config);
void attune_config_dbias(attune_config *out, const attune_config *config);
void attune_config_dsinks(attune_config *out, const attune_config *config);
/* The reference family's config: legal for every problem and device. */
attune_status attune_config_reference(attune_config *out, const attune_problem *problem);

/* ---- cost ---- */

typedef struct {
  int32_t grid, threads, shared_bytes; /* dynamic shared memory */
  int32_t tiles_m;                     /* of queries: whole clusters of them */
  int32_t splits;                      /* of the keys: the grid has as many blocks for each */
  int32_t cluster;                     /* blocks of a cluster: the grid is a multiple */
  int32_t resident;  /* persistent kernels: the grid has at most so many blocks for an SM; 0: no limit */
  bool programmatic; /* may start before the step before it ends, which its kernel waits for itself (sm_90 on) */
} attune_launch;
/* ATTUNE_ILLEGAL_CONFIG where the family does not serve the problem: strides that a tensor map cannot say, sums in open
 * order where it is to be deterministic. Of other operations than forward only threads and shared bytes: their steps
 * know the grid. */
attune_status attune_launch_of(attune_launch *out, const attune_config *config, const attune_problem *problem);
/* The grid on a device: that of the launch, or what is resident at once where that is less. */
int32_t attune_launch_blocks(const attune_launch *launch, const attune_device *device);

enum { ATTUNE_STEPS_MAX = 5 };
/* What the compiler reports of a kernel. registers 0: nothing, it is estimated from the tile. */
typedef struct {
  int registers, spill_bytes; /* of a thread */
} attune_footprint;
/* A model, never a measurement: seconds for the problem, of all steps, from occupancy, waves, matrix and memory rates.
 * footprints: of each step (attune_config_kernels); NULL: estimated. */
double attune_estimate(const attune_config *config, const attune_problem *problem, const attune_device *device,
                       const attune_footprint footprints[ATTUNE_STEPS_MAX]);
/* How many tiles of the other side a tile goes through, by its shape: what is slow to find for a mask expression. For
 * one problem, begun with count 0. */
enum { ATTUNE_TILE_SHAPES_MAX = 192 };
typedef struct {
  int count;
  struct {
    int32_t tile_m, tile_n;
    bool of_keys; /* a tile of keys, through tiles of queries */
    double mean, longest;
  } shapes[ATTUNE_TILE_SHAPES_MAX];
} attune_estimate_memo;
/* The same for many configs of one problem. */
double attune_estimate_with(const attune_config *config, const attune_problem *problem, const attune_device *device,
                            const attune_footprint footprints[ATTUNE_STEPS_MAX], attune_estimate_memo *memo);
/* By how much an estimate is wrong, as a fraction of it: of 20 kernels that were measured on the H100 which the model
 * is fitted to, 19 took at most so much more or less. Elsewhere nothing was measured, and it is at least that. */
double attune_estimate_error(double seconds);
/* "+- 30%", or "+- 30% or more, nothing was measured on sm_86". */
void attune_estimate_error_text(char out[96], double seconds, const attune_device *device);
/* The least seconds that the device's matrix units and memory allow for the problem, whatever the kernel; of a sparse
 * one its memory. */
double attune_problem_floor(const attune_problem *problem, const attune_device *device);
int attune_registers_estimate(const attune_config *config); /* per thread */
/* Resident blocks per SM, by registers, shared memory, threads; 0: does not fit. */
int attune_occupancy(const attune_config *config, const attune_device *device, int registers);

/* The target that NVRTC is given for a config on an architecture: "sm_90a" where its instructions are that one's own.
 */
void attune_config_target(char out[16], const attune_config *config, const char *arch);

/* ---- tensors: what kernels read and write ---- */

typedef enum {
  ATTUNE_TENSOR_Q,
  ATTUNE_TENSOR_K,
  ATTUNE_TENSOR_V,
  ATTUNE_TENSOR_O,
  ATTUNE_TENSOR_LSE,
  ATTUNE_TENSOR_SEQLENS_Q,
  ATTUNE_TENSOR_SEQLENS_K,
  ATTUNE_TENSOR_BIAS,
  ATTUNE_TENSOR_SINKS,
  ATTUNE_TENSOR_DO,
  ATTUNE_TENSOR_DLSE,
  ATTUNE_TENSOR_DQ,
  ATTUNE_TENSOR_DK,
  ATTUNE_TENSOR_DV,
  ATTUNE_TENSOR_DBIAS,
  ATTUNE_TENSOR_DSINKS,
  ATTUNE_TENSOR_DPARAM, /* the first of ATTUNE_PARAMS_MAX */
  ATTUNE_TENSOR_DPARAM_LAST = ATTUNE_TENSOR_DPARAM + ATTUNE_PARAMS_MAX - 1,
  ATTUNE_TENSOR_ROW_OFFSETS, /* of a block mask that is read */
  ATTUNE_TENSOR_INDICES,
  ATTUNE_TENSOR_ROW_ORDER,
  ATTUNE_TENSOR_COLUMN_OFFSETS,
  ATTUNE_TENSOR_ROW_INDICES,
  ATTUNE_TENSOR_PARAM, /* the first of ATTUNE_PARAMS_MAX */
  ATTUNE_TENSOR_PARAM_LAST = ATTUNE_TENSOR_PARAM + ATTUNE_PARAMS_MAX - 1,
  ATTUNE_TENSOR_MASK_SOURCE, /* what a block mask is built from */
  ATTUNE_TENSOR_BUILT_OFFSETS,
  ATTUNE_TENSOR_BUILT_INDICES,
  ATTUNE_TENSOR_BUILT_ORDER,
  ATTUNE_TENSOR_BUILT_COLUMN_OFFSETS,
  ATTUNE_TENSOR_BUILT_ROW_INDICES,
  ATTUNE_TENSOR_ROW_COUNTS,      /* workspace: blocks of each row */
  ATTUNE_TENSOR_TILE_COUNTER,    /* workspace: tiles that blocks have taken */
  ATTUNE_TENSOR_O_PARTIAL,       /* workspace: (splits, batch, heads_q, seqlen_q, head_dim_v), each split's O */
  ATTUNE_TENSOR_SOFTMAX_PARTIAL, /* workspace: (splits, batch, heads_q, seqlen_q, 2): largest score, sum */
  ATTUNE_TENSOR_ROW_TERMS,       /* workspace: of each query row (attune_gradients of templates/parts/arguments.h) */
  ATTUNE_TENSOR_DQ_PARTIAL,      /* workspace: sums for dQ (templates/backward/dq_partial.h) */
  ATTUNE_TENSOR_COUNT
} attune_tensor_id;

typedef enum { ATTUNE_TENSOR_INPUT, ATTUNE_TENSOR_OUTPUT, ATTUNE_TENSOR_WORKSPACE } attune_tensor_role;
typedef enum { ATTUNE_ELEMENT_DTYPE, ATTUNE_ELEMENT_FLOAT, ATTUNE_ELEMENT_INT, ATTUNE_ELEMENT_BYTE } attune_element;
typedef enum { ATTUNE_NEED_NO, ATTUNE_NEED_OPTIONAL, ATTUNE_NEED_YES } attune_need;

/* Where the elements of a tensor lie: rows of so many that follow each other, in up to three dimensions of rows, with
 * strides in elements. A size of 0 anywhere: there are none. */
typedef struct {
  int64_t row, sizes[3], strides[3];
} attune_shape;

/* What ends the rows of a sequence, or the elements of a row: the shape, or the sequence's length. */
typedef enum { ATTUNE_EXTENT_SHAPE, ATTUNE_EXTENT_QUERIES, ATTUNE_EXTENT_KEYS } attune_extent;

/* What one run brings; the block mask's source and result for the builder alone. */
typedef struct {
  attune_tensors tensors;
  attune_block_mask_source source;
  attune_block_mask built;
} attune_run_inputs;

typedef struct {
  const char *name;
  attune_tensor_role role;
  attune_element element;
  int32_t alignment;  /* bytes */
  size_t run;         /* offset of its pointer in attune_run_inputs; workspace: not used */
  size_t argument;    /* offset of its pointer in attune_kernel_arguments */
  const char *member; /* of attune_tensors, for messages; NULL: name */
  const char *option; /* what of the problem asks for it, for messages; NULL: always needed, or optional */
  attune_need (*need)(const attune_problem *problem);
  bool saved; /* of what forward writes, what backward reads */
  /* NULL for the workspace's, whose bindings have the size. */
  void (*shape)(attune_shape *out, const attune_problem *problem, const attune_run_inputs *run);
  attune_extent rows, columns; /* beyond a sequence's lengths nothing is read or written */
} attune_tensor_row;
extern const attune_tensor_row attune_tensor_table[ATTUNE_TENSOR_COUNT];
/* What the tensor is to the problem's operation. */
attune_tensor_role attune_tensor_role_of(attune_tensor_id tensor, const attune_problem *problem);
/* Bytes of an element. */
int attune_element_bytes(attune_element element);
/* The tensor's pointer in a run or in arguments. */
void *attune_tensor_of_run(const attune_run_inputs *run, attune_tensor_id tensor);
void *attune_tensor_of_arguments(const union attune_kernel_arguments *arguments, attune_tensor_id tensor);
void attune_tensor_bind(union attune_kernel_arguments *arguments, attune_tensor_id tensor, const void *pointer);

/* ---- steps: the kernels of a config in their order, and how each is launched ---- */

/* What a kernel may do with a tensor. COUNT: atomic additions to one word; ADD: of floats. */
typedef enum { ATTUNE_ACCESS_READ, ATTUNE_ACCESS_WRITE, ATTUNE_ACCESS_COUNT, ATTUNE_ACCESS_ADD } attune_access;
typedef struct {
  attune_tensor_id tensor;
  attune_access access;
  int64_t elements; /* of the workspace; 0: the table has the shape */
} attune_binding;

/* How TMA moves elements: the numbers of the CUDA driver API. */
enum {
  ATTUNE_TMA_UINT16 = 1,
  ATTUNE_TMA_INTERLEAVE_NONE = 0,
  ATTUNE_TMA_SWIZZLE_128B = 3,
  ATTUNE_TMA_PROMOTION_256B = 3, /* what L2 reads at a time */
  ATTUNE_TMA_FILL_ZEROS = 0      /* out of bounds */
};
typedef struct {
  int32_t type, interleave, swizzle, promotion, fill;
} attune_tensor_map_format;

/* All that a tensor map says (cuTensorMapEncodeTiled) but the address: elements of (columns, seqlen, heads, batch),
 * moved in boxes of columns x rows. */
typedef struct {
  attune_tensor_id tensor;
  attune_tensor_map_format format;
  int64_t size[4];   /* elements: columns, seqlen, heads, batch; of packed heads columns, heads, seqlen, batch */
  int64_t stride[3]; /* bytes: of all but columns */
  int32_t columns;   /* of a box */
  int32_t rows;      /* of a box */
  int32_t inner;     /* of these, along the first axis after columns; the others along the next */
} attune_tensor_map_box;

enum { ATTUNE_SEGMENTS_MAX = 4, ATTUNE_SEGMENT_ALIGNMENT = 256 };

/* One kernel and its launch. A run copies the arguments, writes the pointers of the bindings into them, and launches.
 */
typedef struct {
  attune_config config; /* of the kernel: attune_emit's */
  attune_launch launch;
  union attune_kernel_arguments arguments; /* all but pointers and what only a run knows */
  attune_binding bindings[ATTUNE_TENSOR_COUNT];
  int binding_count;
  attune_tensor_map_box maps[ATTUNE_TENSOR_MAPS]; /* the kernel's second parameter, if there are any */
  int map_count;
} attune_step;

/* A tensor that lives in the workspace. */
typedef struct {
  attune_tensor_id tensor;
  int64_t offset, bytes;
  bool cleared; /* to 0, at the beginning of each run */
} attune_segment;

typedef struct {
  attune_step steps[ATTUNE_STEPS_MAX];
  int count;
  attune_segment segments[ATTUNE_SEGMENTS_MAX];
  int segment_count;
  int64_t workspace_bytes;
} attune_steps;

/* The configs of a config's steps, in their order; how many there are. */
int attune_config_kernels(attune_config out[ATTUNE_STEPS_MAX], const attune_config *config);
/* The steps of a config for a resolved problem. ATTUNE_ILLEGAL_CONFIG as attune_launch_of. */
attune_status attune_steps_of(attune_steps *out, const attune_config *config, const attune_problem *problem);
/* The steps that build a block mask, or check it; of the mask count batch, heads, and whether it has column_offsets.
 * config and problem are attune_config_block_mask's. */
attune_status attune_block_mask_build_steps(attune_steps *out, const attune_config *config,
                                            const attune_problem *problem, const attune_block_mask *mask);
attune_status attune_block_mask_check_steps(attune_steps *out, const attune_config *config,
                                            const attune_problem *problem, const attune_block_mask *mask);
/* Writes into a step's arguments what only a run knows, beside pointers: the values of params, sizes of a block mask.
 */
void attune_arguments_of_run(union attune_kernel_arguments *arguments, const attune_step *step,
                             const attune_run_inputs *run);
/* n / d for 0 <= n < 2^31, with d from 1 to 2^31 - 1. */
struct attune_divisor attune_divisor_of(int32_t d);

/* ---- source ---- */

typedef enum { ATTUNE_TARGET_CUDA = 0, ATTUNE_TARGET_SIMULATOR = 1 } attune_target;

/* The CUDA C++ (or host C++) of one kernel: same config and expressions, same bytes. No include path is needed. problem
 * has the expressions; it may be NULL where the config has none. *source is malloc'ed, NUL-terminated, owned by the
 * caller. */
attune_status attune_emit(char **source, const attune_config *config, const attune_problem *problem,
                          attune_target target);
/* SHA-256, in hex, of what runs for the problem: sources without comments and blank space, launches and tensor maps. A
 * time that was measured stands for as long as this stays. Of the problem its class enters, and its expressions;
 * strides are taken to be contiguous. arch as in attune_config_target, or "host". */
attune_status attune_result_hash(char out[65], const attune_config *config, const attune_problem *problem,
                                 const char *arch);

#endif
