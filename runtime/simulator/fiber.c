#include "runtime/simulator/fiber.h"

#include <stdint.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#endif
#if WITH_ASAN
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

static void enter(attune_fiber *fiber) {
#if WITH_ASAN
  __sanitizer_finish_switch_fiber(fiber->fake_stack, NULL, NULL);
#endif
  fiber->function(fiber->argument);
  abort(); /* a fiber's function never returns */
}

#if ATTUNE_SIMULATOR_ASSEMBLY

/* Saves what the System V ABI preserves, swaps the stack pointers, restores. A fresh fiber's stack holds the same
 * frame, whose return address is the start routine and whose r12 is its argument. */
void attune_fiber_jump(void **from, void *to);
void attune_fiber_start(void);
__asm__(".text\n"
        ".hidden attune_fiber_jump\n.globl attune_fiber_jump\n.type attune_fiber_jump, @function\n"
        "attune_fiber_jump:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size attune_fiber_jump, .-attune_fiber_jump\n"
        ".hidden attune_fiber_start\n.globl attune_fiber_start\n.type attune_fiber_start, @function\n"
        "attune_fiber_start:\n"
        "  movq %r12, %rdi\n"
        "  callq *%r13\n"
        "  ud2\n"
        ".size attune_fiber_start, .-attune_fiber_start\n");

static void set_up(attune_fiber *fiber) {
  void **top = (void **)(fiber->stack + fiber->stack_size); /* page-aligned */
  *--top = NULL;                                            /* keeps the call in start aligned */
  *--top = NULL;
  *--top = (void *)(uintptr_t)attune_fiber_start;
  *--top = NULL;                     /* rbp */
  *--top = NULL;                     /* rbx */
  *--top = fiber;                    /* r12 */
  *--top = (void *)(uintptr_t)enter; /* r13 */
  *--top = NULL;                     /* r14 */
  *--top = NULL;                     /* r15 */
  fiber->context = top;
}

static void jump(attune_fiber *from, attune_fiber *to) {
  attune_fiber_jump(&from->context, to->context);
}

#else

static void enter_ucontext(unsigned high, unsigned low) {
  enter((attune_fiber *)(uintptr_t)((uint64_t)high << 32 | low)); /* makecontext passes ints only */
}

static void set_up(attune_fiber *fiber) {
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack;
  fiber->context.uc_stack.ss_size = fiber->stack_size;
  fiber->context.uc_link = NULL;
  uint64_t address = (uint64_t)(uintptr_t)fiber;
  makecontext(&fiber->context, (void (*)(void))(uintptr_t)enter_ucontext, 2, (unsigned)(address >> 32),
              (unsigned)address);
}

static void jump(attune_fiber *from, attune_fiber *to) {
  swapcontext(&from->context, &to->context);
}

#endif

void attune_fiber_adopt(attune_fiber *fiber) {
  *fiber = (attune_fiber){.function = NULL};
#if WITH_ASAN
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void *stack = NULL;
    pthread_attr_getstack(&attributes, &stack, &fiber->stack_size);
    fiber->stack = stack;
    pthread_attr_destroy(&attributes);
  }
#endif
#if WITH_TSAN
  fiber->sanitizer = __tsan_get_current_fiber();
#endif
}

void attune_fiber_prepare(attune_fiber *fiber, attune_fiber_function *function, void *argument, void *stack,
                          size_t size) {
  attune_fiber_discard(fiber);
  *fiber = (attune_fiber){.function = function, .argument = argument, .stack = stack, .stack_size = size};
#if WITH_ASAN
  __asan_unpoison_memory_region(stack, size);
#endif
#if WITH_TSAN
  fiber->sanitizer = __tsan_create_fiber(0);
#endif
  set_up(fiber);
}

void attune_fiber_discard(attune_fiber *fiber) {
#if WITH_TSAN
  if (fiber->function && fiber->sanitizer) __tsan_destroy_fiber(fiber->sanitizer);
#endif
  fiber->function = NULL;
  fiber->sanitizer = NULL;
}

void attune_fiber_switch(attune_fiber *from, attune_fiber *to) {
#if WITH_TSAN
  __tsan_switch_to_fiber(to->sanitizer, 0);
#endif
#if WITH_ASAN
  __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_size);
#endif
  jump(from, to);
#if WITH_ASAN
  __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}
