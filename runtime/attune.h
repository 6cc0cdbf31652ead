/* Attune: exact attention, generated and tuned for the GPU at hand.
 *
 * This is the one public header. A context owns a device and a store of tuned kernels; a plan is the compiled kernels
 * of one problem; attune_run enqueues them. See runtime/example.c for a whole program.
 *
 * Compatibility. Numbers of enumerators are fixed and only appended. A struct with a struct_size grows at its end, and
 * its init function stores the size that the caller was compiled with: a library reads a smaller struct as the older
 * one, whose missing fields have their defaults, and refuses a larger one (ATTUNE_UNSUPPORTED) only if a field that it
 * does not know is not zero. The other structs keep their size: a new field takes the place of a reserved one, and
 * reserved fields must be zero.
 *
 * Threads. Every function may be called from any thread, also at once on the same context, plan or builder, except that
 * an object must not be used during or after the call that destroys the last reference to it.
 */
#ifndef ATTUNE_H
#define ATTUNE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ATTUNE_VERSION_MAJOR 0
#define ATTUNE_VERSION_MINOR 1
#define ATTUNE_VERSION_PATCH 0

#if defined(__GNUC__)
#define ATTUNE_API __attribute__((visibility("default")))
#else
#define ATTUNE_API
#endif

/* Every function that can fail returns one of these and leaves a message for attune_message(). BAD_...: the call is
 * wrong and would be wrong everywhere. ATTUNE_UNSUPPORTED: the call makes sense, but this library or this device cannot
 * do it; another implementation may. */
typedef enum {
  ATTUNE_OK = 0,
  ATTUNE_OUT_OF_MEMORY = 1,   /* of the host, or of the device */
  ATTUNE_BAD_ARGUMENT = 2,    /* null pointer, negative enumerator, struct_size that no version had */
  ATTUNE_BAD_HEAD_DIM = 3,    /* head_dim or head_dim_v is not positive */
  ATTUNE_BAD_HEADS = 4,       /* heads_q is not a multiple of heads_kv */
  ATTUNE_BAD_SIZE = 5,        /* a size is zero, negative or overflows */
  ATTUNE_BAD_STRIDE = 6,      /* a stride is negative, or rows of an output overlap */
  ATTUNE_BAD_POINTER = 7,     /* a pointer is null or misaligned, or is given where the plan uses none */
  ATTUNE_BAD_SCALE = 8,       /* scale or softcap is not finite, or softcap is negative */
  ATTUNE_BAD_WINDOW = 9,      /* a window that contradicts the mask */
  ATTUNE_BAD_EXPRESSION = 10, /* a mask or score expression that does not parse, or names what there is not */
  ATTUNE_BAD_CONFIG = 11,     /* config text that does not parse */
  ATTUNE_ILLEGAL_CONFIG = 12, /* a config that this device cannot run; the message names the limit */
  ATTUNE_BAD_BLOCK_MASK = 13, /* a block mask that breaks its rules; the message has the first row that does */
  ATTUNE_BAD_FILE = 14,       /* an unreadable, truncated or inconsistent file (safetensors, workload) */
  ATTUNE_BAD_JSON = 15,       /* JSON that does not parse (the message has the line) or does not fit (which item) */
  ATTUNE_STORE_TOO_NEW = 16,  /* the database was written by a newer version */
  ATTUNE_STORE_FAILED = 17,   /* an explicit store operation failed (never from plan or run) */
  ATTUNE_NO_DEVICE = 18,      /* no such device; none at all, and the simulator was not asked for by name */
  ATTUNE_NO_DRIVER = 19,      /* a CUDA device was asked for by name, and libcuda is missing or too old */
  ATTUNE_NO_NVRTC = 20,       /* NVRTC is missing or too old */
  ATTUNE_NO_COMPILER = 21,    /* the simulator needs a C++17 compiler and found none */
  ATTUNE_COMPILE_FAILED = 22, /* the message has the end of the compiler's log */
  ATTUNE_WOULD_COMPILE = 23,  /* frozen: no compiled kernel is stored for this problem */
  ATTUNE_WORKSPACE_TOO_SMALL = 24,
  ATTUNE_DRIVER_FAILED = 25, /* a CUDA driver call failed; the message has its name and error */
  ATTUNE_KERNEL_FAULT = 26,  /* the simulator found a fault: race, bounds, divergence, deadlock */
  ATTUNE_WRONG_RESULT = 27,  /* verification failed */
  ATTUNE_INTERRUPTED = 28,
  ATTUNE_UNSUPPORTED = 29 /* valid, but beyond this library or this device; the message has the limit */
} attune_status;

