/* Attune: exact attention, generated and tuned for the GPU at hand.
 *
 * This is the one public header. A context owns a device and a store of tuned kernels; a plan is a compiled kernel for
 * one problem; attune_run launches it. See runtime/example.c for the whole way in thirty lines.
 *
 * It is also the vocabulary of the project: every module uses the types below.
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

/* Every function that can fail returns one of these and leaves a message for attune_message(). */
typedef enum {
  ATTUNE_OK = 0,
  ATTUNE_OUT_OF_MEMORY,  /* host memory */
  ATTUNE_BAD_ARGUMENT,   /* null pointer, unknown enum value, wrong struct size */
  ATTUNE_BAD_HEAD_DIM,   /* head_dim or head_dim_v is not a multiple of 8 in 8..256 */
  ATTUNE_BAD_HEADS,      /* heads_q is not a multiple of heads_kv */
  ATTUNE_BAD_SIZE,       /* a size is zero, negative or overflows */
  ATTUNE_BAD_STRIDE,     /* a stride is misaligned, negative or overlaps */
  ATTUNE_BAD_POINTER,    /* a pointer is null or misaligned */
  ATTUNE_BAD_SCALE,      /* scale or softcap is not finite, or softcap is negative */
  ATTUNE_BAD_WINDOW,     /* a window that contradicts the mask */
  ATTUNE_BAD_EXPRESSION, /* a mask or score expression that does not parse, or names what there is not */
  ATTUNE_BAD_CONFIG,     /* config text that does not parse */
  ATTUNE_ILLEGAL_CONFIG, /* a config that this device cannot run; the message names the limit */
  ATTUNE_BAD_BLOCK_MASK, /* block lists that break their rules; the message has the first row that does */
  ATTUNE_BAD_FILE,       /* unreadable, truncated or lying file (safetensors, workload) */
  ATTUNE_BAD_JSON,       /* JSON that does not parse (the message has the line) or does not fit (which item) */
  ATTUNE_STORE_TOO_NEW,  /* database written by a newer version */
  ATTUNE_STORE_FAILED,   /* an explicit store operation failed (never from plan or run) */
  ATTUNE_NO_DEVICE,      /* no such device */
  ATTUNE_NO_DRIVER,      /* libcuda is missing or too old */
  ATTUNE_NO_NVRTC,       /* NVRTC is missing or too old */
  ATTUNE_NO_COMPILER,    /* the simulator needs a C++17 compiler and found none */
  ATTUNE_COMPILE_FAILED, /* the message has the end of the compiler's log */
  ATTUNE_WOULD_COMPILE,  /* frozen: no compiled kernel is stored for this problem */
  ATTUNE_WORKSPACE_TOO_SMALL,
  ATTUNE_DRIVER_FAILED, /* a CUDA driver call failed; the message has its name and error */
  ATTUNE_KERNEL_FAULT,  /* the simulator caught a fault: race, bounds, divergence, deadlock */
  ATTUNE_WRONG_RESULT,  /* verification failed */
  ATTUNE_INTERRUPTED,
  ATTUNE_STATUS_COUNT
} attune_status;

typedef enum { ATTUNE_FP16 = 0, ATTUNE_BF16 = 1 } attune_dtype;

/* Query i and key j, shift = 0 for NONE and CAUSAL, seqlen_k - seqlen_q for CAUSAL_BOTTOM_RIGHT.
 * CAUSAL and CAUSAL_BOTTOM_RIGHT: key j is visible if j <= i + shift. */
typedef enum {
  ATTUNE_MASK_NONE = 0,
  ATTUNE_MASK_CAUSAL = 1,             /* aligned top-left, as PyTorch's is_causal */
  ATTUNE_MASK_CAUSAL_BOTTOM_RIGHT = 2 /* as FlashAttention since 2.1 */
} attune_mask;

/* Element strides of one tensor of shape (batch, seqlen, heads, head_dim); head_dim is contiguous.
 * All zero means contiguous in that order. Otherwise each stride is a non-negative multiple of 8 elements; a stride of
 * zero broadcasts (inputs only). */
typedef struct {
  int64_t batch, seqlen, heads;
} attune_strides;

