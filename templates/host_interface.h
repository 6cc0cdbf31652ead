/* Between an emitted kernel built with the host primitives and the runner in runtime/: plain C and C++, no include.
 * The kernel's shared object exports its entry point (the config's symbol, taking attune_arguments by value: one thread
 * of the grid) and attune_host_bind, which the runner calls once after loading. Everything collective, shared or
 * asynchronous goes through these calls, so that the runner sees it, orders it and judges it. line: of the emitted
 * source.
 *
 * One lane at a time runs on an operating-system thread, so a call may suspend its caller and run others. */
#ifndef ATTUNE_HOST_INTERFACE_H
#define ATTUNE_HOST_INTERFACE_H

enum attune_host_collective {
  ATTUNE_HOST_LOAD_MATRIX, /* in: shared address; out: 4 words */
  ATTUNE_HOST_LOAD_MATRIX_TRANSPOSED,
  ATTUNE_HOST_MULTIPLY_BF16, /* m16n8k16: in: a 4 words, b 2 words, c 4 floats; out: 4 floats */
  ATTUNE_HOST_MULTIPLY_FP16,
  ATTUNE_HOST_SHUFFLE_XOR, /* in: word, mask; out: word */
  ATTUNE_HOST_SHUFFLE,     /* in: word, source lane; out: word */
  ATTUNE_HOST_ANY_LANE,    /* in: word; out: 1 if any lane's is not 0, else 0 */
  ATTUNE_HOST_WARP_BARRIER
};

/* What shared_memory() gives: not 0, so that an offset that was never added to it is out of bounds. */
enum { ATTUNE_HOST_SHARED_BASE = 1024 };

struct attune_host_calls {
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
};

#endif