typedef enum { ATTUNE_FP16 = 0, ATTUNE_BF16 = 1 } attune_dtype;

/* FORWARD: O, and LSE where it is wanted. BACKWARD: the gradients of Q, K and V, from that of O; and those of the bias,
 * of the sinks and of arrays of floats where they are wanted. A plan is of one operation; a program that trains makes
 * two of one problem. A score expression is differentiated (rules: generator/README.md); with a block_size the lists by
 * columns are needed (attune_block_mask). */
typedef enum { ATTUNE_FORWARD = 0, ATTUNE_BACKWARD = 1 } attune_operation;

/* Query i and key j, shift = 0 for NONE and CAUSAL, seqlen_k - seqlen_q for CAUSAL_BOTTOM_RIGHT.
 * CAUSAL and CAUSAL_BOTTOM_RIGHT: key j is visible if j <= i + shift. */
typedef enum {
  ATTUNE_MASK_NONE = 0,
  ATTUNE_MASK_CAUSAL = 1,             /* aligned top-left, as PyTorch's is_causal */
  ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT = 2 /* as FlashAttention since 2.1 */
} attune_mask;

/* Element strides of one tensor of shape (batch, seqlen, heads, head_dim); head_dim is contiguous. All zero means
 * contiguous in that order. Otherwise each stride is a non-negative multiple of 8 elements; a stride of zero broadcasts
 * (inputs only). This struct keeps its size. */
typedef struct {
  int64_t batch, seqlen, heads;
} attune_strides;

/* Limits of a problem's texts; those of texts count the final NUL. */
enum { ATTUNE_EXPRESSION_MAX = 480, ATTUNE_PARAM_NAME_MAX = 24, ATTUNE_PARAMS_MAX = 8 };
typedef enum {
  ATTUNE_PARAM_NONE = 0, /* not a parameter: refused in a problem */
  ATTUNE_PARAM_INT = 1,
  ATTUNE_PARAM_FLOAT = 2,
  ATTUNE_PARAM_INT_ARRAY = 3,  /* int32_t in device memory */
  ATTUNE_PARAM_FLOAT_ARRAY = 4 /* float in device memory */
} attune_param_type;
/* A name that a problem's expressions may use for a value that each run brings. */
typedef struct {
  const char *name; /* letters, digits and _, at most 23; borrowed */
  attune_param_type type;
  int32_t reserved; /* 0 */
} attune_param;

enum { ATTUNE_BLOCK_SIZE_MAX = 1 << 16 };

/* What is to be computed: O = softmax(scale * Q K^T [softcap] [mask]) V, or the gradients of what Q, K and V are.
 * Fill with attune_problem_init, then set fields. Its texts and its array of parameters are borrowed for the time of
 * each call that is given the problem; plans and builders copy what they need. */