/* A name that expressions may use for a value of the caller's. */
enum { ATTUNE_EXPRESSION_MAX = 480, ATTUNE_PARAM_NAME_MAX = 24, ATTUNE_PARAMS_MAX = 8 }; /* with the final NUL */
typedef enum {
  ATTUNE_PARAM_NONE = 0,
  ATTUNE_PARAM_INT = 1,
  ATTUNE_PARAM_FLOAT = 2,
  ATTUNE_PARAM_INT_ARRAY = 3, /* int32_t in device memory */
  ATTUNE_PARAM_FLOAT_ARRAY = 4
} attune_param_type;
typedef struct {
  char name[ATTUNE_PARAM_NAME_MAX];
  attune_param_type type;
} attune_param;

enum { ATTUNE_BLOCK_SIZE_MAX = 1 << 16 };

/* What is to be computed: O = softmax(scale * Q K^T [softcap] [mask]) V.
 * Fill with attune_problem_init, then set fields. Values only: no ownership. */
typedef struct {
  size_t struct_size; /* sizeof(attune_problem), set by attune_problem_init */
  attune_dtype dtype;
  int32_t head_dim, head_dim_v;     /* multiples of 8 in 8..256 */
  int32_t batch, heads_q, heads_kv; /* heads_q is a multiple of heads_kv */
  int32_t seqlen_q, seqlen_k;       /* 1 .. 2^30 - 512; upper bounds where lengths live in device memory */
  attune_mask mask;
  int32_t window_left, window_right; /* key j is visible if i+shift-left <= j <= i+shift+right; -1: unbounded */
  float scale;      /* any finite float (beyond 1000 the reference family answers); NaN: 1/sqrt(head_dim) */
  float softcap;    /* 0: none; else, up to 10,000: score = softcap * tanh(scale*q.k / softcap) */
  int32_t want_lse; /* 1: also write LSE */
  attune_strides q, k, v, o;
  /* Expressions in C syntax, "" for none (grammar: generator/README.md). mask_expr is true where key k is seen by query
   * q, besides what mask and window say: "q / 128 == k / 128 || k < 64". score_expr is the new score, from `score` =
   * scale * q.k: "score + slope[head] * (k - q)"; it excludes softcap. Both know batch, head, q, k, seqlen_q, seqlen_k
   * and the params. An index outside an array gives 0, as does an int divided by 0; int is 32 bits and
   * wraps. */
  char mask_expr[ATTUNE_EXPRESSION_MAX];
  char score_expr[ATTUNE_EXPRESSION_MAX];
  attune_param params[ATTUNE_PARAMS_MAX]; /* in a row from the first; their values come with each run */
  /* 1: a tensor is added to the scores, elements of dtype at batch * bias.batch + head * bias.heads + q * bias.seqlen +
   * k; a stride of 0 broadcasts, as they are 0 unless set. A score_expr then has to use it, by the name `bias`. */
  int32_t want_bias;
  attune_strides bias;
  int32_t want_sinks; /* 1: each head has one more key, whose score is sinks[head] and whose value is zero */
  /* Not 0: of the keys that mask, window and mask_expr leave, a query sees those in blocks of block_size queries x
   * block_size keys that are listed (attune_block_mask), a multiple of 16. Kernels need tiles that divide it: with 64
   * or 128 the fast ones run. */
  int32_t block_size;
  float block_density; /* about which share of the blocks will be listed, for tuning; 0: not known */
} attune_problem;

typedef struct attune_context attune_context;
typedef struct attune_plan attune_plan;
typedef void *attune_stream; /* a CUstream or cudaStream_t; NULL is the default stream; ignored by the simulator */

typedef struct {
  size_t struct_size;   /* sizeof(attune_options), set by attune_options_init */
  const char *device;   /* "cuda:N", "host", or NULL: the CUDA context that is current, else cuda:0, else host */
  const char *database; /* path of the store, ":memory:", or NULL: $ATTUNE_DATABASE, else the XDG cache folder */
  int32_t frozen;       /* 1: never compile and never write; also set by ATTUNE_FROZEN=1 */
  uint64_t host_seed;   /* schedule of the simulator */
} attune_options;

