/* Stand-ins for what the generator writes at the top of every kernel, so that an editor can parse the templates. The
 * names are the fields of attune_config (generator/generator.h), in capitals where the specialiser decides #if by them.
 */
#pragma once
#define FAMILY_MMA 0
#define DTYPE_BF16 1
#define BOUND_CAUSAL 1 /* a right bound only */
#define BOUND_WINDOW 0 /* left and right bounds */
#define PATTERN 1      /* a mask expression */
#define LIST_BLOCK 128 /* as `list_block` below; 0: no lists */
#define SCORE_NEGATED 0
#define SCORE_SOFTCAP 0
#define SCORE_EXPRESSION 0
#define SINKS 0
#define LSE 1
#define Q_REGISTERS 0
#define STAGES 1 /* as `stages` below */
#define LAZY_RESCALE 0
#define Q_PREFETCH 1
#define OVERLAP 1
#define ROTATION_TURNS 1
#define ROTATION_TOKENS 0
#define HALVES 1
#define RESCALE_BEFORE 0
#define P_SHARED 0
#define O_PLACE_OQ 0         // O leaves through Q's slot
#define O_PLACE_OB 0         // through one of its own
#define O_PLACE_OV 1         // through the last V's
#define POLYNOMIAL 4         /* as `polynomial` below; 0: none */
#define PERSISTENT_DYNAMIC 0 /* items come from a counter */
#define HEADS_PACKED 1       /* as `heads_packed` below */
#define TILE_M 128           /* as `tile_m` below */
#define SPLITS 2             /* as `splits` below */
#define CLUSTER 2            /* as `cluster` below */
#define ORDER_REVERSED 0
#define ORDER_HEADS 0
#define ORDER_LONGEST 0
#define ORDER_SECTIONS 0
constexpr int head_dim = 128;
constexpr int head_dim_v = 128;
constexpr int list_block = 128;
constexpr int tile_m = 128;
constexpr int tile_n = 64;
constexpr int warps = 4;
constexpr int stages = 1;
constexpr int polynomial = 4;
constexpr int heads_packed = 1;
constexpr int splits = 2;
constexpr int cluster = 2;
constexpr int blocks = 2;
#define KERNEL_NAME attune_forward