typedef struct {
  size_t struct_size;               /* sizeof(attune_problem), set by attune_problem_init */
  attune_dtype dtype;               /* of Q, K, V and O, and of bias */
  int32_t head_dim, head_dim_v;     /* multiples of 8 in 8..256 */
  int32_t batch, heads_q, heads_kv; /* heads_q is a multiple of heads_kv */
  int32_t seqlen_q, seqlen_k;       /* 1 .. 2^30 - 512; upper bounds where lengths live in device memory */
  attune_mask mask;
  int32_t window_left, window_right; /* key j is visible if i+shift-left <= j <= i+shift+right; -1: unbounded */
  float scale;      /* any finite float; NaN: 1/sqrt(head_dim), which is not what rows that were padded want */
  float softcap;    /* 0: none; else, up to 10,000: score = softcap * tanh(scale*q.k / softcap) */
  int32_t want_lse; /* 1: also write LSE; BACKWARD reads it, and ignores this */
  attune_strides q, k, v, o;
  /* Expressions in C syntax, NULL or "" for none (grammar: generator/README.md), at most 479 bytes. mask_expr is true
   * where query q sees key k, besides what mask and window say: "q / 128 == k / 128 || k < 64". score_expr is the new
   * score, from `score` = scale * q.k: "score + slope[head] * (k - q)"; it excludes softcap. Both know batch, head, q,
   * k, seqlen_q, seqlen_k and the params. An index outside an array gives 0, as does an int divided by 0; int is 32
   * bits and wraps; float is 32 bits, and where a comparison, int() or floor() follows each operation
   * that does not depend on `score` is rounded once. */
  const char *mask_expr, *score_expr;
  const attune_param *params; /* param_count of them, at most 8; NULL where there are none */
  int32_t param_count;
  /* 1: a tensor of elements of dtype is added to the scores: element batch * bias.batch + head * bias.heads +
   * q * bias.seqlen + k; a stride of 0, the default, broadcasts. A score_expr then has to use it, by the name `bias`.
   */
  int32_t want_bias;
  attune_strides bias;
  int32_t want_sinks; /* 1: each head has one more key, whose score is sinks[head] and whose value is zero */
  /* Not 0: of the keys that mask, window and mask_expr leave, a query sees those in blocks of block_size queries x
   * block_size keys that are kept (attune_block_mask). A multiple of 16 up to ATTUNE_BLOCK_SIZE_MAX; tiles of a
   * kernel must divide it, and those of the fast kernels divide 64 or 128. */
  int32_t block_size;
  float block_density;     /* about which share of the blocks will be kept, for tuning; 0: not known */
  int32_t expression_hash; /* 0, unless the problem was read from the text of its class, which names its expressions by
                              this number; such a problem is no input of plans and builders */
  attune_operation operation;
  int32_t
      deterministic; /* BACKWARD, 1: a plan's gradients are the same bits on every run; FORWARD's outputs always are */
  attune_strides d_o, dq, dk, dv; /* BACKWARD: of the gradients of O, Q, K and V, which have these tensors' shapes */
  /* BACKWARD, each 0 or 1; FORWARD ignores them. Which gradients are computed besides: that of the bias, whose strides
   * then must not let two of its elements share a place; that of the sinks; and those of the arrays of floats that
   * score_expr reads, of which a run takes what it gives memory for. These are added up in the order in which blocks
   * come, so that deterministic excludes want_dparams. */
  int32_t want_dbias, want_dsinks, want_dparams;
  int32_t accumulate; /* all gradients are added to what their memory holds */
} attune_problem;

typedef struct attune_context attune_context;
typedef struct attune_plan attune_plan;
typedef void *attune_stream; /* a CUstream or cudaStream_t; NULL is the default stream; ignored by the simulator */

/* How to make a context. The texts are borrowed for the time of attune_context_create. */
typedef struct {
  size_t struct_size;   /* sizeof(attune_options), set by attune_options_init */
  const char *device;   /* "cuda:N"; "host", the simulator, to which device memory is plain memory; NULL: the CUDA
                           context that is current, else cuda:0 */
  const char *database; /* path of the store, ":memory:", or NULL: $ATTUNE_DATABASE, else the XDG cache folder */
  int32_t frozen;       /* 1: never compile and never write; also set by ATTUNE_FROZEN=1 */
  uint64_t host_seed;   /* schedule of the simulator */
} attune_options;

