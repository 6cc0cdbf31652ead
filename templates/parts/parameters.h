/* Stand-ins for what the generator writes at the top of every kernel, so that an editor can parse the templates. The
 * names are the fields of attune_config (generator/generator.h), in capitals where the specialiser decides #if by them.
 */
#pragma once
#define FAMILY_MMA 0
#define DTYPE_BF16 1
#define MASK_BOUNDS_CAUSAL 1  /* a right bound only */
#define MASK_BOUNDS_WINDOW 0  /* left and right bounds */
#define HAS_MASK_EXPR 1       /* a mask expression */
#define SPARSE_BLOCK_SIZE 128 /* as `sparse_block_size` below; 0: no block mask */
#define SCORE_NEGATED 0
#define SCORE_SOFTCAP 0
#define SCORE_EXPRESSION 0
#define OPERATION_FORWARD 0
#define OPERATION_COMBINE 0
#define OPERATION_BACKWARD 1 /* the kernel for dK and dV */
#define OPERATION_DQ 0       /* that for dQ alone */
#define DBIAS 1
#define DPARAMS 1
#define ACCUMULATE 0 /* gradients are added to what their memory holds */
#define SPLIT_DKV 0
#define NATURAL_LSE 0
#define SCORE_UNBOUNDED 0 /* an expression that may give scores of any size */
#define SINKS 0
#define LSE 1
#define Q_IN_REGS 0
#define STAGES 1 /* as `stages` below */
#define LAZY_RESCALE 0
#define Q_PREFETCH 1
#define INTRA_WG_OVERLAP 1
#define PINGPONG_MMA 1
#define PINGPONG_SOFTMAX 0
#define HALF_TILES 1
#define RESCALE_BEFORE_PV 0
#define P_IN_SMEM 0
#define O_STAGING_Q 0        // O leaves through Q's slot
#define O_STAGING_OWN 0      // through one of its own
#define O_STAGING_V 1        // through the last V's
#define EXP2_EMULATION 4     /* as `exp2_emulation` below; 0: none */
#define PERSISTENT_DYNAMIC 0 /* items come from a counter */
#define PACK_GQA 1           /* as `pack_gqa` below */
#define TILE_M 128           /* as `tile_m` below */
#define TILE_N 64            /* as `tile_n` below */
#define MIN_BLOCKS_PER_SM 2  /* as `min_blocks_per_sm` below */
#define SPLITS 2             /* as `splits` below */
#define CLUSTER 2            /* as `cluster` below */
#define ORDER_REVERSED 0
#define ORDER_HEADS 0
#define ORDER_LPT 0
#define ORDER_L2_SECTIONS 0
constexpr int head_dim = 128;
constexpr int head_dim_v = 128;
constexpr int sparse_block_size = 128;
constexpr int tile_m = 128;
constexpr int tile_n = 64;
constexpr int warps = 4;
constexpr int stages = 1;
constexpr int exp2_emulation = 4;
constexpr int pack_gqa = 1;
constexpr int splits = 2;
constexpr int cluster = 2;
constexpr int min_blocks_per_sm = 2;
#define KERNEL_NAME attune_forward
