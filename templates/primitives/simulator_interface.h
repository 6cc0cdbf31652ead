/* Between an emitted kernel built with the host primitives and the runner in runtime/: plain C and C++, no include.
 * The kernel's shared object exports its entry point (the config's symbol, taking attune_arguments by value: one thread
 * of the grid) and attune_simulator_bind, which the runner calls once after loading. Everything collective, shared or
 * asynchronous goes through these calls, so that the runner sees it, orders it and judges it. line: of the emitted
 * source.
 *
 * One lane at a time runs on an operating-system thread, so a call may suspend its caller and run others. */
#ifndef ATTUNE_SIMULATOR_INTERFACE_H
#define ATTUNE_SIMULATOR_INTERFACE_H

enum attune_simulator_collective {
  ATTUNE_SIMULATOR_LOAD_MATRIX, /* in: shared address; out: 4 words */
  ATTUNE_SIMULATOR_LOAD_MATRIX_TRANSPOSED,
  ATTUNE_SIMULATOR_MULTIPLY_BF16, /* m16n8k16: in: a 4 words, b 2 words, c 4 floats; out: 4 floats */
  ATTUNE_SIMULATOR_MULTIPLY_FP16,
  ATTUNE_SIMULATOR_SHUFFLE_XOR, /* in: word, mask; out: word */
  ATTUNE_SIMULATOR_SHUFFLE,     /* in: word, source lane; out: word */
  ATTUNE_SIMULATOR_ANY_LANE,    /* in: word; out: 1 if any lane's is not 0, else 0 */
  ATTUNE_SIMULATOR_LANES_WHERE, /* in: word; out: a bit for every lane, set if its word is not 0 */
  ATTUNE_SIMULATOR_MATCH_ANY,   /* in: word; out: a bit for every lane that has the same */
  ATTUNE_SIMULATOR_WARP_BARRIER,
  ATTUNE_SIMULATOR_WARP_UNIFORM,  /* in: word; out: the first lane's */
  ATTUNE_SIMULATOR_NAMED_BARRIER, /* in: id, threads, 1 to come without waiting */
  /* Of a warpgroup: all lanes of its four warps must arrive with the same operation and line. */
  ATTUNE_SIMULATOR_PRODUCT, /* by warpgroup_multiply below */
  ATTUNE_SIMULATOR_PRODUCT_FENCE,
  ATTUNE_SIMULATOR_PRODUCT_COMMIT,
  ATTUNE_SIMULATOR_PRODUCT_WAIT,      /* in: batches that may stay in flight */
  ATTUNE_SIMULATOR_RELEASE_REGISTERS, /* in: registers a thread */
  ATTUNE_SIMULATOR_CLAIM_REGISTERS
};

/* One lane's part of a warpgroup's product; registers are read and written until it is waited for. */
struct attune_simulator_product {
  float *c;                              /* n of them */
  const unsigned *a;                     /* 4 words, or null: a_matrix */
  unsigned long long a_matrix, b_matrix; /* descriptors */
  int b_n_major;                         /* else it is K-major */
  int n, accumulate, bf16;
  int a_m_major; /* else it is K-major */
};

/* What accumulators hold until their product is waited for, as a float and as an element of either dtype; and what the
 * element becomes as fp16 and unpacked. */
enum {
  ATTUNE_SIMULATOR_POISON = 0x7fed0000,
  ATTUNE_SIMULATOR_POISON_HALF = 0x7ffda000,
  ATTUNE_SIMULATOR_POISON_ELEMENT = 0x7fed
};

/* What shared_memory() gives: not 0, so that an offset that was never added to it is out of bounds. */
enum { ATTUNE_SIMULATOR_SHARED_BASE = 1024 };

struct attune_tensor_map;

struct attune_simulator_calls {
  int (*block_index)(void);
  int (*thread_index)(void);
  /* Whole-warp rendezvous: all 32 lanes must arrive with the same operation and line. */
  void (*collective)(int operation, const unsigned *in, unsigned *out, int line);
  void (*barrier)(int line); /* whole block */
  void (*load_shared)(void *to, unsigned from, int size, int line);
  void (*store_shared)(unsigned to, const void *from, int size, int line);
  void (*load_global)(void *to, const void *from, int size, int line);
  void (*store_global)(void *to, const void *from, int size, int line);
  void (*copy_async)(unsigned to, const void *from, int valid, int line); /* 16 bytes; not valid: zeros */
  void (*copy_async_commit)(int line);
  void (*copy_async_wait)(int pending, int line);
  int (*grid_size)(void);
  void (*warpgroup_multiply)(const struct attune_simulator_product *product, int line);
  void (*mbarrier_init)(unsigned barrier, int arrivals, int line);
  void (*mbarrier_init_fence)(int line);
  void (*mbarrier_arrive)(unsigned barrier, int bytes, int line); /* bytes: more that the phase expects */
  void (*mbarrier_wait)(unsigned barrier, int parity, int line);
  void (*load_tile)(unsigned to, const struct attune_tensor_map *map, const int at[4], unsigned barrier, int line);
  void (*store_tile)(const struct attune_tensor_map *map, const int at[4], unsigned from, int line);
  void (*finish_stores)(int line); /* the thread's: they have read shared memory */
  void (*fence_async)(int line);
  unsigned (*count_up)(unsigned *counter, int line);
  void (*add_global)(float *to, const float *values, int count, int line); /* to sums of all blocks, in any order */
  /* Of a cluster, whose blocks are numbered from 0. */
  void (*cluster_barrier)(int line);
  void (*mbarrier_arrive_at)(unsigned barrier, int block, int line);
  void (*load_tile_multicast)(unsigned to, const struct attune_tensor_map *map, const int at[4], unsigned barrier,
                              unsigned blocks, int line);      /* blocks: as bits */
  void (*hold_registers)(const void *at, int words, int line); /* fence_registers */
  void (*length_beyond)(int length, int bound, int line);      /* of a sequence: it does not return */
};

#endif