/* The value of a param: integer, real, or an array in device memory with its number of elements. */
typedef struct {
  const void *array; /* borrowed for the time of the run */
  int64_t count;
  int32_t integer;
  float real;
  int64_t reserved; /* 0 */
} attune_value;

/* Which blocks are seen: for each batch, head and row of blocks the columns of those that are, compressed sparse rows;
 * and, if column_offsets is not NULL, the same blocks once more as compressed sparse columns, for what goes through the
 * queries of a block of keys. Memory grows with the blocks that are kept. The arrays are in device memory, borrowed for
 * the time of a run; another run may bring others. A mask that breaks these rules gives wrong results, and no access
 * out of bounds. attune_block_mask_builder_build writes the arrays; runs only read them. */
typedef struct {
  int32_t batch, heads; /* 1: the same mask for all, or as many as the problem has */
  int32_t *row_offsets; /* (batch * heads * ceil(seqlen_q / block_size) + 1): where each row begins in indices; the last
                           element is where the last one ends */
  int32_t *indices;     /* ascending in a row: 2 * column + 1, or 2 * column where mask_expr must also be asked */
  int64_t capacity;     /* elements of indices; what row_offsets say beyond it is left out */
  int32_t *row_order;   /* the numbers of the rows, in the order in which they are begun, so that those with most
                             blocks come first; NULL: as the kernel likes */
  /* The transposed lists, which the forward pass does not read; NULL: none.
   * (batch * heads * ceil(seqlen_k / block_size) + 1): where each column begins in row_indices; the last element is
   * where the last one ends. */
  int32_t *column_offsets;
  int32_t *row_indices; /* (capacity), ascending in a column: 2 * row + 1, or 2 * row where mask_expr must also be
                           asked; rows are counted from 0 in each batch and head */
  int64_t reserved[2];  /* 0 */
} attune_block_mask;

/* What one run reads and writes: device pointers (host pointers for the simulator), borrowed until the run has
 * finished on its stream. q, k, v and o are 16-byte aligned, the others as their type is. Shapes and strides are the
 * problem's.
 *
 * Large scores. With a score expression or a bias, every score that is a finite float gives what softmax gives, as does
 * -inf, which hides a key: a bias of the dtype's least finite number, which models use for that, weighs nothing beside
 * others, and where a row has nothing else its keys share the weight. Without either, scores are right up to
 * |scale * q.k| of 2^26, about 67 million; beyond it a row may be inf or NaN. From 2^12 on a row's largest weight is
 * not exactly 1, so that every weight is rounded to dtype; also with an expression that gives no more than 2^26
 * whatever score, bias and params are, as 20 * tanh(score / 20) does. Scores are float sums, rounded as such. A score
 * of +inf or NaN makes its row NaN.
 *
 * NaN and infinity in the inputs. What lies beyond a sequence's length, between rows, and in tiles that are hidden as
 * a whole is never read into a result. In a hidden key of K it is hidden with its score; a bias, which is added, does
 * not hide it. In V it may also reach rows that do not see its key, where their tile has other rows that do, since a
 * weight of 0 times it is NaN: which rows, depends on the config.
 *
 * Gradients. BACKWARD computes P anew, as exp(score - lse), so that o and lse have to be what FORWARD wrote for the
 * same inputs, mask, scale, softcap, sinks and lengths. lse is a float, and a tensor core adds up a score with fewer
 * bits than a float has: P is off by some |lse| * 2^-22 of itself. Up to an |lse| of about 2^10 in fp16, and 2^12 in
 * bf16, that is less than what rounding to dtype costs; until there gradients are about as near to the exact ones as
 * those of the unfused computation in dtype, and beyond they get worse in proportion. Where all scores of
 * a row are a finite "minus infinity", lse no longer tells how many they are: such a row's gradients mean nothing. A
 * row that sees no key (its lse is -inf) gets and gives zero. A NaN or infinity in a row of q, k, v or d_o may reach
 * the gradients of other rows in the tiles that it shares, hidden or not. Each element of dk and dv is summed up by one
 * thread, in one order; so is dq where the problem is deterministic, while else family wgmma adds it up in the order in
 * which blocks come. Nothing of the inputs may share memory with the gradients: what one kernel has written, the next
 * one would read. A run refuses a gradient whose pointer is also that of another tensor. */
