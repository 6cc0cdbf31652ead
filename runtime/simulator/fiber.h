/* Coroutines for the simulator: one per thread of a block, switched by hand. Sanitizers are notified of every switch.
 */
#ifndef ATTUNE_SIMULATOR_FIBER_H
#define ATTUNE_SIMULATOR_FIBER_H

#include <stddef.h>

/* How the stack pointer and the registers that a call preserves are kept: on the stack itself where the switch is
 * written in assembly, else in a ucontext_t. */
#if defined(__x86_64__) && !defined(ATTUNE_SIMULATOR_UCONTEXT)
#define ATTUNE_SIMULATOR_ASSEMBLY 1
typedef void *attune_fiber_context;
#else
#define ATTUNE_SIMULATOR_ASSEMBLY 0
#include <ucontext.h>
typedef ucontext_t attune_fiber_context;
#endif

typedef void attune_fiber_function(void *argument);

typedef struct {
  attune_fiber_context context;
  attune_fiber_function *function; /* never returns; NULL for the operating-system thread's own */
  void *argument;
  unsigned char *stack;
  size_t stack_size;
  void *sanitizer, *fake_stack; /* what TSan and ASan know this fiber by */
} attune_fiber;

/* The calling thread itself as a fiber: the one that switches to others first. Call it again before each time it does
 * so. */
void attune_fiber_adopt(attune_fiber *fiber);
/* Prepares a fiber that starts with function(argument) on the stack; prepared again, it forgets what it was doing. */
void attune_fiber_prepare(attune_fiber *fiber, attune_fiber_function *function, void *argument, void *stack,
                          size_t size);
void attune_fiber_discard(attune_fiber *fiber);
void attune_fiber_switch(attune_fiber *from, attune_fiber *to);

#endif