/* The value of a param: integer, real, or an array in device memory with its number of elements. */
typedef struct {
  const void *array;
  int64_t count;
  int32_t integer;
  float real;
} attune_value;

/* Which blocks are seen: for each batch, head and row of blocks the columns of those that are, compressed sparse rows.
 * Memory grows with the blocks that are listed. In device memory, borrowed for the time of a run; another run may bring
 * others. Lists that break these rules give wrong results, and no access out of bounds. attune_block_mask_builder_build
 * makes them; runs only read them. */
typedef struct {
  int32_t batch, heads; /* 1: the same lists for all, or as many as the problem has */
  int32_t *row_offsets; /* (batch * heads * ceil(seqlen_q / block_size) + 1): where each row begins in blocks; the last
                           element is where the last one ends */
  int32_t *indices;     /* ascending in a row: 2 * column + 1, or 2 * column where mask_expr must also be asked */
  int64_t capacity;     /* elements of blocks; what rows say beyond it is not listed */
  int32_t *row_order;   /* the numbers of the rows, in the order in which they are begun, so that those with most
                             blocks come first; NULL: as the kernel likes */
} attune_block_mask;

/* Device pointers (host pointers for the simulator), borrowed for the time of the run. q, k, v and o are 16-byte
 * aligned, the others as their type is. */
typedef struct {
  size_t struct_size; /* sizeof(attune_tensors), set by attune_tensors_init */
  const void *q, *k, *v;
  void *o;
  float *lse; /* (batch, heads_q, seqlen_q) contiguous, natural log, -inf where no key is visible; or NULL */
  const int32_t
      *seqlens_q; /* (batch) in device memory, each <= problem.seqlen_q, or NULL; rows past it stay untouched */
  const int32_t *seqlens_k;               /* (batch) likewise */
  attune_value values[ATTUNE_PARAMS_MAX]; /* of the problem's params, in their order */
  const void *bias;                       /* where the problem wants it */
  const float *sinks;                     /* (heads_q) where the problem wants them, natural logits */
  attune_block_mask lists;                /* where the problem has a block_size */
} attune_tensors;

/* Thread-local, valid until the next failing call of this thread; "" before any. Says what, why and what to do. */
ATTUNE_API const char *attune_message(void);
/* "ATTUNE_OK", ...; a static string for every value. */
ATTUNE_API const char *attune_status_name(attune_status status);
/* "0.1.0". */
ATTUNE_API const char *attune_version(void);

ATTUNE_API void attune_problem_init(attune_problem *problem);
ATTUNE_API void attune_options_init(attune_options *options);
ATTUNE_API void attune_tensors_init(attune_tensors *tensors);

/* ATTUNE_OK, or the first rule that the problem breaks, with the numbers. Needs no device. */
ATTUNE_API attune_status attune_problem_check(const attune_problem *problem);

/* A context is shared by threads. It retains the device's primary CUDA context (the one that PyTorch uses), or uses the
 * current one. options may be NULL. Destroy it after its plans. */
ATTUNE_API attune_status attune_context_create(attune_context **out, const attune_options *options);
ATTUNE_API void attune_context_destroy(attune_context *context);
/* "cuda:0 NVIDIA H100 80GB HBM3 sm_90, 132 SMs" or "host"; owned by the context. */
ATTUNE_API const char *attune_context_device(const attune_context *context);

/* Chooses a kernel (the ladder: exact, near problem, near device, model, reference), compiles it unless the store has
 * it, and loads it. The plan is immutable and shared by threads; it outlives neither its context nor the device. */
ATTUNE_API attune_status attune_plan_create(attune_plan **out, attune_context *context, const attune_problem *problem);
/* The same with a config that the caller names; ATTUNE_ILLEGAL_CONFIG if the device cannot run it. */
ATTUNE_API attune_status attune_plan_create_with(attune_plan **out, attune_context *context,
                                                 const attune_problem *problem, const char *config);
ATTUNE_API void attune_plan_destroy(attune_plan *plan);

/* Bytes of device memory that run needs beyond the tensors, 16-byte aligned; the caller owns it, and may pass NULL
 * where it is 0. What it holds before a run does not matter, nor that another run was broken off in it: each run clears
 * on its stream what it uses. Runs that may overlap, of one plan or of several, need memory of their own; runs that
 * follow each other on a stream may share it. */