typedef struct {
  size_t struct_size;    /* sizeof(attune_tensors), set by attune_tensors_init */
  const void *q, *k, *v; /* (batch, seqlen, heads, head_dim), elements of dtype */
  /* FORWARD writes o, and lse where the problem wants it; BACKWARD reads both. */
  void *o;    /* (batch, seqlen_q, heads_q, head_dim_v), elements of dtype */
  float *lse; /* (batch, heads_q, seqlen_q) contiguous, natural log, -inf where no key is visible; or NULL */
  /* (batch) each, or NULL: from 0 to problem.seqlen_q and seqlen_k. Rows past seqlens_q stay untouched, keys past
   * seqlens_k are not seen. A run cannot look at them: on a GPU one out of bounds counts as the nearest bound, the
   * simulator reports it. */
  const int32_t *seqlens_q;
  const int32_t *seqlens_k;
  attune_value values[ATTUNE_PARAMS_MAX]; /* of the problem's params, in their order; zero beyond them */
  const void *bias;                       /* where the problem wants it, elements of dtype */
  const float *sinks;                     /* (heads_q) where the problem wants them, natural logits */
  attune_block_mask block_mask;           /* where the problem has a block_size, else zero */
  /* BACKWARD, which needs all but dlse; FORWARD takes none of them. Rows of dq, dk and dv are written up to their
   * sequence's lengths, with zeros where nobody sees them; those past seqlens_q and seqlens_k stay untouched, as does
   * all between rows. What they held before does not matter, unless the problem says accumulate: then each gradient,
   * which is a float, is added to it, and the sum is rounded to dtype; dq, dk and dv are rounded before, too. */
  const void *d_o;    /* gradient of o, elements of dtype, 16-byte aligned as the three below */
  const float *dlse;  /* gradient of lse, which has its shape, where something depends on lse itself; or NULL: 0 */
  void *dq, *dk, *dv; /* shapes of q, k and v, elements of dtype; those of a key are sums over the heads that share it
                       */
  /* BACKWARD, where the problem wants them. */
  void *dbias;   /* elements of dtype, each where bias has its own: a sum over the batch, the heads or the queries for
                    which a stride of 0 repeats it, 0 where nobody sees it or lengths leave it out; aligned as bias */
  float *dsinks; /* (heads_q) */
  float *dparams[ATTUNE_PARAMS_MAX]; /* of values[i], an array of floats, as many; NULL: not wanted */
} attune_tensors;

/* The message of this thread's last failing call: what failed, why, and what to do. Static memory of the thread, valid
 * until its next failing call; "" before any. Never fails. */
ATTUNE_API const char *attune_message(void);
/* "ATTUNE_OK", ...; a static text for every value. */
ATTUNE_API const char *attune_status_name(attune_status status);
/* The version of the library that runs, "0.1.0"; a static text. */
ATTUNE_API const char *attune_version(void);

/* Write the defaults into a struct of struct_size bytes, which it also notes in the struct. For callers without this
 * header's inline functions (other languages); a null pointer is left alone. */
ATTUNE_API void attune_problem_init_sized(attune_problem *problem, size_t struct_size);
ATTUNE_API void attune_options_init_sized(attune_options *options, size_t struct_size);
ATTUNE_API void attune_tensors_init_sized(attune_tensors *tensors, size_t struct_size);

/* The defaults: bf16, head_dim 64, one batch, head, query and key, no mask, scale 1/sqrt(head_dim), contiguous tensors,
 * nothing optional. */
static inline void attune_problem_init(attune_problem *problem) {
  attune_problem_init_sized(problem, sizeof *problem);
}
/* The defaults: all NULL and 0. */
static inline void attune_options_init(attune_options *options) {
  attune_options_init_sized(options, sizeof *options);
}
/* The defaults: all NULL and 0. */
static inline void attune_tensors_init(attune_tensors *tensors) {
  attune_tensors_init_sized(tensors, sizeof *tensors);
}

/* ATTUNE_OK, or the first rule that the problem breaks, with the numbers; ATTUNE_UNSUPPORTED where no rule is broken
 * but a limit of this library. Needs no device. */
ATTUNE_API attune_status attune_problem_check(const attune_problem *problem);

/* Opens a device and its store. *out is the caller's until attune_context_destroy, and NULL after a failure. options
 * may be NULL: the defaults. A context retains the device's primary CUDA context (the one that PyTorch uses), or uses
 * the current one. A store that cannot be used is no failure: see attune_context_warning. ATTUNE_NO_DEVICE where there
 * is no CUDA device: the simulator runs only where options name it ("host"). */
ATTUNE_API attune_status attune_context_create(attune_context **out, const attune_options *options);
/* Gives the caller's reference up; NULL is ignored. Plans and builders keep what they need of a context, so that it may
 * be destroyed before them, in any order and from any thread. */
ATTUNE_API void attune_context_destroy(attune_context *context);
/* "cuda:0 NVIDIA H100 80GB HBM3 sm_90, 132 SMs" or "host"; owned by the context. Never fails. */
ATTUNE_API const char *attune_context_device(const attune_context *context);
/* What the store does not do and why, for example that it is in memory because its file cannot be opened; "" if
 * everything works. Owned by the context. Never fails. */
ATTUNE_API const char *attune_context_warning(const attune_context *context);

/* The plan of a problem: kernels chosen (by a measurement of this problem, of a near problem, on a near device; by the
 * model; or the reference), compiled unless the store has them, and loaded. A plan is immutable and shared by threads.
 * The context remembers its plans: for an equal problem (all values, strides and texts) the same plan is returned
 * again, within microseconds, so that what is measured later is seen by new contexts only. *out is the caller's until
 * attune_plan_destroy, and NULL after a failure. */
ATTUNE_API attune_status attune_plan_create(attune_plan **out, attune_context *context, const attune_problem *problem);
/* The same, but never compiles, loads or reads the store: *out is NULL, with ATTUNE_OK, where the context remembers no
 * plan of an equal problem (it was never created here, or is one of many and was not used lately). */
ATTUNE_API attune_status attune_plan_find(attune_plan **out, attune_context *context, const attune_problem *problem);
/* A plan with a config that the caller names; not remembered. ATTUNE_BAD_CONFIG if the text does not parse,
 * ATTUNE_ILLEGAL_CONFIG if it is none of this problem's or the device cannot run it. */
ATTUNE_API attune_status attune_plan_create_with(attune_plan **out, attune_context *context,
                                                 const attune_problem *problem, const char *config);
/* Gives one reference up: as many calls as a plan was returned. NULL is ignored. Before the last one, runs of the plan
 * must have finished on their streams. */
ATTUNE_API void attune_plan_destroy(attune_plan *plan);

/* Bytes of device memory that run needs beyond the tensors, 16-byte aligned; the caller owns it, and may pass NULL
 * where it is 0. What it holds before a run does not matter, nor that another run was broken off in it: each run clears
 * on its stream what it uses. Runs that may overlap, of one plan or of several, need memory of their own; runs that
 * follow each other on a stream may share it. */
ATTUNE_API size_t attune_plan_workspace(const attune_plan *plan);
/* Canonical text of the config; owned by the plan. */
ATTUNE_API const char *attune_plan_config(const attune_plan *plan);
/* Where the config comes from: "exact", "near-problem", "near-device", "model", "reference" or "named". Static. */
ATTUNE_API const char *attune_plan_source(const attune_plan *plan);
/* Which sources were tried, what each found, and what it was taken or rejected for; lines of text owned by the plan. */
ATTUNE_API const char *attune_plan_explain(const attune_plan *plan);