ATTUNE_API size_t attune_plan_workspace(const attune_plan *plan);
/* Canonical text of the config; owned by the plan. */
ATTUNE_API const char *attune_plan_config(const attune_plan *plan);
/* The rung that answered: "exact", "near-problem", "near-device", "model", "reference" or "named". Static. */
ATTUNE_API const char *attune_plan_source(const attune_plan *plan);
/* Which rungs were tried, what each found, and what it was taken or rejected for; lines of text owned by the plan. */
ATTUNE_API const char *attune_plan_explain(const attune_plan *plan);

/* Enqueues the kernel on the stream. Allocates nothing, never synchronises, may be captured into a CUDA graph, and may
 * be called by several threads at once with one plan and a workspace each. A captured graph keeps the tensors' and the
 * workspace's addresses, also those inside the tensor maps that a kernel of family wgmma is given: replay it on the
 * same tensors, or update the node by capturing anew. The thread's current CUDA context stays as it is; it is cheapest
 * if that is the plan's (PyTorch's is). The simulator ignores the stream, starts threads, and returns when done. */
ATTUNE_API attune_status attune_run(const attune_plan *plan, const attune_tensors *tensors, void *workspace,
                                    size_t workspace_size, attune_stream stream);

/* ---- block lists on the device ---- */

typedef enum {
  ATTUNE_BLOCK_MASK_OF_EXPRESSION = 0, /* blocks in which the problem's mask_expr may be true of a key; those in which
                                     it is true of all are whole. Without one: all blocks that mask and window leave */
  ATTUNE_BLOCK_MASK_OF_BYTES = 1,      /* uint8_t (batch, heads, rows, columns) of the lists: not 0 is listed */
  ATTUNE_BLOCK_MASK_OF_BLOCKS = 2      /* int32_t (count, 4): batch, head, row, column of each, ascending */
} attune_block_mask_source_kind;
typedef struct {
  attune_block_mask_source_kind kind;
  const void *data;                       /* in device memory; OF_EXPRESSION: NULL */
  int64_t count;                          /* OF_BLOCKS */
  attune_value values[ATTUNE_PARAMS_MAX]; /* OF_EXPRESSION: of the problem's params */
} attune_block_mask_source;

/* Builds and checks the lists of one problem; immutable and shared by threads, as a plan. It outlives neither its
 * context nor the device. */
typedef struct attune_block_mask_builder attune_block_mask_builder;
ATTUNE_API attune_status attune_block_mask_builder_create(attune_block_mask_builder **out, attune_context *context,
                                                          const attune_problem *problem);
ATTUNE_API void attune_block_mask_builder_destroy(attune_block_mask_builder *lister);
/* Bytes of device memory, aligned to 16 bytes, that build needs for lists of that batch and heads (1, or the
 * problem's; else 0); the caller owns it. */
ATTUNE_API size_t attune_block_mask_builder_workspace(const attune_block_mask_builder *lister, int32_t batch,
                                                      int32_t heads);
/* Enqueues on the stream what fills in rows, blocks and, if it is not NULL, order: each list's longest rows first.
 * Blocks that mask and window hide are left out; blocks of a mask or of blocks are whole unless the problem has a
 * mask_expr. What does not fit in capacity is dropped, and the last element of rows says how many there are: a build of
 * capacity 0 only counts. Blocks of the source that are out of order or of the problem are dropped. Allocates nothing
 * and never synchronises. */
ATTUNE_API attune_status attune_block_mask_builder_build(const attune_block_mask_builder *lister,
                                                         const attune_block_mask_source *source,
                                                         const attune_block_mask *lists, void *workspace,
                                                         size_t workspace_size, attune_stream stream);
/* ATTUNE_OK, or ATTUNE_BAD_BLOCK_MASK and the first row that breaks a rule. Allocates, and waits for the device. */
ATTUNE_API attune_status attune_block_mask_builder_check(const attune_block_mask_builder *lister,
                                                         const attune_block_mask *lists);

#ifdef __cplusplus
}
#endif
#endif