/* Enqueues the plan's kernels on the stream. Allocates nothing, never synchronises, may be captured into a CUDA graph,
 * and may be called by several threads at once with one plan and a workspace each. A captured graph keeps the tensors'
 * and the workspace's addresses, also those inside the tensor maps that a kernel of family wgmma is given: replay it on
 * the same tensors, or update the node by capturing anew. The thread's current CUDA context stays as it is; it is
 * cheapest if that is the plan's (PyTorch's is). The simulator ignores the stream, starts threads, and returns when
 * done. */
ATTUNE_API attune_status attune_run(const attune_plan *plan, const attune_tensors *tensors, void *workspace,
                                    size_t workspace_size, attune_stream stream);

/* ---- block masks on the device ---- */

typedef enum {
  ATTUNE_BLOCK_MASK_OF_EXPRESSION = 0, /* blocks in which the problem's mask_expr may be true of a key; those in which
                                     it is true of all are full. Without one: all blocks that mask and window leave */
  ATTUNE_BLOCK_MASK_OF_BYTES = 1,      /* uint8_t (batch, heads, rows, columns) of the mask: not 0 is kept */
  ATTUNE_BLOCK_MASK_OF_BLOCKS = 2      /* int32_t (count, 4): batch, head, row, column of each, ascending */
} attune_block_mask_source_kind;
/* What a block mask is built from. */
typedef struct {
  attune_block_mask_source_kind kind;
  const void *data; /* in device memory, borrowed until the build has finished; OF_EXPRESSION: NULL */
  int64_t count;    /* OF_BLOCKS: blocks */
  attune_value values[ATTUNE_PARAMS_MAX]; /* OF_EXPRESSION: of the problem's params */
  int64_t reserved[4];                    /* 0 */
} attune_block_mask_source;

/* Builds and checks the block masks of one problem; immutable and shared by threads, as a plan. *out is the caller's
 * until attune_block_mask_builder_destroy, and NULL after a failure. ATTUNE_BAD_SIZE where the problem has no
 * block_size. */
typedef struct attune_block_mask_builder attune_block_mask_builder;
ATTUNE_API attune_status attune_block_mask_builder_create(attune_block_mask_builder **out, attune_context *context,
                                                          const attune_problem *problem);
/* NULL is ignored. Builds must have finished on their streams. */
ATTUNE_API void attune_block_mask_builder_destroy(attune_block_mask_builder *builder);
/* Bytes of device memory, aligned to 16 bytes, that build needs for a mask of that batch and heads (1, or the
 * problem's; else 0); the caller owns it. */
ATTUNE_API size_t attune_block_mask_builder_workspace(const attune_block_mask_builder *builder, int32_t batch,
                                                      int32_t heads);
/* Enqueues on the stream what fills in row_offsets, indices and, if it is not NULL, row_order: each mask's longest rows
 * first. If column_offsets is not NULL, also column_offsets and row_indices, from the blocks that are in indices; that
 * takes no more workspace. Blocks that mask and window hide are left out; blocks of OF_BYTES and OF_BLOCKS are full
 * unless the problem has a mask_expr. What does not fit in capacity is dropped, and the last element of row_offsets
 * says how many there are: a build of capacity 0 only counts. Blocks of the source that are out of order, or not of the
 * problem, are dropped. Allocates nothing and never synchronises. */
ATTUNE_API attune_status attune_block_mask_builder_build(const attune_block_mask_builder *builder,
                                                         const attune_block_mask_source *source,
                                                         const attune_block_mask *mask, void *workspace,
                                                         size_t workspace_size, attune_stream stream);
/* ATTUNE_OK, or ATTUNE_BAD_BLOCK_MASK and the first row that breaks a rule, or else the first column, if there are
 * column_offsets. Allocates, and waits for the device. */
ATTUNE_API attune_status attune_block_mask_builder_check(const attune_block_mask_builder *builder,
                                                         const attune_block_mask *mask);

#ifdef __cplusplus
}
#endif
#endif
